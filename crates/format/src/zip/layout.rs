//! Who owns which byte: gaps, overlaps, prepended and appended bytes, members without an entry, hidden end records.

use std::io::{self, Read, Seek};

use super::{
    Archive, END_SIGNATURE, LOCAL_SIGNATURE, Listed, MEMBERS_MAX, Member, Note, bytes_at,
    directory::{self, EndRecord},
};

/// How much of a gap is looked at, in bytes.
const GAP_BYTES_MAX: u64 = 65_536;
/// Longest data descriptor: signature, CRC and two zip64 sizes.
const DESCRIPTOR_BYTES_MAX: u64 = 24;

/// Adds what the layout shows to `archive`. `covered` holds the extents of the directories.
pub(super) fn check(
    source: &mut (impl Read + Seek + ?Sized),
    length: u64,
    ends: &[EndRecord],
    archive: &mut Archive,
    covered: &mut Vec<(u64, u64)>,
) -> io::Result<()> {
    let chosen = directory::choose(ends).cloned();
    if let Some(end) = &chosen {
        covered.push((end.records_start, end.end));
    }
    note_extents(length, archive, covered);
    let members: Vec<(u64, u64)> = archive.members.iter().filter_map(extent).collect();
    note_ends(source, ends, &members, archive)?;
    let mut all = members;
    all.extend(covered.iter().copied());
    all.sort_unstable();
    let mut at = 0;
    let mut first = true;
    let mut index = 0;
    while index <= all.len() {
        let (start, end) = all.get(index).copied().unwrap_or((length, length));
        if start > at {
            let walked = uncovered(source, length, at..start, first, chosen.is_some(), archive)?;
            at = at.max(walked);
        }
        at = at.max(end);
        first = false;
        index += 1;
    }
    Ok(())
}

/// Bytes of a member with its header and data descriptor.
fn extent(member: &Member) -> Option<(u64, u64)> {
    (!matches!(member.listed, Listed::Central | Listed::Contradicting))
        .then(|| (member.header_offset, member.data_offset.saturating_add(member.compressed)))
}

fn note_extents(length: u64, archive: &mut Archive, directories: &[(u64, u64)]) {
    let mut extents: Vec<(u64, u64, usize)> = archive
        .members
        .iter()
        .enumerate()
        .filter_map(|(index, member)| extent(member).map(|(start, end)| (start, end, index)))
        .collect();
    extents.sort_unstable();
    // The same header announced by two directories is one member seen twice, not an overlap.
    extents.dedup_by(|later, earlier| later.0 == earlier.0 && later.1 == earlier.1);
    let mut reached = 0;
    let mut notes = Vec::new();
    for (start, end, index) in extents {
        let Some(member) = archive.members.get(index) else { continue };
        if start < reached {
            notes.push(Note::Overlap { name: member.name.clone() });
        }
        reached = reached.max(end);
        if end > length || directories.iter().any(|(first, last)| start < *last && *first < end) {
            notes.push(Note::Outside { name: member.name.clone() });
        }
    }
    for note in notes {
        archive.note(note);
    }
}

/// Notes end records outside member data, and remembers their comments.
fn note_ends(
    source: &mut (impl Read + Seek + ?Sized),
    ends: &[EndRecord],
    members: &[(u64, u64)],
    archive: &mut Archive,
) -> io::Result<()> {
    let outside = |end: &&EndRecord| !members.iter().any(|(first, last)| *first < end.offset && end.offset < *last);
    let offsets: Vec<u64> = ends.iter().filter(outside).map(|end| end.offset).collect();
    if offsets.len() > 1 {
        archive.note(Note::SeveralEnds { offsets });
    }
    // A second archive in the comment of the first ends the file too, so loaders may take either.
    for end in ends.iter().filter(|end| end.comment_bytes > 0 && outside(end)) {
        let offset = end.end.saturating_sub(end.comment_bytes);
        let comment = bytes_at(source, offset, end.comment_bytes)?;
        let holds = |signature: &[u8]| memchr::memmem::find(&comment, signature).is_some();
        if holds(&END_SIGNATURE) || holds(&LOCAL_SIGNATURE) {
            archive.note(Note::CommentHoldsArchive { offset, bytes: end.comment_bytes });
        } else {
            archive.comments.push((offset, end.comment_bytes));
        }
    }
    Ok(())
}

