//! Protocol buffers read by published message tables: typed views over foreign bytes, and a survey of what no table names.
//!
//! * [`Schema::tensorflow`] and its siblings are the tables, parsed from `schemas/*.txt`, which a script there writes from the
//!   projects' own descriptors.
//! * [`View`] is one message: fields by their published name, submessages as further views. Nothing is copied; a malformed
//!   field ends the walk, as it ends the loader's, and what stands before it is still seen.
//! * [`survey`] walks everything that the tables name and reports the rest: unknown fields, wrong wire types, texts that are
//!   no UTF-8, and where the bytes stop being a message.
//!
//! A message that may appear once and appears twice is merged by loaders: [`View::messages`] yields all of them, so that
//! nothing hides behind a repetition.
//!
//! Absent on purpose: defaults, extensions, and any meaning: what a field does is its reader's business.

#![deny(clippy::indexing_slicing)]

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use crate::protobuf::{Bytes, Field, ProtobufError, Reader, Value};

/// Messages that one survey visits; the largest published graphs have some 10^6.
pub const SURVEY_MESSAGES_MAX: u64 = 1 << 24;
/// Oddities that one survey keeps; more are counted only.
pub const ODDITIES_MAX: usize = 256;

/// The messages of one project.
#[derive(Debug)]
pub struct Schema {
    messages: Vec<Message>,
    by_name: HashMap<&'static str, usize>,
}

/// One message of a table.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Its name without the project's prefix.
    pub name: &'static str,
    fields: Vec<Rule>,
}

/// One field of a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// What lies on the wire.
    pub kind: Kind,
    /// Whether it may appear several times, or packed.
    pub repeated: bool,
    message: Option<usize>,
}

/// What lies on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Integers, booleans, enumerations.
    Varint,
    /// Eight bytes.
    Fixed64,
    /// Four bytes.
    Fixed32,
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Bytes,
    /// A message of the table.
    Message,
}

/// One message of a file, seen by its table.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    schema: &'static Schema,
    message: &'static Message,
    /// Its bytes and where they begin.
    pub bytes: Bytes<'a>,
}

/// What a [`survey`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Survey {
    /// Fields that the tables name.
    pub known: u64,
    /// Bytes of fields that they do not name, tags included.
    pub unknown_bytes: u64,
    /// Those fields, in file order, at most [`ODDITIES_MAX`].
    pub unknown: Vec<Unknown>,
    /// Texts that are not UTF-8.
    pub bad_texts: u64,
    /// Messages that appear a second time where one may.
    pub merged: u64,
    /// Where the first such repetition begins.
    pub first_merged: Option<usize>,
    /// Why the bytes are no message, where they are none: loaders refuse the whole.
    pub error: Option<ProtobufError>,
    /// There are more than [`SURVEY_MESSAGES_MAX`] messages; the rest was not visited.
    pub cut_short: bool,
    messages: u64,
}

