//! Elements as numbers, read in pieces, and what is counted of them.

use std::io::{self, Cursor, Read as _, SeekFrom};

use ringfence_schema::report::TensorStats;

use super::contents::{Data, Element, Tensor};
use crate::source::Source;

/// Elements that are read at once.
const CHUNK: usize = 32 << 10;
/// Most rows whose norms are kept; of longer matrices the first ones count.
const ROWS_MAX: usize = 4 << 20;

/// The elements of a tensor, piece by piece.
pub(super) struct Reader<'s> {
    source: From<'s>,
    element: Element,
    /// Bytes that are still to be read.
    left: u64,
    at: u64,
    raw: Vec<u8>,
    values: Vec<f64>,
}

enum From<'s> {
    File(&'s mut dyn Source),
    Memory(Cursor<Vec<u8>>),
}

impl<'s> Reader<'s> {
    pub(super) fn new(source: &'s mut dyn Source, tensor: &Tensor) -> Self {
        let (source, at, left) = match &tensor.data {
            Data::At { offset, bytes } => (From::File(source), *offset, *bytes),
            Data::Bytes(bytes) => (From::Memory(Cursor::new(bytes.clone())), 0, bytes.len() as u64),
        };
        Self { source, element: tensor.element, left, at, raw: Vec::new(), values: Vec::new() }
    }

    /// The next elements; none at the end.
    pub(super) fn next(&mut self) -> io::Result<&[f64]> {
        let item = self.element.bytes();
        let wanted = self.left.min((CHUNK * item) as u64);
        self.raw.clear();
        let read = match &mut self.source {
            From::File(source) => {
                source.seek(SeekFrom::Start(self.at))?;
                source.take(wanted).read_to_end(&mut self.raw)?
            }
            From::Memory(cursor) => cursor.take(wanted).read_to_end(&mut self.raw)?,
        };
        self.at += read as u64;
        self.left = if (read as u64) < wanted { 0 } else { self.left - wanted };
        self.values.clear();
        self.element.decode(&self.raw, &mut self.values);
        Ok(&self.values)
    }
}

impl Element {
    /// Bytes of one element.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 => 1,
        }
    }

    fn decode(self, raw: &[u8], out: &mut Vec<f64>) {
        fn each<const N: usize>(raw: &[u8], out: &mut Vec<f64>, convert: impl Fn([u8; N]) -> f64) {
            out.extend(raw.as_chunks::<N>().0.iter().map(|item| convert(*item)));
        }
        match self {
            Self::F64 => each(raw, out, f64::from_le_bytes),
            Self::F32 => each(raw, out, |item| f64::from(f32::from_le_bytes(item))),
            Self::F16 => each(raw, out, |item| half(u16::from_le_bytes(item))),
            Self::Bf16 => {
                each(raw, out, |item| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(item)) << 16)));
            }
            Self::I8 => each(raw, out, |item| f64::from(i8::from_le_bytes(item))),
            Self::U8 => each(raw, out, |item| f64::from(u8::from_le_bytes(item))),
            Self::I16 => each(raw, out, |item| f64::from(i16::from_le_bytes(item))),
            Self::U16 => each(raw, out, |item| f64::from(u16::from_le_bytes(item))),
            Self::I32 => each(raw, out, |item| f64::from(i32::from_le_bytes(item))),
            Self::U32 => each(raw, out, |item| f64::from(u32::from_le_bytes(item))),
            Self::I64 => each(raw, out, |item| i64::from_le_bytes(item) as f64),
            Self::U64 => each(raw, out, |item| u64::from_le_bytes(item) as f64),
        }
    }
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f64 {
    let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 0x1f, bits & 0x3ff);
    let size = match exponent {
        0 => f64::from(fraction) * 2_f64.powi(-24),
        0x1f if fraction == 0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1.0 + f64::from(fraction) / 1_024.0) * 2_f64.powi(i32::from(exponent) - 15),
    };
    if sign == 0 { size } else { -size }
}

