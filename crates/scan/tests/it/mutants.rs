//! No input makes the scanner panic or hang: mutants of every sample, and random bytes.

use std::{fs, io::Cursor, sync::LazyLock};

use proptest::prelude::*;
use ringfence_scan::{Limits, scan_file, tensor_cuts};

use crate::samples;

static SAMPLES: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| samples::all().into_iter().map(|path| fs::read(path).unwrap()).collect());

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.member_bytes_max = 1 << 20;
    limits.inflated_bytes_max = 4 << 20;
    limits
}

fn survives(bytes: &[u8]) {
    let report = scan_file("x", &mut Cursor::new(bytes), &limits());
    assert_eq!(report.size, bytes.len() as u64);
    let _ = tensor_cuts(&mut Cursor::new(bytes));
}

/// Every cut and every turned byte of the small samples of containers.
#[test]
fn containers_cut_and_turned() {
    let folders = ["wrapper/", "tar/", "sevenz/", "zip/"];
    for path in samples::all() {
        let name = path.strip_prefix(samples::folder()).unwrap().to_string_lossy().into_owned();
        let bytes = fs::read(&path).unwrap();
        if !folders.iter().any(|folder| name.starts_with(folder)) || bytes.len() > SMALL_BYTES {
            continue;
        }
        for at in 0..bytes.len() {
            survives(&bytes[..at]);
            let mut turned = bytes.clone();
            turned[at] ^= 0xff;
            survives(&turned);
        }
    }
}

/// Samples that are cut and turned at every byte.
const SMALL_BYTES: usize = 160;

/// Formats whose readers follow lengths and offsets: every truncation and every changed byte of their samples.
const GRAPHS: [&str; 15] = [
    "caffe",
    "checkpoint",
    "coreml",
    "inert",
    "mxnet",
    "sentencepiece",
    "onnx",
    "openvino",
    "ort",
    "paddle",
    "pmml",
    "tensorflow",
    "tensorrt",
    "tflite",
    "xml",
];
/// Edits of one sample; larger ones are edited at regular distances.
const EDITS_MAX: usize = 400;

#[test]
fn graphs_survive_every_edit() {
    for path in samples::all() {
        let folder = path.parent().and_then(|folder| folder.file_name()).unwrap().to_string_lossy().into_owned();
        let is_good = path.file_name().unwrap().to_string_lossy().starts_with("good-");
        if !GRAPHS.contains(&folder.as_str()) || !is_good {
            continue;
        }
        let bytes = fs::read(path).unwrap();
        for at in (0..bytes.len()).step_by(bytes.len() / EDITS_MAX + 1) {
            survives(&bytes[..at]);
            for value in [0x00, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= value | 1;
                survives(&changed);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutants(pick in any::<prop::sample::Index>(), edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..8)) {
        let mut bytes = pick.get(&SAMPLES).clone();
        for (place, value, kind) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => bytes.insert(at, value),
                2 => drop(bytes.drain(at..(at + usize::from(value)).min(bytes.len()))),
                _ => bytes.truncate(at),
            }
        }
        survives(&bytes);
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600), head in 0..12_usize) {
        let heads: [&[u8]; 12] = [
            b"", b"\x80\x04", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x1f\x8b\x08\x00", b"\x08\x08\x12", b"\xfd7zXZ\0\0\x01",
            b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18\x64\x40", b"BZh91AY&SY", b"\x5d\0\0\x10\0", b"7z\xbc\xaf\x27\x1c\0\x04",
        ];
        survives(&[heads[head], bytes.as_slice()].concat());
    }

    #[test]
    fn random_opcodes(codes in prop::collection::vec(prop::sample::select(b"(.012FIJKLMNPQRSTUVXabcdeghijlopqrstu)]}G\x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8c\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98\x00\x01\x02\n".to_vec()), 0..300)) {
        survives(&[b"\x80\x04", codes.as_slice()].concat());
    }

    /// Random arrays inside a pickle raise no alarm.
    #[test]
    fn random_arrays_are_clean(bytes in prop::collection::vec(any::<u8>(), 0..4_000)) {
        let mut pickle = b"\x80\x04B".to_vec();
        pickle.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        pickle.extend(&bytes);
        pickle.push(b'.');
        let report = scan_file("x", &mut Cursor::new(pickle), &limits());
        prop_assert_eq!(report.verdict.to_string(), "clean");
    }
}
