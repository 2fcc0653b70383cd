//! Tar archives, torch's oldest format and NeMo among them.
//!
//! Every member is looked at by its content; names, links and special files by what unpacking them would do; and what
//! readers disagree on is a finding of its own. A file that is a tar archive and a pickle at once (a header's name field
//! is the author's to fill) is read both ways: `torch.load` tries tar first, others do not.

use std::{collections::HashSet, io};

use ringfence_format::tar::{self, Archive, Kind, Member, Note, TarError};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    pickle::nested,
    rules::{Rule, id},
    source::{Source, Window, bytes_at, length},
};

/// Notes whose bytes are looked at.
const OUTSIDE_MAX: usize = 100;
/// Most pickles of a `storages` or `tensors` member that are followed.
const ROWS_MAX: u32 = 100_000;
/// How far the next pickle of such a member is looked for at once, in bytes.
const STRIDE_BYTES: u64 = 1 << 20;

impl Audit<'_> {
    pub(crate) fn tar(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let archive = match tar::read(source) {
            Ok(archive) => archive,
            Err(TarError::Io(error)) => return Err(error),
            Err(error) => {
                self.note(id::TAR_BROKEN, &error.to_string(), Some(0));
                self.carve(source)?;
                return Ok("tar");
            }
        };
        let head = bytes_at(source, 0, tar::BLOCK_BYTES)?;
        if nested::is_start(&head) || nested::has_global_line(&head) {
            self.note(id::TAR_CONFLICT, "the first header is a pickle as well", Some(0));
            self.within("as-pickle", |audit| audit.pickles(source, 0, false))?;
        }
        for note in &archive.notes {
            let (rule, message, offset) = describe(note);
            self.note(rule, &message, offset);
        }
        if archive.truncated {
            self.note(id::TAR_LIMIT, "more members or oddities than are kept", None);
        }
        self.tar_names(&archive);
        let has = |name: &str| archive.members.iter().any(|member| plain(&member.name_lossy()) == name);
        let is_torch = has("pickle") && has("storages") && has("tensors");
        for member in archive.members.iter().filter(|member| matches!(member.kind, Kind::File | Kind::Sparse)) {
            let name = member.name_lossy();
            let mut window = Window::new(source, member.data_offset, member.size)?;
            self.within(&name, |audit| {
                if is_torch && matches!(plain(&name), "storages" | "tensors") {
                    audit.tar_rows(&mut window)
                } else {
                    audit.inspect(&mut window);
                    Ok(())
                }
            })?;
        }
        for note in archive.notes.iter().take(OUTSIDE_MAX) {
            if let Note::Junk { offset, bytes } | Note::Padding { offset, bytes } = note {
                let mut window = Window::new(source, *offset, *bytes)?;
                self.within(&format!("outside@{offset:#x}"), |audit| audit.inspect_rest(&mut window, 0))?;
            }
        }
        Ok(match (is_torch, has("model_config.yaml")) {
            (true, _) => "pytorch-tar",
            (_, true) => "nemo",
            _ => "tar",
        })
    }

    /// What unpacking the members would do.
    fn tar_names(&mut self, archive: &Archive) {
        let mut links: HashSet<String> = HashSet::new();
        for member in &archive.members {
            let name = member.name_lossy();
            let own = plain(&name);
            let shown = printable(&name, 160);
            let at = Some(member.header_offset);
            if leaves_folder(&name) {
                self.note(id::TAR_PATH, &format!("member `{shown}` leaves the folder"), at);
            }
            if name.chars().any(char::is_control) {
                self.note(id::TAR_PATH, &format!("member `{shown}` has control characters in its name"), at);
            }
            let through = own.match_indices('/').map(|(at, _)| own.get(..at).unwrap_or_default());
            let replaces = !matches!(member.kind, Kind::SymbolicLink | Kind::HardLink) && links.contains(own);
            if replaces || through.into_iter().any(|folder| links.contains(folder)) {
                self.note(id::TAR_LINK, &format!("member `{shown}` is written through a link"), at);
            }
            match member.kind {
                Kind::SymbolicLink | Kind::HardLink => {
                    self.tar_link(member, own);
                    links.insert(own.trim_end_matches('/').to_owned());
                }
                Kind::Device => self.note(id::TAR_SPECIAL, &format!("member `{shown}` is a device or pipe"), at),
                Kind::Sparse => {
                    self.note(id::TAR_SPARSE, &format!("member `{shown}` has holes that were not filled"), at);
                }
                Kind::File if member.mode & 0o6000 != 0 => {
                    self.note(id::TAR_SPECIAL, &format!("member `{shown}` runs with its owner's rights"), at);
                }
                Kind::File | Kind::Directory => {}
            }
        }
    }

    fn tar_link(&mut self, member: &Member, own: &str) {
        let link = String::from_utf8_lossy(&member.link).into_owned();
        let folder = own.rsplit_once('/').map_or("", |(folder, _)| folder);
        // Symbolic links count from their own folder, hard links from the archive's.
        let depth = if member.kind == Kind::SymbolicLink {
            folder.split('/').filter(|part| !part.is_empty()).count()
        } else {
            0
        };
        if climbs(&link, depth) {
            let message = format!("link `{}` leads to `{}`", printable(own, 120), printable(&link, 120));
            self.note(id::TAR_LINK, &message, Some(member.header_offset));
        }
    }

    /// Members of torch's oldest format: pickles with raw numbers between them
    /// (`torch/serialization.py`, `_legacy_load`, `legacy_load`).
    fn tar_rows(&mut self, source: &mut dyn Source) -> io::Result<()> {
        let whole = length(source)?;
        self.weights(source, 0, whole)?;
        let mut at = 0;
        for _ in 0..ROWS_MAX {
            let Some(next) = next_pickle(source, at)? else { return Ok(()) };
            let report = self.row(source, next, false, 1)?;
            at = report.stop.max(next + 1);
        }
        self.note(id::TAR_LIMIT, "more pickles than are followed", Some(at));
        Ok(())
    }
}

