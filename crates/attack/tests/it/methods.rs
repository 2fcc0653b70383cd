//! Every attack against a linear model, whose exact accuracy in each norm is known; and what cannot be paired.

use ringfence_attack::{AttackError, Battery, Callback, Column, Examples, Method, Norm, Plan, Range, attack};
use ringfence_nn::{Model, Tensor};
use ringfence_schema::{Digest, report::AttackReport};

use crate::models::{linear, numbers};

/// Two classes, weights `w` and 0: class 0 wins where `w·x > 0`.
const W: [f32; 4] = [1.0, -2.0, 0.5, 0.0];
const COUNT: usize = 200;

fn model() -> Model {
    let weights: Vec<f32> = W.iter().copied().chain([0.0; 4]).collect();
    linear(4, 2, &weights, &[0.0, 0.0])
}

fn scene() -> (Examples, Vec<f32>) {
    let data = numbers(5, COUNT * 4, -1.0, 1.0);
    let margins: Vec<f32> = data.chunks(4).map(|x| x.iter().zip(W).map(|(x, w)| x * w).sum()).collect();
    let labels = margins.iter().map(|margin| usize::from(*margin < 0.0)).collect();
    (Examples::new(Tensor { shape: vec![COUNT, 4], data }, labels).unwrap(), margins)
}

fn run(method: Method, norm: Norm, eps: f64, range: Range) -> AttackReport {
    let plan = Plan { eps: vec![eps], norm, range, attacks: vec![method], ..Plan::default() };
    attack(&model(), &scene().0, &plan, &mut |_| {}).unwrap()
}

/// Accuracy in the row of the attack that was named, the last before the worst case.
fn named(report: &AttackReport) -> f64 {
    let worst = report.results.iter().position(|row| row.attack == "worst-case").unwrap();
    report.results[worst - 1].accuracy
}

/// The most by which an attacker changes `w·x`, where nothing but the norm holds him.
fn reach(norm: Norm, eps: f32) -> f32 {
    let sizes = W.map(f32::abs);
    match norm {
        Norm::Linf => eps * sizes.iter().sum::<f32>(),
        Norm::L2 => eps * sizes.iter().map(|size| size * size).sum::<f32>().sqrt(),
        _ => eps * 2.0,
    }
}

#[test]
fn every_attack_comes_near_the_exact_accuracy_of_a_linear_model() {
    let (_, margins) = scene();
    let wide = Range::new(-10.0, 10.0).unwrap();
    let near = 0.01;
    let cases = [
        (Norm::Linf, 0.2, vec![(Method::Pgd, near), (Method::PgdMargin, near), (Method::PgdDlr, near)]),
        (Norm::Linf, 0.2, vec![(Method::ApgdCe, near), (Method::ApgdDlr, near), (Method::ApgdT, near)]),
        (Norm::Linf, 0.2, vec![(Method::FabT, near), (Method::DeepFool, near), (Method::Square, 0.02)]),
        (Norm::Linf, 0.2, vec![(Method::Nes, 0.02), (Method::Spsa, 0.02), (Method::Transfer, 0.1)]),
        (Norm::Linf, 0.2, vec![(Method::HopSkipJump, 0.03)]),
        (Norm::L2, 0.3, vec![(Method::Pgd, near), (Method::ApgdCe, near), (Method::ApgdT, near)]),
        (Norm::L2, 0.3, vec![(Method::FabT, near), (Method::DeepFool, near), (Method::CarliniWagner, 0.02)]),
        (Norm::L2, 0.3, vec![(Method::Square, 0.1), (Method::Nes, 0.02), (Method::HopSkipJump, 0.03)]),
        (Norm::L1, 0.4, vec![(Method::Pgd, near), (Method::ApgdCe, near), (Method::ApgdT, near)]),
        (Norm::L1, 0.4, vec![(Method::FabT, near), (Method::Nes, 0.05), (Method::Square, 0.1)]),
    ];
    for (norm, eps, methods) in cases {
        let exact = margins.iter().filter(|margin| margin.abs() > reach(norm, eps)).count() as f64 / COUNT as f64;
        for (method, tolerance) in methods {
            let report = run(method, norm, f64::from(eps), wide);
            let found = named(&report);
            // A rim within rounding may count one more.
            assert!(found >= exact - 0.006, "{method:?} in {norm:?}: {found}, exactly {exact}: outside the ball?");
            assert!(found <= exact + tolerance, "{method:?} in {norm:?}: {found}, exactly {exact}");
            let inside = report.checks.iter().find(|check| check.name == "returned-inputs").unwrap();
            assert!(inside.passed, "{method:?} in {norm:?}: {inside:?}");
        }
    }
}

