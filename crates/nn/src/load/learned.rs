//! Operators of the domain `ai.onnx.ml`: what exports of scikit-learn, XGBoost and LightGBM are made of.
//!
//! Source: the ONNX-ML operator specification, versions 1 to 5. Text (labels, categories) is not read: a classifier's
//! label is the number of its class then, and an operator whose *input* is text is refused.

use super::attributes::Attributes;
use crate::error::NnError;
use crate::kernel::trees::{Branch, TreeNode, Votes};

/// An operator of classical machine learning.
#[derive(Debug, Clone)]
pub(crate) enum Learned {
    Scaler {
        offset: Vec<f64>,
        scale: Vec<f64>,
    },
    Normalizer(Norm),
    Imputer {
        replaced: f64,
        values: Vec<f64>,
    },
    Binarizer {
        threshold: f64,
    },
    FeatureVectorizer,
    ArrayFeatureExtractor,
    /// Probabilities with their labels: the probabilities.
    ZipMap,
    /// Numbers for numbers.
    LabelEncoder {
        pairs: Vec<(f64, f64)>,
        default: f64,
        integers: bool,
    },
    /// A category that is not known makes zeros, also where the file calls it an error.
    OneHotEncoder {
        categories: Vec<f64>,
    },
    Linear {
        targets: usize,
        coefficients: Vec<f64>,
        intercepts: Vec<f64>,
        classifier: Option<Classifier>,
        post: PostTransform,
    },
    Machine(Machine),
    Trees(Ensemble),
}

/// What a normaliser divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Norm {
    Max,
    L1,
    L2,
}

/// The classes of a classifier; labels that are text count as their number.
#[derive(Debug, Clone)]
pub(crate) struct Classifier {
    pub(crate) labels: Vec<f64>,
}

/// What is done to scores last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PostTransform {
    None,
    Softmax,
    Logistic,
}

/// A support-vector machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) kernel: MachineKernel,
    pub(crate) vectors: Vec<f64>,
    pub(crate) coefficients: Vec<f64>,
    pub(crate) rho: Vec<f64>,
    /// Support vectors of each class; empty for a regression.
    pub(crate) per_class: Vec<usize>,
    /// Platt's A and B of each pair of classes; empty without probabilities.
    pub(crate) platt: (Vec<f64>, Vec<f64>),
    pub(crate) supports: usize,
    pub(crate) one_class: bool,
    pub(crate) classifier: Option<Classifier>,
}

/// The kernel function of two rows: gamma, coefficient and degree where it has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum MachineKernel {
    Linear,
    Polynomial { gamma: f64, offset: f64, degree: f64 },
    Radial { gamma: f64 },
    Sigmoid { gamma: f64, offset: f64 },
}

/// An ensemble of trees; features are checked against the input by the plan.
#[derive(Debug, Clone)]
pub(crate) struct Ensemble {
    pub(crate) nodes: Vec<TreeNode>,
    pub(crate) roots: Vec<usize>,
    pub(crate) weights: Vec<(usize, f64)>,
    pub(crate) base: Vec<f64>,
    pub(crate) votes: Votes,
    /// One more than the highest feature asked for.
    pub(crate) features: usize,
    pub(crate) classifier: Option<Classifier>,
    pub(crate) post: PostTransform,
    /// Of two classes only one has scores; whether these are all positive, which makes them shares.
    pub(crate) lonely: Option<Sign>,
}

/// The sign of all weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Positive,
    Mixed,
}

impl Learned {
    pub(super) fn arity(&self) -> (usize, usize) {
        match self {
            Self::FeatureVectorizer => (1, FEATURE_INPUTS_MAX),
            Self::ArrayFeatureExtractor => (2, 2),
            _ => (1, 1),
        }
    }

    pub(super) fn outputs(&self) -> usize {
        match self {
            Self::Linear { classifier: Some(_), .. } => 2,
            Self::Machine(machine) if machine.classifier.is_some() => 2,
            Self::Trees(trees) if trees.classifier.is_some() => 2,
            _ => 1,
        }
    }

