//! Arguments of opcodes: numbers, lines, texts and byte strings.
//!
//! Numbers are read as CPython reads them, loosely where that only lets the machine go on for longer. Texts and byte
//! strings are stepped over: their values are where their opcodes stand.

use super::{
    Encoding, Nested, PushBounded as _,
    heap::{Value, Wide},
    input::{Line, TAKE_BYTES_MAX},
    machine::{Halt, Machine, Step},
    number::{self, Reading},
};
use crate::rules::id;

impl Machine<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        self.input.array().ok_or(Halt::Broken(&"the stream ends inside an opcode"))
    }

    pub(super) fn u8(&mut self) -> Step<u8> {
        self.input.byte().ok_or(Halt::Broken(&"the stream ends inside an opcode"))
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
        Err(Halt::Broken(&"an argument is longer than the stream"))
    }

    /// A line that ends; only GLOBAL and INST do something with one that does not.
    pub(super) fn whole_line(&mut self) -> Step<Line> {
        self.input.line().filter(|line| line.whole).ok_or(Halt::Broken(&"the stream ends inside a line"))
    }

    /// The text of a line opcode that holds a number.
    fn short_line(&mut self) -> Step<Vec<u8>> {
        let line = self.whole_line()?;
        if line.length > NUMBER_BYTES_MAX {
            return Err(Halt::Broken(&"a number is too long"));
        }
        Ok(self.input.read_at(line.start, usize::try_from(line.length).unwrap_or(0)))
    }

    /// The number that a line opcode holds.
    fn number_of_line<T>(&mut self, line: &[u8], read: impl Fn(&[u8]) -> Reading<T>) -> Step<T> {
        match read(line) {
            Reading::Both(value) => Ok(value),
            Reading::One(value) => {
                let message = "a number that only one of Python's two unpicklers reads".to_owned();
                self.draft(id::PKL_DIVERGENCE, "number", message);
                Ok(value)
            }
            Reading::Neither => Err(Halt::Broken(&"not a number")),
        }
    }

    pub(super) fn memo_line(&mut self) -> Step<u64> {
        let line = self.short_line()?;
        match self.number_of_line(&line, number::memo_number)? {
            Some(number) => u64::try_from(number).map_err(|_| Halt::Broken(&"a negative memo number")),
            None => self.large_number(&line),
        }
    }

    pub(super) fn int_line(&mut self) -> Step {
        let line = self.short_line()?;
        let value = self.number_of_line(&line, number::int)?;
        let is_short = line.len() == 2;
        let value = match value {
            Some(small @ (0 | 1)) if is_short => Value::Bool(small == 1),
            Some(number) => int(number),
            None => Value::Number,
        };
        self.push(value)
    }

    pub(super) fn long_line(&mut self) -> Step {
        let line = self.short_line()?;
        let value = self.number_of_line(&line, number::long)?;
        self.push(value.map_or(Value::Number, int))
    }

    pub(super) fn float_line(&mut self) -> Step {
        let line = self.short_line()?;
        self.number_of_line(&line, number::float)?;
        self.push(Value::Number)
    }

    pub(super) fn long(&mut self, length: u64) -> Step {
        if length > 8 {
            self.skip(length)?;
            return self.push(Value::Number);
        }
        let count = usize::try_from(length).unwrap_or(0);
        let raw = self.input.take(count).ok_or(Halt::Broken(&"the stream ends inside an opcode"))?;
        let negative = raw.last().is_some_and(|top| top & 0x80 != 0);
        let value = raw.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let small = if negative { None } else { Wide::new(value) };
        self.push(small.map_or(Value::Number, Value::Int))
    }

    /// A text of `length` bytes behind a head of `head` bytes.
    pub(super) fn text(&mut self, head: u64, length: u64) -> Step {
        self.look_for_nested(length);
        self.skip(length)?;
        if self.input.offset() != self.at.saturating_add(head).saturating_add(length) {
            // The fence was stepped over: the text does not stand where its opcode says.
            return self.text_elsewhere(length);
        }
        self.push(Wide::offset(self.at).map_or(Value::Opaque, Value::Text))
    }

    #[cold]
    fn text_elsewhere(&mut self, length: u64) -> Step {
        let value = match usize::try_from(length) {
            Ok(count) if count <= super::NAME_BYTES_MAX => {
                let start = self.input.offset().saturating_sub(length);
                let bytes = self.input.read_at(start, count);
                self.keep(bytes).map_or(Value::Opaque, Value::Text)
            }
            _ => Value::Opaque,
        };
        self.push(value)
    }

    pub(super) fn bytes(&mut self, length: u64) -> Step {
        self.look_for_nested(length);
        if self.input.fence() == u64::MAX || !self.input.skip_joined(length) {
            self.skip(length)?;
        }
        self.push(Wide::offset(self.at).map_or(Value::Opaque, Value::Bytes))
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

    /// Like [`Self::look_for_nested`], for a text with escapes.
    fn look_into_line(&mut self, line: &Line) {
        if line.length < super::nested::BYTES_MIN {
            return;
        }
        let length = line.length.saturating_add(2);
        let head = self.input.read_at(self.at, usize::try_from(length).unwrap_or(usize::MAX).min(LINE_HEAD_BYTES));
        if super::line_bytes(&head).is_some_and(|bytes| super::nested::candidate(&bytes).is_some()) {
            self.nested.push_bounded(Nested { offset: self.at, length, encoding: Encoding::Line });
        }
    }

    pub(super) fn string_line(&mut self) -> Step {
        let line = self.whole_line()?;
        let last = (line.start + line.length).saturating_sub(1);
        let (first, last) = (self.input.read_at(line.start, 1), self.input.read_at(last, 1));
        let is_quoted = line.length >= 2 && first == last && matches!(first.as_slice(), b"'" | b"\"");
        if !is_quoted {
            return Err(Halt::Broken(&"STRING without quotes"));
        }
        self.text_of_line(&line)
    }

    pub(super) fn text_line(&mut self) -> Step {
        let line = self.whole_line()?;
        self.text_of_line(&line)
    }

    fn text_of_line(&mut self, line: &Line) -> Step {
        if line.start == self.at + 1 {
            self.look_into_line(line);
            return self.push(Wide::offset(self.at).map_or(Value::Opaque, Value::Text));
        }
        let count = usize::try_from(line.length).unwrap_or(usize::MAX);
        let text = if count > super::NAME_BYTES_MAX {
            None
        } else {
            let raw = self.input.read_at(self.at, 1).into_iter().chain(self.input.read_at(line.start, count + 1));
            super::line_text(&raw.collect::<Vec<u8>>())
        };
        let kept = text.and_then(|text| self.keep(text.into_bytes()));
        self.push(kept.map_or(Value::Opaque, Value::Text))
    }
}

/// A whole number as a value.
pub(super) fn int(value: i64) -> Value {
    u64::try_from(value).ok().and_then(Wide::new).map_or(Value::Number, Value::Int)
}

/// How much of a line with escapes is looked at, in bytes.
const LINE_HEAD_BYTES: usize = 1_024;

/// Longest text of a number opcode, in bytes.
const NUMBER_BYTES_MAX: u64 = 64 << 10;

/// An argument that claims more than this beyond the end of the stream is an allocation attack, not a truncation.
const CLAIM_BYTES_MAX: u64 = 1 << 30;
