//! LiRA and RMIA beside a reference in Python, on its models and on our own.
//!
//! With eight references LiRA's and RMIA's figures depend on which eight they are: on one model the AUC of LiRA has a deviation of
//! .001 to .005 over sets of references, its TPR at .1 % FPR one of .001 to .003, on the script's side as on ours (8 sets, 3 pools).
//! So two sets may differ by more than the interval of either, which takes its references for given; what must be equal is the mean.

use std::io::Write as _;

use ringfence_attack::{PrivacyPlan, privacy, wilson95};
use ringfence_schema::privacy::MembershipTest;
use serde_json::{Value, json};

use crate::pool::{POOL, Pool};

#[test]
#[ignore = "trains 40 networks here and 41 in Python: minutes; `PYTHON` names an interpreter that has torch, MNIST lies in ../shared"]
fn figures_equal_those_of_the_reference() {
    let Some(pool) = Pool::made(SETS) else { return };
    let (peer, given) = (&pool.peer, pool.references());
    let (report, _) =
        privacy(pool.target(), &pool.members, &pool.others, &given, &PrivacyPlan::default(), &mut |_| {}).unwrap();
    for test in &report.membership {
        let figures = &peer["figures"][&test.attack];
        if figures.is_null() {
            continue;
        }
        // On the very same models nothing but rounding may differ.
        let [low, high] = test.auc_ci95.unwrap();
        let deviation = (high - low) / 2.0 / 1.959_964;
        for ((name, ours), within) in named(test).into_iter().zip([1e-4, 1e-3, 1e-3]) {
            let expected = number(figures, name);
            assert!((ours - expected).abs() < within, "{} {name}: {ours}, the script has {expected}", test.attack);
        }
        assert!((deviation - number(figures, "/deviation")).abs() < 1e-4, "{}: {deviation}, {figures}", test.attack);
    }

    // Models of our own, of the same recipe on the same pool.
    let own: Vec<_> = (1..=SETS as u64)
        .map(|seed| privacy(pool.target(), &pool.members, &pool.others, &[], &Pool::plan(seed), &mut |_| {}).unwrap().0)
        .collect();
    let sets = peer["sets"].as_array().unwrap();
    assert_eq!(sets.len(), SETS, "the folder was made with another `SETS`");
    let mut table = json!({ "accuracy": peer["accuracy"].clone(), "references": own[0].references });
    let mut apart = Vec::new();
    for (place, test) in own[0].membership.iter().enumerate() {
        if sets[0][&test.attack].is_null() {
            continue;
        }
        for (figure, (name, _)) in named(test).into_iter().enumerate() {
            let ours = Spread::of(own.iter().map(|report| named(&report.membership[place])[figure].1));
            let theirs = Spread::of(sets.iter().map(|set| number(&set[&test.attack], name)));
            let near = if figure == 0 {
                let half = 1.959_964 * number(&sets[0][&test.attack], "/deviation");
                (ours.mean - theirs.mean).abs() <= half
            } else {
                let [a, b] = [&ours, &theirs].map(|spread| wilson95(hits(spread.mean), POOL / 2));
                a[0] <= b[1] && b[0] <= a[1]
            };
            let t = ours.welch(&theirs);
            table[&test.attack][name] = json!({ "ours": ours.row(), "script": theirs.row(), "t": t });
            if !near || t.abs() > T_MAX {
                apart.push(format!("{} {name}: {} and {}, t {t:.2}", test.attack, ours.row(), theirs.row()));
            }
        }
    }
    writeln!(std::io::stdout(), "{table:#}").unwrap();
    assert!(apart.is_empty(), "{apart:#?}");
}

/// AUC, TPR at 1 % and at .1 % FPR, each with its place in the script's figures.
fn named(test: &MembershipTest) -> [(&'static str, f64); 3] {
    let tpr = |place: usize| test.tpr_at_fpr[place].tpr.unwrap();
    [("/auc", test.auc.unwrap()), ("/tpr/0.01", tpr(0)), ("/tpr/0.001", tpr(1))]
}

fn number(figures: &Value, pointer: &str) -> f64 {
    figures.pointer(pointer).and_then(Value::as_f64).unwrap()
}

/// Mean and deviation of a figure over sets of references.
struct Spread {
    mean: f64,
    deviation: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64> + Clone) -> Self {
        let count = SETS as f64;
        let mean = figures.clone().sum::<f64>() / count;
        let square: f64 = figures.map(|figure| (figure - mean).powi(2)).sum();
        Self { mean, deviation: (square / (count - 1.0)).sqrt() }
    }

    /// Welch's t of the difference of means; 0 where neither varies (a test without references).
    fn welch(&self, other: &Self) -> f64 {
        let error = ((self.deviation.powi(2) + other.deviation.powi(2)) / SETS as f64).sqrt();
        if error < 1e-9 { 0.0 } else { (self.mean - other.mean) / error }
    }

    fn row(&self) -> Value {
        json!([self.mean, self.deviation])
    }
}

/// How many members a share of them is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small number")]
fn hits(share: f64) -> usize {
    (share * (POOL / 2) as f64).round() as usize
}

/// Sets of references on each side.
const SETS: usize = 5;
/// Student's t with 8 degrees of freedom exceeds it once in a thousand, either way.
const T_MAX: f64 = 5.04;
