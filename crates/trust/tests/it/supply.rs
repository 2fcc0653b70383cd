//! What others sign around models: keyless bundles, minisign, lists of checksums; and what we sign: waivers, advisory feeds.

use std::{fs, path::Path};

use proptest::prelude::*;
use ringfence_schema::{
    Digest, Timestamp, Tree, TreeEntry,
    osv::feed::{FeedHead, Seen},
    waiver::{Waiver, WaiverTerms},
};
use ringfence_trust::{
    content::{Content as _, Folder, OnRecord},
    detached::{self, BareChecksums, DetachedError, Method, TrustedSigners},
    feed::{self, FeedError},
    minisign::{MinisignError, MinisignKey, MinisignSignature},
    oms::{Request, Uncovered},
    sums::{self, SumsError},
    waiver,
};

use crate::support::{People, vectors};

const DAY: u64 = 86_400_000;
const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn request(signature_path: Option<&str>) -> Request<'_> {
    Request { signature_path, at: NOW, uncovered: Uncovered::Tell }
}

#[cfg(feature = "keyless")]
mod keyless {
    use ringfence_trust::oms::{self, KeylessRoot, OmsError, SignedBy, Trusted, Verified};
    use sigstore_verify::trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT};

    use super::*;

    /// Who signed the model whose bundle the project `model-transparency` publishes for its version 1.1.0.
    const IDENTITY: &str = "stefanb@us.ibm.com";
    const ISSUER: &str = "https://sigstore.verify.ibm.com/oauth2";

    fn verify(bundle: &[u8], root: &str, identity: &str, issuer: &str) -> Result<Verified, OmsError> {
        let file = |path: &str, sha256: &str| TreeEntry {
            path: path.into(),
            size: 1,
            sha256: format!("sha256:{sha256}").parse().unwrap(),
        };
        let tree = Tree::new(vec![
            file("signme-1", "f6310066c7320497ea554260c32c43660bff648cb2a61194832cc086077085e1"),
            file("signme-2", "32dcb1f8e1ae52d5963e56a6ba06ab58b424c15ed2a6b70d2feca1d089370028"),
        ]);
        let root = KeylessRoot::from_json(root.as_bytes()).unwrap();
        let trusted = Trusted::Keyless { root, identity: identity.into(), issuer: issuer.into() };
        oms::verify(&OnRecord::new(&tree.unwrap()), bundle, &[trusted], &request(None))
    }

    #[test]
    fn a_keyless_bundle_holds_offline_for_its_identity_and_issuer_only() {
        let bundle = fs::read(vectors().join("oms/keyless.sig")).unwrap();
        let root = SIGSTORE_PRODUCTION_TRUSTED_ROOT;
        let verified = verify(&bundle, root, IDENTITY, ISSUER).unwrap();
        assert_eq!((verified.by, verified.files.len()), (SignedBy::Keyless, 2));
        for (identity, issuer) in [("somebody@us.ibm.com", ISSUER), (IDENTITY, "https://accounts.google.com"), ("", "")]
        {
            let error = verify(&bundle, root, identity, issuer).unwrap_err();
            assert!(matches!(error, OmsError::Keyless { .. }), "{error}");
        }
        let error = verify(&bundle, SIGSTORE_STAGING_TRUSTED_ROOT, IDENTITY, ISSUER).unwrap_err();
        assert!(matches!(error, OmsError::Keyless { .. }), "another authority: {error}");
        // Somebody else's log entry, time or certificate does not do.
        let text = String::from_utf8(bundle).unwrap();
        for (from, to) in [
            ("\"integratedTime\":\"1760062340\"", "\"integratedTime\":\"1760062341\""),
            ("\"logIndex\":\"476246824\"", "\"logIndex\":\"476246823\""),
            ("V0NA1ekHc4sM", "V0NA1ekHc4sN"),
            ("MEUCIBjOA8VW", "MEUCIBjOA8VX"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            assert!(verify(changed.as_bytes(), root, IDENTITY, ISSUER).is_err(), "{from}");
        }
    }
}

