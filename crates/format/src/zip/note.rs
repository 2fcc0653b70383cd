//! What loaders may disagree on.

/// One contradiction or oddity of an archive. Names are raw bytes; offsets count from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Local headers, but no end record within reach: directory readers refuse it, streaming readers do not.
    NoEndRecord,
    /// Several end records outside member data; loaders differ in which they take.
    SeveralEnds {
        /// Where each begins.
        offsets: Vec<u64>,
    },
    /// The directory can be found in two places, by the stated offset and by counting back from the end record.
    TwoDirectories {
        /// The stated offset.
        stated: u64,
        /// Counted back.
        counted: u64,
    },
    /// The end record points outside the file or at something that is no directory.
    DirectoryMissing {
        /// Where it should be.
        offset: u64,
    },
    /// The directory ends early or holds something else than entries.
    DirectoryBroken {
        /// Where reading stopped.
        offset: u64,
    },
    /// The directory is longer than the reader's limit.
    DirectoryTooLong {
        /// Its stated length in bytes.
        bytes: u64,
    },
    /// The end record counts other entries than there are.
    CountDiffers {
        /// Entries that the end record states.
        stated: u64,
        /// Entries found.
        found: u64,
    },
    /// The zip64 end record contradicts the plain one.
    Zip64Differs {
        /// Where the zip64 record is.
        offset: u64,
    },
    /// No local header where the directory points.
    LocalMissing {
        /// Member.
        name: Vec<u8>,
        /// Where it should be.
        offset: u64,
    },
    /// The local header has another name than the directory.
    NameDiffers {
        /// In the directory.
        central: Vec<u8>,
        /// In the local header.
        local: Vec<u8>,
    },
    /// Sizes, CRC, method or flags differ between directory and local header.
    FieldDiffers {
        /// Member.
        name: Vec<u8>,
        /// Which field.
        field: &'static str,
        /// In the directory.
        central: u64,
        /// In the local header.
        local: u64,
    },
    /// The same name twice: some loaders take the first, some the last.
    DuplicateName {
        /// Member.
        name: Vec<u8>,
    },
    /// The same name but for case or kind of slash.
    SameNameFolded {
        /// The later member.
        name: Vec<u8>,
    },
    /// An encryption flag is set (some loaders ignore it and read on, some stop).
    EncryptionFlag {
        /// Member.
        name: Vec<u8>,
        /// Flags of directory and local header together.
        flags: u16,
    },
    /// A version needed to extract that stops some loaders (above 6.3).
    VersionNeeded {
        /// Member.
        name: Vec<u8>,
        /// As stored, ten times the version.
        version: u16,
    },
    /// Patched data flag (bit 5), which stops some loaders.
    PatchFlag {
        /// Member.
        name: Vec<u8>,
    },
    /// A method that this reader, and many loaders, do not know.
    Method {
        /// Member.
        name: Vec<u8>,
        /// Its number.
        method: u16,
    },
    /// Stated sizes that cannot be: stored with two sizes, or beyond what deflate can expand.
    SizeLie {
        /// Member.
        name: Vec<u8>,
        /// Bytes in the archive.
        compressed: u64,
        /// Bytes stated after inflation.
        size: u64,
    },
    /// A member's data reaches beyond the file or into the directory.
    Outside {
        /// Member.
        name: Vec<u8>,
    },
    /// Two members share bytes.
    Overlap {
        /// The later member.
        name: Vec<u8>,
    },
    /// Bytes before the first local header.
    Prepended {
        /// How many.
        bytes: u64,
    },
    /// Bytes after the end record.
    Appended {
        /// Where they begin.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// Bytes between members that belong to none.
    Gap {
        /// Where they begin.
        offset: u64,
        /// How many.
        bytes: u64,
        /// Whether all of them are zero (as far as the first 64 KiB).
        zero: bool,
    },
    /// A member that only a local header announces.
    LocalOnly {
        /// Member.
        name: Vec<u8>,
        /// Where its header is.
        offset: u64,
    },
    /// The archive comment holds zip signatures.
    CommentHoldsArchive {
        /// Where the comment begins.
        offset: u64,
        /// Its length in bytes.
        bytes: u64,
    },
}
