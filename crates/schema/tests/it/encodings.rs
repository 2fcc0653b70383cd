//! RFC 8785 JSON, deterministic CBOR and trail leaves.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ringfence_schema::{
    Digest, Timestamp,
    canon::{CborError, Value, from_canonical, from_cbor, to_canonical, to_cbor, value_to_canonical},
    digest::from_hex,
    trail::{Change, Entry, EntryKind, LeafError, Opening, Outcome, Salted, state_root},
};

#[test]
fn json_matches_the_example_of_rfc_8785_section_3_2_2() {
    let input = r#"{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"#;
    let expected = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
        \"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
    let value: serde_json::Value = serde_json::from_str(input).unwrap();
    assert_eq!(String::from_utf8(to_canonical(&value).unwrap()).unwrap(), expected);
    assert_eq!(from_canonical::<serde_json::Value>(expected.as_bytes()).unwrap(), value);
}

#[test]
fn json_in_any_other_spelling_is_refused() {
    for other in ["{\"b\":1,\"a\":2}", "{\"a\":1,\"a\":1}", "{ }", "{}\n", "{\"a\":1.0}", "{\"a\":\"\\u0041\"}", "[1,]"]
    {
        assert!(from_canonical::<serde_json::Value>(other.as_bytes()).is_err(), "{other}");
    }
}

/// Examples of RFC 8949 Appendix A that lie in the subset, hexadecimal.
const CBOR_EXAMPLES: &[(&str, Value)] = &[
    ("00", Value::Unsigned(0)),
    ("17", Value::Unsigned(23)),
    ("1818", Value::Unsigned(24)),
    ("1903e8", Value::Unsigned(1_000)),
    ("1a000f4240", Value::Unsigned(1_000_000)),
    ("1bffffffffffffffff", Value::Unsigned(u64::MAX)),
    ("40", Value::Bytes(Vec::new())),
    ("60", Value::Text(String::new())),
    ("80", Value::Array(Vec::new())),
    ("f4", Value::Bool(false)),
    ("f5", Value::Bool(true)),
    ("f6", Value::Null),
];

#[test]
fn cbor_matches_rfc_8949_appendix_a() {
    for (hex, value) in CBOR_EXAMPLES {
        assert_eq!(to_cbor(value), from_hex(hex).unwrap(), "{hex}");
        assert_eq!(&from_cbor(&from_hex(hex).unwrap()).unwrap(), value, "{hex}");
    }
    let map = Value::Map(BTreeMap::from([("aa".to_owned(), Value::Unsigned(2)), ("b".to_owned(), Value::Unsigned(1))]));
    assert_eq!(to_cbor(&map), from_hex("a2616201626161 02".replace(' ', "").as_str()).unwrap());
}

#[test]
fn cbor_in_any_other_encoding_is_refused() {
    let not_deterministic = ["1800", "190001", "1a00000001", "1b0000000000000001", "a2616101616102", "a2616201616102"];
    for hex in not_deterministic {
        let error = from_cbor(&from_hex(hex).unwrap()).unwrap_err();
        assert!(matches!(error, CborError::NotDeterministic { .. }), "{hex}: {error}");
    }
    for hex in ["20", "f7", "f93c00", "9fff", "5f4100ff", "c100", "a10000"] {
        let error = from_cbor(&from_hex(hex).unwrap()).unwrap_err();
        assert!(matches!(error, CborError::Unsupported { .. }), "{hex}: {error}");
    }
    assert_eq!(from_cbor(&[0, 0]), Err(CborError::Trailing { bytes: 1 }));
    assert!(matches!(from_cbor(&[0x81; 40]), Err(CborError::TooDeep { .. })));
    assert!(matches!(from_cbor(&from_hex("5bffffffffffffffff00").unwrap()), Err(CborError::Truncated { .. })));
}

