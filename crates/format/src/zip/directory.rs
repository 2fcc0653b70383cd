//! End records and the central directory (APPNOTE §4.3.12 to §4.3.16).

use std::io::{self, Read, Seek};

use super::{
    Archive, CENTRAL_SIGNATURE, DEFLATE_RATIO_MAX, DIRECTORY_BYTES_MAX, END_SIGNATURE, Fields, LOCAL_SIGNATURE, Listed,
    MEMBERS_MAX, Member, Note, TAIL_BYTES_MAX, bytes_at,
};

/// Length of an end record without its comment.
pub(super) const END_BYTES: u64 = 22;
/// Newest version needed that loaders accept (6.3).
const VERSION_NEEDED_MAX: u16 = 63;

/// One end record, zip64 folded in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndRecord {
    /// Where the plain record begins.
    pub(super) offset: u64,
    /// First byte of the trailing records (the zip64 record, if there is one).
    pub(super) records_start: u64,
    /// End of the comment.
    pub(super) end: u64,
    pub(super) comment_bytes: u64,
    entries: u64,
    directory_bytes: u64,
    directory_offset: u64,
    zip64_differs: Option<u64>,
    /// Whether the comment ends exactly at the end of the file.
    exact: bool,
}

/// Every end record within [`TAIL_BYTES_MAX`] of the end, in file order.
pub(super) fn end_records(source: &mut (impl Read + Seek + ?Sized), length: u64) -> io::Result<Vec<EndRecord>> {
    let tail_start = length.saturating_sub(TAIL_BYTES_MAX);
    let tail = bytes_at(source, tail_start, TAIL_BYTES_MAX)?;
    let mut ends = Vec::new();
    for at in memchr::memmem::find_iter(&tail, &END_SIGNATURE) {
        let Some(record) = tail.get(at..).filter(|rest| rest.len() as u64 >= END_BYTES) else { continue };
        let fields = Fields(record);
        let offset = tail_start + at as u64;
        let comment_bytes = u64::from(fields.u16(20));
        let end = offset + END_BYTES + comment_bytes;
        let mut found = EndRecord {
            offset,
            records_start: offset,
            end: end.min(length),
            comment_bytes: comment_bytes.min(length - offset - END_BYTES),
            entries: u64::from(fields.u16(10)),
            directory_bytes: u64::from(fields.u32(12)),
            directory_offset: u64::from(fields.u32(16)),
            zip64_differs: None,
            exact: end == length,
        };
        fold_zip64(source, &mut found)?;
        ends.push(found);
    }
    Ok(ends)
}

/// Reads the zip64 record that a locator before `end` points to.
fn fold_zip64(source: &mut (impl Read + Seek + ?Sized), end: &mut EndRecord) -> io::Result<()> {
    let Some(locator_offset) = end.offset.checked_sub(20) else { return Ok(()) };
    let locator = bytes_at(source, locator_offset, 20)?;
    if !locator.starts_with(b"PK\x06\x07") {
        return Ok(());
    }
    let stated = Fields(&locator).u64(8);
    // The record normally stands right before the locator; prepended bytes shift it against the stated offset.
    for offset in [locator_offset.checked_sub(56), Some(stated)].into_iter().flatten() {
        let record = bytes_at(source, offset, 56)?;
        if record.len() < 56 || !record.starts_with(b"PK\x06\x06") {
            continue;
        }
        let fields = Fields(&record);
        let (entries, bytes, directory) = (fields.u64(32), fields.u64(40), fields.u64(48));
        let agrees = |plain: u64, limit: u64, wide: u64| plain == limit || plain == wide;
        if !(agrees(end.entries, 0xffff, entries)
            && agrees(end.directory_bytes, 0xffff_ffff, bytes)
            && agrees(end.directory_offset, 0xffff_ffff, directory))
        {
            end.zip64_differs = Some(offset);
        }
        (end.entries, end.directory_bytes, end.directory_offset) = (entries, bytes, directory);
        end.records_start = offset.min(locator_offset);
        return Ok(());
    }
    Ok(())
}

/// The end record that most loaders take: the last one whose comment ends the file, else the last one.
pub(super) fn choose(ends: &[EndRecord]) -> Option<&EndRecord> {
    ends.iter().rev().find(|end| end.exact).or_else(|| ends.last())
}

