//! Digests, references and trees.

use proptest::prelude::*;
use ringfence_schema::{
    Digest, Reference, Selector, Tree, TreeEntry,
    canon::from_canonical,
    finding::printable,
    tree::{TreeError, is_safe_path},
};

#[test]
fn a_digest_has_one_spelling() {
    let digest = Digest::of(b"abc");
    let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(digest.to_string(), text);
    assert_eq!(text.parse(), Ok(digest));
    for other in [&text[7..], &text.to_uppercase(), &text[..70], "sha256:", "sha512:00"] {
        assert!(other.parse::<Digest>().is_err(), "{other}");
    }
}

#[test]
fn references_say_which_version() {
    let selector = |text: &str| text.parse::<Reference>().unwrap().selector;
    assert_eq!(selector("dataset/digits"), Selector::Latest);
    assert_eq!(selector("dataset/digits@3"), Selector::Version(3));
    assert_eq!(selector("model/net@released"), Selector::Label("released".into()));
    assert_eq!(selector(&format!("model/net@{}", Digest::of(b""))), Selector::Digest(Digest::of(b"")));
    let wrong = [
        "digits",
        "Dataset/x",
        "dataset/",
        "dataset/../x",
        "dataset/x@0",
        "dataset/x@03",
        "dataset/x@",
        "model/é",
        "dataset/x@1@2",
        "model/a/b",
        "dataset/X",
    ];
    for text in wrong {
        assert!(text.parse::<Reference>().is_err(), "{text}");
    }
}

#[test]
fn trees_refuse_paths_that_could_leave_or_collide() {
    for path in ["/etc/passwd", "../x", "a/../b", "a//b", "", ".", "a\\b", "C:x", "a\0b", "e\u{301}"] {
        assert!(!is_safe_path(path), "{path:?}");
    }
    let file = |path: &str| TreeEntry { path: path.into(), size: 1, sha256: Digest::of(b"x") };
    assert_eq!(Tree::new(vec![file("a"), file("a")]), Err(TreeError::DuplicatePath { path: "a".into() }));
    assert_eq!(
        Tree::new(vec![file("b"), file("a")]).unwrap().digest(),
        Tree::new(vec![file("a"), file("b")]).unwrap().digest()
    );
}

#[test]
fn a_tree_has_the_documented_identity() {
    let tree = Tree::new(vec![TreeEntry { path: "a.txt".into(), size: 3, sha256: Digest::of(b"abc") }]).unwrap();
    let canonical = br#"{"files":[{"path":"a.txt","sha256":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","size":3}],"schema":"ringfence.tree/1"}"#;
    assert_eq!(tree.digest(), Digest::of(canonical));
    assert_eq!(from_canonical::<Tree>(canonical).unwrap(), tree);
}

#[test]
fn foreign_text_is_shown_without_its_tricks() {
    assert_eq!(printable("a\u{202e}b\n\u{1b}[2J", 80), "a\\u{202e}b\\u{a}\\u{1b}[2J");
    assert_eq!(printable("abcdef", 3), "abc…");
}

proptest! {
    #[test]
    fn references_round_trip(name in "[a-z0-9][a-z0-9._-]{0,20}", version in 1_u64..1_000_000) {
        let text = format!("dataset/{name}@{version}");
        prop_assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
    }

    #[test]
    fn references_never_panic(text in ".{0,80}") {
        let _ = text.parse::<Reference>();
    }
}
