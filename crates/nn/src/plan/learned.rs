//! Operators of the domain `ai.onnx.ml`, composed of the steps of all others where they can be.

use super::{Fact, Floats, Lowering, Source};
use crate::error::NnError;
use crate::kernel::Kernel;
use crate::kernel::elementary::Step;
use crate::kernel::index::{Address, Gather};
use crate::kernel::linear::Linear;
use crate::kernel::order::Extreme;
use crate::kernel::pointwise::{Function, Unary};
use crate::kernel::reduce::{Reduction, Scale, Softmax};
use crate::kernel::trees::Trees;
use crate::load::{Ensemble, Learned, Node, Norm, Place, PostTransform, Sign};
use crate::model::Element;

impl Lowering<'_> {
    pub(super) fn learned(&mut self, node: &Node, learned: &Learned) -> Result<Vec<Fact>, NnError> {
        let place = &node.place;
        let floats = match learned {
            Learned::FeatureVectorizer => self.joined(node)?,
            Learned::ArrayFeatureExtractor => self.picked(node)?,
            Learned::ZipMap => self.numbers(node, 0)?,
            Learned::Scaler { offset, scale } => {
                let x = self.rows(node)?;
                let (offset, scale) = (self.row_of(place, &x, offset)?, self.row_of(place, &x, scale)?);
                let centred = self.apply_binary(place, Function::Sub, &x, &offset)?;
                self.apply_binary(place, Function::Mul, &centred, &scale)?
            }
            Learned::Normalizer(norm) => {
                let x = self.rows(node)?;
                self.normalised(place, &x, *norm)?
            }
            Learned::Imputer { replaced, values } => {
                let x = self.rows(node)?;
                let values = self.row_of(place, &x, values)?;
                let missing = if replaced.is_nan() {
                    self.emit_as(
                        Element::Truth,
                        place,
                        Kernel::Unary(Unary::Step(Step::IsNan)),
                        &[&x],
                        x.shape.clone(),
                    )?
                } else {
                    let replaced = self.literal(vec![], vec![*replaced]);
                    self.apply_binary(place, Function::Equal, &x, &replaced)?
                };
                self.apply_select(place, &missing, &values, &x)?
            }
            Learned::Binarizer { threshold } => {
                let x = self.rows(node)?;
                let threshold = self.literal(vec![], vec![*threshold]);
                let mut above = self.apply_binary(place, Function::Greater, &x, &threshold)?;
                above.element = Element::Float;
                above
            }
            Learned::OneHotEncoder { categories } => {
                let x = self.rows(node)?;
                self.matches(place, &x, categories)?
            }
            Learned::LabelEncoder { pairs, default, integers } => {
                let x = self.rows(node)?;
                let keys: Vec<f64> = pairs.iter().map(|(key, _)| *key).collect();
                let gains = pairs.iter().map(|(_, value)| value - default).collect();
                let hits = self.matches(place, &x, &keys)?;
                let gains = self.literal(vec![pairs.len()], gains);
                let gain = self.apply_product(place, &hits, &gains)?;
                let default = self.literal(vec![], vec![*default]);
                let mut found = self.apply_binary(place, Function::Add, &gain, &default)?;
                found.element = if *integers { Element::Integer } else { Element::Float };
                found
            }
            Learned::Linear { targets, coefficients, intercepts, classifier, post } => {
                let scores = self.linear_scores(node, *targets, coefficients, intercepts)?;
                return match classifier {
                    None => Ok(vec![Fact::Floats(self.posted(place, scores, *post)?)]),
                    Some(classifier) => {
                        let scores = if *targets == 1 && classifier.labels.len() == 2 {
                            self.two_classes(place, &scores, *post)?
                        } else {
                            self.posted(place, scores, *post)?
                        };
                        self.classified(place, scores, &classifier.labels)
                    }
                };
            }
            Learned::Machine(machine) => return self.machine(node, machine),
            Learned::Trees(ensemble) => return self.ensemble(node, ensemble),
        };
        Ok(vec![Fact::Floats(floats)])
    }

    /// Input 0 as floating-point numbers, whatever it holds.
    pub(super) fn rows(&mut self, node: &Node) -> Result<Floats, NnError> {
        let x = self.numbers(node, 0)?;
        Ok(Floats { element: Element::Float, ..x })
    }

    /// Parameters that are one for all, or one a column.
    fn row_of(&mut self, place: &Place, x: &Floats, numbers: &[f64]) -> Result<Floats, NnError> {
        let columns = x.shape.last().copied().unwrap_or(1);
        match numbers.len() {
            1 => Ok(self.literal(vec![], numbers.to_vec())),
            count if count == columns => Ok(self.literal(vec![count], numbers.to_vec())),
            _ => Err(place.problem("has parameters that do not fit its input")),
        }
    }

    fn joined(&mut self, node: &Node) -> Result<Floats, NnError> {
        let mut parts = Vec::with_capacity(node.inputs.len());
        for index in 0..node.inputs.len() {
            let x = self.numbers(node, index)?;
            let rows = x.shape.first().copied().unwrap_or(1);
            let columns = x.shape.iter().skip(1).product();
            parts.push(Floats { shape: vec![rows, columns], source: x.source, element: Element::Float });
        }
        if parts.windows(2).any(|pair| pair[0].shape[0] != pair[1].shape[0]) {
            return Err(node.place.problem("has inputs whose shapes do not fit each other"));
        }
        self.apply_concat(&node.place, &parts.iter().collect::<Vec<_>>(), 1)
    }

    /// Columns of the last axis.
    fn picked(&mut self, node: &Node) -> Result<Floats, NnError> {
        let (x, indices) = (self.numbers(node, 0)?, self.numbers(node, 1)?);
        let Some((length, outer)) = x.shape.split_last() else {
            return Err(node.place.problem("has an input of too low rank"));
        };
        let count = indices.shape.iter().product();
        let mut shape = if outer.is_empty() { vec![1] } else { outer.to_vec() };
        shape.push(count);
        let address = Address::Axis { outer: outer.iter().product(), length: *length, run: 1 };
        self.emit_as(x.element, &node.place, Kernel::Gather(Gather { address }), &[&x, &indices], shape)
    }

    /// Rows divided by their norm; those whose norm is 0 stay.
    fn normalised(&mut self, place: &Place, x: &Floats, norm: Norm) -> Result<Floats, NnError> {
        if norm == Norm::L1 && self.is_distribution(x) {
            return Ok(x.clone());
        }
        let kind = match norm {
            Norm::Max => Reduction::Max,
            Norm::L1 => Reduction::L1,
            Norm::L2 => Reduction::L2,
        };
        let size = self.apply_reduce(place, kind, x, Some(vec![-1]), true)?;
        let (zero, one) = (self.literal(vec![], vec![0.0]), self.literal(vec![], vec![1.0]));
        let none = self.apply_binary(place, Function::Equal, &size, &zero)?;
        let size = self.apply_select(place, &none, &one, &size)?;
        self.apply_binary(place, Function::Div, x, &size)
    }

    /// Whether each row is already a distribution, because a softmax made it.
    fn is_distribution(&self, x: &Floats) -> bool {
        let Source::Step(step) = x.source else { return false };
        matches!(&self.steps[step].kernel, Kernel::Softmax(softmax)
            if softmax.scale == Scale::Linear && softmax.inner == 1 && x.shape.last() == Some(&softmax.length))
    }

    /// 1 where a number equals a key, in a new last axis.
    fn matches(&mut self, place: &Place, x: &Floats, keys: &[f64]) -> Result<Floats, NnError> {
        let mut shape = x.shape.clone();
        shape.push(1);
        let keys = self.literal(vec![keys.len()], keys.to_vec());
        let mut hits = self.apply_binary(place, Function::Equal, &Self::shaped(x, shape), &keys)?;
        hits.element = Element::Float;
        Ok(hits)
    }

    fn linear_scores(
        &mut self,
        node: &Node,
        targets: usize,
        coefficients: &[f64],
        intercepts: &[f64],
    ) -> Result<Floats, NnError> {
        let x = self.rows(node)?;
        let features = coefficients.len() / targets.max(1);
        let weights = self.literal(vec![targets, features], coefficients.to_vec());
        let scores = self.by_rows(&node.place, &x, &weights)?;
        if intercepts.is_empty() {
            return Ok(scores);
        }
        let intercepts = self.literal(vec![targets], intercepts.to_vec());
        self.apply_binary(&node.place, Function::Add, &scores, &intercepts)
    }

    /// `x · weightsᵀ` for rows of the right length.
    pub(super) fn by_rows(&mut self, place: &Place, x: &Floats, weights: &Floats) -> Result<Floats, NnError> {
        let ([m, k], [n, features]) = (&x.shape[..], &weights.shape[..]) else {
            return Err(place.problem("has an input that is not a matrix"));
        };
        let (m, k, n) = (*m, *k, *n);
        if k != *features || k == 0 {
            return Err(place.problem("has coefficients that do not fit its input"));
        }
        let linear = Linear {
            m,
            k,
            n,
            transpose_a: false,
            transpose_b: true,
            alpha: 1.0,
            products: vec![(0, 0)],
            rectify: false,
        };
        self.emit_as(Element::Float, place, Kernel::Linear(linear), &[x, weights], vec![m, n])
    }

    fn softmaxed(&mut self, place: &Place, x: &Floats) -> Result<Floats, NnError> {
        let length = x.shape.last().copied().unwrap_or(1);
        let kernel = Kernel::Softmax(Softmax { length, inner: 1, scale: Scale::Linear });
        self.emit_as(Element::Float, place, kernel, &[x], x.shape.clone())
    }

    fn posted(&mut self, place: &Place, scores: Floats, post: PostTransform) -> Result<Floats, NnError> {
        match post {
            PostTransform::None => Ok(scores),
            PostTransform::Softmax => self.softmaxed(place, &scores),
            PostTransform::Logistic => self.apply_unary(place, Unary::Sigmoid, &scores),
        }
    }

    /// Scores of two classes from the score of the second. The logistic function of it and its complement are the
    /// softmax of it and 0, so that a loss can be taken of what goes in.
    pub(super) fn two_classes(
        &mut self,
        place: &Place,
        score: &Floats,
        post: PostTransform,
    ) -> Result<Floats, NnError> {
        let rows = score.shape.first().copied().unwrap_or(1);
        let other = match post {
            PostTransform::Logistic => self.literal(vec![rows, 1], vec![0.0; rows]),
            PostTransform::None | PostTransform::Softmax => self.apply_unary(place, Unary::Neg, score)?,
        };
        let both = self.apply_concat(place, &[&other, &Self::shaped(score, vec![rows, 1])], 1)?;
        if post == PostTransform::None { Ok(both) } else { self.softmaxed(place, &both) }
    }

    /// Label and scores.
    pub(super) fn classified(&mut self, place: &Place, scores: Floats, labels: &[f64]) -> Result<Vec<Fact>, NnError> {
        let [rows, classes] = scores.shape[..] else {
            return Err(place.problem("has an input that is not a matrix"));
        };
        if classes != labels.len() {
            return Err(place.problem("has another number of labels than of scores"));
        }
        let kernel = Kernel::Extreme(Extreme { length: classes, inner: 1, largest: true, last: false });
        let best = self.emit_as(Element::Integer, place, kernel, &[&scores], vec![rows])?;
        let labels = self.literal_of(Element::Integer, vec![classes], labels.to_vec());
        let address = Address::Axis { outer: 1, length: classes, run: 1 };
        let kernel = Kernel::Gather(Gather { address });
        let label = self.emit_as(Element::Integer, place, kernel, &[&labels, &best], vec![rows])?;
        Ok(vec![Fact::Floats(label), Fact::Floats(scores)])
    }

    fn ensemble(&mut self, node: &Node, ensemble: &Ensemble) -> Result<Vec<Fact>, NnError> {
        let x = self.rows(node)?;
        let place = &node.place;
        let [rows, features] = x.shape[..] else { return Err(place.problem("has an input that is not a matrix")) };
        if ensemble.features > features {
            return Err(place.problem("asks for features that its input does not have"));
        }
        let trees = Trees {
            features,
            nodes: ensemble.nodes.clone(),
            roots: ensemble.roots.clone(),
            weights: ensemble.weights.clone(),
            base: ensemble.base.clone(),
            votes: ensemble.votes,
        };
        let shape = vec![rows, ensemble.base.len()];
        let scores = self.emit_as(Element::Float, place, Kernel::Trees(trees), &[&x], shape)?;
        let Some(classifier) = &ensemble.classifier else {
            return Ok(vec![Fact::Floats(self.posted(place, scores, ensemble.post)?)]);
        };
        let scores = match ensemble.lonely {
            Some(Sign::Positive) if ensemble.post == PostTransform::None => {
                let one = self.literal(vec![], vec![1.0]);
                let other = self.apply_binary(place, Function::Sub, &one, &scores)?;
                self.apply_concat(place, &[&other, &scores], 1)?
            }
            Some(_) => self.two_classes(place, &scores, ensemble.post)?,
            None => self.posted(place, scores, ensemble.post)?,
        };
        self.classified(place, scores, &classifier.labels)
    }
}