    /// Whether the last output of this operator holds probabilities.
    pub(crate) fn makes_probabilities(&self) -> bool {
        match self {
            Self::Linear { classifier: Some(_), post, .. } => *post != PostTransform::None,
            Self::Machine(machine) => !machine.platt.0.is_empty(),
            Self::Trees(trees) => trees.classifier.is_some(),
            _ => false,
        }
    }
}

pub(super) fn read(a: &mut Attributes<'_, '_>) -> Result<Option<Learned>, NnError> {
    let learned = match a.operator() {
        "Scaler" => Learned::Scaler { offset: wide(a, "offset")?, scale: wide(a, "scale")? },
        "Normalizer" => Learned::Normalizer(match a.text("norm", "MAX")? {
            "MAX" => Norm::Max,
            "L1" => Norm::L1,
            "L2" => Norm::L2,
            _ => return Err(a.place.attribute("norm", "has a value that is not known")),
        }),
        "Imputer" => imputer(a)?,
        "Binarizer" => Learned::Binarizer { threshold: a.float("threshold", 0.0)? },
        "FeatureVectorizer" => {
            a.ints("inputdimensions")?;
            Learned::FeatureVectorizer
        }
        "ArrayFeatureExtractor" => Learned::ArrayFeatureExtractor,
        "ZipMap" => {
            a.skip("classlabels_strings");
            a.ints("classlabels_int64s")?;
            Learned::ZipMap
        }
        "LabelEncoder" => label_encoder(a)?,
        "OneHotEncoder" => {
            let categories = a.ints("cats_int64s")?.ok_or_else(|| a.place.attribute("cats_int64s", "is missing"))?;
            let categories = categories.iter().map(|number| *number as f64).collect();
            a.flag("zeros", true)?;
            Learned::OneHotEncoder { categories }
        }
        "LinearRegressor" | "LinearClassifier" => linear(a)?,
        "SVMRegressor" | "SVMClassifier" => Learned::Machine(machine(a)?),
        "TreeEnsembleRegressor" | "TreeEnsembleClassifier" => Learned::Trees(ensemble(a)?),
        _ => return Ok(None),
    };
    Ok(Some(learned))
}

fn wide(a: &mut Attributes<'_, '_>, name: &'static str) -> Result<Vec<f64>, NnError> {
    Ok(a.floats(name)?.unwrap_or_default().into_iter().map(f64::from).collect())
}

/// Numbers as single-precision attributes or, in newer versions, as a tensor of either precision.
fn numbers(a: &mut Attributes<'_, '_>, name: &'static str, tensor: &'static str) -> Result<Vec<f64>, NnError> {
    let plain = wide(a, name)?;
    if plain.is_empty() { a.tensor_floats(tensor).map(Option::unwrap_or_default) } else { Ok(plain) }
}

fn imputer(a: &mut Attributes<'_, '_>) -> Result<Learned, NnError> {
    let mut values = wide(a, "imputed_value_floats")?;
    let mut replaced = a.float("replaced_value_float", 0.0)?;
    if values.is_empty() {
        values = a.ints("imputed_value_int64s")?.unwrap_or_default().iter().map(|number| *number as f64).collect();
        replaced = a.int("replaced_value_int64", 0)? as f64;
    }
    a.skip("replaced_value_int64");
    a.skip("imputed_value_int64s");
    if values.is_empty() {
        return Err(a.place.attribute("imputed_value_floats", "is missing"));
    }
    Ok(Learned::Imputer { replaced, values })
}

fn label_encoder(a: &mut Attributes<'_, '_>) -> Result<Learned, NnError> {
    let ints = |list: Option<Vec<i64>>| list.map(|list| list.into_iter().map(|number| number as f64).collect());
    let keys: Option<Vec<f64>> = match ints(a.ints("keys_int64s")?) {
        Some(keys) => Some(keys),
        None => Some(numbers(a, "keys_floats", "keys_tensor")?).filter(|keys| !keys.is_empty()),
    };
    let whole = ints(a.ints("values_int64s")?);
    let integers = whole.is_some();
    let values = match whole {
        Some(values) => Some(values),
        None => Some(numbers(a, "values_floats", "values_tensor")?).filter(|values| !values.is_empty()),
    };
    let default = if integers { a.int("default_int64", -1)? as f64 } else { a.float("default_float", 0.0)? };
    a.skip("default_int64");
    a.skip("default_float");
    a.skip("default_string");
    a.skip("default_tensor");
    match (keys, values) {
        (Some(keys), Some(values)) if keys.len() == values.len() => {
            Ok(Learned::LabelEncoder { pairs: keys.into_iter().zip(values).collect(), default, integers })
        }
        _ => Err(a.place.problem("maps something other than numbers to numbers, which is not implemented")),
    }
}

