//! [`Model`]: a parsed file that can be run, differentiated, changed and written back.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use ringfence_format::onnx::{self, DataType};

use crate::architecture::Carried;
use crate::chunks::{Chunks, even_rows};
use crate::error::NnError;
use crate::kernel::pointwise::Unary;
use crate::kernel::reduce::Scale;
use crate::limits::{CHUNK_BYTES, CHUNK_MAX, CHUNK_MIN, GROUPS, MEMORY_BYTES_DEFAULT, PLANS_KEPT};
use crate::load::{CastTo, Fresh, Graph, Input, Learned, Norm, Operator, Place, Role};
use crate::loss::{OutputKind, cross_entropy};
use crate::plan::{Order, Plan, Purpose};
use crate::random::Random;
use crate::real::Real;
use crate::run::{Pass, Pools, Weights};
use crate::tensor::{Tensor, elements};

/// An ONNX model, the first dimension of its input and output the batch.
///
/// Calls that take one tensor mean the *primary* input: the first of floating-point numbers, or else the first. Further
/// inputs (attention masks, positions) are bound once by [`Model::bind`], or given to [`Model::forward_all`].
///
/// A batch is cut into chunks that run on all cores, as many on each where it can be. Every example must be independent of
/// its neighbours: that holds for inference graphs, and [`self_check`](crate::self_check) measures it. Where the file fixes
/// the batch, chunks have that size and a batch must be a multiple of it.
#[derive(Debug)]
pub struct Model {
    file: Vec<u8>,
    pub(crate) graph: Graph,
    memory_limit: usize,
    through: bool,
    /// What is bound to each input.
    bound: Vec<Option<Tensor<f64>>>,
    /// What a file of weights held beside them, where the model was made from one.
    carried: Option<Arc<Carried>>,
    plans: Mutex<Vec<KeptPlan>>,
    pools: Pools,
}

/// A plan, and what it was made for.
type KeptPlan = (Vec<Vec<usize>>, Purpose, Arc<Plan>);

/// What the elements of a value are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Floating-point numbers.
    Float,
    /// Integers: token ids, indices.
    Integer,
    /// Truth values: masks.
    Truth,
}

/// An input of the model: see [`Model::inputs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InputInfo<'m> {
    /// Its name.
    pub name: &'m str,
    /// Its dimensions; `None` is free.
    pub dims: &'m [Option<usize>],
    /// What it holds.
    pub element: Element,
    /// Whether the output depends on it.
    pub used: bool,
}

/// A place at which the gradient's way from the output to the input ends: see [`Model::gradient_stops`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GradientStop {
    /// The node.
    pub node: String,
    /// Its operator.
    pub operator: String,
}

/// Which gradients are wanted; each costs about a third of a full forward and backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// With respect to the input: attacks.
    Input,
    /// With respect to the parameters: training.
    Parameters,
    /// Both.
    Both,
}

/// A tensor of trained numbers: see [`Model::parameters`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter<'m> {
    /// The initialiser's name.
    pub name: &'m str,
    /// Its shape.
    pub shape: &'m [usize],
    /// Its numbers, row-major.
    pub data: &'m [f32],
}

/// A parameter whose numbers may change.
#[derive(Debug, PartialEq)]
pub struct ParameterMut<'m> {
    /// The initialiser's name.
    pub name: &'m str,
    /// Its shape.
    pub shape: &'m [usize],
    /// Its numbers, row-major.
    pub data: &'m mut [f32],
}

/// What a backward pass answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients<T = f32> {
    /// The loss of each example, not averaged.
    pub loss_per_example: Vec<T>,
    /// The logits `[batch, classes]`: the model's output, or what goes into the softmax that ends it.
    pub logits: Tensor<T>,
    /// For each example the gradient of *its own* loss, whatever the batch's size; the input's shape.
    pub input: Option<Tensor<T>>,
    /// One tensor a parameter, in the order of [`Model::parameters`]. From [`Model::gradients`] the gradient of the
    /// *mean* loss, from [`Model::pullback`] that of the *sum*.
    pub parameters: Option<Vec<Tensor<T>>>,
}

