//! The tensors of a safetensors file, by name, and which of them the layers have used.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
};

use ringfence_format::{onnx::half, safetensors};

use super::error::{ArchitectureError, shown};
use crate::tensor::elements;

/// The tensors of a file, borrowed from it.
pub(super) struct Tensors<'w> {
    found: BTreeMap<String, Stored<'w>>,
    pub(super) metadata: Vec<(String, String)>,
    used: BTreeSet<String>,
    /// Tensors that repeat another one, such as the head of a language model that is tied to its embeddings.
    repeated: BTreeSet<String>,
    /// Whether the model's floats are `DOUBLE`.
    pub(super) wide: bool,
}

/// A tensor as the file holds it.
#[derive(Debug, Clone)]
pub(super) struct Stored<'w> {
    pub(super) dtype: String,
    pub(super) shape: Vec<usize>,
    pub(super) data: &'w [u8],
}

impl<'w> Tensors<'w> {
    /// Reads the header and finds each tensor's bytes.
    pub(super) fn read(file: &'w [u8]) -> Result<Self, ArchitectureError> {
        let wrong = |problem: String| ArchitectureError::Weights { problem };
        let audit = safetensors::audit(&mut Cursor::new(file)).map_err(|error| wrong(error.to_string()))?;
        let table = audit.table().ok_or_else(|| {
            let flaw = audit.flaws.first().map_or("too many tensors".to_owned(), |flaw| format!("{flaw:?}"));
            wrong(format!("not sound, so that readers may differ in what they hold: {flaw}"))
        })?;
        let mut found = BTreeMap::new();
        for tensor in table {
            let place = usize::try_from(tensor.start).ok().zip(usize::try_from(tensor.end).ok());
            let data = place.and_then(|(start, end)| file.get(start..end));
            let shape = tensor.shape.iter().map(|dim| usize::try_from(*dim).ok()).collect::<Option<Vec<_>>>();
            let shape = shape.filter(|shape| elements(shape).is_some());
            let (Some(data), Some(shape)) = (data, shape) else {
                return Err(wrong(format!("the tensor `{}` is larger than a tensor can be", tensor.name)));
            };
            found.insert(tensor.name.clone(), Stored { dtype: tensor.dtype.clone(), shape, data });
        }
        let wide = found.values().any(|stored| stored.dtype == "F64");
        let (used, repeated) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { found, metadata: audit.metadata.clone(), used, repeated, wide })
    }

    /// Whether there is a tensor of this name.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.found.contains_key(name)
    }

    /// The names of the tensors that layers use.
    pub(super) fn used(&self) -> impl Iterator<Item = &str> {
        self.used.iter().map(String::as_str)
    }

    /// The tensor that a layer needs, if its shape fits; `None` in `expected` fits any length.
    pub(super) fn take(
        &mut self,
        layer: &str,
        name: &str,
        expected: &[Option<usize>],
    ) -> Result<Stored<'w>, ArchitectureError> {
        let Some(stored) = self.found.get(name) else {
            let (layer, tensor, expected) = (layer.to_owned(), name.to_owned(), shown(expected));
            return Err(ArchitectureError::Missing { layer, tensor, expected });
        };
        let fits = |(dim, wanted): (&usize, &Option<usize>)| wanted.is_none_or(|wanted| wanted == *dim);
        if stored.shape.len() != expected.len() || !stored.shape.iter().zip(expected).all(fits) {
            return Err(self.unfit(layer, name, &shown(expected)));
        }
        self.used.insert(name.to_owned());
        Ok(stored.clone())
    }

    /// The shape of a tensor whose rank says what the layer does.
    pub(super) fn shape(&self, layer: &str, name: &str, expected: &str) -> Result<Vec<usize>, ArchitectureError> {
        let missing = || ArchitectureError::Missing {
            layer: layer.to_owned(),
            tensor: name.to_owned(),
            expected: expected.to_owned(),
        };
        self.found.get(name).map(|stored| stored.shape.clone()).ok_or_else(missing)
    }

    /// The refusal of a tensor's shape.
    pub(super) fn unfit(&self, layer: &str, name: &str, expected: &str) -> ArchitectureError {
        let found = self.found.get(name).map_or_else(String::new, |stored| shown(&stored.shape));
        let (layer, tensor, expected) = (layer.to_owned(), name.to_owned(), expected.to_owned());
        ArchitectureError::Shape { layer, tensor, expected, found }
    }

    /// Notes that a tensor, where it is there, repeats `original`; it is written back no more, since it would be stale.
    pub(super) fn repeats(&mut self, layer: &str, name: &str, original: &str) -> Result<(), ArchitectureError> {
        let Some(stored) = self.found.get(name) else { return Ok(()) };
        if self.found.get(original).is_none_or(|first| first.data != stored.data) {
            let problem = format!("{layer}: `{name}` is tied to `{original}`, but holds other numbers");
            return Err(ArchitectureError::Weights { problem });
        }
        self.repeated.insert(name.to_owned());
        Ok(())
    }

    /// What no layer used: names and tensors that go back into a file of these weights, once `ignored` ones and the known
    /// buffers of training are allowed for.
    pub(super) fn rest(&self, ignored: &[String]) -> Result<Vec<(String, Stored<'w>)>, ArchitectureError> {
        let unused = self.found.iter().filter(|(name, _)| !self.used.contains(*name) && !self.repeated.contains(*name));
        let unused: Vec<_> = unused.collect();
        let mut unknown = unused.iter().filter(|(name, _)| !is_buffer(name) && !is_listed(name, ignored)).peekable();
        if unknown.peek().is_some() {
            let names: Vec<&str> = unknown.map(|(name, _)| name.as_str()).collect();
            let examples: Vec<String> = names.iter().take(EXAMPLES).map(|name| format!("`{name}`")).collect();
            return Err(ArchitectureError::Unused { count: names.len(), examples: examples.join(", ") });
        }
        Ok(unused.into_iter().map(|(name, stored)| (name.clone(), stored.clone())).collect())
    }
}

