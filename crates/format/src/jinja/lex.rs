//! Words and signs of a template.

#![deny(clippy::indexing_slicing)]

use super::Flaw;

/// Operators, longest first.
const OPERATORS: [&str; 28] = [
    "//", "**", "==", "!=", "<=", ">=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", "<", ">", "=", ".",
    ":", "|", ",", ";", "!", "&",
];

/// One word or sign.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Text outside of braces.
    Data(String),
    BlockStart,
    BlockEnd,
    OutputStart,
    OutputEnd,
    Name(String),
    Text(String),
    Number(String),
    Sign(&'static str),
    /// Something that Jinja has no word for.
    Bad,
}

/// A word and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: usize,
}

/// All words of a template.
#[derive(Debug, Default)]
pub(super) struct Lexed {
    pub(super) tokens: Vec<Token>,
    pub(super) comments: Vec<(usize, String)>,
    pub(super) flaw: Option<Flaw>,
}

pub(super) fn tokens(text: &str) -> Lexed {
    let mut lexer = Lexer { text, at: 0, never_ends: false, lexed: Lexed::default() };
    lexer.run();
    lexer.lexed
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// No `endraw` follows any more.
    never_ends: bool,
    lexed: Lexed,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, kind: Kind, at: usize) {
        self.lexed.tokens.push(Token { kind, at });
    }

    fn flaw(&mut self, reason: &'static str) {
        let at = self.at;
        self.lexed.flaw.get_or_insert(Flaw { at, reason });
    }

    fn run(&mut self) {
        while !self.rest().is_empty() {
            let Some(open) = opening(self.rest()) else { break };
            self.data(open);
            let start = self.at;
            let inside = self.rest().get(2..).unwrap_or_default();
            if inside.starts_with('#') || self.rest().starts_with("{#") {
                self.comment(start);
                continue;
            }
            let is_block = self.rest().starts_with("{%");
            self.at += 2;
            if self.rest().starts_with(['-', '+']) && !self.rest().starts_with("-}") {
                self.at += 1;
            }
            if is_block && self.raw(start) {
                continue;
            }
            self.push(if is_block { Kind::BlockStart } else { Kind::OutputStart }, start);
            self.inside(if is_block { "%}" } else { "}}" }, is_block);
        }
        let length = self.rest().len();
        self.data(length);
    }

    /// Literal text of `length` bytes.
    fn data(&mut self, length: usize) {
        let Some(text) = self.rest().get(..length).filter(|text| !text.is_empty()) else { return };
        self.push(Kind::Data(text.to_owned()), self.at);
        self.at += length;
    }

    fn comment(&mut self, start: usize) {
        let length = self.rest().find("#}").map_or(self.rest().len(), |end| end + 2);
        let text = self.rest().get(..length).unwrap_or_default();
        self.lexed.comments.push((start, text.to_owned()));
        self.at += length;
    }

    /// `raw … endraw`: everything inside is literal.
    fn raw(&mut self, start: usize) -> bool {
        if self.never_ends {
            return false;
        }
        let Some(head) = self.rest().trim_start().strip_prefix("raw") else { return false };
        let head = head.trim_start();
        let Some(body) = head.strip_prefix("-%}").or_else(|| head.strip_prefix("%}")) else { return false };
        let from = self.text.len() - body.len();
        let mut search = 0;
        // The first `{% endraw %}`, with or without signs and blanks.
        while let Some(found) = body.get(search..).and_then(|rest| rest.find("{%")) {
            let at = search + found;
            let tag = body.get(at + 2..).unwrap_or_default().trim_start_matches(['-', '+']).trim_start();
            if let Some(tail) = tag.strip_prefix("endraw") {
                let tail = tail.trim_start().trim_start_matches(['-', '+']);
                if let Some(after) = tail.strip_prefix("%}") {
                    self.push(Kind::Data(body.get(..at).unwrap_or_default().to_owned()), from);
                    self.at = self.text.len() - after.len();
                    return true;
                }
            }
            search = at + 2;
        }
        self.at = start + 2;
        self.never_ends = true;
        self.flaw("`raw` without an end");
        false
    }

    /// Words up to `close` outside of brackets.
    fn inside(&mut self, close: &'static str, is_block: bool) {
        let mut open = 0_usize;
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            let (rest, at) = (self.rest(), self.at);
            let Some(first) = rest.chars().next() else {
                self.flaw("a block without an end");
                return;
            };
            if open == 0 {
                let signed = rest.strip_prefix(['-', '+']).unwrap_or(rest);
                if signed.starts_with(close) {
                    self.at += rest.len() - signed.len() + 2;
                    self.push(if is_block { Kind::BlockEnd } else { Kind::OutputEnd }, at);
                    return;
                }
            }
            if first == '\'' || first == '"' {
                self.string(first);
            } else if first.is_ascii_digit() {
                self.number();
            } else if first.is_alphabetic() || first == '_' {
                let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                self.at += length;
                self.push(Kind::Name(rest.get(..length).unwrap_or_default().to_owned()), at);
            } else if let Some(sign) = OPERATORS.iter().find(|sign| rest.starts_with(**sign)) {
                match *sign {
                    "(" | "[" | "{" => open += 1,
                    ")" | "]" | "}" => open = open.saturating_sub(1),
                    _ => {}
                }
                self.at += sign.len();
                self.push(Kind::Sign(sign), at);
            } else {
                self.flaw("a sign that Jinja does not know");
                self.push(Kind::Bad, at);
                // The rest of this block is lost, the rest of the template is not.
                self.at += rest.find(close).map_or(rest.len(), |end| end + 2);
                self.push(if is_block { Kind::BlockEnd } else { Kind::OutputEnd }, self.at);
                return;
            }
        }
    }

    fn number(&mut self) {
        let (rest, at) = (self.rest(), self.at);
        let mut length = 0;
        let mut before = ' ';
        for (index, character) in rest.char_indices() {
            let next = rest.get(index + 1..).and_then(|rest| rest.chars().next());
            let is_part = character.is_ascii_alphanumeric()
                || character == '_'
                || character == '.' && next.is_some_and(|next| next.is_ascii_digit())
                || matches!(character, '+' | '-') && matches!(before, 'e' | 'E');
            if !is_part {
                break;
            }
            before = character;
            length = index + 1;
        }
        self.at += length;
        self.push(Kind::Number(rest.get(..length).unwrap_or_default().to_owned()), at);
    }

    fn string(&mut self, quote: char) {
        let at = self.at;
        let body = self.rest().get(1..).unwrap_or_default();
        let mut escaped = false;
        let end = body.char_indices().find(|(_, character)| {
            let is_end = *character == quote && !escaped;
            escaped = *character == '\\' && !escaped;
            is_end
        });
        let Some((end, _)) = end else {
            self.flaw("a text without an end");
            self.push(Kind::Bad, at);
            self.at = self.text.len();
            return;
        };
        self.push(Kind::Text(unescape(body.get(..end).unwrap_or_default())), at);
        self.at += end + 2;
    }
}

