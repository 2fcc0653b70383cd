//! TensorFlow Lite models: operators that need code of the application's, borrowed TensorFlow operators, references and sizes
//! that leave the file, and what is appended to it.
//!
//! Source: TensorFlow's `schema.fbs`, version 3; fields are numbered in its order. Interpreters are often built without
//! verification, so whatever points outside is memory unsafety there.

use std::io;

use ringfence_format::{
    flatbuffer::{self, FlatbufferError, Table},
    zip::{self, Note},
};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    detect::program,
    paths::escapes,
    rules::id,
    source::{Source, bytes_at, length},
};

/// `BuiltinOperator_CUSTOM`.
const CUSTOM: i32 = 32;
/// `TensorType_STRING`.
const STRING_TYPE: i8 = 5;
/// Fields of `Model` in the schema.
const MODEL_FIELDS: usize = 10;
/// Elements beyond which a shape is a lie.
const ELEMENTS_MAX: u64 = 1 << 40;
/// Last bytes of a file that are searched: a flatbuffer does not say where it ends.
const TAIL_BYTES: usize = 256 << 10;
/// Problems that are listed one by one.
const LISTED_MAX: usize = 20;
/// Tables of one model that are walked.
const TABLES_MAX: usize = 1 << 22;
/// First bytes of a buffer of numbers that are looked at.
const BUFFER_HEAD_BYTES: usize = 4_096;
/// TensorFlow's operators that write checkpoints.
const SAVING: [&str; 4] = ["Save", "SaveV2", "SaveSlices", "MergeV2Checkpoints"];
/// Operators of well-known kits (`edgetpu`, `ethos-u`: compiled for such a device; MediaPipe; the detection API).
const KNOWN_CUSTOM: [&str; 24] = [
    "TFLite_Detection_PostProcess",
    "Convolution2DTransposeBias",
    "MaxPoolingWithArgmax2D",
    "MaxUnpooling2D",
    "Landmarks2TransformMatrix",
    "TransformLandmarks",
    "TransformTensorBilinear",
    "Resampler",
    "AudioSpectrogram",
    "Mfcc",
    "NumericVerify",
    "edgetpu-custom-op",
    "ethos-u",
    "TFSentencepieceTokenizeOp",
    "tftext:WhitespaceTokenizer",
    "RandomStandardNormal",
    "RandomUniform",
    "Multinomial",
    "Irfft2d",
    "Table",
    "AvgPool3D",
    "MaxPool3D",
    "RoundToSteps",
    "SIGNAL_Rfft",
];

