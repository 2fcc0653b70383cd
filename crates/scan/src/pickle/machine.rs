//! The abstract machine: every opcode of protocols 0 to 5, with values that only say what kind of thing they are.
//!
//! [`Machine::run`] follows one pickle from its first opcode to STOP, or to where CPython's unpicklers would stop. It
//! keeps going where CPython may keep going: a stream that means two things is followed in its more dangerous reading.
//! What calls mean is decided in `call`; what names mean in `names`.
//!
//! Source: `Lib/pickle.py`, `Lib/pickletools.py` and `Modules/_pickle.c` of CPython 3.14.

use std::{collections::HashMap, fmt::Write as _};

use super::{
    Arrays, Draft, End, Framing, Nested, Seen, Storage,
    argument::int,
    call::How,
    evaluate,
    heap::{Heap, Packed, Value, Wide},
    input::Input,
    memo::Memo,
    names::{Effect, Standing},
    opcode as op,
    stack::Stack,
};
use crate::{rules::id, source::Source};

/// Nesting that a pickler's own recursion limit never writes.
const DEPTH_MAX: u32 = 10_000;
/// Nodes after expansion at which sharing is an attack.
const WEIGHT_MAX: u64 = 1 << 32;
/// A memo number beyond this, far above the number of entries, makes CPython allocate for all numbers below.
const MEMO_INDEX_MAX: u64 = 16 << 20;
/// Most bytes of texts that stand nowhere in the stream.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// Most different memo numbers beyond 64 bits.
const LARGE_MAX: usize = 256;
/// Opcodes that a trace shows.
pub(super) const TRACE: usize = 16;
/// Deepest nesting of pickles inside joblib arrays.
const RUNS_MAX: u32 = 16;

/// An imported name.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) module: String,
    pub(super) attribute: String,
    pub(super) standing: Standing,
    pub(super) role: Role,
}

/// Names that the machine itself knows what to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Ordinary,
    /// What joblib writes in front of an array.
    ArrayWrapper,
    /// What joblib wrote for an array in a file of its own.
    FileWrapper,
    /// A distribution of SciPy, which executes a text of its state.
    Distribution,
    /// Lives in a module whose functions `evaluate` knows.
    Evaluated,
}

impl Role {
    fn of(module: &str, attribute: &str) -> Self {
        // scikit-learn before 0.23 brought a copy of joblib.
        let module = module.strip_prefix("sklearn.externals.").unwrap_or(module);
        if attribute == "NumpyArrayWrapper" && module == "joblib.numpy_pickle" {
            Self::ArrayWrapper
        } else if attribute.ends_with("NDArrayWrapper") && module.starts_with("joblib.numpy_pickle") {
            Self::FileWrapper
        } else if module.starts_with("scipy.stats") && attribute.ends_with("_gen") {
            Self::Distribution
        } else if evaluate::MODULES.contains(&module.trim_start_matches('_')) {
            Self::Evaluated
        } else {
            Self::Ordinary
        }
    }
}

impl Name {
    /// Whether both parts are paths of identifiers, which chance does not write.
    pub(super) fn is_plain(&self) -> bool {
        self.standing != Standing::Odd
    }

    /// Whether calling it so makes a fresh value of any arguments, and nothing else has to be looked at.
    pub(super) fn is_fresh(&self, how: How) -> bool {
        let is_fresh = match self.standing {
            Standing::Allowed(Effect::Make) => true,
            Standing::Allowed(Effect::Class) => how == How::New,
            _ => false,
        };
        is_fresh && self.role != Role::Evaluated
    }
}

/// Why a step did not go on. The text says what CPython would say.
pub(super) enum Halt {
    Stop,
    /// References to texts, so that a step's result fits in two registers.
    Broken(&'static &'static str),
    Limit(&'static &'static str),
}

const EMPTY: Halt = Halt::Broken(&"the stack is empty");

pub(super) type Step<T = ()> = Result<T, Halt>;

