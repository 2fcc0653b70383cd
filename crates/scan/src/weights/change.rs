//! Two revisions of a model: which tensors a file has, and how far the numbers of those that are named moved.
//!
//! Both sides may lie elsewhere and be read by pieces: tensors are read in the order of the newer file, each once.

use std::{
    collections::{BTreeSet, HashMap},
    io::{Read, Seek},
};

use ringfence_schema::{
    report::TensorDifference,
    weights::{TensorChange, TensorHead, TensorTable},
};

use super::{
    beside::Beside,
    contents::{Contents, Tensor, Want},
    numbers::Reader,
};
use crate::{
    Limits,
    detect::{Kind, detect},
    source::{Source, length},
};

/// Largest graph that is read whole for its header alone, in bytes: ONNX has no table of its tensors.
const GRAPH_BYTES_MAX: u64 = 32 << 20;

/// Which tensors a file has, from its headers alone. Never fails: what cannot be read is told.
pub fn tensor_table(file: &mut (impl Read + Seek), limits: &Limits) -> TensorTable {
    let mut limits = limits.clone();
    limits.model_bytes_max = limits.model_bytes_max.min(GRAPH_BYTES_MAX);
    if matches!(detect(file), Ok(kind) if has_no_weights(kind)) {
        return TensorTable { format: "unknown".into(), ..TensorTable::default() };
    }
    let Contents { format, tensors, mut untyped, mut unread, .. } = Contents::read(file, Want::Heads, &limits);
    if format == "onnx" && tensors.is_empty() && length(file).is_ok_and(|length| length <= limits.model_bytes_max) {
        // Anything may look like protocol buffers, short texts above all: a graph without tensors is no loss.
        unread.clear();
    }
    let head = |tensor: Tensor| TensorHead { name: tensor.name, dtype: tensor.dtype, shape: tensor.shape };
    let mut heads: Vec<TensorHead> = tensors.into_iter().map(head).collect();
    heads.append(&mut untyped);
    TensorTable { format: format.to_owned(), tensors: heads, unread }
}

/// Text, pictures and the like: nobody looks for tensors there.
fn has_no_weights(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Other | Kind::Empty | Kind::Inert(_) | Kind::Png | Kind::Jpeg | Kind::Gif | Kind::Bmp | Kind::Webp
    )
}

/// How far each tensor of `names` moved that both files have with the same shape. `tell` hears how many bytes of the newer
/// file are done, and of how many.
pub fn tensor_changes(
    file: &mut (impl Read + Seek),
    base: &mut (impl Read + Seek),
    names: &BTreeSet<String>,
    limits: &Limits,
    tell: &mut dyn FnMut(u64, u64),
) -> Vec<TensorChange> {
    let newer = Contents::read(file, Want::Numbers, limits);
    let mut held: HashMap<String, Tensor> =
        Contents::read(base, Want::Numbers, limits).tensors.into_iter().map(|one| (one.name.clone(), one)).collect();
    let mut pairs: Vec<(Tensor, Tensor)> = newer
        .tensors
        .into_iter()
        .filter(|tensor| names.contains(&tensor.name))
        .filter_map(|tensor| {
            let other = held.remove(&tensor.name).filter(|other| other.shape == tensor.shape)?;
            Some((tensor, other))
        })
        .collect();
    pairs.sort_by_key(|(tensor, _)| tensor.offset());
    let bytes = |tensor: &Tensor| tensor.elements().saturating_mul(tensor.element.bytes() as u64);
    let total = pairs.iter().map(|(tensor, _)| bytes(tensor)).fold(0, u64::saturating_add);
    let mut done = 0_u64;
    let mut changes = Vec::new();
    for (tensor, other) in pairs {
        let difference = difference(file, &tensor, base, &other);
        done = done.saturating_add(bytes(&tensor));
        tell(done, total);
        changes.push(TensorChange { name: tensor.name, difference });
    }
    changes
}

/// `None` where one side ends early or cannot be read.
fn difference(
    file: &mut dyn Source,
    tensor: &Tensor,
    base: &mut dyn Source,
    other: &Tensor,
) -> Option<TensorDifference> {
    let mut reader = Reader::new(file, tensor);
    let mut beside = Beside::new(base, other);
    let mut read = 0_u64;
    loop {
        let chunk = reader.next().ok()?;
        if chunk.is_empty() {
            break;
        }
        read += chunk.len() as u64;
        beside = beside.add(chunk)?;
    }
    (read == tensor.elements()).then(|| beside.finish())
}
