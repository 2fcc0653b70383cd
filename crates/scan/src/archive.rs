//! Zip archives and what torch and NumPy make of them.
//!
//! Every member is looked at by its content, in both readings where directory and local headers disagree. Pickles come
//! first, because they name the storages: a member that a pickle names as a storage is measured and searched for what
//! is no number; every other member goes through [`Audit::inspect`]. A member that claims to be encrypted or packed in
//! an unknown way is also read as if it were stored: some loaders do not look at flags.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Cursor, Read},
};

use ringfence_format::{
    codec::{self, Codec},
    zip::{self, Archive, Member, Note, ZipError},
};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    detect::{Kind, detect},
    pickle::{Storage, nested},
    rules::id,
    source::{Source, Window, bytes_at, is_blank_from, length},
    stream::is_old_pickle,
    tar::leaves_folder,
    torch::{Layout, Part, is_torch_pickle},
};

mod notes;

use notes::describe;

/// Longest stored member whose checksum is computed, in bytes; storages are left to the store's own digests.
pub(crate) const CHECKSUM_BYTES_MAX: u64 = 16 << 20;
/// Expansion at which a member is called a bomb, if it is large as well.
const BOMB_RATIO: u64 = 200;
/// Size from which the ratio counts, in bytes.
const BOMB_BYTES: u64 = 64 << 20;
/// Size of all such members together from which an archive is called a bomb, in bytes.
const BOMB_MEMBERS_BYTES: u64 = 256 << 20;
/// How much of each member of a bomb is looked at, in bytes.
const BOMB_SAMPLE_BYTES: u64 = 64 << 10;
/// Longest prepended part that is looked at as a content of its own, in bytes.
const PREPENDED_BYTES_MAX: u64 = 64 << 20;

/// A member's content, wherever it is.
pub(crate) enum Content<'a> {
    Stored(Window<'a>),
    Inflated(Cursor<Vec<u8>>),
}

