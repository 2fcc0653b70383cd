//! Zip, gzip, npy and safetensors: what a plain file gives, what each contradiction is called, and that nothing panics.

use std::io::{Cursor, Read, Write};

use proptest::prelude::*;
use ringfence_format::{
    codec::{self, Codec, End},
    npy::{self, Header, NpyError},
    safetensors::{self, Flaw, SafetensorsError},
    sevenz, tar,
    zip::{self, Archive, Listed, Note, ZipError},
};

/// One stored or deflated member, with fields that may be made to lie.
#[derive(Clone)]
struct Entry {
    name: &'static [u8],
    local_name: &'static [u8],
    content: Vec<u8>,
    method: u16,
    flags: u16,
    listed: bool,
}

impl Entry {
    fn new(name: &'static [u8], content: &[u8]) -> Self {
        Self { name, local_name: name, content: content.to_vec(), method: 0, flags: 0, listed: true }
    }
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn archive(entries: &[Entry], comment: &[u8]) -> Vec<u8> {
    let (mut out, mut directory, mut count) = (Vec::new(), Vec::new(), 0_u16);
    for entry in entries {
        let packed = if entry.method == 8 { deflate(&entry.content) } else { entry.content.clone() };
        let number = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
        let fields = |name: &[u8], flags: u16| {
            let name = u16::try_from(name.len()).unwrap();
            let mut fields = [flags.to_le_bytes(), entry.method.to_le_bytes(), [0; 2], [0; 2]].concat();
            fields.extend(zip::checksum(&entry.content).to_le_bytes());
            fields.extend([number(packed.len()), number(entry.content.len())].concat());
            fields.extend([name.to_le_bytes(), [0; 2]].concat());
            fields
        };
        let start = number(out.len());
        out.extend([b"PK\x03\x04\x14\0", fields(entry.local_name, 0).as_slice(), entry.local_name, &packed].concat());
        if entry.listed {
            count += 1;
            directory.extend(
                [b"PK\x01\x02\x14\0\x14\0", fields(entry.name, entry.flags).as_slice(), &[0; 10], &start, entry.name]
                    .concat(),
            );
        }
    }
    let (start, length) = (u32::try_from(out.len()).unwrap(), u32::try_from(directory.len()).unwrap());
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    out.extend([length.to_le_bytes(), start.to_le_bytes()].concat());
    out.extend(u16::try_from(comment.len()).unwrap().to_le_bytes());
    out.extend(comment);
    out
}

fn read(bytes: &[u8]) -> Archive {
    zip::read(&mut Cursor::new(bytes)).unwrap()
}

fn content(bytes: &[u8], archive: &Archive, index: usize) -> Vec<u8> {
    let mut source = Cursor::new(bytes);
    let mut out = Vec::new();
    archive.members[index].open(&mut source).unwrap().unwrap().read_to_end(&mut out).unwrap();
    out
}

#[test]
fn a_plain_archive_has_no_notes() {
    let mut deflated = Entry::new(b"b", &[7; 5_000]);
    deflated.method = 8;
    let bytes = archive(&[Entry::new(b"a", b"hello"), deflated], b"a comment");
    let found = read(&bytes);
    assert_eq!(found.notes, []);
    assert_eq!(content(&bytes, &found, 0), b"hello");
    assert_eq!(content(&bytes, &found, 1), [7; 5_000]);
}

#[test]
fn each_contradiction_has_its_note() {
    let plain = Entry::new(b"a", b"hello");
    let with = |change: fn(&mut Entry)| {
        let mut entry = plain.clone();
        change(&mut entry);
        read(&archive(&[entry], b"")).notes
    };
    let renamed = with(|entry| entry.local_name = b"b");
    assert_eq!(renamed, [Note::NameDiffers { central: b"a".to_vec(), local: b"b".to_vec() }]);
    assert!(with(|entry| entry.flags = 1).contains(&Note::EncryptionFlag { name: b"a".to_vec(), flags: 1 }));
    assert!(with(|entry| entry.method = 77).contains(&Note::Method { name: b"a".to_vec(), method: 77 }));
    let twice = read(&archive(&[plain.clone(), plain.clone()], b""));
    assert_eq!(twice.notes, [Note::DuplicateName { name: b"a".to_vec() }]);
    let folded = read(&archive(&[plain.clone(), Entry::new(b"A", b"x")], b""));
    assert_eq!(folded.notes, [Note::SameNameFolded { name: b"A".to_vec() }]);
    let inner = archive(std::slice::from_ref(&plain), b"");
    let notes = read(&archive(&[plain], &inner)).notes;
    assert!(notes.iter().any(|note| matches!(note, Note::CommentHoldsArchive { .. })), "{notes:?}");
    assert!(notes.iter().any(|note| matches!(note, Note::SeveralEnds { .. })), "{notes:?}");
}

#[test]
fn bytes_outside_of_members_are_noted() {
    let plain = archive(&[Entry::new(b"a", b"hello")], b"");
    let prepended = [b"GIF89a".as_slice(), &plain].concat();
    let found = read(&prepended);
    assert_eq!(found.notes, [Note::Prepended { bytes: 6 }]);
    assert_eq!(content(&prepended, &found, 0), b"hello");
    let appended = [plain.as_slice(), b"tail"].concat();
    assert_eq!(read(&appended).notes, [Note::Appended { offset: plain.len() as u64, bytes: 4 }]);
}

#[test]
fn members_without_an_entry_are_listed() {
    let mut hidden = Entry::new(b"hidden", b"secret");
    hidden.listed = false;
    let bytes = archive(&[hidden, Entry::new(b"a", b"hello")], b"");
    let found = read(&bytes);
    assert_eq!(found.notes, [Note::LocalOnly { name: b"hidden".to_vec(), offset: 0 }]);
    assert_eq!(found.members[1].listed, Listed::Local);
    assert_eq!(content(&bytes, &found, 1), b"secret");
    let cut = &bytes[..60];
    assert!(read(cut).notes.contains(&Note::NoEndRecord));
    assert!(matches!(zip::read(&mut Cursor::new(b"no archive")), Err(ZipError::NotZip)));
}

#[test]
fn gzip_is_bounded_and_tells_how_it_ended() {
    let pack = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let two = [pack(b"one "), pack(b"two")].concat();
    let gunzip = |bytes: &[u8], most| codec::inflate(&mut Cursor::new(bytes), Codec::Gzip, most).unwrap();
    let whole = gunzip(&two, 100);
    assert_eq!((whole.bytes.as_slice(), whole.end, whole.members), (&b"one two"[..], End::Whole, 2));
    let bomb = gunzip(&pack(&vec![0; 1 << 20]), 1_000);
    assert_eq!((bomb.bytes.len(), bomb.end), (1_000, End::TooLarge));
    assert_eq!(gunzip(&two[..two.len() - 3], 100).end, End::Broken);
    assert_eq!(gunzip(&[two.as_slice(), b"xyz"].concat(), 100).end, End::Trailing);
}

fn npy(version: u8, header: &str) -> Vec<u8> {
    let mut bytes = [npy::MAGIC.as_slice(), &[version, 0]].concat();
    if version == 1 {
        bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    } else {
        bytes.extend(u32::try_from(header.len()).unwrap().to_le_bytes());
    }
    bytes.extend(header.as_bytes());
    bytes
}

#[test]
fn npy_headers() {
    let parse = |version, header: &str| Header::read(&mut Cursor::new(npy(version, header)));
    let plain = parse(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2L), }   \n").unwrap();
    assert_eq!((plain.shape.as_slice(), plain.data_bytes(), plain.has_objects()), (&[3, 2][..], Some(48), false));
    let fields = parse(3, "{'descr': [('a', '<i4'), ('b', '|S3', (2,))], 'fortran_order': True, 'shape': ()}").unwrap();
    assert_eq!((fields.data_bytes(), fields.fortran_order), (Some(10), true));
    assert!(parse(2, "{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}").unwrap().has_objects());
    let evil = "{'descr': __import__('os').system('echo'), 'fortran_order': False, 'shape': (1,)}";
    assert!(matches!(parse(1, evil), Err(NpyError::NotLiteral { offset: 20 })));
    assert!(matches!(parse(1, "{'descr': '<f8', 'shape': (1,)}"), Err(NpyError::Field { field: "fortran_order" })));
    assert!(matches!(
        parse(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"),
        Err(NpyError::Field { field: "shape" })
    ));
    assert!(matches!(parse(9, "{}"), Err(NpyError::Version { major: 9, minor: 0 })));
}

fn tensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn safetensors_flaws() {
    let audit = |header: &str, data| safetensors::audit(&mut Cursor::new(tensors(header, data)));
    let flaws = |header: &str, data| audit(header, data).unwrap().flaws;
    let entry = |name: &str, start: u64, end: u64| {
        format!(r#""{name}":{{"dtype":"F32","shape":[{}],"data_offsets":[{start},{end}]}}"#, (end - start) / 4)
    };
    let plain = audit(&format!(r#"{{"__metadata__":{{"k":"v"}},{}}}"#, entry("a", 0, 8)), 8).unwrap();
    assert_eq!((plain.table().unwrap().len(), plain.metadata.len()), (1, 1));
    let two = |first, second| format!("{{{first},{second}}}");
    let start = |header: &str| 8 + header.len() as u64;
    let hole = two(entry("a", 0, 8), entry("b", 12, 16));
    assert_eq!(flaws(&hole, 16), [Flaw::Hole { offset: start(&hole) + 8, bytes: 4 }]);
    assert_eq!(flaws(&two(entry("a", 0, 8), entry("b", 4, 12)), 12), [Flaw::Overlap { name: "b".to_owned() }]);
    assert!(flaws(&two(entry("a", 0, 8), entry("a", 0, 8)), 8).contains(&Flaw::DuplicateKey { name: "a".to_owned() }));
    let short = format!("{{{}}}", entry("a", 0, 8));
    assert_eq!(flaws(&short, 9), [Flaw::Trailing { offset: start(&short) + 8, bytes: 1 }]);
    assert!(flaws(&short, 4).contains(&Flaw::OutOfBounds { name: "a".to_owned() }));
    let negative = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,8]}}"#;
    assert!(flaws(negative, 8).contains(&Flaw::Number { name: "a".to_owned(), field: "data_offsets" }));
    let huge = r#"{"a":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,8]}}"#;
    assert_eq!(flaws(huge, 8), [Flaw::SizeDiffers { name: "a".to_owned(), expected: None, found: 8 }]);
    let mut lying = tensors("{}", 0);
    lying[7] = 0x7f;
    assert!(matches!(safetensors::audit(&mut Cursor::new(lying)), Err(SafetensorsError::HeaderTruncated { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn foreign_bytes_never_panic(kind in 0..4_usize, edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12), cut in any::<prop::sample::Index>()) {
        let mut bytes = match kind {
            0 => archive(&[Entry::new(b"a", b"hello"), Entry::new(b"b", b"world")], b"comment"),
            1 => npy(1, "{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (3,)}"),
            2 => tensors(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8),
            _ => b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\xcc\x4a\x04\0\0\0\0\0\0\0\0\0".to_vec(),
        };
        for (place, value) in edits {
            let at = place.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        if let Ok(archive) = zip::read(&mut Cursor::new(&bytes)) {
            for member in &archive.members {
                if let Ok(Some(reader)) = member.open(&mut Cursor::new(&bytes)) {
                    let mut out = Vec::new();
                    let _ = reader.take(10_000).read_to_end(&mut out);
                }
            }
        }
        let _ = Header::read(&mut Cursor::new(&bytes));
        let _ = safetensors::audit(&mut Cursor::new(&bytes));
        let _ = codec::inflate(&mut Cursor::new(&bytes), Codec::Gzip, 10_000);
        for codec in [Codec::Zlib, Codec::Deflate, Codec::Bzip2, Codec::Xz, Codec::Lzma, Codec::Zstd, Codec::Lz4] {
            let inflated = codec::inflate(&mut Cursor::new(&bytes), codec, 10_000).unwrap();
            assert!(inflated.bytes.len() <= 10_000 && inflated.consumed <= bytes.len() as u64);
        }
        if let Ok(archive) = tar::read(&mut Cursor::new(&bytes)) {
            assert!(archive.members.iter().all(|member| member.data_offset + member.size <= bytes.len() as u64));
        }
        let _ = sevenz::walk(&mut Cursor::new(&bytes), &mut |_, content| {
            std::io::copy(&mut content.take(10_000), &mut std::io::sink()).is_ok()
        });
    }
}
