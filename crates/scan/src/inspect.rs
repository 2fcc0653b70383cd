//! Sends a content to its reader.

use std::io;

use ringfence_format::{codec::Codec, hdf5, protobuf};

use crate::{
    audit::Audit,
    detect::{Kind, detect, program},
    rules::id,
    source::{Source, Window, bytes_at, is_blank_from, length},
    stream::{is_old_pickle, names_something},
    text::{code, links, shell},
};

/// How often each byte of a file, and of what its parts expand to, is looked at.
const LOOKS: u64 = 8;
/// Bytes that are looked at beyond that in any file, for each byte of a file, and of no file more: small parts cost more than
/// their bytes ([`LOOK_BYTES`]), and a small file has few of them.
const MORE_BYTES: u64 = 64 << 20;
const MORE_A_BYTE: u64 = 4 << 10;
const MORE_BYTES_MAX: u64 = 512 << 20;
/// What a look costs at least, in bytes.
const LOOK_BYTES: u64 = 4 << 10;
/// What a file's parts may expand to all together, as a multiple of its size, and in any file: more is a bomb.
const EXPANSION_MAX: u64 = 200;
const EXPANDED_BYTES_MIN: u64 = 128 << 20;
/// How much of an unknown content is searched for pickles, in bytes.
const CARVE_BYTES_MAX: u64 = 4 << 20;

/// Longest script that is read to tell whether it is harmless, in bytes.
const SCRIPT_BYTES_MAX: u64 = 64 << 10;
/// Shortest text that can be a command, in bytes.
const COMMAND_BYTES_MIN: usize = 8;
/// Classes and packages that deserialisation of Java objects is abused through (ysoserial's chains).
const JAVA_GADGETS: [&str; 14] = [
    "org.apache.commons.collections.functors",
    "org.apache.commons.collections4.functors",
    "org.apache.commons.beanutils.BeanComparator",
    "com.sun.rowset.JdbcRowSetImpl",
    "xalan.xsltc.trax.TemplatesImpl",
    "xalan.internal.xsltc.trax.TemplatesImpl",
    "org.codehaus.groovy.runtime",
    "org.springframework.beans.factory",
    "javax.management.BadAttributeValueExpException",
    "java.lang.ProcessBuilder",
    "java.lang.Runtime",
    "com.mchange.v2.c3p0",
    "org.mozilla.javascript",
    "sun.rmi.server.UnicastRef",
];
/// Storages of macros.
const MACROS: [&str; 3] = ["_VBA_PROJECT", "VBA", "Macros"];

/// Whether the first line names Python as the interpreter.
fn is_python_script(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    memchr::memmem::find(line, b"python").is_some()
}

