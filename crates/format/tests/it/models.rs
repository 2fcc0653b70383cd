//! GGUF, HDF5, MessagePack, UBJSON, JSON, LightGBM and CatBoost: what the scanner's samples give, what each lie is called, and that no
//! mutant of a sample and no random bytes make a reader panic or go on without end.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use proptest::prelude::*;
use ringfence_format::{
    catboost, gguf,
    hdf5::{self, Class, Layout, Reader, Target},
    json::{self, Json, JsonError},
    lightgbm, msgpack, rdata, ubjson,
};

const FOLDERS: [&str; 7] = ["gguf", "hdf5", "keras", "msgpack", "xgboost", "lightgbm", "catboost"];

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scan/tests/samples")
}

fn sample(name: &str) -> Vec<u8> {
    fs::read(samples().join(name)).unwrap()
}

static SAMPLES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let files = FOLDERS.iter().flat_map(|folder| fs::read_dir(samples().join(folder)).unwrap());
    let paths = files.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_none_or(|extension| extension != "expected"))
        .map(|path| fs::read(path).unwrap())
        .collect()
});

/// Every reader on any bytes.
fn survives(bytes: &[u8]) {
    let mut source = Cursor::new(bytes);
    let _ = gguf::read(&mut source);
    let _ = catboost::read(&mut source);
    let _ = lightgbm::check(bytes);
    let _ = (msgpack::is_likely(bytes), msgpack::array(bytes), msgpack::read(&mut source).unwrap());
    let _ = (ubjson::is_likely(bytes), ubjson::read(&mut source).unwrap());
    let _ = (rdata::is_likely(bytes), rdata::read(bytes));
    let _ = rdata::read(&[b"X\n\0\0\0\x02\0\x04\x03\0\0\x02\x03\0", bytes].concat());
    let _ = rdata::read(&[b"A\n2\n263168\n131840\n", bytes].concat());
    let _ = json::text_of(bytes).map(|text| json::parse(&text).is_ok());
    let Ok(mut reader) = Reader::open(&mut source) else { return };
    let tree = reader.walk().unwrap();
    for object in &tree.objects {
        for attribute in &object.attributes {
            let _ = reader.referred(&attribute.datatype, &attribute.raw).unwrap();
        }
        if let Some(dataset) = &object.dataset {
            let content = reader.content(dataset, 1 << 16).unwrap();
            let _ = reader.referred(&dataset.datatype, &content.bytes).unwrap();
        }
    }
    let _ = reader.joined_extents();
}

