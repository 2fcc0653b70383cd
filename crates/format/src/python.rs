//! Python source as logical lines of tokens, read without compiling.
//!
//! [`read`] hands out one [`Line`] after the other, so a long file costs what its longest statement costs. Names are in NFKC, as
//! Python compares them; texts are unescaped; what stands in the braces of an f-string is handed out as lines of its own.
//!
//! What holds: any text is taken; what Python would refuse is counted in [`Ending::flaws`], so a caller can tell source code
//! from prose.
//!
//! Grammar: "The Python Language Reference", chapter 2.

#![deny(clippy::indexing_slicing)]

use unicode_normalization::UnicodeNormalization as _;

/// Most tokens of one logical line; more are dropped: a table of numbers in the source.
pub const TOKENS_MAX: usize = 200_000;
/// Longest text that is kept, in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Deepest f-string in an f-string.
const FORMATTED_DEPTH_MAX: u32 = 4;

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A name or keyword.
    Name(String),
    /// A text, unescaped; `bytes` and f-strings too.
    Text(String),
    /// A number.
    Number,
    /// An operator or bracket, of one character except `**`, `//`, `==`, `->`, `:=` and their kind.
    Sign(&'static str),
}

/// A token and where it begins, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Offset in bytes.
    pub at: usize,
}

/// One logical line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// Offset of its first token, in bytes.
    pub at: usize,
    /// Blanks before it.
    pub indent: usize,
    /// The tokens; never empty.
    pub tokens: Vec<Token>,
    /// It stands in the braces of an f-string of the line before.
    pub is_inner: bool,
}

/// What a text amounts to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ending {
    /// Logical lines outside of f-strings.
    pub lines: usize,
    /// Things that Python would refuse: open brackets and texts, unknown signs.
    pub flaws: usize,
    /// Names that are not ASCII but are ASCII to Python.
    pub disguised: usize,
}

const SIGNS: [&str; 46] = [
    "**=", "//=", ">>=", "<<=", "...", "**", "//", ">>", "<<", "<=", ">=", "==", "!=", "->", ":=", "+=", "-=", "*=",
    "/=", "%=", "&=", "|=", "^=", "@=", "+", "-", "*", "/", "%", "@", "&", "|", "^", "~", "<", ">", "(", ")", "[", "]",
    "{", "}", ",", ":", ".", "=",
];

