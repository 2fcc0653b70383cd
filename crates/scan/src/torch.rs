//! What torch makes of a zip archive: checkpoints, TorchScript, packages, exported programs, TorchServe's archives.
//!
//! torch's reader takes the folder of the first member for the archive's name and looks members up below it, whatever
//! the case of their letters (`caffe2/serialize/inline_container.cc`, `PyTorchStreamReader`); here every folder's pickles
//! count, so that no choice of the loader matters. [`Layout`] tells which parts of an archive are numbers, which are
//! TorchScript, and what else there is.

use std::io::{self, Cursor, Read as _};

use ringfence_format::zip::{Archive, Member};
use ringfence_schema::finding::printable;

use crate::{
    archive::CHECKSUM_BYTES_MAX,
    audit::Audit,
    detect::{Kind, detect},
    pickle::{Storage, nested},
    rules::id,
    script::{self, Use},
    source::{Source, Window, bytes_at},
};

/// Largest packed storage that is unpacked for the search where storages are not audited, in bytes.
const PACKED_STORAGE_BYTES_MAX: u64 = 8 << 20;
/// Head of a larger packed storage that is searched, in bytes.
const STORAGE_HEAD_BYTES: u64 = 64 << 10;
/// Longest manifest that is read, in bytes.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Names that one finding lists.
const NAMES_SHOWN: usize = 5;

/// What kind of archive this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Checkpoint,
    Script,
    Package,
    Exported,
    Served,
    Arrays,
    Keras,
    Plain,
}

/// What a member is to its loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Numbers without a header, if its content does not say otherwise.
    Weights,
    /// TorchScript code or what lies beside it.
    Script,
    /// Whatever its content says.
    Other,
}

/// What the names of the members say of the archive.
pub(crate) struct Layout {
    form: Form,
    /// The name of the format in the report.
    pub(crate) format: &'static str,
}

impl Layout {
    pub(crate) fn of(archive: &Archive) -> Self {
        let any = |test: &dyn Fn(&[u8]) -> bool| archive.members.iter().any(|member| test(&member.name));
        let holds = |part: &'static [u8]| any(&|name| memchr::memmem::find(name, part).is_some());
        let is_torch = archive.members.iter().any(|member| ends(&member.name, "data.pkl"));
        let is_npz = !archive.members.is_empty() && archive.members.iter().all(|member| member.name.ends_with(b".npy"));
        let is_package = holds(b".data/extern_modules") || holds(b".data/python_version");
        let is_exported = holds(b"archive_format") && (holds(b"models/") || holds(b"data/"))
            || holds(b"serialized_exported_program.json")
            || holds(b"data/aotinductor/");
        let (form, format) = if is_torch && holds(b"/code/") {
            (Form::Script, "torchscript")
        } else if is_package {
            (Form::Package, "torch-package")
        } else if is_exported {
            (Form::Exported, "pytorch-export")
        } else if is_torch {
            (Form::Checkpoint, "pytorch-zip")
        } else if any(&|name| ends(name, "MAR-INF/MANIFEST.json")) {
            (Form::Served, "torchserve")
        } else if is_npz {
            (Form::Arrays, "npz")
        } else if holds(b"config.json") && any(&|name| name.ends_with(b".h5")) {
            (Form::Keras, "keras")
        } else {
            (Form::Plain, "zip")
        };
        Self { form, format }
    }

    /// Whether the classes of the archive's own code may stand in its pickles.
    pub(crate) fn is_script(&self) -> bool {
        self.form == Form::Script
    }

    pub(crate) fn part(&self, member: &Member) -> Part {
        let holds = |part: &[u8]| memchr::memmem::find(&member.name, part).is_some();
        match self.form {
            Form::Script if holds(b"/code/") => Part::Script,
            Form::Package if holds(b".data/") && member.name.ends_with(b".storage") => Part::Weights,
            Form::Exported if holds(b"data/weights/") || holds(b"data/constants/") => Part::Weights,
            _ => Part::Other,
        }
    }
}

/// The pickles whose storages are members beside them.
pub(crate) fn is_torch_pickle(member: &Member) -> bool {
    ends(&member.name, "data.pkl") || ends(&member.name, "constants.pkl")
}

/// torch and many others look names up without regard to case.
fn ends(name: &[u8], suffix: &str) -> bool {
    name.len()
        .checked_sub(suffix.len())
        .and_then(|at| name.get(at..))
        .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
}

