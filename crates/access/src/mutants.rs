//! Do the golden tables notice a change of the built-in policies? Every policy is removed, turned round, and changed at
//! every operator, one at a time; the tables (`tests/it/matrix.rs`) must differ for at least 95 in 100 of these mutants,
//! and those that nothing notices are a snapshot.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    num::NonZero,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    Action, Custody, Policies, Request, Role, VaultPolicy,
    matrix::{ASKS, SITUATIONS, Situation, in_order, person, resources},
    policies::BUILTIN,
};

/// Of a hundred mutants, so many must be noticed.
const NOTICED_PERCENT_MIN: usize = 95;
/// Under these settings the tables are held; `tests/it/matrix.rs` has the same.
const SETTINGS: [&str; 3] = [
    "",
    "demand_level = \"full\"\nlogin_min = \"passkey\"\nmin_robust_accuracy_permille = 600\nmax_clean_drop_permille = 10\n\
     max_filtered_permille = 40\nallow_no_scan = true\nallow_no_screen = true",
    "demand_level = \"no-cgroup\"\nallow_no_scan = false\nallow_no_screen = false",
];
/// What is put in the place of what. Each occurrence is one mutant; those that do not pass validation are no policies.
const SWAPS: [(&str, &str); 16] = [
    ("&&", "||"),
    ("||", "&&"),
    ("==", "!="),
    ("!=", "=="),
    (" < ", " <= "),
    (" <= ", " < "),
    (" >= ", " > "),
    (" >= 2", " >= 1"),
    (" >= 2", " >= 3"),
    ("600000", "600001"),
    ("600000", "599999"),
    ("!context", "context"),
    ("!principal", "principal"),
    ("when {", "unless {"),
    ("unless {", "when {"),
    ("permit (", "forbid ("),
];

/// The policies of the built-in text, each from its `@id` on, with what stands before the first.
fn split() -> Vec<&'static str> {
    let starts: Vec<usize> = BUILTIN.match_indices("@id(").map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([BUILTIN.len()]);
    starts.iter().zip(ends).map(|(from, to)| &BUILTIN[*from..to]).collect()
}

fn id(policy: &str) -> &str {
    policy.split('"').nth(1).unwrap()
}

/// Every mutant of one policy with what was done to it.
fn mutants_of(policy: &str) -> Vec<(String, String)> {
    let head = policy.find("\npermit (").or_else(|| policy.find("\nforbid (")).unwrap();
    let (notes, body) = policy.split_at(head);
    // What follows the policy is a comment on the next one.
    let (body, rest) = body.split_at(body.find("\n\n").unwrap_or(body.len()));
    let mut mutants = vec![("removed".to_owned(), String::new())];
    if body.starts_with("\nforbid (") {
        mutants.push(("turned round".to_owned(), format!("{notes}{}{rest}", body.replacen("forbid (", "permit (", 1))));
    }
    let mut put = |what: String, changed: String| mutants.push((what, format!("{notes}{changed}{rest}")));
    for (old, new) in SWAPS {
        for (number, (at, _)) in body.match_indices(old).enumerate() {
            // `!context` is not the end of `!=`, and `==` not a part of anything else here.
            let (before, after) = body.split_at(at);
            put(
                format!("`{}` → `{}` #{}", old.trim(), new.trim(), number + 1),
                format!("{before}{new}{}", &after[old.len()..]),
            );
        }
    }
    // One name less in a list; one list less in the scope.
    for (number, (at, name)) in body.match_indices("::\"").enumerate() {
        let from = body[..at].rfind([' ', '[', '(']).unwrap() + 1;
        let to = at + name.len() + body[at + name.len()..].find('"').unwrap() + 1;
        let rest = &body[to..];
        if let Some(rest) = rest.strip_prefix(", ") {
            put(format!("`{}` left out #{number}", &body[from..to]), format!("{}{rest}", &body[..from]));
        } else if let Some(before) = body[..from].trim_end().strip_suffix(',') {
            put(format!("`{}` left out #{number}", &body[from..to]), format!("{before}{rest}"));
        }
    }
    for (old, new) in [(" is Artifact", ""), (" is Vault", "")] {
        if let Some((scope, conditions)) = body.split_once(old) {
            put(format!("`{}` left out", old.trim()), format!("{scope}{new}{conditions}"));
        }
    }
    let scope_end = body.find(")\n").or_else(|| body.find(");")).unwrap_or(body.len());
    for (from, to, any) in
        [("principal in ", ",", "principal"), ("action == ", ",", "action"), ("action in Action", ",", "action")]
    {
        if let Some(at) = body[..scope_end].find(from) {
            let end = at + body[at..].find(to).unwrap();
            put(format!("`{}` → `{any}`", &body[at..end]), format!("{}{any}{}", &body[..at], &body[end..]));
        }
    }
    mutants
}

