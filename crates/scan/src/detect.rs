//! Names a content by its bytes, never by its name.

use std::io;

use ringfence_format::{
    catboost, codec::Codec, gguf, hdf5, json, lightgbm, msgpack, mxnet, npy, paddle, protobuf, rdata, safetensors,
    sevenz, sstable, tar, ubjson, zip,
};

use crate::{
    coreml::BLOB_SENTINEL,
    inert,
    pickle::nested,
    source::{Source, bytes_at, length},
};

/// Bytes that are looked at.
const HEAD_BYTES: u64 = 4_096;

/// What a content is, as far as its first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Empty,
    Zip,
    /// A pickle of protocol 2 or newer.
    Pickle,
    Npy,
    /// A compressed stream.
    Packed(Codec),
    Tar,
    Sevenz,
    Safetensors,
    Gguf,
    /// At the start, or behind a user block.
    Hdf5,
    /// Looks like a map or array extension; the reader decides.
    MessagePack,
    /// Looks like an object with a short key.
    Ubjson,
    XgboostBinary,
    Lightgbm,
    Catboost,
    /// Well-formed protocol buffers, or what begins like an ONNX model; which message is `messages`' business.
    Protobuf,
    TfLite,
    OnnxRuntime,
    /// A sorted table: the index of a TensorFlow checkpoint.
    SortedTable,
    PaddleParameters,
    CoreMlWeights,
    MxNetArrays,
    /// A TensorRT engine.
    Engine,
    Png,
    Jpeg,
    Gif,
    Bmp,
    Webp,
    /// A saved object or workspace of R.
    RData,
    /// Inert, and followed to its end.
    Inert(inert::Format),
    /// An executable or library.
    Program(&'static str),
    /// Known by its signature, not read yet.
    Unsupported(&'static str),
    /// Nothing that a signature tells: text, an old pickle, or unknown.
    Other,
}

/// Signatures of formats that are known but not read: name, offset, bytes.
const UNSUPPORTED: &[(&str, usize, &[u8])] = &[
    ("ggml", 0, b"lmgg"),
    ("ggml", 0, b"fmgg"),
    ("ggml", 0, b"tjgg"),
    ("ggml", 0, b"algg"),
    ("rar", 0, b"Rar!\x1a\x07"),
    ("compress", 0, b"\x1f\x9d"),
    ("lzip", 0, b"LZIP"),
    ("lzop", 0, b"\x89LZO\0\r\n\x1a\n"),
    ("snappy", 0, b"\xff\x06\0\0sNaPpY"),
    ("cab", 0, b"MSCF\0\0\0\0"),
    ("cpio", 0, b"07070"),
    ("arj", 0, b"\x60\xea"),
    ("lha", 2, b"-lh"),
    ("squashfs", 0, b"hsqs"),
    ("java-object", 0, b"\xac\xed\0\x05"),
    ("compound-document", 0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
];

/// Looks at the first bytes of `source`.
pub(crate) fn detect(source: &mut dyn Source) -> io::Result<Kind> {
    let length = length(source)?;
    let head = bytes_at(source, 0, HEAD_BYTES)?;
    match kind_of(&head, length) {
        Kind::Other => structure(source, length),
        kind => Ok(kind),
    }
}

/// Formats without a signature at their beginning.
fn structure(source: &mut dyn Source, length: u64) -> io::Result<Kind> {
    let tail = bytes_at(source, length.saturating_sub(sstable::FOOTER_BYTES as u64), sstable::FOOTER_BYTES as u64)?;
    Ok(if sstable::is_footer(&tail) {
        Kind::SortedTable
    } else if paddle::is_likely(source)? {
        Kind::PaddleParameters
    } else if protobuf::is_plausible(source)? && !is_short_json(source, length)? {
        Kind::Protobuf
    } else {
        Kind::Other
    })
}

/// A brace and a quotation mark are also a group and a field of some hundred bytes; no message of a model is JSON without
/// control characters, as the first of its fields begin with those.
fn is_short_json(source: &mut dyn Source, length: u64) -> io::Result<bool> {
    let bytes = bytes_at(source, 0, HEAD_BYTES)?;
    let is_text = bytes.iter().all(|byte| *byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r'));
    let is_json = || std::str::from_utf8(&bytes).is_ok_and(|text| json::parse(text).is_ok());
    Ok(length <= HEAD_BYTES && bytes.starts_with(b"{") && is_text && is_json())
}

fn kind_of(head: &[u8], length: u64) -> Kind {
    let starts = |signature: &[u8]| head.starts_with(signature);
    if head.is_empty() {
        return Kind::Empty;
    }
    if starts(&zip::LOCAL_SIGNATURE)
        || starts(&zip::END_SIGNATURE)
        || starts(b"PK\x07\x08")
        || starts(b"PK00PK\x03\x04")
    {
        return Kind::Zip;
    }
    // Before pickles: the first field of a header is the author's to fill, the checksum is not.
    if tar::is_likely(head) {
        return Kind::Tar;
    }
    if starts(&npy::MAGIC) {
        return Kind::Npy;
    }
    if nested::is_start(head) {
        return Kind::Pickle;
    }
    // Before compressed streams: read as one of LZMA's, its header says that nothing is inside.
    if is_core_ml_weights(head) {
        return Kind::CoreMlWeights;
    }
    if let Some(codec) = Codec::of(head) {
        return Kind::Packed(codec);
    }
    if starts(&sevenz::SIGNATURE) {
        return Kind::Sevenz;
    }
    if let Some(kind) = picture(head) {
        return kind;
    }
    if let Some(program) = program(head) {
        return Kind::Program(program);
    }
    if let Some(kind) = model(head) {
        return kind;
    }
    let fits = |offset: &usize, signature: &&[u8]| head.get(*offset..).is_some_and(|rest| rest.starts_with(signature));
    if let Some((name, ..)) = UNSUPPORTED.iter().find(|(_, offset, signature)| fits(offset, signature)) {
        return Kind::Unsupported(name);
    }
    if let Some(kind) = graph(head) {
        return kind;
    }
    if let Some(format) = inert::format_of(head, length) {
        return Kind::Inert(format);
    }
    if rdata::is_likely(head) {
        return Kind::RData;
    }
    if safetensors::is_likely(head, length) {
        return Kind::Safetensors;
    }
    if is_protobuf(head) {
        Kind::Protobuf
    } else if msgpack::is_likely(head) {
        Kind::MessagePack
    } else {
        Kind::Other
    }
}

/// Models with a signature of their own.
fn model(head: &[u8]) -> Option<Kind> {
    let starts = |signature: &[u8]| head.starts_with(signature);
    // HDF5 looks for its signature at these places; farther ones are tried where nothing else fits.
    // A tar archive's first member may well be one, and is none of these.
    let is_tar = head.get(257..262) == Some(b"ustar");
    if starts(&hdf5::SIGNATURE)
        || !is_tar
            && [512, 1_024, 2_048]
                .iter()
                .any(|at| head.get(*at..).is_some_and(|rest| rest.starts_with(&hdf5::SIGNATURE)))
    {
        Some(Kind::Hdf5)
    } else if starts(&gguf::MAGIC) {
        Some(Kind::Gguf)
    } else if starts(&catboost::MAGIC) {
        Some(Kind::Catboost)
    } else if starts(lightgbm::MAGIC) {
        Some(Kind::Lightgbm)
    } else if starts(b"binf") {
        Some(Kind::XgboostBinary)
    } else if ubjson::is_likely(head) {
        Some(Kind::Ubjson)
    } else {
        None
    }
}

/// Graph formats with a signature: flatbuffers name themselves behind their first offset.
fn graph(head: &[u8]) -> Option<Kind> {
    match head {
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => Some(Kind::TfLite),
        [_, _, _, _, b'O', b'R', b'T', b'M', ..] => Some(Kind::OnnxRuntime),
        [b'p' | b'f', b't', b'r', b't', ..] => Some(Kind::Engine),
        _ if head.starts_with(&mxnet::MAGIC) => Some(Kind::MxNetArrays),
        _ if head.get(64..).is_some_and(|rest| rest.starts_with(&BLOB_SENTINEL)) => Some(Kind::CoreMlWeights),
        _ => None,
    }
}

/// A header of Core ML's weights as its writers leave it: the number of blobs, version 2, zeros, and the first record.
fn is_core_ml_weights(head: &[u8]) -> bool {
    head.get(4..8) == Some(&[2, 0, 0, 0])
        && head.get(8..64).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
        && head.get(64..).is_some_and(|rest| rest.starts_with(&BLOB_SENTINEL))
}

fn picture(head: &[u8]) -> Option<Kind> {
    let starts = |signature: &[u8]| head.starts_with(signature);
    if starts(b"\x89PNG\r\n\x1a\n") {
        Some(Kind::Png)
    } else if starts(b"\xff\xd8\xff") {
        Some(Kind::Jpeg)
    } else if starts(b"GIF87a") || starts(b"GIF89a") {
        Some(Kind::Gif)
    } else if starts(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        Some(Kind::Webp)
    } else if starts(b"BM")
        && head.get(6..10) == Some(&[0; 4])
        && head.get(14..18).is_some_and(|size| matches!(size, [12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]))
    {
        Some(Kind::Bmp)
    } else {
        None
    }
}

/// Executables and libraries, with more than their two or four first bytes.
pub(crate) fn program(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x7f, b'E', b'L', b'F', 1 | 2, 1 | 2, 1, ..] => Some("elf"),
        [b'M', b'Z', b'q', b'F', b'p', b'D', b'=', b'\'', ..]
        | [b'j', b'a', b'r', b't', b's', b'r', b'=', b'\'', ..] => Some("portable executable"),
        [b'M', b'Z', ..] => {
            let offset = head.get(60..64).and_then(|field| field.first_chunk().copied()).map(u32::from_le_bytes)?;
            let header = head.get(usize::try_from(offset).ok()?..)?;
            header.starts_with(b"PE\0\0").then_some("pe")
        }
        // A fat one has few parts, which tells it from a class file.
        [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..]
        | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..]
        | [0xca, 0xfe, 0xba, 0xbe | 0xbf, 0, 0, 0, 1..=40, ..] => Some("mach-o"),
        [b'#', b'!', b'/' | b' ', ..] => Some("script"),
        // Versions of class files begin at 45 (Java Virtual Machine Specification, 4.1).
        [0xca, 0xfe, 0xba, 0xbe, 0, 0 | 3, 0, 45..=90, ..] => Some("java class"),
        [b'd', b'e', b'x', b'\n', b'0', _, _, 0, ..] => Some("dex"),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Some("web assembly"),
        [0x1b, b'L', b'u', b'a', 0x50..=0x54, 0, ..] | [0x1b, b'L', b'J', 1 | 2, ..] => Some("lua bytecode"),
        [b'L', 0, 0, 0, 1, 0x14, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46, ..] => Some("windows shortcut"),
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', ..] => Some("library archive"),
        _ if is_python_bytecode(head) => Some("python bytecode"),
        _ => None,
    }
}

/// The magic number ends in CR LF; flags, and eight bytes of time and size or of a hash follow (PEP 552), or only the time; then
/// a code object with or without a reference (`marshal`: `c`, `0xe3`).
fn is_python_bytecode(head: &[u8]) -> bool {
    let is_code = |at: usize| matches!(head.get(at), Some(b'c' | 0xe3));
    matches!(head, [_, 0x0b..=0x0f | 0xf2 | 0xf3, b'\r', b'\n', ..])
        && (is_code(16) && matches!(head.get(4..8), Some([0..=3, 0, 0, 0])) || is_code(12) || is_code(8))
}

/// A first field of ModelProto: ir_version, or producer_name and its neighbours, or a graph of plausible length.
fn is_protobuf(head: &[u8]) -> bool {
    match head {
        [0x08, version, tag, ..] => {
            (1..=20).contains(version) && matches!(tag, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42 | 0x72)
        }
        [0x12 | 0x1a | 0x22 | 0x3a | 0x42, rest @ ..] => rest.iter().take(64).any(|byte| *byte < 9),
        _ => false,
    }
}
