//! Names, however they are spelt, and what is called with what.

use super::{GLOBALS, Generator, Kind};

impl Generator<'_> {
    pub(super) fn global(&mut self) {
        let (module, name) = self.pick_global();
        self.named(module, name);
    }

    pub(super) fn pick_global(&mut self) -> (&'static str, &'static str) {
        let from = if self.one_in(3) { 0 } else { 6 };
        GLOBALS[from + self.random.below(GLOBALS.len() - from)]
    }

    pub(super) fn named(&mut self, module: &str, name: &str) {
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

    pub(super) fn stack_global(&mut self) {
        self.out.push(0x93);
        self.stack.truncate(self.stack.len().saturating_sub(2));
        self.push(Kind::Global);
    }

    /// Pushes and pops something that does not matter.
    pub(super) fn detour(&mut self) {
        self.value();
        self.pop();
    }

    pub(super) fn memoize_sometimes(&mut self) {
        if self.one_in(4) {
            self.store();
        }
    }

    // --- calls -------------------------------------------------------------------------------------------------

    pub(super) fn arguments(&mut self) {
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

    pub(super) fn collect(&mut self, count: usize) {
        self.stack.truncate(self.stack.len().saturating_sub(count));
        self.push(Kind::Tuple);
    }

    pub(super) fn open(&mut self) {
        self.out.push(b'(');
        self.marks.push(self.stack.len());
    }

    pub(super) fn close(&mut self, code: u8, kind: Kind) {
        self.out.push(code);
        let from = self.marks.pop().unwrap_or(0);
        self.stack.truncate(from);
        self.push(kind);
    }

    pub(super) fn call(&mut self) {
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
    pub(super) fn compute(&mut self) {
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

    pub(super) fn register(&mut self) {
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

    pub(super) fn extension(&mut self) {
        let code = self.random.below(5) as u8;
        self.extension_code(code);
    }

    pub(super) fn extension_code(&mut self, code: u8) {
        match self.random.below(3) {
            0 => self.out.extend([0x82, code]),
            1 => self.out.extend([0x83, code, 0]),
            _ => self.out.extend([0x84, code, 0, 0, 0]),
        }
        self.push(Kind::Global);
    }

    pub(super) fn persistent(&mut self) {
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
}
