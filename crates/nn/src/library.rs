//! Forward passes by ONNX Runtime, from a library that the user points at.
//!
//! [`Library::load`] runs the library's own code, so it happens before a process reads anything foreign and gives its rights up;
//! [`Library::open`] hands it a model that [`Model::parse`] has read, never the bytes of a stranger's file. What it answers is
//! another's arithmetic: whoever uses it compares it with this runtime's.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::environment::EnvironmentBuilder;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use rayon::prelude::*;

use crate::error::NnError;
use crate::limits::{CHUNK_MAX, LIBRARY_SESSIONS_BYTES};
use crate::model::{Element, Model};
use crate::tensor::{Tensor, elements};

/// ONNX Runtime, loaded.
pub struct Library(EnvironmentBuilder);

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Library")
    }
}

impl Library {
    /// Loads the shared library at `path`, once for the process.
    ///
    /// # Errors
    /// [`NnError::Library`] for a file that is no ONNX Runtime of version 1.17 or later.
    pub fn load(path: &Path) -> Result<Self, NnError> {
        Ok(Self(ort::init_from(path).map_err(problem)?.with_name("ringfence").with_telemetry(false)))
    }

    /// Gives it a model.
    ///
    /// # Errors
    /// [`NnError::Library`] for a model that it does not take, or one of several inputs or of an input of integers: batches of these
    /// are put together by [`Model`] alone.
    pub fn open(self, model: &Model) -> Result<Compiled, NnError> {
        let mut used = model.inputs().filter(|input| input.used);
        let (Some(input), None) = (used.next(), used.next()) else {
            return Err(problem("it is given models of one input alone"));
        };
        if input.element != Element::Float {
            return Err(problem("it is given models of numbers alone, this one takes integers"));
        }
        let file = model.to_onnx()?;
        let cores = rayon::current_num_threads();
        // A session serves one caller. Each core has its own where that does not multiply much.
        let sessions = if file.len().saturating_mul(cores) <= LIBRARY_SESSIONS_BYTES { cores } else { 1 };
        let environment = self.0.build().map_err(problem)?;
        let session = || {
            Session::builder(&environment)?
                .with_intra_threads(cores / sessions)?
                .with_optimization_level(GraphOptimizationLevel::Level3)?
                .commit_from_memory(&file)
        };
        let sessions = (0..sessions).map(|_| session()).collect::<Result<Vec<_>, _>>().map_err(problem)?;
        Ok(Compiled {
            idle: Mutex::new(sessions),
            input: input.name.to_owned(),
            output: model.outputs().0.to_owned(),
            batch: input.dims.first().copied().flatten(),
        })
    }

    /// How the loaded library was built, in its own words.
    pub fn build(&self) -> &'static str {
        ort::info()
    }
}

/// A model that the library computes.
#[derive(Debug)]
pub struct Compiled {
    idle: Mutex<Vec<Session>>,
    input: String,
    output: String,
    /// The batch that the file fixes.
    batch: Option<usize>,
}

impl Compiled {
    /// The model's output for a batch, cut into chunks that run on all cores. A batch is a multiple of what the file fixes.
    ///
    /// # Errors
    /// [`NnError::Library`] with what the library says, also where an output is not of numbers or has other rows than the input.
    pub fn forward(&mut self, input: &Tensor<f32>) -> Result<Tensor<f32>, NnError> {
        let rows = input.shape.first().copied().unwrap_or(0);
        let cores = self.idle.get_mut().unwrap_or_else(PoisonError::into_inner).len().max(1);
        let chunk = self.batch.unwrap_or_else(|| rows.div_ceil(cores).clamp(1, CHUNK_MAX)).max(1);
        if rows == 0 || !rows.is_multiple_of(self.batch.unwrap_or(1).max(1)) {
            return Err(problem(format!("a batch of {rows} does not suit the model")));
        }
        let row = input.row_len();
        let parts = input.data.par_chunks((chunk * row).max(1)).with_max_len(1);
        let parts: Vec<Tensor<f32>> = parts
            .map(|part| {
                let shape: Vec<usize> =
                    std::iter::once(part.len() / row.max(1)).chain(input.shape.iter().skip(1).copied()).collect();
                self.run(&shape, part)
            })
            .collect::<Result<_, _>>()?;
        let tail = parts.first().and_then(|part| part.shape.get(1..)).unwrap_or_default().to_vec();
        if parts.iter().any(|part| part.shape.get(1..) != Some(&tail)) {
            return Err(problem("its outputs differ in shape"));
        }
        let shape = std::iter::once(rows).chain(tail).collect();
        Tensor::new(shape, parts.into_iter().flat_map(|part| part.data).collect())
    }

    fn run(&self, shape: &[usize], data: &[f32]) -> Result<Tensor<f32>, NnError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut session) = idle().pop() else { return Err(problem("there are more callers than sessions")) };
        let answer = self.ask(&mut session, shape, data);
        idle().push(session);
        answer
    }

    fn ask(&self, session: &mut Session, shape: &[usize], data: &[f32]) -> Result<Tensor<f32>, NnError> {
        let x = TensorRef::from_array_view((shape, data)).map_err(problem)?;
        let outputs = session.run(ort::inputs![self.input.as_str() => x]).map_err(problem)?;
        let output = outputs.get(&self.output).ok_or_else(|| problem("it has no such output"))?;
        let (found, numbers) = output.try_extract_tensor::<f32>().map_err(problem)?;
        let found: Option<Vec<usize>> = found.iter().map(|dim| usize::try_from(*dim).ok()).collect();
        let found = found.filter(|found| found.first() == shape.first() && elements(found) == Some(numbers.len()));
        let shape = found.ok_or_else(|| problem("its output does not have a row for each input"))?;
        Ok(Tensor { shape, data: numbers.to_vec() })
    }
}

fn problem(problem: impl ToString) -> NnError {
    NnError::Library { problem: problem.to_string() }
}
