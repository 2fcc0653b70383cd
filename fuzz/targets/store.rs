//! Any bytes as the content of a manifest and of an index segment.
#![no_main]
use ringfence_store::{Manifest, ManifestId};
use ringfence_trust::keys::Namespace;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = Manifest::decode(ManifestId::from_bytes([0; 16]), Namespace::Admitted, data);
    let _ = ringfence_store::check_index_segment(data);
});