/// See the module.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent observation about the stream")]
pub(super) struct Machine<'s> {
    pub(super) input: Input<'s>,
    pub(super) names: Vec<Name>,
    name_index: HashMap<(String, String), u32>,
    /// Operands of STACK_GLOBAL by where their texts stand.
    pairs: HashMap<(Wide, Wide), u32>,
    pub(super) stack: Stack,
    pub(super) memo: Memo,
    pub(super) heap: Heap,
    pub(super) protocol: u8,
    pub(super) framing: Framing,
    pub(super) frame_end: u64,
    /// Whether the stream means something else to an unpickler that holds frames in a buffer.
    pub(super) frames_matter: bool,
    /// Offset of the opcode that is being followed.
    pub(super) at: u64,
    start: u64,
    /// The last opcodes: above the lowest byte of each where it stands.
    pub(super) trace: [u64; TRACE],
    pub(super) opcodes: u64,
    runs: u32,
    /// Texts and byte strings that stand nowhere in the stream.
    kept: Vec<Box<[u8]>>,
    kept_bytes: usize,
    /// What `copyreg.add_extension` registered: the names' numbers by code.
    pub(super) extensions: HashMap<u32, u32>,
    /// Whether a name is only known while loading, or by the loader.
    pub(super) unresolved: bool,
    /// Memo numbers beyond 64 bits, as digits.
    large: Vec<Vec<u8>>,
    /// Whether joblib's array wrappers are followed by arrays, as for joblib, or by opcodes, as for everybody else.
    pub(super) arrays: Arrays,
    /// What stood in such arrays.
    pub(super) seen: Seen,
    /// Pickles that were followed before this one.
    before: u32,
    pub(super) drafts: Vec<Draft>,
    pub(super) draft_index: HashMap<(&'static str, String), usize>,
    pub(super) overflow: bool,
    pub(super) nested: Vec<Nested>,
    pub(super) storages: HashMap<String, Storage>,
    pub(super) script: bool,
    pub(super) calls: u64,
    /// Follows opcode by opcode, for comparison.
    #[cfg(test)]
    pub(super) has_no_strides: bool,
}

impl<'s> Machine<'s> {
    /// A machine that will read `source` from `start`. `script`: the file is a TorchScript archive, whose own classes
    /// (`__torch__.…`) come with it.
    pub(super) fn new(source: &'s mut dyn Source, start: u64, script: bool) -> Self {
        Self {
            input: Input::new(source, start),
            names: Vec::new(),
            name_index: HashMap::new(),
            pairs: HashMap::new(),
            stack: Stack::default(),
            memo: Memo::default(),
            heap: Heap::default(),
            protocol: 0,
            framing: Framing::Whole,
            frame_end: u64::MAX,
            frames_matter: false,
            at: start,
            start,
            trace: [0; TRACE],
            opcodes: 0,
            runs: 0,
            kept: Vec::new(),
            kept_bytes: 0,
            extensions: HashMap::new(),
            unresolved: false,
            large: Vec::new(),
            arrays: Arrays::Joblib,
            seen: Seen::Nothing,
            before: 0,
            drafts: Vec::new(),
            draft_index: HashMap::new(),
            overflow: false,
            nested: Vec::new(),
            storages: HashMap::new(),
            script,
            calls: 0,
            #[cfg(test)]
            has_no_strides: false,
        }
    }

    /// Follows the pickle at the current position, and those that follow it at once, `most` together.
    pub(super) fn row(&mut self, most: u32) -> End {
        self.before = 0;
        let mut end = self.run();
        while end == End::Stop && self.before + 1 < most && self.another_begins() {
            self.before += 1;
            end = self.run();
        }
        end
    }

    /// Follows one pickle from the current position.
    pub(super) fn run(&mut self) -> End {
        match self.follow() {
            Halt::Stop => End::Stop,
            Halt::Broken(reason) => End::Broken { offset: self.at, reason },
            Halt::Limit(reason) => End::Limit { offset: self.at, reason },
        }
    }