/// Reads `text` to its end.
pub fn read(text: &str, take: &mut dyn FnMut(&Line)) -> Ending {
    let mut reader = Reader { text, at: 0, base: 0, depth: 0, ending: Ending::default() };
    reader.run(take);
    reader.ending
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// Offset of `text` in the whole.
    base: usize,
    depth: u32,
    ending: Ending,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn run(&mut self, take: &mut dyn FnMut(&Line)) {
        let mut line = Line::default();
        let mut inner: Vec<(usize, String)> = Vec::new();
        let mut open = 0_usize;
        let mut indent = 0;
        let mut is_start = true;
        loop {
            let rest = self.rest();
            let Some(first) = rest.chars().next() else { break };
            match first {
                ' ' | '\t' | '\x0c' | '\u{feff}' => {
                    indent += usize::from(is_start);
                    self.at += first.len_utf8();
                }
                '\r' | '\n' => {
                    self.at += 1;
                    if open == 0 {
                        self.finish(&mut line, &mut inner, take);
                        (is_start, indent) = (true, 0);
                    }
                }
                ';' if open == 0 => {
                    self.at += 1;
                    self.finish(&mut line, &mut inner, take);
                }
                '#' => self.at += memchr::memchr2(b'\n', b'\r', rest.as_bytes()).unwrap_or(rest.len()),
                '\\' if rest.get(1..).is_some_and(|next| next.starts_with(['\n', '\r'])) => {
                    self.at += if rest.starts_with("\\\r\n") { 3 } else { 2 };
                }
                _ => {
                    let at = self.base + self.at;
                    let kind = self.token(&mut inner);
                    match &kind {
                        Some(Kind::Sign("(" | "[" | "{")) => open += 1,
                        Some(Kind::Sign(")" | "]" | "}")) => {
                            self.ending.flaws += usize::from(open == 0);
                            open = open.saturating_sub(1);
                        }
                        _ => {}
                    }
                    if line.tokens.is_empty() {
                        (line.at, line.indent) = (at, indent);
                    }
                    is_start = false;
                    match kind {
                        Some(kind) if line.tokens.len() < TOKENS_MAX => line.tokens.push(Token { kind, at }),
                        Some(_) => {}
                        None => self.ending.flaws += 1,
                    }
                }
            }
        }
        self.ending.flaws += usize::from(open > 0);
        self.finish(&mut line, &mut inner, take);
    }

    fn finish(&mut self, line: &mut Line, inner: &mut Vec<(usize, String)>, take: &mut dyn FnMut(&Line)) {
        if !line.tokens.is_empty() {
            line.is_inner = self.depth > 0;
            self.ending.lines += usize::from(!line.is_inner);
            take(line);
            line.tokens.clear();
        }
        for (at, text) in inner.drain(..) {
            if self.depth < FORMATTED_DEPTH_MAX {
                let mut reader =
                    Reader { text: &text, at: 0, base: at, depth: self.depth + 1, ending: Ending::default() };
                reader.run(take);
                self.ending.disguised += reader.ending.disguised;
            }
        }
    }

    fn token(&mut self, inner: &mut Vec<(usize, String)>) -> Option<Kind> {
        let rest = self.rest();
        let first = rest.chars().next()?;
        if first == '"' || first == '\'' {
            return self.string("", inner);
        }
        if first.is_ascii_digit() || first == '.' && rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit) {
            let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
            self.at += rest.find(|c| !part(c)).unwrap_or(rest.len());
            return Some(Kind::Number);
        }
        if first.is_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let name = rest.get(..length)?;
            let is_prefix = length <= 3 && name.bytes().all(|byte| b"rRbBuUfFtT".contains(&byte));
            if is_prefix && rest.get(length..).is_some_and(|next| next.starts_with(['"', '\''])) {
                self.at += length;
                return self.string(name, inner);
            }
            self.at += length;
            if name.is_ascii() {
                return Some(Kind::Name(name.to_owned()));
            }
            let plain: String = name.nfkc().collect();
            self.ending.disguised += usize::from(plain.is_ascii());
            return Some(Kind::Name(plain));
        }
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            self.at += sign.len();
            return Some(Kind::Sign(sign));
        }
        if first == '!' {
            // In the braces of an f-string: `!r`.
            self.at += 1;
            return (self.depth > 0).then_some(Kind::Sign("="));
        }
        self.at += first.len_utf8();
        None
    }

    /// A text behind its prefix.
    fn string(&mut self, prefix: &str, inner: &mut Vec<(usize, String)>) -> Option<Kind> {
        let rest = self.rest();
        let quote = rest.get(..1)?;
        let triple = rest.get(..3).filter(|three| three.bytes().all(|byte| quote.as_bytes() == [byte]));
        let close = triple.unwrap_or(quote);
        let body = rest.get(close.len()..)?;
        let from = self.at + close.len();
        let bytes = body.as_bytes();
        let mut at = 0;
        let end = loop {
            match bytes.get(at) {
                None => break None,
                Some(b'\\') => at += 2,
                Some(b'\n') if close.len() == 1 => break None,
                Some(_) if body.get(at..).is_some_and(|rest| rest.starts_with(close)) => break Some(at),
                Some(_) => at += 1,
            }
        };
        let Some(end) = end else {
            self.ending.flaws += 1;
            // An apostrophe in prose: the line is lost, the text is not.
            self.at = if close.len() == 1 { from + body.find('\n').unwrap_or(body.len()) } else { self.text.len() };
            return None;
        };
        self.at = from + end + close.len();
        let text = body.get(..end)?;
        let has = |letter: char| prefix.contains(letter) || prefix.contains(letter.to_ascii_uppercase());
        if has('f') || has('t') {
            braces(text, self.base + from, inner);
        }
        let kept = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX.min(text.len())))?;
        Some(Kind::Text(if has('r') { kept.to_owned() } else { crate::jinja::unescape(kept) }))
    }
}

/// What stands in the braces of an f-string.
fn braces(text: &str, base: usize, inner: &mut Vec<(usize, String)>) {
    let bytes = text.as_bytes();
    let (mut depth, mut start, mut at) = (0_usize, 0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' if depth == 0 && bytes.get(at + 1) == Some(&b'{') => at += 1,
            b'{' => {
                depth += 1;
                if depth == 1 {
                    start = at + 1;
                }
            }
            b'}' if depth > 0 => {
                depth -= 1;
                if depth == 0
                    && let Some(code) = text.get(start..at)
                {
                    inner.push((base + start, code.to_owned()));
                }
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (Vec<String>, Ending) {
        let mut out = Vec::new();
        let ending = read(text, &mut |line| {
            let words = line.tokens.iter().map(|token| match &token.kind {
                Kind::Name(name) => name.clone(),
                Kind::Text(text) => format!("'{text}'"),
                Kind::Number => "0".to_owned(),
                Kind::Sign(sign) => (*sign).to_owned(),
            });
            out.push(words.collect::<Vec<_>>().join(" "));
        });
        (out, ending)
    }

    #[test]
    fn logical_lines() {
        let (found, ending) =
            lines("import os; x = [1,\n 2]  # os.system\ndef f(a, \\\n b):\n    return r'\\x' '\\x41'\n");
        assert_eq!(found, ["import os", "x = [ 0 , 0 ]", "def f ( a , b ) :", "return '\\x' 'A'"]);
        assert_eq!((ending.lines, ending.flaws), (4, 0));
    }

    #[test]
    fn disguises() {
        let (found, ending) = lines("𝓮𝔁𝓮𝓬(f'''a{ eval('1') }{{b}}''')\n");
        assert_eq!(found, ["exec ( 'a{ eval('1') }{{b}}' )", "eval ( '1' )"]);
        assert_eq!((ending.disguised, ending.flaws), (1, 0));
    }

    #[test]
    fn prose_has_flaws() {
        assert!(lines("It's a model (see below.\nWhy? Because $5.\n").1.flaws >= 3);
    }
}
