//! What a contradiction in a zip archive is called.

use ringfence_format::zip::Note;
use ringfence_schema::finding::printable;

use crate::rules::{Rule, id};

/// Rule, message and place of a contradiction.
pub(super) fn describe(note: &Note) -> (&'static Rule, String, Option<u64>) {
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
