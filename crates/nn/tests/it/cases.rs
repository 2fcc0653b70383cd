//! The records of `tests/data/cases.bin` and `more.bin`; the format is described in `make_cases.py`.

use super::Tensor;

/// A model, an input, and what onnxruntime answers to it.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) model: Vec<u8>,
    pub(super) input: Tensor<f32>,
    pub(super) output: Tensor<f32>,
}

pub(super) fn cases() -> Vec<Case> {
    let files: [&[u8]; 2] = [include_bytes!("../data/cases.bin"), include_bytes!("../data/more.bin")];
    let mut found = Vec::new();
    for mut rest in files {
        while !rest.is_empty() {
            let name = String::from_utf8(field(&mut rest).to_vec()).unwrap();
            let model = field(&mut rest).to_vec();
            let (input, output) = (array(field(&mut rest)), array(field(&mut rest)));
            found.push(Case { name, model, input, output });
        }
    }
    found
}

impl Case {
    /// Whether every way from the input to the output is constant between its jumps.
    pub(super) fn is_flat(&self) -> bool {
        self.name.starts_with("flat_")
    }
}

fn field<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = integer(rest);
    let (field, behind) = rest.split_at(length);
    *rest = behind;
    field
}

fn integer(rest: &mut &[u8]) -> usize {
    let (bytes, behind) = rest.split_first_chunk::<4>().unwrap();
    *rest = behind;
    u32::from_le_bytes(*bytes) as usize
}

fn array(mut field: &[u8]) -> Tensor<f32> {
    let rank = integer(&mut field);
    let shape = (0..rank).map(|_| integer(&mut field)).collect();
    Tensor::new(shape, field.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()).unwrap()
}
