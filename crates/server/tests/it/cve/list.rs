//! `docs/cve-suite.md` is made from `data/cve.tsv`, and every test that it names exists.

use std::{fmt::Write as _, fs, path::Path};

const ENTRIES: &str = include_str!("../data/cve.tsv");
const SOURCES: [&str; 4] = [
    include_str!("doors.rs"),
    include_str!("credentials.rs"),
    include_str!("content.rs"),
    include_str!("../secrets.rs"),
];
/// Entries of the checklist.
const COUNT: usize = 24;

#[test]
fn the_list_and_the_tests_are_the_same() {
    let mut page = String::from(
        "# The CVE suite\n\n\
         What went wrong in machine-learning platforms, vaults and notebooks, and the test here that tries the same at the \
         corresponding surface. This page is made from `crates/server/tests/it/data/cve.tsv`; a test compares them \
         (`UPDATE_DOCS=1 cargo test -p ringfence-server --test it cve::list` writes it anew).\n\n\
         | | Advisories | What went wrong | What holds here | Test |\n|--:|---|---|---|---|\n",
    );
    let mut named = Vec::new();
    let mut numbers = Vec::new();
    for line in ENTRIES.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [number, advisories, flaw, holds, tests] = cells[..] else { panic!("{line}") };
        let shown: Vec<String> = tests.split(' ').map(|test| format!("`{test}`")).collect();
        writeln!(page, "| {number} | {advisories} | {flaw} | {holds} | {} |", shown.join(" ")).unwrap();
        numbers.push(number.parse::<usize>().unwrap());
        named.extend(tests.split(' '));
    }
    assert_eq!(numbers, (1..=COUNT).collect::<Vec<_>>(), "every entry stands in the list once");
    let written: Vec<&str> = SOURCES
        .iter()
        .flat_map(|source| source.split("fn "))
        .filter_map(|rest| rest.split('(').next())
        .filter(|name| name.starts_with("cve_") || name.starts_with("ghsa_"))
        .collect();
    for test in &named {
        assert!(written.contains(test), "`{test}` is not a test");
    }
    for test in &written {
        assert!(named.contains(test), "`{test}` is not in the list");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cve-suite.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    assert_eq!(fs::read_to_string(&file).unwrap_or_default(), page, "docs/cve-suite.md is not current");
}