    fn follow(&mut self) -> Halt {
        self.stack.clear();
        self.memo.clear();
        self.protocol = 0;
        self.frame_end = u64::MAX;
        self.input.set_fence(u64::MAX);
        self.start = self.input.offset();
        let halt = loop {
            if let Err(halt) = self.step() {
                break halt;
            }
        };
        if matches!(halt, Halt::Stop) {
            self.stop_inside_frame();
        }
        self.note_expansion();
        halt
    }

    /// What stands behind STOP in the same frame is read by nobody, or is the next pickle: that depends on the reader.
    fn stop_inside_frame(&mut self) {
        let rest = self.frame_rest();
        if rest > 0 {
            self.frames_matter = true;
            self.draft(id::PKL_DIVERGENCE, "stop", format!("{rest} bytes of the frame stand behind STOP"));
            if self.framing == Framing::Buffered {
                self.leave_frame_at_once();
            }
        }
    }

    /// Bytes that are left of the current frame.
    fn frame_rest(&self) -> u64 {
        let end = if self.framing == Framing::Whole { self.frame_end } else { self.input.fence() };
        if end == u64::MAX { 0 } else { end.saturating_sub(self.input.offset()) }
    }

    /// Goes to the end of the current frame.
    pub(super) fn leave_frame_at_once(&mut self) {
        let fence = self.input.fence();
        if fence != u64::MAX {
            self.input.go_to(fence);
            self.input.set_fence(u64::MAX);
        }
    }

    /// A pickle that a loader reads from inside the stream: own stack, own memo, own frames.
    pub(super) fn run_inner(&mut self) -> Step {
        self.runs += 1;
        if self.runs > RUNS_MAX {
            return Err(Halt::Limit(&"pickles nested too deep"));
        }
        let stack = std::mem::take(&mut self.stack);
        let memo = std::mem::take(&mut self.memo);
        let (protocol, frame_end, start) = (self.protocol, self.frame_end, self.start);
        let halt = self.follow();
        (self.stack, self.memo) = (stack, memo);
        (self.protocol, self.frame_end, self.start) = (protocol, frame_end, start);
        self.runs -= 1;
        if matches!(halt, Halt::Stop) { Ok(()) } else { Err(halt) }
    }

    fn note_expansion(&mut self) {
        if self.heap.depth > DEPTH_MAX {
            let message = format!("values are nested {} deep", self.heap.depth);
            self.draft(id::PKL_RESOURCE, "depth", message);
        }
        if self.heap.weight > WEIGHT_MAX {
            let message = format!("shared values stand for {} nodes when they are written out", self.heap.weight);
            self.draft(id::PKL_RESOURCE, "weight", message);
        }
    }

    /// Follows a stride, if there is one, and the next opcode.
    fn step(&mut self) -> Step {
        if self.stride() {
            self.memoize_at_once()?;
        }
        self.at = self.input.offset();
        let code = self.input.byte().ok_or(Halt::Broken(&"the stream ends without STOP"))?;
        let slot = usize::try_from(self.opcodes % TRACE as u64).unwrap_or(0);
        if let Some(entry) = self.trace.get_mut(slot) {
            *entry = self.at << 8 | u64::from(code);
        }
        self.opcodes += 1;
        let result = self.execute(code);
        // Also where the opcode failed: another reading may go on.
        self.leave_frame();
        result?;
        self.memoize_at_once()
    }

    /// Follows a MEMOIZE together with the opcode before it: picklers write one behind almost everything.
    fn memoize_at_once(&mut self) -> Step {
        if self.input.next_is(op::MEMOIZE) {
            self.at = self.input.offset() - 1;
            let result = self.put(self.memo.count());
            self.leave_frame();
            result?;
        }
        Ok(())
    }

    /// Forgets a frame that has ended; whether the position is outside of any frame.
    #[inline]
    pub(super) fn leave_frame(&mut self) -> bool {
        let offset = self.input.offset();
        if offset >= self.frame_end {
            if offset > self.frame_end && self.at < self.frame_end {
                self.frames_matter = true;
                self.draft(id::PKL_DIVERGENCE, "straddle", "an opcode crosses the end of its frame".to_owned());
            }
            self.frame_end = u64::MAX;
        }
        self.frame_end == u64::MAX
    }

