//! The form of a `tokenizer.json`, as it is written by `tokenizers` 0.13 and later. An unknown part or setting is an error that names it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{PARTS_MAX, TokenizerError, within};

/// The whole file; decoders do not matter here.
#[derive(Debug, Deserialize)]
pub(super) struct TokenizerFile {
    #[serde(default)]
    pub(super) truncation: Option<Truncation>,
    #[serde(default)]
    pub(super) padding: Option<Padding>,
    #[serde(default)]
    pub(super) added_tokens: Vec<Added>,
    #[serde(default)]
    pub(super) normalizer: Option<Normalizer>,
    #[serde(default)]
    pub(super) pre_tokenizer: Option<PreTokenizer>,
    #[serde(default)]
    pub(super) post_processor: Option<PostProcessor>,
    pub(super) model: ModelFile,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Direction {
    Left,
    #[default]
    Right,
}

#[derive(Debug, Deserialize)]
pub(super) struct Truncation {
    #[serde(default)]
    pub(super) direction: Direction,
    pub(super) max_length: usize,
}

#[derive(Debug, Deserialize)]
pub(super) struct Padding {
    #[serde(default)]
    pub(super) direction: Direction,
    pub(super) pad_id: u32,
}

/// A token that is found in the text itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "the file's own fields")]
pub(super) struct Added {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    #[serde(default)]
    pub(super) normalized: bool,
    #[serde(default, rename = "special")]
    pub(super) _special: bool,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub(super) enum Normalizer {
    #[serde(rename = "BertNormalizer")]
    Bert {
        #[serde(default = "yes")]
        clean_text: bool,
        #[serde(default = "yes")]
        handle_chinese_chars: bool,
        #[serde(default)]
        strip_accents: Option<bool>,
        #[serde(default = "yes")]
        lowercase: bool,
    },
    Lowercase {},
    #[serde(rename = "NFC")]
    Nfc {},
    #[serde(rename = "NFD")]
    Nfd {},
    #[serde(rename = "NFKC")]
    Nfkc {},
    #[serde(rename = "NFKD")]
    Nfkd {},
    StripAccents {},
    Strip {
        strip_left: bool,
        strip_right: bool,
    },
    Prepend {
        prepend: String,
    },
    Replace {
        pattern: Pattern,
        content: String,
    },
    Precompiled {
        precompiled_charsmap: String,
    },
    Sequence {
        normalizers: Vec<Normalizer>,
    },
}

/// What is sought.
#[derive(Debug, Deserialize)]
pub(super) enum Pattern {
    String(String),
    Regex(String),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub(super) enum PreTokenizer {
    #[serde(rename = "BertPreTokenizer")]
    Bert {},
    Whitespace {},
    WhitespaceSplit {},
    ByteLevel {
        #[serde(default = "yes")]
        add_prefix_space: bool,
        #[serde(default, rename = "trim_offsets")]
        _trim_offsets: bool,
        #[serde(default = "yes")]
        use_regex: bool,
    },
    Punctuation {
        #[serde(default)]
        behavior: Behaviour,
    },
    Digits {
        #[serde(default)]
        individual_digits: bool,
    },
    Metaspace {
        replacement: char,
        #[serde(default)]
        prepend_scheme: Option<Prepending>,
        #[serde(default)]
        add_prefix_space: Option<bool>,
        #[serde(default = "yes")]
        split: bool,
        #[serde(default, rename = "str_rep")]
        _str_rep: Option<String>,
    },
    Sequence {
        pretokenizers: Vec<PreTokenizer>,
    },
}

/// What becomes of that at which a text is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Behaviour {
    Removed,
    #[default]
    Isolated,
    Contiguous,
}

/// Before which parts the replacement of a space is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Prepending {
    First,
    Never,
    Always,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub(super) enum PostProcessor {
    BertProcessing {
        sep: (String, u32),
        cls: (String, u32),
    },
    RobertaProcessing {
        sep: (String, u32),
        cls: (String, u32),
        #[serde(default, rename = "trim_offsets")]
        _trim_offsets: bool,
        #[serde(default, rename = "add_prefix_space")]
        _add_prefix_space: bool,
    },
    ByteLevel {
        #[serde(default, rename = "add_prefix_space")]
        _add_prefix_space: bool,
        #[serde(default, rename = "trim_offsets")]
        _trim_offsets: bool,
        #[serde(default, rename = "use_regex")]
        _use_regex: bool,
    },
    TemplateProcessing {
        single: Vec<Part>,
        #[serde(default, rename = "pair")]
        _pair: serde::de::IgnoredAny,
        special_tokens: BTreeMap<String, Special>,
    },
    Sequence {
        processors: Vec<PostProcessor>,
    },
}

/// A place of a template.
#[derive(Debug, Deserialize)]
pub(super) enum Part {
    SpecialToken { id: String, type_id: u32 },
    Sequence { id: String, type_id: u32 },
}

/// What a special token of a template stands for.
#[derive(Debug, Deserialize)]
pub(super) struct Special {
    pub(super) ids: Vec<u32>,
}

/// All kinds of models in one: files of early versions do not say which they are.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ModelFile {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) vocab: Vocabulary,
    pub(super) merges: Option<Vec<MergeFile>>,
    pub(super) unk_token: Option<String>,
    pub(super) unk_id: Option<u32>,
    pub(super) continuing_subword_prefix: Option<String>,
    pub(super) end_of_word_suffix: Option<String>,
    pub(super) max_input_chars_per_word: Option<usize>,
    pub(super) fuse_unk: bool,
    pub(super) byte_fallback: bool,
    pub(super) ignore_merges: bool,
    pub(super) dropout: Option<f64>,
}

/// Tokens with their ids, or with scores.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Vocabulary {
    Ids(BTreeMap<String, u32>),
    Scores(Vec<(String, f64)>),
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self::Ids(BTreeMap::new())
    }
}

/// Two tokens that become one: as a pair, or with a space between in older files.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum MergeFile {
    Pair(String, String),
    Joined(String),
}

/// A token's id and segment.
type Placed = (u32, u32);

/// What a template has before the text, the text's own segment, and what comes after it.
pub(super) fn template(
    parts: &[Part],
    specials: &BTreeMap<String, Special>,
) -> Result<(Vec<Placed>, u32, Vec<Placed>), TokenizerError> {
    within("parts of a template", parts.len(), PARTS_MAX)?;
    let (mut before, mut own, mut after) = (Vec::new(), None, Vec::new());
    for part in parts {
        match part {
            Part::SpecialToken { id, type_id } => {
                let Some(special) = specials.get(id) else {
                    return Err(TokenizerError::contradiction(format!(
                        "its template names `{id}`, which is not explained"
                    )));
                };
                within("ids of a special token", special.ids.len(), PARTS_MAX)?;
                let side = if own.is_none() { &mut before } else { &mut after };
                side.extend(special.ids.iter().map(|id| (*id, *type_id)));
            }
            Part::Sequence { id, type_id } if id == "A" && own.is_none() => own = Some(*type_id),
            Part::Sequence { id, .. } => {
                return Err(TokenizerError::unsupported(format!("a template with the text `{id}` for a single one")));
            }
        }
    }
    let own = own.ok_or_else(|| TokenizerError::contradiction("its template has no place for the text"))?;
    Ok((before, own, after))
}

const fn yes() -> bool {
    true
}
