//! Where the tensors of a GGUF file lie, and whether they can lie there.

use super::{Flaw, Gguf};

/// A tensor as the table describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Name.
    pub name: String,
    /// Dimensions, fastest first.
    pub dimensions: Vec<u64>,
    /// Number of its element type (ggml's `ggml_type`).
    pub kind: u32,
    /// First byte: from the start of the file once [`check`] has run.
    pub start: u64,
    /// Its length in bytes; `None` where type and shape do not tell.
    pub bytes: Option<u64>,
}

/// Most dimensions that ggml knows.
const GGML_DIMENSIONS_MAX: usize = 4;

/// Elements of a block and its bytes, for each element type (ggml's `type_traits`).
fn block(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 | 26 => (1, 4),
        1 | 25 | 30 => (1, 2),
        2 | 20 | 31..=33 | 36..=38 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        9 => (32, 36),
        10 => (256, 84),
        11 | 21 => (256, 110),
        12 => (256, 144),
        13 => (256, 176),
        14 => (256, 210),
        15 => (256, 292),
        16 | 35 => (256, 66),
        17 => (256, 74),
        18 => (256, 98),
        19 => (256, 50),
        22 => (256, 82),
        23 => (256, 136),
        24 => (1, 1),
        27 | 28 => (1, 8),
        29 => (256, 56),
        34 => (256, 54),
        39 => (32, 17),
        40 => (64, 36),
        41 => (128, 18),
        _ => return None,
    })
}

/// The name of an element type (ggml's `ggml_type`); its number where it has none.
pub fn kind_name(kind: u32) -> String {
    let name = match kind {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        6 => "Q5_0",
        7 => "Q5_1",
        8 => "Q8_0",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        30 => "BF16",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return format!("ggml type {kind}"),
    };
    name.to_owned()
}

/// Turns offsets into places in the file and looks for tensors that cannot be there, share bytes, or leave some over.
pub fn check(file: &mut Gguf, data: u64, length: u64) {
    let mut flaws = Vec::new();
    let alignment = file.alignment.max(1);
    for tensor in &mut file.tensors {
        if !tensor.start.is_multiple_of(alignment) {
            flaws.push(Flaw::Misaligned { name: tensor.name.clone() });
        }
        tensor.start = tensor.start.saturating_add(data);
        match block(tensor.kind) {
            None => flaws.push(Flaw::TensorType { name: tensor.name.clone(), kind: tensor.kind }),
            Some(block) => {
                tensor.bytes = size(&tensor.dimensions, block);
                if tensor.bytes.is_none() || tensor.dimensions.len() > GGML_DIMENSIONS_MAX {
                    flaws.push(Flaw::Shape { name: tensor.name.clone(), dimensions: tensor.dimensions.clone() });
                }
            }
        }
        let end = tensor.start.checked_add(tensor.bytes.unwrap_or(0));
        if end.is_none_or(|end| end > length) {
            flaws.push(Flaw::OutOfBounds { name: tensor.name.clone() });
        }
    }
    file.tensors.sort_by(|a, b| (a.start, a.bytes, &a.name).cmp(&(b.start, b.bytes, &b.name)));
    let mut reached = data;
    // Where a size is unknown, so is what follows it.
    let mut is_sure = true;
    for tensor in &file.tensors {
        let Some(end) = tensor.start.checked_add(tensor.bytes.unwrap_or(0)).filter(|end| *end <= length) else {
            continue;
        };
        if tensor.start < reached && end > tensor.start {
            flaws.push(Flaw::Overlap { name: tensor.name.clone() });
        } else if is_sure && tensor.start.saturating_sub(reached) >= alignment {
            flaws.push(Flaw::Hole { offset: reached, bytes: tensor.start - reached });
        }
        is_sure = tensor.bytes.is_some();
        reached = reached.max(end);
    }
    if is_sure && length.saturating_sub(reached) >= alignment {
        flaws.push(Flaw::Trailing { offset: reached, bytes: length - reached });
    }
    for flaw in flaws {
        file.flaw(flaw);
    }
}

fn size(dimensions: &[u64], (elements, bytes): (u64, u64)) -> Option<u64> {
    let first = dimensions.first().copied().unwrap_or(1);
    if !first.is_multiple_of(elements) {
        return None;
    }
    let count = dimensions.iter().try_fold(1_u64, |product, dimension| product.checked_mul(*dimension))?;
    // ggml counts elements and bytes in signed numbers.
    (count / elements).checked_mul(bytes).filter(|bytes| i64::try_from(count).is_ok() && i64::try_from(*bytes).is_ok())
}
