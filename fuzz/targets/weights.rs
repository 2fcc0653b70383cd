//! Any bytes as a file whose weights are studied, alone and beside themselves.
#![no_main]
use std::{collections::BTreeSet, io::Cursor};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let limits = ringfence_scan::Limits::default();
    let file = || Cursor::new(data);
    let alone = ringfence_scan::weights("fuzz", &mut file(), &limits);
    let beside = ringfence_scan::compare("fuzz", &mut file(), &mut file(), &limits);
    assert_eq!(alone.tensors.len(), beside.tensors.len());
    let table = ringfence_scan::tensor_table(&mut file(), &limits);
    assert!(table.tensors.len() >= alone.tensors.len());
    let names: BTreeSet<String> = table.tensors.into_iter().map(|head| head.name).collect();
    let changes = ringfence_scan::tensor_changes(&mut file(), &mut file(), &names, &limits, &mut |_, _| {});
    for change in changes.iter().filter_map(|change| change.difference.as_ref()) {
        assert!(change.relative == 0.0 && change.changed == 0.0, "{change:?}");
    }
});