/// Reads the directory that `end` announces, in both places where loaders look for it, with the local headers.
pub(super) fn read_all(
    source: &mut (impl Read + Seek + ?Sized),
    length: u64,
    end: &EndRecord,
    archive: &mut Archive,
    covered: &mut Vec<(u64, u64)>,
) -> io::Result<()> {
    if let Some(offset) = end.zip64_differs {
        archive.note(Note::Zip64Differs { offset });
    }
    if end.directory_bytes > DIRECTORY_BYTES_MAX {
        archive.note(Note::DirectoryTooLong { bytes: end.directory_bytes });
        archive.truncated = true;
    }
    let stated = end.directory_offset;
    let counted = end.records_start.checked_sub(end.directory_bytes);
    let mut places = Vec::new();
    for (offset, shift) in [(counted, counted.map(|counted| counted.wrapping_sub(stated))), (Some(stated), Some(0))] {
        let (Some(offset), Some(shift)) = (offset, shift) else { continue };
        if offset >= length || places.iter().any(|(seen, _)| *seen == offset) {
            continue;
        }
        if end.entries == 0 && end.directory_bytes == 0 || bytes_at(source, offset, 4)? == CENTRAL_SIGNATURE {
            places.push((offset, shift));
        }
    }
    match places.as_slice() {
        [] => archive.note(Note::DirectoryMissing { offset: stated }),
        [(counted, _), (stated, _)] if end.entries != 0 => {
            archive.note(Note::TwoDirectories { stated: *stated, counted: *counted });
        }
        _ => {}
    }
    for (offset, shift) in places {
        let found = read_directory(source, length, end, offset, shift, archive)?;
        covered.push((offset, offset.saturating_add(found)));
    }
    Ok(())
}

/// Reads the entries from `offset`; returns the bytes that they take.
fn read_directory(
    source: &mut (impl Read + Seek + ?Sized),
    length: u64,
    end: &EndRecord,
    offset: u64,
    shift: u64,
    archive: &mut Archive,
) -> io::Result<u64> {
    let bytes = bytes_at(source, offset, end.directory_bytes.min(DIRECTORY_BYTES_MAX))?;
    let mut rest = bytes.as_slice();
    let mut found = 0_u64;
    while !rest.is_empty() {
        let at = offset + (bytes.len() - rest.len()) as u64;
        let fields = Fields(rest);
        let (name, extra, comment) =
            (usize::from(fields.u16(28)), usize::from(fields.u16(30)), usize::from(fields.u16(32)));
        let entry_bytes = 46 + name + extra + comment;
        if !rest.starts_with(&CENTRAL_SIGNATURE) || rest.len() < entry_bytes {
            archive.note(Note::DirectoryBroken { offset: at });
            break;
        }
        if archive.members.len() >= MEMBERS_MAX {
            archive.truncated = true;
            break;
        }
        let (member, contradicting) = read_entry(source, length, rest, shift, archive)?;
        archive.push(member);
        if let Some(member) = contradicting {
            archive.push(member);
        }
        found += 1;
        rest = rest.get(entry_bytes..).unwrap_or_default();
    }
    // Without zip64 the count is kept modulo 65,536.
    if found != end.entries && found & 0xffff != end.entries {
        archive.note(Note::CountDiffers { stated: end.entries, found });
    }
    Ok((bytes.len() - rest.len()) as u64)
}

fn read_entry(
    source: &mut (impl Read + Seek + ?Sized),
    length: u64,
    entry: &[u8],
    shift: u64,
    archive: &mut Archive,
) -> io::Result<(Member, Option<Member>)> {
    let fields = Fields(entry);
    let name_bytes = usize::from(fields.u16(28));
    let name = entry.get(46..46 + name_bytes).unwrap_or_default().to_vec();
    let extra = entry.get(46 + name_bytes..46 + name_bytes + usize::from(fields.u16(30))).unwrap_or_default();
    let mut wide = [u64::from(fields.u32(24)), u64::from(fields.u32(20)), u64::from(fields.u32(42))];
    fold_zip64_extra(extra, &mut wide);
    let [size, compressed, header_offset] = wide;
    let mut member = Member {
        name,
        local_name: None,
        method: fields.u16(10),
        flags: fields.u16(8),
        crc32: fields.u32(16),
        compressed,
        size,
        header_offset: header_offset.wrapping_add(shift),
        data_offset: 0,
        listed: Listed::Central,
        unix_mode: (fields.u16(4) >> 8 == 3).then(|| fields.u32(38) >> 16),
    };
    let version = fields.u16(6);
    if version & 0xff > VERSION_NEEDED_MAX {
        archive.note(Note::VersionNeeded { name: member.name.clone(), version });
    }
    let mut contradicting = None;
    match local_header(source, length, member.header_offset)? {
        Some(local) => {
            if compare(&mut member, &local, archive) {
                let (method, crc32, compressed, size) = (local.method, local.crc32, local.compressed, local.size);
                let listed = Listed::Contradicting;
                contradicting = Some(Member { method, crc32, compressed, size, listed, ..member.clone() });
            }
        }
        None => archive.note(Note::LocalMissing { name: member.name.clone(), offset: member.header_offset }),
    }
    note_member(&member, archive);
    Ok((member, contradicting))
}

/// What a local header says.
pub(super) struct LocalHeader {
    pub(super) name: Vec<u8>,
    pub(super) version: u16,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc32: u32,
    pub(super) compressed: u64,
    pub(super) size: u64,
    pub(super) data_offset: u64,
}

