//! Any bytes as a description of an architecture with weights: read, put together, run within small limits, written back.
#![no_main]

use ringfence_nn::{Model, Tensor, Want};

/// What a pass may take, in bytes.
const MEMORY: usize = 1 << 22;
/// What stands for a free dimension.
const FREE: usize = 2;
/// Elements of an input at most.
const ELEMENTS: usize = 1 << 12;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Two bytes say where the description ends and the weights begin.
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let Some((architecture, weights)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length))) else { return };
    let Ok(mut model) = Model::described(architecture, weights) else { return };
    model.set_memory_limit(MEMORY);
    assert!(Model::described(architecture, &model.to_safetensors(&[])).is_ok(), "what was written is read back");
    let mut inputs = Vec::new();
    for input in model.inputs() {
        let shape: Vec<usize> = input.dims.iter().map(|dim| dim.unwrap_or(FREE)).collect();
        let count = shape.iter().try_fold(1usize, |count, dim| count.checked_mul(*dim));
        let Some(count) = count.filter(|count| *count <= ELEMENTS) else { return };
        let Ok(tensor) = Tensor::new(shape, vec![1f32; count]) else { return };
        inputs.push(tensor);
    }
    let _ = model.forward_all(&inputs);
    let _ = model.pullback_all(&inputs, Want::Both, &|_, _, _| 0.0);
});
