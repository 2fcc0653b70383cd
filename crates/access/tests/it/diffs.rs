//! What a change of policy changes, as people read it before two of them agree to it.

use ringfence_access::{
    Action, Custody, Policies, PolicyDiff, VaultPolicy,
    diff::{Change, PolicyChange, RightChange, SettingChange},
};

use crate::world::builtin;

fn vault(document: &str) -> Policies {
    let document = format!("schema = \"ringfence.policy/1\"\n{document}");
    builtin().with_vault(&VaultPolicy::parse(&document).unwrap()).unwrap()
}

#[test]
fn nothing_changes_nothing() {
    assert!(builtin().diff(&vault(""), Custody::Shared).is_empty());
}

#[test]
fn a_change_in_plain_words() {
    let old = vault("[settings]\nallow_no_scan = true\nmin_robust_accuracy_permille = 300\n");
    let new = vault(
        r#"forbid = '''
@id("reviewed") @says("every release is reviewed by a person")
forbid (principal, action == Action::"release", resource) unless { context.evidence.review.passes };
@id("no-code") @says("code stays where it is")
forbid (principal, action == Action::"train", resource) when { resource.kind == Kind::"code" };
@id("mallory") @says("mallory is on leave")
forbid (principal == Person::"mallory", action in Action::"change", resource);
@id("frozen") @says("this dataset is frozen")
forbid (principal, action in [Action::"train", Action::"destroy"], resource == Artifact::"dataset/digits");
'''
[settings]
login_min_for = { owner = "passkey" }
min_robust_accuracy_permille = 700
"#,
    );
    let diff = old.diff(&new, Custody::Shared);
    insta::assert_snapshot!("diff_tightened", diff);
    assert!(diff.rights.iter().all(|right| !right.gains));
    insta::assert_snapshot!("diff_loosened", new.diff(&old, Custody::Shared));
    assert!(
        diff.rights
            .iter()
            .any(|right| right.who == ["owner"] && right.when.contains(&"the login is by password and code"))
    );
}

#[test]
fn a_difference_of_any_kind_is_one() {
    let setting = SettingChange { name: "allow_no_scan".to_owned(), old: None, new: Some(true.into()) };
    let policy = PolicyChange { id: "vault:1".to_owned(), says: "no".to_owned(), change: Change::Added };
    let right = RightChange {
        who: vec!["owner".to_owned()],
        gains: true,
        action: Action::Read,
        resources: "vault".to_owned(),
        when: Vec::new(),
        because: Vec::new(),
    };
    assert!(PolicyDiff::default().is_empty());
    assert!(!PolicyDiff { settings: vec![setting], ..PolicyDiff::default() }.is_empty());
    assert!(!PolicyDiff { policies: vec![policy], ..PolicyDiff::default() }.is_empty());
    assert!(!PolicyDiff { rights: vec![right], ..PolicyDiff::default() }.is_empty());
}