/// A loss for [`Model::pullback`]: an example's index, its logits, and the place for the gradient with respect to them.
pub type Seed<'s, T> = dyn Fn(usize, &[T], &mut [T]) -> T + Sync + 's;

impl Clone for Model {
    fn clone(&self) -> Self {
        Self {
            file: self.file.clone(),
            graph: self.graph.clone(),
            memory_limit: self.memory_limit,
            through: self.through,
            bound: self.bound.clone(),
            carried: self.carried.clone(),
            plans: Mutex::default(),
            pools: Pools::default(),
        }
    }
}

impl Model {
    /// Reads an ONNX file.
    ///
    /// # Errors
    /// Bytes that are not ONNX; an operator, attribute, element type or opset that is not implemented, by name; a graph
    /// that is not sound. Shapes are checked when the first input comes.
    pub fn parse(file: &[u8]) -> Result<Self, NnError> {
        Self::read(file, None)
    }

    /// As [`Model::parse`], for the output of this name. Without one, it is the first output of floating-point numbers.
    ///
    /// # Errors
    /// As [`Model::parse`]; a name that no output has.
    pub fn parse_output(file: &[u8], output: &str) -> Result<Self, NnError> {
        Self::read(file, Some(output))
    }

    fn read(file: &[u8], output: Option<&str>) -> Result<Self, NnError> {
        let graph = Graph::read(&onnx::Model::parse(file)?, output)?;
        Ok(Self {
            file: file.to_vec(),
            bound: vec![None; graph.inputs.len()],
            graph,
            carried: None,
            memory_limit: MEMORY_BYTES_DEFAULT,
            through: false,
            plans: Mutex::default(),
            pools: Pools::default(),
        })
    }

