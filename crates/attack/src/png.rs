//! Pictures as PNG (ISO/IEC 15948) without compression: blocks of plain bytes are the whole of deflate that it needs.

use crate::ball::Range;

/// A picture of shape `[1, height, width]` (grey) or `[3, height, width]` (red, green, blue), its values spread over `range`; `None`
/// for any other shape.
pub(crate) fn png(shape: &[usize], values: &[f32], range: Range) -> Option<Vec<u8>> {
    let [channels @ (1 | 3), height, width] = *shape else { return None };
    if values.len() != channels * height * width || values.is_empty() {
        return None;
    }
    let mut pixels = Vec::with_capacity(values.len() + height);
    for y in 0..height {
        pixels.push(0); // no filter
        for x in 0..width {
            for channel in 0..channels {
                pixels.push(level(values.get((channel * height + y) * width + x).copied()?, range));
            }
        }
    }
    let mut header = Vec::with_capacity(13);
    header.extend(u32::try_from(width).ok()?.to_be_bytes());
    header.extend(u32::try_from(height).ok()?.to_be_bytes());
    header.extend([8, if channels == 1 { 0 } else { 2 }, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut file, *b"IHDR", &header)?;
    chunk(&mut file, *b"IDAT", &stored(&pixels))?;
    chunk(&mut file, *b"IEND", &[])?;
    Some(file)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte's range")]
fn level(value: f32, range: Range) -> u8 {
    ((value - range.low()) / range.width() * 255.0).round().clamp(0.0, 255.0) as u8
}

fn chunk(file: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) -> Option<()> {
    file.extend(u32::try_from(data.len()).ok()?.to_be_bytes());
    file.extend(kind);
    file.extend(data);
    file.extend(crc(kind.iter().chain(data)).to_be_bytes());
    Some(())
}

/// A zlib stream (RFC 1950) of stored blocks (RFC 1951, section 3.2.4).
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = bytes.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % ADLER_MODULUS;
        b = (b + a) % ADLER_MODULUS;
    }
    stream.extend((b << 16 | a).to_be_bytes());
    stream
}

/// CRC-32 of ISO 3309.
fn crc<'b>(bytes: impl Iterator<Item = &'b u8>) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ CRC_POLYNOMIAL } else { crc >> 1 };
    !bytes.fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

const ADLER_MODULUS: u32 = 65_521;
const CRC_POLYNOMIAL: u32 = 0xedb8_8320;

#[cfg(test)]
mod tests {
    use super::{crc, stored};

    #[test]
    fn sums_of_the_standards() {
        // The check value of CRC-32, and RFC 1950's Adler-32 of "Wikipedia".
        assert_eq!(crc(b"123456789".iter()), 0xcbf4_3926);
        assert!(stored(b"Wikipedia").ends_with(&0x11e6_0398_u32.to_be_bytes()));
    }
}
