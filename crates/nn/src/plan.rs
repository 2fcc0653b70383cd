//! A graph made concrete for one input shape: every shape known, every kernel chosen, every buffer assigned.
//!
//! [`Plan::new`] walks the graph once. Integers (shape arithmetic) are computed on the way, values that only get another
//! shape share the buffer of what they view, and the bytes of the whole pass are known before one of them is allocated.

mod buffers;
mod layout;
mod lower;
mod window;

use crate::error::NnError;
use crate::kernel::Kernel;
use crate::kernel::layout::Concat;
use crate::kernel::pointwise::Unary;
use crate::kernel::reduce::Scale;
use crate::load::{Graph, Known, Place, Role, Value};
use crate::model::Want;
use crate::tensor::elements;

/// What a pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The output only; buffers are used again as soon as nobody reads them.
    Forward,
    /// Gradients too; everything made on the way is kept until they are.
    Gradients(Want),
}

/// Where a step finds a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The model's input.
    Input,
    /// An entry of [`Graph::floats`].
    Float(usize),
    /// An entry of [`Plan::literals`].
    Literal(usize),
    /// The output of a step.
    Step(usize),
}

/// Where a gradient is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The gradient of the model's input.
    Input,
    /// The gradient of an entry of [`Graph::floats`].
    Float(usize),
    /// A gradient buffer.
    Slot(usize),
}

/// One kernel with its buffers.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) kernel: Kernel,
    pub(crate) inputs: Vec<Source>,
    pub(crate) place: Place,
    /// Numbers in the output.
    pub(crate) length: usize,
    /// Numbers in each input.
    pub(crate) input_lengths: Vec<usize>,
    /// Which buffer takes the output.
    pub(crate) slot: usize,
    /// For the backward pass, where this step has one.
    pub(crate) backward: Option<Backward>,
}

/// The backward pass of a step.
#[derive(Debug, Clone)]
pub(crate) struct Backward {
    /// The gradient buffer of the output.
    pub(crate) upstream: usize,
    /// Gradient buffers that this step is the first to write, with their lengths: they are zeroed before it.
    pub(crate) births: Vec<(usize, usize)>,
    /// Which inputs have gradients, and where they go.
    pub(crate) targets: Vec<(usize, Target)>,
}

/// Everything that a pass needs to know.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) literals: Vec<Vec<f64>>,
    /// Numbers in each buffer, and in each gradient buffer.
    pub(crate) slots: Vec<usize>,
    pub(crate) gradient_slots: Vec<usize>,
    pub(crate) input_len: usize,
    /// The step that makes the output.
    pub(crate) output: usize,
    pub(crate) output_shape: Vec<usize>,
    /// The logits: the output, or what goes into its softmax.
    pub(crate) head: usize,
    /// The gradient buffer of the logits.
    pub(crate) head_gradient: usize,
    /// What the output is; `None` where it ends in something that is no distribution over the last axis.
    pub(crate) head_scale: Option<Scale>,
    /// Numbers of scratch space.
    pub(crate) scratch: usize,
    /// Numbers in all buffers together, scratch space and the input's gradient included.
    pub(crate) numbers: usize,
    /// Bytes of index tables in the plan itself.
    pub(crate) table_bytes: usize,
}

impl Plan {
    /// Plans a pass over an input of this shape.
    ///
    /// # Errors
    /// Shapes that do not fit their operators, tensors beyond the limits, index tables beyond `memory_limit` bytes, and
    /// a gradient that is wanted with respect to something that has none.
    pub(crate) fn new(graph: &Graph, dims: &[usize], purpose: Purpose, memory_limit: usize) -> Result<Self, NnError> {
        let mut lowering = Lowering::new(graph, dims, memory_limit)?;
        for node in &graph.nodes {
            lowering.node(node)?;
        }
        lowering.finish(purpose)
    }

    /// Bytes that a pass takes beside its input and output.
    pub(crate) fn bytes(&self, number_bytes: usize) -> usize {
        self.numbers.saturating_mul(number_bytes).saturating_add(self.table_bytes)
    }
}

/// What is known about a value while planning.
#[derive(Debug, Clone)]
enum Fact {
    /// Numbers to be computed, and the buffer that will hold them.
    Floats { shape: Vec<usize>, source: Source },
    /// Integers, known.
    Integers { shape: Vec<usize>, numbers: Vec<i64> },
}

struct Lowering<'g> {
    graph: &'g Graph,
    facts: Vec<Option<Fact>>,
    steps: Vec<Step>,
    literals: Vec<Vec<f64>>,
    input_len: usize,
    table_bytes: usize,
    memory_limit: usize,
}

