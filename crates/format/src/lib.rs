//! Bounded readers of foreign containers.
//!
//! * [`document`]: JSON and YAML; [`jinja`], [`python`]: templates and source text.
//! * [`zip`], [`gzip`]: archives as loaders see them; [`npy`], [`npz`], [`safetensors`], [`idx`]: arrays; [`protobuf`], [`onnx`]: models.
//!
//! Tolerant where an auditor must see what a loader ignores: a reader reports what lies outside the format instead of
//! skipping it. Nothing here executes, loads, or follows a name found inside a file.

#![forbid(unsafe_code)]

pub mod document;
pub mod gzip;
pub mod idx;
pub mod jinja;
pub mod npy;
pub mod npz;
pub mod onnx;
pub mod protobuf;
pub mod python;
pub mod safetensors;
pub mod zip;