fn entry() -> Entry {
    Entry {
        vault: "v".into(),
        time: Timestamp::from_millis(1_700_000_000_000),
        kind: EntryKind::Outcome,
        action: "admit".into(),
        actor: "owner".into(),
        of: Some(7),
        outcome: Some(Outcome::Done),
        commits: BTreeMap::from([("request".into(), Digest::of(b"r")), ("result".into(), Digest::of(b"x"))]),
        changes: vec![
            Change { table: "ref".into(), key: vec![1, 2], value: Some(Digest::of(b"v")) },
            Change { table: "ref".into(), key: vec![3], value: None },
        ],
        state: Digest::of(b"state"),
    }
}

#[test]
fn a_leaf_reads_back_and_no_flipped_byte_reads_as_the_same_entry() {
    let leaf = entry().to_leaf().unwrap();
    assert_eq!(Entry::from_leaf(&leaf).unwrap(), entry());
    for place in 0..leaf.len() {
        let mut other = leaf.clone();
        other[place] ^= 1;
        assert_ne!(Entry::from_leaf(&other).ok(), Some(entry()), "byte {place}");
    }
}

#[test]
fn a_leaf_that_a_tile_cannot_hold_is_refused() {
    let mut large = entry();
    large.changes = vec![large.changes[0].clone(); 2_000];
    assert!(matches!(large.to_leaf(), Err(LeafError::TooLarge { .. })));
}

#[test]
fn an_opening_fits_only_its_own_commitment() {
    let opening = Opening { salt: "00".repeat(32), value: serde_json::json!({"name": "dataset/a@1"}) };
    let other_salt = Opening { salt: "01".repeat(32), ..opening.clone() };
    let other_value = Opening { value: serde_json::json!({"name": "dataset/b@1"}), ..opening.clone() };
    let commitment = opening.commitment().unwrap();
    assert_ne!(commitment, other_salt.commitment().unwrap());
    assert_ne!(commitment, other_value.commitment().unwrap());
}

#[test]
fn the_state_root_tells_rows_apart_however_their_bytes_are_cut() {
    let value = Digest::of(b"v");
    let one = state_root([("ab", &b"c"[..], &value)].into_iter());
    let other = state_root([("a", &b"bc"[..], &value)].into_iter());
    assert_ne!(one, other);
    assert_ne!(one, state_root(std::iter::empty()));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u64>().prop_map(Value::Unsigned),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        ".{0,20}".prop_map(Value::Text),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::btree_map(".{0,6}", inner, 0..6).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn cbor_round_trips(value in values()) {
        prop_assert_eq!(from_cbor(&to_cbor(&value)).unwrap(), value);
    }

    #[test]
    fn whatever_cbor_is_read_is_written_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(value) = from_cbor(&bytes) {
            prop_assert_eq!(to_cbor(&value), bytes);
        }
    }

    #[test]
    fn leaves_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(entry) = Entry::from_leaf(&bytes) {
            prop_assert_eq!(entry.to_leaf().unwrap(), bytes);
        }
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-10_000..10_000i64).prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map("[a-c]{0,2}|.{0,3}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_quick_way_writes_the_same_json(value in json()) {
        prop_assert_eq!(value_to_canonical(&value).unwrap(), to_canonical(&value).unwrap());
    }

    #[test]
    fn salted_values_are_openings(fields in prop::collection::btree_map("[a-c]{0,2}|.{0,3}", (any::<[u8; 32]>(), json()), 0..4)) {
        let mut salted = Salted::default();
        let mut openings = BTreeMap::new();
        for (name, (salt, value)) in fields {
            salted.put(&name, salt, value_to_canonical(&value).unwrap());
            openings.insert(name, Opening { salt: ringfence_schema::digest::hex(&salt), value });
        }
        prop_assert_eq!(salted.openings().unwrap(), to_canonical(&openings).unwrap());
        let commits: BTreeMap<_, _> = openings.iter().map(|(name, opening)| (name.clone(), opening.commitment().unwrap())).collect();
        prop_assert_eq!(salted.commits(), commits);
    }
}
