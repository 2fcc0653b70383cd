//! Memo, stack and containers.

use super::{Generator, Kind, TEXTS};

impl Generator<'_> {
    pub(super) fn store(&mut self) {
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

    pub(super) fn load(&mut self) {
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

    pub(super) fn pop(&mut self) {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
        } else if self.stack.pop().is_none() {
            return;
        }
        self.out.push(b'0');
    }

    pub(super) fn duplicate(&mut self) {
        let Some(kind) = self.top() else { return };
        self.out.push(b'2');
        self.push(kind);
        if kind == Kind::Text && self.one_in(2) {
            self.stack_global();
        }
    }

    pub(super) fn mark_and_collect(&mut self) {
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

    pub(super) fn build(&mut self) {
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
    pub(super) fn change(&mut self) {
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
    pub(super) fn nest(&mut self) {
        let inner = b"\x80\x04\x8c\x02os\x8c\x06system\x93.";
        self.out.extend([b'C', inner.len() as u8]);
        self.out.extend(inner);
        self.push(Kind::Bytes);
    }
}