impl Stored<'_> {
    /// The elements as little-endian `f32`, or `f64` where the model is `wide`.
    pub(super) fn numbers(&self, layer: &str, name: &str, wide: bool) -> Result<Vec<u8>, ArchitectureError> {
        let (pairs, quads, eights) =
            (self.data.as_chunks::<2>().0, self.data.as_chunks::<4>().0, self.data.as_chunks::<8>().0);
        let spread = |numbers: &mut dyn Iterator<Item = f32>| -> Vec<u8> {
            if wide {
                numbers.flat_map(|number| f64::from(number).to_le_bytes()).collect()
            } else {
                numbers.flat_map(f32::to_le_bytes).collect()
            }
        };
        Ok(match self.dtype.as_str() {
            // A file with one of these is wide.
            "F64" => eights.as_flattened().to_vec(),
            "F32" if !wide => quads.as_flattened().to_vec(),
            "F32" => spread(&mut quads.iter().map(|bytes| f32::from_le_bytes(*bytes))),
            "F16" => spread(&mut pairs.iter().map(|bytes| half(u16::from_le_bytes(*bytes)))),
            "BF16" => {
                spread(&mut pairs.iter().map(|bytes| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16)))
            }
            other => {
                let (layer, tensor, found) = (layer.to_owned(), name.to_owned(), other.to_owned());
                return Err(ArchitectureError::ElementType { layer, tensor, found });
            }
        })
    }
}

/// What torch modules keep beside their weights: counters of batches, numbers of positions, masks of causal attention.
fn is_buffer(name: &str) -> bool {
    let is = |suffix: &str| name == suffix || name.strip_suffix(suffix).is_some_and(|before| before.ends_with('.'));
    is("num_batches_tracked") || is("position_ids") || is("attn.bias") || is("attn.masked_bias")
}

/// Whether a list has this name, or a beginning of it with `*` behind.
fn is_listed(name: &str, list: &[String]) -> bool {
    list.iter().any(|entry| match entry.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == entry,
    })
}

/// Names that a refusal gives.
const EXAMPLES: usize = 3;