fn post(a: &mut Attributes<'_, '_>) -> Result<PostTransform, NnError> {
    match a.text("post_transform", "NONE")? {
        "NONE" => Ok(PostTransform::None),
        "SOFTMAX" => Ok(PostTransform::Softmax),
        "LOGISTIC" => Ok(PostTransform::Logistic),
        _ => Err(a.place.attribute("post_transform", "has a value that is not implemented")),
    }
}

/// Labels as numbers; text counts as its place.
fn classifier(a: &mut Attributes<'_, '_>, text: &'static str, whole: &'static str) -> Result<Classifier, NnError> {
    let labels = match a.ints(whole)? {
        Some(labels) if !labels.is_empty() => labels.iter().map(|label| *label as f64).collect(),
        _ => (0..a.texts(text)?).map(|place| place as f64).collect(),
    };
    a.skip(text);
    Ok(Classifier { labels })
}

fn linear(a: &mut Attributes<'_, '_>) -> Result<Learned, NnError> {
    let (coefficients, intercepts, post) = (wide(a, "coefficients")?, wide(a, "intercepts")?, post(a)?);
    let (targets, classifier) = if a.operator() == "LinearClassifier" {
        a.int("multi_class", 0)?;
        let classifier = classifier(a, "classlabels_strings", "classlabels_ints")?;
        (intercepts.len().max(if intercepts.is_empty() { classifier.labels.len() } else { 1 }), Some(classifier))
    } else {
        (usize::try_from(a.int("targets", 1)?).unwrap_or(0), None)
    };
    let whole = targets > 0 && coefficients.len().is_multiple_of(targets);
    if !whole || coefficients.is_empty() || (!intercepts.is_empty() && intercepts.len() != targets) {
        return Err(a.place.attribute("coefficients", "has a wrong length"));
    }
    Ok(Learned::Linear { targets, coefficients, intercepts, classifier, post })
}

fn machine(a: &mut Attributes<'_, '_>) -> Result<Machine, NnError> {
    let parameters = wide(a, "kernel_params")?;
    let [gamma, offset, degree] = [0, 1, 2].map(|at| parameters.get(at).copied().unwrap_or(0.0));
    let kernel = match a.text("kernel_type", "LINEAR")? {
        "LINEAR" => MachineKernel::Linear,
        "POLY" => MachineKernel::Polynomial { gamma, offset, degree },
        "RBF" => MachineKernel::Radial { gamma },
        "SIGMOID" => MachineKernel::Sigmoid { gamma, offset },
        _ => return Err(a.place.attribute("kernel_type", "has a value that is not known")),
    };
    if post(a)? != PostTransform::None {
        return Err(a.place.attribute("post_transform", "has a value that is not implemented"));
    }
    let (coefficients, rho, vectors) = (wide(a, "coefficients")?, wide(a, "rho")?, wide(a, "support_vectors")?);
    let mut machine = Machine {
        kernel,
        vectors,
        coefficients,
        rho,
        per_class: Vec::new(),
        platt: (Vec::new(), Vec::new()),
        supports: 0,
        one_class: false,
        classifier: None,
    };
    if a.operator() == "SVMClassifier" {
        let per_class = a.ints("vectors_per_class")?.unwrap_or_default();
        machine.per_class = per_class.iter().filter_map(|count| usize::try_from(*count).ok()).collect();
        machine.supports = machine.per_class.iter().fold(0, |sum: usize, count| sum.saturating_add(*count));
        machine.platt = (wide(a, "prob_a")?, wide(a, "prob_b")?);
        machine.classifier = Some(classifier(a, "classlabels_strings", "classlabels_ints")?);
    } else {
        machine.supports = usize::try_from(a.int("n_supports", 0)?).unwrap_or(0);
        machine.one_class = a.flag("one_class", false)?;
    }
    Ok(machine)
}