    fn execute(&mut self, code: u8) -> Step {
        match code {
            // Stack and memo
            op::MARK => self.mark(),
            op::POP => self.pop_one(),
            op::POP_MARK => self.pop_mark().map(|from| self.stack.truncate(from)),
            op::DUP => self.top().and_then(|value| self.push_packed(value)),
            op::PUT => self.memo_line().and_then(|index| self.put(index)),
            op::BINPUT => self.u8().and_then(|index| self.put(u64::from(index))),
            op::LONG_BINPUT => self.u32().and_then(|index| self.put(u64::from(index))),
            op::MEMOIZE => self.put(self.memo.count()),
            op::GET => self.memo_line().and_then(|index| self.get(index)),
            op::BINGET => self.u8().and_then(|index| self.get(u64::from(index))),
            op::LONG_BINGET => self.u32().and_then(|index| self.get(u64::from(index))),
            // Small values
            op::NONE => self.push(Value::None),
            op::NEWTRUE => self.push(Value::Bool(true)),
            op::NEWFALSE => self.push(Value::Bool(false)),
            op::INT => self.int_line(),
            op::LONG => self.long_line(),
            op::FLOAT => self.float_line(),
            op::BININT => self.i32().and_then(|value| self.push(int(i64::from(value)))),
            op::BININT1 => self.u8().and_then(|value| self.push(int(i64::from(value)))),
            op::BININT2 => self.array::<2>().and_then(|raw| self.push(int(i64::from(u16::from_le_bytes(raw))))),
            op::LONG1 => self.u8().and_then(|length| self.long(u64::from(length))),
            op::LONG4 => self.i32().and_then(|length| match u64::try_from(length) {
                Ok(length) => self.long(length),
                Err(_) => Err(Halt::Broken(&"LONG4 with a negative length")),
            }),
            op::BINFLOAT => self.array::<8>().and_then(|_| self.push(Value::Number)),
            // Texts and bytes
            op::STRING => self.string_line(),
            op::UNICODE => self.text_line(),
            op::SHORT_BINSTRING | op::SHORT_BINUNICODE => self.u8().and_then(|n| self.text(2, u64::from(n))),
            // The C unpickler takes the length of BINSTRING for unsigned, the Python one for signed.
            op::BINUNICODE | op::BINSTRING => self.u32().and_then(|n| self.text(5, u64::from(n))),
            op::BINUNICODE8 => self.u64().and_then(|n| self.text(9, n)),
            op::SHORT_BINBYTES => self.u8().and_then(|n| self.bytes(u64::from(n))),
            op::BINBYTES => self.u32().and_then(|n| self.bytes(u64::from(n))),
            op::BINBYTES8 | op::BYTEARRAY8 => self.u64().and_then(|n| self.bytes(n)),
            op::NEXT_BUFFER => self.push(Value::Opaque),
            op::READONLY_BUFFER => self.top().map(|_| ()),
            // Containers
            op::EMPTY_TUPLE => self.tuple_of(0),
            op::TUPLE1 => self.tuple_of(1),
            op::TUPLE2 => self.tuple_of(2),
            op::TUPLE3 => self.tuple_of(3),
            op::TUPLE => self.pop_mark().and_then(|from| self.tuple_from(from)),
            op::EMPTY_LIST => self.empty_list(),
            op::LIST => self.pop_mark().and_then(|from| self.list_from(from)),
            op::APPEND => self.topmost(1).and_then(|from| self.add_items(from)),
            op::APPENDS | op::ADDITEMS => self.pop_mark().and_then(|from| self.add_items(from)),
            op::EMPTY_DICT => self.empty_dict(),
            op::DICT => self.pop_mark().and_then(|from| self.dict_from(from)),
            op::SETITEM => self.topmost(2).and_then(|from| self.set_items(from)),
            op::SETITEMS => self.pop_mark().and_then(|from| self.set_items(from)),
            op::EMPTY_SET => self.push(Value::Set),
            op::FROZENSET => self.pop_mark().and_then(|from| self.replace_from(from, Value::Set)),
            // Names and calls
            op::GLOBAL => self.global(),
            op::STACK_GLOBAL => self.stack_global(),
            op::INST => self.inst(),
            op::OBJ => self.obj(),
            op::REDUCE => self.reduce(),
            op::NEWOBJ => self.newobj(),
            op::NEWOBJ_EX => self.newobj_ex(),
            op::BUILD => self.build(),
            op::EXT1 => self.u8().and_then(|extension| self.extension(u32::from(extension))),
            op::EXT2 => self.array::<2>().and_then(|raw| self.extension(u32::from(u16::from_le_bytes(raw)))),
            op::EXT4 => self.u32().and_then(|extension| self.extension(extension)),
            op::PERSID => self.persistent_line(),
            op::BINPERSID => self.pop().and_then(|value| self.persistent(value)),
            // The stream itself
            op::PROTO => self.proto(),
            op::FRAME => self.frame(),
            op::STOP => self.pop().and(Err(Halt::Stop)),
            _ => Err(Halt::Broken(&"unknown opcode")),
        }
    }

