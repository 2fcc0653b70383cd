//! Streams that get far: opcodes chosen by what is on the stack, with everything odd that Python still reads.
//!
//! [`Generator::stream`] keeps a model of stack, marks and memo, so that most opcodes find what they need; now and then
//! it forgets the model on purpose, writes a wrong frame, breaks a text, or edits the finished stream.

#![expect(clippy::cast_possible_truncation, reason = "small counts and random bits become bytes on purpose")]

mod calls;
mod state;
mod values;

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
