//! Ensembles of decision trees: forward only, because what they answer is constant between its jumps.

use crate::real::Real;

/// How a tree branches: the number of the feature against the node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Branch {
    LessOrEqual,
    Less,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// A node: a question or the end of one.
#[derive(Debug, Clone)]
pub(crate) enum TreeNode {
    Question {
        feature: usize,
        branch: Branch,
        value: f64,
        yes: usize,
        no: usize,
        /// What a number that is missing (NaN) answers.
        missing: bool,
    },
    /// A range of [`Trees::weights`].
    Leaf { first: usize, end: usize },
}

/// How the trees' votes come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Votes {
    Sum,
    Average,
    Smallest,
    Largest,
}

/// Rows of `features` numbers to rows of `base.len()` scores.
///
/// INVARIANT: a question's branches lie behind it in `nodes`, so every walk ends; features are below `features`.
#[derive(Debug, Clone)]
pub(crate) struct Trees {
    pub(crate) features: usize,
    pub(crate) nodes: Vec<TreeNode>,
    pub(crate) roots: Vec<usize>,
    /// What leaves give to which score.
    pub(crate) weights: Vec<(usize, f64)>,
    pub(crate) base: Vec<f64>,
    pub(crate) votes: Votes,
}

impl Trees {
    pub(crate) fn forward<T: Real>(&self, input: &[T], output: &mut [T]) {
        let rows = input.chunks_exact(self.features.max(1)).zip(output.chunks_exact_mut(self.base.len().max(1)));
        let mut scores = vec![0.0f64; self.base.len()];
        let mut seen = vec![false; self.base.len()];
        for (row, out) in rows {
            scores.fill(0.0);
            seen.fill(false);
            for root in &self.roots {
                for (score, weight) in &self.weights[self.leaf(row, *root)] {
                    let first = !std::mem::replace(&mut seen[*score], true);
                    scores[*score] = match self.votes {
                        Votes::Smallest if !first => scores[*score].min(*weight),
                        Votes::Largest if !first => scores[*score].max(*weight),
                        Votes::Smallest | Votes::Largest => *weight,
                        Votes::Sum | Votes::Average => scores[*score] + weight,
                    };
                }
            }
            let share = if self.votes == Votes::Average { self.roots.len().max(1) as f64 } else { 1.0 };
            for ((out, score), base) in out.iter_mut().zip(&scores).zip(&self.base) {
                *out = T::of(score / share + base);
            }
        }
    }

    fn leaf<T: Real>(&self, row: &[T], root: usize) -> std::ops::Range<usize> {
        let mut at = root;
        loop {
            match &self.nodes[at] {
                TreeNode::Leaf { first, end } => return *first..*end,
                TreeNode::Question { feature, branch, value, yes, no, missing } => {
                    let (x, value) = (row[*feature], T::of(*value));
                    let answer = match branch {
                        _ if x.wide().is_nan() => *missing,
                        Branch::LessOrEqual => x <= value,
                        Branch::Less => x < value,
                        Branch::Greater => x > value,
                        Branch::GreaterOrEqual => x >= value,
                        Branch::Equal => x == value,
                        Branch::NotEqual => x != value,
                    };
                    at = if answer { *yes } else { *no };
                }
            }
        }
    }
}
