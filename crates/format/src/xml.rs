//! XML 1.0 as a bounded stream of events for an auditor: it resolves nothing, so nothing can be smuggled in by a declaration.
//!
//! [`read`] yields elements, attributes, texts, comments, instructions and the document type with byte offsets.
//! References other than the five of the standard and numbers stay as they are written. Names keep their prefixes.
//!
//! Source: XML 1.0 (fifth edition), §2 to §4. Not checked: that names consist of name characters, and that the document type is
//! well-formed; its text is handed out whole.
//!
//! Absent on purpose: entity expansion, external identifiers, namespaces, encodings other than UTF-8.

#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;

/// Deepest nesting of elements.
pub const DEPTH_MAX: usize = 1_000;
/// Attributes of one element.
pub const ATTRIBUTES_MAX: usize = 10_000;

/// Why a text is not the XML that this reader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct XmlError {
    /// What is wrong.
    pub what: &'static str,
    /// Where.
    pub offset: usize,
}

/// One part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// `<name key="value">`; an empty element is followed by its [`Event::End`].
    Start {
        /// The name with its prefix.
        name: &'a str,
        /// Its attributes in order.
        attributes: Vec<(&'a str, Cow<'a, str>)>,
    },
    /// The end of the innermost open element.
    End {
        /// Its name.
        name: &'a str,
    },
    /// Text or a CDATA section.
    Text(Cow<'a, str>),
    /// `<!-- … -->`
    Comment(&'a str),
    /// `<?target … ?>`
    Instruction(&'a str),
    /// `<!DOCTYPE … >` with its internal subset.
    Doctype(&'a str),
}

/// Reads `text` event by event; it ends after the first error.
pub fn read(text: &str) -> Reader<'_> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Reader { text, at: 0, open: Vec::new(), pending: None, roots: 0, failed: false }
}

/// The iterator of [`read`]: events with the byte offset where each begins.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    open: Vec<&'a str>,
    pending: Option<&'a str>,
    roots: usize,
    failed: bool,
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(usize, Event<'a>), XmlError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let start = self.at;
        if let Some(name) = self.pending.take() {
            return Some(Ok((start, Event::End { name })));
        }
        if self.at >= self.text.len() {
            let missing = if self.open.is_empty() { self.roots == 0 } else { true };
            self.failed = true;
            return missing.then_some(Err(XmlError { what: "the document ends too early", offset: start }));
        }
        let event = self.event();
        self.failed = event.is_err();
        Some(event.map(|event| (start, event)))
    }
}

impl<'a> Reader<'a> {
    fn event(&mut self) -> Result<Event<'a>, XmlError> {
        let rest = self.rest();
        if !rest.starts_with('<') {
            let end = rest.find('<').unwrap_or(rest.len());
            let text = self.take(end);
            if self.open.is_empty() && !text.trim().is_empty() {
                return Err(XmlError { what: "text outside of the document element", offset: self.at - end });
            }
            return Ok(Event::Text(unescape(text)));
        }
        if rest.starts_with("<!--") {
            return Ok(Event::Comment(self.delimited("<!--", "-->", "a comment does not end")?));
        }
        if rest.starts_with("<![CDATA[") {
            return Ok(Event::Text(Cow::Borrowed(self.delimited(
                "<![CDATA[",
                "]]>",
                "a CDATA section does not end",
            )?)));
        }
        if rest.starts_with("<?") {
            return Ok(Event::Instruction(self.delimited("<?", "?>", "an instruction does not end")?));
        }
        if rest.starts_with("<!") {
            return self.doctype();
        }
        if rest.starts_with("</") {
            let name = self.delimited("</", ">", "an end tag does not end")?.trim_end();
            return match self.open.pop() {
                Some(open) if open == name => Ok(Event::End { name }),
                _ => Err(self.error("an end tag closes nothing")),
            };
        }
        self.start()
    }

    /// `<!DOCTYPE`, up to the `>` outside of brackets and quotes.
    fn doctype(&mut self) -> Result<Event<'a>, XmlError> {
        let rest = self.rest();
        if !rest.get(..9).is_some_and(|word| word.eq_ignore_ascii_case("<!DOCTYPE")) || self.roots > 0 {
            return Err(self.error("a declaration stands where none may"));
        }
        let mut depth = 0_usize;
        let mut quote = None;
        let mut skip_until = 0;
        for (at, byte) in rest.bytes().enumerate().skip(2) {
            if at < skip_until {
                continue;
            }
            if let Some(open) = quote {
                if byte == open {
                    quote = None;
                }
                continue;
            }
            match byte {
                b'<' if rest.get(at..).is_some_and(|rest| rest.starts_with("<!--")) => {
                    let length = rest.get(at..).and_then(|rest| rest.find("-->"));
                    skip_until = at + length.ok_or_else(|| self.error("a comment does not end"))? + 3;
                }
                b'"' | b'\'' => quote = Some(byte),
                b'[' => depth += 1,
                b']' => depth = depth.saturating_sub(1),
                b'>' if depth == 0 => {
                    let text = self.take(at + 1);
                    return Ok(Event::Doctype(text));
                }
                _ => {}
            }
        }
        Err(self.error("the document type does not end"))
    }

    fn start(&mut self) -> Result<Event<'a>, XmlError> {
        if self.open.is_empty() && self.roots > 0 {
            return Err(self.error("a second document element"));
        }
        let begin = self.at;
        self.take(1);
        let name = self.name()?;
        let mut attributes = Vec::new();
        loop {
            self.blank();
            let rest = self.rest();
            if rest.starts_with("/>") {
                self.take(2);
                self.pending = Some(name);
                break;
            }
            if rest.starts_with('>') {
                self.take(1);
                self.open.push(name);
                break;
            }
            if attributes.len() >= ATTRIBUTES_MAX {
                return Err(self.error("an element has too many attributes"));
            }
            let key = self.name()?;
            self.blank();
            if !self.rest().starts_with('=') {
                return Err(self.error("an attribute has no value"));
            }
            self.take(1);
            self.blank();
            attributes.push((key, self.quoted()?));
        }
        if self.open.len() > DEPTH_MAX {
            return Err(XmlError { what: "elements nest too deeply", offset: begin });
        }
        self.roots += usize::from(self.open.len() + usize::from(self.pending.is_some()) == 1);
        Ok(Event::Start { name, attributes })
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>, XmlError> {
        let quote = if self.rest().starts_with('"') { '"' } else { '\'' };
        if !self.rest().starts_with(quote) {
            return Err(self.error("an attribute's value is not quoted"));
        }
        self.take(1);
        let end = self.rest().find(quote).ok_or_else(|| self.error("an attribute's value does not end"))?;
        let value = self.take(end);
        self.take(1);
        if value.contains('<') {
            return Err(self.error("an attribute's value holds a tag"));
        }
        Ok(unescape(value))
    }

    fn name(&mut self) -> Result<&'a str, XmlError> {
        let ends = |letter: char| letter.is_whitespace() || matches!(letter, '=' | '>' | '/' | '<' | '"' | '\'' | '&');
        let rest = self.rest();
        match rest.find(ends).unwrap_or(rest.len()) {
            0 => Err(self.error("a name is missing")),
            length => Ok(self.take(length)),
        }
    }

    fn delimited(&mut self, open: &str, close: &str, what: &'static str) -> Result<&'a str, XmlError> {
        let inner = self.rest().get(open.len()..).unwrap_or_default();
        let length = inner.find(close).ok_or_else(|| self.error(what))?;
        self.take(open.len());
        let text = self.take(length);
        self.take(close.len());
        Ok(text)
    }

    fn blank(&mut self) {
        let rest = self.rest();
        self.take(rest.len() - rest.trim_start().len());
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next `length` bytes, which end at a character.
    fn take(&mut self, length: usize) -> &'a str {
        let taken = self.rest().get(..length).unwrap_or_default();
        self.at += taken.len();
        taken
    }

    fn error(&self, what: &'static str) -> XmlError {
        XmlError { what, offset: self.at }
    }
}

