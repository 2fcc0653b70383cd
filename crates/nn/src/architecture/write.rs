//! Weights back into a safetensors file.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_format::onnx::DataType;
use ringfence_format::safetensors::{self, TensorInput};

use super::error::ArchitectureError;
use super::tensors::Tensors;
use crate::model::Model;

/// What a model of a safetensors file keeps of it, to write another one that the same code loads.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// Tensors that the graph holds.
    weights: BTreeSet<String>,
    /// Tensors that no layer uses.
    rest: BTreeMap<String, Entry>,
    metadata: Vec<(String, String)>,
}

/// A tensor to be written.
#[derive(Debug)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Carried {
    /// What the layers left over, if all of it may be.
    pub(super) fn of(tensors: &Tensors<'_>, ignored: &[String]) -> Result<Self, ArchitectureError> {
        let rest = tensors.rest(ignored)?.into_iter().map(|(name, stored)| {
            let entry = Entry { dtype: stored.dtype, shape: stored.shape, data: stored.data.to_vec() };
            (name, entry)
        });
        Ok(Self {
            weights: tensors.used().map(str::to_owned).collect(),
            rest: rest.collect(),
            metadata: tensors.metadata.clone(),
        })
    }
}

impl Model {
    /// The weights as they are now, as a safetensors file: of a model from [`Model::described`] the tensors of its file,
    /// those that no layer uses as they were; of any other model its floating-point initialisers. `F64` where the model is of
    /// `DOUBLE`, otherwise `F32`.
    ///
    /// `notes` go into the metadata, beside what the file had and `format`, which says for loaders that it is as torch
    /// stores them.
    pub fn to_safetensors(&self, notes: &[(&str, String)]) -> Vec<u8> {
        let carried = self.carried();
        let mut metadata: BTreeMap<String, String> = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        metadata.extend(carried.iter().flat_map(|carried| carried.metadata.iter().cloned()));
        metadata.extend(notes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        let is_weight = |name: &str| carried.is_none_or(|carried| carried.weights.contains(name));
        let floats = self.graph.floats.iter().filter(|float| float.initialiser && is_weight(&float.name));
        let fresh: BTreeMap<&str, Entry> = floats
            .map(|float| {
                let (dtype, data): (_, Vec<u8>) = match float.stored {
                    DataType::Double => ("F64", float.wide().iter().flat_map(|number| number.to_le_bytes()).collect()),
                    _ => ("F32", float.numbers.iter().flat_map(|number| number.to_le_bytes()).collect()),
                };
                (float.name.as_str(), Entry { dtype: dtype.to_owned(), shape: float.shape.clone(), data })
            })
            .collect();
        let rest = carried.iter().flat_map(|carried| &carried.rest).map(|(name, entry)| (name.as_str(), entry));
        let mut tensors: Vec<TensorInput<'_>> = fresh
            .iter()
            .map(|(name, entry)| (*name, entry))
            .chain(rest)
            .map(|(name, entry)| {
                let Entry { dtype, shape, data } = entry;
                TensorInput { name, dtype, shape, data }
            })
            .collect();
        // Wide elements first, so that all of them lie at multiples of their size.
        tensors.sort_by_key(|tensor| (std::cmp::Reverse(width(tensor.dtype)), tensor.name));
        safetensors::write(&metadata.into_iter().collect::<Vec<_>>(), &tensors)
    }
}

/// Bytes of an element, as far as alignment goes.
fn width(dtype: &str) -> usize {
    match dtype {
        "F64" | "I64" | "U64" | "C64" => 8,
        "F32" | "I32" | "U32" => 4,
        "F16" | "BF16" | "I16" | "U16" => 2,
        _ => 1,
    }
}