    /// The file with the parameters and statistics as they are now; no other byte differs from what was parsed.
    ///
    /// # Errors
    /// None for a model that was parsed from a sound file.
    pub fn to_onnx(&self) -> Result<Vec<u8>, NnError> {
        let mut numbers = |tensor: &onnx::Tensor<'_>| {
            let mut floats = self.graph.floats.iter();
            let float = floats.find(|float| float.initialiser && float.name == tensor.name)?;
            match float.stored {
                DataType::Float => Some(float.numbers.iter().flat_map(|number| number.to_le_bytes()).collect()),
                DataType::Double => Some(float.wide().iter().flat_map(|number| number.to_le_bytes()).collect()),
                // Half precision is never trained: it stays as it was.
                _ => None,
            }
        };
        Ok(onnx::rewrite(&self.file, &mut numbers)?)
    }

    /// Keeps what a file of weights held beside them.
    pub(crate) fn carry(&mut self, carried: Carried) {
        self.carried = Some(Arc::new(carried));
    }

    pub(crate) fn carried(&self) -> Option<&Carried> {
        self.carried.as_deref()
    }

    /// The primary input's name and dimensions; `None` is free.
    pub fn input(&self) -> (&str, &[Option<usize>]) {
        self.graph.input().map_or(("", &[]), |input| (&input.name, &input.dims))
    }

    /// What the primary input holds.
    pub fn element(&self) -> Element {
        self.graph.input().map_or(Element::Float, |input| input.element)
    }

    /// All inputs in file order, the primary one among them.
    pub fn inputs(&self) -> impl Iterator<Item = InputInfo<'_>> {
        self.graph.inputs.iter().map(|input| {
            let Input { name, dims, element, used, .. } = input;
            InputInfo { name, dims, element: *element, used: *used }
        })
    }

    /// The name of the output that is computed, and those of the outputs that are not.
    pub fn outputs(&self) -> (&str, impl Iterator<Item = &str>) {
        (&self.graph.output_name, self.graph.other_outputs.iter().map(String::as_str))
    }

    /// Gives an input beside the primary one its numbers, for all calls that take one tensor. Where its first dimension
    /// is free and the numbers have one row there, every example gets that row.
    ///
    /// # Errors
    /// A name that no input has, or that is the primary one's; a shape that the input does not declare.
    pub fn bind<T: Real>(&mut self, name: &str, numbers: &Tensor<T>) -> Result<(), NnError> {
        let at = self.graph.inputs.iter().position(|input| input.name == name);
        let Some(at) = at.filter(|at| *at != self.graph.primary) else {
            return Err(NnError::Unbound {
                input: name.to_owned(),
                wanted: "the model has no such second input".into(),
            });
        };
        let declared = &self.graph.inputs[at].dims;
        let fits = |(dim, declared): (&usize, &Option<usize>)| declared.is_none_or(|fixed| fixed == *dim);
        if declared.len() != numbers.shape.len() || !numbers.shape.iter().zip(declared).all(fits) {
            return Err(wrong_shape(declared, &numbers.shape));
        }
        self.bound[at] = Some(numbers.cast());
        Ok(())
    }

    /// Whether rounding (`Round`, `Floor`, `Ceil`, casts to integers, quantisation) passes the gradient on as if it did
    /// nothing. Off unless set: the gradient of a rounding is 0, and a model whose every way is rounded has none.
    pub fn set_straight_through(&mut self, yes: bool) {
        self.through = yes;
        self.plans.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Where, for inputs of this batch's shape, the gradient's way from output to input ends at a step that is constant
    /// between its jumps: comparisons, rounding, choices. Other ways may remain; where none does, gradients are refused.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn gradient_stops<T: Real>(&self, input: &Tensor<T>) -> Result<Vec<GradientStop>, NnError> {
        let feeds = self.feeds(input)?;
        let plan = self.cut(&feeds, Purpose::Forward)?.plan;
        let stop = |place: &Place| GradientStop { node: place.node.clone(), operator: place.operator.clone() };
        Ok(plan.stops.iter().map(stop).collect())
    }

    /// What the output is, by the graph's last operator that computes anything.
    pub fn output_kind(&self) -> OutputKind {
        match self.ending().as_slice() {
            [Operator::Learned(learned), ..] if learned.makes_probabilities() => OutputKind::Probabilities,
            [Operator::Softmax { scale, .. }, ..] => OutputKind::of(*scale),
            [Operator::Unary(Unary::Log), Operator::Softmax { scale: Scale::Linear, .. }] => {
                OutputKind::LogProbabilities
            }
            _ => OutputKind::Logits,
        }
    }

    /// The last two operators on the way to the output, views left out, the last one first.
    fn ending(&self) -> Vec<&Operator> {
        let mut found = Vec::new();
        let mut wanted = Some(self.graph.output);
        for node in self.graph.nodes.iter().rev() {
            if wanted.is_none() || found.len() == 2 {
                break;
            }
            if !node.outputs.contains(&wanted) {
                continue;
            }
            wanted = node.inputs.first().copied().flatten();
            match &node.operator {
                Operator::Identity
                | Operator::Flatten { .. }
                | Operator::Reshape { .. }
                | Operator::Squeeze { .. }
                | Operator::Unsqueeze { .. }
                | Operator::Cast { to: CastTo::Float }
                | Operator::Learned(Learned::ZipMap | Learned::Normalizer(Norm::L1)) => {}
                operator => found.push(operator),
            }
        }
        found
    }

    /// The trained tensors in file order: weights, biases, scales. Statistics of batch normalisation, constants of the
    /// arithmetic and constant nodes are not among them.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        let floats = self.graph.floats.iter().filter(|float| matches!(float.role, Role::Parameter(_)));
        floats.map(|float| Parameter { name: &float.name, shape: &float.shape, data: &float.numbers })
    }

    /// The same, to be changed.
    pub fn parameters_mut(&mut self) -> impl Iterator<Item = ParameterMut<'_>> {
        self.pools.forget_weights();
        let floats = self.graph.floats.iter_mut().filter(|float| matches!(float.role, Role::Parameter(_)));
        floats.map(|float| {
            float.exact = None;
            ParameterMut { name: &float.name, shape: &float.shape, data: &mut float.numbers }
        })
    }

    /// Names of the tensors that hold means and variances of batches: normalisation that training would have to estimate from several
    /// examples together.
    pub fn statistics(&self) -> impl Iterator<Item = &str> {
        let floats = self.graph.floats.iter().filter(|float| matches!(float.role, Role::Statistic(_)));
        floats.map(|float| float.name.as_str())
    }

    /// Gives every parameter and statistic fresh numbers: weights by He et al. 2015 (normal, variance 2 / fan-in), biases
    /// and means 0, scales and variances 1. The same seed gives the same numbers.
    pub fn reinitialise(&mut self, seed: u64) {
        self.pools.forget_weights();
        for (index, float) in (0..).zip(&mut self.graph.floats) {
            let (Role::Parameter(fresh) | Role::Statistic(fresh)) = float.role else { continue };
            float.exact = None;
            match fresh {
                Fresh::Weight { fan_in } => {
                    let deviation = (2.0 / fan_in.max(1) as f64).sqrt();
                    let mut random = Random::stream(seed, index);
                    float.numbers.iter_mut().for_each(|number| *number = f32::of(random.normal() * deviation));
                }
                Fresh::Zero => float.numbers.fill(0.0),
                Fresh::One => float.numbers.fill(1.0),
                Fresh::Quarter => float.numbers.fill(0.25),
            }
        }
    }

    /// How many bytes one call may take for activations, gradients and tables on all cores together;
    /// [`MEMORY_BYTES_DEFAULT`] unless set.
    pub fn set_memory_limit(&mut self, bytes: usize) {
        self.memory_limit = bytes;
        self.plans.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The model's output for a batch.
    ///
    /// # Errors
    /// An input that does not have the declared shape, shapes inside that do not fit their operators, more memory than
    /// allowed.
    pub fn forward<T: Real>(&self, input: &Tensor<T>) -> Result<Tensor<T>, NnError> {
        self.forward_with(&self.weights(), &self.feeds(input)?)
    }

    /// The model's output for a batch of all inputs, in the order of [`Model::inputs`].
    ///
    /// # Errors
    /// As [`Model::forward`]; not one tensor for each input.
    pub fn forward_all<T: Real>(&self, inputs: &[Tensor<T>]) -> Result<Tensor<T>, NnError> {
        self.forward_with(&self.weights(), &self.feeds_of(inputs)?)
    }

    /// As [`Model::pullback`], for a batch of all inputs; the gradient is the primary one's.
    ///
    /// # Errors
    /// As [`Model::pullback`]; not one tensor for each input.
    pub fn pullback_all<T: Real>(
        &self,
        inputs: &[Tensor<T>],
        want: Want,
        seed: &Seed<'_, T>,
    ) -> Result<Gradients<T>, NnError> {
        self.pullback_with(&self.weights(), &self.feeds_of(inputs)?, want, seed)
    }

    /// Cross-entropy of each example and its gradients; see [`Gradients`] for what is averaged and what is not.
    ///
    /// # Errors
    /// As [`Model::forward`]; labels that are not one a row or not below the number of classes; an output that is not
    /// one distribution a row.
    pub fn gradients<T: Real>(&self, input: &Tensor<T>, labels: &[usize], want: Want) -> Result<Gradients<T>, NnError> {
        self.gradients_with(&self.weights(), &self.feeds(input)?, labels, want)
    }

    /// The vector-Jacobian product for any loss of the logits: `seed` gets an example's index and logits, writes the
    /// gradient of its loss with respect to them into the last argument (which holds zeros), and answers the loss.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn pullback<T: Real>(
        &self,
        input: &Tensor<T>,
        want: Want,
        seed: &Seed<'_, T>,
    ) -> Result<Gradients<T>, NnError> {
        self.pullback_with(&self.weights(), &self.feeds(input)?, want, seed)
    }

    /// All constants in the wanted precision; borrowed where that is how they are stored.
    pub(crate) fn weights<T: Real>(&self) -> Weights<'_, T> {
        self.graph.floats.iter().map(|float| T::weights(&float.numbers, float.exact.as_deref())).collect()
    }

    pub(crate) fn forward_with<T: Real>(
        &self,
        weights: &Weights<'_, T>,
        feeds: &Feeds<'_, T>,
    ) -> Result<Tensor<T>, NnError> {
        let chunks = self.cut(feeds, Purpose::Forward)?;
        let mut shape = chunks.plan.output_shape.clone();
        // Where the file says what a batch is, and this is one, its output may have any shape.
        if self.input().1.first() == Some(&Some(feeds.batch)) {
            let mut output = Tensor::zeros(&shape)?;
            self.run(&chunks, weights, &feeds.chunk(0, feeds.batch), &mut output.data)?;
            return Ok(output);
        }
        let row = chunks.row_of(&shape)?;
        shape[0] = feeds.batch;
        let mut output = Tensor::zeros(&shape)?;
        // One at a time: a core that is done takes over what another has not begun.
        let parts = output.data.par_chunks_mut((chunks.rows * row).max(1)).enumerate().with_max_len(1);
        parts.try_for_each(|(index, out)| {
            self.run(&chunks, weights, &feeds.chunk(index * chunks.rows, chunks.rows), out)
        })?;
        Ok(output)
    }

    fn run<T: Real>(
        &self,
        chunks: &Chunks,
        weights: &Weights<'_, T>,
        part: &Part<'_, T>,
        output: &mut [T],
    ) -> Result<(), NnError> {
        let pass = Pass::forward(chunks.plan_for(part.rows), weights, &part.inputs, &self.pools)?;
        output.copy_from_slice(pass.output());
        pass.finish();
        Ok(())
    }

    pub(crate) fn gradients_with<T: Real>(
        &self,
        weights: &Weights<'_, T>,
        feeds: &Feeds<'_, T>,
        labels: &[usize],
        want: Want,
    ) -> Result<Gradients<T>, NnError> {
        if labels.len() != feeds.batch {
            return Err(NnError::Labels { problem: "there is not one label for each example" });
        }
        if let [Operator::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. }), ..] = self.ending()[..] {
            return Err(NnError::Loss {
                problem: "the graph ends in a sigmoid, which is no distribution over classes",
            });
        }
        let plan = self.cut(feeds, Purpose::Gradients(want))?.plan;
        let expected = (self.output_kind() != OutputKind::Logits).then_some(self.output_kind());
        if plan.head_scale.map(OutputKind::of) != expected {
            return Err(NnError::Loss { problem: "the graph's softmax is not over the output's last axis" });
        }
        let [_, classes] = plan.output_shape[..] else {
            return Err(NnError::Loss { problem: "the output is not `[batch, classes]`" });
        };
        if labels.iter().any(|label| *label >= classes) {
            return Err(NnError::Labels { problem: "a label is not below the number of classes" });
        }
        let seed = |row: usize, logits: &[T], cotangent: &mut [T]| cross_entropy(logits, labels[row], cotangent);
        let mut gradients = self.pullback_with(weights, feeds, want, &seed)?;
        let mean = T::ONE / T::of(labels.len().max(1) as f64);
        for parameter in gradients.parameters.iter_mut().flatten() {
            parameter.data.iter_mut().for_each(|number| *number *= mean);
        }
        Ok(gradients)
    }

    /// The mean cross-entropy in the reference precision.
    pub(crate) fn mean_loss(
        &self,
        weights: &Weights<'_, f64>,
        x: &Tensor<f64>,
        labels: &[usize],
    ) -> Result<f64, NnError> {
        let gradients = self.gradients_with(weights, &self.feeds(x)?, labels, Want::Input)?;
        Ok(gradients.loss_per_example.iter().sum::<f64>() / labels.len().max(1) as f64)
    }

    /// Where the parameters lie among all constants.
    pub(crate) fn parameter_places(&self) -> Vec<usize> {
        let floats = self.graph.floats.iter().enumerate();
        floats.filter(|(_, float)| matches!(float.role, Role::Parameter(_))).map(|(place, _)| place).collect()
    }

    fn pullback_with<T: Real>(
        &self,
        weights: &Weights<'_, T>,
        feeds: &Feeds<'_, T>,
        want: Want,
        seed: &Seed<'_, T>,
    ) -> Result<Gradients<T>, NnError> {
        let chunks = self.cut(feeds, Purpose::Gradients(want))?;
        let (batch, input) = (feeds.batch, &feeds.tensors[self.graph.primary]);
        let classes = chunks.row_of(&chunks.plan.output_shape)?;
        let mut logits = Tensor::zeros(&[batch, classes])?;
        let mut loss = vec![T::ZERO; batch];
        let mut dinput = vec![T::ZERO; if want == Want::Parameters { 0 } else { input.data.len() }];
        let (chunk, row) = (chunks.rows, input.row_len());
        let mut parts = dinput.chunks_mut((chunk * row).max(1));
        let places = logits.data.chunks_mut((chunk * classes).max(1)).zip(loss.chunks_mut(chunk));
        let mut jobs: Vec<Job<'_, T>> = places
            .enumerate()
            .map(|(index, (logits, loss))| Job {
                first: index * chunk,
                part: feeds.chunk(index * chunk, chunk),
                logits,
                loss,
                dinput: parts.next().unwrap_or_default(),
            })
            .collect();
        let groups = if want == Want::Input { jobs.len() } else { GROUPS };
        let group = jobs.len().div_ceil(groups.max(1)).max(1);
        let sums: Vec<Vec<Vec<T>>> = jobs
            .par_chunks_mut(group)
            .with_max_len(1)
            .map(|jobs| {
                let mut sums = self.empty_gradients(want);
                for job in jobs {
                    job.run(chunks.plan_for(job.part.rows), weights, &self.pools, seed, &mut sums)?;
                }
                Ok(sums)
            })
            .collect::<Result<_, NnError>>()?;
        let input = match want {
            Want::Parameters => None,
            _ => Some(Tensor::new(input.shape.clone(), dinput)?),
        };
        let parameters = if want == Want::Input { None } else { Some(self.total(sums)?) };
        Ok(Gradients { loss_per_example: loss, logits, input, parameters })
    }

    /// Zeros for each parameter, nothing for other constants.
    fn empty_gradients<T: Real>(&self, want: Want) -> Vec<Vec<T>> {
        let floats = self.graph.floats.iter();
        let length = |role: Role, length: usize| match role {
            Role::Parameter(_) if want != Want::Input => length,
            _ => 0,
        };
        floats.map(|float| vec![T::ZERO; length(float.role, float.numbers.len())]).collect()
    }

    /// The groups' sums added up in their order.
    fn total<T: Real>(&self, sums: Vec<Vec<Vec<T>>>) -> Result<Vec<Tensor<T>>, NnError> {
        let mut sums = sums.into_iter();
        let mut total = sums.next().unwrap_or_else(|| self.empty_gradients(Want::Parameters));
        for sum in sums {
            let pairs = total.iter_mut().zip(&sum);
            pairs.for_each(|(total, sum)| total.iter_mut().zip(sum).for_each(|(to, from)| *to += *from));
        }
        let floats = self.graph.floats.iter().zip(total);
        let parameters = floats.filter(|(float, _)| matches!(float.role, Role::Parameter(_)));
        parameters.map(|(float, numbers)| Tensor::new(float.shape.clone(), numbers)).collect()
    }

    /// The primary input with what is bound to the others.
    pub(crate) fn feeds<'t, T: Real>(&self, input: &'t Tensor<T>) -> Result<Feeds<'t, T>, NnError> {
        let batch = input.shape.first().copied().unwrap_or(0);
        let mut tensors = Vec::with_capacity(self.graph.inputs.len());
        for (index, (declared, bound)) in self.graph.inputs.iter().zip(&self.bound).enumerate() {
            tensors.push(match bound {
                _ if index == self.graph.primary => Cow::Borrowed(input),
                Some(bound) => Cow::Owned(repeated(bound.cast(), &declared.dims, self.input().1, batch)),
                None if !declared.used => Cow::Owned(Tensor { shape: vec![0], data: Vec::new() }),
                None => {
                    let wanted = format!("{:?} of shape {}", declared.element, described(&declared.dims));
                    return Err(NnError::Unbound { input: declared.name.clone(), wanted });
                }
            });
        }
        self.fed(tensors)
    }

    fn feeds_of<'t, T: Real>(&self, inputs: &'t [Tensor<T>]) -> Result<Feeds<'t, T>, NnError> {
        if inputs.len() != self.graph.inputs.len() {
            return Err(NnError::Interface { problem: "has another number of inputs" });
        }
        self.fed(inputs.iter().map(Cow::Borrowed).collect())
    }

    /// Checks every tensor against what its input declares.
    fn fed<'t, T: Real>(&self, tensors: Vec<Cow<'t, Tensor<T>>>) -> Result<Feeds<'t, T>, NnError> {
        let fits = |(dim, declared): (&usize, &Option<usize>)| declared.is_none_or(|fixed| fixed == *dim);
        let primary = tensors.get(self.graph.primary).map_or(&[][..], |tensor| &tensor.shape);
        let (batch, fixed) = (primary.first().copied().unwrap_or(0), self.input().1.first().copied().flatten());
        let mut by_example = Vec::with_capacity(tensors.len());
        for (index, (declared, tensor)) in self.graph.inputs.iter().zip(&tensors).enumerate() {
            let primary = index == self.graph.primary;
            if !declared.used && !primary {
                by_example.push(false);
                continue;
            }
            let wrong = || wrong_shape(&declared.dims, &tensor.shape);
            let ([rows, example @ ..], true) = (&tensor.shape[..], tensor.shape.len() == declared.dims.len()) else {
                return Err(wrong());
            };
            if elements(&tensor.shape) != Some(tensor.data.len()) {
                return Err(NnError::TensorShape { shape: tensor.shape.clone(), found: tensor.data.len() });
            }
            // An input with a free first dimension, or with the batch's fixed one, has a row for each example.
            let first = declared.dims.first().copied().flatten();
            let rowed = primary || first == fixed;
            let whole = if rowed {
                *rows == batch && fixed.is_none_or(|fixed| batch % fixed == 0)
            } else {
                first.is_none_or(|fixed| fixed == *rows)
            };
            let example_fits = example.iter().zip(declared.dims.iter().skip(1)).all(fits);
            if tensor.data.is_empty() || !whole || !example_fits {
                return Err(wrong());
            }
            by_example.push(rowed);
        }
        Ok(Feeds { tensors, by_example, batch })
    }

    /// Cuts a batch into chunks and plans them.
    fn cut<T: Real>(&self, feeds: &Feeds<'_, T>, purpose: Purpose) -> Result<Chunks, NnError> {
        let batch = feeds.batch;
        let plan = |rows: usize| self.plan(feeds.shapes(rows), purpose);
        let rows = if let Some(rows) = self.input().1.first().copied().flatten() {
            rows
        } else {
            let wanted = batch.div_ceil(GROUPS).clamp(CHUNK_MIN, CHUNK_MAX);
            let example = plan(1)?.example_numbers().saturating_mul(size_of::<T>());
            let most = wanted.min(CHUNK_BYTES / example.max(1)).clamp(1, batch.max(1));
            if let Purpose::Gradients(Want::Parameters | Want::Both) = purpose {
                // Which examples are summed up together must be the same on every machine.
                most
            } else {
                even_rows(batch, most, rayon::current_num_threads().max(1))
            }
        };
        let (full, rest) = (plan(rows)?, batch % rows);
        let rest = if rest == 0 { Arc::clone(&full) } else { plan(rest)? };
        let chunks = Chunks { rows, plan: full, rest };
        self.afford::<T>(&chunks, batch.div_ceil(rows), purpose)?;
        Ok(chunks)
    }

    /// Holds what a call takes at its worst against the limit.
    fn afford<T: Real>(&self, chunks: &Chunks, count: usize, purpose: Purpose) -> Result<(), NnError> {
        let at_once = count.min(rayon::current_num_threads());
        let mut needed = chunks.plan.bytes(size_of::<T>()).saturating_mul(at_once);
        if let Purpose::Gradients(Want::Parameters | Want::Both) = purpose {
            let parameters: usize = self.parameters().map(|parameter| parameter.data.len()).sum();
            needed = needed.saturating_add(parameters.saturating_mul(size_of::<T>() * GROUPS.min(count)));
        }
        let limit = self.memory_limit;
        if needed > limit { Err(NnError::Memory { needed, limit }) } else { Ok(()) }
    }

    /// A plan made before, or a new one.
    fn plan(&self, shape: Vec<Vec<usize>>, purpose: Purpose) -> Result<Arc<Plan>, NnError> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, plan)) = plans.iter().find(|(kept, why, _)| *kept == shape && *why == purpose) {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(Plan::new(
            &self.graph,
            &shape,
            Order { purpose, through: self.through, memory_limit: self.memory_limit },
        )?);
        if plans.len() >= PLANS_KEPT {
            plans.remove(0);
        }
        plans.push((shape, purpose, Arc::clone(&plan)));
        Ok(plan)
    }
}

