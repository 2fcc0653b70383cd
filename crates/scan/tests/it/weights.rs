//! Statistics of weights, of files made here and of samples.

use std::{collections::BTreeSet, fs::File, io::Cursor};

use ringfence_scan::{Limits, compare, tensor_changes, tensor_table, weight_summary, weights};
use ringfence_schema::{
    Verdict,
    report::{TensorStats, WeightReport},
};

use crate::samples;

/// A safetensors file of `F32` tensors.
fn file(tensors: &[(&str, &[u64], &[f32])]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert((*name).to_owned(), entry);
    }
    let mut header = serde_json::to_vec(&header).unwrap();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

/// Repeatable numbers between -0.05 and 0.05.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).unwrap()) / 655_360.0 - 0.05
    };
    (0..count).map(|_| next()).collect()
}

fn study(bytes: &[u8]) -> WeightReport {
    weights("x", &mut Cursor::new(bytes), &Limits::default())
}

fn rules(report: &WeightReport) -> Vec<&str> {
    report.findings.iter().map(|finding| finding.rule.as_str()).collect()
}

#[test]
fn ordinary_weights_raise_nothing() {
    let (matrix, bias) = (numbers(100 * 64, 1), numbers(100, 2));
    let report = study(&file(&[("head.bias", &[100], &bias), ("head.weight", &[100, 64], &matrix)]));
    assert_eq!((report.verdict, rules(&report)), (Verdict::Clean, vec![]));
    let stats: &TensorStats = report.tensors.iter().find(|stats| stats.name == "head.weight").unwrap();
    assert_eq!((stats.elements, stats.nan, stats.dead_rows), (6_400, 0, 0));
    assert!(stats.mean.abs() < 0.01 && (stats.std - 0.029).abs() < 0.002, "{stats:?}");
}

#[test]
fn what_stands_out_is_told() {
    let mut matrix = numbers(100 * 64, 1);
    matrix[0..64].fill(0.0);
    matrix[640..704].iter_mut().for_each(|value| *value *= 100.0);
    let mut bias = numbers(100, 2);
    bias[7] = 40.0;
    let constant = vec![0.5; 64 * 64];
    let bytes =
        file(&[("c", &[64, 64], &constant), ("head.bias", &[100], &bias), ("head.weight", &[100, 64], &matrix)]);
    let report = study(&bytes);
    assert_eq!(report.verdict, Verdict::Clean);
    let found: BTreeSet<&str> = rules(&report).into_iter().collect();
    assert_eq!(found, BTreeSet::from(["RF-WTS-003", "RF-WTS-004", "RF-WTS-005", "RF-WTS-006"]));
    matrix[5] = f32::NAN;
    let report = study(&file(&[("w", &[100, 64], &matrix)]));
    assert_eq!(report.verdict, Verdict::Suspicious);
    assert!(rules(&report).contains(&"RF-WTS-002"));
}

#[test]
fn a_low_rank_edit_is_told_from_training() {
    let (rows, columns) = (96_u64, 128_u64);
    let base = numbers(96 * 128, 3);
    let (left, right) = (numbers(96 * 2, 4), numbers(128 * 2, 5));
    let at = |values: &[f32], index: usize| values[index];
    let edited: Vec<f32> = base
        .iter()
        .enumerate()
        .map(|(index, value)| {
            let (row, column) = (index / 128, index % 128);
            value + (0..2).map(|k| at(&left, row * 2 + k) * at(&right, column * 2 + k)).sum::<f32>()
        })
        .collect();
    let trained: Vec<f32> = base.iter().zip(numbers(96 * 128, 6)).map(|(value, step)| value + step * 0.01).collect();
    let base = file(&[("w", &[rows, columns], &base)]);
    let study = |bytes: Vec<u8>| compare("x", &mut Cursor::new(bytes), &mut Cursor::new(&base), &Limits::default());
    let report = study(file(&[("w", &[rows, columns], &edited)]));
    let difference = report.tensors[0].difference.clone().unwrap();
    assert_eq!(difference.rank, Some(2));
    assert_eq!(rules(&report), ["RF-WTS-007"]);
    let report = study(file(&[("w", &[rows, columns], &trained)]));
    assert_eq!((report.tensors[0].difference.clone().unwrap().rank, rules(&report)), (None, vec![]));
    let report = study(base.clone());
    assert!(report.tensors[0].difference.clone().unwrap().relative.abs() < f64::EPSILON);
    let report = study(file(&[("other", &[2, 2], &[1.0, 2.0, 3.0, 4.0])]));
    assert_eq!(report.unmatched, ["other", "w"]);
}

#[test]
fn every_format_is_read() {
    let cases = [
        ("zip/good-torch.pt", "pytorch-zip", "weight"),
        ("zip/good-torch-deflated.pt", "pytorch-zip", "weight"),
        ("torch/state_dict.pt", "pytorch-zip", ""),
        ("weights/good-noise.npy", "npy", "array"),
        ("onnx/plain.onnx", "onnx", ""),
        ("safetensors/library.safetensors", "safetensors", ""),
    ];
    for (name, format, tensor) in cases {
        let report = weights(name, &mut File::open(samples::folder().join(name)).unwrap(), &Limits::default());
        assert_eq!(report.format, format, "{name}");
        assert!(report.tensors.iter().any(|stats| stats.elements > 0 && stats.name.contains(tensor)), "{report:?}");
        assert!(!rules(&report).contains(&"RF-WTS-008"), "{name}: {:?}", report.findings);
    }
}

