//! What one decision takes, with 10 to 10,000 policies, in microseconds of processor time, as one JSON object: sliced and asked again as a
//! server asks, sliced with facts that were never seen, and unsliced.
//!
//! Beside the built-in set stand `forbid` policies as a large team writes them: on one person, on a role, on an artifact by
//! name, on a kind, and on everybody. The requests come from all roles, with all actions and kinds, and every decision
//! counts with its reasons and digests.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "figures are what the person asked for")]

use std::hint::black_box;

use nix::time::{ClockId, clock_gettime};
use ringfence_access::{
    Action, Custody, Policies, Request, Resource, Role, decision,
    matrix::{KINDS, in_order, person, resources},
};
use ringfence_schema::{ArtifactKind, ArtifactName};
use serde_json::{Value, json};

/// Policies of one text; a text has a limit.
const TEXT_POLICIES: usize = 200;

fn main() {
    let mut cases = Vec::new();
    for count in [10, 100, 1_000, 10_000] {
        let policies = with(count);
        let requests = requests();
        let again = measure(&requests, 1, 10, |request| policies.decide(request).allow);
        // Every request with ages that no request had before: nothing can be remembered.
        let mut number = 0;
        let fresh = measure(&requests, 0, 3, |request| {
            number += 1;
            policies.decide(&aged(request, number)).allow
        });
        // The whole of a large set takes milliseconds a request; a sample of the requests tells as much.
        let few: Vec<Request> = requests.iter().step_by(1 + count / 200).cloned().collect();
        let unsliced = measure(&few, 0, 3, |request| policies.decide_unsliced(request).allow);
        cases.push(json!({
            "policies": count, "requests": requests.len(),
            "again_p50_us": again.0, "again_p99_us": again.1,
            "fresh_p50_us": fresh.0, "fresh_p99_us": fresh.1,
            "unsliced_p50_us": unsliced.0, "unsliced_p99_us": unsliced.1,
        }));
    }
    let all = json!({"schema": "ringfence.bench/1", "target_p50_us": 20, "target_p99_us": 100, "cases": cases});
    println!("{all}");
}

/// `count` policies altogether, the built-in ones among them where there is room.
fn with(count: usize) -> Policies {
    let builtin = Policies::builtin().unwrap();
    let own = builtin.explanations().count();
    let mut policies = builtin;
    let numbers: Vec<usize> = (0..count.saturating_sub(own)).collect();
    for text in numbers.chunks(TEXT_POLICIES) {
        let text: String = text.iter().map(|number| policy(*number)).collect();
        policies = policies.with_project(&text).unwrap();
    }
    policies
}

/// Of a hundred policies, 60 name a person, 20 an artifact, 15 a role or a kind, 5 concern everybody.
fn policy(number: usize) -> String {
    let action = Action::ALL[number % Action::ALL.len()];
    let role = Role::ALL[number % Role::ALL.len()].name();
    let kind = KINDS[number % KINDS.len()];
    let (who, what, on, when) = match number % 100 {
        0..60 => (
            format!("principal == Person::\"person-{number}\""),
            "action".to_owned(),
            "resource".to_owned(),
            " when { context.waived > 1000 }".to_owned(),
        ),
        60..80 => (
            "principal".to_owned(),
            "action".to_owned(),
            format!("resource == Artifact::\"{kind}/thing-{number}\""),
            " when { context.waived > 1000 }".to_owned(),
        ),
        80..90 => (
            format!("principal in Role::\"{role}\""),
            format!("action == Action::\"{action}\""),
            "resource".to_owned(),
            " when { context.waived > 1000 }".to_owned(),
        ),
        90..95 => (
            "principal".to_owned(),
            "action in [Action::\"export\", Action::\"release\"]".to_owned(),
            "resource".to_owned(),
            format!(" when {{ resource.kind == Kind::\"{kind}\" && context.waived > 1000 }}"),
        ),
        _ => (
            "principal".to_owned(),
            format!("action == Action::\"{action}\""),
            "resource".to_owned(),
            format!(" when {{ context.waived > {} }}", 1_000 + number),
        ),
    };
    format!("@id(\"team-{number}\") forbid ({who}, {what}, {on}){when};\n")
}

/// Every role, action and resource of the table, asked by people and of artifacts whom policies name.
fn requests() -> Vec<Request> {
    let mut all = Vec::new();
    for role in Role::ALL {
        for (_, resource) in resources() {
            for action in Action::ALL {
                let number = all.len();
                let resource = match resource.clone() {
                    Resource::Artifact { name, state } => {
                        Resource::Artifact { name: named(name.kind(), number), state }
                    }
                    Resource::Vault => Resource::Vault,
                };
                let asks = person(&format!("person-{}", number % 1_000), role);
                all.push(in_order(asks, action, resource, Custody::Shared));
            }
        }
    }
    let builtin = Policies::builtin().unwrap();
    // What cannot be asked of a resource is answered by the schema and would only measure its messages.
    all.retain(|request| {
        builtin.decide(request).reasons.iter().all(|reason| reason.policy != decision::COULD_NOT_DECIDE)
    });
    // Most of what people ask is allowed; one in four is not.
    let (allowed, denied): (Vec<_>, Vec<_>) = all.into_iter().partition(|request| builtin.decide(request).allow);
    let few = denied.len().min(allowed.len() / 3);
    let mut all = allowed;
    all.extend(denied.into_iter().take(few));
    all
}

fn named(kind: ArtifactKind, number: usize) -> ArtifactName {
    ArtifactName::new(kind, &format!("thing-{}", number % 500)).unwrap()
}

/// Time that this thread had the processor, in nanoseconds: what others do on the machine does not count.
fn cpu_ns() -> i64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

/// The same request as if it came later: every fact that counts time is another.
fn aged(request: &Request, number: u64) -> Request {
    let mut request = request.clone();
    request.facts.mfa_age_ms = Some(number % 500_000);
    request.facts.waived = 0;
    let facts = &mut request.facts;
    for evidence in [&mut facts.scan, &mut facts.screen, &mut facts.provenance, &mut facts.robustness] {
        evidence.age_ms += number;
    }
    // Whatever the policies read: nobody was about this person before.
    facts.requester = Some(format!("somebody-{number}"));
    request
}

/// Median and 99th percentile in microseconds.
fn measure(
    requests: &[Request],
    warm: usize,
    passes: usize,
    mut decide: impl FnMut(&Request) -> bool,
) -> (Value, Value) {
    let mut taken = Vec::with_capacity(requests.len() * passes);
    for pass in 0..warm + passes {
        for request in requests {
            let start = cpu_ns();
            black_box(decide(request));
            if pass >= warm {
                taken.push(cpu_ns() - start);
            }
        }
    }
    taken.sort_unstable();
    let at = |hundredth: usize| json!(taken[(taken.len() * hundredth / 100).min(taken.len() - 1)] as f64 / 1_000.0);
    (at(50), at(99))
}
