//! Does the model give away what it was trained on? The simplest test: members have lower loss.

use ringfence_schema::report::{Membership, TprAtFpr};

use crate::{
    error::AttackError,
    examples::Examples,
    loss::{Goal, Loss},
    oracle::Oracle,
    source::{Capability, Predict},
    stats::Roc,
};

/// Membership inference by a global loss threshold (Yeom et al. 2018, section 4.1): `members` were trained on,
/// `non_members` come from the same source and were not.
pub fn loss_threshold(
    model: &dyn Predict,
    members: &Examples,
    non_members: &Examples,
) -> Result<Membership, AttackError> {
    let scores = |examples: &Examples| -> Result<Vec<f64>, AttackError> {
        let oracle = Oracle::new(model, examples)?;
        if oracle.has_gradient() {
            let slope = oracle.slope(&examples.inputs().data, examples.labels(), Loss::CrossEntropy)?;
            return Ok(slope.loss.into_iter().map(|loss| -f64::from(loss)).collect());
        }
        oracle.allow("a loss threshold", Capability::Predict)?;
        let scores = oracle.scores(&examples.inputs().data)?;
        let rows = scores.chunks_exact(oracle.classes()).zip(examples.labels());
        let mut unused = vec![0.0; oracle.classes()];
        Ok(rows.map(|(row, label)| -f64::from(Loss::CrossEntropy.of(Goal::away(*label), row, &mut unused))).collect())
    };
    let roc = Roc::new(&scores(members)?, &scores(non_members)?);
    Ok(Membership {
        attack: "loss-threshold".into(),
        auc: roc.area(),
        tpr_at_fpr: FALSE_POSITIVE_RATES.map(|fpr| TprAtFpr { fpr, tpr: roc.tpr_at(fpr) }).to_vec(),
        members: members.count() as u64,
        non_members: non_members.count() as u64,
        note: NOTE.into(),
    })
}

/// The operating points that matter: an attacker who is nearly always right about a few (Carlini et al. 2022).
const FALSE_POSITIVE_RATES: [f64; 2] = [0.01, 0.001];
const NOTE: &str = "a loss threshold finds only the grossest leaks: a low figure does not show that the training data is \
                    private; attacks with reference models (LiRA, RMIA) are another test, `attack privacy`; a rate without a value \
                    needs at least ten non-members per false positive";
