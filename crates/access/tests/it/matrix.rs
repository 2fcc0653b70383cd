//! The golden matrix: custody × role × action × resource, everything else being in order.

use std::fmt::Write as _;

use ringfence_access::{Action, Custody, NamespaceState, Resource, Role};
use ringfence_schema::ArtifactKind;

use crate::world::{artifact, builtin, decided_by, person, request};

const KINDS: [ArtifactKind; 4] =
    [ArtifactKind::Dataset, ArtifactKind::Model, ArtifactKind::Checkpoint, ArtifactKind::Code];

fn resources() -> Vec<(String, Resource)> {
    let mut all = vec![("vault".to_owned(), Resource::Vault)];
    for kind in KINDS {
        all.extend(NamespaceState::ALL.map(|state| (format!("{} {kind}", state.name()), artifact(kind, state))));
    }
    all
}

#[test]
fn role_action_resource_matrix() {
    let policies = builtin();
    let mut table = String::from("`+` allowed, `.` denied, `-` the action does not apply to the resource\n");
    for custody in [Custody::Solo, Custody::Shared] {
        for role in Role::ALL {
            let actions = Action::ALL.map(Action::name).join(" ");
            writeln!(table, "\n{custody:?} {}\n{:<24}{actions}", role.name(), "").unwrap();
            for (label, resource) in resources() {
                write!(table, "{label:<24}").unwrap();
                for action in Action::ALL {
                    let mut request = request(action, resource.clone(), custody);
                    request.principal = person(&[role]);
                    let (allow, ids) = decided_by(&policies, &request);
                    let cell = match (allow, ids.as_slice()) {
                        (true, _) => '+',
                        (false, [id]) if id == "could-not-decide" => '-',
                        (false, _) => '.',
                    };
                    write!(table, "{cell:<width$}", width = action.name().len() + 1).unwrap();
                }
                table.truncate(table.trim_end().len());
                table.push('\n');
            }
        }
    }
    insta::assert_snapshot!("matrix", table);
}

#[test]
fn what_stops_the_owner() {
    let policies = builtin();
    let mut list = String::new();
    for custody in [Custody::Solo, Custody::Shared] {
        for (label, resource) in resources() {
            for action in Action::ALL {
                let mut request = request(action, resource.clone(), custody);
                request.facts = ringfence_access::Facts::default();
                let (allow, ids) = decided_by(&policies, &request);
                let verdict = if allow { "allowed" } else { "denied" };
                if ids != ["could-not-decide"] {
                    writeln!(list, "{custody:?} {action} {label}: {verdict} by {}", ids.join(" ")).unwrap();
                }
            }
        }
    }
    insta::assert_snapshot!("owner_without_facts", list);
}

#[test]
fn roles_come_from_the_person_alone() {
    let mut request = request(Action::Read, Resource::Vault, Custody::Solo);
    request.principal = person(&[]);
    assert_eq!(decided_by(&builtin(), &request), (false, vec!["nothing-permits".to_owned()]));
}
