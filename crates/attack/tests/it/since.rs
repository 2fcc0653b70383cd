//! A model beside an earlier one: what was lost is shown, chance is not, and what cannot be paired states nothing.

use ringfence_attack::{HardenPlan, Norm, Plan, Start, asked_the_same, attack, harden, since};
use ringfence_schema::{
    report::{AttackReport, Check, Soundness},
    since::Drop,
};

use crate::models::{digits, part, tiny_network, trained};

const NAMES: [&str; 2] = ["model/net@2", "model/net@1"];

fn plan() -> Plan {
    Plan { eps: vec![0.05, 0.1], steps: 10, restarts: 1, ..Plan::default() }
}

fn cards() -> [AttackReport; 2] {
    let (train, test) = digits(600, 100);
    let hard = HardenPlan {
        start: Start::Fresh,
        eps: 0.12,
        epochs: 12,
        attack_steps: 3,
        rate: 0.006,
        ..HardenPlan::default()
    };
    let hardened = harden(tiny_network(1), &train, &hard, &mut |_| {}).unwrap().0;
    [trained(&train, 6), hardened].map(|model| attack(&model, &test, &plan(), &mut |_| {}).unwrap())
}

/// Both cards said to be sound: what they show is tested here, not why they may be believed.
fn believed(report: &AttackReport) -> AttackReport {
    let checks = vec![Check { name: "gradient-check".into(), passed: true, detail: String::new() }];
    AttackReport { verdict: Soundness::Sound, checks, ..report.clone() }
}

#[test]
fn a_loss_is_shown_and_a_gain_is_none() {
    let [standard, hardened] = cards().each_ref().map(believed);
    assert!(asked_the_same(&standard, &hardened));
    let lost = since(NAMES, standard.clone(), hardened.clone());
    assert_eq!((lost.verdict, lost.note.as_deref(), lost.radii.len()), (Drop::Dropped, None, 2), "{:?}", lost.radii);
    let last = &lost.radii[1];
    assert!(last.p_value < 0.001 && last.difference < -0.1 && last.difference_ci95[1] < 0.0, "{last:?}");
    // The pairs are those of the cards.
    for (radius, (now, before)) in lost.radii.iter().zip(standard.worst_case.iter().zip(&hardened.worst_case)) {
        assert!((radius.now - now.accuracy).abs() < 1e-9 && (radius.earlier - before.accuracy).abs() < 1e-9);
        let moved = (radius.won as f64 - radius.lost as f64) / standard.examples as f64;
        assert!((radius.difference - moved).abs() < 1e-12);
    }
    assert_eq!(since(NAMES, hardened.clone(), standard).verdict, Drop::NotShown);
    let same = since(NAMES, hardened.clone(), hardened);
    assert_eq!((same.verdict, same.p_value), (Drop::NotShown, Some(1.0)));
    assert!(same.radii.iter().all(|radius| radius.lost == 0 && radius.won == 0 && radius.difference == 0.0));
}

#[test]
fn the_tail_is_exact() {
    let [one, _] = cards().each_ref().map(believed);
    // A hundred examples, all of which stood; then so many fall.
    let with = |fell: usize| {
        let mut card = one.clone();
        card.worst_case.truncate(1);
        let bits: Vec<u8> = (0..100_usize.div_ceil(8))
            .map(|byte| (0..8).filter(|bit| (fell..100).contains(&(byte * 8 + bit))).fold(0, |all, bit| all | 1 << bit))
            .collect();
        card.worst_case[0].accuracy = (100 - fell) as f64 / 100.0;
        card.worst_case[0].stood = Some(ringfence_schema::digest::hex(&bits));
        card
    };
    for (fell, verdict) in [(0, Drop::NotShown), (6, Drop::NotShown), (7, Drop::Dropped)] {
        let found = since(NAMES, with(fell), with(0));
        assert_eq!(found.verdict, verdict, "{fell}: {:?}", found.radii);
        assert!((found.p_value.unwrap() - 0.5_f64.powi(i32::try_from(fell).unwrap())).abs() < 1e-12);
    }
}

#[test]
fn what_cannot_be_paired_or_believed_states_nothing() {
    let [one, other] = cards().each_ref().map(believed);
    let mut cases: Vec<(&str, AttackReport, AttackReport)> = Vec::new();
    let mut case = |what, change: &dyn Fn(&mut AttackReport)| {
        let mut changed = other.clone();
        change(&mut changed);
        cases.push((what, one.clone(), changed));
    };
    case("unsound", &|card| card.verdict = Soundness::Unsound);
    case("other examples", &|card| card.setup.as_mut().unwrap().data = ringfence_schema::Digest::of(b"others"));
    case("fewer steps", &|card| card.setup.as_mut().unwrap().steps = 5);
    case("another tool", &|card| card.setup.as_mut().unwrap().tool = "another".into());
    case("no setup", &|card| card.setup = None);
    case("another seed", &|card| card.seed = 9);
    case("no bits", &|card| card.worst_case[0].stood = None);
    case("bits of another accuracy", &|card| card.worst_case[0].stood = Some("ff".repeat(12) + "0f"));
    case("too many bits", &|card| card.worst_case[0].stood = Some("ff".repeat(400)));
    case("no hexadecimal", &|card| card.worst_case[0].stood = Some("zz".repeat(13)));
    case("another radius", &|card| card.worst_case[0].eps = 0.06);
    case("a radius less", &|card| card.worst_case.truncate(1));
    case("no radius", &|card| card.worst_case.clear());
    for (what, one, other) in cases {
        for (now, earlier) in [(&one, &other), (&other, &one)] {
            let found = since(NAMES, now.clone(), earlier.clone());
            assert_eq!((found.verdict, found.p_value), (Drop::CannotState, None), "{what}");
            assert!(found.note.is_some_and(|note| !note.is_empty()), "{what}");
        }
    }
}

#[test]
fn a_few_examples_show_nothing() {
    let (train, test) = digits(300, 6);
    let model = trained(&train, 3);
    let card = believed(&attack(&model, &part(&test, 0..6), &plan(), &mut |_| {}).unwrap());
    let found = since(NAMES, card.clone(), card);
    assert_eq!(found.verdict, Drop::CannotState);
    assert!(found.note.unwrap().contains("too few"));
}

#[test]
fn a_setup_names_what_was_done_and_to_what() {
    let (train, test) = digits(200, 20);
    let model = trained(&train, 2);
    let setup = |plan: &Plan| attack(&model, &test, plan, &mut |_| {}).unwrap().setup;
    let usual = setup(&plan()).unwrap();
    assert_eq!((usual.norm.as_str(), usual.battery.as_str(), usual.at), ("linf", "quick", 0.1));
    assert_eq!(Some(usual.clone()), setup(&plan()));
    assert_ne!(Some(usual), setup(&Plan { norm: Norm::L2, ..plan() }));
    // What a setup has no word for is not said to be the same.
    assert_eq!(setup(&Plan { noise_tries: 11, ..plan() }), None);
}