#[test]
fn sparse_attacks_find_the_value_that_matters() {
    let (examples, margins) = scene();
    let range = Range::new(-1.0, 1.0).unwrap();
    // One value may go to either end of the range.
    let best = |x: &[f32], margin: f32| {
        let gains =
            x.iter().zip(W).map(|(x, w)| if w * margin > 0.0 { w.abs() * (x + 1.0) } else { w.abs() * (1.0 - x) });
        gains.fold(0.0, f32::max)
    };
    let stands = |place: &usize| best(examples.row(*place), margins[*place]) < margins[*place].abs();
    let exact = (0..COUNT).filter(stands).count() as f64 / COUNT as f64;
    for (method, tolerance) in [(Method::Pgd, 0.08), (Method::Square, 0.02), (Method::Patch, 0.06)] {
        let found = named(&run(method, Norm::L0, 1.0, range));
        assert!(found >= exact - 0.006 && found <= exact + tolerance, "{method:?}: {found}, exactly {exact}");
    }
}

#[test]
fn columns_hold_every_part_of_the_battery_back() {
    // Whole numbers 0 to 9; the second column, which matters most, cannot be changed; the third stays within 4 to 6.
    let data: Vec<f32> = numbers(7, COUNT * 4, 0.0, 9.99).into_iter().map(f32::floor).collect();
    let w = [2.0_f32, -3.0, 1.0, 0.5];
    let margin = |x: &[f32]| x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>() - 2.25;
    let labels = data.chunks(4).map(|x| usize::from(margin(x) < 0.0)).collect();
    let examples = Examples::new(Tensor { shape: vec![COUNT, 4], data }, labels).unwrap();
    let weights: Vec<f32> = w.iter().copied().chain([0.0; 4]).collect();
    let whole = Column { integer: true, ..Column::FREE };
    let columns = vec![
        whole,
        Column { immutable: true, ..whole },
        Column { within: Some(Range::new(4.0, 6.0).unwrap()), ..whole },
        whole,
    ];
    let stands = |place: &usize| {
        let x = examples.row(*place);
        let way = if margin(x) > 0.0 { -1.0 } else { 1.0 };
        // The bounds of a column always hold the clean value.
        let ends = [(0.0_f32, 10.0), (x[1], x[1]), (x[2].min(4.0), x[2].max(6.0)), (0.0, 10.0)];
        let moved: Vec<f32> =
            (0..4).map(|at| (x[at] + 2.0 * way * w[at].signum()).clamp(ends[at].0, ends[at].1)).collect();
        (margin(&moved) > 0.0) == (margin(x) > 0.0)
    };
    let exact = (0..COUNT).filter(stands).count() as f64 / COUNT as f64;
    let model = linear(4, 2, &weights, &[-2.25, 0.0]);
    let range = Range::new(0.0, 10.0).unwrap();
    // A radius between whole numbers is no more than the whole number below it.
    let plan = Plan { eps: vec![2.7], range, columns, battery: Battery::Standard, ..Plan::default() };
    let report = attack(&model, &examples, &plan, &mut |_| {}).unwrap();
    let worst = &report.worst_case[0];
    assert!((worst.accuracy - exact).abs() < 0.006, "{}, exactly {exact}: {:?}", worst.accuracy, report.results);
    assert!(report.checks.iter().any(|check| check.name == "returned-inputs" && check.passed), "{:?}", report.checks);
    let few = Plan { columns: vec![Column::FREE; 3], ..Plan::default() };
    let few = Plan { range, ..few };
    assert!(matches!(attack(&model, &examples, &few, &mut |_| {}), Err(AttackError::Plan { name: "columns", .. })));
}

#[test]
fn the_worst_case_counts_everything_and_standard_rows_go_down() {
    let plan = Plan { eps: vec![0.1, 0.2], battery: Battery::Standard, range: wide(), ..Plan::default() };
    let report = attack(&model(), &scene().0, &plan, &mut |_| {}).unwrap();
    assert_eq!(report.worst_case.len(), 2);
    for worst in &report.worst_case {
        let rows: Vec<_> = report.results.iter().filter(|row| row.eps.total_cmp(&worst.eps).is_eq()).collect();
        assert!(rows.iter().all(|row| row.accuracy >= worst.accuracy), "{rows:?}");
        let names: Vec<&str> = rows.iter().map(|row| row.attack.as_str()).collect();
        assert_eq!(names, ["noise-10", "fgsm", "pgd-40x3", "apgd-ce", "apgd-t", "fab-t", "square-5000", "worst-case"]);
        assert!(rows[3..7].is_sorted_by(|a, b| a.accuracy >= b.accuracy), "{rows:?}");
        assert_eq!((worst.battery.as_str(), worst.norm.as_str()), ("standard", "linf"));
    }
}

