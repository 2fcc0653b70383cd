//! Bounded readers of foreign containers.
//!
//! * [`zip`], [`gzip`]: archives as loaders see them; [`npy`], [`npz`], [`safetensors`], [`idx`]: arrays; [`protobuf`], [`onnx`]: models.
//! * [`schema`]: protocol buffers by published message tables; [`flatbuffer`]; [`sstable`]: sorted tables of checkpoints; [`xml`]; [`paddle`], [`mxnet`]: parameters.
//!
//! Tolerant where an auditor must see what a loader ignores: a reader reports what lies outside the format instead of
//! skipping it. Nothing here executes, loads, or follows a name found inside a file.

#![forbid(unsafe_code)]

pub mod flatbuffer;
pub mod gzip;
pub mod idx;
pub mod mxnet;
pub mod npy;
pub mod npz;
pub mod onnx;
pub mod paddle;
pub mod protobuf;
pub mod safetensors;
pub mod schema;
pub mod sstable;
pub mod xml;
pub mod zip;
