//! Advisories: their order of versions, what they match, and that nothing a stranger writes makes the reader fail.

use std::cmp::Ordering;

use proptest::prelude::*;
use ringfence_schema::{
    Digest, Severity,
    osv::{
        self, Advisory, Because, Certainty, Matched, Model, Package,
        version::{Pep440, SemVer, compare, normalise_python_name},
    },
};
use serde_json::{Value, json};

/// Rising, as Python's `packaging` 26.3 sorts them.
const PYTHON_VERSIONS: &[&str] = &[
    "1.0.dev456",
    "1.0a1",
    "1.0a2.dev456",
    "1.0a12.dev456",
    "1.0a12",
    "1.0b1.dev456",
    "1.0b2",
    "1.0b2.post345.dev456",
    "1.0b2.post345",
    "1.0rc1.dev456",
    "1.0rc1",
    "1.0",
    "1.0+abc.5",
    "1.0+abc.7",
    "1.0+5",
    "1.0.post456.dev34",
    "1.0.post456",
    "1.0.15",
    "1.1.dev1",
    "1.10",
    "2.0.1+cu118",
    "2012.4",
    "1!0.1",
];

#[test]
fn python_versions_are_ordered_by_pep_440() {
    for (a, lower) in PYTHON_VERSIONS.iter().enumerate() {
        for (b, upper) in PYTHON_VERSIONS.iter().enumerate() {
            assert_eq!(compare("PyPI", lower, upper), Some(a.cmp(&b)), "{lower} {upper}");
        }
    }
    for (a, b) in [
        ("1.0", "v1.0.0"),
        ("1.0-1", "1.0.post1"),
        ("1.0-ALPHA.1", "1.0a1"),
        ("1.0_preview", "1.0rc0"),
        ("1.0c1", "1.0rc1"),
        ("1.0.r4", "1.0.post4"),
        (" 1.0 ", "1"),
        ("1.0+Ubuntu_1", "1.0+ubuntu.1"),
        ("1.0dev", "1.0.dev0"),
    ] {
        assert_eq!(Pep440::parse(a).unwrap(), Pep440::parse(b).unwrap(), "{a} {b}");
    }
    for wrong in ["", "x", "1.0+", "1..0", "1.0-", "1.0a1b2", "1.0+a..b", "1.0 0", "99999999999999999999", "١.٠"] {
        assert!(Pep440::parse(wrong).is_none(), "{wrong}");
    }
    assert_eq!(normalise_python_name("Ruamel_.YAML"), "ruamel-yaml");
}

#[test]
fn other_versions_are_ordered_by_semver() {
    let rising =
        ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0"];
    for pair in rising.windows(2) {
        assert!(SemVer::parse(pair[0]).unwrap() < SemVer::parse(pair[1]).unwrap(), "{pair:?}");
    }
    assert_eq!(compare("npm", "v1.2", "1.2.0+build"), Some(Ordering::Equal));
    assert_eq!(compare("Debian:12", "1", "2"), None);
}

fn advisory(affected: Value) -> Advisory {
    let record = json!({"id": "X-1", "modified": "2026-01-01T00:00:00Z", "affected": [affected]});
    osv::parse(record.to_string().as_bytes()).unwrap()
}

fn torch(affected: &Value, version: &str) -> Option<(Certainty, Because)> {
    let mut affected = affected.clone();
    affected["package"] = json!({"ecosystem": "PyPI", "name": "Torch"});
    let package = Package { ecosystem: "PyPI".into(), name: "torch".into(), version: version.into() };
    let found = osv::matches(&[advisory(affected)], &[package], &[]);
    assert!(found.len() <= 1);
    found.into_iter().next().map(|found| (found.certainty, found.because))
}

#[test]
fn ranges_and_lists_are_evaluated_as_the_schema_says() {
    let range = |events: Value| json!({"ranges": [{"type": "ECOSYSTEM", "events": events}]});
    let certain = Some((Certainty::Certain, Because::InRange));
    let fixed = range(json!([{"introduced": "0"}, {"fixed": "1.13.1"}]));
    assert_eq!(torch(&fixed, "1.13.0"), certain);
    assert_eq!(torch(&fixed, "1.13.1"), None);
    assert_eq!(torch(&fixed, "1.13.1rc1"), certain, "a candidate comes before the fix");
    assert_eq!(torch(&fixed, "1.13.1+cu118"), None);
    let two = range(json!([{"fixed": "2.2"}, {"introduced": "2.0"}, {"fixed": "1.2"}, {"introduced": "1.0"}]));
    for (version, expected) in
        [("0.9", false), ("1.1", true), ("1.2", false), ("2.1", true), ("2.2", false), ("3", false)]
    {
        assert_eq!(torch(&two, version).is_some(), expected, "{version}");
    }
    let last = range(json!([{"introduced": "1.0"}, {"last_affected": "1.5"}]));
    assert_eq!(torch(&last, "1.5"), certain);
    assert_eq!(torch(&last, "1.5.1"), None);
    let limited = range(json!([{"introduced": "0"}, {"limit": "2.0"}]));
    assert_eq!(torch(&limited, "1.9"), certain);
    assert_eq!(torch(&limited, "2.0"), None);
    assert_eq!(torch(&json!({"versions": ["1.4", "1.5.0"]}), "1.5"), Some((Certainty::Certain, Because::Listed)));
    assert_eq!(torch(&json!({}), "9"), Some((Certainty::Certain, Because::Every)));
    assert_eq!(torch(&fixed, "not a version"), Some((Certainty::Possible, Because::Undecided)), "never silently clean");
    let commits =
        json!({"ranges": [{"type": "GIT", "repo": "x", "events": [{"introduced": "0"}]}], "versions": ["1.0"]});
    assert_eq!(torch(&commits, "2.0"), None);

    let mut withdrawn = advisory(json!({"package": {"ecosystem": "PyPI", "name": "torch"}}));
    withdrawn.withdrawn = Some("2026-02-01T00:00:00Z".into());
    let package = Package { ecosystem: "PyPI".into(), name: "torch".into(), version: "1".into() };
    assert!(osv::matches(&[withdrawn], &[package], &[]).is_empty());
}

