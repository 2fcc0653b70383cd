//! Any bytes as an HDF5 file: its tree, what its attributes refer to, and the contents of its datasets.
#![no_main]
use ringfence_format::hdf5::Reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut source = std::io::Cursor::new(data);
    let Ok(mut reader) = Reader::open(&mut source) else { return };
    let Ok(tree) = reader.walk() else { return };
    for object in tree.objects.iter().take(64) {
        for attribute in object.attributes.iter().take(16) {
            let _ = reader.referred(&attribute.datatype, &attribute.raw);
        }
        if let Some(dataset) = &object.dataset {
            let content = reader.content(dataset, 1 << 16).unwrap_or_default();
            let _ = reader.referred(&dataset.datatype, &content.bytes);
        }
    }
    let _ = reader.joined_extents();
});
