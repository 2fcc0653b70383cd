//! Any bytes as a directory's document, whole or a patch, and as a filter.
#![no_main]

use ringfence_server::{
    guard::json,
    scim::{
        query::{Of, filter},
        shape,
    },
};
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = (filter(text, Of::Users), filter(text, Of::Groups));
    }
    let Ok(document) = json::read::<Value>(data) else { return };
    if let Ok(change) = shape::patched_group(&document) {
        // Whoever comes in does not leave with the same patch.
        assert!(change.add.is_disjoint(&change.remove));
        assert!(change.add.len().max(change.remove.len()) <= shape::MEMBERS_MAX);
    }
    let _ = (shape::user(&document), shape::group(&document), shape::patched_user(&document));
});