fn wrong_shape(declared: &[Option<usize>], found: &[usize]) -> NnError {
    NnError::InputShape { expected: described(declared), found: found.to_vec() }
}

fn described(declared: &[Option<usize>]) -> String {
    let dims: Vec<String> = declared.iter().map(|dim| dim.map_or("?".to_owned(), |dim| dim.to_string())).collect();
    format!("[{}]", dims.join(", "))
}

/// The same rows for every example, or every batch of the file's size, where the input has the batch in front as the
/// primary one has.
fn repeated<T: Real>(
    mut tensor: Tensor<T>,
    declared: &[Option<usize>],
    primary: &[Option<usize>],
    batch: usize,
) -> Tensor<T> {
    let rows = tensor.shape.first().copied().unwrap_or(0);
    let times = batch.checked_div(rows).unwrap_or(0);
    let whole = rows * times == batch && (rows == 1 || primary.first() == Some(&Some(rows)));
    if declared.first() == primary.first() && whole && times > 1 {
        tensor.data = tensor.data.repeat(times);
        tensor.shape[0] = batch;
    }
    tensor
}

/// All inputs of a call.
pub(crate) struct Feeds<'t, T: Real> {
    tensors: Vec<Cow<'t, Tensor<T>>>,
    /// Which of them have a row for each example; the others belong to all.
    by_example: Vec<bool>,
    batch: usize,
}

