//! Reads untrusted model files and says what they would do; never executes, never loads.
//!
//! * [`scan_file`] takes one file and answers with a report: it never fails, what cannot be read is a finding.
//! * [`rules`] lists every rule in plain words; [`rules_digest`] names the whole set, tables included, for evidence.
//! * [`names_in`] lists the names of a pickle without judging them, so that it can be compared with Python itself.
//! * [`weights`] and [`compare`] give statistics of the weights, as evidence for people.
//! * [`tensor_cuts`] tells the store where the tensors of a file begin.
//!
//! Inside: `detect` names a content by its bytes; `inspect` sends it to its reader: `stream`, `archive` with `torch`, `tar`,
//! `sevenz`, `wrapper`; `arrays`, `graph`, `messages` with `tensorflow`, `coreml`, `paddle`; `tflite`, `ort`, `checkpoint`,
//! `markup`; `gguf`, `hdf5`, `keras`, `msgpack`, `boosting`; `text`; `inert`. `metadata` and `template`
//! judge the texts in them, `storage` searches weights for what is no weight. `pickle` is the abstract machine that
//! everything else is there for; `audit` collects findings.
//!
//! What holds: a verdict depends on the bytes and the compiled-in tables only, not on file names, the clock or what is
//! installed. Unread is `incomplete`, never clean. Memory and work are bounded by [`Limits`] and by named constants.
//!
//! Absent on purpose: any network, any process, following a name found inside a file.

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

use std::io::{Read, Seek, SeekFrom};

use ringfence_format::{onnx, safetensors};
use ringfence_schema::report::FileReport;

mod archive;
mod arrays;
mod audit;
mod boosting;
mod checkpoint;
mod coreml;
mod detect;
mod gguf;
mod graph;
mod hdf5;
mod inert;
mod inspect;
mod keras;
mod markup;
mod messages;
mod metadata;
mod msgpack;
mod mxnet;
mod numbers;
mod ort;
mod paddle;
mod paths;
mod pickle;
mod rdata;
mod rules;
mod script;
mod sevenz;
mod source;
mod storage;
mod stream;
mod tar;
mod template;
mod tensorflow;
mod text;
mod tflite;
mod torch;
mod weights;
mod wrapper;

pub use pickle::{Names, names_in};
pub use rules::{Rule, rules, rules_digest};
pub use weights::{compare, tensor_changes, tensor_table, weight_summary, weights};

/// How much of a file is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Deepest nesting of archives, wrappers and pickles inside each other.
    pub depth_max: u32,
    /// Most bytes that one compressed member is inflated to.
    pub member_bytes_max: u64,
    /// Most bytes that all compressed members of one file are inflated to.
    pub inflated_bytes_max: u64,
    /// Largest model that is read whole (ONNX; protobuf itself stops at 2 GiB).
    pub model_bytes_max: u64,
    /// Most bytes of weights that are searched for programs, archives and pickles if [`Self::audit_storages`] is not
    /// set; beyond it, the head and tail of each storage are.
    pub storage_bytes_max: u64,
    /// Whether weights are searched to their last byte, however many there are.
    pub audit_storages: bool,
    /// Most findings that are kept for one file.
    pub findings_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth_max: 6,
            member_bytes_max: 256 << 20,
            inflated_bytes_max: 2 << 30,
            model_bytes_max: 2 << 30,
            storage_bytes_max: 32 << 20,
            audit_storages: false,
            findings_max: 500,
        }
    }
}

/// Scans one file. `path` is only repeated in the report; type and verdict come from the bytes.
pub fn scan_file(path: &str, file: &mut (impl Read + Seek), limits: &Limits) -> FileReport {
    let mut audit = audit::Audit::new(path, limits);
    let size = file.seek(SeekFrom::End(0)).unwrap_or(0);
    audit.size = size;
    let format = audit.inspect(file);
    audit.report(format, size)
}

/// Where the tensors of a safetensors or ONNX file begin, in rising order; empty for other files and for files that
/// contradict themselves. The store cuts there, so that equal tensors become equal chunks.
pub fn tensor_cuts(file: &mut (impl Read + Seek)) -> Vec<u64> {
    let mut cuts = match detect::detect(file) {
        Ok(detect::Kind::Safetensors) => safetensor_cuts(file),
        Ok(detect::Kind::Protobuf) => onnx_cuts(file),
        _ => Vec::new(),
    };
    cuts.sort_unstable();
    cuts.dedup();
    cuts.retain(|cut| *cut > 0);
    cuts
}

fn safetensor_cuts(file: &mut (impl Read + Seek)) -> Vec<u64> {
    let audit = safetensors::audit(file).ok();
    let starts =
        |audit: &safetensors::Audit| audit.table().map(|table| table.iter().map(|tensor| tensor.start).collect());
    audit.as_ref().and_then(starts).unwrap_or_default()
}

fn onnx_cuts(file: &mut (impl Read + Seek)) -> Vec<u64> {
    let Ok(bytes) = source::bytes_at(file, 0, Limits::default().model_bytes_max) else { return Vec::new() };
    let Ok(model) = onnx::Model::parse(&bytes) else { return Vec::new() };
    model.tensors().iter().filter_map(|(_, tensor)| tensor.payload_offset()).map(|offset| offset as u64).collect()
}
