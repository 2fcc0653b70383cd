//! [`Model`]: a parsed file that can be run, differentiated, changed and written back.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use ringfence_format::onnx;

use crate::error::NnError;
use crate::kernel::pointwise::Unary;
use crate::kernel::reduce::Scale;
use crate::limits::{CHUNK_BYTES, CHUNK_MAX, CHUNK_MIN, GROUPS, MEMORY_BYTES_DEFAULT, PLANS_KEPT};
use crate::load::{Fresh, Graph, Operator, Role};
use crate::loss::{OutputKind, cross_entropy};
use crate::plan::{Plan, Purpose};
use crate::random::Random;
use crate::real::Real;
use crate::run::{Pass, Pools, Weights};
use crate::tensor::{Tensor, elements};

/// An ONNX model with one input and one output, its first dimension the batch.
///
/// A batch is cut into chunks that run on all cores. Every example must be independent of its neighbours: that holds for
/// inference graphs, and [`self_check`](crate::self_check) measures it. Where the file fixes the batch, chunks have that
/// size and a batch must be a multiple of it.
#[derive(Debug)]
pub struct Model {
    file: Vec<u8>,
    pub(crate) graph: Graph,
    memory_limit: usize,
    plans: Mutex<Vec<KeptPlan>>,
    pools: Pools,
}

