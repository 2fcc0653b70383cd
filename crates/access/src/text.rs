//! Cedar text that somebody else wrote: bounded before the parser sees it, `forbid` only, errors with positions.
//!
//! Cedar's parser and syntax trees recurse, so hostile nesting would exhaust the stack where no error can be returned.
//! [`check_shape`] therefore bounds brackets, conditionals and operators first. It counts conservatively: what it lets
//! through is shallow, and no sensible policy comes near the limits.

#![deny(clippy::indexing_slicing)]

use std::{collections::BTreeSet, fmt, str::FromStr as _};

use cedar_policy::{Effect, ParseErrors, Policy, PolicyId, PolicySet};
use miette::Diagnostic as _;
use ringfence_schema::finding::printable;

use crate::policies::{Origin, PolicyError};

/// Longest text in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 64 << 10;
/// Most policies in one text.
pub(crate) const POLICIES_MAX: usize = 256;
/// Deepest nesting of brackets.
const BRACKETS_MAX: usize = 32;
/// Most conditionals (`if`) in one policy.
const CONDITIONALS_MAX: usize = 16;
/// Most operators, member accesses and list separators in one policy.
const OPERATORS_MAX: usize = 512;
/// Longest id, in characters.
const ID_CHARS_MAX: usize = 64;
/// Longest reason, in characters.
const SAYS_CHARS_MAX: usize = 200;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, counted from 1.
    pub line: usize,
    /// Character in the line, counted from 1.
    pub column: usize,
}

impl Position {
    /// The place of the byte at `offset`; beyond the end counts as the end.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        Self { line, column: before.get(line_start..).unwrap_or_default().chars().count() + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}", self.line, self.column)
    }
}

/// One policy of a foreign text.
pub(crate) struct Foreign {
    /// With its final id.
    pub(crate) policy: Policy,
    /// What to tell people when it decides.
    pub(crate) says: String,
    /// Where it begins.
    pub(crate) position: Position,
}

/// Reads a text that may hold `forbid` policies only.
pub(crate) fn read_forbids(origin: Origin, text: &str) -> Result<Vec<Foreign>, PolicyError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(PolicyError::TooLarge { bytes: text.len() });
    }
    check_shape(text).map_err(|offset| PolicyError::TooDeep { position: Position::of(text, offset) })?;
    let set = PolicySet::from_str(text).map_err(|errors| syntax(text, &errors))?;
    if let Some(template) = set.templates().next() {
        let at = text.find(&template.to_cedar()).unwrap_or(0);
        return Err(PolicyError::Template { position: Position::of(text, at) });
    }
    let count = set.policies().count();
    if count > POLICIES_MAX {
        return Err(PolicyError::TooMany { policies: count });
    }
    let mut found = Vec::with_capacity(count);
    let mut ids = BTreeSet::new();
    let mut from = 0;
    for number in 0..count {
        // Cedar numbers the policies of a text in the order in which they stand there.
        let Some(policy) = set.policy(&PolicyId::new(format!("policy{number}"))) else { continue };
        let source = policy.to_cedar().unwrap_or_default();
        let at = text.get(from..).and_then(|rest| rest.find(&source)).map_or(from, |found| from + found);
        from = at + source.len();
        let position = Position::of(text, at);
        if policy.effect() != Effect::Forbid {
            return Err(PolicyError::NotForbid { position });
        }
        let id = final_id(origin, number, policy, position)?;
        if !ids.insert(id.clone()) {
            return Err(PolicyError::DuplicateId { id, position });
        }
        let says = policy.annotation("says").map_or_else(
            || format!("the {} forbids this ({position})", origin.words()),
            |says| printable(says, SAYS_CHARS_MAX),
        );
        found.push(Foreign { policy: policy.new_id(PolicyId::new(id)), says, position });
    }
    // INVARIANT: every policy was looked at; one that was skipped could be a `permit`.
    if found.len() == count { Ok(found) } else { Err(PolicyError::TooMany { policies: count }) }
}

fn final_id(origin: Origin, number: usize, policy: &Policy, position: Position) -> Result<String, PolicyError> {
    let Some(id) = policy.annotation("id") else { return Ok(format!("{}:{}", origin.prefix(), number + 1)) };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if id.is_empty() || id.len() > ID_CHARS_MAX || !id.bytes().all(plain) {
        return Err(PolicyError::BadId { id: printable(id, ID_CHARS_MAX), position });
    }
    Ok(format!("{}:{id}", origin.prefix()))
}

fn syntax(text: &str, errors: &ParseErrors) -> PolicyError {
    let offset = errors.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
    PolicyError::Syntax { position: Position::of(text, offset), message: printable(&errors.to_string(), 200) }
}

/// Bounds nesting by a scan over the bytes; the error is the offset at which a limit is passed.
fn check_shape(text: &str) -> Result<(), usize> {
    let mut shape = Shape::default();
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((offset, byte)) = bytes.next() {
        let next = bytes.peek().map(|(_, next)| *next);
        match byte {
            b'"' => skip_string(&mut bytes),
            b'/' if next == Some(b'/') => while bytes.next().is_some_and(|(_, byte)| byte != b'\n') {},
            _ => shape.take(byte, next),
        }
        if !shape.within_limits() {
            return Err(offset);
        }
    }
    Ok(())
}

fn skip_string(bytes: &mut impl Iterator<Item = (usize, u8)>) {
    while let Some((_, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return,
            _ => {}
        }
    }
}

#[derive(Default)]
struct Shape {
    brackets: usize,
    conditionals: usize,
    operators: usize,
    word_goes_on: bool,
}

impl Shape {
    fn take(&mut self, byte: u8, next: Option<u8>) {
        match byte {
            b'(' | b'[' | b'{' => self.brackets += 1,
            b')' | b']' | b'}' => self.brackets = self.brackets.saturating_sub(1),
            b';' => *self = Self::default(),
            b'.' | b',' | b'&' | b'|' | b'!' | b'=' | b'<' | b'>' | b'+' | b'-' | b'*' | b':' => self.operators += 1,
            b'i' if !self.word_goes_on && next == Some(b'f') => self.conditionals += 1,
            _ => {}
        }
        let word = byte.is_ascii_alphanumeric() || byte == b'_';
        // Words such as `in`, `has`, `like` and `is` are operators too; counting every word counts them.
        if word && !self.word_goes_on {
            self.operators += 1;
        }
        self.word_goes_on = word;
    }

    fn within_limits(&self) -> bool {
        self.brackets <= BRACKETS_MAX && self.conditionals <= CONDITIONALS_MAX && self.operators <= OPERATORS_MAX
    }
}
