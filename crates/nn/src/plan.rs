//! A graph made concrete for one input shape: every shape known, every kernel chosen, every buffer assigned.
//!
//! [`Plan::new`] walks the graph once. Integers (shape arithmetic) are computed on the way, values that only get another
//! shape share the buffer of what they view, and the bytes of the whole pass are known before one of them is allocated.

mod buffers;
mod compose;
mod einsum;
mod flow;
mod index;
mod layout;
mod learned;
mod lower;
mod machine;
mod norm;
mod order;
mod quantise;
mod recurrent;
mod resize;
mod window;

use crate::error::NnError;
use crate::kernel::Kernel;
use crate::kernel::layout::Concat;
use crate::kernel::linear::Side;
use crate::kernel::pointwise::Unary;
use crate::kernel::reduce::Scale;
use crate::limits::{FOLD_ELEMENTS_MAX, INTEGER_MAX, SHAPE_ELEMENTS_MAX, STEPS_MAX};
use crate::load::{Graph, Known, Place, Role};
use crate::model::{Element, Want};
use crate::run::Literals;
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
    /// An entry of [`Graph::inputs`].
    Input(usize),
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

impl Step {
    /// Bytes of what the step makes of its weights for single precision, beside these.
    fn prepared_bytes(&self) -> usize {
        if !matches!(self.inputs.get(1), Some(Source::Float(_))) {
            return 0;
        }
        let backward = if self.backward.is_some() { self.kernel.prepared_len(Side::Backward) } else { 0 };
        self.kernel.prepared_len(Side::Forward).saturating_add(backward).saturating_mul(size_of::<f32>())
    }
}

/// The backward pass of a step.
#[derive(Debug, Clone)]
pub(crate) struct Backward {
    /// The gradient buffer of the output.
    pub(crate) upstream: usize,
    /// Gradient buffers that this step is the first to write, with their lengths: they are zeroed before it.
    pub(crate) births: Vec<(usize, usize)>,
    /// Which inputs have gradients, where they go, and whether they are added there.
    pub(crate) targets: Vec<(usize, Target, crate::kernel::gemm::Into)>,
}

/// Everything that a pass needs to know.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) literals: Literals,
    /// Numbers in each buffer, and in each gradient buffer.
    pub(crate) slots: Vec<usize>,
    pub(crate) gradient_slots: Vec<usize>,
    /// Where the way of the gradient from output to input ends on some path, because nothing changes beyond.
    pub(crate) stops: Vec<Place>,
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
    /// Plans a pass over inputs of these shapes, in the order of [`Graph::inputs`].
    ///
    /// # Errors
    /// Shapes that do not fit their operators, tensors beyond the limits, index tables beyond `memory_limit` bytes, and
    /// a gradient that is wanted with respect to something that has none.
    pub(crate) fn new(graph: &Graph, shapes: &[Vec<usize>], order: Order) -> Result<Self, NnError> {
        let mut lowering = Lowering::new(graph, shapes, order)?;
        lowering.nodes(&graph.nodes)?;
        lowering.finish(order.purpose)
    }

    /// Numbers that grow with the batch: those of all buffers without scratch space.
    pub(crate) fn example_numbers(&self) -> usize {
        self.numbers.saturating_sub(self.scratch)
    }

    /// Bytes that a pass takes beside its input and output.
    pub(crate) fn bytes(&self, number_bytes: usize) -> usize {
        self.numbers.saturating_mul(number_bytes).saturating_add(self.table_bytes)
    }
}

/// What is asked of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) purpose: Purpose,
    /// Whether rounding has the gradient of the identity, because the user said so.
    pub(crate) through: bool,
    pub(crate) memory_limit: usize,
}

/// What is known about a value while planning.
#[derive(Debug, Clone)]
enum Fact {
    /// Numbers to be computed, or a literal.
    Floats(Floats),
    /// Integers, known.
    Integers { shape: Vec<usize>, numbers: Vec<i64> },
}