/// Where the next pickle of protocol 2 begins that runs to its end.
fn next_pickle(source: &mut dyn Source, from: u64) -> io::Result<Option<u64>> {
    let mut at = from;
    loop {
        let bytes = bytes_at(source, at, STRIDE_BYTES)?;
        for found in memchr::memmem::find_iter(&bytes, b"\x80\x02") {
            if nested::is_start(bytes.get(found..).unwrap_or_default()) {
                return Ok(Some(at + found as u64));
            }
        }
        if (bytes.len() as u64) < STRIDE_BYTES {
            return Ok(None);
        }
        // One byte back, so that a pickle is not cut in two; its opcode may still stand behind the edge.
        at += STRIDE_BYTES - 2;
    }
}

/// Whether unpacking under this name writes outside of the chosen folder, on any system.
pub(crate) fn leaves_folder(name: &str) -> bool {
    name.starts_with(['/', '\\'])
        || name.as_bytes().get(1) == Some(&b':')
        || name.split(['/', '\\']).any(|part| part == "..")
}

/// Whether a link leads above the folder that is `depth` levels above it.
fn climbs(link: &str, depth: usize) -> bool {
    if link.starts_with(['/', '\\']) || link.as_bytes().get(1) == Some(&b':') {
        return true;
    }
    let mut level = i64::try_from(depth).unwrap_or(i64::MAX);
    for part in link.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => level -= 1,
            _ => level = level.saturating_add(1),
        }
        if level < 0 {
            return true;
        }
    }
    false
}

/// Without the `./` that some archivers write.
fn plain(name: &str) -> &str {
    let mut name = name;
    while let Some(rest) = name.strip_prefix("./") {
        name = rest;
    }
    name.trim_end_matches('/')
}

fn describe(note: &Note) -> (&'static Rule, String, Option<u64>) {
    let show = |name: &[u8]| printable(&String::from_utf8_lossy(name), 160);
    match note {
        Note::Checksum { offset } => (id::TAR_CONFLICT, "a header's checksum is wrong".to_owned(), Some(*offset)),
        Note::Junk { offset, bytes } => {
            (id::TAR_OUTSIDE, format!("{bytes} bytes stand where a header should be"), Some(*offset))
        }
        Note::AfterEnd { offset } => {
            (id::TAR_CONFLICT, "members follow the end of the archive".to_owned(), Some(*offset))
        }
        Note::Truncated { name } => (id::TAR_BROKEN, format!("member `{}` ends early", show(name)), None),
        Note::SizeOnLink { name } => {
            (id::TAR_CONFLICT, format!("`{}` has no data of its own but states a size", show(name)), None)
        }
        Note::Padding { offset, bytes } => {
            (id::TAR_OUTSIDE, format!("{bytes} bytes of padding are not zero"), Some(*offset))
        }
        Note::Extension { offset } => (id::TAR_BROKEN, "an extension header cannot be read".to_owned(), Some(*offset)),
        Note::SizeDiffers { name } => {
            (id::TAR_CONFLICT, format!("two headers give `{}` different sizes", show(name)), None)
        }
        Note::UnknownType { name, kind } => {
            (id::TAR_CONFLICT, format!("member `{}` is of the unknown type {kind:#04x}", show(name)), None)
        }
        Note::DuplicateName { name } => (id::TAR_DUPLICATE, format!("member `{}` is there twice", show(name)), None),
        // New kinds of contradiction are still contradictions.
        _ => (id::TAR_CONFLICT, format!("{note:?}"), None),
    }
}