impl Audit<'_> {
    pub(crate) fn tflite(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let whole = length(source)?;
        let most = self.limits.model_bytes_max;
        if whole > most {
            self.note(id::GRF_BROKEN, &format!("longer than {most} bytes"), None);
        }
        let bytes = bytes_at(source, 0, most)?;
        if let Err(error) = flatbuffer::root(&bytes).and_then(|model| self.tflite_model(model, bytes.len() as u64)) {
            self.note(id::GRF_SHAPE, &error.to_string(), None);
            self.carve(source)?;
        }
        let tail = bytes.len().saturating_sub(TAIL_BYTES);
        self.payload("end", bytes.get(tail..).unwrap_or_default(), tail as u64);
        for (at, name) in programs_in(bytes.get(tail..).unwrap_or_default()) {
            self.note(id::GRF_PAYLOAD, &format!("holds a program ({name})"), Some((tail + at) as u64));
        }
        self.appended_archive(source)?;
        Ok("tflite")
    }

    fn tflite_model(&mut self, model: Table<'_>, file_bytes: u64) -> Result<(), FlatbufferError> {
        if model.field_count() > MODEL_FIELDS {
            let message = "the model has fields that the schema does not know";
            self.note(id::GRF_FEW_HIDDEN, message, Some(model.offset()));
        }
        let codes = self.tflite_operators(model)?;
        let buffers = self.tflite_buffers(model, file_bytes)?;
        let mut walk = Walk { codes, buffers, file_bytes, tables: 0, texts: Vec::new(), problems: Vec::new() };
        for graph in model.references(2)?.tables() {
            let graph = graph?;
            let tensors = graph.references(0)?;
            for tensor in tensors.tables() {
                walk.tensor(tensor?)?;
            }
            for operator in graph.references(3)?.tables() {
                let operator = operator?;
                walk.operator(operator, tensors.length)?;
                if let Some(options) = operator.blob(5)? {
                    self.payload("custom options", options.bytes(), options.at as u64);
                    // The borrowed operator is named again in a node inside, and that name counts.
                    self.graph_operators(options.bytes());
                }
            }
            for list in [1, 2] {
                if indices(graph, list)?.into_iter().any(|index| !Walk::is_tensor(index, tensors.length)) {
                    walk.problems.push((graph.offset(), "an input or output is no tensor of the graph".to_owned()));
                }
            }
            if walk.tables > TABLES_MAX {
                self.note(id::GRF_BROKEN, "more tensors and operators than are followed", None);
                break;
            }
        }
        self.tflite_metadata(model, &walk)?;
        for (offset, message) in walk.problems.iter().take(LISTED_MAX) {
            self.note(id::GRF_SHAPE, message, Some(*offset));
        }
        Ok(())
    }

    /// What the operators need; how many there are.
    fn tflite_operators(&mut self, model: Table<'_>) -> Result<usize, FlatbufferError> {
        let codes = model.references(1)?;
        for code in codes.tables() {
            let code = code?;
            let builtin = code.i32(3)?.max(i32::from(code.i8(0)?));
            let name = String::from_utf8_lossy(code.text(1)?).into_owned();
            if builtin != CUSTOM {
                continue;
            }
            if let Some(operator) = name.strip_prefix("Flex") {
                self.borrowed_operator(operator, code.offset());
                // Checkpoints are written by saved models; what runs on a device has no saver.
                if SAVING.contains(&operator) {
                    self.note(id::GRF_WRITE, &format!("`{operator}` writes files"), Some(code.offset()));
                }
            } else if !KNOWN_CUSTOM.contains(&name.as_str()) {
                let message = format!("custom operator `{}`", printable(&name, 80));
                self.note(id::GRF_CUSTOM, &message, Some(code.offset()));
                self.borrowed_effect(&name, code.offset());
            }
        }
        Ok(codes.length)
    }

    /// The lengths of all buffers.
    fn tflite_buffers(&mut self, model: Table<'_>, file_bytes: u64) -> Result<Vec<u64>, FlatbufferError> {
        let mut lengths = Vec::new();
        for buffer in model.references(4)?.tables().take(TABLES_MAX) {
            let buffer = buffer?;
            let (offset, size) = (buffer.u64(1)?, buffer.u64(2)?);
            if offset > 1 && offset.checked_add(size).is_none_or(|end| end > file_bytes) {
                self.note(
                    id::GRF_SHAPE,
                    &format!("a buffer is {size} bytes at {offset}, outside of the file"),
                    Some(buffer.offset()),
                );
            }
            let data = buffer.blob(0)?;
            if let Some(data) = data {
                let head = data.bytes().get(..data.length.min(BUFFER_HEAD_BYTES)).unwrap_or_default();
                self.payload("buffer", head, data.at as u64);
            }
            lengths.push(data.map_or(if offset > 1 { size } else { 0 }, |data| data.length as u64));
        }
        for group in model.references(8)?.tables() {
            let group = group?;
            let name = String::from_utf8_lossy(group.text(0)?).into_owned();
            let rule = if escapes(&name) { id::GRF_PATH } else { id::GRF_LINKED };
            self.note(rule, &format!("weights are read from `{}`", printable(&name, 160)), Some(group.offset()));
        }
        Ok(lengths)
    }

    /// Named buffers, descriptions and texts.
    fn tflite_metadata(&mut self, model: Table<'_>, walk: &Walk) -> Result<(), FlatbufferError> {
        self.graph_text("description", model.text(3)?, model.offset());
        let buffers = &walk.buffers;
        let mut wanted = walk.texts.clone();
        for entry in model.references(6)?.tables() {
            let entry = entry?;
            let index = entry.u32(1)? as usize;
            if index >= buffers.len() {
                let name = printable(&String::from_utf8_lossy(entry.text(0)?), 80);
                self.note(
                    id::GRF_SHAPE,
                    &format!("metadata `{name}` is in buffer {index} of {}", buffers.len()),
                    Some(entry.offset()),
                );
            }
            wanted.push(index);
        }
        wanted.sort_unstable();
        wanted.dedup();
        let all: Vec<_> = model.references(4)?.tables().take(TABLES_MAX).collect();
        for buffer in wanted.iter().filter_map(|index| all.get(*index)) {
            if let Some(data) = (*buffer)?.blob(0)? {
                self.graph_text("metadata", data.bytes(), data.at as u64);
            }
        }
        Ok(())
    }

    /// Associated files (labels, vocabularies) are a zip archive behind the model, as the metadata writer makes it.
    fn appended_archive(&mut self, source: &mut dyn Source) -> io::Result<()> {
        let Ok(mut archive) = zip::read(source) else { return Ok(()) };
        if archive.members.is_empty() {
            return Ok(());
        }
        archive.notes.retain(|note| !matches!(note, Note::Prepended { .. }));
        self.within("associated files", |audit| audit.zip_archive(source, &archive))?;
        Ok(())
    }
}

