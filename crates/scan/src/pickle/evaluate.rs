//! What known pure functions make of known values, so that a name which is put together from pieces has a name.
//!
//! [`Machine::evaluate`] knows the functions that attackers glue names with and that make the same of the same on every
//! machine: joining, decoding, looking up. Whatever it does not know stays a value that only loading tells, and using
//! that as a name is a finding of its own.

use super::{
    heap::{Value, Wide},
    machine::Machine,
    nested,
};
use crate::pickle::Encoding;

/// Modules that these functions live in, without underscores in front.
pub(super) const MODULES: [&str; 8] =
    ["builtins", "builtin__", "copyreg", "copy_reg", "operator", "codecs", "base64", "binascii"];
/// Longest text or byte string that is computed, in bytes.
const RESULT_BYTES_MAX: usize = 1_024;

impl Machine<'_> {
    /// The result of calling the imported object `number`, where that is known and matters.
    pub(super) fn evaluate(&mut self, number: u32, items: &[Value]) -> Option<Value> {
        let name = self.names.get(number as usize)?;
        let module = name.module.trim_start_matches('_');
        let path = match module {
            "builtins" | "builtin__" => name.attribute.clone(),
            "copy_reg" => format!("copyreg.{}", name.attribute),
            _ => format!("{module}.{}", name.attribute),
        };
        match (path.as_str(), items) {
            ("copyreg.add_extension", [Value::Text(module), Value::Text(name), Value::Int(code)]) => {
                let (module, name) = (self.text_at(*module)?, self.text_at(*name)?);
                let code = u32::try_from(code.number()).ok()?;
                if let Value::Global(number) = self.import(&module, &name) {
                    self.extensions.insert(code, number);
                }
                Some(Value::None)
            }
            ("getattr", [Value::Global(object), Value::Text(name), ..]) => {
                let name = self.text_at(*name)?;
                let object = self.names.get(*object as usize)?;
                let (module, path) = (object.module.clone(), format!("{}.{name}", object.attribute));
                Some(self.import(&module, &path))
            }
            ("str" | "str.lower" | "str.upper" | "str.strip" | "str.swapcase", [Value::Text(text)]) => {
                let text = self.text_at(*text)?;
                self.made_text(match path.as_str() {
                    "str.lower" => text.to_lowercase(),
                    "str.upper" => text.to_uppercase(),
                    "str.strip" => text.trim().to_owned(),
                    "str.swapcase" => text.chars().map(swapped).collect(),
                    _ => text,
                })
            }
            ("chr", [Value::Int(code)]) => {
                self.made_text(char::from_u32(u32::try_from(code.number()).ok()?)?.to_string())
            }
            ("str.join", [Value::Text(glue), Value::List(parts) | Value::Tuple(parts)]) => {
                let glue = self.text_at(*glue)?;
                let parts = self.heap.items(*parts)?;
                let texts: Option<Vec<String>> = parts.into_iter().map(|part| self.text_of(part)).collect();
                self.made_text(texts?.join(&glue))
            }
            ("str.replace", [Value::Text(text), Value::Text(old), Value::Text(new)]) => {
                let (text, old, new) = (self.text_at(*text)?, self.text_at(*old)?, self.text_at(*new)?);
                (!old.is_empty()).then(|| self.made_text(text.replace(&old, &new)))?
            }
            (
                "operator.add" | "operator.concat" | "operator.iadd" | "operator.iconcat" | "str.__add__",
                [Value::Text(left), Value::Text(right)],
            ) => {
                let (left, right) = (self.text_at(*left)?, self.text_at(*right)?);
                self.made_text(left + &right)
            }
            (
                "operator.getitem" | "list.__getitem__" | "tuple.__getitem__" | "list.pop",
                [Value::List(container) | Value::Tuple(container), Value::Int(index)],
            ) => self.heap.items(*container)?.get(usize::try_from(index.number()).ok()?).copied(),
            ("bytes" | "bytearray", [Value::List(container) | Value::Tuple(container)]) => {
                let items = self.heap.items(*container)?;
                let byte = |item: &Value| match item {
                    Value::Int(number) => u8::try_from(number.number()).ok(),
                    _ => None,
                };
                let bytes: Option<Vec<u8>> = items.iter().map(byte).collect();
                self.made_bytes(bytes?)
            }
            ("str" | "bytes.decode" | "bytearray.decode" | "codecs.decode", [Value::Bytes(bytes), rest @ ..]) => {
                let bytes = self.short_bytes(*bytes)?;
                self.decoded(&bytes, rest.first().copied())
            }
            ("codecs.decode" | "codecs.encode" | "bytes" | "str.encode", [Value::Text(text), codec, ..]) => {
                let (text, codec) = (self.text_at(*text)?, self.text_of(*codec)?);
                match codec.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
                    "rot13" => self.made_text(text.chars().map(rotated).collect()),
                    "latin1" | "iso88591" | "ascii" => {
                        let bytes: Option<Vec<u8>> =
                            text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
                        self.made_bytes(bytes?)
                    }
                    "utf8" => self.made_bytes(text.into_bytes()),
                    _ => None,
                }
            }
            ("base64.b64decode" | "base64.decodebytes" | "binascii.a2b_base64", [text]) => {
                let text = self.bytes_of(*text)?;
                self.made_bytes(nested::decode(&text, Encoding::Base64))
            }
            ("binascii.unhexlify" | "binascii.a2b_hex" | "bytes.fromhex" | "bytearray.fromhex", [text]) => {
                let text = self.bytes_of(*text)?;
                self.made_bytes(nested::decode(&text, Encoding::Hex))
            }
            _ => None,
        }
    }

    fn decoded(&mut self, bytes: &[u8], codec: Option<Value>) -> Option<Value> {
        let codec = match codec {
            Some(codec) => self.text_of(codec)?.to_ascii_lowercase().replace(['-', '_'], ""),
            None => "utf8".to_owned(),
        };
        match codec.as_str() {
            "utf8" | "ascii" => self.made_text(String::from_utf8(bytes.to_vec()).ok()?),
            "latin1" | "iso88591" => self.made_text(bytes.iter().copied().map(char::from).collect()),
            "base64" => self.made_bytes(nested::decode(bytes, Encoding::Base64)),
            "hex" => self.made_bytes(nested::decode(bytes, Encoding::Hex)),
            _ => None,
        }
    }

    fn text_of(&mut self, value: Value) -> Option<String> {
        let Value::Text(text) = value else { return None };
        self.text_at(text)
    }

    /// A text or byte string as bytes.
    fn bytes_of(&mut self, value: Value) -> Option<Vec<u8>> {
        match value {
            Value::Text(text) => self.text_at(text).map(String::into_bytes),
            Value::Bytes(bytes) => self.short_bytes(bytes),
            _ => None,
        }
    }

    fn short_bytes(&mut self, bytes: Wide) -> Option<Vec<u8>> {
        if let Some(index) = bytes.as_kept() {
            return self.kept(index).map(<[u8]>::to_vec);
        }
        let (start, length) = self.extent_at(bytes)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= RESULT_BYTES_MAX)?;
        Some(self.input.read_at(start, length))
    }

    fn made_text(&mut self, text: String) -> Option<Value> {
        self.made_bytes(text.into_bytes()).map(|kept| match kept {
            Value::Bytes(kept) => Value::Text(kept),
            other => other,
        })
    }

    fn made_bytes(&mut self, bytes: Vec<u8>) -> Option<Value> {
        if bytes.len() > RESULT_BYTES_MAX {
            return None;
        }
        self.keep(bytes).map(Value::Bytes)
    }
}

fn rotated(letter: char) -> char {
    match letter {
        'a'..='m' | 'A'..='M' => char::from_u32(u32::from(letter) + 13).unwrap_or(letter),
        'n'..='z' | 'N'..='Z' => char::from_u32(u32::from(letter) - 13).unwrap_or(letter),
        _ => letter,
    }
}

fn swapped(letter: char) -> char {
    if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
}