/// Looks at bytes that nobody owns; returns how far they were read as unlisted members.
fn uncovered(
    source: &mut (impl Read + Seek + ?Sized),
    length: u64,
    range: std::ops::Range<u64>,
    first: bool,
    has_end: bool,
    archive: &mut Archive,
) -> io::Result<u64> {
    let mut at = range.start;
    while at < range.end {
        let bytes = bytes_at(source, at, (range.end - at).min(GAP_BYTES_MAX))?;
        let Some(found) = memchr::memmem::find(&bytes, &LOCAL_SIGNATURE) else { break };
        let offset = at + found as u64;
        let Some(local) = directory::local_header(source, length, offset)?.filter(plausible) else {
            break;
        };
        if archive.members.len() >= MEMBERS_MAX {
            archive.truncated = true;
            return Ok(range.end);
        }
        note_bytes(&bytes, at, found as u64, range.end, length, first && at == range.start, archive);
        // A streaming member leaves its size to the descriptor: everything up to the next owner is taken for it.
        let compressed = match local.compressed {
            0 | 0xffff_ffff if local.flags & 8 != 0 => range.end.saturating_sub(local.data_offset),
            stated => stated.min(length.saturating_sub(local.data_offset)),
        };
        let member = Member {
            name: local.name,
            local_name: None,
            method: local.method,
            flags: local.flags,
            crc32: local.crc32,
            compressed,
            size: if local.flags & 8 != 0 && local.size == 0 && local.method == 8 { u64::MAX - 1 } else { local.size },
            header_offset: offset,
            data_offset: local.data_offset,
            listed: Listed::Local,
            unix_mode: None,
        };
        if has_end {
            archive.note(Note::LocalOnly { name: member.name.clone(), offset });
        }
        at = member.data_offset.saturating_add(compressed).max(offset + 1);
        archive.push(member);
    }
    // Without an end record the rest is what is left of a truncated archive, and that is noted already.
    if has_end && at < range.end {
        let bytes = bytes_at(source, at, (range.end - at).min(GAP_BYTES_MAX))?;
        note_bytes(&bytes, at, range.end - at, range.end, length, first && at == range.start, archive);
    }
    Ok(at.max(range.end))
}

/// Random bytes hold `PK\3\4` now and then; a header also has a known method and a short printable name.
fn plausible(local: &directory::LocalHeader) -> bool {
    local.version & 0xff < 100
        && matches!(local.method, 0 | 8 | 9 | 12 | 14 | 93 | 95 | 98 | 99)
        && !local.name.is_empty()
        && local.name.iter().all(|byte| *byte >= 0x20)
}

fn note_bytes(bytes: &[u8], offset: u64, count: u64, end: u64, length: u64, first: bool, archive: &mut Archive) {
    if count == 0 {
        return;
    }
    if first && offset == 0 {
        archive.note(Note::Prepended { bytes: count });
    } else if end == length && offset + count == length {
        archive.note(Note::Appended { offset, bytes: count });
    } else if !is_descriptor(bytes, count) {
        let seen = usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len());
        let zero = bytes.get(..seen).unwrap_or_default().iter().all(|byte| *byte == 0);
        archive.note(Note::Gap { offset, bytes: count, zero });
    }
}

/// Whether the bytes behind a member are its data descriptor (§4.3.9), with or without signature.
fn is_descriptor(bytes: &[u8], count: u64) -> bool {
    count <= DESCRIPTOR_BYTES_MAX
        && (matches!(count, 12 | 20) || matches!(count, 16 | 24) && bytes.starts_with(b"PK\x07\x08"))
}