    // --- stack and memo ----------------------------------------------------------------------------------------

    #[inline]
    pub(super) fn push(&mut self, value: Value) -> Step {
        self.push_packed(value.into())
    }

    fn push_packed(&mut self, value: Packed) -> Step {
        if self.stack.push(value) { Ok(()) } else { Err(Halt::Limit(&"more values on the stack than are followed")) }
    }

    pub(super) fn pop(&mut self) -> Step<Value> {
        self.stack.pop().map(Value::from).ok_or(EMPTY)
    }

    fn top(&self) -> Step<Packed> {
        self.stack.top().ok_or(EMPTY)
    }

    fn mark(&mut self) -> Step {
        if self.stack.mark() { Ok(()) } else { Err(Halt::Limit(&"more open marks than are followed")) }
    }

    /// Where the items above the topmost mark begin; the mark is gone.
    pub(super) fn pop_mark(&mut self) -> Step<usize> {
        self.stack.pop_mark().ok_or(Halt::Broken(&"no mark on the stack"))
    }

    /// POP removes a mark where one is on top.
    fn pop_one(&mut self) -> Step {
        if self.stack.ends_with_mark() { self.pop_mark().map(|_| ()) } else { self.pop().map(|_| ()) }
    }

    /// Where the topmost `count` values begin, which must lie above the topmost mark.
    fn topmost(&self, count: usize) -> Step<usize> {
        self.stack.topmost(count).ok_or(EMPTY)
    }

    fn put(&mut self, index: u64) -> Step {
        let value = self.top()?;
        let count = self.memo.count();
        if index > MEMO_INDEX_MAX && index / 64 > count {
            let message = format!("memo number {index} with {count} entries");
            self.draft(id::PKL_RESOURCE, "memo", message);
        }
        if self.memo.is_full() {
            return Err(Halt::Limit(&"more memo entries than are followed"));
        }
        self.memo.put(index, value);
        Ok(())
    }

    fn get(&mut self, index: u64) -> Step {
        let Some(value) = self.memo.get(index) else {
            if self.before > 0 {
                // Whoever loads all pickles with one unpickler keeps the memo from one to the next.
                let message = format!("memo number {index} was put by no opcode of this pickle");
                self.draft(id::PKL_DIVERGENCE, "memo", message);
            }
            return Err(Halt::Broken(&"a memo number that was never put"));
        };
        self.push_packed(value)
    }

