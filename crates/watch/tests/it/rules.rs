//! The table is whole, and users' files are taken or refused as a whole: a case is a file and what is expected of it.

use std::{fs, path::PathBuf};

use proptest::prelude::*;
use ringfence_watch::rules::{Action, Rules, builtin_problem};

#[test]
fn the_table_is_whole_and_only_notifies() {
    assert_eq!(builtin_problem(), None);
    let rules = Rules::builtin();
    let mut table = String::new();
    for rule in rules.iter() {
        assert_eq!(rule.actions, [Action::Notify], "{}", rule.id);
        assert!(rule.enabled && !rule.act_on_claims && rule.group_minutes > 0, "{}", rule.id);
        assert!(!rule.why.is_empty() && !rule.remedy.is_empty() && !rule.title.is_empty(), "{}", rule.id);
        table.push_str(&format!(
            "{} {:<19} {:<9} {}\n",
            rule.id,
            rule.kind,
            format!("{:?}", rule.severity),
            rule.title
        ));
    }
    insta::assert_snapshot!(table);
}

#[test]
fn files_are_taken_or_refused_as_expected() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/rules");
    let mut cases = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let expected = fs::read_to_string(path.with_extension("expected")).unwrap();
        let found = match Rules::builtin().with(&fs::read_to_string(&path).unwrap()) {
            Ok(rules) => format!("taken: {} thresholds", rules.thresholds().len()),
            Err(error) => format!("refused: {error}"),
        };
        assert!(found.starts_with(expected.trim()), "{}: {found}", path.display());
        cases += 1;
    }
    assert!(cases >= 15);
}

#[test]
fn what_is_too_long_is_not_read() {
    let text = "#".repeat(ringfence_watch::rules::FILE_BYTES_MAX + 1);
    assert!(Rules::builtin().with(&text).unwrap_err().to_string().contains("limit"));
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in ".{0,400}") {
        let _ = Rules::builtin().with(&text);
        let _ = Rules::builtin().with(&format!("schema = \"ringfence.rules/1\"\n{text}"));
    }
}
