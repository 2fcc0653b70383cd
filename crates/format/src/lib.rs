//! Bounded readers of foreign containers.
//!
//! * [`zip`], [`tar`], [`sevenz`]: archives as loaders see them; [`codec`]: compressed streams;
//!   [`npy`], [`npz`], [`safetensors`], [`idx`]: arrays; [`protobuf`], [`onnx`]: models.
//! * [`gguf`], [`hdf5`], [`msgpack`], [`ubjson`], [`json`], [`lightgbm`], [`catboost`], [`rdata`]: models and documents of other frameworks.
//! * [`schema`]: protocol buffers by published message tables; [`flatbuffer`]; [`sstable`]: sorted tables of checkpoints; [`xml`]; [`paddle`], [`mxnet`]: parameters.
//! * [`document`]: JSON and YAML; [`jinja`], [`python`]: templates and source text.
//!
//! Tolerant where an auditor must see what a loader ignores: a reader reports what lies outside the format instead of
//! skipping it. Nothing here executes, loads, or follows a name found inside a file.

#![forbid(unsafe_code)]

pub mod catboost;
pub mod codec;
pub mod document;
pub mod flatbuffer;
pub mod gguf;
pub mod hdf5;
pub mod idx;
pub mod jinja;
pub mod json;
pub mod lightgbm;
pub mod msgpack;
pub mod mxnet;
pub mod npy;
pub mod npz;
pub mod onnx;
pub mod paddle;
pub mod protobuf;
pub mod python;
pub mod rdata;
pub mod safetensors;
pub mod schema;
pub mod sevenz;
pub mod sstable;
pub mod tar;
pub mod ubjson;
pub mod xml;
pub mod zip;

mod slice;
mod stream;
