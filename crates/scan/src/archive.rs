//! Zip archives and what torch and NumPy make of them.
//!
//! Every member is looked at by its content, in both readings where directory and local headers disagree. Pickles come
//! first, because they name the storages: a member that a pickle names as a storage is only measured and its first
//! bytes looked at; every other member goes through [`Audit::inspect`].

use std::{
    collections::{HashMap, HashSet},
    io::{self, Cursor, Read},
};

use ringfence_format::zip::{self, Archive, Member, MemberReader, Note, ZipError};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    detect::program,
    pickle::{Storage, nested},
    rules::{Rule, id},
    source::{Source, Window, bytes_at, length},
    stream::is_old_pickle,
};

/// Longest stored member whose checksum is computed, in bytes; storages are left to the store's own digests.
const CHECKSUM_BYTES_MAX: u64 = 16 << 20;
/// First bytes of a storage that are looked at.
const STORAGE_HEAD_BYTES: u64 = 512;
/// Expansion at which a member is called a bomb, if it is large as well.
const BOMB_RATIO: u64 = 200;
/// Size from which the ratio counts, in bytes.
const BOMB_BYTES: u64 = 64 << 20;
/// Longest prepended part that is looked at as a content of its own, in bytes.
const PREPENDED_BYTES_MAX: u64 = 64 << 20;

/// A member's content, wherever it is.
enum Content<'a> {
    Stored(Window<'a>),
    Inflated(Cursor<Vec<u8>>),
}

impl Content<'_> {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Stored(window) => window,
            Self::Inflated(cursor) => cursor,
        }
    }
}

