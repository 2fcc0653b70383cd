//! R's serialised objects (`.rds`, `.RData`), as far as they hold language: who is called, what waits to be evaluated.
//!
//! [`read`] walks the stream that `serialize` writes, in its XDR and ASCII forms, and keeps no data. Memory is bounded by the
//! depth of the walk and by named constants.
//!
//! Source: R's `src/main/serialize.c`, and "R Internals", section 1.8. Absent on purpose: the native binary form `B`, which
//! no released function writes to files.

#![deny(clippy::indexing_slicing)]

use std::collections::HashSet;

/// Items of one stream that are walked.
const ITEMS_MAX: u64 = 50_000_000;
/// Deepest walk, in open tasks.
const TASKS_MAX: usize = 4 << 20;
/// Symbols and environments that later items refer to.
const REFERENCES_MAX: usize = 1 << 20;
/// Facts that are kept; a call of the same name is one.
const FACTS_MAX: usize = 200_000;
/// Longest name that is kept, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// Elements of one vector beyond which its length is a lie.
const ELEMENTS_MAX: u64 = 1 << 40;

/// Something that is not data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fact {
    /// An expression that R evaluates as soon as the object is looked at, outside of any environment (CVE-2024-27322).
    Promise {
        /// Where it stands.
        at: usize,
    },
    /// A binding whose function runs whenever its name is read.
    ActiveBinding {
        /// The name.
        name: String,
        /// Where it stands.
        at: usize,
    },
    /// A call of `name` in an expression.
    Call {
        /// What is called.
        name: String,
        /// Where its name stands.
        at: usize,
    },
    /// A name of the workspace.
    Binding {
        /// The name.
        name: String,
        /// Where it stands.
        at: usize,
    },
}

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At this byte, with everything read.
    Whole(usize),
    /// The stream breaks off or contradicts itself at this byte.
    Broken(usize),
    /// There is more than is walked.
    Limit(usize),
}

/// What a stream holds.
#[derive(Debug)]
pub struct Contents {
    /// Facts, in the order of the stream.
    pub facts: Vec<Fact>,
    /// How many functions there are.
    pub functions: u64,
    /// How the walk ended.
    pub end: End,
}

/// Whether `head` begins like a saved object or workspace.
pub fn is_likely(head: &[u8]) -> bool {
    let stream = head.strip_prefix(b"RDX2\n").or_else(|| head.strip_prefix(b"RDX3\n"));
    let stream = stream.or_else(|| head.strip_prefix(b"RDA2\n")).or_else(|| head.strip_prefix(b"RDA3\n"));
    let is_stream = |head: &[u8]| {
        matches!(head, [b'X', b'\n', 0, 0, 0, 2 | 3, 0, ..] | [b'A', b'\n', b'2' | b'3', b'\n', b'0'..=b'9', ..])
    };
    match stream {
        Some(stream) => stream.starts_with(b"X\n") || stream.starts_with(b"A\n"),
        None => is_stream(head),
    }
}

/// Walks `bytes`.
pub fn read(bytes: &[u8]) -> Contents {
    let skip = if bytes.starts_with(b"RD") { 5 } else { 0 };
    let is_ascii = bytes.get(skip) == Some(&b'A');
    let mut walk = Walk {
        bytes,
        at: skip + 2,
        is_ascii,
        is_workspace: skip > 0,
        references: Vec::new(),
        tasks: Vec::new(),
        environments: 0,
        facts: Vec::new(),
        names: HashSet::new(),
        functions: 0,
    };
    let end = match walk.run() {
        Some(end) => end,
        None => End::Broken(walk.at),
    };
    Contents { facts: walk.facts, functions: walk.functions, end }
}

/// What is still to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Item(Role),
    /// So many items.
    Items(u64),
    /// Byte code: its instructions were read, constants follow.
    Constants(u64),
    Constant,
    Code,
    /// Language inside of byte code, of the type that stands before it.
    CodeLanguage,
    LeaveEnvironment,
}

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Plain,
    /// What a call calls.
    Callee,
    /// An element of the pairlist that a workspace is.
    Workspace,
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    is_ascii: bool,
    is_workspace: bool,
    /// Names of symbols; other things that can be referred to have none.
    references: Vec<Option<String>>,
    tasks: Vec<Task>,
    environments: usize,
    facts: Vec<Fact>,
    /// Names that were called.
    names: HashSet<String>,
    functions: u64,
}

