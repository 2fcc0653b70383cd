//! Numbers, texts and byte strings, well spelt and badly.

use super::{Generator, Kind, TEXTS};

impl Generator<'_> {
    pub(super) fn value(&mut self) {
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

    pub(super) fn simple(&mut self, code: &[u8], kind: Kind) {
        self.out.extend_from_slice(code);
        self.push(kind);
    }

    pub(super) fn noise(&mut self, count: usize) {
        for _ in 0..count {
            let byte = self.random.bits() as u8;
            self.out.push(byte);
        }
    }

    pub(super) fn bytes(&mut self) {
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

    pub(super) fn head(&mut self, code: u8, count: usize, width: usize) {
        self.out.push(code);
        let count = if self.one_in(600) { u64::from(u32::MAX) >> self.random.below(8) } else { count as u64 };
        self.out.extend_from_slice(&count.to_le_bytes()[..width]);
    }

    /// A text in any of the opcodes that make one.
    pub(super) fn text(&mut self, text: &str) {
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

    pub(super) fn broken_utf8(&mut self, raw: &[u8]) -> Vec<u8> {
        let mut raw = raw.to_vec();
        if self.one_in(120) && raw.len() >= 3 {
            let breaks: [&[u8]; 4] = [b"\xed\xa0\x80", b"\xff\xfe\xfd", b"\xc0\x80a", b"\xe2\x82\xac"];
            raw[..3].copy_from_slice(breaks[self.random.below(4)]);
        }
        raw
    }

    /// STRING, with escapes for some letters.
    pub(super) fn quoted(&mut self, text: &str) {
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
    pub(super) fn escaped(&mut self, text: &str) {
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

    pub(super) fn numeral(&mut self) -> String {
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

    pub(super) fn line(&mut self, code: u8, text: &str) {
        self.out.push(code);
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'\n');
    }

    // --- names -------------------------------------------------------------------------------------------------
}
