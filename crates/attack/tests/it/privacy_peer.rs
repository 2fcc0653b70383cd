//! LiRA and RMIA beside a reference in Python, on its models and on our own.

use std::io::Write as _;

use ringfence_attack::{PrivacyPlan, privacy, wilson95};
use ringfence_schema::privacy::MembershipTest;
use serde_json::{Value, json};

use crate::pool::{POOL, Pool};

#[test]
#[ignore = "trains 8 networks here and 9 in Python: minutes; `PYTHON` names an interpreter that has torch, MNIST lies in ../shared"]
fn figures_equal_those_of_the_reference() {
    let Some(pool) = Pool::made() else { return };
    let (peer, given) = (&pool.peer, pool.references());
    let (report, _) =
        privacy(pool.target(), &pool.members, &pool.others, &given, &PrivacyPlan::default(), &mut |_| {}).unwrap();
    let mut table = json!({ "reference": peer["figures"].clone(), "accuracy": peer["accuracy"].clone() });
    for test in &report.membership {
        let figures = &peer["figures"][&test.attack];
        table["same models"][&test.attack] = summary(test);
        if figures.is_null() {
            continue;
        }
        let number = |pointer: &str| figures.pointer(pointer).and_then(Value::as_f64).unwrap();
        // On the very same models nothing but rounding may differ.
        assert!((test.auc.unwrap() - number("/auc")).abs() < 1e-4, "{}: {test:?}, {figures}", test.attack);
        let [low, high] = test.auc_ci95.unwrap();
        assert!(((high - low) / 2.0 / 1.959_964 - number("/deviation")).abs() < 1e-4, "{}", test.attack);
        for (rate, name) in test.tpr_at_fpr.iter().zip(["/tpr/0.01", "/tpr/0.001"]) {
            assert!((rate.tpr.unwrap() - number(name)).abs() < 1e-3, "{}: {rate:?}, {figures}", test.attack);
        }
    }

    // Models of our own, of the same recipe on the same pool.
    let (report, _) = privacy(pool.target(), &pool.members, &pool.others, &[], &Pool::plan(), &mut |_| {}).unwrap();
    for test in &report.membership {
        table["own references"][&test.attack] = summary(test);
        let figures = &peer["figures"][&test.attack];
        let Some(expected) = figures["auc"].as_f64() else { continue };
        let [low, high] = test.auc_ci95.unwrap();
        assert!((low..=high).contains(&expected), "{}: {low}..{high}, the reference has {expected}", test.attack);
        for (rate, name) in test.tpr_at_fpr.iter().zip(["0.01", "0.001"]) {
            // Both rates are measured: the intervals must meet.
            let expected = figures["tpr"][name].as_f64().unwrap();
            let other = wilson95(hits(expected), POOL / 2);
            let [low, high] = rate.ci95.unwrap();
            assert!(low <= other[1] && other[0] <= high, "{}: {rate:?}, the reference has {expected}", test.attack);
        }
    }
    table["own references"]["facts"] = json!(report.references);
    writeln!(std::io::stdout(), "{table:#}").unwrap();
}

/// How many members a share of them is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small number")]
fn hits(share: f64) -> usize {
    (share * (POOL / 2) as f64).round() as usize
}

fn summary(test: &MembershipTest) -> Value {
    json!({ "auc": test.auc, "ci95": test.auc_ci95, "tpr": test.tpr_at_fpr })
}