/// The parallel lists of a tree ensemble, one entry a node.
struct Lists {
    trees: Vec<i64>,
    ids: Vec<i64>,
    features: Vec<i64>,
    modes: Vec<Option<Branch>>,
    values: Vec<f64>,
    yes: Vec<i64>,
    no: Vec<i64>,
    missing: Vec<i64>,
}

fn lists(a: &mut Attributes<'_, '_>) -> Result<Lists, NnError> {
    a.skip("nodes_hitrates");
    a.skip("nodes_hitrates_as_tensor");
    let mut ints = |name| a.ints(name).map(Option::unwrap_or_default);
    let (trees, ids, features) = (ints("nodes_treeids")?, ints("nodes_nodeids")?, ints("nodes_featureids")?);
    let (yes, no, missing) =
        (ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?, ints("nodes_missing_value_tracks_true")?);
    let values = numbers(a, "nodes_values", "nodes_values_as_tensor")?;
    let mut modes = Vec::new();
    for mode in a.text_list("nodes_modes")? {
        modes.push(match mode {
            b"LEAF" => None,
            b"BRANCH_LEQ" => Some(Branch::LessOrEqual),
            b"BRANCH_LT" => Some(Branch::Less),
            b"BRANCH_GT" => Some(Branch::Greater),
            b"BRANCH_GTE" => Some(Branch::GreaterOrEqual),
            b"BRANCH_EQ" => Some(Branch::Equal),
            b"BRANCH_NEQ" => Some(Branch::NotEqual),
            _ => return Err(a.place.attribute("nodes_modes", "has a value that is not known")),
        });
    }
    let count = ids.len();
    let all = [trees.len(), features.len(), modes.len(), values.len(), yes.len(), no.len()];
    if all != [count; 6] || !(missing.is_empty() || missing.len() == count) {
        return Err(a.place.attribute("nodes_nodeids", "does not have one entry a node as the other lists have"));
    }
    Ok(Lists { trees, ids, features, modes, values, yes, no, missing })
}

fn ensemble(a: &mut Attributes<'_, '_>) -> Result<Ensemble, NnError> {
    let lists = lists(a)?;
    let classifies = a.operator() == "TreeEnsembleClassifier";
    let (trees, nodes, targets, weights, tensor) = if classifies {
        ("class_treeids", "class_nodeids", "class_ids", "class_weights", "class_weights_as_tensor")
    } else {
        ("target_treeids", "target_nodeids", "target_ids", "target_weights", "target_weights_as_tensor")
    };
    let mut ints = |name| a.ints(name).map(Option::unwrap_or_default);
    let (trees, nodes, targets) = (ints(trees)?, ints(nodes)?, ints(targets)?);
    let weights = numbers(a, weights, tensor)?;
    if [trees.len(), nodes.len(), targets.len()] != [weights.len(); 3] {
        return Err(a.place.attribute("class_ids", "does not have one entry a vote as the other lists have"));
    }
    let classifier = if classifies { Some(classifier(a, "classlabels_strings", "classlabels_int64s")?) } else { None };
    let count = match &classifier {
        Some(classifier) => classifier.labels.len(),
        None => usize::try_from(a.int("n_targets", 1)?).unwrap_or(0),
    };
    let mut votes: Vec<(i64, i64, i64, f64)> = Vec::with_capacity(weights.len());
    for (((tree, node), target), weight) in trees.iter().zip(&nodes).zip(&targets).zip(&weights) {
        votes.push((*tree, *node, *target, *weight));
    }
    let lonely = (count == 2 && classifies && targets.windows(2).all(|pair| pair.first() == pair.last()))
        .then(|| if weights.iter().all(|weight| *weight >= 0.0) { Sign::Positive } else { Sign::Mixed });
    let mut base = numbers(a, "base_values", "base_values_as_tensor")?;
    let scores = if lonely.is_some() { 1 } else { count };
    base.resize(scores, 0.0);
    let votes_mode = match if classifies { "SUM" } else { a.text("aggregate_function", "SUM")? } {
        "SUM" => Votes::Sum,
        "AVERAGE" => Votes::Average,
        "MIN" => Votes::Smallest,
        "MAX" => Votes::Largest,
        _ => return Err(a.place.attribute("aggregate_function", "has a value that is not known")),
    };
    let post = post(a)?;
    let mut ensemble = Ensemble {
        nodes: Vec::new(),
        roots: Vec::new(),
        weights: Vec::new(),
        base,
        votes: votes_mode,
        features: 0,
        classifier,
        post,
        lonely,
    };
    if lonely.is_some() {
        for vote in &mut votes {
            vote.2 = 0;
        }
    }
    ensemble.plant(&lists, votes, scores).ok_or_else(|| a.place.problem("has trees that are not trees"))?;
    Ok(ensemble)
}

