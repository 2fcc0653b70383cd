//! TensorBoard event files, as they grow: TFRecord framing with its checksums, and the few fields of `Event` that hold a
//! step and a scalar.
//!
//! Framing (tensorflow/core/lib/io/record_writer.h): length as u64, masked CRC-32C of the length, the bytes, masked
//! CRC-32C of the bytes; little-endian. Messages: `Event` (event.proto), `Summary` (summary.proto), `TensorProto`
//! (tensor.proto), read by an own minimal reader of the protobuf wire format, which skips everything else.
//!
//! [`EventFile`] is fed pieces in order and keeps at most one record of [`RECORD_BYTES_MAX`]; longer records (graphs,
//! pictures) are skipped. A record whose checksum is wrong ends the reading: behind it, nothing can be trusted to be a
//! record.
#![deny(clippy::indexing_slicing)]

use ringfence_schema::event::{Progress, Told};

use super::{
    Nonsense,
    names::{self, Meaning, Rank},
    numbers::whole,
};

/// The reader of one event file.
#[derive(Debug, Default)]
pub struct EventFile {
    held: Vec<u8>,
    /// Bytes of a long record that are still to come and are not looked at.
    skip: u64,
    broken: bool,
    /// The file lies in a folder for held-out data (Keras writes `train/` and `validation/`).
    evaluation: bool,
    /// What was said of the latest step.
    pending: Option<Progress>,
}

impl EventFile {
    /// A reader for the file at `path`, whose folders may say of what data it is.
    pub fn new(path: &str) -> Self {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let of_data = |name: &str| names::words(name).and_then(|words| names::section(&words)) == Some(true);
        Self { evaluation: folder.split('/').any(of_data), ..Self::default() }
    }

    /// How many of the next `most` bytes need not be read; the next piece begins behind them.
    pub(super) fn pass_over(&mut self, most: u64) -> u64 {
        let passed = if self.broken { most } else { self.skip.min(most) };
        self.skip = self.skip.saturating_sub(passed);
        passed
    }

    /// Takes the next bytes; what they say goes to `told`, values of one step together.
    ///
    /// # Errors
    /// [`Nonsense::Record`], once, when the framing is wrong; everything from there on is ignored.
    pub fn push(&mut self, bytes: &[u8], told: &mut dyn FnMut(Progress)) -> Result<(), Nonsense> {
        if self.broken {
            return Ok(());
        }
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= skipped as u64;
        self.held.extend_from_slice(bytes.get(skipped..).unwrap_or_default());
        let mut at = 0;
        let outcome = loop {
            match Record::read(self.held.get(at..).unwrap_or_default()) {
                Record::Whole(data, size) => {
                    let next = at + size;
                    if let Some(progress) = event(data, self.evaluation) {
                        merge_step(&mut self.pending, progress, told);
                    }
                    at = next;
                }
                Record::Long(size) => {
                    let here = self.held.len() - at;
                    self.skip = size.saturating_sub(here as u64);
                    at = at.saturating_add(usize::try_from(size).unwrap_or(usize::MAX)).min(self.held.len());
                }
                Record::Partial => break Ok(()),
                Record::Broken => {
                    self.broken = true;
                    break Err(Nonsense::Record);
                }
            }
        };
        self.held.drain(..at.min(self.held.len()));
        if self.broken {
            self.held = Vec::new();
        }
        if let Some(progress) = self.pending.take() {
            told(progress);
        }
        outcome
    }
}

/// Joins what is said of the same step.
fn merge_step(pending: &mut Option<Progress>, next: Progress, told: &mut dyn FnMut(Progress)) {
    match pending {
        Some(before) if before.step == next.step || before.step.is_none() || next.step.is_none() => {
            super::pace::merge(before, next);
        }
        _ => {
            if let Some(before) = pending.replace(next) {
                told(before);
            }
        }
    }
}