fn under(policies: &Policies, settings: &str) -> Policies {
    let document = format!("schema = \"ringfence.policy/1\"\n[settings]\n{settings}\n");
    policies.clone().with_vault(&VaultPolicy::parse(&document).unwrap()).unwrap()
}

/// What the tables show of a cell: of the owner which policies stop it, of others whether it is allowed.
fn shown(policies: &Policies, request: &Request) -> (bool, BTreeSet<String>) {
    let (allow, ids) = policies.verdict(request);
    let owner = request.principal.roles.contains(&Role::Owner) && !allow;
    (allow, if owner { ids.into_iter().collect() } else { BTreeSet::new() })
}

/// The cells of one stage: which settings, roles and situations.
struct Stage {
    settings: usize,
    custody: Custody,
    role: Role,
    situation: &'static Situation,
}

/// A request, and what the tables show of it.
type Cell = (Request, (bool, BTreeSet<String>));

/// Cheap and telling ones first: a mutant that is noticed is not asked about again.
fn stages() -> Vec<Stage> {
    let mut stages = Vec::new();
    for settings in 0..SETTINGS.len() {
        for custody in [Custody::Shared, Custody::Solo] {
            for (at, situation) in SITUATIONS.iter().enumerate() {
                for role in Role::ALL {
                    // The other roles differ from the owner in what is permitted, which few situations touch.
                    let telling = role == Role::Owner
                        || (settings == 0
                            && (at == 0
                                || [
                                    "it is outside of a run",
                                    "no engagement is live",
                                    "whoever asks is not entitled to it",
                                    "nobody approved and it is the bundle of a release",
                                ]
                                .contains(&situation.says)));
                    if telling {
                        stages.push(Stage { settings, custody, role, situation });
                    }
                }
            }
        }
    }
    stages.sort_by_key(|stage| (stage.settings, stage.situation.says != SITUATIONS[0].says));
    stages
}

#[test]
fn the_tables_notice_mutants() {
    let policies = Policies::builtin().unwrap();
    let all = split();
    let stages = stages();
    let bases: Vec<Policies> = SETTINGS.iter().map(|settings| under(&policies, settings)).collect();
    let expected: Vec<OnceLock<Vec<Cell>>> = stages.iter().map(|_| OnceLock::new()).collect();
    let cells = |at: usize, stage: &Stage| {
        expected[at].get_or_init(|| {
            let mut cells = Vec::new();
            for (_, resource) in resources() {
                for action in Action::ALL {
                    let mut request = in_order(person(ASKS, stage.role), action, resource.clone(), stage.custody);
                    if policies.applies(&request) {
                        stage.situation.apply(&mut request);
                        let answer = shown(&bases[stage.settings], &request);
                        cells.push((request, answer));
                    }
                }
            }
            cells
        })
    };
    // Whether a mutant is noticed; `None` where it is none.
    let noticed = |number: usize, mutant: &str| {
        let text: String =
            all.iter().enumerate().map(|(at, other)| if at == number { mutant } else { *other }).collect();
        // What validation refuses is no mutant: the program would not start.
        let changed = Policies::of(&text).ok().filter(|changed| changed.digest() != policies.digest())?;
        let variants: Vec<Policies> = SETTINGS.iter().map(|settings| under(&changed, settings)).collect();
        Some(stages.iter().enumerate().any(|(at, stage)| {
            let variant = &variants[stage.settings];
            cells(at, stage).iter().any(|(request, answer)| shown(variant, request) != *answer)
        }))
    };
    let mutants: Vec<(usize, String, String)> = all
        .iter()
        .enumerate()
        .flat_map(|(number, policy)| mutants_of(policy).into_iter().map(move |(what, text)| (number, what, text)))
        .collect();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while let Some((place, (number, _, text))) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|place| Some((place, mutants.get(place)?)))
                {
                    if let Some(noticed) = noticed(*number, text) {
                        found.lock().unwrap().insert(place, noticed);
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    let (made, mut missed, mut survived) = (found.len(), 0_usize, String::new());
    for (place, _) in found.iter().filter(|(_, noticed)| !**noticed) {
        missed += 1;
        writeln!(survived, "{}: {}", id(all[mutants[*place].0]), mutants[*place].1).unwrap();
    }
    assert!(made > 5 * all.len(), "{made} mutants of {} policies", all.len());
    let noticed = made - missed;
    insta::assert_snapshot!(
        "mutants",
        format!("{noticed} of {made} mutants of {} policies noticed; not these:\n{survived}", all.len())
    );
    assert!(100 * noticed >= NOTICED_PERCENT_MIN * made, "{survived}");
}