impl Audit<'_> {
    /// Looks at a whole content and says what it is.
    pub(crate) fn inspect(&mut self, source: &mut dyn Source) -> &'static str {
        if self.depth() > self.limits.depth_max {
            self.too_deep(source);
            return "unknown";
        }
        if self.is_too_much(source) {
            return "unknown";
        }
        match self.inspect_known(source) {
            Ok(format) => format,
            Err(error) => {
                self.note(id::GEN_READ, &format!("reading failed: {error}"), None);
                "unknown"
            }
        }
    }

    /// Parts may stand inside each other at every depth, and each may be named a thousand times: what is looked at is
    /// counted, and where it has nothing to do with what is there any more, the rest is left.
    fn is_too_much(&mut self, source: &mut dyn Source) -> bool {
        let more = self.size.saturating_mul(MORE_A_BYTE).saturating_add(MORE_BYTES).min(MORE_BYTES_MAX);
        let most = self.size.saturating_add(self.inflated).saturating_mul(LOOKS).saturating_add(more);
        let before = self.looked;
        let bytes = length(source).unwrap_or(0).max(LOOK_BYTES);
        self.looked = before.saturating_add(bytes);
        if self.looked > most && before <= most {
            let message = format!("its parts overlap: {before} bytes were looked at, and the file has {}", self.size);
            self.note(id::GEN_NESTED, &message, None);
        }
        self.looked > most
    }

    /// No model needs an archive that deep: it is there so that a scanner gives up.
    fn too_deep(&mut self, source: &mut dyn Source) {
        let rule = match detect(source) {
            Ok(Kind::Zip | Kind::Tar | Kind::Sevenz) => id::GEN_NESTED,
            Ok(Kind::Packed(codec)) if !matches!(codec, Codec::Zlib | Codec::Lzma) => id::GEN_NESTED,
            _ => id::GEN_DEPTH,
        };
        self.note(rule, "nested deeper than the limit", None);
    }

    fn inspect_known(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let kind = detect(source)?;
        let format = self.inspect_kind(source, kind)?;
        // HDF5 takes anything as its user block, so that a file of another format can be one of this as well.
        if !matches!(format, "hdf5" | "keras-h5") && hdf5::find(source)?.is_some() {
            self.within("hdf5", |audit| audit.hdf5_view(source))?;
        }
        // A signature does not keep a loader of protocol buffers from reading the same bytes: fields that it does not know are
        // skipped, whatever they look like.
        if !matches!(kind, Kind::Empty | Kind::Protobuf | Kind::Other)
            && protobuf::is_plausible(source)?
            && let Some(second) = self.protobuf(source)?
        {
            self.note(id::GRF_AMBIGUOUS, &format!("reads as {format} and as {second}"), Some(0));
        }
        Ok(format)
    }

    fn inspect_kind(&mut self, source: &mut dyn Source, kind: Kind) -> io::Result<&'static str> {
        match kind {
            Kind::Empty => Ok("empty"),
            Kind::Zip => self.zip(source),
            Kind::Pickle => self.pickles(source, 0, false),
            Kind::Npy => self.npy(source),
            Kind::Packed(codec) => match self.packed(source, codec)? {
                Some(format) => Ok(format),
                None => self.other(source),
            },
            Kind::Tar => self.tar(source),
            Kind::Sevenz => self.sevenz(source),
            Kind::Safetensors => self.safetensors(source),
            Kind::Protobuf => match self.protobuf(source)? {
                Some(format) => Ok(format),
                None => self.other(source),
            },
            Kind::Gguf => self.gguf(source),
            Kind::Hdf5 => self.hdf5(source),
            Kind::Ubjson => self.ubjson(source),
            Kind::XgboostBinary => self.xgboost_binary(source),
            Kind::Lightgbm => self.lightgbm(source),
            Kind::Catboost => self.catboost(source),
            Kind::MessagePack => match self.msgpack(source)? {
                Some(format) => Ok(format),
                None => self.other(source),
            },
            Kind::TfLite => self.tflite(source),
            Kind::OnnxRuntime => self.ort(source),
            Kind::SortedTable => self.sorted_table(source),
            Kind::PaddleParameters => self.paddle_parameters(source),
            Kind::MxNetArrays => self.mxnet_arrays(source),
            Kind::CoreMlWeights => self.core_ml_weights(source),
            Kind::Engine => {
                self.note(id::GRF_ENGINE, "is a TensorRT engine", Some(0));
                self.carve(source)?;
                Ok("tensorrt")
            }
            Kind::RData => self.r_data(source),
            Kind::Png | Kind::Jpeg | Kind::Gif | Kind::Bmp | Kind::Webp => self.picture(source, kind),
            Kind::Inert(format) => self.inert(source, format),
            // Python says for itself what it does; any other interpreter's script is a program.
            Kind::Program("script") => {
                let bytes = bytes_at(source, 0, SCRIPT_BYTES_MAX)?;
                let script = String::from_utf8_lossy(&bytes);
                let is_whole = length(source)? <= SCRIPT_BYTES_MAX;
                if is_python_script(&bytes) {
                    match self.text(source)? {
                        Some("python") => return Ok("python"),
                        Some(format) if is_whole && code::is_idle(&script) => return Ok(format),
                        _ => {}
                    }
                } else if is_whole && shell::is_shell(&script) && shell::is_ordinary(&script) {
                    self.note(id::SHL_ORDINARY, "only fetches data, sets up packages or starts training", Some(0));
                    self.text(source)?;
                    return Ok("shell");
                }
                self.note(id::GEN_PROGRAM, "is a script with an interpreter line", Some(0));
                Ok("script")
            }
            Kind::Program(name) => {
                self.note(id::GEN_PROGRAM, &format!("is a native program or library ({name})"), Some(0));
                Ok(name)
            }
            Kind::Unsupported(name) => {
                self.note(id::GEN_UNSUPPORTED, &format!("{name} is not read yet"), Some(0));
                self.known_bad(&bytes_at(source, 0, CARVE_BYTES_MAX)?, name);
                self.carve(source)?;
                self.unread(source)?;
                // Templates and layer configurations stand in these files as plain text.
                self.unread_texts(source)?;
                Ok(name)
            }
            Kind::Other => self.other(source),
        }
    }

    /// What tells a harmful content of a format that is not read: classes through which Java's deserialisation runs code,
    /// storages of macros in an office document (their names are UTF-16 there).
    fn known_bad(&mut self, bytes: &[u8], name: &'static str) {
        let found = |text: &&str| memchr::memmem::find(bytes, text.as_bytes()).is_some();
        let wide = |text: &&str| {
            let letters: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            memchr::memmem::find(bytes, &letters).is_some()
        };
        if let Some(class) = JAVA_GADGETS.iter().filter(|_| name == "java-object").find(|class| found(class)) {
            self.note(id::GEN_OBJECT, &format!("names `{class}`"), Some(0));
        }
        if let Some(storage) = MACROS.iter().filter(|_| name == "compound-document").find(|storage| wide(storage)) {
            self.note(id::DOC_ACTIVE, &format!("holds macros (`{storage}`)"), Some(0));
        }
    }

    /// Texts in a content that no reader takes apart: commands and code that a loader would find there.
    fn unread_texts(&mut self, source: &mut dyn Source) -> io::Result<()> {
        let bytes = bytes_at(source, 0, CARVE_BYTES_MAX)?;
        self.free_text(&bytes);
        let is_text = |byte: &u8| (32..127).contains(byte) || *byte == b'\t';
        let mut runs = bytes.split(|byte| !is_text(byte)).filter(|run| run.len() >= COMMAND_BYTES_MIN);
        let found = runs.find_map(|run| links::harmful_command(std::str::from_utf8(run).ok()?));
        if let Some(what) = found {
            self.note(id::MET_PROGRAM, &format!("a text in it {what}"), None);
        }
        Ok(())
    }

    /// No signature: an old pickle, text, an archive behind something else, or unknown.
    fn other(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        if is_old_pickle(source) {
            return self.pickles(source, 0, false);
        }
        if let Some(format) = self.text(source)? {
            return Ok(format);
        }
        if let Some(format) = self.wide_json(source)? {
            return Ok(format);
        }
        if names_something(source) {
            return self.pickles(source, 0, false);
        }
        if hdf5::find(source)?.is_some() {
            return self.hdf5(source);
        }
        if ringfence_format::zip::read(source).is_ok_and(|archive| !archive.members.is_empty()) {
            return self.zip(source);
        }
        if let Some(format) = self.bare(source)? {
            return Ok(format);
        }
        self.carve(source)?;
        self.unread(source)?;
        // XML in an encoding that is no text here.
        if let Some(format) = self.markup(&bytes_at(source, 0, CARVE_BYTES_MAX)?) {
            return Ok(format);
        }
        if let Some(format) = self.raw_numbers(source)? {
            return Ok(format);
        }
        self.graph_operators(&bytes_at(source, 0, CARVE_BYTES_MAX)?);
        self.unread_texts(source)?;
        self.note(id::GEN_UNKNOWN, "the content is of no known format", Some(0));
        Ok("unknown")
    }

    /// Bytes from `offset` that the reader before did not account for.
    pub(crate) fn inspect_rest(&mut self, source: &mut dyn Source, offset: u64) -> io::Result<()> {
        let whole = length(source)?;
        if offset >= whole {
            return Ok(());
        }
        let head = bytes_at(source, offset, 4_096)?;
        let is_blank = is_blank_from(source, offset)?;
        let mut window = Window::new(source, offset, whole - offset)?;
        self.within(&format!("rest@{offset:#x}"), |audit| {
            if is_blank {
                return Ok(());
            }
            if let Some(name) = program(&head) {
                audit.note(
                    id::GEN_PROGRAM,
                    &format!("bytes that belong to no part begin like a program ({name})"),
                    Some(0),
                );
            }
            match detect(&mut window)? {
                Kind::Zip
                | Kind::Pickle
                | Kind::Npy
                | Kind::Packed(_)
                | Kind::Tar
                | Kind::Sevenz
                | Kind::Safetensors => {
                    audit.inspect(&mut window);
                }
                _ if is_old_pickle(&mut window) => {
                    audit.inspect(&mut window);
                }
                _ => {
                    if ringfence_format::zip::read(&mut window).is_ok_and(|archive| !archive.members.is_empty()) {
                        audit.zip(&mut window)?;
                    } else {
                        audit.carve(&mut window)?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Searches for pickles inside a content that no reader accounts for.
    pub(crate) fn carve(&mut self, source: &mut dyn Source) -> io::Result<()> {
        let bytes = bytes_at(source, 0, CARVE_BYTES_MAX)?;
        self.carve_bytes(&bytes, source);
        Ok(())
    }

    /// How many bytes the next compressed member may inflate to.
    pub(crate) fn room(&self) -> u64 {
        let most = self.size.saturating_mul(EXPANSION_MAX).max(EXPANDED_BYTES_MIN).min(self.limits.inflated_bytes_max);
        self.limits.member_bytes_max.min(most.saturating_sub(self.inflated))
    }
}
