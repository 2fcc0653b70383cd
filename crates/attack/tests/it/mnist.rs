//! MNIST and the network of Wong et al. 2020 (appendix A), for measurements that the digits are too small for.

use std::{io::Read as _, path::PathBuf};

use flate2::read::GzDecoder;
use ringfence_attack::Examples;
use ringfence_nn::{Model, Tensor, builder::Builder};

/// Some `train` training and `test` test pictures, `[n, 1, 28, 28]` in `0..=1`; `None`, loudly, where the data is absent. The files
/// are sorted by class, so a part of them is drawn at random.
pub(crate) fn mnist(train: usize, test: usize) -> Option<(Examples, Examples)> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let root = std::env::var_os("RINGFENCE_SHARED").map_or(beside, PathBuf::from).join("data/mnist");
    if !root.is_dir() {
        eprintln!("SKIPPED: no shared/data/mnist (set RINGFENCE_SHARED): nothing was checked on MNIST");
        return None;
    }
    let read = |set: &str, count: usize| {
        let pixels = unpack(&root.join(format!("{set}-images-idx3-ubyte.gz")), 16);
        let labels = unpack(&root.join(format!("{set}-labels-idx1-ubyte.gz")), 8);
        let data = pixels.iter().map(|value| f32::from(*value) / 255.0).collect();
        let shape = vec![labels.len(), 1, 28, 28];
        let labels = labels.iter().map(|label| usize::from(*label)).collect();
        Examples::new(Tensor { shape, data }, labels).unwrap().sample(count, 7)
    };
    Some((read("train", train), read("t10k", test)))
}

/// Two strided convolutions and two dense layers, 166 thousand weights, fresh.
pub(crate) fn wong(seed: u64) -> Model {
    let file = Builder::new("wong", seed)
        .input("input", &[1, 28, 28])
        .conv(16, [4, 4], [2, 2], [1, 1])
        .relu()
        .conv(32, [4, 4], [2, 2], [1, 1])
        .relu()
        .flatten()
        .linear(100)
        .relu()
        .linear(10)
        .finish()
        .unwrap();
    Model::parse(&file).unwrap()
}

fn unpack(path: &std::path::Path, header: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes.split_off(header)
}