/// A field that no table names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown {
    /// The message that it stands in.
    pub message: &'static str,
    /// Its number.
    pub number: u32,
    /// Where its tag begins.
    pub offset: usize,
    /// Its length with its tag, in bytes.
    pub length: usize,
}

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident $file:literal;)*) => {
        impl Schema {
            $($(#[$doc])*
            pub fn $name() -> &'static Self {
                static TABLE: LazyLock<Schema> = LazyLock::new(|| Schema::parse(include_str!(concat!("../schemas/", $file))));
                &TABLE
            })*
        }
        /// Every table with its text, for the test that reads them line by line.
        #[cfg(test)]
        const TABLES: &[(fn() -> &'static Schema, &str)] = &[$((Schema::$name, include_str!(concat!("../schemas/", $file)))),*];
    };
}

tables! {
    /// TensorFlow: `SavedModel`, `MetaGraphDef`, `GraphDef`, `SavedMetadata`, `TrackableObjectGraph`, `FingerprintDef`, bundles.
    tensorflow "tensorflow.txt";
    /// Core ML: `Model`.
    coreml "coreml.txt";
    /// ONNX: `ModelProto`, `TensorProto`.
    onnx "onnx.txt";
    /// PaddlePaddle: `ProgramDesc`, `VarType.TensorDesc`.
    paddle "paddle.txt";
    /// Caffe's `NetParameter` and SentencePiece's `ModelProto`, as far as an auditor needs them.
    others "others.txt";
}

impl Schema {
    /// Lines that cannot be read are skipped here; a test sees to it that there are none.
    fn parse(text: &'static str) -> Self {
        let mut messages: Vec<(Message, Vec<Option<&'static str>>)> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&'static str> = line.split(' ').collect();
            if let ["message", name] = words.as_slice() {
                messages.push((Message { name, fields: Vec::new() }, Vec::new()));
            } else if let Some((message, targets)) = messages.last_mut()
                && let Some((rule, target)) = rule(&words)
            {
                message.fields.push(rule);
                targets.push(target);
            }
        }
        let by_name: HashMap<_, _> = messages.iter().enumerate().map(|(at, (message, _))| (message.name, at)).collect();
        let resolve = |(mut message, targets): (Message, Vec<Option<&str>>)| {
            for (rule, target) in message.fields.iter_mut().zip(targets) {
                rule.message = target.and_then(|name| by_name.get(name).copied());
            }
            message
        };
        Self { messages: messages.into_iter().map(resolve).collect(), by_name }
    }

    /// `data` as the message `name`; `None` where the table has no such message.
    pub fn view<'a>(&'static self, name: &str, data: &'a [u8]) -> Option<View<'a>> {
        self.view_of(name, Bytes::whole(data))
    }

    /// `bytes` of a larger message as the message `name`.
    pub fn view_of<'a>(&'static self, name: &str, bytes: Bytes<'a>) -> Option<View<'a>> {
        let message = self.messages.get(*self.by_name.get(name)?)?;
        Some(View { schema: self, message, bytes })
    }
}

fn rule(words: &[&'static str]) -> Option<(Rule, Option<&'static str>)> {
    let (number, name, kind, target) = match words {
        [number, name, kind] => (number, name, kind, None),
        [number, name, kind, target] => (number, name, kind, Some(*target)),
        _ => return None,
    };
    let repeated = kind.chars().all(|letter| letter.is_ascii_uppercase());
    let kind = match kind.to_ascii_lowercase().as_str() {
        "v" => Kind::Varint,
        "l" => Kind::Fixed64,
        "i" => Kind::Fixed32,
        "t" => Kind::Text,
        "b" => Kind::Bytes,
        "m" => Kind::Message,
        _ => return None,
    };
    Some((Rule { number: number.parse().ok()?, name, kind, repeated, message: None }, target))
}

impl Message {
    fn rule(&self, number: u32) -> Option<&Rule> {
        self.fields.binary_search_by_key(&number, |rule| rule.number).ok().and_then(|at| self.fields.get(at))
    }

    fn named(&self, name: &str) -> Option<&Rule> {
        self.fields.iter().find(|rule| rule.name == name)
    }
}

impl<'a> View<'a> {
    /// The message's name.
    pub fn name(&self) -> &'static str {
        self.message.name
    }

    /// Where the message begins.
    pub fn offset(&self) -> u64 {
        self.bytes.offset as u64
    }

    /// Its fields in file order with what the table says of them, up to the first that is malformed.
    pub fn fields(&self) -> impl Iterator<Item = (Option<&'static Rule>, Field<'a>)> + use<'a> {
        let message = self.message;
        let mut reader =
            if self.bytes.offset == 0 { Reader::new(self.bytes.data).ok() } else { self.bytes.message().ok() };
        std::iter::from_fn(move || {
            let field = reader.as_mut()?.next_field().ok().flatten()?;
            Some((message.rule(field.number), field))
        })
    }

    /// Every message of the field `name`.
    pub fn messages(&self, name: &str) -> impl Iterator<Item = View<'a>> + use<'a> {
        let schema = self.schema;
        let rule = self.message.named(name);
        let target = rule.and_then(|rule| schema.messages.get(rule.message?));
        self.all(rule).filter_map(move |value| match value {
            Value::Bytes(bytes) => Some(View { schema, message: target?, bytes }),
            _ => None,
        })
    }

    /// Every submessage of any field, with the field's name.
    pub fn children(&self) -> impl Iterator<Item = (&'static str, View<'a>)> + use<'a> {
        let schema = self.schema;
        self.fields().filter_map(move |(rule, field)| {
            let rule = rule?;
            let message = schema.messages.get(rule.message?)?;
            match field.value {
                Value::Bytes(bytes) => Some((rule.name, View { schema, message, bytes })),
                _ => None,
            }
        })
    }

    /// Every length-delimited value of the field `name`.
    pub fn blobs(&self, name: &str) -> impl Iterator<Item = Bytes<'a>> + use<'a> {
        self.all(self.message.named(name)).filter_map(|value| match value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        })
    }

    /// The last text of the field `name`, empty where there is none; what is no UTF-8 is replaced.
    pub fn text(&self, name: &str) -> Cow<'a, str> {
        self.blobs(name).last().map_or(Cow::Borrowed(""), |bytes| String::from_utf8_lossy(bytes.data))
    }

    /// Every text of the field `name`.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = Cow<'a, str>> + use<'a> {
        self.blobs(name).map(|bytes| String::from_utf8_lossy(bytes.data))
    }

    /// The last number of the field `name`; fixed-width ones by their bits.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.numbers(name).last()
    }

    /// Every number of the field `name`, packed or one by one.
    pub fn numbers(&self, name: &str) -> impl Iterator<Item = u64> + use<'a> {
        let rule = self.message.named(name);
        let kind = rule.map_or(Kind::Bytes, |rule| rule.kind);
        self.all(rule).flat_map(move |value| -> Box<dyn Iterator<Item = u64> + 'a> {
            match (value, kind) {
                (Value::Varint(number) | Value::Fixed64(number), _) => Box::new(std::iter::once(number)),
                (Value::Fixed32(number), _) => Box::new(std::iter::once(u64::from(number))),
                (Value::Bytes(packed), Kind::Varint) => Box::new(packed.varints().map_while(Result::ok)),
                (Value::Bytes(packed), Kind::Fixed64) => {
                    Box::new(packed.data.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)))
                }
                (Value::Bytes(packed), Kind::Fixed32) => {
                    Box::new(packed.data.as_chunks::<4>().0.iter().map(|chunk| u64::from(u32::from_le_bytes(*chunk))))
                }
                _ => Box::new(std::iter::empty()),
            }
        })
    }

    /// Whether the field `name` has a number of at least `number`.
    pub fn is_beyond(&self, name: &str, number: u32) -> bool {
        self.message.named(name).is_some_and(|rule| rule.number >= number)
    }

    /// Whether the field `name` is there.
    pub fn has(&self, name: &str) -> bool {
        self.all(self.message.named(name)).next().is_some()
    }

    fn all(&self, rule: Option<&Rule>) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let wanted = rule.map(|rule| (rule.number, rule.kind));
        let fields = if wanted.is_some() { Some(self.fields()) } else { None };
        fields
            .into_iter()
            .flatten()
            .filter(move |(_, field)| {
                wanted.is_some_and(|(number, kind)| field.number == number && fits(kind, &field.value, true))
            })
            .map(|(_, field)| field.value)
    }
}

