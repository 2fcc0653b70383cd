//! A page as a browser's tokenizer sees it.

use std::collections::BTreeMap;

use html5gum::{Token, Tokenizer};

/// A start tag.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    /// Its name.
    pub(crate) name: String,
    /// Its attributes, unescaped.
    pub(crate) attributes: BTreeMap<String, String>,
    /// The text up to the next tag.
    pub(crate) text: String,
}

/// All start tags of a page in order.
pub(crate) fn elements(page: &str) -> Vec<Element> {
    let mut found: Vec<Element> = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    for token in Tokenizer::new(page) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => found.push(Element {
                name: text(&tag.name),
                attributes: tag.attributes.iter().map(|(name, value)| (text(name), text(value))).collect(),
                text: String::new(),
            }),
            Token::String(string) => {
                if let Some(last) = found.last_mut() {
                    last.text.push_str(&text(&string));
                }
            }
            _ => {}
        }
    }
    found
}
