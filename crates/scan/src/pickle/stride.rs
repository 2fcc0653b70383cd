//! The opcodes that large pickles are made of, followed in one stride.
//!
//! [`Machine::stride`] does what `machine` would do opcode by opcode, for those opcodes only that have nothing to
//! decide: they lie whole in the buffer, in the frame and before the fence, they report nothing, and they meet no
//! limit. It stops before the first other one with nothing of it done, so that there is one place for each decision:
//! `machine`, `call` and `argument`.

use super::{
    call::How,
    heap::{Heap, Packed, Value, Wide},
    input::TAKE_BYTES_MAX,
    machine::{Machine, Name, Role, TRACE},
    memo::Memo,
    nested, opcode as op,
    stack::Stack,
};

/// What the opcodes of a stride work on.
struct Values<'m> {
    stack: Stack,
    memo: &'m mut Memo,
    heap: &'m mut Heap,
    names: &'m [Name],
    calls: u64,
}

impl Machine<'_> {
    /// Follows opcodes as long as they are ordinary; whether there was one that may still have a MEMOIZE with it.
    pub(super) fn stride(&mut self) -> bool {
        #[cfg(test)]
        if self.has_no_strides {
            return false;
        }
        let (bytes, start) = self.input.at_hand(self.frame_end);
        // An opcode puts one value on the stack at most.
        if !self.stack.reserve(bytes.len()) {
            return false;
        }
        let mut values = Values {
            // Taken out, so that its length can stay in a register.
            stack: std::mem::take(&mut self.stack),
            memo: &mut self.memo,
            heap: &mut self.heap,
            names: &self.names,
            calls: 0,
        };
        let (mut rest, end) = (bytes, start + bytes.len() as u64);
        let mut opcodes = self.opcodes;
        // How much was left behind the last MEMOIZE.
        let mut memoized = bytes.len();
        while let Some((code, behind)) = rest.split_first() {
            let offset = end.wrapping_sub(rest.len() as u64);
            let Some(left) = values.follow(*code, behind, offset) else { break };
            rest = left;
            if let Some(entry) = self.trace.get_mut(usize::try_from(opcodes % TRACE as u64).unwrap_or(0)) {
                *entry = offset << 8 | u64::from(*code);
            }
            opcodes = opcodes.wrapping_add(1);
            // As in `Machine::step`, it is no opcode of its own here.
            if let Some((&op::MEMOIZE, left)) = rest.split_first() {
                if values.memoize(None).is_none() {
                    break;
                }
                rest = left;
                memoized = rest.len();
            }
        }
        let is_open = memoized != rest.len();
        self.stack = values.stack;
        self.calls += values.calls;
        self.opcodes = opcodes;
        let count = bytes.len() - rest.len();
        self.input.advance(count);
        self.leave_frame();
        is_open
    }
}