/// The five references of the standard, and numbers; all others stay.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, reference) = rest.split_at(at);
        out.push_str(before);
        let name = reference.get(1..).and_then(|inner| inner.get(..inner.find(';').filter(|end| *end <= 10)?));
        let character = name.and_then(character);
        if let (Some(name), Some(character)) = (name, character) {
            out.push(character);
            rest = reference.get(name.len() + 2..).unwrap_or_default();
        } else {
            out.push('&');
            rest = reference.get(1..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => digits.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Result<Vec<Event<'_>>, XmlError> {
        read(text).map(|event| event.map(|(_, event)| event)).collect()
    }

    #[test]
    fn reads_a_document() {
        let found = events(
            "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b \"]>\">]><a k=\"1 &lt; &b;\"><!-- c --><b/>t&#65;<![CDATA[<x>]]></a>\n",
        );
        let found = found.unwrap();
        assert_eq!(found.len(), 10);
        assert_eq!(found.get(1), Some(&Event::Doctype("<!DOCTYPE a [<!ENTITY b \"]>\">]>")));
        let attributes = vec![("k", Cow::from("1 < &b;"))];
        assert_eq!(found.get(2), Some(&Event::Start { name: "a", attributes }));
        assert_eq!(found.get(6), Some(&Event::Text("tA".into())));
        assert_eq!(found.get(7), Some(&Event::Text("<x>".into())));
    }

    #[test]
    fn refuses_what_is_no_document() {
        for text in [
            "",
            "a",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a",
            "<a b>",
            "<a b=c>",
            "<!-- ",
            "<a/>x",
            "<a b='",
            "<!ENTITY a>",
            "<a/><!DOCTYPE a>",
            "< a/>",
        ] {
            assert!(events(text).is_err(), "{text}");
        }
        let deep = "<a>".repeat(DEPTH_MAX + 2);
        assert_eq!(events(&deep).unwrap_err().what, "elements nest too deeply");
    }
}