#[test]
fn what_cannot_be_read_is_incomplete() {
    for bytes in [&b"hello"[..], b"PK\x03\x04 broken", b""] {
        assert_eq!(study(bytes).verdict, Verdict::Incomplete);
    }
    let whole = file(&[("w", &[8, 8], &numbers(64, 1))]);
    assert_ne!(study(&whole[..whole.len() - 9]).verdict, Verdict::Clean);
}

#[test]
fn a_table_names_what_the_numbers_come_from() {
    for name in [
        "zip/good-torch.pt",
        "zip/good-torch-deflated.pt",
        "torch/state_dict.pt",
        "weights/good-noise.npy",
        "onnx/plain.onnx",
        "safetensors/library.safetensors",
    ] {
        let mut file = File::open(samples::folder().join(name)).unwrap();
        let table = tensor_table(&mut file, &Limits::default());
        let report = weights(name, &mut file, &Limits::default());
        assert_eq!(table.format, report.format, "{name}");
        assert_eq!(table.unread, Vec::<String>::new(), "{name}");
        let listed: Vec<_> = table.tensors.iter().map(|head| (&head.name, &head.dtype, &head.shape)).collect();
        let read: Vec<_> = report.tensors.iter().map(|stats| (&stats.name, &stats.dtype, &stats.shape)).collect();
        assert_eq!(listed, read, "{name}");
        let summary = weight_summary(name, &mut file, &Limits::default()).unwrap();
        assert_eq!(summary.tensors, report.tensors.len() as u64);
    }
    for text in [&b"{\"architectures\": [\"Net\"]}"[..], b"", b"import os\n", b"{ }"] {
        let table = tensor_table(&mut Cursor::new(text), &Limits::default());
        assert!(table.tensors.is_empty() && table.unread.is_empty(), "{table:?}");
        assert_eq!(weight_summary("x", &mut Cursor::new(text), &Limits::default()), None);
    }
}

#[test]
fn only_named_tensors_of_one_shape_are_compared() {
    let (a, b) = (numbers(96, 1), numbers(96, 2));
    let mut moved = a.clone();
    moved[5] += 1.0;
    let newer = file(&[("a", &[8, 12], &moved), ("b", &[8, 12], &b), ("c", &[8, 12], &a), ("d", &[96], &a)]);
    let held = file(&[("a", &[8, 12], &a), ("b", &[8, 12], &b), ("c", &[8, 12], &b), ("d", &[12, 8], &a)]);
    let names: BTreeSet<String> = ["a", "b", "d", "e"].map(str::to_owned).into();
    let mut told = Vec::new();
    let (mut newer, mut held) = (Cursor::new(newer), Cursor::new(held));
    let changes =
        tensor_changes(&mut newer, &mut held, &names, &Limits::default(), &mut |done, all| told.push((done, all)));
    assert_eq!(changes.iter().map(|change| change.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(told, [(384, 768), (768, 768)]);
    let [a_change, b_change] = [0, 1].map(|index| changes[index].difference.clone().unwrap());
    assert!((a_change.changed - 1.0 / 96.0).abs() < 1e-12 && a_change.relative > 0.0 && a_change.rank == Some(1));
    let norm = a.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    assert!((a_change.base_norm - norm).abs() < 1e-9 && (a_change.relative - 1.0 / norm).abs() < 1e-6, "{a_change:?}");
    assert!(b_change.relative.abs() < f64::EPSILON && b_change.changed.abs() < f64::EPSILON);
}

#[test]
fn a_table_of_a_quantised_file_has_what_no_number_is_read_of() {
    // GGUF, version 3: one tensor of plain numbers, one of blocks of four bits.
    let mut bytes = [&b"GGUF"[..], &3_u32.to_le_bytes(), &2_u64.to_le_bytes(), &0_u64.to_le_bytes()].concat();
    for (name, dimensions, kind, offset) in [("plain", [4_u64, 2], 0_u32, 0_u64), ("packed", [32, 2], 2, 32)] {
        bytes.extend((name.len() as u64).to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(2_u32.to_le_bytes());
        bytes.extend(dimensions.iter().flat_map(|side| side.to_le_bytes()));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.extend(numbers(8, 1).into_iter().flat_map(f32::to_le_bytes));
    bytes.extend([7; 36]);
    let table = tensor_table(&mut Cursor::new(&bytes), &Limits::default());
    let shown: Vec<_> = table.tensors.iter().map(|head| (&*head.name, &*head.dtype, &*head.shape)).collect();
    assert_eq!(shown, [("plain", "F32", &[2, 4][..]), ("packed", "Q4_0", &[2, 32][..])]);
    assert!(table.unread.is_empty(), "{table:?}");
    let report = study(&bytes);
    assert_eq!((report.format.as_str(), report.tensors.len(), report.verdict), ("gguf", 1, Verdict::Incomplete));
    assert!(report.findings[0].message.contains("`packed`: numbers of type `Q4_0`"), "{:?}", report.findings);
}