#[expect(clippy::inline_always, reason = "a call that is left would keep the length of the stack in memory")]
impl Values<'_> {
    /// Follows the opcode `code` at `offset`, whose arguments begin `bytes`; what is behind them, or `None` where the
    /// opcode is not ordinary and nothing was done.
    #[inline(always)]
    fn follow<'b>(&mut self, code: u8, bytes: &'b [u8], offset: u64) -> Option<&'b [u8]> {
        let mut rest = bytes;
        match code {
            op::MARK => self.stack.put_mark().then_some(())?,
            op::POP if self.stack.ends_with_mark() => {
                self.stack.pop_mark()?;
            }
            op::POP => {
                self.stack.pop()?;
            }
            op::BINPUT => {
                let number = u8::from_le_bytes(array(&mut rest)?);
                self.memoize(Some(usize::from(number)))?;
            }
            op::LONG_BINPUT => {
                let number = u32::from_le_bytes(array(&mut rest)?);
                self.memoize(Some(usize::try_from(number).ok()?))?;
            }
            op::MEMOIZE => self.memoize(None)?,
            op::BINGET => {
                let number = u8::from_le_bytes(array(&mut rest)?);
                self.stack.put(self.memo.get(u64::from(number))?);
            }
            op::LONG_BINGET => {
                let number = u32::from_le_bytes(array(&mut rest)?);
                self.stack.put(self.memo.get(u64::from(number))?);
            }
            op::NONE => self.push(Value::None),
            op::NEWTRUE => self.push(Value::Bool(true)),
            op::NEWFALSE => self.push(Value::Bool(false)),
            op::BININT => {
                let number = i32::from_le_bytes(array(&mut rest)?);
                self.push(super::argument::int(i64::from(number)));
            }
            op::BININT1 => {
                let number = u8::from_le_bytes(array(&mut rest)?);
                self.push(super::argument::int(i64::from(number)));
            }
            op::BININT2 => {
                let number = u16::from_le_bytes(array(&mut rest)?);
                self.push(super::argument::int(i64::from(number)));
            }
            op::BINFLOAT => {
                let _: [u8; 8] = array(&mut rest)?;
                self.push(Value::Number);
            }
            op::SHORT_BINUNICODE | op::SHORT_BINSTRING => {
                let length = u8::from_le_bytes(array(&mut rest)?);
                step_over(&mut rest, usize::from(length))?;
                self.push(Wide::offset(offset).map_or(Value::Opaque, Value::Text));
            }
            op::BINUNICODE | op::BINSTRING => {
                let length = u32::from_le_bytes(array(&mut rest)?);
                step_over(&mut rest, usize::try_from(length).ok()?)?;
                self.push(Wide::offset(offset).map_or(Value::Opaque, Value::Text));
            }
            op::SHORT_BINBYTES => {
                let length = u8::from_le_bytes(array(&mut rest)?);
                step_over(&mut rest, usize::from(length))?;
                self.push(Wide::offset(offset).map_or(Value::Opaque, Value::Bytes));
            }
            op::BINBYTES => {
                let length = u32::from_le_bytes(array(&mut rest)?);
                step_over(&mut rest, usize::try_from(length).ok()?)?;
                self.push(Wide::offset(offset).map_or(Value::Opaque, Value::Bytes));
            }
            op::EMPTY_TUPLE => self.tuple_of::<0>()?,
            op::TUPLE1 => self.tuple_of::<1>()?,
            op::TUPLE2 => self.tuple_of::<2>()?,
            op::TUPLE3 => self.tuple_of::<3>()?,
            op::TUPLE => {
                let from = self.stack.pop_mark()?;
                self.tuple_from(from);
            }
            op::EMPTY_LIST => {
                let container = self.heap.make();
                self.push(Value::List(container));
            }
            op::EMPTY_DICT => {
                let container = self.heap.make();
                self.push(Value::Dict(container));
            }
            op::EMPTY_SET => self.push(Value::Set),
            op::APPENDS => {
                let (from, target) = self.stack.group()?;
                self.append(from, target)?;
                self.stack.pop_mark()?;
            }
            op::APPEND => {
                let from = self.stack.topmost(1)?;
                self.append(from, self.stack.below(from)?)?;
            }
            op::SETITEMS => {
                let (from, target) = self.stack.group()?;
                self.set_items(from, target)?;
                self.stack.pop_mark()?;
            }
            op::SETITEM => {
                let from = self.stack.topmost(2)?;
                self.set_items(from, self.stack.below(from)?)?;
            }
            op::REDUCE => self.call(How::Reduce)?,
            op::NEWOBJ => self.call(How::New)?,
            op::BUILD => self.build()?,
            _ => return None,
        }
        Some(rest)
    }

    #[inline(always)]
    fn push(&mut self, value: Value) {
        self.stack.put(value.into());
    }

    /// Puts the topmost value into the memo under the next number, if that is the number that is wanted.
    #[inline(always)]
    fn memoize(&mut self, number: Option<usize>) -> Option<()> {
        let value = self.stack.top()?;
        let next = self.memo.next()?;
        if number.is_some_and(|number| number != next) {
            return None;
        }
        self.memo.append(value);
        Some(())
    }

    #[inline(always)]
    fn tuple_of<const N: usize>(&mut self) -> Option<()> {
        let items = self.stack.last::<N>()?;
        let container = self.heap.make_of(items);
        self.stack.drop_last(N);
        self.push(Value::Tuple(container));
        Some(())
    }

    #[inline(always)]
    fn tuple_from(&mut self, from: usize) {
        let container = self.heap.make();
        self.heap.extend(container, self.stack.from(from));
        self.stack.truncate(from);
        self.push(Value::Tuple(container));
    }

    /// Puts the values from `from` on into `target` if that is a list.
    #[inline(always)]
    fn append(&mut self, from: usize, target: Packed) -> Option<()> {
        let Value::List(container) = Value::from(target) else { return None };
        self.heap.extend(container, self.stack.from(from));
        self.stack.truncate(from);
        Some(())
    }

    /// Puts the keys and values from `from` on into `target` if that is a dictionary and no value may be called.
    #[inline(always)]
    fn set_items(&mut self, from: usize, target: Packed) -> Option<()> {
        let Value::Dict(container) = Value::from(target) else { return None };
        let items = self.stack.from(from);
        if Packed::may_call(items) {
            return None;
        }
        self.heap.extend(container, items);
        self.stack.truncate(from);
        Some(())
    }

    /// Calls what makes a fresh value of whatever it is given.
    #[inline(always)]
    fn call(&mut self, how: How) -> Option<()> {
        let [callable, _] = self.stack.last()?;
        let Value::Global(number) = Value::from(callable) else { return None };
        if !self.names.get(number as usize)?.is_fresh(how) {
            return None;
        }
        self.calls += 1;
        self.stack.drop_last(2);
        self.push(Value::Made(number));
        Some(())
    }

    /// Sets the state of a fresh value of no special class.
    #[inline(always)]
    fn build(&mut self) -> Option<()> {
        let [target, state] = self.stack.last()?;
        let (Value::Made(number), state) = (Value::from(target), Value::from(state)) else { return None };
        if matches!(state, Value::Made(_)) || self.names.get(number as usize)?.role != Role::Ordinary {
            return None;
        }
        self.stack.drop_last(1);
        Some(())
    }
}