/// Numbers, and the buffer that will hold them.
#[derive(Debug, Clone)]
struct Floats {
    shape: Vec<usize>,
    source: Source,
    element: Element,
}

struct Lowering<'g> {
    graph: &'g Graph,
    facts: Vec<Option<Fact>>,
    steps: Vec<Step>,
    literals: Vec<Vec<f64>>,
    input_len: usize,
    table_bytes: usize,
    order: Order,
    /// Nodes lowered so far, each round of a loop counted.
    lowered: usize,
}

impl<'g> Lowering<'g> {
    fn new(graph: &'g Graph, shapes: &[Vec<usize>], order: Order) -> Result<Self, NnError> {
        let mut input_len = 0usize;
        for shape in shapes {
            let count = elements(shape).ok_or_else(|| NnError::TensorShape { shape: shape.clone(), found: 0 })?;
            input_len = input_len.saturating_add(count);
        }
        let known = |known: &Known| match known {
            Known::Float(index) => {
                let shape = graph.floats[*index].shape.clone();
                Some(Fact::Floats(Floats { shape, source: Source::Float(*index), element: Element::Float }))
            }
            Known::Integers(shape, numbers) => Some(Fact::Integers { shape: shape.clone(), numbers: numbers.clone() }),
            Known::Computed => None,
        };
        let mut facts: Vec<Option<Fact>> = graph.values.iter().map(known).collect();
        for ((index, input), shape) in graph.inputs.iter().enumerate().zip(shapes).filter(|((_, input), _)| input.used)
        {
            let (shape, source) = (shape.clone(), Source::Input(index));
            facts[input.value] = Some(Fact::Floats(Floats { shape, source, element: input.element }));
        }
        let (steps, literals) = (Vec::new(), Vec::new());
        Ok(Self { graph, facts, steps, literals, input_len, table_bytes: 0, order, lowered: 0 })
    }

    /// Adds a step and answers what its output is.
    fn emit(&mut self, place: &Place, kernel: Kernel, inputs: &[&Floats], shape: Vec<usize>) -> Result<Fact, NnError> {
        self.emit_as(Element::Float, place, kernel, inputs, shape).map(Fact::Floats)
    }

    /// Adds a step that makes elements of this type. Where all inputs are constants, its result becomes a literal.
    fn emit_as(
        &mut self,
        element: Element,
        place: &Place,
        kernel: Kernel,
        inputs: &[&Floats],
        shape: Vec<usize>,
    ) -> Result<Floats, NnError> {
        let length = elements(&shape).ok_or_else(|| place.problem("makes a tensor beyond the limits"))?;
        if length == 0 {
            return Err(place.problem("makes an empty tensor"));
        }
        if inputs.iter().any(|input| input.shape.contains(&0)) {
            return Err(place.problem("has an empty input"));
        }
        let constant = inputs.iter().all(|input| self.constant(input.source).is_some());
        if constant && length <= FOLD_ELEMENTS_MAX {
            return self.fold(element, place, &kernel, inputs, shape);
        }
        if self.steps.len() >= STEPS_MAX {
            return Err(place.problem("is one step too many"));
        }
        for input in inputs.iter().filter(|input| input.element == Element::Integer) {
            if let Source::Literal(at) = input.source
                && self.literals[at].iter().any(|number| number.abs() > INTEGER_MAX)
            {
                return Err(place.problem("mixes integers beyond 2^24 with what depends on the input"));
            }
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
        Ok(Floats { shape, source: Source::Step(self.steps.len() - 1), element })
    }

    /// The numbers of a source that no input and no training changes.
    fn constant(&self, source: Source) -> Option<std::borrow::Cow<'_, [f64]>> {
        match source {
            Source::Literal(at) => Some(self.literals[at].as_slice().into()),
            Source::Float(at) if self.graph.floats[at].role == Role::Fixed => Some(self.graph.floats[at].wide().into()),
            _ => None,
        }
    }

