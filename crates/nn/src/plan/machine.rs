//! Support-vector machines: of two classes, of several by every pair of them, and regressions.
//!
//! Source: the ONNX-ML specification; for several classes, whose arithmetic it leaves open, `LIBSVM` (Chang and Lin 2011,
//! section 8), which the exporters' machines come from.

use super::{Fact, Floats, Lowering};
use crate::error::NnError;
use crate::kernel::Kernel;
use crate::kernel::couple::Couple;
use crate::kernel::elementary::Step;
use crate::kernel::pointwise::{Function, Unary};
use crate::kernel::reduce::Reduction;
use crate::limits::{COUPLED_CLASSES_MAX, FOLD_ELEMENTS_MAX};
use crate::load::{Classifier, Machine, MachineKernel, Node, Place, PostTransform};
use crate::model::Element;

impl Lowering<'_> {
    pub(super) fn machine(&mut self, node: &Node, machine: &Machine) -> Result<Vec<Fact>, NnError> {
        let x = self.rows(node)?;
        let place = &node.place;
        let [_, features] = x.shape[..] else { return Err(place.problem("has an input that is not a matrix")) };
        let Some(classifier) = &machine.classifier else {
            let (similar, count) = if machine.supports == 0 {
                (x, features)
            } else {
                (self.similarities(place, &x, machine)?, machine.supports)
            };
            let score = self.decisions(place, &similar, [1, count], machine.coefficients.clone(), &machine.rho)?;
            let score =
                if machine.one_class { self.apply_unary(place, Unary::Step(Step::Sign), &score)? } else { score };
            return Ok(vec![Fact::Floats(score)]);
        };
        let classes = machine.per_class.len();
        if classes < 2 || classifier.labels.len() != classes || machine.supports == 0 {
            return Err(place.problem("is no machine with support vectors of each class, which alone is implemented"));
        }
        let similar = self.similarities(place, &x, machine)?;
        if classes == 2 {
            self.of_two(place, &similar, machine, classifier)
        } else {
            self.of_several(place, &similar, machine, classifier)
        }
    }

    /// `similar · coefficientsᵀ + rho`: how sure each pair of classes, or a regression, is.
    fn decisions(
        &mut self,
        place: &Place,
        similar: &Floats,
        [pairs, count]: [usize; 2],
        coefficients: Vec<f64>,
        rho: &[f64],
    ) -> Result<Floats, NnError> {
        if coefficients.len() != pairs * count || rho.len() != pairs {
            return Err(place.problem("has support vectors that do not fit its input"));
        }
        let coefficients = self.literal(vec![pairs, count], coefficients);
        let sum = self.by_rows(place, similar, &coefficients)?;
        let rho = self.literal(vec![pairs], rho.to_vec());
        self.apply_binary(place, Function::Add, &sum, &rho)
    }

    fn of_two(
        &mut self,
        place: &Place,
        similar: &Floats,
        machine: &Machine,
        classifier: &Classifier,
    ) -> Result<Vec<Fact>, NnError> {
        let coefficients = machine.coefficients.clone();
        let decision = self.decisions(place, similar, [1, machine.supports], coefficients, &machine.rho)?;
        let scores = if machine.platt.0.is_empty() {
            self.two_classes(place, &decision, PostTransform::None)?
        } else {
            // Platt's p = 1 / (1 + exp(A·d + B)) of the first class: the softmax of 0 and A·d + B.
            let scaled = self.platt(place, &decision, machine)?;
            self.two_classes(place, &scaled, PostTransform::Logistic)?
        };
        self.classified(place, scores, &classifier.labels)
    }

    /// Each pair's A·d + B.
    fn platt(&mut self, place: &Place, decisions: &Floats, machine: &Machine) -> Result<Floats, NnError> {
        let (a, b) = &machine.platt;
        if [a.len(), b.len()] != [machine.rho.len(); 2] {
            return Err(place.problem("has another number of probabilities' parameters than of pairs of classes"));
        }
        let (a, b) = (self.literal(vec![a.len()], a.clone()), self.literal(vec![b.len()], b.clone()));
        let scaled = self.apply_binary(place, Function::Mul, decisions, &a)?;
        self.apply_binary(place, Function::Add, &scaled, &b)
    }

    /// Every pair of classes decides between its two, the pairs in the order 0-1, 0-2, … 1-2, …; the label is that of most.
    fn of_several(
        &mut self,
        place: &Place,
        similar: &Floats,
        machine: &Machine,
        classifier: &Classifier,
    ) -> Result<Vec<Fact>, NnError> {
        let (classes, supports) = (machine.per_class.len(), machine.supports);
        let pairs = classes.saturating_mul(classes - 1) / 2;
        if pairs.saturating_mul(supports.max(classes)) > FOLD_ELEMENTS_MAX {
            return Err(place.problem("has more pairs of classes and support vectors than are supported"));
        }
        let coefficients = pairwise(machine).ok_or_else(|| place.problem("has coefficients of a wrong length"))?;
        let decisions = self.decisions(place, similar, [pairs, supports], coefficients, &machine.rho)?;
        let scores = if machine.platt.0.is_empty() {
            decisions.clone()
        } else if classes > COUPLED_CLASSES_MAX {
            return Err(place.problem("gives probabilities of more classes than are supported"));
        } else {
            let scaled = self.platt(place, &decisions, machine)?;
            let scaled = self.apply_unary(place, Unary::Neg, &scaled)?;
            let first = self.apply_unary(place, Unary::Sigmoid, &scaled)?;
            let shape = vec![first.shape[0], classes];
            self.emit_as(Element::Float, place, Kernel::Couple(Couple { classes }), &[&first], shape)?
        };
        let zero = self.literal(vec![], vec![0.0]);
        let mut wins = self.apply_binary(place, Function::Greater, &decisions, &zero)?;
        wins.element = Element::Float;
        let (mut votes, mut lost) = (vec![0.0; classes * pairs], vec![0.0; classes]);
        for (pair, [first, second]) in self::pairs(classes).enumerate() {
            votes[first * pairs + pair] = 1.0;
            votes[second * pairs + pair] = -1.0;
            lost[second] += 1.0;
        }
        let (votes, lost) = (self.literal(vec![classes, pairs], votes), self.literal(vec![classes], lost));
        let won = self.by_rows(place, &wins, &votes)?;
        let votes = self.apply_binary(place, Function::Add, &won, &lost)?;
        let label = self.classified(place, votes, &classifier.labels)?.into_iter().next();
        Ok(label.into_iter().chain([Fact::Floats(scores)]).collect())
    }

    /// The kernel function of each row with each support vector.
    fn similarities(&mut self, place: &Place, x: &Floats, machine: &Machine) -> Result<Floats, NnError> {
        let (rows, features, count) = (x.shape[0], x.shape[1], machine.supports);
        if count.checked_mul(features) != Some(machine.vectors.len()) {
            return Err(place.problem("has support vectors that do not fit its input"));
        }
        let vectors = self.literal(vec![count, features], machine.vectors.clone());
        let (gamma, offset) = match machine.kernel {
            MachineKernel::Linear => return self.by_rows(place, x, &vectors),
            MachineKernel::Radial { gamma } => {
                let spread = Self::shaped(x, vec![rows, 1, features]);
                let gap = self.apply_binary(place, Function::Sub, &spread, &vectors)?;
                let distance = self.apply_reduce(place, Reduction::SumSquare, &gap, Some(vec![-1]), false)?;
                let factor = self.literal(vec![], vec![-gamma]);
                let exponent = self.apply_binary(place, Function::Mul, &distance, &factor)?;
                return self.apply_unary(place, Unary::Exp, &exponent);
            }
            MachineKernel::Polynomial { gamma, offset, .. } | MachineKernel::Sigmoid { gamma, offset } => {
                (gamma, offset)
            }
        };
        let product = self.by_rows(place, x, &vectors)?;
        let (gamma, offset) = (self.literal(vec![], vec![gamma]), self.literal(vec![], vec![offset]));
        let scaled = self.apply_binary(place, Function::Mul, &product, &gamma)?;
        let shifted = self.apply_binary(place, Function::Add, &scaled, &offset)?;
        match machine.kernel {
            MachineKernel::Polynomial { degree, .. } => {
                let degree = self.literal(vec![], vec![degree]);
                self.apply_binary(place, Function::Pow, &shifted, &degree)
            }
            _ => self.apply_unary(place, Unary::Tanh, &shifted),
        }
    }
}

/// The pairs of classes in their order.
fn pairs(classes: usize) -> impl Iterator<Item = [usize; 2]> {
    (0..classes).flat_map(move |first| (first + 1..classes).map(move |second| [first, second]))
}

/// Coefficients of all support vectors for each pair of classes, from `[classes - 1, supports]`: a vector has one for each
/// class that is not its own, in their order.
fn pairwise(machine: &Machine) -> Option<Vec<f64>> {
    let (classes, supports) = (machine.per_class.len(), machine.supports);
    if Some(machine.coefficients.len()) != supports.checked_mul(classes - 1) {
        return None;
    }
    let mut starts = Vec::with_capacity(classes);
    machine.per_class.iter().fold(0, |start, count| {
        starts.push(start..start + count);
        start + count
    });
    let mut all = vec![0.0; classes * (classes - 1) / 2 * supports];
    for ([first, second], row) in pairs(classes).zip(all.chunks_exact_mut(supports)) {
        for (own, against) in [(first, second - 1), (second, first)] {
            let own = starts.get(own)?.clone();
            let from = machine.coefficients.get(against * supports..)?.get(own.clone())?;
            row.get_mut(own)?.copy_from_slice(from);
        }
    }
    Some(all)
}