    /// A stand-in for a memo number beyond 64 bits: only the Python unpickler takes one.
    pub(super) fn large_number(&mut self, line: &[u8]) -> Step<u64> {
        self.draft(id::PKL_DIVERGENCE, "memo number", "a memo number beyond 64 bits".to_owned());
        let is_sign = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r' | b'_' | b'+');
        let mut digits: Vec<u8> = line.iter().copied().filter(|byte| !is_sign(byte)).collect();
        digits.drain(..digits.iter().take_while(|digit| **digit == b'0').count());
        if digits.starts_with(b"-") {
            return Err(Halt::Broken(&"a negative memo number"));
        }
        let place = self.large.iter().position(|known| *known == digits).unwrap_or(self.large.len());
        if place >= LARGE_MAX {
            return Err(Halt::Limit(&"more memo numbers beyond 64 bits than are followed"));
        }
        if place == self.large.len() {
            self.large.push(digits);
        }
        Ok(u64::MAX - place as u64)
    }

    /// Keeps a text or byte string that stands nowhere in the stream.
    pub(super) fn keep(&mut self, bytes: Vec<u8>) -> Option<Wide> {
        let number = Wide::kept(self.kept.len())?;
        self.kept_bytes = self.kept_bytes.saturating_add(bytes.len() + size_of::<Box<[u8]>>());
        if self.kept_bytes > KEPT_BYTES_MAX {
            return None;
        }
        self.kept.push(bytes.into_boxed_slice());
        Some(number)
    }

    pub(super) fn kept(&self, index: usize) -> Option<&[u8]> {
        self.kept.get(index).map(AsRef::as_ref)
    }

    // --- containers --------------------------------------------------------------------------------------------

    fn tuple_of(&mut self, count: usize) -> Step {
        self.topmost(count).and_then(|from| self.tuple_from(from))
    }

    fn tuple_from(&mut self, from: usize) -> Step {
        let container = self.heap.make();
        self.heap.extend(container, self.stack.from(from));
        self.replace_from(from, Value::Tuple(container))
    }

    fn list_from(&mut self, from: usize) -> Step {
        let container = self.heap.make();
        self.heap.extend(container, self.stack.from(from));
        self.replace_from(from, Value::List(container))
    }

    fn dict_from(&mut self, from: usize) -> Step {
        let container = self.heap.make();
        self.check_keys(from);
        self.heap.extend(container, self.stack.from(from));
        self.replace_from(from, Value::Dict(container))
    }

    fn empty_list(&mut self) -> Step {
        let container = self.heap.make();
        self.push(Value::List(container))
    }

    fn empty_dict(&mut self) -> Step {
        let container = self.heap.make();
        self.push(Value::Dict(container))
    }

    fn replace_from(&mut self, from: usize, value: Value) -> Step {
        self.stack.truncate(from);
        self.push(value)
    }

    /// APPEND, APPENDS, ADDITEMS: items from `from` go into the value below them.
    fn add_items(&mut self, from: usize) -> Step {
        let target = self.below(from)?;
        match target {
            Value::List(container) => {
                self.heap.extend(container, self.stack.from(from));
            }
            other if !self.stack.from(from).is_empty() => self.mutated(other, "adds items to"),
            Value::Set => {}
            other => self.changed_by_nothing(other),
        }
        self.stack.truncate(from);
        Ok(())
    }

    /// The C unpickler does not look at what it adds nothing to; the Python one does.
    fn changed_by_nothing(&mut self, target: Value) {
        if target.is_plain() && !matches!(target, Value::Bytes(_)) {
            self.draft(id::PKL_DIVERGENCE, "nothing", "adds nothing to what takes no items".to_owned());
        }
    }

    /// SETITEM, SETITEMS: keys and values from `from` go into the value below them.
    fn set_items(&mut self, from: usize) -> Step {
        let target = self.below(from)?;
        self.check_keys(from);
        match target {
            Value::Dict(container) => {
                self.heap.extend(container, self.stack.from(from));
            }
            other if !self.stack.from(from).is_empty() => self.mutated(other, "sets items of"),
            _ => {}
        }
        self.stack.truncate(from);
        Ok(())
    }

    fn below(&self, from: usize) -> Step<Value> {
        self.stack.below(from).map(Value::from).ok_or(EMPTY)
    }

    // --- names -------------------------------------------------------------------------------------------------

