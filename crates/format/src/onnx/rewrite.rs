//! New numbers into an old file: only the payloads of initialisers change.
//!
//! Every other byte stays: order, unknown fields, even lengths that are encoded longer than needed. Where a payload's
//! length changes (numbers stored as varints), the lengths of the messages around it are encoded anew.

use super::tensor::{DataLocation, Encoding, Payload, encoding, little_endian};
use super::{OnnxError, Tensor, field, parse};
use crate::protobuf::{Bytes, Field, Reader, Value, append_varint};

/// Copies `file`, asking `replace` for each initialiser of the main graph: `None` keeps its payload, otherwise the
/// answer is the elements as `raw_data` would hold them (little-endian, the tensor's own type).
///
/// # Errors
/// As [`Model::parse`](super::Model::parse) for the parts that are walked; [`OnnxError::Elements`] where the answer's
/// length does not fit the shape; [`OnnxError::Data`] where the numbers lie in another file or in several places.
pub fn rewrite(file: &[u8], replace: &mut dyn FnMut(&Tensor<'_>) -> Option<Vec<u8>>) -> Result<Vec<u8>, OnnxError> {
    copy(Reader::new(file)?, file, 0, &mut |field, bytes| match field.number {
        field::model::GRAPH => copy(bytes.message()?, bytes.data, bytes.offset, &mut |field, bytes| {
            if field.number != field::graph::INITIALIZER {
                return Ok(None);
            }
            let tensor = parse::tensor(bytes, field.offset)?;
            replace(&tensor).map(|elements| rewrite_tensor(&tensor, &elements)).transpose()
        })
        .map(Some),
        _ => Ok(None),
    })
}

/// Copies the message in `data`, which begins at byte `start` of the file. `change` may answer a length-delimited field
/// with new content.
fn copy(mut reader: Reader<'_>, data: &[u8], start: usize, change: &mut Change<'_>) -> Result<Vec<u8>, OnnxError> {
    let mut copied = Vec::with_capacity(data.len());
    let part = |from: usize, to: usize| data.get(from - start..to - start).unwrap_or_default();
    while let Some(field) = reader.next_field()? {
        let changed = match &field.value {
            Value::Bytes(bytes) => change(&field, bytes)?.map(|content| (bytes, content)),
            _ => None,
        };
        match changed {
            Some((bytes, content)) => {
                append_delimited(&mut copied, part(field.offset, bytes.offset), bytes.data.len(), &content);
            }
            None => copied.extend_from_slice(part(field.offset, field.end)),
        }
    }
    Ok(copied)
}

/// Answers a length-delimited field with new content, or `None` to keep it.
type Change<'c> = dyn FnMut(&Field<'_>, &Bytes<'_>) -> Result<Option<Vec<u8>>, OnnxError> + 'c;

/// Appends tag, length and content; `head` is the old tag with the old length.
fn append_delimited(into: &mut Vec<u8>, head: &[u8], old_length: usize, content: &[u8]) {
    if content.len() == old_length {
        into.extend_from_slice(head);
    } else {
        let tag = head.iter().position(|byte| byte & 0x80 == 0).map_or(head.len(), |last| last + 1);
        into.extend_from_slice(head.get(..tag).unwrap_or(head));
        append_varint(into, content.len() as u64);
    }
    into.extend_from_slice(content);
}

fn rewrite_tensor(tensor: &Tensor<'_>, elements: &[u8]) -> Result<Vec<u8>, OnnxError> {
    let expected = tensor.elements()?;
    let width = tensor.data_type.bytes().ok_or_else(|| tensor.data("its element type has no fixed width"))?;
    if expected.checked_mul(width) != Some(elements.len()) {
        return Err(tensor.count(elements.len() / width, expected));
    }
    let number = match tensor.payload() {
        Payload::Raw(raw) if raw.data.len() == elements.len() => field::tensor::RAW_DATA,
        Payload::Raw(raw) => return Err(tensor.count(raw.data.len() / width, expected)),
        Payload::Typed { field, .. } if Some(field) == tensor.data_type.typed_field() => field,
        Payload::Absent if expected == 0 => return Ok(tensor.message.data.to_vec()),
        _ if tensor.location == DataLocation::External => return Err(tensor.data("its numbers lie in another file")),
        _ => return Err(tensor.data("its numbers lie in several places at once, or in the field of another type")),
    };
    let mut left = elements;
    let mut reader = tensor.message.message()?;
    let mut copied = Vec::with_capacity(tensor.message.data.len());
    let start = tensor.message.offset;
    let part = |from: usize, to: usize| tensor.message.data.get(from - start..to - start).unwrap_or_default();
    while let Some(field) = reader.next_field()? {
        if field.number != number {
            copied.extend_from_slice(part(field.offset, field.end));
            continue;
        }
        let kind = encoding(number);
        match &field.value {
            Value::Bytes(bytes) => {
                let content = match kind {
                    Some(Encoding::Varint) => varints(take(&mut left, bytes.varints().count() * width), width),
                    _ => take(&mut left, bytes.data.len()).to_vec(),
                };
                append_delimited(&mut copied, part(field.offset, bytes.offset), bytes.data.len(), &content);
            }
            value => {
                let head = part(field.offset, field.end);
                let tag = head.iter().position(|byte| byte & 0x80 == 0).map_or(head.len(), |last| last + 1);
                copied.extend_from_slice(head.get(..tag).unwrap_or(head));
                match value {
                    Value::Varint(_) => copied.extend(varints(take(&mut left, width), width)),
                    Value::Fixed32(_) => copied.extend_from_slice(take(&mut left, 4)),
                    _ => copied.extend_from_slice(take(&mut left, 8)),
                }
            }
        }
    }
    if left.is_empty() { Ok(copied) } else { Err(tensor.count((elements.len() - left.len()) / width, expected)) }
}

fn take<'e>(left: &mut &'e [u8], length: usize) -> &'e [u8] {
    let (taken, rest) = left.split_at(length.min(left.len()));
    *left = rest;
    taken
}

/// Elements of at most eight bytes as varints. Signed ones were cut to `width` bytes, so they come back unsigned; a
/// loader cuts them again.
fn varints(elements: &[u8], width: usize) -> Vec<u8> {
    let mut packed = Vec::new();
    for element in elements.chunks_exact(width.max(1)) {
        append_varint(&mut packed, little_endian(element));
    }
    packed
}