/// Walks everything in `view` that the tables name.
pub fn survey(view: &View<'_>) -> Survey {
    let mut survey = Survey::default();
    let reader = if view.bytes.offset == 0 { Reader::new(view.bytes.data) } else { view.bytes.message() };
    if let Err(error) = reader.and_then(|reader| survey.message(view.schema, view.message, reader)) {
        survey.error = Some(error);
    }
    survey
}

impl Survey {
    // The recursion is as deep as the file nests, which `Bytes::message` bounds.
    fn message(
        &mut self,
        schema: &'static Schema,
        message: &'static Message,
        mut reader: Reader<'_>,
    ) -> Result<(), ProtobufError> {
        self.messages += 1;
        if self.messages > SURVEY_MESSAGES_MAX {
            self.cut_short = true;
            return Ok(());
        }
        let mut seen = 0_u64;
        while let Some(field) = reader.next_field()? {
            let Some(rule) = message.rule(field.number).filter(|rule| fits(rule.kind, &field.value, rule.repeated))
            else {
                self.odd(message, &field);
                continue;
            };
            self.known += 1;
            let Value::Bytes(bytes) = field.value else { continue };
            match (rule.kind, rule.message.and_then(|target| schema.messages.get(target))) {
                (Kind::Message, Some(target)) => {
                    let bit = 1_u64.checked_shl(rule.number).unwrap_or(0);
                    if !rule.repeated && seen & bit != 0 {
                        self.merged += 1;
                        self.first_merged.get_or_insert(field.offset);
                    }
                    seen |= bit;
                    self.message(schema, target, bytes.message()?)?;
                }
                (Kind::Text, _) if std::str::from_utf8(bytes.data).is_err() => self.bad_texts += 1,
                _ => {}
            }
        }
        Ok(())
    }