/// Programs that begin anywhere in `bytes`: a flatbuffer's reader would not see that they are appended. Only headers that
/// cannot be chance count.
fn programs_in(bytes: &[u8]) -> impl Iterator<Item = (usize, &'static str)> {
    memchr::memmem::find_iter(bytes, b"\x7fELF").take(LISTED_MAX).filter_map(|at| {
        let header = bytes.get(at..)?;
        // Type, machine and version of a real one (System V ABI, "ELF Header").
        let is_real = matches!(header.get(16..18)?, [1..=4, 0] | [0, 1..=4]) && header.get(20..24)?.contains(&1);
        program(header).filter(|_| is_real).map(|name| (at, name))
    })
}

/// What a walk over the graphs knows and finds.
struct Walk {
    /// How many operator codes there are.
    codes: usize,
    /// The length of each buffer.
    buffers: Vec<u64>,
    file_bytes: u64,
    tables: usize,
    /// Buffers of text tensors.
    texts: Vec<usize>,
    problems: Vec<(u64, String)>,
}

impl Walk {
    fn tensor(&mut self, tensor: Table<'_>) -> Result<(), FlatbufferError> {
        self.tables += 1;
        if self.tables > TABLES_MAX {
            return Ok(());
        }
        let name = printable(&String::from_utf8_lossy(tensor.text(3)?), 80);
        let index = tensor.u32(2)? as usize;
        let Some(size) = self.buffers.get(index).copied() else {
            let message = format!("tensor `{name}` is in buffer {index} of {}", self.buffers.len());
            self.problems.push((tensor.offset(), message));
            return Ok(());
        };
        let data_type = tensor.i8(1)?;
        if data_type == STRING_TYPE {
            self.texts.push(index);
        }
        let dims = indices(tensor, 0)?;
        let elements = dims.iter().try_fold(1_u64, |product, dim| product.checked_mul(u64::try_from(*dim).ok()?));
        let bytes = elements.and_then(|elements| bytes_of(data_type, elements));
        let is_sparse = tensor.has(6)?;
        if elements.is_none_or(|elements| elements > ELEMENTS_MAX) {
            self.problems.push((tensor.offset(), format!("tensor `{name}` has shape {dims:?}")));
        } else if size > 0 && !is_sparse && bytes.is_some_and(|bytes| bytes > size) {
            let message = format!("tensor `{name}` needs {bytes:?} bytes, its buffer has {size}");
            self.problems.push((tensor.offset(), message));
        }
        Ok(())
    }

    fn operator(&mut self, operator: Table<'_>, tensors: usize) -> Result<(), FlatbufferError> {
        self.tables += 1;
        if self.tables > TABLES_MAX {
            return Ok(());
        }
        let code = operator.u32(0)?;
        if code as usize >= self.codes {
            self.problems.push((operator.offset(), format!("an operator has code {code} of {}", self.codes)));
        }
        for list in [1, 2, 8] {
            if let Some(out) = indices(operator, list)?.into_iter().find(|index| !Self::is_tensor(*index, tensors)) {
                self.problems.push((operator.offset(), format!("an operator uses tensor {out} of {tensors}")));
            }
        }
        let (offset, size) = (operator.u64(9)?, operator.u64(10)?);
        if offset.checked_add(size).is_none_or(|end| end > self.file_bytes) {
            self.problems.push((operator.offset(), format!("an operator's options are {size} bytes at {offset}")));
        }
        Ok(())
    }

    /// Whether an index names a tensor, or none as -1 does.
    fn is_tensor(index: i32, tensors: usize) -> bool {
        usize::try_from(index).map_or(index == -1, |index| index < tensors)
    }
}

/// A vector of 32-bit numbers, empty where absent.
fn indices(table: Table<'_>, field: usize) -> Result<Vec<i32>, FlatbufferError> {
    Ok(table.vector(field, 4)?.map(|vector| vector.i32s().collect()).unwrap_or_default())
}

/// Bytes of `elements` of a `TensorType`, where all elements have the same width.
fn bytes_of(data_type: i8, elements: u64) -> Option<u64> {
    let bits = match data_type {
        17 => 4,
        3 | 6 | 9 => 8,
        1 | 7 | 16 | 18 => 16,
        0 | 2 | 15 => 32,
        4 | 8 | 10 | 12 => 64,
        11 => 128,
        _ => return None,
    };
    Some(elements.checked_mul(bits)?.div_ceil(8))
}