impl Ensemble {
    /// Numbers the nodes so that branches lie behind their questions; `None` where they do not form trees.
    fn plant(&mut self, lists: &Lists, mut votes: Vec<(i64, i64, i64, f64)>, scores: usize) -> Option<()> {
        use std::collections::{HashMap, HashSet};
        votes.sort_by_key(|vote| (vote.0, vote.1));
        let mut by_leaf: HashMap<(i64, i64), (usize, usize)> = HashMap::new();
        for (tree, node, target, weight) in votes {
            let target = usize::try_from(target).ok().filter(|target| *target < scores)?;
            let at = self.weights.len();
            by_leaf.entry((tree, node)).or_insert((at, at)).1 = at + 1;
            self.weights.push((target, weight));
        }
        let keys = || lists.trees.iter().copied().zip(lists.ids.iter().copied());
        let places: HashMap<(i64, i64), usize> = keys().zip(0..).collect();
        let mut children: HashSet<(i64, i64)> = HashSet::new();
        for (((tree, mode), yes), no) in lists.trees.iter().zip(&lists.modes).zip(&lists.yes).zip(&lists.no) {
            if mode.is_some() && (!children.insert((*tree, *yes)) || !children.insert((*tree, *no))) {
                return None;
            }
        }
        if places.len() != lists.ids.len() {
            return None;
        }
        // Breadth first: every node gets its number when its parent is looked at, so children come later.
        for root in keys().filter(|key| !children.contains(key)) {
            self.roots.push(self.nodes.len());
            self.nodes.push(TreeNode::Leaf { first: 0, end: 0 });
            let mut waiting = std::collections::VecDeque::from([(root, self.nodes.len() - 1)]);
            while let Some((key, at)) = waiting.pop_front() {
                let place = *places.get(&key)?;
                let node = match lists.modes.get(place)? {
                    None => {
                        let (first, end) = by_leaf.get(&key).copied().unwrap_or((0, 0));
                        TreeNode::Leaf { first, end }
                    }
                    Some(branch) => {
                        let feature = usize::try_from(*lists.features.get(place)?).ok()?;
                        self.features = self.features.max(feature.checked_add(1)?);
                        let (yes, no) = (self.nodes.len(), self.nodes.len() + 1);
                        for (branch, number) in [(lists.yes.get(place)?, yes), (lists.no.get(place)?, no)] {
                            self.nodes.push(TreeNode::Leaf { first: 0, end: 0 });
                            waiting.push_back(((key.0, *branch), number));
                        }
                        let missing = lists.missing.get(place).is_some_and(|track| *track != 0);
                        let value = *lists.values.get(place)?;
                        TreeNode::Question { feature, branch: *branch, value, yes, no, missing }
                    }
                };
                *self.nodes.get_mut(at)? = node;
            }
        }
        // A circle has no root, so its nodes were never reached.
        (self.nodes.len() == lists.ids.len()).then_some(())
    }
}

/// Inputs of a feature vectoriser at most.
const FEATURE_INPUTS_MAX: usize = 1 << 12;