/// What stands at the start of some bytes.
enum Record<'a> {
    /// A record with right checksums, and its size with the framing.
    Whole(&'a [u8], usize),
    /// One that is too long to be of interest, and its size with the framing.
    Long(u64),
    /// Not enough bytes yet.
    Partial,
    /// No record.
    Broken,
}

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let Some((length, rest)) = bytes.split_first_chunk::<8>() else { return Self::Partial };
        let Some((check, rest)) = rest.split_first_chunk::<4>() else { return Self::Partial };
        if masked_crc32c(length) != u32::from_le_bytes(*check) {
            return Self::Broken;
        }
        let length = u64::from_le_bytes(*length);
        let fits = usize::try_from(length).ok().filter(|length| *length <= RECORD_BYTES_MAX);
        let Some(size) = fits else { return Self::Long(length.saturating_add(FRAMING_BYTES as u64)) };
        let Some((data, rest)) = rest.split_at_checked(size) else { return Self::Partial };
        let Some((check, _)) = rest.split_first_chunk::<4>() else { return Self::Partial };
        if masked_crc32c(data) != u32::from_le_bytes(*check) {
            return Self::Broken;
        }
        Self::Whole(data, size + FRAMING_BYTES)
    }
}

/// The progress in one `Event` message.
fn event(bytes: &[u8], evaluation: bool) -> Option<Progress> {
    let (mut step, mut summary) = (0, None);
    for field in Fields(bytes) {
        match field {
            (2, Wire::Varint(value)) => step = value,
            (5, Wire::Bytes(bytes)) => summary = Some(bytes),
            _ => {}
        }
    }
    let mut progress = Progress { told: Told::Tensorboard, ..Progress::default() };
    let mut by_epoch = false;
    let values = Fields(summary?).filter_map(|field| match field {
        (1, Wire::Bytes(bytes)) => Some(bytes),
        _ => None,
    });
    for value in values.take(VALUES_MAX) {
        let Some((tag, number)) = scalar(value) else { continue };
        let Some(meaning) = names::meaning(tag) else { continue };
        by_epoch |= tag.starts_with("epoch_") && !tag.contains("step");
        set(&mut progress, meaning, number, evaluation);
    }
    if progress == (Progress { told: Told::Tensorboard, ..Progress::default() }) {
        return None;
    }
    // Keras counts epochs where others count steps, and says so in the tag.
    if by_epoch {
        progress.epoch = progress.epoch.or(Some(step as f64));
    } else {
        progress.step = Some(step).filter(|step| *step <= STEP_MAX);
    }
    Some(progress)
}

fn set(progress: &mut Progress, meaning: Meaning, number: f64, evaluation: bool) {
    let finite = number.is_finite();
    match meaning {
        Meaning::Loss(_) | Meaning::EvaluationLoss(_) | Meaning::GradientNorm(_) if !finite => progress.diverged = true,
        Meaning::Loss(Rank::Plain) if !evaluation => progress.loss = Some(number),
        Meaning::Loss(Rank::Plain) | Meaning::EvaluationLoss(Rank::Plain) => progress.evaluation_loss = Some(number),
        Meaning::GradientNorm(Rank::Plain) => progress.gradient_norm = Some(number),
        Meaning::LearningRate if finite && number >= 0.0 && !evaluation => progress.learning_rate = Some(number),
        Meaning::Epoch if finite && number >= 0.0 => progress.epoch = Some(number),
        // The event says its step itself.
        Meaning::Step if whole(number).is_some() => {}
        _ => {}
    }
}

/// Tag and number of a `Summary.Value`, if it is a scalar.
fn scalar(bytes: &[u8]) -> Option<(&str, f64)> {
    let (mut tag, mut number) = (None, None);
    for field in Fields(bytes) {
        match field {
            (1, Wire::Bytes(bytes)) => tag = std::str::from_utf8(bytes).ok().filter(|tag| tag.len() <= TAG_BYTES_MAX),
            (2, Wire::Fixed32(bits)) => number = Some(f64::from(f32::from_bits(bits))),
            (8, Wire::Bytes(bytes)) => number = tensor_scalar(bytes).or(number),
            _ => {}
        }
    }
    Some((tag?, number?))
}

/// The number in a `TensorProto` with one element.
fn tensor_scalar(bytes: &[u8]) -> Option<f64> {
    let (mut kind, mut content, mut value) = (0, None, None);
    for field in Fields(bytes) {
        match field {
            (1, Wire::Varint(number)) => kind = number,
            (4, Wire::Bytes(bytes)) => content = Some(bytes),
            (5, Wire::Fixed32(bits)) => value = Some(f64::from(f32::from_bits(bits))),
            (6, Wire::Fixed64(bits)) => value = Some(f64::from_bits(bits)),
            // Packed.
            (5, Wire::Bytes(bytes)) => value = float(bytes),
            (6, Wire::Bytes(bytes)) => value = double(bytes),
            _ => {}
        }
    }
    match (kind, content) {
        (DT_FLOAT, Some(bytes)) => float(bytes),
        (DT_DOUBLE, Some(bytes)) => double(bytes),
        (DT_FLOAT | DT_DOUBLE, None) => value,
        _ => None,
    }
}