impl Audit<'_> {
    pub(crate) fn zip(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let archive = match zip::read(source) {
            Ok(archive) => archive,
            Err(ZipError::Io(error)) => return Err(error),
            Err(error) => {
                self.note(id::ZIP_BROKEN, &error.to_string(), Some(0));
                self.carve(source)?;
                return Ok("zip");
            }
        };
        self.zip_archive(source, &archive)
    }

    /// An archive whose directory was read.
    pub(crate) fn zip_archive(&mut self, source: &mut dyn Source, archive: &Archive) -> io::Result<&'static str> {
        archive.notes.iter().for_each(|note| self.archive_note(note));
        if archive.truncated {
            self.note(id::ZIP_LIMIT, "more members or oddities than are kept", None);
        }
        let layout = Layout::of(archive);
        if layout.script {
            self.note(id::TCH_SCRIPT, "holds TorchScript code", None);
        }
        let mut storages: HashMap<String, Storage> = HashMap::new();
        let mut pickles = HashSet::new();
        for (index, member) in archive.members.iter().enumerate().filter(|(_, member)| is_torch_pickle(member)) {
            let name = member.name_lossy();
            let named = self.within(&name, |audit| audit.torch_pickle(source, member, layout.script))?;
            let folder = name.strip_suffix(".pkl").unwrap_or(&name).to_owned();
            storages.extend(named.into_iter().map(|(key, storage)| (format!("{folder}/{key}"), storage)));
            pickles.insert(index);
        }
        for (index, member) in archive.members.iter().enumerate() {
            self.check_name(member);
            if pickles.contains(&index) || member.is_directory() {
                continue;
            }
            let name = member.name_lossy();
            let storage = storages.remove(&name);
            self.within(&name, |audit| match storage {
                Some(storage) => audit.storage(source, member, storage),
                None => audit.member(source, member, &layout),
            })?;
        }
        let mut missing: Vec<String> = storages.into_keys().collect();
        missing.sort_unstable();
        for name in missing.iter().take(10) {
            self.note(id::TCH_STORAGE, &format!("storage `{}` is missing", printable(name, 120)), None);
        }
        self.outside(source, archive)?;
        Ok(layout.format)
    }

    /// A pickle that may name storages: its findings, and the storages.
    fn torch_pickle(
        &mut self,
        source: &mut dyn Source,
        member: &Member,
        script: bool,
    ) -> io::Result<HashMap<String, Storage>> {
        let Some(mut content) = self.content(source, member)? else { return Ok(HashMap::new()) };
        let source = content.source();
        let head = bytes_at(source, 0, 64)?;
        if !nested::is_start(&head) && !is_old_pickle(source) {
            self.inspect(source);
            return Ok(HashMap::new());
        }
        let report = self.row(source, 0, script, 1)?;
        let rest = length(source)?.saturating_sub(report.stop);
        if report.end == crate::pickle::End::Stop && rest > 0 {
            self.note(id::PKL_TRAILING, &format!("{rest} bytes follow the pickle"), Some(report.stop));
            self.inspect_rest(source, report.stop)?;
        }
        Ok(report.storages)
    }

    fn member(&mut self, source: &mut dyn Source, member: &Member, layout: &Layout) -> io::Result<()> {
        let Some(mut content) = self.content(source, member)? else { return Ok(()) };
        let is_script = layout.script && member.name.windows(6).any(|part| part == b"/code/");
        if is_script {
            self.script_member(content.source())
        } else {
            self.inspect(content.source());
            Ok(())
        }
    }

    /// TorchScript source, or the debug pickle beside it.
    fn script_member(&mut self, source: &mut dyn Source) -> io::Result<()> {
        let head = bytes_at(source, 0, 64)?;
        if nested::is_start(&head) {
            self.pickles(source, 0, true)?;
            return Ok(());
        }
        let text = bytes_at(source, 0, CHECKSUM_BYTES_MAX)?;
        for operator in
            ["from_file", "aten::save", "aten.save", "torch.save", "PythonOp", "torch.load", "ops.aten.from_file"]
        {
            if let Some(at) = memchr::memmem::find(&text, operator.as_bytes()) {
                self.note(id::TCH_SCRIPT_FILE, &format!("TorchScript code uses `{operator}`"), Some(at as u64));
            }
        }
        self.inspect(source);
        Ok(())
    }

    /// The bytes of a storage: length, and whether they begin like something else than numbers.
    fn storage(&mut self, source: &mut dyn Source, member: &Member, storage: Storage) -> io::Result<()> {
        if storage.bytes.is_some_and(|bytes| bytes != member.size) {
            let message =
                format!("the pickle says {} bytes, the member has {}", storage.bytes.unwrap_or(0), member.size);
            self.note(id::TCH_STORAGE, &message, None);
        }
        let mut head = Vec::new();
        match member.open(source)? {
            Some(reader) => {
                // A broken deflate stream shows when the storage is loaded; here it only hides its head.
                let _ = reader.take(STORAGE_HEAD_BYTES).read_to_end(&mut head);
            }
            None => self.note(id::ZIP_METHOD, "the storage cannot be read", None),
        }
        let what = match head.as_slice() {
            [b'P', b'K', 3, 4, ..] => Some("zip archive"),
            head => program(head),
        };
        if let Some(what) = what {
            self.note(id::TCH_PAYLOAD, &format!("the storage begins like a {what}"), Some(0));
        }
        if nested::is_start(&head) || nested::has_global_line(&head) {
            let Some(mut content) = self.content(source, member)? else { return Ok(()) };
            let bytes = bytes_at(content.source(), 0, STORAGE_HEAD_BYTES)?;
            self.carve_bytes(&bytes, content.source());
        }
        Ok(())
    }

    /// Opens a member: stored ones in place, deflated ones in memory.
    fn content<'a>(&mut self, source: &'a mut dyn Source, member: &Member) -> io::Result<Option<Content<'a>>> {
        if matches!(member.method, 0) && member.listed != zip::Listed::Central {
            if member.compressed <= CHECKSUM_BYTES_MAX {
                let bytes = bytes_at(source, member.data_offset, member.compressed)?;
                self.check(member, bytes.len() as u64, crc32(&bytes));
            }
            return Ok(Some(Content::Stored(Window::new(source, member.data_offset, member.compressed)?)));
        }
        let room = self.room();
        let mut bytes = Vec::new();
        let Some(reader) = member.open(source)? else {
            // Method and missing headers have their own notes; without content the member is unread.
            self.note(id::ZIP_METHOD, "the member's content cannot be read", None);
            return Ok(None);
        };
        let broken = matches!(reader, MemberReader::Deflated(_)) && reader.take(room).read_to_end(&mut bytes).is_err();
        let inflated = bytes.len() as u64;
        self.inflated = self.inflated.saturating_add(inflated);
        if inflated > BOMB_BYTES && inflated / member.compressed.max(1) > BOMB_RATIO {
            self.note(id::ZIP_BOMB, &format!("{} bytes expand to {inflated} and more", member.compressed), None);
        }
        if broken {
            self.note(id::ZIP_BROKEN, "the member's deflate stream is broken", Some(inflated));
        } else if inflated >= room && member.size > inflated {
            self.note(id::ZIP_LIMIT, &format!("only the first {inflated} bytes were inflated"), None);
        } else {
            self.check(member, inflated, crc32(&bytes));
        }
        Ok(Some(Content::Inflated(Cursor::new(bytes))))
    }

    fn check(&mut self, member: &Member, bytes: u64, crc: u32) {
        // A streaming member that only its local header announces leaves both to a descriptor.
        if member.listed == zip::Listed::Local && member.flags & 8 != 0 {
            return;
        }
        if bytes != member.size {
            self.note(id::ZIP_FIELDS, &format!("the member says {} bytes and has {bytes}", member.size), None);
        } else if crc != member.crc32 {
            self.note(id::ZIP_CRC, &format!("checksum is {crc:08x}, the directory says {:08x}", member.crc32), None);
        }
    }

    fn check_name(&mut self, member: &Member) {
        let name = member.name_lossy();
        let shown = printable(&name, 160);
        let leaves = name.starts_with(['/', '\\'])
            || name.split(['/', '\\']).any(|part| part == "..")
            || name.as_bytes().get(1) == Some(&b':');
        if leaves {
            self.note(id::ZIP_PATH, &format!("member `{shown}` leaves the folder"), Some(member.header_offset));
        }
        if member.is_symlink() {
            self.note(id::ZIP_PATH, &format!("member `{shown}` is a symbolic link"), Some(member.header_offset));
        }
        if name.chars().any(char::is_control) {
            self.note(
                id::ZIP_NAMES,
                &format!("member `{shown}` has control characters in its name"),
                Some(member.header_offset),
            );
        }
    }

    /// Bytes before, between and behind the members.
    fn outside(&mut self, source: &mut dyn Source, archive: &Archive) -> io::Result<()> {
        for note in archive.notes.iter().take(100) {
            let (name, offset, bytes) = match note {
                Note::Prepended { bytes } => ("prepended", 0, *bytes),
                Note::Appended { offset, bytes } => ("appended", *offset, *bytes),
                Note::Gap { offset, bytes, zero: false } => ("gap", *offset, *bytes),
                Note::CommentHoldsArchive { offset, bytes } => ("comment", *offset, *bytes),
                _ => continue,
            };
            let mut window = Window::new(source, offset, bytes.min(PREPENDED_BYTES_MAX))?;
            self.within(&format!("{name}@{offset:#x}"), |audit| audit.inspect(&mut window));
        }
        Ok(())
    }

    fn archive_note(&mut self, note: &Note) {
        let (rule, message, offset) = describe(note);
        self.note(rule, &message, offset);
    }
}

