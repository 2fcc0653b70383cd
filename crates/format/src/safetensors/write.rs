//! New safetensors files.

use serde_json::{Map, Value, json};

/// A tensor of a new file.
#[derive(Debug, Clone, Copy)]
pub struct TensorInput<'t> {
    /// Name.
    pub name: &'t str,
    /// Element type such as `F32`.
    pub dtype: &'t str,
    /// Dimensions.
    pub shape: &'t [usize],
    /// The elements, row-major and little-endian, as many as type and shape say.
    pub data: &'t [u8],
}

/// A file of these tensors, their data in the given order. Names must differ; the header is padded with spaces to whole
/// words of 8 bytes, as the reference writer does.
pub fn write(metadata: &[(String, String)], tensors: &[TensorInput<'_>]) -> Vec<u8> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        let entries = metadata.iter().map(|(key, value)| (key.clone(), Value::String(value.clone())));
        header.insert("__metadata__".to_owned(), Value::Object(entries.collect()));
    }
    let mut at = 0;
    for tensor in tensors {
        let end = at + tensor.data.len();
        let entry = json!({ "dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [at, end] });
        header.insert(tensor.name.to_owned(), entry);
        at = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = Vec::with_capacity(8 + header.len() + at);
    file.extend_from_slice(&(header.len() as u64).to_le_bytes());
    file.extend_from_slice(&header);
    for tensor in tensors {
        file.extend_from_slice(tensor.data);
    }
    file
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::safetensors::audit;

    #[test]
    fn what_is_written_is_read_back_without_a_flaw() {
        let tensors = [
            TensorInput { name: "a \"b\"", dtype: "F32", shape: &[1, 2], data: &[0; 8] },
            TensorInput { name: "n", dtype: "I64", shape: &[], data: &[7, 0, 0, 0, 0, 0, 0, 0] },
        ];
        let file = write(&[("format".into(), "pt".into())], &tensors);
        let audit = audit(&mut Cursor::new(&file)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(audit.metadata, [("format".to_owned(), "pt".to_owned())]);
        let found: Vec<_> =
            audit.table().unwrap_or_default().iter().map(|t| (t.name.as_str(), t.shape.clone())).collect();
        assert_eq!(found, [("a \"b\"", vec![1, 2]), ("n", vec![])]);
        assert_eq!(file.len() as u64, audit.data_offset + 16);
    }
}
