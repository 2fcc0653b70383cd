//! The runtime from outside: against onnxruntime, against hostile files, and as something that learns.
#![expect(clippy::unwrap_used, reason = "tests")]

use ringfence_nn::Tensor;

mod architecture;
mod cases;
mod forward;
mod model;
mod refuse;
mod window;