/// The local header at `offset`, if one is there.
pub(super) fn local_header(
    source: &mut (impl Read + Seek + ?Sized),
    length: u64,
    offset: u64,
) -> io::Result<Option<LocalHeader>> {
    if offset >= length {
        return Ok(None);
    }
    // Names and extra fields are mostly short: one read suffices for them.
    let mut bytes = bytes_at(source, offset, 512)?;
    let (version, flags, method, crc32, compressed, size, name_bytes, extra_bytes) = {
        let fields = Fields(&bytes);
        if bytes.len() < 30 || !bytes.starts_with(&LOCAL_SIGNATURE) {
            return Ok(None);
        }
        (
            fields.u16(4),
            fields.u16(6),
            fields.u16(8),
            fields.u32(14),
            u64::from(fields.u32(18)),
            u64::from(fields.u32(22)),
            usize::from(fields.u16(26)),
            usize::from(fields.u16(28)),
        )
    };
    let whole = 30 + name_bytes + extra_bytes;
    if whole > bytes.len() {
        bytes = bytes_at(source, offset, whole as u64)?;
    }
    let name = bytes.get(30..30 + name_bytes).unwrap_or_default().to_vec();
    let mut wide = [size, compressed, 0];
    fold_zip64_extra(bytes.get(30 + name_bytes..whole).unwrap_or_default(), &mut wide);
    let [size, compressed, _] = wide;
    let data_offset = offset + whole as u64;
    Ok(Some(LocalHeader { name, version, flags, method, crc32, compressed, size, data_offset }))
}

/// Replaces those of size, compressed size and header offset that are all ones by the zip64 extra field (§4.5.3).
fn fold_zip64_extra(mut extra: &[u8], wide: &mut [u64; 3]) {
    while extra.len() >= 4 {
        let fields = Fields(extra);
        let (id, bytes) = (fields.u16(0), usize::from(fields.u16(2)));
        let body = extra.get(4..(4 + bytes).min(extra.len())).unwrap_or_default();
        if id == 1 {
            let mut at = 0;
            for value in wide.iter_mut().filter(|value| **value == 0xffff_ffff) {
                if body.len() >= at + 8 {
                    *value = Fields(body).u64(at);
                    at += 8;
                }
            }
            return;
        }
        extra = extra.get(4 + bytes..).unwrap_or_default();
    }
}

/// Notes where the two differ; whether the local header leads to other bytes.
fn compare(member: &mut Member, local: &LocalHeader, archive: &mut Archive) -> bool {
    let mut other_bytes = false;
    member.listed = Listed::Both;
    member.data_offset = local.data_offset;
    if local.name != member.name {
        archive.note(Note::NameDiffers { central: member.name.clone(), local: local.name.clone() });
        member.local_name = Some(local.name.clone());
    }
    // With bit 3 the local header may leave sizes and CRC to the data descriptor.
    let deferred = local.flags & 8 != 0;
    let wide = |number: u32| u64::from(number);
    let fields: [(&'static str, u64, u64, bool); 4] = [
        ("method", u64::from(member.method), u64::from(local.method), false),
        ("crc32", wide(member.crc32), wide(local.crc32), deferred && local.crc32 == 0),
        (
            "compressed size",
            member.compressed,
            local.compressed,
            deferred && matches!(local.compressed, 0 | 0xffff_ffff),
        ),
        ("size", member.size, local.size, deferred && matches!(local.size, 0 | 0xffff_ffff)),
    ];
    for (field, central, local, excused) in fields {
        if central != local && !excused {
            other_bytes |= field != "crc32";
            archive.note(Note::FieldDiffers { name: member.name.clone(), field, central, local });
        }
    }
    // Bits that change what is read: encryption, patched data, strong encryption, masked header.
    if (member.flags ^ local.flags) & 0x2061 != 0 {
        let (central, local) = (u64::from(member.flags), u64::from(local.flags));
        archive.note(Note::FieldDiffers { name: member.name.clone(), field: "flags", central, local });
    }
    if local.version & 0xff > VERSION_NEEDED_MAX {
        archive.note(Note::VersionNeeded { name: member.name.clone(), version: local.version });
    }
    member.flags |= local.flags;
    other_bytes
}

/// Notes that need only the member itself.
pub(super) fn note_member(member: &Member, archive: &mut Archive) {
    let name = || member.name.clone();
    if member.is_marked_encrypted() {
        archive.note(Note::EncryptionFlag { name: name(), flags: member.flags });
    }
    if member.flags & 0x20 != 0 {
        archive.note(Note::PatchFlag { name: name() });
    }
    if !member.is_readable() {
        archive.note(Note::Method { name: name(), method: member.method });
    }
    let (compressed, size) = (member.compressed, member.size);
    let impossible = match member.method {
        0 => compressed != size,
        8 => size > compressed.saturating_mul(DEFLATE_RATIO_MAX).saturating_add(DEFLATE_RATIO_MAX),
        _ => false,
    };
    if impossible {
        archive.note(Note::SizeLie { name: name(), compressed, size });
    }
}
