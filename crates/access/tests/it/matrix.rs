//! The golden tables: what the built-in policies say of every cell. Review every line of a change.

use ringfence_access::{
    Action, Custody, Resource, Role, VaultPolicy,
    matrix::{SITUATIONS, in_order, person, resources},
};

use crate::world::{builtin, decided_by, request};

#[test]
fn role_action_resource_matrix() {
    insta::assert_snapshot!("matrix", builtin().table());
}

#[test]
fn what_stops_whom() {
    insta::assert_snapshot!("rails", builtin().rails());
}

#[test]
fn what_stops_whom_under_strict_settings() {
    for (name, lines) in [
        (
            "rails_strict",
            "demand_level = \"full\"\nlogin_min = \"passkey\"\nmin_robust_accuracy_permille = 600\n\
             max_clean_drop_permille = 10\nmax_filtered_permille = 40\nallow_no_scan = true\nallow_no_screen = true",
        ),
        ("rails_middle", "demand_level = \"no-cgroup\"\nallow_no_scan = false\nallow_no_screen = false"),
    ] {
        let document = format!("schema = \"ringfence.policy/1\"\n[settings]\n{lines}\n");
        let policies = builtin().with_vault(&VaultPolicy::parse(&document).unwrap()).unwrap();
        insta::assert_snapshot!(name, policies.rails());
    }
}

#[test]
fn what_stops_the_owner() {
    let policies = builtin();
    let mut list = Vec::new();
    for custody in [Custody::Solo, Custody::Shared] {
        for (label, resource) in resources() {
            for action in Action::ALL {
                let mut request = request(action, resource.clone(), custody);
                request.facts = ringfence_access::Facts::default();
                let (allow, ids) = decided_by(&policies, &request);
                let verdict = if allow { "allowed" } else { "denied" };
                if ids != ["could-not-decide"] {
                    list.push(format!("{custody:?} {action} {label}: {verdict} by {}", ids.join(" ")));
                }
            }
        }
    }
    insta::assert_snapshot!("owner_without_facts", list.join("\n"));
}

#[test]
fn roles_come_from_the_person_alone() {
    let mut request = request(Action::Read, Resource::Vault, Custody::Shared);
    request.principal = crate::world::person(&[]);
    assert_eq!(decided_by(&builtin(), &request), (false, vec!["nothing-permits".to_owned()]));
}

#[test]
fn in_a_shared_vault_a_default_opens_nothing() {
    let policies = builtin();
    for role in Role::ALL {
        for (label, resource) in resources() {
            for action in Action::ALL {
                let mut request = in_order(person("olga", role), action, resource.clone(), Custody::Shared);
                request.facts = ringfence_access::Facts::default();
                // Programs have no factors: what they may do without facts is to look, and to give their token up.
                let open = [Action::Read, Action::Verify, Action::Raise, Action::Leave];
                let looks = role == Role::Trainer && open.contains(&action);
                assert!(!policies.decide(&request).allow || looks, "{} {action} {label}", role.name());
            }
        }
    }
}

#[test]
fn ages_are_what_the_situations_say() {
    let mut request = request(Action::Read, Resource::Vault, Custody::Shared);
    assert_eq!((request.facts.scan.age_ms, request.facts.mfa_age_ms), (3_600_000, Some(60_000)), "an hour, a minute");
    let old = SITUATIONS.iter().find(|situation| situation.says == "all evidence is a year old").unwrap();
    old.apply(&mut request);
    let facts = &request.facts;
    for evidence in [&facts.scan, &facts.screen, &facts.provenance, &facts.robustness] {
        assert_eq!(evidence.age_ms, 366 * 86_400_000);
    }
}

#[test]
fn situations_are_told_apart() {
    let mut says: Vec<_> = SITUATIONS.iter().map(|situation| situation.says).collect();
    says.sort_unstable();
    says.dedup();
    assert_eq!(says.len(), SITUATIONS.len());
    assert_eq!(format!("{:?}", SITUATIONS[0]), "everything is in order");
}