/// Key and signatures of the documentation of the crate `minisign-verify` 0.2: the key of its author, over `test`.
const MINISIGN_KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const PREHASHED: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835\tfile:test\tprehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==
";
const LEGACY: &str = "untrusted comment: signature from minisign secret key
RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=
trusted comment: timestamp:1555779966\tfile:test
QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==
";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

fn minisign_signers() -> TrustedSigners {
    TrustedSigners { minisign: vec![MinisignKey::parse(MINISIGN_KEY.as_bytes()).unwrap()], ..TrustedSigners::default() }
}

#[test]
fn minisign_signatures_hold_in_both_forms() {
    let key =
        MinisignKey::parse(format!("untrusted comment: minisign public key\n{MINISIGN_KEY}\n").as_bytes()).unwrap();
    assert_eq!(key.id(), "E7620F1842B4E81F");
    for signature in [PREHASHED, LEGACY] {
        let dir = folder(&[("test", "test"), ("test.minisig", signature), ("other", "x")]);
        let files = Folder::open(dir.path()).unwrap();
        let verify = |files: &Folder, signature: &str| {
            detached::verify_tree(files, signature.as_bytes(), &minisign_signers(), &request(Some("test.minisig")))
        };
        let verified = verify(&files, signature).unwrap();
        assert_eq!(
            (verified.method, verified.files, verified.unsigned),
            (Method::Minisign, vec!["test".into()], vec!["other".into()])
        );
        assert_eq!(verified.signer.as_deref(), Some("E7620F1842B4E81F"));
        assert!(verified.comment.contains("file:test"));
        for changed in [signature.replace("file:test", "file:tesT"), signature.replacen("59", "58", 1)] {
            assert!(verify(&files, &changed).is_err());
        }
        fs::write(dir.path().join("test"), "tesT").unwrap();
        let error = verify(&Folder::open(dir.path()).unwrap(), signature).unwrap_err();
        assert!(matches!(error, DetachedError::Minisign(MinisignError::Invalid { what: "the file", .. })), "{error}");
        let nothing = TrustedSigners::default();
        let error = detached::verify_tree(&files, signature.as_bytes(), &nothing, &request(Some("test.minisig")));
        assert!(matches!(error, Err(DetachedError::NoTrust { .. })));
    }
    for wrong in ["", "x", "untrusted comment: x\n\n\n\n", &PREHASHED.replace("RUQ", "RVQ"), &PREHASHED[..200]] {
        assert!(MinisignSignature::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn lists_of_checksums_are_read_in_every_form_that_coreutils_writes() {
    let (a, b) = (Digest::of(b"a").hex(), Digest::of(b"b").hex());
    let list = format!("{a}  ./a\n{b} *d/b c\nSHA256 (e (1)) = {a}\n\\{b}  n\\nl\\\\\n");
    let sums = sums::parse(list.as_bytes()).unwrap();
    assert_eq!(sums.keys().collect::<Vec<_>>(), ["a", "d/b c", "e (1)", "n\nl\\"]);
    assert_eq!(sums::parse(sums::to_list(&sums).as_bytes()).unwrap(), sums);
    for (wrong, line) in [
        (format!("{a}  a\n# comment\n"), 2),
        (format!("{a} a\n"), 1),
        (format!("{}  a\n", &a[1..]), 1),
        (format!("\\{a}  a\\q\n"), 1),
        (format!("SHA512 (a) = {a}\n"), 1),
    ] {
        let error = sums::parse(wrong.as_bytes()).unwrap_err();
        assert!(matches!(error, SumsError::Line { line: found } if found == line), "{wrong}: {error}");
    }
    for name in ["../a", "/etc/passwd", "a/../b", "a//b", "."] {
        let error = sums::parse(format!("{a}  {name}\n").as_bytes()).unwrap_err();
        assert!(matches!(error, SumsError::UnsafeName { .. }), "{name}: {error}");
    }
    let error = sums::parse(format!("{a}  a\n{b}  ./a\n").as_bytes()).unwrap_err();
    assert!(matches!(error, SumsError::TwiceListed { line: 2, .. }), "{error}");
}

#[test]
fn a_list_of_checksums_tells_changes_and_what_it_does_not_cover() {
    let list = format!("{}  a\n{}  d/b\n", Digest::of(b"a").hex(), Digest::of(b"b").hex());
    let dir = folder(&[("a", "a"), ("d/b", "b"), ("extra", "x"), ("SHA256SUMS", &list)]);
    let signers = TrustedSigners { bare_checksums: BareChecksums::Accept, ..TrustedSigners::default() };
    let verify = |dir: &Path, uncovered, signers: &TrustedSigners| {
        let request = Request { uncovered, ..request(Some("SHA256SUMS")) };
        detached::verify_tree(&Folder::open(dir).unwrap(), list.as_bytes(), signers, &request)
    };
    let verified = verify(dir.path(), Uncovered::Tell, &signers).unwrap();
    assert_eq!((verified.signer, verified.unsigned), (None, vec!["extra".to_owned()]));
    assert!(matches!(verify(dir.path(), Uncovered::Refuse, &signers), Err(DetachedError::Uncovered(_))));
    let refused = verify(dir.path(), Uncovered::Tell, &TrustedSigners::default());
    assert!(matches!(refused, Err(DetachedError::NoTrust { .. })), "nobody signed it");
    fs::write(dir.path().join("a"), "A").unwrap();
    fs::remove_file(dir.path().join("d/b")).unwrap();
    let error = verify(dir.path(), Uncovered::Tell, &signers).unwrap_err();
    assert!(error.to_string().contains("changed `a`; missing `d/b`"), "{error}");
    let unknown = detached::verify_tree(&Folder::open(dir.path()).unwrap(), b"\x00\x01", &signers, &request(None));
    assert!(matches!(unknown, Err(DetachedError::Unknown)));
}

fn waiver_terms(issued: Timestamp) -> WaiverTerms {
    WaiverTerms {
        rule: "RF-PKL-003".into(),
        file: None,
        member: None,
        reason: "reviewed by hand".into(),
        by: "alice".into(),
        issued_ms: issued,
        expires_ms: issued.plus_millis(30 * DAY),
    }
}

#[test]
fn waivers_count_only_if_pinned_signers_signed_every_byte() {
    let (people, stranger) = (People::new(1, 1), People::new(2, 1));
    let made = Waiver::new(Digest::of(b"file"), waiver_terms(NOW)).unwrap();
    let line = waiver::seal(&made, &[&people.evidence]).unwrap();
    let pinned = [people.evidence.verifying_key()];
    let (signed, signers) = waiver::open(&line, &pinned).unwrap();
    assert_eq!((signed.waiver, signed.id, signers), (made.clone(), Digest::of(&line), pinned.to_vec()));
    assert!(waiver::open(&line, &[stranger.evidence.verifying_key()]).is_err());
    for position in (0..line.len()).step_by(7) {
        let mut changed = line.clone();
        changed[position] ^= 1;
        assert!(waiver::open(&changed, &pinned).is_err(), "byte {position}");
    }
    // Evidence of another kind is no waiver, whoever signed it.
    let scan = crate::support::speak_statement(ringfence_schema::evidence::EvidenceKind::Scan);
    let scan = ringfence_trust::statement::seal(&scan, &[&people.evidence]).unwrap();
    assert!(waiver::open(&scan, &pinned).is_err());

    let foreign = waiver::seal(&made, &[&stranger.evidence]).unwrap();
    let file = [b"# accepted findings\n".as_slice(), &line, b"\n\n", &foreign, b"\r\nrubbish\n"].concat();
    let read = waiver::open_file(&file, &pinned).unwrap();
    assert_eq!(read.signed().len(), 1);
    assert_eq!(read.refused.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 5]);
}

const RECORDS: &str =
    "{\"id\":\"X-1\",\"modified\":\"2026-01-01T00:00:00Z\"}\n{\"id\":\"X-2\",\"modified\":\"2026-01-01T00:00:00Z\"}\n";

fn head(serial: u64) -> FeedHead {
    FeedHead { feed: "ringfence".into(), serial, issued_ms: NOW, expires_ms: NOW.plus_millis(7 * DAY), records: 0 }
}

#[test]
fn a_feed_is_signed_fresh_and_never_rolled_back() {
    let people = People::new(1, 1);
    let pinned = [people.evidence.verifying_key()];
    let file = feed::seal(&head(5), RECORDS.as_bytes(), &[&people.evidence]).unwrap();
    let opened = feed::open(&file, &pinned, None, NOW).unwrap();
    assert_eq!((opened.advisories.len(), opened.head.records, opened.expired), (2, 2, false));
    let open = |seen: Option<&Seen>, now| feed::open(&file, &pinned, seen, now);
    assert!(open(Some(&opened.seen), NOW.plus_millis(7 * DAY)).unwrap().expired, "an expired feed says so");
    let seen = |serial, feed: &str| Seen { feed: feed.into(), serial, records: Digest::of(b"others") };
    assert!(matches!(open(Some(&seen(6, "ringfence")), NOW), Err(FeedError::Rollback { held: 6, given: 5, .. })));
    assert!(matches!(open(Some(&seen(5, "ringfence")), NOW), Err(FeedError::Forked { serial: 5, .. })));
    assert!(matches!(open(Some(&seen(4, "other")), NOW), Err(FeedError::OtherFeed { .. })));
    assert!(open(Some(&seen(4, "ringfence")), NOW).is_ok());
    assert!(matches!(open(None, Timestamp::from_millis(NOW.millis() - DAY)), Err(FeedError::NotYet { .. })));

    let stranger = [People::new(2, 1).evidence.verifying_key()];
    assert!(matches!(feed::open(&file, &stranger, None, NOW), Err(FeedError::Envelope(_))));
    for changed in [
        String::from_utf8(file.clone()).unwrap().replace("X-2", "X-3"),
        String::from_utf8(file.clone()).unwrap() + "{\"id\":\"X-3\",\"modified\":\"\"}\n",
    ] {
        assert!(matches!(feed::open(changed.as_bytes(), &pinned, None, NOW), Err(FeedError::Records { .. })));
    }
    for position in (0..file.len()).step_by(11) {
        let mut changed = file.clone();
        changed[position] ^= 1;
        assert!(feed::open(&changed, &pinned, None, NOW).is_err(), "byte {position}");
    }
    assert!(matches!(feed::seal(&head(0), b"", &[&people.evidence]), Err(FeedError::Head)));
    assert!(matches!(feed::seal(&head(1), b"{}\n", &[&people.evidence]), Err(FeedError::Record { line: 1, .. })));
}

#[test]
fn waivers_and_feeds_keep_their_documented_bytes() {
    let people = People::new(300, 2);
    let terms = WaiverTerms { file: Some("m.bin".into()), member: Some("data.pkl".into()), ..waiver_terms(NOW) };
    let line = waiver::seal(&Waiver::new(Digest::of(b"file"), terms).unwrap(), &[&people.evidence]).unwrap();
    crate::own_vectors::compare("waivers.txt", &[&line, b"\n".as_slice()].concat());
    let file = feed::seal(&head(1), RECORDS.as_bytes(), &[&people.evidence]).unwrap();
    crate::own_vectors::compare("feed.txt", &file);
}

#[test]
fn folders_are_read_beneath_their_root_without_links() {
    let dir = folder(&[("a", "a"), ("d/b", "b")]);
    let files = Folder::open(dir.path()).unwrap();
    let entry = files.find("d/b").unwrap();
    // Between listing and reading, the folder becomes a link out.
    fs::remove_dir_all(dir.path().join("d")).unwrap();
    let outside = folder(&[("b", "b")]);
    std::os::unix::fs::symlink(outside.path(), dir.path().join("d")).unwrap();
    assert!(files.read(entry, 10).is_err());
    fs::write(dir.path().join("a"), "longer").unwrap();
    let entry = files.find("a").unwrap();
    let hashed = files.hash(entry, ringfence_trust::content::HashAlgorithm::Sha256, 0..entry.size);
    assert!(hashed.is_err(), "a file that grew is not what was listed");
}

proptest! {
    #[test]
    fn foreign_signatures_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[ -~\n]{0,200}") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            let _ = MinisignSignature::parse(bytes);
            let _ = MinisignKey::parse(bytes);
            let _ = sums::parse(bytes);
            let _ = waiver::open_file(bytes, &[]);
            let _ = feed::open(bytes, &[], None, NOW);
        }
    }
}