impl<T: Real> Feeds<'_, T> {
    fn shapes(&self, rows: usize) -> Vec<Vec<usize>> {
        let shape = |(tensor, by_example): (&Cow<'_, Tensor<T>>, &bool)| {
            let mut shape = tensor.shape.clone();
            if let (Some(first), true) = (shape.first_mut(), by_example) {
                *first = rows;
            }
            shape
        };
        self.tensors.iter().zip(&self.by_example).map(shape).collect()
    }

    /// At most `rows` examples from `first` on.
    fn chunk(&self, first: usize, rows: usize) -> Part<'_, T> {
        let rows = rows.min(self.batch - first);
        let slice = |(tensor, by_example): (&'_ Cow<'_, Tensor<T>>, &bool)| -> std::ops::Range<usize> {
            let row = tensor.row_len();
            if *by_example { first * row..(first + rows) * row } else { 0..tensor.data.len() }
        };
        let inputs = self.tensors.iter().zip(&self.by_example);
        let inputs = inputs.map(|(tensor, by_example)| &tensor.data[slice((tensor, by_example))]).collect();
        Part { rows, inputs }
    }
}

/// The inputs of one chunk.
struct Part<'t, T> {
    rows: usize,
    inputs: Vec<&'t [T]>,
}

/// The part of a batch that one pass takes, with the places for what it answers.
struct Job<'b, T> {
    first: usize,
    part: Part<'b, T>,
    logits: &'b mut [T],
    loss: &'b mut [T],
    dinput: &'b mut [T],
}

impl<T: Real> Job<'_, T> {
    fn run(
        &mut self,
        plan: &Plan,
        weights: &Weights<'_, T>,
        pools: &Pools,
        seed: &Seed<'_, T>,
        sums: &mut [Vec<T>],
    ) -> Result<(), NnError> {
        let mut pass = Pass::forward(plan, weights, &self.part.inputs, pools)?;
        let (logits, cotangent) = pass.seed();
        self.logits.copy_from_slice(logits);
        cotangent.fill(T::ZERO);
        let row = (logits.len() / self.loss.len().max(1)).max(1);
        let rows = logits.chunks(row).zip(cotangent.chunks_mut(row));
        for ((index, loss), (logits, cotangent)) in (self.first..).zip(self.loss.iter_mut()).zip(rows) {
            *loss = seed(index, logits, cotangent);
        }
        pass.backward(self.dinput, sums);
        pass.finish();
        Ok(())
    }
}
