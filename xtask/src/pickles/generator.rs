//! Streams that get far: opcodes chosen by what is on the stack, with everything odd that Python still reads.
//!
//! [`Generator::stream`] keeps a model of stack, marks and memo, so that most opcodes find what they need; now and then
//! it forgets the model on purpose, writes a wrong frame, breaks a text, or edits the finished stream.

#![expect(clippy::cast_possible_truncation, reason = "small counts and random bits become bytes on purpose")]

use std::collections::BTreeMap;

use ringfence_nn::random::Random;

/// Most opcodes of one pickle.
const OPCODES_MAX: usize = 24;
/// Most edits of a finished stream.
const EDITS_MAX: usize = 4;

/// What stands on the modelled stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Bytes,
    Number,
    Tuple,
    /// List, set or dictionary.
    Container,
    Global,
    Other,
}

/// See the module.
pub(crate) struct Generator<'s> {
    random: Random,
    seeds: &'s [Vec<u8>],
    out: Vec<u8>,
    stack: Vec<Kind>,
    marks: Vec<usize>,
    memo: BTreeMap<u64, Kind>,
    frame: Option<usize>,
}

/// Modules and names; those in front are the ones that the oracle answers with real functions.
const GLOBALS: [(&str, &str); 22] = [
    ("_codecs", "encode"),
    ("builtins", "str"),
    ("builtins", "chr"),
    ("operator", "add"),
    ("operator", "concat"),
    ("copyreg", "add_extension"),
    ("os", "system"),
    ("posix", "system"),
    ("builtins", "eval"),
    ("a", "b"),
    ("collections", "OrderedDict"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("__builtin__", "getattr"),
    ("random", "_os.system"),
    ("x", "__class__.__base__"),
    ("", "y"),
    ("z", ""),
    ("\u{43e}s", "system"),
    ("copy_reg", "_reconstructor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("joblib.numpy_pickle", "NumpyArrayWrapper"),
    ("m\u{1f40d}", "n"),
];
/// Texts that are pushed for their own sake.
const TEXTS: [&str; 18] = [
    "os",
    "system",
    "a",
    "b",
    "sys",
    "tem",
    "",
    "q\\u0041",
    "\\\\u0041",
    "rot13",
    "latin1",
    "flfgrz",
    "o\\x73",
    "\\163ys",
    "é",
    "_os.system",
    "two words",
    "utf-8",
];

impl<'s> Generator<'s> {
    /// A generator whose streams depend on `seed` and `part` alone. `seeds`: real pickles to mutate.
    pub(crate) fn new(seed: u64, part: u64, seeds: &'s [Vec<u8>]) -> Self {
        Self {
            random: Random::stream(seed, part),
            seeds,
            out: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: BTreeMap::new(),
            frame: None,
        }
    }

    /// The next stream.
    pub(crate) fn stream(&mut self) -> Vec<u8> {
        self.out.clear();
        if self.one_in(12) && !self.seeds.is_empty() {
            let pick = self.random.below(self.seeds.len());
            self.out.extend_from_slice(&self.seeds[pick]);
            self.edit();
            return std::mem::take(&mut self.out);
        }
        self.pickle();
        while self.one_in(8) {
            self.pickle();
        }
        if self.one_in(6) {
            self.edit();
        }
        std::mem::take(&mut self.out)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.random.below(count) == 0
    }

    fn pickle(&mut self) {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        self.frame = None;
        if !self.one_in(4) {
            let protocol = if self.one_in(40) { 6 } else { self.random.below(6) };
            self.out.extend([0x80, u8::try_from(protocol).unwrap_or(0)]);
        }
        for _ in 0..=self.random.below(OPCODES_MAX) {
            if self.frame.is_none() && self.one_in(12) {
                self.out.push(0x95);
                self.frame = Some(self.out.len());
                self.out.extend([0; 8]);
            } else if self.frame.is_some() && self.one_in(6) {
                self.close_frame();
            }
            self.step();
        }
        if self.stack.is_empty() && !self.one_in(20) {
            self.value();
        }
        if !self.one_in(16) {
            self.out.push(b'.');
        }
        if self.one_in(3) {
            self.out.extend(std::iter::repeat_n(b'.', self.random.below(3)));
        }
        self.close_frame();
    }

    /// Writes the frame's length, right or wrong.
    fn close_frame(&mut self) {
        let Some(start) = self.frame.take() else { return };
        let right = (self.out.len() - start - 8) as u64;
        let length = match self.random.below(12) {
            0 => right + 1 + self.random.below(20) as u64,
            1 | 2 => right.saturating_sub(1 + self.random.below(12) as u64),
            3 if self.one_in(10) => 1 << self.random.below(64),
            _ => right,
        };
        self.out[start..start + 8].copy_from_slice(&length.to_le_bytes());
    }

    /// One opcode, or a few that belong together.
    fn step(&mut self) {
        if self.one_in(40) {
            self.anything();
            return;
        }
        match self.random.below(32) {
            0..=5 => self.value(),
            6..=10 => self.global(),
            11..=15 => self.call(),
            16 | 17 => self.mark_and_collect(),
            18 | 19 => self.store(),
            20 | 21 => self.load(),
            22 => self.build(),
            23 => self.pop(),
            24 => self.duplicate(),
            25 => self.extension(),
            26 => self.register(),
            27 => self.compute(),
            28 => self.change(),
            29 => self.persistent(),
            30 => self.nest(),
            _ => self.irregular(),
        }
    }

    fn push(&mut self, kind: Kind) {
        self.stack.push(kind);
    }

    fn fence(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Option<Kind> {
        (self.stack.len() > self.fence()).then(|| self.stack.last().copied()).flatten()
    }

    // --- values ------------------------------------------------------------------------------------------------

    fn value(&mut self) {
        match self.random.below(16) {
            0..=4 => {
                let text = TEXTS[self.random.below(TEXTS.len())];
                self.text(text);
            }
            5 => self.simple(b"N", Kind::Other),
            6 => self.simple(&[0x88], Kind::Number),
            7 => {
                let byte = self.random.bits() as u8;
                self.simple(&[b'K', byte], Kind::Number);
            }
            8 => {
                let number = self.numeral();
                let code = *b"ILF".get(self.random.below(3)).unwrap_or(&b'I');
                self.line(code, &number);
                self.push(Kind::Number);
            }
            9 => self.simple(b")", Kind::Tuple),
            10 => self.simple(b"]", Kind::Container),
            11 => self.simple(b"}", Kind::Container),
            12 => self.simple(&[0x8f], Kind::Container),
            13 => self.bytes(),
            14 => {
                let count = self.random.below(10);
                self.out.extend([0x8a, count as u8]);
                self.noise(count);
                self.push(Kind::Number);
            }
            _ => {
                self.out.push(b'G');
                self.noise(8);
                self.push(Kind::Number);
            }
        }
    }

    fn simple(&mut self, code: &[u8], kind: Kind) {
        self.out.extend_from_slice(code);
        self.push(kind);
    }

    fn noise(&mut self, count: usize) {
        for _ in 0..count {
            let byte = self.random.bits() as u8;
            self.out.push(byte);
        }
    }

    fn bytes(&mut self) {
        let count = self.random.below(30);
        match self.random.below(4) {
            0 => self.out.extend([b'C', count as u8]),
            1 => self.head(b'B', count, 4),
            2 => self.head(0x8e, count, 8),
            _ => self.head(0x96, count, 8),
        }
        self.noise(count);
        self.push(Kind::Bytes);
    }

    fn head(&mut self, code: u8, count: usize, width: usize) {
        self.out.push(code);
        let count = if self.one_in(600) { u64::from(u32::MAX) >> self.random.below(8) } else { count as u64 };
        self.out.extend_from_slice(&count.to_le_bytes()[..width]);
    }

    /// A text in any of the opcodes that make one.
    fn text(&mut self, text: &str) {
        let raw = text.as_bytes();
        match self.random.below(14) {
            0..=4 => self.out.extend([0x8c, raw.len() as u8]),
            5 | 6 => self.head(b'X', raw.len(), 4),
            7 => self.head(0x8d, raw.len(), 8),
            8 => self.out.extend([b'U', raw.len() as u8]),
            9 => self.head(b'T', raw.len(), 4),
            10 | 11 => return self.quoted(text),
            _ => return self.escaped(text),
        }
        let raw = self.broken_utf8(raw);
        self.out.extend(raw);
        self.push(Kind::Text);
    }

    fn broken_utf8(&mut self, raw: &[u8]) -> Vec<u8> {
        let mut raw = raw.to_vec();
        if self.one_in(120) && raw.len() >= 3 {
            let breaks: [&[u8]; 4] = [b"\xed\xa0\x80", b"\xff\xfe\xfd", b"\xc0\x80a", b"\xe2\x82\xac"];
            raw[..3].copy_from_slice(breaks[self.random.below(4)]);
        }
        raw
    }

    /// STRING, with escapes for some letters.
    fn quoted(&mut self, text: &str) {
        let quote = if self.one_in(2) { b'\'' } else { b'"' };
        self.out.extend([b'S', quote]);
        for byte in text.bytes() {
            match self.random.below(12) {
                0 => self.out.extend(format!("\\x{byte:02x}").bytes()),
                1 => self.out.extend(format!("\\{byte:03o}").bytes()),
                2 if self.one_in(6) => self.out.extend([b'\\', byte]),
                _ => self.out.push(byte),
            }
        }
        if !self.one_in(60) {
            self.out.push(quote);
        }
        self.out.push(b'\n');
        self.push(Kind::Text);
    }

    /// UNICODE, with escapes for some letters.
    fn escaped(&mut self, text: &str) {
        self.out.push(b'V');
        for letter in text.chars() {
            match self.random.below(10) {
                0 => self.out.extend(format!("\\u{:04x}", u32::from(letter) & 0xffff).bytes()),
                1 => self.out.extend(format!("\\U{:08X}", u32::from(letter)).bytes()),
                2 if self.one_in(8) => self.out.extend(b"\\\\"),
                3 if self.one_in(16) => self.out.extend(b"\\ud83d"),
                _ if letter == '\n' => self.out.extend(b"\\u000a"),
                _ => self.out.push(u8::try_from(u32::from(letter)).unwrap_or(b'?')),
            }
        }
        self.out.push(b'\n');
        self.push(Kind::Text);
    }

    fn numeral(&mut self) -> String {
        let number = self.random.below(300);
        match self.random.below(24) {
            0 => format!(" {number}"),
            1 => format!("+{number}"),
            2 => format!("0{number}"),
            3 => format!("{number} "),
            4 => format!("{number}\0x"),
            5 => format!("0x{number:x}"),
            6 => format!("-{number}"),
            7 => format!("{number}L"),
            8 => String::new(),
            9 => "00".to_owned(),
            10 => "01".to_owned(),
            11 => format!("1_{number}"),
            12 => format!("{number}.5"),
            13 => "1e5".to_owned(),
            14 => "nan".to_owned(),
            15 => format!("{number}99999999999999999999"),
            16 => "\0".to_owned(),
            17 => format!("\t{number}\x0b"),
            _ => number.to_string(),
        }
    }

    fn line(&mut self, code: u8, text: &str) {
        self.out.push(code);
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'\n');
    }

    // --- names -------------------------------------------------------------------------------------------------

    fn global(&mut self) {
        let (module, name) = self.pick_global();
        self.named(module, name);
    }

    fn pick_global(&mut self) -> (&'static str, &'static str) {
        let from = if self.one_in(3) { 0 } else { 6 };
        GLOBALS[from + self.random.below(GLOBALS.len() - from)]
    }

    fn named(&mut self, module: &str, name: &str) {
        if self.one_in(2) {
            self.line(b'c', module);
            self.out.extend_from_slice(name.as_bytes());
            self.out.push(b'\n');
            return self.push(Kind::Global);
        }
        self.text(module);
        self.memoize_sometimes();
        if self.one_in(10) {
            self.detour();
        }
        self.text(name);
        self.memoize_sometimes();
        self.stack_global();
    }

    fn stack_global(&mut self) {
        self.out.push(0x93);
        self.stack.truncate(self.stack.len().saturating_sub(2));
        self.push(Kind::Global);
    }

    /// Pushes and pops something that does not matter.
    fn detour(&mut self) {
        self.value();
        self.pop();
    }

    fn memoize_sometimes(&mut self) {
        if self.one_in(4) {
            self.store();
        }
    }

    // --- calls -------------------------------------------------------------------------------------------------

    fn arguments(&mut self) {
        match self.random.below(5) {
            0 => self.simple(b")", Kind::Tuple),
            1 => {
                self.value();
                self.out.push(0x85);
                self.collect(1);
            }
            2 => {
                self.value();
                self.value();
                self.out.push(0x86);
                self.collect(2);
            }
            _ => {
                self.open();
                for _ in 0..self.random.below(4) {
                    self.value();
                }
                self.close(b't', Kind::Tuple);
            }
        }
    }

    fn collect(&mut self, count: usize) {
        self.stack.truncate(self.stack.len().saturating_sub(count));
        self.push(Kind::Tuple);
    }

    fn open(&mut self) {
        self.out.push(b'(');
        self.marks.push(self.stack.len());
    }

    fn close(&mut self, code: u8, kind: Kind) {
        self.out.push(code);
        let from = self.marks.pop().unwrap_or(0);
        self.stack.truncate(from);
        self.push(kind);
    }

    fn call(&mut self) {
        match self.random.below(6) {
            0 => {
                self.open();
                for _ in 0..self.random.below(3) {
                    self.value();
                }
                let (module, name) = self.pick_global();
                self.line(b'i', module);
                self.out.extend_from_slice(name.as_bytes());
                self.close(b'\n', Kind::Other);
            }
            1 => {
                self.open();
                self.global();
                for _ in 0..self.random.below(3) {
                    self.value();
                }
                self.close(b'o', Kind::Other);
            }
            way => {
                if self.top() != Some(Kind::Global) || self.one_in(3) {
                    self.global();
                }
                self.arguments();
                match way {
                    2 => self.out.push(0x81),
                    3 => self.out.extend([b'}', 0x92]),
                    _ => self.out.push(b'R'),
                }
                self.stack.truncate(self.stack.len().saturating_sub(2));
                self.push(Kind::Other);
            }
        }
    }

    /// A name that a pure function makes.
    fn compute(&mut self) {
        match self.random.below(4) {
            0 => {
                self.named("builtins", "str");
                self.text("os");
                self.out.extend([0x85, b'R']);
            }
            1 => {
                let function = if self.one_in(2) { "add" } else { "concat" };
                self.named("operator", function);
                self.text("o");
                self.text("s");
                self.out.extend([0x86, b'R']);
            }
            2 => {
                self.named("_codecs", "encode");
                self.text("bf");
                self.text("rot13");
                self.out.extend([0x86, b'R']);
            }
            _ => {
                self.named("builtins", "chr");
                self.out.extend([b'K', b'a', 0x85, b'R']);
            }
        }
        self.stack.truncate(self.stack.len().saturating_sub(3));
        self.push(Kind::Text);
        if !self.one_in(3) {
            self.text("system");
            self.stack_global();
        }
    }

    fn register(&mut self) {
        self.named("copyreg", "add_extension");
        self.open();
        let (module, name) = self.pick_global();
        self.text(module);
        self.text(name);
        let code = 1 + self.random.below(4) as u8;
        self.simple(&[b'K', code], Kind::Number);
        self.close(b't', Kind::Tuple);
        self.out.push(b'R');
        self.stack.truncate(self.stack.len().saturating_sub(2));
        self.push(Kind::Other);
        if !self.one_in(4) {
            self.extension_code(code);
        }
    }

    fn extension(&mut self) {
        let code = self.random.below(5) as u8;
        self.extension_code(code);
    }

    fn extension_code(&mut self, code: u8) {
        match self.random.below(3) {
            0 => self.out.extend([0x82, code]),
            1 => self.out.extend([0x83, code, 0]),
            _ => self.out.extend([0x84, code, 0, 0, 0]),
        }
        self.push(Kind::Global);
    }

    fn persistent(&mut self) {
        if self.one_in(2) {
            self.line(b'P', "key");
        } else {
            self.value();
            self.out.push(b'Q');
            self.stack.pop();
        }
        self.push(Kind::Global);
    }

    // --- memo, stack and containers ----------------------------------------------------------------------------

    fn store(&mut self) {
        let Some(kind) = self.top() else { return };
        let index = match self.random.below(5) {
            0..=2 => {
                let index = self.memo.len() as u64;
                self.out.push(0x94);
                index
            }
            3 => {
                let index = self.random.below(6) as u8;
                self.out.extend([b'q', index]);
                u64::from(index)
            }
            _ => {
                let index = self.random.below(6);
                if self.one_in(2) {
                    self.out.push(b'r');
                    self.out.extend((index as u32).to_le_bytes());
                } else {
                    let numeral = if self.one_in(6) { self.numeral() } else { index.to_string() };
                    self.line(b'p', &numeral);
                }
                index as u64
            }
        };
        self.memo.insert(index, kind);
    }

    fn load(&mut self) {
        let count = self.memo.len();
        if count == 0 {
            return;
        }
        let Some((index, kind)) = self.memo.iter().nth(self.random.below(count)).map(|(index, kind)| (*index, *kind))
        else {
            return;
        };
        match self.random.below(4) {
            0 | 1 => self.out.extend([b'h', index as u8]),
            2 => {
                self.out.push(b'j');
                self.out.extend((index as u32).to_le_bytes());
            }
            _ => {
                let spellings = [format!(" {index}"), format!("{index} "), format!("0{index}"), index.to_string()];
                let pick = self.random.below(4);
                self.line(b'g', &spellings[pick]);
            }
        }
        self.push(kind);
        // Two texts from the memo make a name.
        if kind == Kind::Text && self.one_in(2) {
            let text = TEXTS[self.random.below(TEXTS.len())];
            self.text(text);
            self.stack_global();
        }
    }

    fn pop(&mut self) {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
        } else if self.stack.pop().is_none() {
            return;
        }
        self.out.push(b'0');
    }

    fn duplicate(&mut self) {
        let Some(kind) = self.top() else { return };
        self.out.push(b'2');
        self.push(kind);
        if kind == Kind::Text && self.one_in(2) {
            self.stack_global();
        }
    }

    fn mark_and_collect(&mut self) {
        self.open();
        for _ in 0..self.random.below(5) {
            if self.one_in(4) {
                self.call();
            } else {
                self.value();
            }
        }
        match self.random.below(6) {
            0 => self.close(b'l', Kind::Container),
            1 => self.close(0x91, Kind::Other),
            2 => {
                self.close(b'1', Kind::Other);
                self.stack.pop();
            }
            3 if self.one_in(4) => self.close(b'd', Kind::Container),
            4 if self.one_in(3) => {}
            _ => self.close(b't', Kind::Tuple),
        }
    }

    fn build(&mut self) {
        if !matches!(self.top(), Some(Kind::Global | Kind::Other)) {
            return;
        }
        if self.one_in(2) {
            self.out.extend(b"}");
            if self.one_in(2) {
                self.out.extend(b"\x8c\x01kK\x01s");
            }
        } else {
            self.value();
            self.stack.pop();
        }
        self.out.push(b'b');
    }

    /// Puts something into what is on top.
    fn change(&mut self) {
        if !matches!(self.top(), Some(Kind::Container | Kind::Global | Kind::Other)) {
            return;
        }
        match self.random.below(4) {
            0 => {
                self.value();
                self.stack.pop();
                self.out.push(b'a');
            }
            1 => {
                self.text("key");
                self.stack.pop();
                self.value();
                self.stack.pop();
                self.out.push(b's');
            }
            way => {
                self.open();
                for _ in 0..self.random.below(3) {
                    self.text("key");
                    self.global();
                }
                let codes = if way == 2 { b'e' } else { b'u' };
                self.close(codes, Kind::Other);
                self.stack.pop();
            }
        }
    }

    /// A pickle as a byte string inside this one.
    fn nest(&mut self) {
        let inner = b"\x80\x04\x8c\x02os\x8c\x06system\x93.";
        self.out.extend([b'C', inner.len() as u8]);
        self.out.extend(inner);
        self.push(Kind::Bytes);
    }

    fn irregular(&mut self) {
        match self.random.below(5) {
            0 => self.out.extend([0x80, self.random.bits() as u8 % 6]),
            1 => {
                self.out.push(0x95);
                let length = self.random.below(40) as u64;
                self.out.extend(length.to_le_bytes());
            }
            2 => self.out.push(b'('),
            3 => self.out.push(0x98),
            _ => self.out.push(b'0'),
        }
    }

    /// Any byte, whatever the stack.
    fn anything(&mut self) {
        let byte = self.random.bits() as u8;
        self.out.push(byte);
    }

    /// Edits the finished stream.
    fn edit(&mut self) {
        for _ in 0..=self.random.below(EDITS_MAX) {
            if self.out.is_empty() {
                return;
            }
            let at = self.random.below(self.out.len());
            let byte = self.random.bits() as u8;
            match self.random.below(6) {
                0 => self.out[at] = byte,
                1 => self.out.insert(at, byte),
                2 => {
                    self.out.remove(at);
                }
                3 => self.out.truncate(at + 1),
                4 => self.out[at] ^= 1 << (byte % 8),
                _ => {
                    let end = (at + 1 + self.random.below(12)).min(self.out.len());
                    let piece = self.out[at..end].to_vec();
                    let to = self.random.below(self.out.len());
                    self.out.splice(to..to, piece);
                }
            }
        }
    }
}
