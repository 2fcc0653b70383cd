//! A poisoned repository is stopped by looking at it, before its weights are fetched.

use ringfence_reach::BLOCK_BYTES;
use ringfence_scan::{Limits, scan_file};
use ringfence_schema::Verdict;

use crate::world::{content, reach, source};
use ringfence_reach::testing::TestHub;

/// A zip archive of stored members, as `torch.save` writes it (APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16).
fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let offset = u32::try_from(out.len()).unwrap();
        let size = u32::try_from(bytes.len()).unwrap();
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
        common.extend_from_slice(&size.to_le_bytes());
        common.extend_from_slice(&size.to_le_bytes());
        common.extend_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
        common.extend_from_slice(&[0, 0]);
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&common);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(bytes);
        directory.extend_from_slice(b"PK\x01\x02\x14\0");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let (start, size) = (u32::try_from(out.len()).unwrap(), u32::try_from(directory.len()).unwrap());
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&count);
    out.extend_from_slice(&count);
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&start.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}

#[test]
fn a_poisoned_archive_is_known_before_its_weights_are_fetched() {
    let weights = content(32 << 20);
    let poisoned = archive(&[
        ("archive/data.pkl", b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."),
        ("archive/data/0", &weights),
        ("archive/version", b"3\n"),
    ]);
    let hub = TestHub::start(0).unwrap();
    hub.put("models/evil/net", &[("pytorch_model.bin", &poisoned), ("config.json", b"{}")]);
    let mut settings = hub.settings();
    settings.limits.range_bytes_max = 1 << 20;
    let reach = reach(settings);
    let listing = reach.listing(&source("hf://evil/net")).unwrap();
    let file = listing.file("pytorch_model.bin").unwrap();
    let mut look = reach.open_range(file).unwrap();
    let report = scan_file(&file.path, &mut look, &Limits::default());
    assert_eq!(report.verdict, Verdict::Malicious, "{:?}", report.findings);
    let sent = hub.storage.sent("Signature");
    assert!(sent <= 1 << 20, "{sent} bytes of {} were fetched", poisoned.len());
    assert!(look.fetched() >= BLOCK_BYTES);
    eprintln!("looked at {sent} of {} bytes in {} requests", poisoned.len(), look.requests());
}
