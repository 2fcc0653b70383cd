//! A linear model falls exactly where its margin is smaller than the radius times the dual norm of its weights.

use ringfence_attack::{Examples, Norm, Plan, Range, attack};
use ringfence_nn::Tensor;
use ringfence_schema::report::{AttackReport, Soundness};

use crate::models::{linear, numbers};

/// Two classes, weights `w` and 0: class 0 wins where `w·x + b > 0`.
const W: [f32; 4] = [1.0, -2.0, 0.5, 0.0];

fn scene() -> (Examples, Vec<f32>) {
    let data = numbers(5, 400 * 4, -1.0, 1.0);
    let margins: Vec<f32> = data.chunks(4).map(|x| x.iter().zip(W).map(|(x, w)| x * w).sum()).collect();
    let labels = margins.iter().map(|margin| usize::from(*margin < 0.0)).collect();
    (Examples::new(Tensor { shape: vec![400, 4], data }, labels).unwrap(), margins)
}

fn report(norm: Norm, eps: f64) -> AttackReport {
    let weights: Vec<f32> = W.iter().copied().chain([0.0; 4]).collect();
    let model = linear(4, 2, &weights, &[0.0, 0.0]);
    // Wide enough that the range never binds at the radii tried here.
    let range = Range::new(-10.0, 10.0).unwrap();
    let plan = Plan { eps: vec![eps], norm, range, ..Plan::default() };
    attack(&model, &scene().0, &plan, &mut |_| {}).unwrap()
}

fn accuracy(report: &AttackReport, attack: &str) -> f64 {
    report.results.iter().find(|result| result.attack == attack).unwrap().accuracy
}

#[test]
fn linf_attacks_reach_the_exact_accuracy_of_a_linear_model() {
    let (_, margins) = scene();
    for eps in [0.05_f32, 0.2, 0.4] {
        let reach = eps * W.iter().map(|w| w.abs()).sum::<f32>();
        let exact = margins.iter().filter(|margin| margin.abs() > reach).count() as f64 / 400.0;
        let report = report(Norm::Linf, f64::from(eps));
        assert_eq!(report.clean_accuracy, Some(1.0));
        for name in ["fgsm", "pgd-40x3", "worst-case"] {
            // One example may lie on the rim within rounding.
            let found = accuracy(&report, name);
            assert!((found - exact).abs() <= 1.0 / 400.0, "{name} at {eps}: {found}, exactly {exact}");
        }
        assert!(accuracy(&report, "noise-10") >= exact);
        assert_eq!(report.verdict, Soundness::Sound, "{:?}", report.checks);
    }
}

#[test]
fn l2_attacks_reach_the_exact_accuracy_of_a_linear_model() {
    let (_, margins) = scene();
    let eps = 0.3_f32;
    let reach = eps * W.iter().map(|w| w * w).sum::<f32>().sqrt();
    let exact = margins.iter().filter(|margin| margin.abs() > reach).count() as f64 / 400.0;
    let report = report(Norm::L2, f64::from(eps));
    let found = accuracy(&report, "worst-case");
    assert!((found - exact).abs() <= 2.0 / 400.0, "{found}, exactly {exact}");
    assert!(report.results.iter().all(|result| result.norm == "l2"));
}

#[test]
fn the_range_holds_the_attacker_back() {
    // Class 0 needs x > 0.5. At 1 with radius 0.45 the attacker gets to 0.55; at 0.9 to 0.45.
    let model = linear(1, 2, &[2.0, 0.0], &[-1.0, 0.0]);
    let x = Tensor { shape: vec![2, 1], data: vec![1.0, 0.9] };
    let examples = Examples::new(x, vec![0, 0]).unwrap();
    let plan = Plan { eps: vec![0.45], levels: Some(256), ..Plan::default() };
    let report = attack(&model, &examples, &plan, &mut |_| {}).unwrap();
    assert!((accuracy(&report, "worst-case") - 0.5).abs() < 1e-9);
    assert!(report.checks.iter().any(|check| check.name == "returned-inputs" && check.passed));
    assert!((accuracy(&report, "worst-case-in-256-levels") - 0.5).abs() < 1e-9);
}

#[test]
fn fooled_examples_cost_no_more_queries() {
    let eps_small = report(Norm::Linf, 0.01);
    let eps_large = report(Norm::Linf, 2.0);
    let queries =
        |report: &AttackReport| report.results.iter().find(|result| result.attack == "pgd-40x3").unwrap().queries;
    assert!(queries(&eps_large) * 4 < queries(&eps_small), "{} {}", queries(&eps_large), queries(&eps_small));
    // 400 examples, three restarts of 40 gradients and one prediction: never more.
    assert!(queries(&eps_small) <= 400 * 3 * 41);
}

#[test]
fn the_same_seed_gives_the_same_report_on_any_number_of_threads() {
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let many = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    let first = alone.install(|| report(Norm::Linf, 0.2));
    assert_eq!(first, many.install(|| report(Norm::Linf, 0.2)));
    assert_eq!(first, alone.install(|| report(Norm::Linf, 0.2)));
}