impl Content<'_> {
    pub(crate) fn source(&mut self) -> &mut dyn Source {
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
        self.bomb(source, archive)?;
        let layout = Layout::of(archive);
        self.layout(source, archive, &layout)?;
        let mut storages: HashMap<String, Storage> = HashMap::new();
        let mut pickles = HashSet::new();
        for (index, member) in archive.members.iter().enumerate().filter(|(_, member)| is_torch_pickle(member)) {
            let name = member.name_lossy();
            let named = self.within(&name, |audit| audit.torch_pickle(source, member, layout.is_script()))?;
            let folder = name.get(..name.len().saturating_sub(4)).unwrap_or_default().to_owned();
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
                Some(storage) => audit.storage(source, member, Some(storage)),
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

    /// Many members that are small enough each.
    fn bomb(&mut self, source: &mut dyn Source, archive: &Archive) -> io::Result<()> {
        let expanding = archive.members.iter().filter(|member| is_expanding(member));
        let total = expanding.fold(0_u64, |total, member| total.saturating_add(member.size));
        let whole = length(source)?;
        if total > BOMB_MEMBERS_BYTES && total / whole.max(1) > BOMB_RATIO {
            self.note(id::ZIP_BOMB, &format!("the members of {whole} bytes expand to {total}"), None);
            self.is_bomb = true;
        }
        Ok(())
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
        if report.end == crate::pickle::End::Stop && rest > 0 && !is_blank_from(source, report.stop)? {
            self.note(id::PKL_TRAILING, &format!("{rest} bytes follow the pickle"), Some(report.stop));
            self.inspect_rest(source, report.stop)?;
        }
        Ok(report.storages)
    }

    fn member(&mut self, source: &mut dyn Source, member: &Member, layout: &Layout) -> io::Result<()> {
        let part = layout.part(member);
        if part == Part::Weights {
            return self.raw_weights(source, member);
        }
        let Some(mut content) = self.content(source, member)? else { return Ok(()) };
        if part == Part::Script {
            return self.script_member(content.source());
        }
        self.inspect(content.source());
        Ok(())
    }

    /// Opens a member: stored ones in place, deflated ones in memory.
    pub(crate) fn content<'a>(
        &mut self,
        source: &'a mut dyn Source,
        member: &Member,
    ) -> io::Result<Option<Content<'a>>> {
        if matches!(member.method, 0) && member.listed != zip::Listed::Central {
            if member.compressed <= CHECKSUM_BYTES_MAX {
                let bytes = bytes_at(source, member.data_offset, member.compressed)?;
                self.check(member, bytes.len() as u64, crc32(&bytes));
            }
            return Ok(Some(Content::Stored(Window::new(source, member.data_offset, member.compressed)?)));
        }
        let most = if self.is_bomb && is_expanding(member) { BOMB_SAMPLE_BYTES } else { u64::MAX };
        let room = self.room().min(most);
        let mut bytes = Vec::new();
        let Some(reader) = member.open(source)? else {
            // Method and missing headers have their own notes; without content the member is unread.
            self.note(id::ZIP_METHOD, "the member's content cannot be read", None);
            self.as_stored(source, member)?;
            return Ok(None);
        };
        let broken = reader.take(room).read_to_end(&mut bytes).is_err();
        let inflated = bytes.len() as u64;
        self.inflated = self.inflated.saturating_add(inflated);
        if inflated > BOMB_BYTES && inflated / member.compressed.max(1) > BOMB_RATIO {
            self.note(id::ZIP_BOMB, &format!("{} bytes expand to {inflated} and more", member.compressed), None);
        }
        if broken {
            self.note(id::ZIP_BROKEN, "the member's packed stream is broken", Some(inflated));
        } else if inflated >= room && member.size > inflated {
            self.note(id::ZIP_LIMIT, &format!("only the first {inflated} bytes were inflated"), None);
        } else {
            self.check(member, inflated, crc32(&bytes));
        }
        if broken || member.is_marked_encrypted() {
            self.as_stored(source, member)?;
        }
        Ok(Some(Content::Inflated(Cursor::new(bytes))))
    }

    /// The raw bytes of a member whose own method gives nothing, or that claims to be encrypted: as they are, and
    /// inflated. Chance makes neither a content of a known kind.
    fn as_stored(&mut self, source: &mut dyn Source, member: &Member) -> io::Result<()> {
        if member.listed == zip::Listed::Central {
            return Ok(());
        }
        let mut window = Window::new(source, member.data_offset, member.compressed)?;
        let is_known = |kind: Kind| {
            !matches!(kind, Kind::Empty | Kind::Other | Kind::Protobuf | Kind::Packed(Codec::Zlib | Codec::Lzma))
        };
        if is_known(detect(&mut window)?) || is_old_pickle(&mut window) {
            self.within("as-stored", |audit| audit.inspect(&mut window));
        } else if member.method != 8 {
            let head = bytes_at(&mut window, 0, CHECKSUM_BYTES_MAX)?;
            let bytes = codec::inflate(&mut head.as_slice(), Codec::Deflate, self.room())?.bytes;
            self.inflated = self.inflated.saturating_add(bytes.len() as u64);
            let mut cursor = Cursor::new(bytes);
            if is_known(detect(&mut cursor)?) || is_old_pickle(&mut cursor) {
                self.within("as-deflated", |audit| audit.inspect(&mut cursor));
            }
        }
        Ok(())
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
        if leaves_folder(&name) {
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
        for (offset, bytes) in archive.comments.iter().take(100) {
            let mut window = Window::new(source, *offset, *bytes)?;
            self.within(&format!("comment@{offset:#x}"), |audit| audit.inspect_rest(&mut window, 0))?;
        }
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

/// Whether a member claims to expand like a bomb.
fn is_expanding(member: &Member) -> bool {
    member.size / member.compressed.max(1) > BOMB_RATIO
}

fn crc32(bytes: &[u8]) -> u32 {
    ringfence_format::zip::checksum(bytes)
}