fn float(bytes: &[u8]) -> Option<f64> {
    bytes.try_into().ok().map(|bytes| f64::from(f32::from_le_bytes(bytes)))
}

fn double(bytes: &[u8]) -> Option<f64> {
    bytes.try_into().ok().map(f64::from_le_bytes)
}

/// The fields of a protobuf message (protobuf.dev, "Encoding"); ends where the message ends or stops being one.
struct Fields<'a>(&'a [u8]);

/// The value of a field.
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Wire<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(*self.chunk()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Wire::Bytes(bytes)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(*self.chunk()?)),
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

impl<'a> Fields<'a> {
    fn chunk<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(chunk)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// CRC-32C, rotated and offset as TFRecord wants it.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        let [low, ..] = sum.to_le_bytes();
        let entry = CRC_TABLE.get(usize::from(low ^ byte)).copied().unwrap_or_default();
        (sum >> 8) ^ entry
    };
    !bytes.iter().fold(!0, step)
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index out of bounds is a build error")]
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index: u32 = 0;
    while index < 256 {
        let (mut value, mut bit) = (index, 0);
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ CASTAGNOLI } else { value >> 1 };
            bit += 1;
        }
        table[index as usize] = value;
        index += 1;
    }
    table
};

/// The polynomial of CRC-32C, reversed.
const CASTAGNOLI: u32 = 0x82f6_3b78;
/// Begins the name of every event file.
pub(super) const FILE_PREFIX: &str = "events.out.tfevents.";
/// Longest record in bytes that is looked at.
pub const RECORD_BYTES_MAX: usize = 256 << 10;
/// Bytes of a record beside its data.
const FRAMING_BYTES: usize = 16;
/// Most values of one summary.
const VALUES_MAX: usize = 1_024;
/// Longest tag in bytes.
const TAG_BYTES_MAX: usize = 256;
/// Steps are signed in `Event`: beyond this they are negative.
const STEP_MAX: u64 = i64::MAX.unsigned_abs();
/// `DataType.DT_FLOAT`.
const DT_FLOAT: u64 = 1;
/// `DataType.DT_DOUBLE`.
const DT_DOUBLE: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    fn framed(data: &[u8]) -> Vec<u8> {
        let length = (data.len() as u64).to_le_bytes();
        [&length[..], &masked_crc32c(&length).to_le_bytes(), data, &masked_crc32c(data).to_le_bytes()].concat()
    }

    /// An event with step 7 and `loss` 0.5.
    fn loss_event() -> Vec<u8> {
        let value = [&[0x0a, 4][..], b"loss", &[0x15], &0.5_f32.to_le_bytes()].concat();
        let summary = [&[0x0a, u8::try_from(value.len()).unwrap()][..], &value].concat();
        [&[0x10, 7, 0x2a, u8::try_from(summary.len()).unwrap()][..], &summary].concat()
    }

    #[test]
    fn long_records_are_skipped_and_broken_ones_end_the_file() {
        let mut bytes = framed(&vec![0; RECORD_BYTES_MAX + 1]);
        bytes.extend(framed(&loss_event()));
        let mut broken = framed(&loss_event());
        *broken.last_mut().unwrap() ^= 1;
        bytes.extend(broken);
        bytes.extend(framed(&loss_event()));
        let (mut file, mut told, mut errors) = (EventFile::new("x"), Vec::new(), Vec::new());
        for piece in bytes.chunks(1_000) {
            errors.extend(file.push(piece, &mut |progress| told.push(progress)).err());
        }
        assert_eq!(errors, [Nonsense::Record]);
        let expected = Progress { told: Told::Tensorboard, step: Some(7), loss: Some(0.5), ..Progress::default() };
        assert_eq!(told, [expected]);
    }

    #[test]
    fn a_folder_may_say_that_the_data_is_held_out() {
        let mut told = Vec::new();
        EventFile::new("logs/validation/events").push(&framed(&loss_event()), &mut |each| told.push(each)).unwrap();
        assert_eq!((told[0].loss, told[0].evaluation_loss), (None, Some(0.5)));
    }
}