impl<'g> Lowering<'g> {
    fn new(graph: &'g Graph, dims: &[usize], memory_limit: usize) -> Result<Self, NnError> {
        let input_len = elements(dims).ok_or_else(|| NnError::TensorShape { shape: dims.to_vec(), found: 0 })?;
        let known = |(value, known): (Value, &Known)| match known {
            Known::Float(index) => {
                let shape = graph.floats[*index].shape.clone();
                Some(Fact::Floats { shape, source: Source::Float(*index) })
            }
            Known::Integers(shape, numbers) => Some(Fact::Integers { shape: shape.clone(), numbers: numbers.clone() }),
            Known::Computed if value == graph.input => {
                Some(Fact::Floats { shape: dims.to_vec(), source: Source::Input })
            }
            Known::Computed => None,
        };
        let facts = graph.values.iter().enumerate().map(known).collect();
        let (steps, literals) = (Vec::new(), Vec::new());
        Ok(Self { graph, facts, steps, literals, input_len, table_bytes: 0, memory_limit })
    }

    /// Adds a step and answers what its output is.
    fn emit(&mut self, place: &Place, kernel: Kernel, inputs: &[&Floats], shape: Vec<usize>) -> Result<Fact, NnError> {
        let length = elements(&shape).ok_or_else(|| place.problem("makes a tensor beyond the limits"))?;
        if length == 0 {
            return Err(place.problem("makes an empty tensor"));
        }
        self.steps.push(Step {
            kernel,
            inputs: inputs.iter().map(|input| input.source).collect(),
            input_lengths: inputs.iter().map(|input| input.shape.iter().product()).collect(),
            place: place.clone(),
            length,
            slot: 0,
            backward: None,
        });
        Ok(Fact::Floats { shape, source: Source::Step(self.steps.len() - 1) })
    }

    /// Accounts for a table before it is made.
    fn afford_table<E>(&mut self, entries: usize) -> Result<(), NnError> {
        self.table_bytes = self.table_bytes.saturating_add(entries.saturating_mul(size_of::<E>()));
        if self.table_bytes > self.memory_limit {
            return Err(NnError::Memory { needed: self.table_bytes, limit: self.memory_limit });
        }
        Ok(())
    }

    /// A step that copies: for graphs that answer their input or a constant.
    fn copy(&mut self, shape: &[usize], source: Source) -> Result<usize, NnError> {
        let place = Place { node: "output".to_owned(), operator: "Identity".to_owned(), opset: 0 };
        let kernel = Kernel::Concat(Concat { outer: 1, lengths: vec![shape.iter().product()] });
        self.emit(&place, kernel, &[&Floats { shape: shape.to_vec(), source }], shape.to_vec())?;
        Ok(self.steps.len() - 1)
    }

    fn finish(mut self, purpose: Purpose) -> Result<Plan, NnError> {
        let Some(Some(Fact::Floats { shape, source })) = self.facts.get(self.graph.output).cloned() else {
            return Err(NnError::Interface { problem: "does not compute its output from floating-point numbers" });
        };
        let last = match source {
            Source::Step(last) => last,
            source => self.copy(&shape, source)?,
        };
        let (head, head_scale) = self.head(last, shape.last().copied().unwrap_or(0));
        let buffers = match purpose {
            Purpose::Forward => buffers::forward(&mut self.steps, &[last, head]),
            Purpose::Gradients(want) => {
                let active = |source: Source| match source {
                    Source::Input => want != Want::Parameters,
                    Source::Float(index) => {
                        want != Want::Input && matches!(self.graph.floats[index].role, Role::Parameter(_))
                    }
                    Source::Literal(_) | Source::Step(_) => false,
                };
                buffers::gradients(&mut self.steps, head, active)?
            }
        };
        let scratch = self.steps.iter().map(|step| step.kernel.scratch()).max().unwrap_or(0);
        let sum = |lengths: &[usize]| lengths.iter().fold(0usize, |sum, length| sum.saturating_add(*length));
        let numbers = sum(&buffers.slots).saturating_add(sum(&buffers.gradient_slots));
        let numbers = numbers.saturating_add(scratch).saturating_add(self.input_len);
        Ok(Plan {
            steps: self.steps,
            literals: self.literals,
            slots: buffers.slots,
            gradient_slots: buffers.gradient_slots,
            input_len: self.input_len,
            output: last,
            output_shape: shape,
            head,
            head_gradient: buffers.head_gradient,
            head_scale,
            scratch,
            numbers,
            table_bytes: self.table_bytes,
        })
    }

    /// The step that makes the logits, and what the output makes of them.
    fn head(&self, last: usize, classes: usize) -> (usize, Option<Scale>) {
        let computed = |step: usize| match self.steps[step].inputs.first() {
            Some(Source::Step(before)) => Some(*before),
            _ => None,
        };
        let softmax = |step: usize| match &self.steps[step].kernel {
            Kernel::Softmax(softmax) if softmax.inner == 1 && softmax.length == classes => Some(softmax.scale),
            _ => None,
        };
        match (&self.steps[last].kernel, computed(last)) {
            (Kernel::Softmax(_), Some(before)) => match softmax(last) {
                Some(scale) => (before, Some(scale)),
                None => (last, None),
            },
            (Kernel::Unary(Unary::Log), Some(before)) if softmax(before) == Some(Scale::Linear) => {
                computed(before).map_or((last, None), |logits| (logits, Some(Scale::Log)))
            }
            _ => (last, None),
        }
    }
}

/// A floating-point operand of a node.
#[derive(Debug, Clone)]
struct Floats {
    shape: Vec<usize>,
    source: Source,
}
