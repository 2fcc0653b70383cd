//! ONNX's operator domains: whose operators a runtime brings along, and which operators call Python.

use std::{collections::HashSet, sync::LazyLock};

/// The operators of all versions of the standard, and experimental ones that old exporters wrote, one a line.
pub(crate) const OPERATORS_TABLE: &str = include_str!("../../data/onnx_operators.txt");

static OPERATORS: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| OPERATORS_TABLE.lines().filter(|line| !line.starts_with('#')).collect());

/// Domains of the standard and of ONNX Runtime's own operators.
const KNOWN_DOMAINS: [&str; 11] = [
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.training",
    "ai.onnx.preview.training",
    "ai.onnx.preview",
    "com.microsoft",
    "com.microsoft.nchwc",
    "com.microsoft.experimental",
    "com.ms.internal.nhwc",
    "org.pytorch.aten",
];
/// The domain of ONNX Runtime Extensions, whose operators are listed because the same domain is open to Python.
const EXTENSIONS_DOMAIN: &str = "ai.onnx.contrib";
/// Operators of ONNX Runtime Extensions.
const EXTENSIONS: [&str; 44] = [
    "GPT2Tokenizer",
    "CLIPTokenizer",
    "RobertaTokenizer",
    "BertTokenizer",
    "BertTokenizerDecoder",
    "HfBertTokenizer",
    "HfJsonTokenizer",
    "BpeDecoder",
    "SentencepieceTokenizer",
    "SentencepieceDecoder",
    "SpmTokenizer",
    "TrieTokenizer",
    "TrieDetokenizer",
    "WordpieceTokenizer",
    "BasicTokenizer",
    "BlingFireSentenceBreaker",
    "StringConcat",
    "StringECMARegexReplace",
    "StringECMARegexSplitWithOffsets",
    "StringEqual",
    "StringHash",
    "StringHashFast",
    "StringJoin",
    "StringLength",
    "StringLower",
    "StringUpper",
    "StringRegexReplace",
    "StringRegexSplitWithOffsets",
    "StringSplit",
    "StringStrip",
    "StringToVector",
    "VectorToString",
    "StringMapping",
    "MaskedFill",
    "RaggedTensorToDense",
    "RaggedTensorToSparse",
    "DecodeImage",
    "EncodeImage",
    "AudioDecoder",
    "GaussianBlur",
    "DrawBoundingBoxes",
    "StftNorm",
    "SegmentExtraction",
    "SegmentSum",
];
/// Operators that call Python, in whatever domain.
const PYTHON_OPERATORS: [&str; 8] =
    ["PyOp", "PythonOp", "PythonOpGrad", "PyFunc", "PyCustomOp", "PyFuncStateless", "EagerPyFunc", "PythonOperator"];
/// Domains whose operators nobody else may define.
pub(super) const STANDARD_DOMAINS: [&str; 6] =
    ["", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft"];

/// What is wrong with an operator by its domain and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flawed {
    Python,
    /// The domain is nobody's that is known.
    Unknown,
    /// The standard's own domain has no such operator.
    Operator,
}

/// `None` for the operators of the standard and of well-known runtimes.
pub(crate) fn domain_flaw(domain: &str, operator: &str) -> Option<Flawed> {
    if PYTHON_OPERATORS.contains(&operator) {
        return Some(Flawed::Python);
    }
    let is_known = KNOWN_DOMAINS.contains(&domain)
        || matches!(domain, EXTENSIONS_DOMAIN | "com.microsoft.extensions") && EXTENSIONS.contains(&operator);
    if matches!(domain, "" | "ai.onnx") && !OPERATORS.contains(operator) {
        return Some(Flawed::Operator);
    }
    (!is_known).then_some(Flawed::Unknown)
}