    fn odd(&mut self, message: &'static Message, field: &Field<'_>) {
        let length = field.end - field.offset;
        self.unknown_bytes = self.unknown_bytes.saturating_add(length as u64);
        if self.unknown.len() < ODDITIES_MAX {
            let unknown = Unknown { message: message.name, number: field.number, offset: field.offset, length };
            self.unknown.push(unknown);
        }
    }

    /// Whether the bytes are this message and nothing else.
    pub fn is_exact(&self) -> bool {
        self.error.is_none() && self.unknown_bytes == 0 && self.bad_texts == 0 && !self.cut_short && self.known > 0
    }
}

/// Whether a value has the wire type of its field; numbers of a repeated field may be packed.
fn fits(kind: Kind, value: &Value<'_>, repeated: bool) -> bool {
    match (kind, value) {
        (Kind::Varint, Value::Varint(_))
        | (Kind::Fixed64, Value::Fixed64(_))
        | (Kind::Fixed32, Value::Fixed32(_))
        | (Kind::Text | Kind::Bytes | Kind::Message, Value::Bytes(_)) => true,
        (Kind::Varint, Value::Bytes(packed)) => repeated && packed.varints().all(|number| number.is_ok()),
        (Kind::Fixed64, Value::Bytes(packed)) => repeated && packed.data.len().is_multiple_of(8),
        (Kind::Fixed32, Value::Bytes(packed)) => repeated && packed.data.len().is_multiple_of(4),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::Writer;

    #[test]
    fn every_line_of_the_tables_is_understood() {
        for (schema, text) in TABLES {
            let fields: usize = schema().messages.iter().map(|message| message.fields.len()).sum();
            let lines = text.lines().filter(|line| !line.starts_with('#')).count();
            assert_eq!(fields + schema().messages.len(), lines);
            assert_eq!(schema().by_name.len(), schema().messages.len(), "names are unique");
            for message in &schema().messages {
                assert!(message.fields.is_sorted_by_key(|rule| rule.number), "{}", message.name);
                for rule in &message.fields {
                    assert_eq!(rule.message.is_some(), rule.kind == Kind::Message, "{}.{}", message.name, rule.name);
                }
            }
        }
    }

    #[test]
    fn views_see_names_and_surveys_see_the_rest() {
        let mut writer = Writer::new();
        writer.message(1, |node| {
            node.text(1, "name").text(2, "NoOp").bytes(99, b"hidden");
        });
        let bytes = writer.finish();
        let view = Schema::tensorflow().view("GraphDef", &bytes).unwrap();
        let node = view.messages("node").next().unwrap();
        assert_eq!((node.text("name"), node.text("op")), ("name".into(), "NoOp".into()));
        let survey = survey(&view);
        assert_eq!((survey.known, survey.unknown.len(), survey.error.clone()), (3, 1, None));
        assert_eq!(survey.unknown.first().map(|odd| (odd.message, odd.number)), Some(("NodeDef", 99)));
        assert!(!survey.is_exact());
    }

    #[test]
    fn a_group_is_an_unknown_field_not_an_end() {
        let bytes = [0x0a, 2, 0x12, 0, 0x5b, 0x08, 1, 0x5c, 0x0a, 4, 0x12, 2, b'N', b'o'];
        let view = Schema::tensorflow().view("GraphDef", &bytes).unwrap();
        assert_eq!(view.messages("node").last().unwrap().text("op"), "No");
        assert_eq!(survey(&view).unknown_bytes, 4);
    }
}