/// What the names of the members say of the archive.
struct Layout {
    format: &'static str,
    script: bool,
}

impl Layout {
    fn of(archive: &Archive) -> Self {
        let ends = |suffix: &[u8]| archive.members.iter().any(|member| member.name.ends_with(suffix));
        let holds =
            |part: &[u8]| archive.members.iter().any(|member| memchr::memmem::find(&member.name, part).is_some());
        let is_torch = ends(b"data.pkl");
        let script = is_torch && holds(b"/code/");
        let is_npz = !archive.members.is_empty() && archive.members.iter().all(|member| member.name.ends_with(b".npy"));
        let format = match (is_torch, script, is_npz) {
            (_, true, _) => "torchscript",
            (true, ..) => "pytorch-zip",
            (.., true) => "npz",
            _ if holds(b"config.json") && ends(b".h5") => "keras",
            _ => "zip",
        };
        Self { format, script }
    }
}

/// The pickles whose storages are members beside them.
fn is_torch_pickle(member: &Member) -> bool {
    member.name.ends_with(b"data.pkl") || member.name.ends_with(b"constants.pkl")
}

fn crc32(bytes: &[u8]) -> u32 {
    ringfence_format::zip::checksum(bytes)
}

fn describe(note: &Note) -> (&'static Rule, String, Option<u64>) {
    let show = |name: &[u8]| printable(&String::from_utf8_lossy(name), 160);
    match note {
        Note::NoEndRecord => (id::ZIP_BROKEN, "there is no end record".to_owned(), None),
        Note::SeveralEnds { offsets } => {
            (id::ZIP_ENDS, format!("end records at {offsets:?}"), offsets.first().copied())
        }
        Note::TwoDirectories { stated, counted } => {
            (id::ZIP_ENDS, format!("a directory at {stated} (stated) and at {counted} (counted back)"), Some(*stated))
        }
        Note::DirectoryMissing { offset } => {
            (id::ZIP_BROKEN, "there is no directory where the end record points".to_owned(), Some(*offset))
        }
        Note::DirectoryBroken { offset } => (id::ZIP_BROKEN, "the directory breaks off".to_owned(), Some(*offset)),
        Note::DirectoryTooLong { bytes } => (id::ZIP_LIMIT, format!("a directory of {bytes} bytes"), None),
        Note::CountDiffers { stated, found } => {
            (id::ZIP_FIELDS, format!("the end record says {stated} members, the directory has {found}"), None)
        }
        Note::Zip64Differs { offset } => {
            (id::ZIP_ENDS, "the zip64 end record contradicts the plain one".to_owned(), Some(*offset))
        }
        Note::LocalMissing { name, offset } => {
            (id::ZIP_BROKEN, format!("member `{}` has no local header", show(name)), Some(*offset))
        }
        Note::NameDiffers { central, local } => {
            (id::ZIP_NAMES, format!("the directory says `{}`, the local header `{}`", show(central), show(local)), None)
        }
        Note::FieldDiffers { name, field, central, local } => {
            let message = format!(
                "{field} of `{}` is {central:#x} in the directory and {local:#x} in the local header",
                show(name)
            );
            (id::ZIP_FIELDS, message, None)
        }
        Note::DuplicateName { name } => (id::ZIP_DUPLICATE, format!("member `{}` is there twice", show(name)), None),
        Note::SameNameFolded { name } => {
            (id::ZIP_DUPLICATE, format!("member `{}` differs from another only by case or slash", show(name)), None)
        }
        Note::EncryptionFlag { name, flags } => {
            (id::ZIP_ENCRYPTED, format!("member `{}` is marked as encrypted (flags {flags:#06x})", show(name)), None)
        }
        Note::VersionNeeded { name, version } => {
            (id::ZIP_VERSION, format!("member `{}` claims to need version {version}", show(name)), None)
        }
        Note::PatchFlag { name } => {
            (id::ZIP_VERSION, format!("member `{}` is marked as patched data", show(name)), None)
        }
        Note::Method { name, method } => {
            (id::ZIP_METHOD, format!("member `{}` uses method {method}", show(name)), None)
        }
        Note::SizeLie { name, compressed, size } => (
            id::ZIP_FIELDS,
            format!("member `{}` cannot be {compressed} bytes packed and {size} unpacked", show(name)),
            None,
        ),
        Note::Outside { name } => (id::ZIP_OVERLAP, format!("member `{}` reaches outside", show(name)), None),
        Note::Overlap { name } => (id::ZIP_OVERLAP, format!("member `{}` overlaps another", show(name)), None),
        Note::Prepended { bytes } => (id::ZIP_OUTSIDE, format!("{bytes} bytes stand before the archive"), Some(0)),
        Note::Appended { offset, bytes } => {
            (id::ZIP_OUTSIDE, format!("{bytes} bytes follow the archive"), Some(*offset))
        }
        Note::Gap { offset, bytes, .. } => {
            (id::ZIP_OUTSIDE, format!("{bytes} bytes between members belong to none"), Some(*offset))
        }
        Note::LocalOnly { name, offset } => {
            (id::ZIP_UNLISTED, format!("member `{}` is not in the directory", show(name)), Some(*offset))
        }
        Note::CommentHoldsArchive { offset, bytes } => {
            (id::ZIP_ENDS, format!("the comment of {bytes} bytes holds zip records"), Some(*offset))
        }
        // New kinds of contradiction are still contradictions.
        _ => (id::ZIP_FIELDS, format!("{note:?}"), None),
    }
}
