//! OpenVINO's representation: layers of extension libraries, native code by path, and places outside of the weight file.

use std::borrow::Cow;

use ringfence_schema::finding::printable;

use super::{Walk, local};
use crate::{audit::Audit, paths::escapes, rules::id};

/// Longest place in a weight file, in bytes.
const WEIGHT_BYTES_MAX: u64 = 1 << 46;
/// Layers of OpenVINO Tokenizers, which come with most converted language models.
const TOKENIZERS: [&str; 34] = [
    "BPETokenizer",
    "ByteFallback",
    "BytesToChars",
    "CaseFold",
    "CharsMapNormalization",
    "CharsToBytes",
    "CombineSegments",
    "EqualStr",
    "FuzeRagged",
    "NormalizeUnicode",
    "RaggedToDense",
    "RaggedToRagged",
    "RaggedToSparse",
    "RegexNormalization",
    "RegexSplit",
    "SentencepieceDetokenizer",
    "SentencepieceStreamDetokenizer",
    "SentencepieceTokenizer",
    "SpecialTokensSplit",
    "StringSentencepieceDetokenizer",
    "StringTensorPack",
    "StringTensorUnpack",
    "StringToHash",
    "StringToHashBucket",
    "TrieTokenizer",
    "Truncate",
    "UTF8Validate",
    "UnigramTokenizer",
    "VocabDecoder",
    "VocabEncoder",
    "WordLevelTokenizer",
    "WordpieceTokenizer",
    "StaticRegexReplace",
    "StringSplit",
];

impl Audit<'_> {
    pub(super) fn openvino_element(
        &mut self,
        walk: &mut Walk,
        offset: u64,
        name: &str,
        attributes: &[(&str, Cow<'_, str>)],
    ) {
        let value = |key: &str| attributes.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_ref());
        match local(name) {
            "layer" => {
                let set = value("version").unwrap_or("opset1");
                let operator = value("type").unwrap_or_default();
                let is_tokenizer = set == "extension" && TOKENIZERS.contains(&operator);
                if !is_known_opset(set) && !is_tokenizer {
                    let message = format!("layer `{}` of `{}`", printable(operator, 80), printable(set, 60));
                    self.listed(walk, id::GRF_CUSTOM, message, offset);
                }
                if matches!(operator, "Python" | "PyOp" | "CustomLayer") {
                    self.listed(walk, id::GRF_CUSTOM, format!("layer `{operator}`"), offset);
                }
            }
            "data" => self.openvino_place(walk, offset, &value),
            _ => {}
        }
        for key in ["location", "path", "file", "filename", "weights_path"] {
            if let Some(path) = value(key)
                && local(name) != "layer"
                && escapes(path)
                && walk.open.iter().any(|open| open == "layers" || open == "net")
                && !walk.open.iter().any(|open| open == "rt_info" || open == "meta_data")
            {
                self.listed(
                    walk,
                    id::GRF_PATH,
                    format!("`{}` names `{}`", printable(name, 60), printable(path, 160)),
                    offset,
                );
            }
        }
        for (key, path) in attributes.iter().filter(|(_, value)| is_library(value)) {
            let message = format!("`{}.{}` names `{}`", printable(name, 60), printable(key, 60), printable(path, 160));
            self.listed(walk, id::GRF_NATIVE, message, offset);
        }
    }

    /// Where a constant lies in the weight file, against its shape.
    fn openvino_place<'e>(&mut self, walk: &mut Walk, offset: u64, value: &impl Fn(&str) -> Option<&'e str>) {
        let number = |key: &str| {
            value(key).map(|text| text.trim().parse::<u64>().ok().filter(|number| *number <= WEIGHT_BYTES_MAX))
        };
        let (Some(start), Some(size)) = (number("offset"), number("size")) else { return };
        let elements = value("shape").map(|shape| {
            let dims = shape.split(',').map(str::trim).filter(|dim| !dim.is_empty());
            dims.map(|dim| dim.parse::<u64>().ok()).try_fold(1_u64, |product, dim| product.checked_mul(dim?))
        });
        let bits = value("element_type").and_then(element_bits);
        let expected = elements.zip(bits).and_then(|(elements, bits)| Some(elements?.checked_mul(bits)?.div_ceil(8)));
        let fits = start.is_some() && size.is_some() && elements != Some(None);
        if !fits || expected.is_some_and(|expected| Some(expected) != size) {
            let shown = |key| printable(value(key).unwrap_or_default(), 40);
            let message = format!("{} bytes at {} for shape {}", shown("size"), shown("offset"), shown("shape"));
            self.listed(walk, id::GRF_SHAPE, message, offset);
        }
    }
}

/// Whether a path names native or Python code.
fn is_library(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    [".so", ".dll", ".dylib", ".py"].iter().any(|ending| path.ends_with(ending))
}

/// `opset1` and its successors, and OpenVINO's own extras.
fn is_known_opset(set: &str) -> bool {
    let numbered = set
        .strip_prefix("opset")
        .is_some_and(|number| !number.is_empty() && number.len() <= 2 && number.bytes().all(|b| b.is_ascii_digit()));
    numbered
        || matches!(
            set,
            "experimental"
                | "ie_internal_opset"
                | "internal"
                | "gpu_opset"
                | "cpu_plugin_opset"
                | "util"
                | "type_relaxed_opset"
        )
}

/// Bits of an OpenVINO element type.
fn element_bits(name: &str) -> Option<u64> {
    Some(match name {
        "u1" | "bin" => 1,
        "u2" => 2,
        "u4" | "i4" | "nf4" | "f4e2m1" => 4,
        "i8" | "u8" | "boolean" | "f8e4m3" | "f8e5m2" | "f8e8m0" => 8,
        "i16" | "u16" | "f16" | "bf16" => 16,
        "i32" | "u32" | "f32" => 32,
        "i64" | "u64" | "f64" => 64,
        _ => return None,
    })
}