/// Numbers that are added up side by side: a sum has to wait for the one before it.
const LANES: usize = 16;

/// The sum of `term` of each.
fn in_lanes(chunk: &[f64], term: impl Fn(f64) -> f64) -> f64 {
    let (groups, rest) = chunk.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for group in groups {
        sums.iter_mut().zip(group).for_each(|(sum, value)| *sum += term(*value));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|value| term(*value)).sum::<f64>()
}

/// The least or the greatest of finite numbers, as `pick` chooses of two; 0 of none.
fn farthest(chunk: &[f64], pick: impl Fn(f64, f64) -> f64) -> f64 {
    let first = chunk.first().copied().unwrap_or_default();
    let mut found = [first; LANES];
    let (groups, rest) = chunk.as_chunks::<LANES>();
    for group in groups {
        found.iter_mut().zip(group).for_each(|(found, value)| *found = pick(*found, *value));
    }
    found.iter().chain(rest).copied().fold(first, &pick)
}

/// Sums over all elements.
#[derive(Debug, Default)]
pub(super) struct Sums {
    nan: u64,
    infinite: u64,
    finite: u64,
    zeros: u64,
    range: Option<(f64, f64)>,
    mean: f64,
    /// Sum of squared distances from the mean.
    spread: f64,
}

impl Sums {
    /// Adds a piece; pieces are joined by the formula of Chan, Golub and LeVeque (1979), so that nothing is lost.
    pub(super) fn add(&mut self, chunk: &[f64]) {
        let sum = in_lanes(chunk, |value| value);
        if sum.is_finite() {
            // Then each of them is: what is not makes the sum neither.
            self.zeros += chunk.iter().map(|value| u64::from(*value == 0.0)).sum::<u64>();
            self.join(chunk, sum);
            return;
        }
        let finite: Vec<f64> = chunk.iter().copied().filter(|value| value.is_finite()).collect();
        self.nan += chunk.iter().filter(|value| value.is_nan()).count() as u64;
        self.infinite += chunk.iter().filter(|value| value.is_infinite()).count() as u64;
        self.zeros += finite.iter().filter(|value| **value == 0.0).count() as u64;
        self.join(&finite, in_lanes(&finite, |value| value));
    }

    /// Joins numbers that are finite, with their sum.
    fn join(&mut self, chunk: &[f64], sum: f64) {
        if chunk.is_empty() {
            return;
        }
        let count = chunk.len() as u64;
        let mean = sum / count as f64;
        let spread = in_lanes(chunk, |value| (value - mean) * (value - mean));
        let (before, together) = (self.finite as f64, (self.finite + count) as f64);
        let step = mean - self.mean;
        self.mean += step * count as f64 / together;
        self.spread += spread + step * step * before * count as f64 / together;
        self.finite += count;
        let (least, most) = (farthest(chunk, f64::min), farthest(chunk, f64::max));
        let (low, high) = self.range.unwrap_or((least, most));
        self.range = Some((low.min(least), high.max(most)));
    }

    pub(super) fn count(&self) -> u64 {
        self.nan + self.infinite + self.finite
    }

    pub(super) fn stats(&self) -> TensorStats {
        TensorStats {
            nan: self.nan,
            infinite: self.infinite,
            min: self.range.map(|(low, _)| low),
            max: self.range.map(|(_, high)| high),
            mean: self.mean,
            std: (self.spread / (self.finite as f64).max(1.0)).sqrt(),
            zeros: self.zeros as f64 / (self.count() as f64).max(1.0),
            ..TensorStats::default()
        }
    }
}

/// Norms of the rows along the first of two or more dimensions.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Elements of a row; 0 where there are no rows.
    width: u64,
    filled: u64,
    energy: f64,
    pub(super) norms: Vec<f64>,
    pub(super) dead: u64,
}

impl Rows {
    pub(super) fn new(shape: &[u64]) -> Self {
        let width = match shape {
            [_, rest @ ..] if !rest.is_empty() => {
                rest.iter().try_fold(1_u64, |product, side| product.checked_mul(*side)).unwrap_or(0)
            }
            _ => 0,
        };
        Self { width, ..Self::default() }
    }