/// The first bytes, which are stepped over.
#[inline]
fn array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

/// Steps over a text or byte string that does not look like a pickle, plain or encoded.
#[inline]
fn step_over(bytes: &mut &[u8], length: usize) -> Option<()> {
    let (text, rest) = bytes.split_at_checked(length)?;
    if length as u64 >= nested::BYTES_MIN && (length > TAKE_BYTES_MAX || nested::candidate(text).is_some()) {
        return None;
    }
    *bytes = rest;
    Some(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::pickle::End;

    /// What may stand in a stream, the likelier the more often.
    const PIECES: [&[u8]; 48] = [
        b"K\x01",
        b"K\x02",
        b"M\x01\x02",
        b"J\x01\x02\x03\x04",
        b"J\xff\xff\xff\xff",
        b"N",
        b"\x88",
        b"\x89",
        b"G\0\0\0\0\0\0\0\0",
        b"\x8c\x01a",
        b"\x8c\x08__init__",
        b"U\x01b",
        b"X\x01\0\0\0c",
        b"C\x02yy",
        b"B\x02\0\0\0zz",
        b"\x8c\x10cos\nsystem\nxxxxx",
        b"(",
        b"(",
        b"(",
        b"0",
        b"1",
        b"2",
        b"\x94",
        b"\x94",
        b"\x94",
        b"q\0",
        b"q\x01",
        b"q\x07",
        b"r\x02\0\0\0",
        b"h\0",
        b"h\x01",
        b"j\x02\0\0\0",
        b")",
        b"\x85",
        b"\x86",
        b"\x87",
        b"t",
        b"]",
        b"}",
        b"\x8f",
        b"a",
        b"e",
        b"s",
        b"u",
        b"b",
        b"R",
        b"\x81",
        b"\x95\x14\0\0\0\0\0\0\0",
    ];
    const NAMES: [&[u8]; 4] =
        [b"ccollections\nOrderedDict\n", b"cos\nsystem\n", b"cdecimal\nDecimal\n", b"ccopyreg\n_reconstructor\n"];

    /// All that a machine tells of a stream.
    fn told(stream: &[u8], has_no_strides: bool) -> (End, String) {
        let mut source = Cursor::new(stream);
        let mut machine = Machine::new(&mut source, 0, false);
        machine.has_no_strides = has_no_strides;
        let end = machine.row(4);
        let shown = format!(
            "{:?} {:?} {} {} {} {} {} {} {}",
            machine.drafts,
            machine.names,
            machine.trace(),
            machine.opcodes,
            machine.calls,
            machine.memo.count(),
            machine.heap.depth,
            machine.heap.weight,
            machine.frames_matter,
        );
        (end, shown)
    }

    #[test]
    fn strides_change_nothing() {
        let mut state = 7_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap_or(0) % below
        };
        let mut furthest = 0;
        for _ in 0..20_000 {
            let mut stream = b"\x80\x04".to_vec();
            for _ in 0..random(60) {
                // Values first, so that there is something to take.
                let pieces = if random(3) > 0 { &PIECES[..16] } else { &PIECES[..] };
                stream.extend(if random(12) == 0 { NAMES[random(4)] } else { pieces[random(pieces.len())] });
                if random(4) == 0 {
                    stream.push(super::op::MEMOIZE);
                }
            }
            stream.push(super::op::STOP);
            let (end, shown) = told(&stream, false);
            assert_eq!((end, shown), told(&stream, true), "{}", stream.escape_ascii());
            furthest = furthest.max(if end == End::Stop { stream.len() } else { 0 });
        }
        assert!(furthest > 100, "some streams are followed to their end");
    }
}
