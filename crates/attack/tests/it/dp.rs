//! Private training: budgets as the reference states them, refusals, and a model that gives nothing away.

use ringfence_attack::{
    Accountant, AttackError, DpPlan, Guarantee, Sampling, Spending, accuracy, loss_threshold, prv, rdp, train_private,
};
use ringfence_nn::{Model, builder::Builder};

use crate::models::{by_heart, digits, mislabelled, part, tiny_network};

/// Settings and figures of Opacus 1.6.0; `xtask/peers/dp.py` made them.
const OPACUS: &str = include_str!("data/opacus.csv");

#[test]
fn epsilon_equals_the_reference_on_a_hundred_settings() {
    let (mut by_renyi, mut by_loss, mut bounds) = (0.0_f64, 0, 0.0_f64);
    let rows: Vec<Vec<Option<f64>>> =
        OPACUS.lines().skip(1).map(|line| line.split(',').map(|value| value.parse().ok()).collect()).collect();
    assert_eq!(rows.len(), 100);
    for row in rows {
        let [Some(noise), Some(rate), Some(steps), Some(delta), Some(renyi), lower, estimate, upper] = row[..] else {
            panic!("a line of the reference is not read: {row:?}");
        };
        let spending = Spending { noise, rate, steps: format!("{steps}").parse().unwrap(), delta };
        let found = rdp(&spending).unwrap().epsilon;
        by_renyi = by_renyi.max((found - renyi).abs());
        assert!((found - renyi).abs() < 1e-3, "{spending:?}: {found}, the reference says {renyi}");
        let (Some(lower), Some(estimate), Some(upper)) = (lower, estimate, upper) else { continue };
        let found = prv(&spending).unwrap();
        assert!(found.lower <= found.estimate && found.estimate <= found.upper);
        assert!(
            lower.max(0.0) <= found.estimate && found.estimate <= upper,
            "{spending:?}: {found:?}, {lower}..{upper}"
        );
        bounds = bounds.max((found.estimate - estimate.max(0.0)).abs()).max((found.upper - upper).abs());
        by_loss += 1;
        // The tighter accountant is never above the other by more than its error.
        assert!(found.estimate < renyi + 0.01, "{spending:?}");
    }
    println!("RDP: largest difference {by_renyi:e}; PRV: {by_loss} settings, largest difference {bounds:e}");
    assert!(by_loss >= 95, "{by_loss}");
    assert!(bounds < 2e-3, "{bounds}");
}

#[test]
fn noise_for_a_budget_spends_it() {
    let spending = Spending { noise: 1.0, rate: 0.01, steps: 1000, delta: 1e-5 };
    for accountant in [Accountant::Rdp, Accountant::Prv] {
        let noise = accountant.noise_for(3.0, &spending).unwrap();
        let spent = accountant.epsilon(&Spending { noise, ..spending }).unwrap();
        assert!(spent <= 3.0 && spent > 2.97, "{accountant:?}: {noise}, {spent}");
    }
    assert!(Accountant::Rdp.noise_for(1e-9, &spending).is_err());
    assert!(Accountant::Rdp.noise_for(f64::NAN, &spending).is_err());
}

#[test]
fn accountants_refuse_what_they_cannot_count() {
    let fine = Spending { noise: 1.0, rate: 0.01, steps: 100, delta: 1e-5 };
    let wrong = [
        Spending { noise: 0.0, ..fine },
        Spending { noise: f64::NAN, ..fine },
        Spending { rate: 0.0, ..fine },
        Spending { rate: 1.5, ..fine },
        Spending { steps: 0, ..fine },
        Spending { delta: 0.0, ..fine },
        Spending { delta: 1.0, ..fine },
    ];
    for spending in wrong {
        assert!(rdp(&spending).is_err() && prv(&spending).is_err(), "{spending:?}");
    }
    // An epsilon in the thousands: no grid is long enough, and no figure is made up.
    let found = prv(&Spending { noise: 0.1, rate: 1.0, steps: 5000, delta: 1e-7 });
    assert!(matches!(found, Err(AttackError::Unaccountable { .. })), "{found:?}");
}