/// The tree of an HDF5 sample, with a closure that looks at it.
fn tree<T>(name: &str, look: impl FnOnce(hdf5::Tree, &mut Reader<'_, Cursor<Vec<u8>>>) -> T) -> T {
    let mut source = Cursor::new(sample(name));
    let mut reader = Reader::open(&mut source).unwrap();
    let tree = reader.walk().unwrap();
    assert_eq!(tree.flaws, [], "{name}");
    look(tree, &mut reader)
}

#[test]
fn gguf_gives_metadata_and_tensors() {
    for name in ["good-v1le", "good-v1be", "good-v2le", "good-v3le", "good-v3be"] {
        let file = gguf::read(&mut Cursor::new(sample(&format!("gguf/{name}.gguf")))).unwrap();
        assert_eq!(file.flaws, [], "{name}");
        assert_eq!(file.big_endian, name.ends_with("be"));
        let template = file.entries.iter().find(|entry| entry.key == "tokenizer.chat_template").unwrap();
        assert!(template.texts[0].bytes.starts_with(b"{% for"));
        assert_eq!((file.tensors[0].name.as_str(), file.tensors[0].bytes), ("w", Some(128)));
        assert_eq!(Some(file.tensors[0].start), file.data_offset);
    }
}

#[test]
fn gguf_names_each_lie() {
    type Is = fn(&gguf::Flaw) -> bool;
    let cases: [(&str, Is); 9] = [
        ("string-length", |flaw| matches!(flaw, gguf::Flaw::Claim { claimed, .. } if *claimed == i64::MAX as u64)),
        ("array-nested", |flaw| matches!(flaw, gguf::Flaw::ValueType { .. })),
        ("dims-overflow", |flaw| matches!(flaw, gguf::Flaw::Shape { .. })),
        ("dims-many", |flaw| matches!(flaw, gguf::Flaw::Shape { .. })),
        ("offset-overflow", |flaw| matches!(flaw, gguf::Flaw::OutOfBounds { .. })),
        ("overlap", |flaw| matches!(flaw, gguf::Flaw::Overlap { .. })),
        ("hole", |flaw| matches!(flaw, gguf::Flaw::Hole { bytes: 96, .. })),
        ("trailing-pickle", |flaw| matches!(flaw, gguf::Flaw::Trailing { .. })),
        ("alignment-odd", |flaw| matches!(flaw, gguf::Flaw::Alignment { value: 3 })),
    ];
    for (name, is) in cases {
        let file = gguf::read(&mut Cursor::new(sample(&format!("gguf/bad-{name}.gguf")))).unwrap();
        assert!(file.flaws.iter().any(is), "{name}: {:?}", file.flaws);
    }
}

#[test]
fn hdf5_follows_old_and_new_groups() {
    tree("hdf5/good-latest.h5", |tree, reader| {
        assert_eq!(tree.objects.len(), 13, "the root and twelve datasets in a dense group");
        let root = tree.objects.iter().find(|object| object.path == "/").unwrap();
        assert_eq!(root.attributes.len(), 12, "dense attributes");
        let attribute = root.attributes.iter().find(|attribute| attribute.name == "a7").unwrap();
        assert_eq!(attribute.datatype.class, Class::Variable);
        assert_eq!(reader.referred(&attribute.datatype, &attribute.raw).unwrap()[0].1, b"text 7");
    });
    tree("hdf5/bad-nested-group.h5", |tree, _| {
        let deepest = tree.objects.iter().find(|object| object.path == "/a/b/c/d").unwrap();
        assert!(deepest.attributes[0].raw.starts_with(b"\x80\x04"));
    });
}

#[test]
fn hdf5_undoes_filters_and_follows_references() {
    tree("hdf5/good-numbers.h5", |tree, reader| {
        let dataset = tree.objects.iter().find_map(|object| object.dataset.as_ref()).unwrap();
        let content = reader.content(dataset, 1 << 20).unwrap();
        let numbers: Vec<f64> =
            content.bytes.chunks_exact(8).map(|item| f64::from_le_bytes(item.try_into().unwrap())).collect();
        let mut sorted = numbers.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(content.is_whole);
        assert_eq!(sorted, (0..200).map(f64::from).collect::<Vec<_>>());
    });
    tree("hdf5/good-text.h5", |tree, reader| {
        let dataset = tree.objects.iter().find_map(|object| object.dataset.as_ref()).unwrap();
        let content = reader.content(dataset, 1 << 20).unwrap();
        let texts = reader.referred(&dataset.datatype, &content.bytes).unwrap();
        assert_eq!(texts.iter().filter(|(_, text)| text == b"beta").count(), 9);
    });
    tree("hdf5/bad-bytes-lzf.h5", |tree, reader| {
        let dataset = tree.objects.iter().find_map(|object| object.dataset.as_ref()).unwrap();
        assert!(reader.content(dataset, 1 << 20).unwrap().bytes.starts_with(b"\x80\x04"));
    });
    tree("hdf5/good-compound.h5", |tree, reader| {
        let dataset = tree.objects.iter().find_map(|object| object.dataset.as_ref()).unwrap();
        let content = reader.content(dataset, 1 << 20).unwrap();
        assert_eq!(reader.referred(&dataset.datatype, &content.bytes).unwrap()[0].1, b"abc");
    });
}

#[test]
fn hdf5_shows_what_lies_in_other_files() {
    let external = |tree: hdf5::Tree, _: &mut Reader<'_, Cursor<Vec<u8>>>| {
        tree.objects.into_iter().flat_map(|object| object.links).find_map(|link| match link.target {
            Target::External { file, .. } => Some(file),
            _ => None,
        })
    };
    for name in ["bad-link-absolute", "bad-link-dense"] {
        assert_eq!(tree(&format!("hdf5/{name}.h5"), external).as_deref(), Some("/etc/passwd"), "{name}");
    }
    tree("hdf5/bad-storage-absolute.h5", |tree, _| {
        let dataset = tree.objects.iter().find_map(|object| object.dataset.as_ref()).unwrap();
        assert_eq!(dataset.external[0].name, "/etc/passwd");
    });
    tree("hdf5/bad-virtual.h5", |tree, reader| {
        let dataset = tree.objects.iter().find_map(|object| object.dataset.as_ref()).unwrap();
        assert!(matches!(dataset.layout, Layout::Virtual { .. }));
        let list = reader.content(dataset, 1 << 16).unwrap().bytes;
        assert!(list.windows(14).any(|part| part == b"/etc/secret.h5"));
    });
}