#[test]
fn an_unknown_order_is_a_possible_match() {
    let affected = json!({"package": {"ecosystem": "Debian:12", "name": "openssl"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.0.15-1"}]}]});
    let package = Package { ecosystem: "Debian:12".into(), name: "openssl".into(), version: "3.0.14-1".into() };
    let found = osv::matches(&[advisory(affected)], &[package], &[]);
    assert_eq!((found[0].certainty, found[0].because.clone()), (Certainty::Possible, Because::Undecided));
    assert_eq!(found[0].fixed, ["3.0.15-1"]);
}

#[test]
fn models_match_by_name_revision_and_digest() {
    let model = Model {
        name: "model/base@1".into(),
        hub: Some("Org/Base".into()),
        revision: Some("0123abcd".into()),
        files: vec![Digest::of(b"weights")],
    };
    let decide = |affected: Value| {
        let found = osv::matches(&[advisory(affected)], &[], std::slice::from_ref(&model));
        found.into_iter().next().map(|found| {
            assert_eq!(found.matched, Matched::Model(0));
            (found.certainty, found.because)
        })
    };
    let hub = |purl: &str| json!({"package": {"ecosystem": "Hugging Face", "name": "org/base", "purl": purl}});
    assert_eq!(decide(hub("pkg:huggingface/org/base@0123ABCD")), Some((Certainty::Certain, Because::Listed)));
    assert_eq!(decide(hub("pkg:huggingface/org/base@ffff")), None);
    assert_eq!(decide(hub("pkg:huggingface/org/base")), Some((Certainty::Certain, Because::Every)));
    let digest = Digest::of(b"weights");
    let by_file = json!({"ecosystem_specific": {"sha256": [digest.hex()]}});
    assert_eq!(decide(by_file), Some((Certainty::Certain, Because::File(digest))));
    let mut other_file = hub("pkg:huggingface/org/base");
    other_file["ecosystem_specific"] = json!({"sha256": ["0".repeat(64)]});
    assert_eq!(decide(other_file), None, "an advisory about bad files is about these files");
    let listed = json!({"package": {"ecosystem": "Hugging Face", "name": "org/base"}, "versions": ["0123abcd"]});
    assert_eq!(decide(listed), Some((Certainty::Certain, Because::Listed)));
}

#[test]
fn ratings_become_severities() {
    let rated = |kind: &str, vector: &str| {
        let mut advisory = advisory(json!({}));
        advisory.severity = serde_json::from_value(json!([{"type": kind, "score": vector}])).unwrap();
        (advisory.score(&[]), advisory.severity(&[]))
    };
    assert_eq!(rated("CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"), (Some(9.8), Severity::Critical));
    assert_eq!(rated("CVSS_V3", "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"), (Some(1.8), Severity::Low));
    assert_eq!(
        rated("CVSS_V4", "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"),
        (Some(9.3), Severity::Critical)
    );
    assert_eq!(rated("CVSS_V3", "nonsense"), (None, Severity::High), "unrated is not harmless");
}

#[test]
fn records_out_of_bounds_are_refused() {
    for wrong in [
        "{}",
        r#"{"id":"A","id":"B","modified":"x"}"#,
        r#"{"id":"","modified":"x"}"#,
        r#"{"schema_version":"2.0.0","id":"A","modified":"x"}"#,
        r#"{"id":"A","modified":"x","affected":[{"versions":[""]}]}"#,
    ] {
        assert!(osv::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn versions_have_one_order(a in "[0-9a-c.+!dev-]{0,12}", b in "[0-9a-c.+!dev-]{0,12}", c in "[0-9.rcpost]{0,12}") {
        for ecosystem in ["PyPI", "npm"] {
            if let (Some(ab), Some(ba)) = (compare(ecosystem, &a, &b), compare(ecosystem, &b, &a)) {
                prop_assert_eq!(ab, ba.reverse());
            }
            if let (Some(ab), Some(bc), Some(ac)) =
                (compare(ecosystem, &a, &b), compare(ecosystem, &b, &c), compare(ecosystem, &a, &c))
                && ab == bc
            {
                prop_assert_eq!(ab, ac);
            }
        }
    }

    #[test]
    fn records_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = osv::parse(&bytes);
    }
}
