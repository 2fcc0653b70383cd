//! A differentiable ONNX runtime: forward, gradients, training, back to ONNX.
//!
//! * [`Model`]: parse a file, run it ([`Model::forward`]), differentiate it ([`Model::gradients`], [`Model::pullback`]),
//!   change its weights, write the file back with nothing but the weights changed ([`Model::to_onnx`]), find the table of
//!   its token embeddings ([`Model::embedding`]).
//!   [`Model::described`] makes one of a safetensors file and a description of its layers, [`Model::to_safetensors`] writes
//!   weights back.
//! * [`Tensor`] holds numbers of any [`Real`] type: `f32` to work, `f64` as the reference.
//! * [`optim`]: SGD and Adam; [`random`]: the generator behind every seed; [`builder`]: new model files.
//! * [`Library`]: forward passes by an ONNX Runtime that the user has, for whoever trusts it as far as it agrees with this one.
//! * [`self_check`]: the runtime measured against its own reference, on the model at hand.
//!
//! The way of a model: `load` turns the file into typed operators and refuses by name what it does not know; `plan`
//! fixes every shape and every buffer for one input shape, so that memory is bounded before it is taken; `run` walks the
//! plan forward and backward; `kernel` does the arithmetic. The batch is cut into chunks whose number does not depend on
//! the machine, so results are the same on any number of cores. Convolutions and layers add up an example's numbers in
//! the same order in every batch.
//!
//! A gradient that does not exist is refused, never 0: where every way from the output to the input ends at a step that
//! is constant between its jumps ([`NnError::NoGradient`]). Where only some ways do, [`Model::gradient_stops`] names them.
//!
//! Conditions and loop counts are settled while planning, from shapes and constants; what depends on the input's numbers
//! there is refused. Integers that depend on the input are computed in the pass's own number type, up to 2^24.
//!
//! Absent on purpose: text (token ids are inputs like others; tokenizers are `attack`'s), half precision in the arithmetic (weights may be stored so), batch statistics in training
//! mode (normalisation uses the stored ones), external data, and anything approximate.

pub mod architecture;
mod check;
mod chunks;
mod embedding;
mod error;
mod kernel;
mod library;
mod load;
mod loss;
mod model;
mod plan;
mod real;
mod run;
mod tensor;

pub mod builder;
pub mod limits;
pub mod optim;
pub mod random;

pub use architecture::ArchitectureError;
pub use check::{SelfCheck, self_check};
pub use error::NnError;
pub use library::{Compiled, Library};
pub use loss::OutputKind;
pub use model::{Element, GradientStop, Gradients, InputInfo, Model, Parameter, ParameterMut, Seed, Want};
pub use real::Real;
pub use tensor::Tensor;
