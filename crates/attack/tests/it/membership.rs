//! The membership test sees memorised data and no difference where there is none.

use ringfence_attack::{HardenPlan, harden, loss_threshold};

use crate::models::{digits, part, tiny_network};

#[test]
fn memorised_examples_are_told_from_others() {
    let (all, _) = digits(400, 1);
    let members = part(&all, 0..60);
    let others = part(&all, 60..400);
    let plan = HardenPlan { eps: 0.0, epochs: 60, batch: 16, rate: 0.01, held_out: 0.02, ..HardenPlan::default() };
    let (model, _) = harden(tiny_network(2), &members, &plan, &mut |_| {}).unwrap();
    let found = loss_threshold(&model, &members, &others).unwrap();
    assert!(found.auc > 0.65, "{found:?}");
    assert_eq!((found.members, found.non_members), (60, 340));
    // 340 non-members are too few for a rate of 1 %, let alone 0.1 %.
    assert!(found.tpr_at_fpr.iter().all(|point| point.tpr.is_none()));
    let none = loss_threshold(&tiny_network(3), &part(&all, 0..200), &part(&all, 200..400)).unwrap();
    assert!((none.auc - 0.5).abs() < 0.1, "{none:?}");
}
