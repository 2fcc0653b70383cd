//! Arguments of opcodes: numbers, lines, texts and byte strings.
//!
//! Numbers are read as CPython reads them, loosely where that only lets the machine go on for longer. Texts and byte
//! strings are stepped over: their values are where their opcodes stand.

use super::{
    Nested, PushBounded as _,
    heap::{Value, Wide},
    input::TAKE_BYTES_MAX,
    machine::{Halt, Machine, Step},
};
use crate::rules::id;

impl Machine<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        self.input.array().ok_or(Halt::Broken("the stream ends inside an opcode"))
    }

    pub(super) fn u8(&mut self) -> Step<u8> {
        self.input.byte().ok_or(Halt::Broken("the stream ends inside an opcode"))
    }

    pub(super) fn u32(&mut self) -> Step<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Step<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Step<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Steps over an argument; an absurd length is an attack on loaders that allocate first.
    pub(super) fn skip(&mut self, length: u64) -> Step {
        if self.input.skip(length) {
            return Ok(());
        }
        if length > CLAIM_BYTES_MAX {
            let message = format!("an argument claims {length} bytes, {} are left", self.input.remaining());
            self.draft(id::PKL_RESOURCE, "claim", message);
        }
        Err(Halt::Broken("an argument is longer than the stream"))
    }

    /// The text of a line opcode that holds a number.
    pub(super) fn short_line(&mut self) -> Step<Vec<u8>> {
        let line = self.input.line().ok_or(Halt::Broken("the stream ends inside a line"))?;
        if line.length > NUMBER_BYTES_MAX {
            return Err(Halt::Broken("a number is too long"));
        }
        Ok(self.input.read_at(line.start, usize::try_from(line.length).unwrap_or(0)))
    }

    pub(super) fn number_line(&mut self) -> Step<u64> {
        let line = self.short_line()?;
        parse_int(&line).and_then(|value| u64::try_from(value).ok()).ok_or(Halt::Broken("not a memo number"))
    }

    pub(super) fn int_line(&mut self) -> Step {
        let line = self.short_line()?;
        let value = match line.as_slice() {
            b"00" => Value::Bool(false),
            b"01" => Value::Bool(true),
            digits => {
                parse_int(digits).map(int).or_else(|| is_long(digits).then_some(Value::Number)).ok_or(NOT_A_NUMBER)?
            }
        };
        self.push(value)
    }

    pub(super) fn long_line(&mut self) -> Step {
        let line = self.short_line()?;
        let digits = line.strip_suffix(b"L").unwrap_or(&line);
        let value =
            parse_int(digits).map(int).or_else(|| is_long(digits).then_some(Value::Number)).ok_or(NOT_A_NUMBER)?;
        self.push(value)
    }

    pub(super) fn float_line(&mut self) -> Step {
        let line = self.short_line()?;
        let text = std::str::from_utf8(&line).map_err(|_| NOT_A_NUMBER)?.trim().replace('_', "");
        text.parse::<f64>().map_err(|_| NOT_A_NUMBER)?;
        self.push(Value::Number)
    }

    pub(super) fn long(&mut self, length: u64) -> Step {
        if length > 8 {
            self.skip(length)?;
            return self.push(Value::Number);
        }
        let count = usize::try_from(length).unwrap_or(0);
        let raw = self.input.take(count).ok_or(Halt::Broken("the stream ends inside an opcode"))?;
        let negative = raw.last().is_some_and(|top| top & 0x80 != 0);
        let value = raw.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let small = if negative { None } else { Wide::new(value) };
        self.push(small.map_or(Value::Number, Value::Int))
    }

    pub(super) fn text(&mut self, length: u64) -> Step {
        self.look_for_nested(length);
        self.skip(length)?;
        self.push(Wide::new(self.at).map_or(Value::Opaque, Value::Text))
    }

    pub(super) fn bytes(&mut self, length: u64) -> Step {
        self.look_for_nested(length);
        self.skip(length)?;
        self.push(Wide::new(self.at).map_or(Value::Opaque, Value::Bytes))
    }

    /// Looks at the first bytes of an argument for a pickle, plain or encoded.
    #[inline]
    pub(super) fn look_for_nested(&mut self, length: u64) {
        if length < super::nested::BYTES_MIN {
            return;
        }
        let offset = self.input.offset();
        let count = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(TAKE_BYTES_MAX)
            .min(usize::try_from(self.input.remaining()).unwrap_or(0));
        let Some(head) = self.input.peek(count) else { return };
        if let Some((start, encoding)) = super::nested::candidate(head) {
            self.nested.push_bounded(Nested { offset: offset + start, length: length - start, encoding });
        }
    }

    pub(super) fn string_line(&mut self) -> Step {
        let line = self.input.line().ok_or(Halt::Broken("the stream ends inside a line"))?;
        let (first, last) =
            (self.input.read_at(line.start, 1), self.input.read_at((line.start + line.length).saturating_sub(1), 1));
        let is_quoted = line.length >= 2 && first == last && matches!(first.as_slice(), b"'" | b"\"");
        if !is_quoted {
            return Err(Halt::Broken("STRING without quotes"));
        }
        self.push(Wide::new(self.at).map_or(Value::Opaque, Value::Text))
    }

    pub(super) fn text_line(&mut self) -> Step {
        self.input.line().ok_or(Halt::Broken("the stream ends inside a line"))?;
        self.push(Wide::new(self.at).map_or(Value::Opaque, Value::Text))
    }
}

const NOT_A_NUMBER: Halt = Halt::Broken("not a number");

/// A whole number as a value.
pub(super) fn int(value: i64) -> Value {
    u64::try_from(value).ok().and_then(Wide::new).map_or(Value::Number, Value::Int)
}

/// `int(text, 0)` for numbers that fit.
fn parse_int(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok()?.trim().replace('_', "");
    let (negative, text) = text.strip_prefix('-').map_or((false, text.as_str()), |rest| (true, rest));
    let text = text.strip_prefix('+').unwrap_or(text);
    let lower = text.to_ascii_lowercase();
    let value = match lower.get(..2) {
        Some("0x") => i64::from_str_radix(lower.get(2..)?, 16).ok()?,
        Some("0o") => i64::from_str_radix(lower.get(2..)?, 8).ok()?,
        Some("0b") => i64::from_str_radix(lower.get(2..)?, 2).ok()?,
        _ => lower.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}

/// A whole number of any length.
fn is_long(digits: &[u8]) -> bool {
    let digits = digits.trim_ascii();
    let digits = digits.strip_prefix(b"-").unwrap_or(digits);
    !digits.is_empty() && digits.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'_' | b'x' | b'X'))
}

/// Longest text of a number opcode, in bytes.
const NUMBER_BYTES_MAX: u64 = 64 << 10;

/// An argument that claims more than this beyond the end of the stream is an allocation attack, not a truncation.
const CLAIM_BYTES_MAX: u64 = 1 << 30;
