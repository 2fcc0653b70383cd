//! The tensors that a torch pickle names: a reader of plain states, not a judge of pickles.
//!
//! It follows the opcodes that `torch.save` writes for dictionaries, modules and tensors, gives up at everything else,
//! and never believes a name to mean more than a tensor, a storage or a container. What a pickle *does* is the scanner's
//! business, not this module's.

use std::rc::Rc;

/// Most values that are kept.
const VALUES_MAX: usize = 8 << 20;
/// Deepest nesting of containers around a tensor.
const DEPTH_MAX: u32 = 12;
/// Most tensors.
const TENSORS_MAX: usize = 200_000;

/// A tensor by the place of its numbers.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) name: String,
    /// In the names of safetensors.
    pub(super) dtype: &'static str,
    /// The storage's key.
    pub(super) key: String,
    /// First element in the storage.
    pub(super) offset: u64,
    /// Dimensions, in the order in which they lie in memory.
    pub(super) shape: Vec<u64>,
}

#[derive(Debug, Clone)]
enum Value {
    Number(i64),
    Text(Rc<str>),
    Name(Rc<str>),
    Tuple(Rc<[Value]>),
    /// A dictionary, list or object: its number among the containers.
    Container(usize),
    Storage(Rc<(String, &'static str)>),
    Tensor(Rc<Found>),
    Mark,
    Other,
}

/// Class names of storages and the type of their elements.
const STORAGES: [(&str, &str); 10] = [
    ("DoubleStorage", "F64"),
    ("FloatStorage", "F32"),
    ("HalfStorage", "F16"),
    ("BFloat16Storage", "BF16"),
    ("LongStorage", "I64"),
    ("IntStorage", "I32"),
    ("ShortStorage", "I16"),
    ("CharStorage", "I8"),
    ("ByteStorage", "U8"),
    ("BoolStorage", "BOOL"),
];

/// The tensors in the order of the pickle.
///
/// # Errors
/// In plain words, what is not followed.
pub(super) fn tensors(pickle: &[u8]) -> Result<Vec<Found>, String> {
    let mut reader = Reader { rest: pickle, stack: Vec::new(), memo: Vec::new(), containers: Vec::new(), values: 0 };
    let top = reader.run()?;
    let mut found = Vec::new();
    reader.walk(&top, "", 0, &mut found);
    Ok(found)
}

struct Reader<'p> {
    rest: &'p [u8],
    stack: Vec<Value>,
    memo: Vec<Value>,
    /// Entries of containers: key, or none in lists, and value.
    containers: Vec<Vec<(Option<Value>, Value)>>,
    values: usize,
}

impl Reader<'_> {
    fn run(&mut self) -> Result<Value, String> {
        loop {
            let code = self.byte()?;
            self.values += 1;
            if self.values > VALUES_MAX {
                return Err("more values than are followed".to_owned());
            }
            match code {
                b'.' => return self.pop(),
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'(' => self.stack.push(Value::Mark),
                b'}' | b']' | 0x8f => self.new_container(),
                b')' => self.stack.push(Value::Tuple(Rc::from([]))),
                b't' => {
                    let items = self.pop_mark()?;
                    self.stack.push(Value::Tuple(items.into()));
                }
                0x85..=0x87 => {
                    let count = usize::from(code - 0x84);
                    let at = self.stack.len().checked_sub(count).ok_or("the stack is empty")?;
                    let items = self.stack.split_off(at);
                    self.stack.push(Value::Tuple(items.into()));
                }
                b'N' | 0x88 | 0x89 => self.stack.push(Value::Other),
                b'K' => self.number(1)?,
                b'M' => self.number(2)?,
                b'J' => self.number(4)?,
                0x8a => {
                    let count = usize::from(self.byte()?);
                    self.number(count)?;
                }
                b'G' => {
                    self.take(8)?;
                    self.stack.push(Value::Other);
                }
                b'X' => self.text(4)?,
                0x8c => self.text(1)?,
                b'U' | b'C' => self.bytes(1)?,
                b'T' | b'B' => self.bytes(4)?,
                0x8d | 0x8e | 0x96 => self.bytes(8)?,
                b'q' | b'r' | 0x94 => self.remember(code)?,
                b'h' => {
                    let at = usize::from(self.byte()?);
                    self.recall(at)?;
                }
                b'j' => {
                    let at = self.length(4)?;
                    self.recall(at)?;
                }
                b'c' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    self.stack.push(Value::Name(format!("{module}.{name}").into()));
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Value::Text(module), Value::Text(name)) = (module, name) else {
                        return Err("a computed name".to_owned());
                    };
                    self.stack.push(Value::Name(format!("{module}.{name}").into()));
                }
                b'Q' => self.persistent()?,
                b'R' | 0x81 => self.call()?,
                b'b' => self.build()?,
                b's' | b'u' => self.set_items(code == b'u')?,
                b'a' | b'e' | 0x90 => self.append(code != b'a')?,
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_mark()?),
                b'2' => {
                    let top = self.stack.last().cloned().ok_or("the stack is empty")?;
                    self.stack.push(top);
                }
                other => return Err(format!("opcode {other:#04x}")),
            }
        }
    }

    /// Tensors below `value`, their keys joined by dots.
    fn walk(&self, value: &Value, path: &str, depth: u32, found: &mut Vec<Found>) {
        if depth > DEPTH_MAX || found.len() >= TENSORS_MAX {
            return;
        }
        let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value {
            Value::Tensor(tensor) => found.push(Found { name: path.to_owned(), ..Found::clone(tensor) }),
            Value::Container(number) => {
                for (index, (key, value)) in self.containers.get(*number).into_iter().flatten().enumerate() {
                    let key = match key {
                        Some(Value::Text(key)) => join(key),
                        Some(Value::Number(key)) => join(&key.to_string()),
                        _ => join(&index.to_string()),
                    };
                    self.walk(value, &key, depth + 1, found);
                }
            }
            Value::Tuple(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(item, &join(&index.to_string()), depth + 1, found);
                }
            }
            _ => {}
        }
    }

    /// `('storage', class, key, location, elements)`.
    fn persistent(&mut self) -> Result<(), String> {
        let Value::Tuple(items) = self.pop()? else { return Err("an unusual persistent id".to_owned()) };
        let value = match &*items {
            [Value::Text(_), Value::Name(class), Value::Text(key), ..] => {
                let class = class.rsplit('.').next().unwrap_or_default();
                let dtype = STORAGES.iter().find(|(name, _)| *name == class).map_or("untyped", |(_, dtype)| *dtype);
                Value::Storage(Rc::new((key.to_string(), dtype)))
            }
            _ => Value::Other,
        };
        self.stack.push(value);
        Ok(())
    }

    fn call(&mut self) -> Result<(), String> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let (Value::Name(name), Value::Tuple(items)) = (&callable, &arguments) else {
            self.new_container();
            return Ok(());
        };
        let value = match (&**name, &**items) {
            (
                "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor",
                [Value::Storage(storage), rest @ ..],
            ) => rebuilt(storage, rest),
            ("torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state", [first, ..]) => {
                first.clone()
            }
            _ => {
                self.new_container();
                return Ok(());
            }
        };
        self.stack.push(value);
        Ok(())
    }

    /// An object's state counts as its entries.
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let entries = match &state {
            Value::Container(number) => self.containers.get(*number).cloned().unwrap_or_default(),
            Value::Tuple(items) => items.iter().map(|item| (None, item.clone())).collect(),
            _ => Vec::new(),
        };
        if let Some(Value::Container(number)) = self.stack.last() {
            self.values += entries.len();
            if let Some(target) = self.containers.get_mut(*number) {
                target.extend(entries);
            }
        }
        Ok(())
    }

    fn set_items(&mut self, many: bool) -> Result<(), String> {
        let mut items = if many {
            self.pop_mark()?
        } else {
            let (value, key) = (self.pop()?, self.pop()?);
            vec![key, value]
        };
        let Some(Value::Container(number)) = self.stack.last() else {
            return Err("entries of no container".to_owned());
        };
        let entries = self.containers.get_mut(*number).ok_or("entries of no container")?;
        let mut items = items.drain(..);
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            entries.push((Some(key), value));
        }
        Ok(())
    }

    fn append(&mut self, many: bool) -> Result<(), String> {
        let items = if many { self.pop_mark()? } else { vec![self.pop()?] };
        let Some(Value::Container(number)) = self.stack.last() else {
            return Err("entries of no container".to_owned());
        };
        let entries = self.containers.get_mut(*number).ok_or("entries of no container")?;
        entries.extend(items.into_iter().map(|item| (None, item)));
        Ok(())
    }

    fn new_container(&mut self) {
        self.stack.push(Value::Container(self.containers.len()));
        self.containers.push(Vec::new());
    }

    fn remember(&mut self, code: u8) -> Result<(), String> {
        let at = match code {
            b'q' => usize::from(self.byte()?),
            b'r' => self.length(4)?,
            _ => self.memo.len(),
        };
        let top = self.stack.last().cloned().ok_or("the stack is empty")?;
        if at > self.memo.len().saturating_add(1_024) {
            return Err("memo numbers that no pickler writes".to_owned());
        }
        while self.memo.len() <= at {
            self.memo.push(Value::Other);
        }
        if let Some(place) = self.memo.get_mut(at) {
            *place = top;
        }
        Ok(())
    }

    fn recall(&mut self, at: usize) -> Result<(), String> {
        let value = self.memo.get(at).cloned().ok_or("a memo number that was not set")?;
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, String> {
        match self.stack.pop() {
            Some(Value::Mark) | None => Err("the stack is empty".to_owned()),
            Some(value) => Ok(value),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>, String> {
        let at = self.stack.iter().rposition(|value| matches!(value, Value::Mark)).ok_or("there is no mark")?;
        let items = self.stack.split_off(at + 1);
        self.stack.pop();
        Ok(items)
    }

    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let taken = self.rest.get(..count).ok_or("it ends early")?;
        self.rest = self.rest.get(count..).unwrap_or_default();
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.take(1)?.first().copied().ok_or_else(|| "it ends early".to_owned())
    }

    fn length(&mut self, count: usize) -> Result<usize, String> {
        let number = self.take(count)?.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        usize::try_from(number).map_err(|_| "a length beyond all memory".to_owned())
    }

    /// Little-endian, signed where it has four bytes or more.
    fn number(&mut self, count: usize) -> Result<(), String> {
        let bytes = self.take(count)?;
        let value = if count > 8 {
            Value::Other
        } else {
            let number = bytes.iter().rev().fold(0_i64, |value, byte| value << 8 | i64::from(*byte));
            let is_negative = count >= 4 && bytes.last().is_some_and(|byte| *byte >= 0x80);
            let shift = 64 - 8 * u32::try_from(count).unwrap_or(8);
            Value::Number(if is_negative && count < 8 { number << shift >> shift } else { number })
        };
        self.stack.push(value);
        Ok(())
    }

    fn text(&mut self, width: usize) -> Result<(), String> {
        let count = self.length(width)?;
        let text = String::from_utf8_lossy(self.take(count)?).into_owned();
        self.stack.push(Value::Text(text.into()));
        Ok(())
    }

    fn bytes(&mut self, width: usize) -> Result<(), String> {
        let count = self.length(width)?;
        self.take(count)?;
        self.stack.push(Value::Other);
        Ok(())
    }

    fn line(&mut self) -> Result<String, String> {
        let end = memchr::memchr(b'\n', self.rest).ok_or("it ends early")?;
        let line = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.take(1)?;
        Ok(line)
    }
}

/// `(offset, size, stride, …)` of a tensor whose elements lie together, in whatever order of dimensions.
fn rebuilt(storage: &Rc<(String, &'static str)>, rest: &[Value]) -> Value {
    let [Value::Number(offset), Value::Tuple(size), Value::Tuple(stride), ..] = rest else { return Value::Other };
    let numbers = |items: &[Value]| {
        let number = |item: &Value| match item {
            Value::Number(number) => u64::try_from(*number).ok(),
            _ => None,
        };
        items.iter().map(number).collect::<Option<Vec<u64>>>()
    };
    let (Some(size), Some(stride), Ok(offset)) = (numbers(size), numbers(stride), u64::try_from(*offset)) else {
        return Value::Other;
    };
    let mut sides: Vec<(u64, u64)> = stride.into_iter().zip(size.iter().copied()).collect();
    sides.sort_by_key(|(stride, _)| std::cmp::Reverse(*stride));
    // Sides of length one have strides without meaning.
    let mut expected = 1_u64;
    for (stride, side) in sides.iter().rev().filter(|(_, side)| *side != 1) {
        if *stride != expected {
            return Value::Other;
        }
        expected = expected.saturating_mul(*side);
    }
    let shape = sides.into_iter().map(|(_, side)| side).collect();
    let (key, dtype) = &**storage;
    Value::Tensor(Rc::new(Found { name: String::new(), dtype, key: key.clone(), offset, shape }))
}
