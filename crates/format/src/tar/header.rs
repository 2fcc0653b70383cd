//! One header block.
//!
//! Fields (POSIX.1-1988, `<tar.h>`): name 0..100, mode 100..108, size 124..136, checksum 148..156, type 156, link
//! 157..257, magic 257..263, prefix 345..500; GNU uses the prefix for other things and has its own magic.

/// What a block says.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: u8,
    pub(super) mode: u32,
    pub(super) size: u64,
    /// Whether a number stands where the checksum belongs.
    pub(super) is_summed: bool,
    /// Whether it says `ustar`, of either kind.
    pub(super) has_magic: bool,
    /// Whether the map of a sparse member goes on in another block.
    pub(super) more_map: bool,
}

/// Why a block is no header.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// Nothing but zeros: the end of an archive.
    Zero,
    /// Fewer than 512 bytes, or numbers that are none.
    Fields,
    /// A wrong checksum; what the fields say nevertheless.
    Checksum(Box<Header>),
}

impl Header {
    pub(super) fn parse(block: &[u8]) -> Result<Box<Self>, Unreadable> {
        let block: &[u8; 512] = block.first_chunk().ok_or(Unreadable::Fields)?;
        if block.iter().all(|byte| *byte == 0) {
            return Err(Unreadable::Zero);
        }
        let field = |start: usize, bytes: usize| block.get(start..start + bytes).unwrap_or_default();
        let (Some(size), Some(stated)) = (number(field(124, 12)), number(field(148, 8))) else {
            return Err(Unreadable::Fields);
        };
        let magic = field(257, 8);
        let is_posix = magic.starts_with(b"ustar\0");
        let mut name = text(field(0, 100)).to_vec();
        let prefix = text(field(345, 155));
        let kind = block.get(156).copied().unwrap_or(0);
        if is_posix && !prefix.is_empty() && !matches!(kind, b'L' | b'K' | b'S') {
            name = [prefix, b"/", &name].concat();
        }
        let header = Box::new(Self {
            name,
            link: text(field(157, 100)).to_vec(),
            kind,
            mode: number(field(100, 8)).and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0),
            size,
            is_summed: field(148, 8).iter().any(u8::is_ascii_digit),
            has_magic: is_posix || magic.starts_with(b"ustar "),
            more_map: block.get(482).is_some_and(|flag| *flag != 0),
        });
        // The checksum counts its own field as spaces; some old writers summed signed bytes.
        let outside = || block.iter().enumerate().filter(|(at, _)| !(148..156).contains(at)).map(|(_, byte)| *byte);
        let unsigned: u64 = 256 + outside().map(u64::from).sum::<u64>();
        let signed: i64 = 256 + outside().map(|byte| i64::from(byte.cast_signed())).sum::<i64>();
        if stated == unsigned || i64::try_from(stated) == Ok(signed) {
            Ok(header)
        } else {
            Err(Unreadable::Checksum(header))
        }
    }

    /// Whether it says something of the member behind it.
    pub(super) fn is_extension(&self) -> bool {
        matches!(self.kind, b'x' | b'g' | b'X' | b'L' | b'K')
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits between spaces and NULs, or GNU's base 256.
fn number(field: &[u8]) -> Option<u64> {
    if let [0x80, rest @ ..] = field {
        return rest.iter().try_fold(0_u64, |value, byte| value.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let digits = text(field).trim_ascii();
    digits.iter().try_fold(0_u64, |value, byte| {
        (b'0'..=b'7').contains(byte).then(|| value.checked_mul(8)?.checked_add(u64::from(byte - b'0')))?
    })
}