impl Audit<'_> {
    /// What the kind of archive alone says.
    pub(crate) fn layout(&mut self, source: &mut dyn Source, archive: &Archive, layout: &Layout) -> io::Result<()> {
        match layout.form {
            Form::Script => self.note(id::TCH_SCRIPT, "holds TorchScript code", None),
            Form::Package => {
                let sources = python_sources(archive);
                if !sources.is_empty() {
                    self.note(id::TCH_PACKAGE, &format!("{} modules: {}", sources.len(), listed(&sources)), None);
                }
            }
            Form::Served => self.served(source, archive)?,
            _ => {}
        }
        Ok(())
    }

    /// TorchServe's manifest: a handler that is a file of the archive is code that the server imports.
    fn served(&mut self, source: &mut dyn Source, archive: &Archive) -> io::Result<()> {
        let Some(manifest) = archive.members.iter().find(|member| ends(&member.name, "MAR-INF/MANIFEST.json")) else {
            return Ok(());
        };
        let mut text = Vec::new();
        if let Some(reader) = manifest.open(source)? {
            // What cannot be read here is told where the member itself is looked at.
            let _ = reader.take(MANIFEST_BYTES_MAX).read_to_end(&mut text);
        }
        let parsed: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        let handler = parsed.pointer("/model/handler").and_then(serde_json::Value::as_str).unwrap_or_default();
        let file = handler.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let sources = python_sources(archive);
        if ends(file.as_bytes(), ".py") || sources.iter().any(|name| name.to_ascii_lowercase() == format!("{file}.py"))
        {
            self.note(id::TCH_HANDLER, &format!("the handler is `{}`", printable(handler, 120)), None);
        } else if !sources.is_empty() {
            self.note(id::TCH_HANDLER, &format!("{} modules: {}", sources.len(), listed(&sources)), None);
        }
        Ok(())
    }

    /// TorchScript source, or the debug pickle beside it.
    pub(crate) fn script_member(&mut self, source: &mut dyn Source) -> io::Result<()> {
        let head = bytes_at(source, 0, 64)?;
        if nested::is_start(&head) {
            self.pickles(source, 0, true)?;
            return Ok(());
        }
        let text = bytes_at(source, 0, CHECKSUM_BYTES_MAX)?;
        for (name, at, use_of) in script::names(&text) {
            let shown = printable(&name, 120);
            match use_of {
                Use::Outside => {
                    self.note(id::TCH_SCRIPT_FILE, &format!("TorchScript code uses `{shown}`"), Some(at as u64));
                }
                Use::Companion => {
                    self.note(id::TCH_COMPANION, &format!("TorchScript code uses `{shown}`"), Some(at as u64));
                }
                Use::Custom => {
                    self.note(id::TCH_CUSTOM, &format!("TorchScript code uses `{shown}`"), Some(at as u64));
                }
            }
        }
        self.inspect(source);
        Ok(())
    }

    /// A storage that a pickle names: its length, and whether it holds something else than numbers.
    pub(crate) fn storage(
        &mut self,
        source: &mut dyn Source,
        member: &Member,
        storage: Option<Storage>,
    ) -> io::Result<()> {
        if let Some(bytes) = storage.and_then(|storage| storage.bytes).filter(|bytes| *bytes != member.size) {
            let message = format!("the pickle says {bytes} bytes, the member has {}", member.size);
            self.note(id::TCH_STORAGE, &message, None);
        }
        let has_local = member.data_offset > 0;
        if member.method == 0 && has_local {
            let length = member.compressed;
            return self.weights(source, member.data_offset, length);
        }
        if self.limits.audit_storages || member.size <= PACKED_STORAGE_BYTES_MAX {
            let Some(mut content) = self.content(source, member)? else { return Ok(()) };
            return self.weights(content.source(), 0, member.size);
        }
        let mut head = Vec::new();
        match member.open(source)? {
            Some(reader) => {
                // A broken stream shows when the storage is loaded; here it only hides its tail.
                let _ = reader.take(STORAGE_HEAD_BYTES).read_to_end(&mut head);
            }
            None => self.note(id::ZIP_METHOD, "the storage cannot be read", None),
        }
        let length = head.len() as u64;
        self.weights(&mut Cursor::new(head), 0, length)
    }

    /// Numbers by their place in the archive, unless their first bytes say what else they are.
    pub(crate) fn raw_weights(&mut self, source: &mut dyn Source, member: &Member) -> io::Result<()> {
        let in_place = member.method == 0 && member.data_offset > 0;
        let kind = if in_place {
            detect(&mut Window::new(source, member.data_offset, member.compressed)?)?
        } else {
            Kind::Empty
        };
        let is_bare = matches!(kind, Kind::Other | Kind::Protobuf | Kind::Packed(ringfence_format::codec::Codec::Zlib));
        let is_text = member.name.ends_with(b".json") || member.name.ends_with(b".py");
        if in_place && is_bare && !is_text {
            return self.storage(source, member, None);
        }
        let Some(mut content) = self.content(source, member)? else { return Ok(()) };
        self.inspect(content.source());
        Ok(())
    }
}

/// Names of the Python sources of an archive, but for those that TorchScript writes.
fn python_sources(archive: &Archive) -> Vec<String> {
    let names = archive.members.iter().filter(|member| member.name.ends_with(b".py") && member.size > 0);
    names.map(Member::name_lossy).collect()
}

fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN).map(|name| format!("`{}`", printable(name, 60))).collect();
    shown.join(", ")
}
