//! Request targets in their one plain form, or not at all.
//!
//! Servers, proxies and file systems disagree about `..`, `//`, `%2f`, `%252e`, `;x=y`, `\` and about look-alikes in
//! Unicode, and every disagreement has been somebody's traversal. So nothing is normalised here: a path that is not
//! already plain is refused. Plain means: ASCII, no empty and no dotted segment, and an escape only where RFC 3986 leaves
//! no other way to write the character.

#![deny(clippy::indexing_slicing)]

use crate::problem::{Kind, Problem};

/// Longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 1_024;
/// Most segments of a path.
pub const SEGMENTS_MAX: usize = 32;
/// Longest query, in bytes.
pub const QUERY_BYTES_MAX: usize = 4_096;
/// Most parameters of a query.
pub const PARAMETERS_MAX: usize = 64;

/// Checks the path of a request.
pub fn path(path: &str) -> Result<(), Problem> {
    if path.len() > PATH_BYTES_MAX {
        return Err(Problem::new(Kind::AddressTooLong));
    }
    let Some(rest) = path.strip_prefix('/') else { return Err(refuse("the path does not begin with `/`")) };
    if rest.split('/').count() > SEGMENTS_MAX {
        return Err(Problem::new(Kind::AddressTooLong));
    }
    let mut segments = rest.split('/').peekable();
    while let Some(text) = segments.next() {
        // A closing slash is a name of its own (which no route has), an empty segment inside is two names for one.
        if text.is_empty() && segments.peek().is_some() {
            return Err(refuse("the path has an empty segment"));
        }
        segment(text)?;
    }
    Ok(())
}

fn segment(text: &str) -> Result<(), Problem> {
    if !text.is_empty() && text.bytes().all(|byte| byte == b'.') {
        return Err(refuse("the path has a segment of dots"));
    }
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let escaped = escape(&mut bytes).ok_or_else(|| refuse("the path has a broken escape"))?;
                if !escapable(escaped) {
                    return Err(refuse("the path escapes what need not or must not be escaped"));
                }
            }
            _ if plain(byte) => {}
            _ => return Err(refuse("the path has a character that must not stand there")),
        }
    }
    Ok(())
}

/// What stands for itself: RFC 3986's `pchar` without `;`, which some servers cut a path at.
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte)
}

/// What may be escaped: the printable rest of ASCII, and of the plain characters those that encoders escape by habit.
/// Never a separator, a dot, a second `%`, a control or anything beyond ASCII.
fn escapable(byte: u8) -> bool {
    (byte.is_ascii_graphic() || byte == b' ') && !byte.is_ascii_alphanumeric() && !b"-._~/\\%;#?".contains(&byte)
}

/// Checks the query of a request: escapes that hold, UTF-8 behind them, and no control character in any spelling.
pub fn query(query: &str) -> Result<(), Problem> {
    if query.len() > QUERY_BYTES_MAX || query.split('&').count() > PARAMETERS_MAX {
        return Err(Problem::new(Kind::AddressTooLong));
    }
    let mut decoded = Vec::with_capacity(query.len());
    let mut bytes = query.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => escape(&mut bytes).ok_or_else(|| refuse("the query has a broken escape"))?,
            byte => byte,
        };
        decoded.push(byte);
    }
    let text = std::str::from_utf8(&decoded).map_err(|_| refuse("the query is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(refuse("the query has a control character"));
    }
    Ok(())
}

/// The byte behind `%`, which has been taken already.
fn escape(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let mut digit = || char::from(bytes.next()?).to_digit(16);
    let (high, low) = (digit()?, digit()?);
    u8::try_from(high * 16 + low).ok()
}

fn refuse(why: &'static str) -> Problem {
    Problem::about(Kind::Path, why)
}
