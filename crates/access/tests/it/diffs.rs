//! What a change of policy changes, as people read it before two of them agree to it.

use ringfence_access::{Custody, Policies, VaultPolicy};

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