    fn stack_global(&mut self) -> Step {
        let name = self.pop()?;
        let module = self.pop()?;
        if let (Value::Text(module), Value::Text(name)) = (module, name) {
            if let Some(known) = self.pairs.get(&(module, name)) {
                return self.push(Value::Global(*known));
            }
            if let (Some(module_text), Some(name_text)) = (self.text_at(module), self.text_at(name)) {
                let global = self.import(&module_text, &name_text);
                if let Value::Global(number) = global {
                    self.pairs.insert((module, name), number);
                }
                return self.push(global);
            }
        }
        // CPython takes nothing but texts here; what was imported or made by a call may be one.
        let is_text = |value| {
            matches!(
                value,
                Value::Text(_)
                    | Value::Opaque
                    | Value::Global(_)
                    | Value::Made(_)
                    | Value::Persistent
                    | Value::Unknown
                    | Value::Hole
            )
        };
        if !is_text(module) || !is_text(name) {
            return Err(Halt::Broken(&"a name that is no text"));
        }
        self.unresolved = true;
        let message = format!("the name `{}.{}` is computed", self.describe(module), self.describe(name));
        self.draft(id::PKL_COMPUTED_NAME, "computed", message);
        self.push(Value::Unknown)
    }

    /// The number of `module.name`, new or known.
    pub(super) fn number_of(&mut self, module: &str, name: &str, standing: Standing) -> Option<u32> {
        let key = (module.to_owned(), name.to_owned());
        if let Some(number) = self.name_index.get(&key) {
            return Some(*number);
        }
        if self.names.len() >= super::NAMES_MAX {
            return None;
        }
        let number = u32::try_from(self.names.len()).ok()?;
        let role = Role::of(module, name);
        self.names.push(Name { module: key.0.clone(), attribute: key.1.clone(), standing, role });
        self.name_index.insert(key, number);
        Some(number)
    }

    pub(super) fn known_number(&self, module: &str, name: &str) -> Option<u32> {
        self.name_index.get(&(module.to_owned(), name.to_owned())).copied()
    }

    // --- the stream itself -------------------------------------------------------------------------------------

    fn proto(&mut self) -> Step {
        let protocol = self.u8()?;
        if self.at != self.start {
            self.draft(id::PKL_IRREGULAR, "proto", "PROTO in the middle of the stream".to_owned());
        }
        if protocol > 5 {
            return Err(Halt::Broken(&"unknown protocol"));
        }
        self.protocol = protocol;
        Ok(())
    }

    fn frame(&mut self) -> Step {
        let length = self.u64()?;
        self.leave_frame();
        if self.frame_rest() > 0 {
            self.frames_matter = true;
            self.draft(id::PKL_DIVERGENCE, "frames", "a frame begins inside another".to_owned());
        }
        // The C unpickler refuses a frame that is not there whole; the Python one runs what there is of it.
        if length > self.input.remaining() {
            let message = format!("a frame claims {length} bytes, {} are left", self.input.remaining());
            self.draft(id::PKL_DIVERGENCE, "short frame", message);
        }
        match self.framing {
            Framing::Whole => {
                self.frame_end = self.input.offset().saturating_add(length);
            }
            Framing::Buffered if length <= self.frame_rest() => {}
            Framing::Buffered => {
                self.leave_frame_at_once();
                let end = self.input.offset().saturating_add(length);
                self.input.set_fence(if length > self.input.remaining() { u64::MAX } else { end });
            }
        }
        Ok(())
    }

    /// The last opcodes, oldest first, for evidence.
    pub(super) fn trace(&self) -> String {
        let count = self.opcodes.min(TRACE as u64);
        let mut text = String::new();
        for back in (0..count).rev() {
            let index = usize::try_from((self.opcodes - 1 - back) % TRACE as u64).unwrap_or(0);
            let Some(entry) = self.trace.get(index) else { continue };
            if !text.is_empty() {
                text.push_str(" · ");
            }
            let _ = write!(text, "{:#x} {}", entry >> 8, op::name((entry & 0xff) as u8));
        }
        text
    }
}