/// A plan, and what it was made for.
type KeptPlan = (Vec<usize>, Purpose, Arc<Plan>);

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
        let graph = Graph::read(&onnx::Model::parse(file)?)?;
        Ok(Self {
            file: file.to_vec(),
            graph,
            memory_limit: MEMORY_BYTES_DEFAULT,
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
            Some(float.numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
        };
        Ok(onnx::rewrite(&self.file, &mut numbers)?)
    }

    /// The input's name and dimensions; `None` is free.
    pub fn input(&self) -> (&str, &[Option<usize>]) {
        (&self.graph.input_name, &self.graph.input_dims)
    }

    /// What the output is, by the graph's last operator that computes anything.
    pub fn output_kind(&self) -> OutputKind {
        match self.ending().as_slice() {
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
            if node.outputs.first().copied() != wanted {
                continue;
            }
            wanted = node.inputs.first().copied().flatten();
            match &node.operator {
                Operator::Identity
                | Operator::Flatten { .. }
                | Operator::Reshape { .. }
                | Operator::Squeeze { .. }
                | Operator::Unsqueeze { .. } => {}
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
        let floats = self.graph.floats.iter_mut().filter(|float| matches!(float.role, Role::Parameter(_)));
        floats.map(|float| ParameterMut { name: &float.name, shape: &float.shape, data: &mut float.numbers })
    }

    /// Gives every parameter and statistic fresh numbers: weights by He et al. 2015 (normal, variance 2 / fan-in), biases
    /// and means 0, scales and variances 1. The same seed gives the same numbers.
    pub fn reinitialise(&mut self, seed: u64) {
        for (index, float) in (0..).zip(&mut self.graph.floats) {
            let (Role::Parameter(fresh) | Role::Statistic(fresh)) = float.role else { continue };
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
        self.forward_with(&self.weights(), input)
    }

    /// Cross-entropy of each example and its gradients; see [`Gradients`] for what is averaged and what is not.
    ///
    /// # Errors
    /// As [`Model::forward`]; labels that are not one a row or not below the number of classes; an output that is not
    /// one distribution a row.
    pub fn gradients<T: Real>(&self, input: &Tensor<T>, labels: &[usize], want: Want) -> Result<Gradients<T>, NnError> {
        self.gradients_with(&self.weights(), input, labels, want)
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
        self.pullback_with(&self.weights(), input, want, seed)
    }

    /// All constants in the wanted precision; borrowed where that is how they are stored.
    pub(crate) fn weights<T: Real>(&self) -> Weights<'_, T> {
        self.graph.floats.iter().map(|float| T::weights(&float.numbers)).collect()
    }

    pub(crate) fn forward_with<T: Real>(
        &self,
        weights: &Weights<'_, T>,
        input: &Tensor<T>,
    ) -> Result<Tensor<T>, NnError> {
        let chunks = self.cut(input, Purpose::Forward)?;
        let mut shape = chunks.plan.output_shape.clone();
        // Where the file says what a batch is, and this is one, its output may have any shape.
        if self.graph.input_dims.first() == Some(&Some(input.shape[0])) {
            let mut output = Tensor::zeros(&shape)?;
            self.run(&chunks, weights, &input.data, &mut output.data);
            return Ok(output);
        }
        let row = chunks.row_of(&shape)?;
        shape[0] = input.shape[0];
        let mut output = Tensor::zeros(&shape)?;
        let parts = output.data.par_chunks_mut((chunks.rows * row).max(1));
        let inputs = input.data.par_chunks((chunks.rows * input.row_len()).max(1));
        parts.zip(inputs).for_each(|(out, x)| self.run(&chunks, weights, x, out));
        Ok(output)
    }

    fn run<T: Real>(&self, chunks: &Chunks, weights: &Weights<'_, T>, input: &[T], output: &mut [T]) {
        let pass = Pass::forward(chunks.plan_for(input.len()), weights, input, &self.pools);
        output.copy_from_slice(pass.output());
        pass.finish();
    }

    pub(crate) fn gradients_with<T: Real>(
        &self,
        weights: &Weights<'_, T>,
        input: &Tensor<T>,
        labels: &[usize],
        want: Want,
    ) -> Result<Gradients<T>, NnError> {
        if Some(&labels.len()) != input.shape.first() {
            return Err(NnError::Labels { problem: "there is not one label for each example" });
        }
        if let [Operator::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. }), ..] = self.ending()[..] {
            return Err(NnError::Loss {
                problem: "the graph ends in a sigmoid, which is no distribution over classes",
            });
        }
        let plan = self.cut(input, Purpose::Gradients(want))?.plan;
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
        let mut gradients = self.pullback_with(weights, input, want, &seed)?;
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
        let gradients = self.gradients_with(weights, x, labels, Want::Input)?;
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
        input: &Tensor<T>,
        want: Want,
        seed: &Seed<'_, T>,
    ) -> Result<Gradients<T>, NnError> {
        let chunks = self.cut(input, Purpose::Gradients(want))?;
        let batch = input.shape[0];
        let classes = chunks.row_of(&chunks.plan.output_shape)?;
        let mut logits = Tensor::zeros(&[batch, classes])?;
        let mut loss = vec![T::ZERO; batch];
        let mut dinput = vec![T::ZERO; if want == Want::Parameters { 0 } else { input.data.len() }];
        let (chunk, row) = (chunks.rows, input.row_len());
        let mut parts = dinput.chunks_mut((chunk * row).max(1));
        let places = logits.data.chunks_mut((chunk * classes).max(1)).zip(loss.chunks_mut(chunk));
        let mut jobs: Vec<Job<'_, T>> = input
            .data
            .chunks((chunk * row).max(1))
            .zip(places)
            .enumerate()
            .map(|(index, (x, (logits, loss)))| Job {
                first: index * chunk,
                x,
                logits,
                loss,
                dinput: parts.next().unwrap_or_default(),
            })
            .collect();
        let groups = if want == Want::Input { jobs.len() } else { GROUPS };
        let group = jobs.len().div_ceil(groups.max(1)).max(1);
        let sums: Vec<Vec<Vec<T>>> = jobs
            .par_chunks_mut(group)
            .map(|jobs| {
                let mut sums = self.empty_gradients(want);
                for job in jobs {
                    job.run(chunks.plan_for(job.x.len()), weights, &self.pools, seed, &mut sums);
                }
                sums
            })
            .collect();
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

    /// Cuts a batch into chunks and plans them.
    fn cut<T: Real>(&self, input: &Tensor<T>, purpose: Purpose) -> Result<Chunks, NnError> {
        let (shape, declared) = (&input.shape[..], &self.graph.input_dims);
        let fits = |(dim, declared): (&usize, &Option<usize>)| declared.is_none_or(|fixed| fixed == *dim);
        let ([batch, example @ ..], true) = (shape, shape.len() == declared.len()) else {
            return Err(self.wrong_shape(shape));
        };
        if elements(shape) != Some(input.data.len()) {
            return Err(NnError::TensorShape { shape: shape.to_vec(), found: input.data.len() });
        }
        let fixed = declared.first().copied().flatten();
        let whole = !input.data.is_empty() && fixed.is_none_or(|rows| batch % rows == 0);
        if !whole || !example.iter().zip(declared.iter().skip(1)).all(fits) {
            return Err(self.wrong_shape(shape));
        }
        let plan = |rows: usize| self.plan([&[rows], example].concat(), purpose);
        let rows = if let Some(rows) = fixed {
            rows
        } else {
            let wanted = batch.div_ceil(GROUPS).clamp(CHUNK_MIN, CHUNK_MAX);
            wanted.min(CHUNK_BYTES / plan(1)?.bytes(size_of::<T>()).max(1)).clamp(1, *batch)
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
    fn plan(&self, shape: Vec<usize>, purpose: Purpose) -> Result<Arc<Plan>, NnError> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, plan)) = plans.iter().find(|(kept, why, _)| *kept == shape && *why == purpose) {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(Plan::new(&self.graph, &shape, purpose, self.memory_limit)?);
        if plans.len() >= PLANS_KEPT {
            plans.remove(0);
        }
        plans.push((shape, purpose, Arc::clone(&plan)));
        Ok(plan)
    }

    fn wrong_shape(&self, found: &[usize]) -> NnError {
        let dims = self.graph.input_dims.iter();
        let dims: Vec<String> = dims.map(|dim| dim.map_or("?".to_owned(), |dim| dim.to_string())).collect();
        NnError::InputShape { expected: format!("[{}]", dims.join(", ")), found: found.to_vec() }
    }
}

/// A batch cut into chunks of `rows`, the last one perhaps shorter.
struct Chunks {
    rows: usize,
    plan: Arc<Plan>,
    rest: Arc<Plan>,
}

impl Chunks {
    /// The plan for a chunk of so many numbers.
    fn plan_for(&self, numbers: usize) -> &Plan {
        if numbers == self.plan.input_len { &self.plan } else { &self.rest }
    }

    /// Numbers that the output has for each example.
    fn row_of(&self, output: &[usize]) -> Result<usize, NnError> {
        match output {
            [rows, example @ ..] if *rows == self.rows => Ok(example.iter().product()),
            _ => Err(NnError::Interface { problem: "does not have the batch as its output's first dimension" }),
        }
    }
}

/// The part of a batch that one pass takes, with the places for what it answers.
struct Job<'b, T> {
    first: usize,
    x: &'b [T],
    logits: &'b mut [T],
    loss: &'b mut [T],
    dinput: &'b mut [T],
}

impl<T: Real> Job<'_, T> {
    fn run(&mut self, plan: &Plan, weights: &Weights<'_, T>, pools: &Pools, seed: &Seed<'_, T>, sums: &mut [Vec<T>]) {
        let mut pass = Pass::forward(plan, weights, self.x, pools);
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
    }
}