    pub(super) fn add(&mut self, chunk: &[f64]) {
        if self.width == 0 {
            return;
        }
        let mut rest = chunk;
        while !rest.is_empty() && self.norms.len() < ROWS_MAX {
            let missing = usize::try_from(self.width - self.filled).unwrap_or(usize::MAX).min(rest.len());
            let (row, next) = rest.split_at(missing);
            self.energy += in_lanes(row, |value| value * value);
            self.filled += missing as u64;
            rest = next;
            if self.filled == self.width {
                self.dead += u64::from(self.energy == 0.0);
                if self.energy.is_finite() {
                    self.norms.push(self.energy.sqrt());
                }
                (self.energy, self.filled) = (0.0, 0);
            }
        }
    }
}

/// Values that lie far above the others.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Outside {
    pub(super) count: u64,
    /// The greatest, in scaled median deviations above the median.
    pub(super) farthest: f64,
}

/// Counts values more than `deviations` scaled median absolute deviations (Hampel 1974) above the median, and at least
/// `times` the median where that is given.
pub(super) fn outside(values: &[f64], deviations: f64, times: Option<f64>) -> Outside {
    let Some(median) = median(values.to_vec()) else { return Outside::default() };
    let spread = self::median(values.iter().map(|value| (value - median).abs()).collect()).unwrap_or(0.0) * 1.4826;
    // Equal rows leave no spread; a thousandth of the median stands for rounding.
    let spread = spread.max(median.abs() * 1e-3).max(1e-12);
    let far =
        |value: &&f64| (**value - median) / spread > deviations && times.is_none_or(|times| **value >= median * times);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let farthest = ((greatest - median) / spread).clamp(-1e12, 1e12);
    Outside { count: values.iter().filter(far).count() as u64, farthest }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "binary16 is exact in f64")]
    fn halves_are_exact() {
        let cases = [(0x3c00, 1.0), (0xc000, -2.0), (0x0001, 2_f64.powi(-24)), (0x7bff, 65_504.0), (0x0000, 0.0)];
        assert!(cases.iter().all(|(bits, value)| half(*bits) == *value));
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }

    #[test]
    fn pieces_join_to_the_whole() {
        let values: Vec<f64> = (0..1_000).map(|index| f64::from(index % 17) - 3.0).collect();
        let (mut whole, mut pieces) = (Sums::default(), Sums::default());
        whole.add(&values);
        values.chunks(7).for_each(|chunk| pieces.add(chunk));
        let (whole, pieces) = (whole.stats(), pieces.stats());
        assert!((whole.mean - pieces.mean).abs() < 1e-12 && (whole.std - pieces.std).abs() < 1e-12);
        assert_eq!((whole.min, whole.max, whole.zeros), (pieces.min, pieces.max, pieces.zeros));
    }

    #[test]
    fn what_is_not_finite_is_counted_and_left_out() {
        let values: Vec<f64> = (0..100).map(|index| f64::from(index % 7) - 2.0).collect();
        let mut odd = values.clone();
        for (place, value) in [(0, f64::NAN), (17, f64::INFINITY), (40, f64::NEG_INFINITY), (102, f64::NAN)] {
            odd.insert(place, value);
        }
        let (mut plain, mut mixed) = (Sums::default(), Sums::default());
        plain.add(&values);
        mixed.add(&odd);
        mixed.add(&[f64::NAN]);
        let (plain, mixed) = (plain.stats(), mixed.stats());
        assert_eq!((mixed.nan, mixed.infinite, mixed.min, mixed.max), (3, 2, plain.min, plain.max));
        assert!((mixed.mean - plain.mean).abs() < 1e-12 && (mixed.std - plain.std).abs() < 1e-12);
        assert!((mixed.zeros * 105.0 - plain.zeros * 100.0).abs() < 1e-9);
    }
}
