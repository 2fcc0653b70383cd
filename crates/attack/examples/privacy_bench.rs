//! Membership inference with references beside a script in torch and numpy: an overfit MLP 784-128-10 on 10,000 MNIST images, eight
//! references. What its references cost to train, what the tests cost on the very same models, and what each test finds. One JSON
//! object. `xtask/peers/privacy.py` is run by `$PYTHON`, or `python3`.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a measuring program, not a library")]

#[path = "parts/clock.rs"]
mod clock;
#[path = "../tests/it/pool.rs"]
mod pool;

use std::{error::Error, io::Write as _};

use clock::Clock;
use pool::{POOL, Pool};
use ringfence_attack::{PrivacyPlan, privacy};
use ringfence_schema::privacy::MembershipTest;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let Some(pool) = Pool::made(1) else {
        writeln!(std::io::stdout(), "{}", json!({"skipped": "no MNIST"}))?;
        return Ok(());
    };
    let clock = Clock::start()?;
    let given = pool.references();
    let (same, _) = privacy(pool.target(), &pool.members, &pool.others, &given, &PrivacyPlan::default(), &mut |_| {})?;
    let (_, scoring) = Clock::start()?.since(&clock);
    let clock = Clock::start()?;
    let (own, _) = privacy(pool.target(), &pool.members, &pool.others, &[], &Pool::plan(1), &mut |_| {})?;
    let (_, both) = Clock::start()?.since(&clock);
    let rows: Vec<Value> = own.membership.iter().map(|test| row(test, &same.membership, &pool.peer)).collect();
    let figures = json!({
        "peer": pool.peer["peer"], "images": POOL, "references": given.len(),
        "training_references_cpu_seconds": both - scoring,
        "torch_training_references_cpu_seconds": pool.peer["cpu_seconds"]["references"],
        "all_tests_cpu_seconds": scoring,
        "numpy_all_tests_cpu_seconds": pool.peer["cpu_seconds"]["scoring"],
        "tests": rows,
    });
    writeln!(std::io::stdout(), "{figures}")?;
    Ok(())
}

/// What a test finds with references of our own, with the script's, and what the script finds with these.
fn row(own: &MembershipTest, same: &[MembershipTest], peer: &Value) -> Value {
    let tpr = |test: &MembershipTest| test.tpr_at_fpr.last().and_then(|rate| rate.tpr);
    let same = same.iter().find(|test| test.attack == own.attack);
    let theirs = &peer["figures"][&own.attack];
    json!({
        "what": own.attack,
        "auc": own.auc, "tpr_at_0.1%": tpr(own),
        "auc_same_models": same.and_then(|test| test.auc), "tpr_at_0.1%_same_models": same.and_then(tpr),
        "auc_script": theirs["auc"], "tpr_at_0.1%_script": theirs["tpr"]["0.001"],
    })
}