/// Where the next block, expression or comment begins.
fn opening(text: &str) -> Option<usize> {
    memchr::memchr_iter(b'{', text.as_bytes())
        .find(|at| text.as_bytes().get(at + 1).is_some_and(|next| matches!(next, b'{' | b'%' | b'#')))
}

/// Python's `unicode-escape`, which Jinja applies to texts.
pub(crate) fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(rest.get(..at).unwrap_or_default());
        let after = rest.get(at + 1..).unwrap_or_default();
        let Some(kind) = after.chars().next() else {
            out.push('\\');
            return out;
        };
        let tail = after.get(kind.len_utf8()..).unwrap_or_default();
        let coded = |digits: usize| {
            let code = tail.get(..digits).and_then(|digits| u32::from_str_radix(digits, 16).ok())?;
            Some((char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), tail.get(digits..)?))
        };
        let simple = |character| Some((character, tail));
        let decoded = match kind {
            'n' => simple('\n'),
            't' => simple('\t'),
            'r' => simple('\r'),
            'a' => simple('\u{7}'),
            'b' => simple('\u{8}'),
            'f' => simple('\u{c}'),
            'v' => simple('\u{b}'),
            '\\' | '\'' | '"' => simple(kind),
            'x' => coded(2),
            'u' => coded(4),
            'U' => coded(8),
            '0'..='7' => {
                let length = after.bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
                let code = after.get(..length).and_then(|digits| u32::from_str_radix(digits, 8).ok());
                code.and_then(char::from_u32).zip(after.get(length..))
            }
            'N' => tail.strip_prefix('{').and_then(|tail| tail.split_once('}')).map(|(name, tail)| {
                // The one name that matters: it spells double underscores.
                let is_line = name.eq_ignore_ascii_case("low line");
                (if is_line { '_' } else { char::REPLACEMENT_CHARACTER }, tail)
            }),
            _ => None,
        };
        if let Some((character, tail)) = decoded {
            out.push(character);
            rest = tail;
        } else {
            if kind != '\n' {
                out.push('\\');
                out.push(kind);
            }
            rest = tail;
        }
    }
    out.push_str(rest);
    out
}