    fn fold(
        &mut self,
        element: Element,
        place: &Place,
        kernel: &Kernel,
        inputs: &[&Floats],
        shape: Vec<usize>,
    ) -> Result<Floats, NnError> {
        let length = shape.iter().product();
        self.afford_table::<f64>(length)?;
        let numbers: Vec<_> = inputs.iter().filter_map(|input| self.constant(input.source)).collect();
        let numbers: Vec<&[f64]> = numbers.iter().map(AsRef::as_ref).collect();
        let mut output = vec![0.0; length];
        let mut scratch = vec![0.0; kernel.scratch()];
        kernel.forward(&numbers, &mut output, &mut scratch, None).map_err(|problem| place.problem(problem))?;
        Ok(self.literal_of(element, shape, output))
    }

    fn literal(&mut self, shape: Vec<usize>, numbers: Vec<f64>) -> Floats {
        self.literal_of(Element::Float, shape, numbers)
    }

    fn literal_of(&mut self, element: Element, shape: Vec<usize>, numbers: Vec<f64>) -> Floats {
        self.literals.push(numbers);
        Floats { shape, source: Source::Literal(self.literals.len() - 1), element }
    }

    /// Integers that are known become shape arithmetic; those that are too many stay numbers.
    fn settled(&mut self, fact: Fact) -> Fact {
        match fact {
            Fact::Floats(Floats { shape, source: Source::Literal(at), element })
                if element != Element::Float && self.literals[at].len() <= SHAPE_ELEMENTS_MAX =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "integers held as numbers; the ends saturate")]
                let numbers = self.literals[at].iter().map(|number| *number as i64).collect();
                Fact::Integers { shape, numbers }
            }
            Fact::Integers { shape, numbers } if numbers.len() > SHAPE_ELEMENTS_MAX => {
                Fact::Floats(self.known_integers(shape, &numbers))
            }
            other => other,
        }
    }

    fn known_integers(&mut self, shape: Vec<usize>, numbers: &[i64]) -> Floats {
        self.literal_of(Element::Integer, shape, numbers.iter().map(|number| *number as f64).collect())
    }

    /// Accounts for a table before it is made.
    fn afford_table<E>(&mut self, entries: usize) -> Result<(), NnError> {
        self.table_bytes = self.table_bytes.saturating_add(entries.saturating_mul(size_of::<E>()));
        if self.table_bytes > self.order.memory_limit {
            return Err(NnError::Memory { needed: self.table_bytes, limit: self.order.memory_limit });
        }
        Ok(())
    }

    /// A step that copies: for graphs that answer their input or a constant.
    fn copy(&mut self, shape: &[usize], source: Source) -> usize {
        let place = Place { node: "output".to_owned(), operator: "Identity".to_owned(), opset: 0 };
        let kernel = Kernel::Concat(Concat { outer: 1, lengths: vec![shape.iter().product()] });
        let length = shape.iter().product();
        self.steps.push(Step {
            kernel,
            inputs: vec![source],
            input_lengths: vec![length],
            place,
            length,
            slot: 0,
            backward: None,
        });
        self.steps.len() - 1
    }

    fn finish(mut self, purpose: Purpose) -> Result<Plan, NnError> {
        let place = Place { node: "output".to_owned(), operator: "Identity".to_owned(), opset: 0 };
        let Floats { shape, source, .. } = match self.facts.get(self.graph.output).cloned() {
            Some(Some(Fact::Floats(floats))) => floats,
            Some(Some(Fact::Integers { shape, numbers })) => self.known_integers(shape, &numbers),
            _ => return Err(NnError::Interface { problem: "does not compute its output from its input" }),
        };
        if shape.contains(&0) {
            return Err(place.problem("makes an empty tensor"));
        }
        let last = match source {
            Source::Step(last) => last,
            source => self.copy(&shape, source),
        };
        let last = self.rectify(last);
        let last = self.drop_unused(last);
        let (head, head_scale) = self.head(last, shape.last().copied().unwrap_or(0));
        let primary = Source::Input(self.graph.primary);
        let paths = buffers::Paths::new(&self.steps, primary);
        let buffers = match purpose {
            Purpose::Forward => buffers::forward(&mut self.steps, &[last, head]),
            Purpose::Gradients(want) => {
                if want != Want::Parameters {
                    self.graph.input().map_or(Ok(()), |input| paths.reach(&self.steps, head, input))?;
                }
                let active = |source: Source| match source {
                    Source::Float(index) => {
                        want != Want::Input && matches!(self.graph.floats[index].role, Role::Parameter(_))
                    }
                    source => source == primary && want != Want::Parameters,
                };
                buffers::gradients(&mut self.steps, head, active)?
            }
        };
        let stops = paths.stops(&self.steps, head);
        let scratch = self.steps.iter().map(|step| step.kernel.scratch()).max().unwrap_or(0);
        let sum = |lengths: &[usize]| lengths.iter().fold(0usize, |sum, length| sum.saturating_add(*length));
        let numbers = sum(&buffers.slots).saturating_add(sum(&buffers.gradient_slots));
        let numbers = numbers.saturating_add(scratch).saturating_add(self.input_len);
        let table_bytes =
            self.steps.iter().fold(self.table_bytes, |sum, step| sum.saturating_add(step.prepared_bytes()));
        Ok(Plan {
            steps: self.steps,
            literals: Literals::new(self.literals),
            stops,
            slots: buffers.slots,
            gradient_slots: buffers.gradient_slots,
            output: last,
            output_shape: shape,
            head,
            head_gradient: buffers.head_gradient,
            head_scale,
            scratch,
            numbers,
            table_bytes,
        })
    }

    /// Lets steps take over the `Relu` that alone reads them, and answers where the output's is now: one pass over the
    /// numbers and one buffer less, forward and backward.
    fn rectify(&mut self, last: usize) -> usize {
        let mut readers = vec![0usize; self.steps.len()];
        readers[last] += 1;
        for source in self.steps.iter().flat_map(|step| &step.inputs) {
            if let Source::Step(made) = source {
                readers[*made] += 1;
            }
        }
        let mut places: Vec<usize> = (0..self.steps.len()).collect();
        for index in 0..self.steps.len() {
            for source in &mut self.steps[index].inputs {
                if let Source::Step(made) = source {
                    *made = places[*made];
                }
            }
            let (Kernel::Unary(Unary::Relu), [Source::Step(made)]) =
                (&self.steps[index].kernel, &self.steps[index].inputs[..])
            else {
                continue;
            };
            let made = *made;
            if readers[made] == 1
                && let Some(mark) = self.steps[made].kernel.rectify()
                && !*mark
            {
                *mark = true;
                places[index] = made;
                // Its readers are now those of the `Relu`.
                readers[made] = readers[index];
            }
        }
        places[last]
    }

    /// Drops steps on which the output does not depend, and answers where the output's is now.
    fn drop_unused(&mut self, last: usize) -> usize {
        let mut needed = vec![false; self.steps.len()];
        needed[last] = true;
        for index in (0..=last).rev().filter(|index| *index < self.steps.len()) {
            if !needed[index] {
                continue;
            }
            for source in &self.steps[index].inputs {
                if let Source::Step(made) = source {
                    needed[*made] = true;
                }
            }
        }
        let mut places = vec![0; self.steps.len()];
        let mut kept = Vec::new();
        for (index, mut step) in std::mem::take(&mut self.steps).into_iter().enumerate() {
            if !needed[index] {
                continue;
            }
            for source in &mut step.inputs {
                if let Source::Step(made) = source {
                    *made = places[*made];
                }
            }
            places[index] = kept.len();
            kept.push(step);
        }
        self.steps = kept;
        places[last]
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
