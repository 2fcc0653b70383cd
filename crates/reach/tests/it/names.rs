//! What people write, and what strangers call their files.

use ringfence_reach::testing::{Fault, Reply};
use ringfence_reach::{PathFault, ReachError, Source, check_path, is_commit};
use serde_json::json;

use crate::world::{hub, reach, source};

#[test]
fn sources_are_read_and_printed_in_one_spelling() {
    let hash = "ab".repeat(32);
    for text in [
        "hf://google/bert_uncased_L-2_H-128_A-2".to_owned(),
        "hf://gpt2".into(),
        "hf://org/model@main".into(),
        "hf://org/model@refs/pr/1".into(),
        "hf://org/model@0123456789012345678901234567890123456789".into(),
        "hf://datasets/org/name@v1.0".into(),
        "https://example.org/a/b.onnx?x=1".into(),
        format!("https://example.org:8443/a#sha256={hash}"),
        "file:/srv/models".into(),
        "s3://bucket".into(),
        "s3://my.bucket-1/a/b c/".into(),
        format!("kaggle://google/bert/tensorFlow2/base/3#sha256={hash}"),
        "tfhub://google/imagenet/mobilenet_v2_100_224/feature_vector/5".into(),
    ] {
        let read: Source = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.to_string(), text);
    }
    assert_eq!(source("HTTPS://Example.ORG/".to_lowercase().as_str()).to_string(), "https://example.org/");
    assert_eq!(source("file:///srv/a").to_string(), "file:/srv/a");
    assert_eq!(source("hf://models/org/name").to_string(), "hf://org/name");
    assert_eq!(source("hf://org/name@v1").name(), "hf://org/name");
    assert_eq!(source(&format!("https://h.org/a?t=secret#sha256={hash}")).name(), "https://h.org/a");
}

#[test]
fn what_is_no_source_is_refused_by_reason() {
    for text in [
        "",
        "model",
        "hf://",
        "hf://a/b/c",
        "hf://org/..",
        "hf://../model",
        "hf://org/model@",
        "hf://org/model@../../etc",
        "hf://org/model@-rf",
        "hf://org/model@a//b",
        "hf://org/mo%2fdel",
        "hf://org/mödel",
        "hf://spaces/org/app",
        "hf://org/model?x=1",
        "https://",
        "https://user:pass@example.org/",
        "https://example.org/a\\b",
        "https://example.org/a b",
        "https://exa mple.org/",
        "https://2130706433/",
        "https://127.1/",
        "https://0x7f.0.0.1/",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://example.org/#sha256=12",
        "https://example.org/#fragment",
        "https://[::1/",
        "ftp://example.org/a",
        "file:relative",
        "file:/a/../../etc/passwd",
        "file://host/a",
        "s3://",
        "s3://UPPER/x",
        "s3://ab/x",
        "s3://192.168.0.1/x",
        "s3://bucket//x",
        "kaggle://a/b/c/d",
        "kaggle://a/b/c/d/latest",
        "kaggle://a/b/../d/1",
        "tfhub://a/1",
        "hf://org/model\n",
    ] {
        assert!(text.parse::<Source>().is_err(), "{text:?}");
    }
    assert!("x".repeat(5_000).parse::<Source>().is_err());
}

#[test]
fn hostile_file_names_are_refused_by_name() {
    let long = "x".repeat(256);
    let deep = "d/".repeat(40) + "f";
    for (path, fault) in [
        ("", PathFault::Unsafe),
        ("/etc/passwd", PathFault::Unsafe),
        ("../up", PathFault::Unsafe),
        ("a/../../up", PathFault::Unsafe),
        ("a//b", PathFault::Unsafe),
        ("./a", PathFault::Unsafe),
        ("a\\b", PathFault::Unsafe),
        ("C:evil", PathFault::Unsafe),
        ("a\0b", PathFault::Unsafe),
        ("a\nb", PathFault::Unsafe),
        ("con", PathFault::Windows),
        ("a/NUL.txt", PathFault::Windows),
        ("com1.bin", PathFault::Windows),
        ("LPT².x", PathFault::Windows),
        ("trailing.", PathFault::Windows),
        ("trailing ", PathFault::Windows),
        ("what?", PathFault::Windows),
        (".git/hooks/post-checkout", PathFault::Git),
        ("sub/.GIT/config", PathFault::Git),
        ("invoice\u{202e}gpj.exe", PathFault::Hidden),
        ("zero\u{200b}width", PathFault::Hidden),
        (long.as_str(), PathFault::TooDeep),
        (deep.as_str(), PathFault::TooDeep),
    ] {
        assert_eq!(check_path(path), Err(fault), "{path:?}");
    }
    for path in ["a", ".gitattributes", "console.txt", "a b/ç.bin", "com10", "日本/モデル.onnx", "v1..2", ".hidden"]
    {
        assert_eq!(check_path(path), Ok(()), "{path:?}");
    }
}

#[test]
fn a_listing_with_one_hostile_name_is_no_listing() {
    let blob = "0".repeat(40);
    let entry = |path: &str| json!({"type": "file", "oid": blob, "size": 1, "path": path});
    for (paths, wanted) in [
        (vec!["a", "../b"], PathFault::Unsafe),
        (vec!["README.md", "readme.MD"], PathFault::Duplicate),
        (vec!["stra\u{df}e", "STRASSE"], PathFault::Duplicate),
        (vec!["\u{e9}", "e\u{301}"], PathFault::Duplicate),
        (vec!["a", "a/b"], PathFault::FileAndFolder),
        (vec!["A", "a/b"], PathFault::FileAndFolder),
    ] {
        let hub = hub();
        let tree = serde_json::Value::Array(paths.iter().map(|path| entry(path)).collect());
        hub.api.spoil("/tree/", 1, Fault::Instead(Reply::json(&tree)));
        let error = reach(hub.settings()).listing(&source("hf://acme/digits")).unwrap_err();
        assert!(matches!(&error, ReachError::Path { fault, .. } if *fault == wanted), "{paths:?}: {error}");
    }
}

#[test]
fn trees_that_make_no_sense_are_refused() {
    let hash = "ab".repeat(32);
    for tree in [
        json!({"error": "no"}),
        json!([{"type": "file", "path": "a"}]),
        json!([{"type": "file", "path": "a", "oid": "short", "size": 1}]),
        json!([{"type": "file", "path": "a", "oid": hash, "size": -1}]),
        json!([{"type": "symlink", "path": "a", "oid": "0".repeat(40), "size": 1}]),
        json!([{"type": "file", "path": "a", "oid": "0".repeat(40), "size": 1, "lfs": {"oid": "x", "size": 1}}]),
        json!([1, 2]),
    ] {
        let hub = hub();
        hub.api.spoil("/tree/", 1, Fault::Instead(Reply::json(&tree)));
        let error = reach(hub.settings()).listing(&source("hf://acme/digits")).unwrap_err();
        assert!(matches!(error, ReachError::Malformed { .. }), "{tree}: {error}");
    }
    let hub = hub();
    let deep = "[".repeat(100_000);
    hub.api.spoil("/tree/", 1, Fault::Instead(Reply::new(200, deep.as_bytes())));
    assert!(matches!(reach(hub.settings()).listing(&source("hf://acme/digits")), Err(ReachError::Malformed { .. })));
}

#[test]
fn commits_are_forty_lower_case_digits() {
    assert!(is_commit("0123456789abcdef0123456789abcdef01234567"));
    for text in ["main", "0123456789ABCDEF0123456789abcdef01234567", "0123456789abcdef"] {
        assert!(!is_commit(text));
    }
}
