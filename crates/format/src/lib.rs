//! Bounded readers of foreign containers.
//!
//! * [`zip`], [`tar`], [`sevenz`]: archives as loaders see them; [`codec`]: compressed streams;
//!   [`npy`], [`npz`], [`safetensors`], [`idx`]: arrays; [`protobuf`], [`onnx`]: models.
//!
//! Tolerant where an auditor must see what a loader ignores: a reader reports what lies outside the format instead of
//! skipping it. Nothing here executes, loads, or follows a name found inside a file.

#![forbid(unsafe_code)]

pub mod codec;
pub mod idx;
pub mod npy;
pub mod npz;
pub mod onnx;
pub mod protobuf;
pub mod safetensors;
pub mod sevenz;
pub mod tar;
pub mod zip;