impl Walk<'_> {
    /// `None`: the stream is broken where the walk stands.
    fn run(&mut self) -> Option<End> {
        let version = self.int()?;
        self.int()?;
        self.int()?;
        if version == 3 {
            let length = self.int()?;
            self.text(length)?;
        } else if version != 2 {
            return None;
        }
        self.tasks.push(Task::Item(if self.is_workspace { Role::Workspace } else { Role::Plain }));
        let mut items = 0;
        while let Some(task) = self.tasks.pop() {
            items += 1;
            let is_full = self.references.len() > REFERENCES_MAX || self.facts.len() >= FACTS_MAX;
            if items > ITEMS_MAX || self.tasks.len() > TASKS_MAX || is_full {
                return Some(End::Limit(self.at));
            }
            match task {
                Task::Item(role) => self.item(role)?,
                Task::Items(0) | Task::Constants(0) => {}
                Task::Items(count) => self.push(&[Task::Item(Role::Plain), Task::Items(count - 1)]),
                Task::Constants(count) => self.push(&[Task::Constant, Task::Constants(count - 1)]),
                Task::Code => {
                    // Instructions are a vector of numbers; `0` marks the place where their count stands.
                    self.item(Role::Plain)?;
                    self.push(&[Task::Constants(u64::MAX)]);
                }
                Task::Constant => {
                    let kind = self.int()?;
                    self.constant(kind)?;
                }
                Task::CodeLanguage => {
                    let kind = self.int()?;
                    self.code_language(kind)?;
                }
                Task::LeaveEnvironment => self.environments = self.environments.saturating_sub(1),
            }
            if self.tasks.last() == Some(&Task::Constants(u64::MAX)) {
                self.tasks.pop();
                let count = u64::try_from(self.int()?).ok()?;
                self.push(&[Task::Constants(count)]);
            }
        }
        Some(End::Whole(self.at))
    }

    /// The first of `tasks` is done next.
    fn push(&mut self, tasks: &[Task]) {
        self.tasks.extend(tasks.iter().rev());
    }

    fn fact(&mut self, fact: Fact) {
        if self.facts.len() < FACTS_MAX {
            self.facts.push(fact);
        }
    }

    fn item(&mut self, role: Role) -> Option<()> {
        let start = self.at;
        let flags = u32::from_ne_bytes(self.int()?.to_ne_bytes());
        let (has_attributes, has_tag) = (flags & 0x200 != 0, flags & 0x400 != 0);
        let attributes = if has_attributes { Task::Item(Role::Plain) } else { Task::Items(0) };
        match flags & 0xff {
            SYMBOL => {
                let name = self.characters()?;
                self.called(role, Some(name.clone()), start);
                self.references.push(Some(name));
            }
            REFERENCE => {
                let packed = flags >> 8;
                let index =
                    if packed == 0 { usize::try_from(self.int()?).ok()? } else { usize::try_from(packed).ok()? };
                let name = self.references.get(index.checked_sub(1)?)?.clone();
                self.called(role, name, start);
            }
            PERSISTENT | PACKAGE | NAMESPACE => {
                self.int()?;
                let count = self.int()?;
                for _ in 0..count.min(1 << 16) {
                    self.characters()?;
                }
                self.references.push(None);
            }
            ENVIRONMENT => {
                self.int()?;
                self.references.push(None);
                self.environments += 1;
                self.push(&[Task::Items(4), Task::LeaveEnvironment]);
            }
            LIST | DOTS | CALL | CLOSURE | PROMISE => self.pair(flags, role, start, attributes, has_tag)?,
            EXTERNAL => {
                self.references.push(None);
                self.push(&[Task::Items(2), attributes]);
            }
            WEAK => {
                self.references.push(None);
                self.push(&[attributes]);
            }
            SPECIAL | BUILTIN => {
                let length = self.int()?;
                let name = self.text(length)?;
                self.called(role, Some(name), start);
            }
            CHARACTERS => {
                let length = self.int()?;
                self.text(length)?;
                self.push(&[attributes]);
            }
            LOGICAL | INTEGER => self.numbers(4, 1, attributes)?,
            REAL => self.numbers(8, 1, attributes)?,
            COMPLEX => self.numbers(8, 2, attributes)?,
            RAW => self.numbers(1, 1, attributes)?,
            STRINGS | VECTOR | EXPRESSION => {
                let count = self.length()?;
                self.push(&[Task::Items(count), attributes]);
            }
            OBJECT => self.push(&[attributes]),
            ALTERNATIVE => self.push(&[Task::Items(3)]),
            BYTE_CODE => {
                self.int()?;
                self.push(&[Task::Code, attributes]);
            }
            // Values that have no content.
            NULL | 241 | 242 | 250..=254 => {}
            _ => return None,
        }
        Some(())
    }

    fn pair(&mut self, flags: u32, role: Role, start: usize, attributes: Task, has_tag: bool) -> Option<()> {
        let kind = flags & 0xff;
        let is_bound = role == Role::Workspace || self.environments > 0;
        match kind {
            PROMISE if self.environments == 0 => self.fact(Fact::Promise { at: start }),
            CLOSURE => self.functions += 1,
            _ => {}
        }
        let callee = if kind == CALL { Role::Callee } else { Role::Plain };
        // The rest of a workspace's list are its other bindings.
        let rest = if role == Role::Workspace && kind == LIST { role } else { Role::Plain };
        let rest = [Task::Item(callee), Task::Item(rest)];
        if has_attributes_only(attributes) && has_tag && kind == LIST {
            // The tag is read here: it is the name of the binding.
            let name = self.tag()?;
            if is_bound && flags & ACTIVE != 0 {
                self.fact(Fact::ActiveBinding { name: name.clone(), at: start });
            }
            if role == Role::Workspace {
                self.fact(Fact::Binding { name, at: start });
            }
            self.push(&rest);
            return Some(());
        }
        let tag = if has_tag { Task::Item(Role::Plain) } else { Task::Items(0) };
        let [first, second] = rest;
        self.push(&[attributes, tag, first, second]);
        Some(())
    }

    /// A symbol that stands as a tag.
    fn tag(&mut self) -> Option<String> {
        let before = self.references.len();
        let at = self.at;
        self.item(Role::Plain)?;
        if self.references.len() > before {
            return Some(self.references.last().cloned().flatten().unwrap_or_default());
        }
        // A reference to a symbol that stood before.
        let end = std::mem::replace(&mut self.at, at);
        let flags = u32::from_ne_bytes(self.int()?.to_ne_bytes());
        let index =
            if flags >> 8 == 0 { usize::try_from(self.int()?).ok()? } else { usize::try_from(flags >> 8).ok()? };
        self.at = end;
        Some(index.checked_sub(1).and_then(|index| self.references.get(index)).cloned().flatten().unwrap_or_default())
    }

    fn called(&mut self, role: Role, name: Option<String>, at: usize) {
        if let (Role::Callee, Some(name)) = (role, name)
            && !self.names.contains(&name)
        {
            self.names.insert(name.clone());
            self.fact(Fact::Call { name, at });
        }
    }

    fn constant(&mut self, kind: i32) -> Option<()> {
        match u32::try_from(kind).ok()? {
            BYTE_CODE => self.push(&[Task::Code]),
            CALL | LIST | CODE_DEFINITION | CODE_REFERENCE | CALL_WITH_ATTRIBUTES | LIST_WITH_ATTRIBUTES => {
                self.code_language(kind)?;
            }
            _ => self.push(&[Task::Item(Role::Plain)]),
        }
        Some(())
    }

    fn code_language(&mut self, kind: i32) -> Option<()> {
        let mut kind = u32::try_from(kind).ok()?;
        if kind == CODE_REFERENCE {
            self.int()?;
            return Some(());
        }
        if kind == CODE_DEFINITION {
            self.int()?;
            kind = u32::try_from(self.int()?).ok()?;
        }
        match kind {
            CALL | LIST | CALL_WITH_ATTRIBUTES | LIST_WITH_ATTRIBUTES => {
                let with = matches!(kind, CALL_WITH_ATTRIBUTES | LIST_WITH_ATTRIBUTES);
                let attributes = if with { Task::Item(Role::Plain) } else { Task::Items(0) };
                self.push(&[attributes, Task::Item(Role::Plain), Task::CodeLanguage, Task::CodeLanguage]);
            }
            _ => self.push(&[Task::Item(Role::Callee)]),
        }
        Some(())
    }

    fn numbers(&mut self, width: u64, parts: u64, attributes: Task) -> Option<()> {
        let count = self.length()?;
        if self.is_ascii {
            // Raw bytes stand as pairs of digits, all else as words.
            for _ in 0..count.checked_mul(parts)? {
                self.word()?;
            }
        } else {
            let bytes = usize::try_from(count.checked_mul(parts)?.checked_mul(width)?).ok()?;
            self.take(bytes)?;
        }
        self.push(&[attributes]);
        Some(())
    }

    fn length(&mut self) -> Option<u64> {
        let length = match self.int()? {
            -1 => {
                let (high, low) = (self.int()?, self.int()?);
                u64::try_from(high).ok()? << 32 | u64::from(u32::from_ne_bytes(low.to_ne_bytes()))
            }
            length => u64::try_from(length).ok()?,
        };
        (length <= ELEMENTS_MAX).then_some(length)
    }

    /// An item that must be a text.
    fn characters(&mut self) -> Option<String> {
        let flags = self.int()?;
        if flags & 0xff != 9 {
            return None;
        }
        let length = self.int()?;
        self.text(length)
    }

    /// The beginning of a text of `length` bytes; -1 stands for a missing one.
    fn text(&mut self, length: i32) -> Option<String> {
        let Ok(length) = usize::try_from(length) else { return (length == -1).then(String::new) };
        if self.is_ascii {
            return self.escaped(length);
        }
        let bytes = self.take(length)?;
        Some(String::from_utf8_lossy(bytes.get(..length.min(NAME_BYTES_MAX))?).into_owned())
    }

    fn escaped(&mut self, length: usize) -> Option<String> {
        while self.bytes.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        let mut text = Vec::new();
        for _ in 0..length {
            let mut byte = *self.take(1)?.first()?;
            if byte == b'\\' {
                byte = *self.take(1)?.first()?;
                let is_octal = |byte: &u8| (b'0'..=b'7').contains(byte);
                if is_octal(&byte) {
                    let digits = self.bytes.get(self.at..)?.iter().take(2).take_while(|byte| is_octal(byte)).count();
                    let rest = self.take(digits)?.iter().fold(byte - b'0', |value, digit| value << 3 | (digit - b'0'));
                    byte = rest;
                }
            }
            if text.len() < NAME_BYTES_MAX {
                text.push(byte);
            }
        }
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    fn word(&mut self) -> Option<&str> {
        while self.bytes.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(|byte| !byte.is_ascii_whitespace()) {
            self.at += 1;
        }
        std::str::from_utf8(self.bytes.get(start..self.at)?).ok()
    }

    fn int(&mut self) -> Option<i32> {
        if self.is_ascii {
            let word = self.word()?;
            return if word == "NA" { Some(i32::MIN) } else { word.parse().ok() };
        }
        self.take(4)?.first_chunk().copied().map(i32::from_be_bytes)
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }
}