#[test]
fn a_target_is_harder_to_reach_than_any_wrong_class() {
    let weights = [1.0, 0.0, 0.0, 1.0, -1.0, -1.0];
    let model = linear(2, 3, &weights, &[0.0; 3]);
    let data = numbers(9, 100 * 2, 0.2, 1.0);
    let labels = data.chunks(2).map(|x| usize::from(x[1] > x[0])).collect();
    let examples = Examples::new(Tensor { shape: vec![100, 2], data }, labels).unwrap();
    let any = Plan { eps: vec![0.3], range: wide(), battery: Battery::Standard, ..Plan::default() };
    let to = |target| Plan { target, ..any.clone() };
    let accuracy = |plan: &Plan| attack(&model, &examples, plan, &mut |_| {}).unwrap().worst_case[0].accuracy;
    let (anywhere, zero, third) = (accuracy(&any), accuracy(&to(Some(0))), accuracy(&to(Some(2))));
    assert!(zero > anywhere && third > 0.9, "{anywhere} {zero} {third}");
    let refused = attack(&model, &examples, &to(Some(3)), &mut |_| {});
    assert!(matches!(refused, Err(AttackError::Plan { name: "target", .. })));
}

fn wide() -> Range {
    Range::new(-10.0, 10.0).unwrap()
}

fn scores_only(model: &Model) -> Callback<'_> {
    Callback::new("remote", vec![None, Some(4)], Digest::of(b"remote"), |x| {
        model.forward(x).map_err(|error| error.to_string())
    })
}

#[test]
fn pairings_that_cannot_work_are_refused_with_the_reason() {
    let (examples, _) = scene();
    let model = model();
    let remote = scores_only(&model);
    let plan = |norm, method| Plan { norm, range: wide(), attacks: vec![method], ..Plan::default() };
    let refused = |plan: &Plan| attack(&remote, &examples, plan, &mut |_| {}).err().unwrap().to_string();
    assert_eq!(
        refused(&plan(Norm::Linf, Method::ApgdCe)),
        "`apgd-ce` needs input gradients, `remote` gives no more than scores"
    );
    let wrong = attack(&model, &examples, &plan(Norm::Linf, Method::CarliniWagner), &mut |_| {}).err().unwrap();
    assert_eq!(wrong.to_string(), "`carlini-wagner` does not work in the norm linf; it knows l2");
    assert!(Method::named("pgd2").is_err_and(|error| error.to_string().contains("apgd-ce, ")));
    for (method, name) in Method::ALL {
        assert_eq!(Method::named(name).unwrap(), method);
    }
}

#[test]
fn a_source_of_scores_alone_is_attacked_without_gradients() {
    let (examples, margins) = scene();
    let model = model();
    let exact = margins.iter().filter(|margin| margin.abs() > reach(Norm::Linf, 0.2)).count() as f64 / COUNT as f64;
    let plan = Plan { eps: vec![0.2], range: wide(), battery: Battery::Standard, ..Plan::default() };
    let report = attack(&scores_only(&model), &examples, &plan, &mut |_| {}).unwrap();
    assert!((report.worst_case[0].accuracy - exact).abs() < 0.01, "{:?}", report.results);
    assert!(report.results.iter().all(|row| !row.attack.contains("pgd")));
}

#[test]
fn a_source_that_fails_or_a_budget_that_is_too_small_gives_no_figure() {
    let (examples, _) = scene();
    let model = model();
    let plan = Plan { eps: vec![0.2], range: wide(), query_budget: 1_000, ..Plan::default() };
    let refused = attack(&model, &examples, &plan, &mut |_| {}).err().unwrap();
    assert_eq!(refused.to_string(), "the budget of 1000 queries is used up before the attack was finished");
    let gone = Callback::new("remote", vec![None, Some(4)], Digest::of(b"gone"), |_| Err("no answer in 30 s".into()));
    let refused = attack(&gone, &examples, &Plan { query_budget: u64::MAX, ..plan }, &mut |_| {}).err().unwrap();
    assert_eq!(refused.to_string(), "`remote` gave no answer: no answer in 30 s");
}
