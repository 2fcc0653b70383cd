//! Records that were changed against a model are told from natural ones.

use ringfence_attack::{
    AttackError, Examples, Labels, Method, Norm, Plan, RECORDS_MIN, Statistic, SuspectPlan, fooling, statistics,
    suspects,
};
use ringfence_nn::Tensor;

use crate::models::{digits, flattened, part, tiny_network, trained};

fn appended(natural: &Examples, more: Vec<(usize, Vec<f32>)>, of: &Examples) -> Examples {
    let mut labels = natural.labels().to_vec();
    labels.extend(more.iter().map(|(place, _)| of.labels()[*place]));
    let mut data = natural.inputs().data.clone();
    data.extend(more.into_iter().flat_map(|(_, point)| point));
    Examples::new(Tensor { shape: vec![labels.len(), 1, 8, 8], data }, labels).unwrap()
}

#[test]
fn adversarial_records_stand_out_and_natural_ones_do_not() {
    let (train, test) = digits(900, 360);
    let model = trained(&train, 12);
    let (natural, victims) = (part(&test, 0..300), part(&test, 300..360));
    for (method, norm, eps, least) in [
        (Method::Pgd, Norm::Linf, 0.2, 0.8),
        (Method::CarliniWagner, Norm::L2, 3.0, 0.5),
        (Method::Square, Norm::Linf, 0.3, 0.7),
    ] {
        let enough = |found: usize, count: usize| found as f64 > least * count as f64;
        let plan = Plan { eps: vec![eps], norm, ..Plan::default() };
        let changed = fooling(&model, &victims, method, &plan).unwrap();
        let (count, records) = (changed.len(), appended(&natural, changed, &victims));
        let report = suspects(&model, &records, Some(&part(&train, 0..400)), &SuspectPlan::default()).unwrap();
        let caught = report.suspects.iter().filter(|suspect| suspect.record >= 300).count();
        let wrong = report.suspects.len() - caught;
        assert!(count > 30 && enough(caught, count), "{method:?}: {caught} of {count}");
        // The network's training data are its reference here, which it knows better than the test data.
        assert!(wrong < 30, "{method:?}: {wrong} natural records");
        // Nor does the screening need labels.
        let blank = SuspectPlan { labels: Labels::Absent, ..SuspectPlan::default() };
        let unlabelled = suspects(&model, &records, Some(&part(&train, 0..400)), &blank).unwrap().suspects;
        let found = unlabelled.iter().filter(|suspect| suspect.record >= 300).count();
        assert!(enough(found, count) && unlabelled.len() - found < 30, "{method:?}: {found} of {count} without labels");
        assert!(unlabelled.iter().all(|suspect| suspect.label.is_none()));
        eprintln!("{method:?}: {caught} of {count} ({found} without labels), {wrong} natural ones");
        assert!(report.suspects.is_sorted_by(|a, b| a.score >= b.score));
        assert!(!report.blind_to.is_empty());
    }
}

#[test]
fn without_a_reference_the_bulk_decides_and_too_few_records_are_refused() {
    let (train, test) = digits(500, 360);
    let model = trained(&train, 8);
    let report = suspects(&model, &test, None, &SuspectPlan::default()).unwrap();
    assert_eq!(report.reference, None);
    assert!(report.suspects.len() < 30, "{}", report.suspects.len());
    let few = part(&test, 0..RECORDS_MIN - 1);
    assert!(matches!(suspects(&model, &few, None, &SuspectPlan::default()), Err(AttackError::Plan { .. })));
    let none = SuspectPlan { false_positives: 0.0, ..SuspectPlan::default() };
    assert!(matches!(suspects(&model, &test, None, &none), Err(AttackError::Plan { .. })));
}

#[test]
fn changed_records_do_not_vouch_for_one_another() {
    let (train, test) = digits(900, 360);
    let model = trained(&train, 12);
    let (natural, victims) = (part(&test, 0..330), part(&test, 330..360));
    let plan = Plan { eps: vec![0.3], norm: Norm::Linf, ..Plan::default() };
    let changed = fooling(&model, &victims, Method::Square, &plan).unwrap();
    let count = changed.len();
    let report = suspects(&model, &appended(&natural, changed, &victims), None, &SuspectPlan::default()).unwrap();
    let found = report.suspects.iter().filter(|suspect| suspect.record >= 330).count();
    let wrong = report.suspects.len() - found;
    eprintln!("{found} of {count}, {wrong} natural ones");
    assert!(count > 20 && found * 10 > count * 6 && wrong < 17, "{found} of {count}, {wrong} natural records");
}

#[test]
fn a_reference_of_other_inputs_is_refused() {
    let (_, test) = digits(1, 240);
    let other = flattened(&test);
    let answer = suspects(&tiny_network(1), &test, Some(&other), &SuspectPlan::default());
    assert!(matches!(answer, Err(AttackError::Plan { name: "reference", .. })), "{answer:?}");
}

#[test]
fn every_statistic_is_a_number() {
    let (_, test) = digits(1, 20);
    let rows = statistics(&tiny_network(1), &test, None, &SuspectPlan::default()).unwrap();
    assert_eq!((rows.len(), rows[0].len()), (20, Statistic::COUNT));
    assert!(rows.iter().flatten().all(|value| value.is_finite()));
}
