//! Compressed streams around a content: one after the other, one inside the other, with and without a header.

use std::io::{self, Cursor, Read as _, SeekFrom};

use ringfence_format::codec::{self, Codec, End, Inflated};

use crate::{
    audit::Audit,
    detect::{Kind, detect},
    rules::id,
    source::{Source, Window, bytes_at, length},
    stream::is_old_pickle,
};

/// Expansion at which a compressed stream is called a bomb, if it is large as well.
const BOMB_RATIO: u64 = 200;
/// Size from which the ratio counts, in bytes.
const BOMB_BYTES: u64 = 64 << 20;
/// Longest content that is tried as a stream without a header of its own, in bytes.
const BARE_BYTES_MAX: u64 = 64 << 20;
/// Shortest content of a stream without a header that is believed, in bytes.
const BARE_CONTENT_BYTES_MIN: usize = 16;
/// Skippable frames that are looked at.
const SKIPPED_MAX: usize = 64;

impl Audit<'_> {
    /// A compressed stream and what is in it; `None` where only its first bytes looked like one.
    pub(crate) fn packed(&mut self, source: &mut dyn Source, codec: Codec) -> io::Result<Option<&'static str>> {
        let most = self.bomb_room(length(source)?);
        source.seek(SeekFrom::Start(0))?;
        let inflated = codec::inflate(source, codec, most)?;
        // Two bytes are all that tells zlib, and thirteen plausible ones lzma.
        let is_weak = matches!(codec, Codec::Zlib | Codec::Lzma);
        if is_weak && inflated.bytes.is_empty() && inflated.end == End::Broken {
            return Ok(None);
        }
        self.unpacked(source, codec, inflated)?;
        Ok(Some(codec.name()))
    }

    /// A content of no known format as a stream without a signature: joblib's old files, zlib with a small window, raw
    /// deflate. It is believed if it ends where the content ends.
    pub(crate) fn bare(&mut self, source: &mut dyn Source) -> io::Result<Option<&'static str>> {
        let whole = length(source)?;
        if whole > BARE_BYTES_MAX {
            return Ok(None);
        }
        if bytes_at(source, 0, 4)? == *b"ZF0x" {
            return self.zfile(source);
        }
        for codec in [Codec::Zlib, Codec::Deflate] {
            source.seek(SeekFrom::Start(0))?;
            let inflated = codec::inflate(source, codec, self.bomb_room(whole))?;
            let ends = inflated.end == End::Whole || inflated.end == End::TooLarge;
            if ends && inflated.bytes.len() >= BARE_CONTENT_BYTES_MIN {
                self.unpacked(source, codec, inflated)?;
                return Ok(Some(codec.name()));
            }
        }
        Ok(None)
    }

    /// joblib before 0.10 (`joblib/numpy_pickle_compat.py`, `read_zfile`): `ZF`, the length as 19 characters of
    /// hexadecimal, or 20 by Python 2, and a zlib stream of a pickle or of an array's bare numbers.
    fn zfile(&mut self, source: &mut dyn Source) -> io::Result<Option<&'static str>> {
        let start = if bytes_at(source, 21, 1)? == *b" " { 22 } else { 21 };
        let mut window = Window::new(source, start, u64::MAX)?;
        let inflated = codec::inflate(&mut window, Codec::Zlib, self.room())?;
        if inflated.bytes.is_empty() {
            return Ok(None);
        }
        let mut content = Cursor::new(&inflated.bytes);
        if inflated.end == End::Whole && detect(&mut content)? == Kind::Other && !is_old_pickle(&mut content) {
            let length = inflated.bytes.len() as u64;
            self.inflated = self.inflated.saturating_add(length);
            self.within("zlib", |audit| audit.weights(&mut Cursor::new(&inflated.bytes), 0, length))?;
        } else {
            self.unpacked(&mut window, Codec::Zlib, inflated)?;
        }
        Ok(Some("joblib-zfile"))
    }

    /// How many bytes `packed` bytes may inflate to: no more than what shows that they are a bomb.
    fn bomb_room(&self, packed: u64) -> u64 {
        self.room().min(packed.max(1).saturating_mul(BOMB_RATIO + 1).max(BOMB_BYTES + 1))
    }

    /// Looks at what a stream held, at what stands behind it, and at how it ended.
    fn unpacked(&mut self, source: &mut dyn Source, codec: Codec, inflated: Inflated) -> io::Result<()> {
        let Inflated { bytes, end, consumed, skipped, .. } = inflated;
        let packed = length(source)?;
        let most = self.bomb_room(packed);
        let unpacked = bytes.len() as u64;
        self.inflated = self.inflated.saturating_add(unpacked);
        if unpacked > BOMB_BYTES && unpacked / packed.max(1) > BOMB_RATIO {
            self.note(id::ZIP_BOMB, &format!("{packed} bytes expand to {unpacked} and more"), None);
        }
        match end {
            End::Whole => {}
            End::TooLarge => self.note(id::GEN_WRAPPER, &format!("larger than {most} bytes when inflated"), None),
            End::Broken => self.note(id::GEN_WRAPPER, "the compressed stream is broken", Some(consumed)),
            End::Trailing => {
                self.note(id::GEN_WRAPPER, "bytes follow the compressed stream", Some(consumed));
                self.inspect_rest(source, consumed)?;
            }
        }
        for (start, bytes) in skipped.into_iter().take(SKIPPED_MAX) {
            let mut window = Window::new(source, start, bytes)?;
            self.within(&format!("skipped@{start:#x}"), |audit| audit.inspect_rest(&mut window, 0))?;
        }
        self.within(codec.name(), |audit| audit.inspect(&mut Cursor::new(bytes)));
        Ok(())
    }

    /// The first bytes of a compressed content, for those who only want to know what it is.
    pub(crate) fn peek_packed(&self, source: &mut dyn Source, codec: Codec, bytes_max: u64) -> io::Result<Vec<u8>> {
        source.seek(SeekFrom::Start(0))?;
        let most = bytes_max.min(self.room());
        Ok(codec::inflate(&mut source.take(bytes_max), codec, most)?.bytes)
    }
}
