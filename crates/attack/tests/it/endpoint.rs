//! Models that can only be asked: what is refused, what runs out, and what is not believed.

use std::sync::atomic::{AtomicU64, Ordering};

use ringfence_attack::{
    Answers, AttackError, Battery, Endpoint, Examples, Method, Plan, Predict, PrivacyPlan, TheftPlan, Unanswered,
    attack, attack_within_budget, privacy, steal,
};
use ringfence_nn::{Model, OutputKind, Tensor};
use ringfence_schema::{Digest, report::Soundness};

use crate::models::{digits, part, trained};

fn shape(model: &Model) -> Vec<Option<usize>> {
    Predict::shape(model).to_vec()
}

/// `model` behind a counter that answers so many inputs.
fn asked<'m>(model: &'m Model, answers: Answers, budget: u64, spent: &'m AtomicU64) -> Endpoint<'m> {
    Endpoint::new("remote", shape(model), Digest::of(b"remote"), answers, move |x| {
        let rows = x.shape[0] as u64;
        if spent.fetch_add(rows, Ordering::Relaxed) + rows > budget {
            return Err(Unanswered::Spent { budget });
        }
        let scores = model.forward(x).map_err(|error| Unanswered::Failed { problem: error.to_string() })?;
        Ok(match answers {
            Answers::Scores(_) => scores,
            Answers::Labels => one_hot(&scores),
        })
    })
}

fn one_hot(scores: &Tensor<f64>) -> Tensor<f64> {
    let rows = scores.data.chunks(10).flat_map(|row| {
        let best = (0..10).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        (0..10).map(move |class| f64::from(u8::from(class == best)))
    });
    Tensor { shape: scores.shape.clone(), data: rows.collect() }
}

fn scene() -> (Model, Examples) {
    let (train, test) = digits(600, 40);
    (trained(&train, 6), test)
}

#[test]
fn labels_alone_allow_what_needs_no_more() {
    let (model, test) = scene();
    let spent = AtomicU64::new(0);
    let labels = asked(&model, Answers::Labels, u64::MAX, &spent);
    let refused = |method: Method| {
        let plan = Plan { attacks: vec![method], ..Plan::default() };
        attack(&labels, &test, &plan, &mut |_| {}).unwrap_err().to_string()
    };
    assert_eq!(refused(Method::Square), "`square-5000` needs scores, `remote` gives no more than labels");
    assert_eq!(refused(Method::Pgd), "`pgd-40x3` needs input gradients, `remote` gives no more than labels");
    let plan = Plan { eps: vec![0.25], battery: Battery::Standard, ..Plan::default() };
    let card = attack(&labels, &test, &plan, &mut |_| {}).unwrap();
    let rows: Vec<&str> = card.results.iter().map(|row| row.attack.as_str()).collect();
    assert_eq!(rows, ["noise-10", "hopskipjump", "transfer", "worst-case"]);
    assert_eq!(card.verdict, Soundness::Sound, "{:?}", card.checks);
    assert!(card.worst_case[0].accuracy < 0.5 && card.clean_accuracy.unwrap() > 0.8, "{card:?}");

    let loss = privacy(&labels, &test, &test, &[], &PrivacyPlan::default(), &mut |_| {}).unwrap_err();
    assert_eq!(loss.to_string(), "`a loss threshold` needs scores, `remote` gives no more than labels");
    let plan = PrivacyPlan { label_only: true, ..PrivacyPlan::default() };
    let report = privacy(&labels, &test, &test, &[], &plan, &mut |_| {}).unwrap().0;
    assert_eq!(report.membership.iter().map(|test| test.attack.as_str()).collect::<Vec<_>>(), ["label-only-noise"]);
    let theft = steal(&labels, &test, &test, &TheftPlan::default(), &mut |_, _| {}).unwrap_err();
    assert_eq!(theft.to_string(), "`a theft by more than labels` needs scores, `remote` gives no more than labels");
}

#[test]
fn a_card_has_what_was_finished_before_the_queries_ran_out() {
    let (model, all) = scene();
    let test = part(&all, 0..15);
    let plan = Plan { eps: vec![0.05, 0.3], ..Plan::default() };
    let card = |budget: u64| {
        let spent = AtomicU64::new(0);
        let scores = Answers::Scores(OutputKind::Logits);
        attack_within_budget(&asked(&model, scores, budget, &spent), &test, &plan, &mut |_| {})
    };
    assert!(matches!(card(10), Err(AttackError::Budget { budget: 10 })), "no clean accuracy, no card");
    let early = card(400).unwrap();
    assert_eq!(early.verdict, Soundness::Unsound);
    assert!(early.worst_case.is_empty() && early.checks.iter().any(|check| check.name == "budget" && !check.passed));
    assert_eq!(early.results.iter().map(|row| row.attack.as_str()).collect::<Vec<_>>(), ["noise-10"]);
    let whole = card(u64::MAX).unwrap();
    assert_eq!(whole.verdict, Soundness::Sound, "{:?}", whole.checks);
    assert_eq!(early.results[0], whole.results[0], "what was finished is what it would have been");
    // Without a wish for parts, a budget too small is no result.
    let spent = AtomicU64::new(0);
    let error = attack(&asked(&model, Answers::Scores(OutputKind::Logits), 400, &spent), &test, &plan, &mut |_| {});
    assert!(matches!(error, Err(AttackError::Budget { budget: 400 })));
}

#[test]
fn who_answers_differently_each_time_is_not_believed() {
    let (model, test) = scene();
    let turn = AtomicU64::new(0);
    let moody = Endpoint::new("moody", shape(&model), Digest::of(b"moody"), Answers::Scores(OutputKind::Logits), |x| {
        let mut scores = model.forward(x).map_err(|error| Unanswered::Failed { problem: error.to_string() })?;
        let mood = turn.fetch_add(1, Ordering::Relaxed) as f64 * 0.01;
        scores.data.iter_mut().step_by(3).for_each(|score| *score += mood);
        Ok(scores)
    });
    let card = attack(&moody, &test, &Plan::default(), &mut |_| {}).unwrap();
    assert_eq!(card.verdict, Soundness::Unsound);
    assert!(card.checks.iter().any(|check| check.name == "repeatable" && !check.passed), "{:?}", card.checks);
    let one = Tensor { shape: vec![1, 1, 8, 8], data: vec![0.5; 64] };
    let error = moody.repeats_itself(&one).unwrap_err().to_string();
    assert!(error.contains("different answers to the same question"), "{error}");
    let spent = AtomicU64::new(0);
    asked(&model, Answers::Labels, 2, &spent).repeats_itself(&one).unwrap();
}

#[test]
fn pictures_show_what_fooled() {
    let (model, test) = scene();
    let plan = Plan { eps: vec![0.3], pictures: 3, ..Plan::default() };
    let card = attack(&model, &test, &plan, &mut |_| {}).unwrap();
    assert_eq!(card.pictures.len(), 3);
    for picture in &card.pictures {
        assert_ne!(Some(picture.label), picture.taken_for);
        // A PNG's first eight bytes, in base64.
        for drawn in [&picture.original, &picture.changed, &picture.difference] {
            assert!(drawn.starts_with("iVBORw0KGgo"), "{drawn}");
        }
        assert_ne!(picture.original, picture.changed);
    }
    let flat = crate::models::flattened(&test);
    let other = crate::models::linear(64, 10, &crate::models::numbers(1, 640, -1.0, 1.0), &[0.0; 10]);
    assert!(attack(&other, &flat, &plan, &mut |_| {}).unwrap().pictures.is_empty(), "rows of a table are no pictures");
}
