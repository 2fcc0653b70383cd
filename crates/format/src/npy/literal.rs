//! The part of Python's literal syntax that NumPy writes into headers.

/// Deepest nesting of a literal.
const DEPTH_MAX: u32 = 32;
/// Most items in all lists, tuples and dictionaries together.
const ITEMS_MAX: usize = 100_000;

/// A Python literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A whole number; Python 2's `L` behind it is accepted.
    Int(i64),
    /// A text with the common escapes resolved.
    Text(String),
    /// `( … )`.
    Tuple(Vec<Literal>),
    /// `[ … ]`.
    List(Vec<Literal>),
    /// `{ … }`, in order, repeated keys kept.
    Dict(Vec<(Literal, Literal)>),
}

/// Parses the whole of `text`; the error is the offset of the first byte that does not belong.
pub(super) fn parse(text: &[u8]) -> Result<Literal, usize> {
    let mut parser = Parser { text, at: 0, items: 0 };
    let literal = parser.value(0)?;
    parser.blanks();
    if parser.at == text.len() { Ok(literal) } else { Err(parser.at) }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    items: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn accept(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: u32) -> Result<Literal, usize> {
        self.blanks();
        self.items += 1;
        if depth > DEPTH_MAX || self.items > ITEMS_MAX {
            return Err(self.at);
        }
        match self.peek() {
            Some(b'{') => self.dict(depth),
            Some(b'(') => {
                let (items, comma) = self.sequence(b')', depth)?;
                match <[Literal; 1]>::try_from(items) {
                    // Parentheses around one value without a comma are no tuple.
                    Ok([only]) if !comma => Ok(only),
                    Ok(one) => Ok(Literal::Tuple(one.into())),
                    Err(items) => Ok(Literal::Tuple(items)),
                }
            }
            Some(b'[') => Ok(Literal::List(self.sequence(b']', depth)?.0)),
            Some(b'\'' | b'"') => self.text(),
            Some(b'u' | b'b') if matches!(self.text.get(self.at + 1), Some(b'\'' | b'"')) => {
                self.at += 1;
                self.text()
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    /// Items up to `close`, and whether the last one was followed by a comma.
    fn sequence(&mut self, close: u8, depth: u32) -> Result<(Vec<Literal>, bool), usize> {
        self.at += 1;
        let mut items = Vec::new();
        let mut comma = false;
        loop {
            if self.accept(close) {
                return Ok((items, comma));
            }
            if !items.is_empty() && !comma {
                return Err(self.at);
            }
            items.push(self.value(depth + 1)?);
            comma = self.accept(b',');
        }
    }

    fn dict(&mut self, depth: u32) -> Result<Literal, usize> {
        self.at += 1;
        let mut entries = Vec::new();
        let mut comma = true;
        loop {
            if self.accept(b'}') {
                return Ok(Literal::Dict(entries));
            }
            if !comma {
                return Err(self.at);
            }
            let key = self.value(depth + 1)?;
            if !self.accept(b':') {
                return Err(self.at);
            }
            entries.push((key, self.value(depth + 1)?));
            comma = self.accept(b',');
        }
    }

    fn text(&mut self) -> Result<Literal, usize> {
        let quote = self.peek().ok_or(self.at)?;
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let byte = self.peek().ok_or(self.at)?;
            self.at += 1;
            match byte {
                _ if byte == quote => break,
                b'\n' => return Err(self.at - 1),
                b'\\' => {
                    let escaped = self.peek().ok_or(self.at)?;
                    self.at += 1;
                    match escaped {
                        b'n' => bytes.push(b'\n'),
                        b't' => bytes.push(b'\t'),
                        b'\\' | b'\'' | b'"' => bytes.push(escaped),
                        // Other escapes stay as written: names are only compared, never used.
                        _ => bytes.extend([b'\\', escaped]),
                    }
                }
                _ => bytes.push(byte),
            }
        }
        Ok(Literal::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn number(&mut self) -> Result<Literal, usize> {
        let start = self.at;
        self.at += 1;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        let digits = self.text.get(start..self.at).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits.and_then(|digits| digits.parse().ok()).ok_or(start)?;
        if self.peek() == Some(b'L') {
            self.at += 1;
        }
        Ok(Literal::Int(value))
    }

    fn word(&mut self) -> Result<Literal, usize> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        for (word, literal) in [("None", Literal::None), ("True", Literal::Bool(true)), ("False", Literal::Bool(false))]
        {
            if rest.starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(literal);
            }
        }
        Err(self.at)
    }
}