/// Whether there is nothing to read before the tag.
fn has_attributes_only(attributes: Task) -> bool {
    attributes == Task::Items(0)
}

/// `ACTIVE_BINDING_MASK` among the levels of an item, which begin at bit 12.
const ACTIVE: u32 = 1 << (12 + 15);

// Types, `Rinternals.h` and `serialize.c`.
const NULL: u32 = 0;
const SYMBOL: u32 = 1;
const LIST: u32 = 2;
const CLOSURE: u32 = 3;
const ENVIRONMENT: u32 = 4;
const PROMISE: u32 = 5;
const CALL: u32 = 6;
const SPECIAL: u32 = 7;
const BUILTIN: u32 = 8;
const CHARACTERS: u32 = 9;
const LOGICAL: u32 = 10;
const INTEGER: u32 = 13;
const REAL: u32 = 14;
const COMPLEX: u32 = 15;
const STRINGS: u32 = 16;
const DOTS: u32 = 17;
const VECTOR: u32 = 19;
const EXPRESSION: u32 = 20;
const BYTE_CODE: u32 = 21;
const EXTERNAL: u32 = 22;
const WEAK: u32 = 23;
const RAW: u32 = 24;
const OBJECT: u32 = 25;
const ALTERNATIVE: u32 = 238;
const LIST_WITH_ATTRIBUTES: u32 = 239;
const CALL_WITH_ATTRIBUTES: u32 = 240;
const CODE_REFERENCE: u32 = 243;
const CODE_DEFINITION: u32 = 244;
const PERSISTENT: u32 = 247;
const PACKAGE: u32 = 248;
const NAMESPACE: u32 = 249;
const REFERENCE: u32 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(body: &[u32]) -> Vec<u8> {
        let header = [2_u32, 0x0004_0300, 0x0002_0300];
        b"X\n".iter().copied().chain(header.iter().chain(body).flat_map(|word| word.to_be_bytes())).collect()
    }

    #[test]
    fn data_are_no_facts() {
        // A list of a vector of two numbers and nothing.
        let contents = read(&stream(&[19, 2, 13, 2, 7, 8, 254]));
        assert!(contents.facts.is_empty() && matches!(contents.end, End::Whole(_)), "{contents:?}");
    }

    #[test]
    fn promises_and_calls_are_told() {
        let name = u32::from_be_bytes(*b"quit");
        let contents = read(&stream(&[5, 254, 6, 1, 9, 4, name, 254]));
        assert!(matches!(contents.facts.as_slice(), [Fact::Promise { .. }, Fact::Call { name, .. }] if name == "quit"));
        assert!(matches!(contents.end, End::Whole(_)));
    }

    #[test]
    fn lengths_are_bounded() {
        assert!(matches!(read(&stream(&[19, 0x7fff_ffff])).end, End::Broken(_)));
        assert!(matches!(read(b"X\n").end, End::Broken(_)));
    }
}