#[test]
fn messagepack_and_ubjson_bound_what_they_follow() {
    let document = msgpack::read(&mut Cursor::new(sample("msgpack/good-flax.msgpack"))).unwrap();
    assert!(document.whole() && document.keys.contains(&"params".to_owned()));
    let kernel = document.leaves.iter().find(|leaf| leaf.path == "params/Dense_0/kernel").unwrap();
    assert_eq!(kernel.kind, msgpack::Kind::Extension(1));
    let deep = msgpack::read(&mut Cursor::new(sample("msgpack/bad-nesting.msgpack"))).unwrap();
    assert!(deep.flaws.iter().any(|flaw| matches!(flaw, msgpack::Flaw::Depth { .. })));
    let deep = ubjson::read(&mut Cursor::new(sample("xgboost/bad-nesting.ubj"))).unwrap();
    assert!(deep.flaws.iter().any(|flaw| matches!(flaw, ubjson::Flaw::Depth { .. })));
    let negative = ubjson::read(&mut Cursor::new(sample("xgboost/bad-negative.ubj"))).unwrap();
    assert!(negative.flaws.iter().any(|flaw| matches!(flaw, ubjson::Flaw::Negative { value: -1, .. })));
}

#[test]
fn json_is_read_as_python_reads_it() {
    let document =
        json::parse(r#"{"a": NaN, "a": -Infinity, "b": "\ud83d\ude00 \ud800 \u0041", "c": [1, 2.5, 1e999]}"#).unwrap();
    let object = document.object().unwrap();
    assert_eq!(object.repeated(), Some("a"));
    assert_eq!(object.last("a"), Some(&Json::Float(f64::NEG_INFINITY)));
    assert_eq!(object.last("b").and_then(Json::text), Some("\u{1f600} \u{fffd} A"));
    let deep = "[".repeat(10_000);
    assert!(matches!(json::parse(&deep), Err(JsonError::TooDeep { .. })));
    for encoded in [&b"\xff\xfe{\0}\0"[..], b"{\0}\0", b"\0{\0}", b"{\0\0\0}\0\0\0", b"\xef\xbb\xbf{}"] {
        assert_eq!(json::text_of(encoded).as_deref(), Some("{}"), "{encoded:?}");
    }
}

#[test]
fn boosted_trees_stay_inside_of_themselves() {
    assert_eq!(lightgbm::check(&sample("lightgbm/good-library.txt")), []);
    let flaws = lightgbm::check(&sample("lightgbm/bad-circle.txt"));
    assert!(matches!(flaws[..], [lightgbm::Flaw::Child { value: 0, .. }]), "{flaws:?}");
    let model = catboost::read(&mut Cursor::new(sample("catboost/good-counters.cbm"))).unwrap();
    assert_eq!((model.stop, model.parts.as_slice()), (model.length, &[catboost::COUNTERS.to_owned()][..]));
    assert!(matches!(
        catboost::read(&mut Cursor::new(sample("catboost/bad-root.cbm"))),
        Err(catboost::CatBoostError::Broken)
    ));
}

/// Every truncation, and every byte changed in three ways, of the shorter samples.
#[test]
fn truncations_and_changed_bytes_are_survived() {
    for bytes in SAMPLES.iter().filter(|bytes| bytes.len() < 1_200) {
        for at in 0..bytes.len() {
            survives(&bytes[..at]);
            for change in [0x01, 0x80, 0xff] {
                let mut mutant = bytes.clone();
                mutant[at] ^= change;
                survives(&mutant);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutants_are_survived(pick in any::<prop::sample::Index>(), edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6)) {
        let mut bytes = pick.get(&SAMPLES).clone();
        for (place, value, kind) in edits {
            let at = place.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match kind {
                _ if bytes.is_empty() => {}
                0 => bytes[at] = value,
                1 => bytes.insert(at, value),
                _ => bytes.truncate(at),
            }
        }
        survives(&bytes);
    }

    /// What looks like MessagePack or UBJSON by chance is rarely a document.
    #[test]
    fn random_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2_000), head in 0..8_usize) {
        let heads: [&[u8]; 8] = [b"", b"GGUF\x03\0\0\0", b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0", b"\x81\xa6params", b"{L\0\0\0\0\0\0\0\x07learner", b"CBM1", b"tree\nversion=v4\nTree=0\n", b"{\"a\": ["];
        survives(&[heads[head], bytes.as_slice()].concat());
    }
}