#[test]
fn combinations_without_a_guarantee_are_refused() {
    let (train, _) = digits(60, 1);
    let refused =
        |plan: &DpPlan| train_private(tiny_network(1), &train, plan, &[1; 32], &mut |_| {}).err().unwrap().to_string();
    let plan = DpPlan { epochs: 1, batch: 16, noise: Some(1.0), ..DpPlan::default() };
    assert!(
        refused(&DpPlan { sampling: Sampling::Shuffled, ..plan.clone() })
            .starts_with("shuffled batches cannot be part")
    );
    assert!(refused(&DpPlan { noise: Some(0.0), ..plan.clone() }).contains("without noise there is no epsilon"));
    assert!(refused(&DpPlan { delta: 0.05, ..plan.clone() }).contains("below 1/54"));
    assert!(refused(&DpPlan { noise: None, ..plan.clone() }).contains("`noise`"));
    assert!(refused(&DpPlan { epsilon: Some(1.0), ..plan.clone() }).contains("`noise`"));
    assert!(refused(&DpPlan { clip: 0.0, ..plan.clone() }).contains("`clip`"));
    assert!(refused(&DpPlan { batch: 55, ..plan.clone() }).contains("at most the 54 examples"));
    let normalised = Builder::new("normalised", 1)
        .input("x", &[1, 8, 8])
        .conv(4, [3, 3], [2, 2], [1, 1])
        .batch_norm()
        .flatten()
        .linear(10);
    let normalised = Model::parse(&normalised.finish().unwrap()).unwrap();
    let error = train_private(normalised, &train, &plan, &[1; 32], &mut |_| {}).err().unwrap();
    assert!(error.to_string().starts_with("batch normalisation cannot be part"), "{error}");

    // What says that it guarantees nothing may do all this, and states nothing.
    let open = DpPlan { noise: Some(0.0), sampling: Sampling::Shuffled, guarantee: Guarantee::None, ..plan };
    let (_, report) = train_private(tiny_network(1), &train, &open, &[1; 32], &mut |_| {}).unwrap();
    assert_eq!(report.privacy.unwrap().epsilon, None);
}

#[test]
fn without_noise_and_clipping_it_is_ordinary_training() {
    let (train, test) = digits(400, 200);
    let plan = DpPlan {
        epochs: 12,
        batch: 32,
        rate: 0.006,
        noise: Some(0.0),
        clip: 1e6,
        guarantee: Guarantee::None,
        ..DpPlan::default()
    };
    let (model, _) = train_private(tiny_network(1), &train, &plan, &[1; 32], &mut |_| {}).unwrap();
    assert!(accuracy(&model, &test).unwrap() > 0.85);
}

#[test]
fn the_key_decides_the_weights_whatever_the_threads() {
    let (train, _) = digits(100, 1);
    let plan = DpPlan { epochs: 1, batch: 16, noise: Some(1.0), ..DpPlan::default() };
    let run = |threads: usize, key: u8| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train_private(tiny_network(1), &train, &plan, &[key; 32], &mut |_| {}).unwrap().1)
    };
    assert_eq!(run(1, 1), run(3, 1));
    assert_ne!(run(1, 1).model, run(1, 2).model);
}

#[test]
fn a_private_model_is_at_chance_where_an_ordinary_one_leaks() {
    let all = mislabelled(1340);
    let (members, others) = (part(&all, 0..600), part(&all, 600..1340));
    let network = || {
        let file = Builder::new("wide", 3).input("x", &[64]).linear(64).relu().linear(10).finish().unwrap();
        Model::parse(&file).unwrap()
    };
    let open = by_heart(&network(), &members, 80);
    let plan = DpPlan { epochs: 25, batch: 60, epsilon: Some(4.0), delta: 1e-4, held_out: 0.01, ..DpPlan::default() };
    let (private, report) = train_private(network(), &members, &plan, &[5; 32], &mut |_| {}).unwrap();
    let stated = report.privacy.unwrap();
    assert!(stated.epsilon.unwrap() <= 4.0 && stated.epsilon.unwrap() > 3.95, "{stated:?}");
    assert!(stated.epsilon_prv.unwrap()[1] < stated.epsilon.unwrap());
    let leaks = loss_threshold(&open, &members, &others).unwrap().auc;
    let chance = loss_threshold(&private, &members, &others).unwrap().auc;
    assert!(leaks > 0.6 && (chance - 0.5).abs() < 0.06, "{leaks} without, {chance} with");
    assert!(accuracy(&private, &others).unwrap() > 0.3, "it has learned something all the same");
}
