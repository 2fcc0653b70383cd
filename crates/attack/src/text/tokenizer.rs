//! [`Tokenizer`]: a `tokenizer.json` of Hugging Face `tokenizers`, read as a stranger's file, and the token ids that it makes.
//!
//! The way of a text: added tokens are cut out, `normal` rewrites what is left, `cut` takes it apart, `pieces` looks the parts up,
//! and the template puts special tokens around. Each step answers what the reference implementation answers (version 0.23.3;
//! `tests/it/data/text/expected.json` holds its ids). What is not implemented is refused by name when the file is read:
//! regular expressions but one, pairs of texts, dropout.
//!
//! Everything has a limit: bytes of the file, tokens, merges, parts of a pipeline, bytes of a text, growth while normalising.
//! Absent on purpose: offsets, decoding, and any regular expression that a file brings along.

#![deny(clippy::indexing_slicing)]

mod charsmap;
mod cut;
mod file;
mod normal;
mod pieces;
mod unigram;

use std::collections::{BTreeMap, HashMap};

use ringfence_schema::strict::{self, StrictError};

use file::{Added, Direction, PostProcessor, TokenizerFile};
use pieces::Pieces;

/// Why a `tokenizer.json` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// Not JSON, too large, a key twice, or a part that is not known.
    #[error("the tokenizer cannot be read: {0}")]
    Unreadable(#[from] StrictError),
    /// A part or setting that is not implemented.
    #[error("the tokenizer uses {what}, which is not implemented")]
    Unsupported {
        /// Which.
        what: String,
    },
    /// Parts that contradict each other.
    #[error("the tokenizer contradicts itself: {problem}")]
    Contradiction {
        /// How.
        problem: String,
    },
    /// More of something than is read.
    #[error("the tokenizer has {count} {what}, limit is {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
}

impl TokenizerError {
    fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }

    fn contradiction(problem: impl Into<String>) -> Self {
        Self::Contradiction { problem: problem.into() }
    }
}

/// What a text is to a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, special ones included.
    pub ids: Vec<u32>,
    /// The segment of each.
    pub types: Vec<u32>,
    /// How many of the text's own tokens stand for something unknown.
    pub unknown: usize,
    /// Whether tokens were left out to keep the limit.
    pub truncated: bool,
}

/// A tokenizer, as its file describes it.
#[derive(Debug)]
pub struct Tokenizer {
    /// Found in the text as it is.
    raw: AddedTokens,
    /// Found in the normalised text.
    normalised: AddedTokens,
    normaliser: normal::Normaliser,
    cutter: cut::Cutter,
    pieces: Pieces,
    /// Special tokens before and after the text, each with its segment.
    before: Vec<(u32, u32)>,
    after: Vec<(u32, u32)>,
    own_type: u32,
    padding: u32,
    length_max: Option<usize>,
    id_max: u32,
}

/// Tokens that are found in a text itself, by their first character; of one character the longest first.
#[derive(Debug, Default)]
struct AddedTokens(HashMap<char, Vec<Added>>);

impl AddedTokens {
    fn new(tokens: Vec<Added>) -> Self {
        let mut found: HashMap<char, Vec<Added>> = HashMap::new();
        for token in tokens {
            let Some(first) = token.content.chars().next() else { continue };
            found.entry(first).or_default().push(token);
        }
        for list in found.values_mut() {
            list.sort_by(|a, b| b.content.len().cmp(&a.content.len()).then_with(|| a.content.cmp(&b.content)));
        }
        Self(found)
    }

    /// The longest token that `ahead` begins with.
    fn at(&self, ahead: &str) -> Option<&Added> {
        let first = ahead.chars().next()?;
        self.0.get(&first)?.iter().find(|token| ahead.starts_with(&token.content))
    }
}

/// A stretch of text, or a token that was found in it.
enum Stretch<'t> {
    Text(&'t str),
    Token(u32),
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// Not JSON of the expected form, a part that is not implemented (by name), numbers beyond the limits, parts that contradict
    /// each other.
    pub fn parse(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let file: TokenizerFile = strict::from_json(bytes, FILE_BYTES_MAX)?;
        within("added tokens", file.added_tokens.len(), ADDED_MAX)?;
        let pieces = Pieces::new(file.model)?;
        let mut known = BTreeMap::new();
        let (mut raw, mut normalised) = (Vec::new(), Vec::new());
        let mut id_max = pieces.id_max();
        let normaliser = normal::Normaliser::new(file.normalizer)?;
        for added in file.added_tokens {
            if added.single_word {
                return Err(TokenizerError::unsupported(format!(
                    "`single_word` of the added token `{}`",
                    added.content
                )));
            }
            if added.content.is_empty() || added.content.len() > ADDED_BYTES_MAX {
                return Err(TokenizerError::contradiction("an added token is empty, or far too long"));
            }
            id_checked(added.id)?;
            id_max = id_max.max(added.id);
            known.insert(added.content.clone(), added.id);
            if added.normalized {
                let content = normaliser.apply(&added.content);
                normalised.push(Added { content, ..added });
            } else {
                raw.push(added);
            }
        }
        let mut tokenizer = Self {
            raw: AddedTokens::new(raw),
            normalised: AddedTokens::new(normalised),
            normaliser,
            cutter: cut::Cutter::new(file.pre_tokenizer)?,
            pieces,
            before: Vec::new(),
            after: Vec::new(),
            own_type: 0,
            padding: 0,
            length_max: None,
            id_max,
        };
        tokenizer.surround(file.post_processor)?;
        if let Some(truncation) = file.truncation {
            if truncation.direction != Direction::Right {
                return Err(TokenizerError::unsupported("truncation on the left"));
            }
            tokenizer.length_max = Some(truncation.max_length);
        }
        let mut named = ["[PAD]", "<pad>", "<|padding|>"].iter();
        let named = named.find_map(|name| known.get(*name).copied().or_else(|| tokenizer.pieces.id(name)));
        tokenizer.padding = match file.padding {
            Some(padding) if padding.direction == Direction::Right => padding.pad_id,
            Some(_) => return Err(TokenizerError::unsupported("padding on the left")),
            None => named.unwrap_or(0),
        };
        id_checked(tokenizer.padding)?;
        let template = tokenizer.before.iter().chain(&tokenizer.after).map(|(id, _)| *id);
        tokenizer.id_max = template.chain([tokenizer.padding, tokenizer.id_max]).max().unwrap_or(0);
        Ok(tokenizer)
    }

    /// The token ids of `text`, at most `length_max` of them, special ones included; what is too much is cut off at the end.
    pub fn encode(&self, text: &str, length_max: usize) -> Encoding {
        let (mut own, unknown) = self.own(text);
        let around = self.before.len() + self.after.len();
        let room = length_max.saturating_sub(around);
        let truncated = own.len() > room;
        own.truncate(room);
        let mut found = Encoding { unknown, truncated, ..Encoding::default() };
        let own = own.into_iter().map(|id| (id, self.own_type));
        let all = self.before.iter().copied().chain(own).chain(self.after.iter().copied());
        (found.ids, found.types) = all.unzip();
        found
    }

    /// The single token that stands for `word` inside a text, where there is one.
    pub fn token_of(&self, word: &str) -> Option<u32> {
        match self.tokens_of(word)[..] {
            [id] => Some(id),
            _ => None,
        }
    }

    /// The tokens that stand for `word` inside a text; none where they are unknown.
    pub fn tokens_of(&self, word: &str) -> Vec<u32> {
        let (ids, unknown) = self.own(&format!(" {word}"));
        if unknown > 0 { Vec::new() } else { ids }
    }

    /// Tokens that stand for whole words of letters, with these words, by id.
    pub fn words(&self) -> Vec<(u32, String)> {
        let mut words: Vec<(u32, String)> = self.pieces.words();
        words.retain(|(id, word)| self.token_of(word) == Some(*id));
        words.sort_unstable();
        words
    }

    /// The id that fills up what is too short.
    pub fn padding(&self) -> u32 {
        self.padding
    }

    /// Tokens beyond which the file itself cuts a text off.
    pub fn length_max(&self) -> Option<usize> {
        self.length_max
    }

    /// The highest id that can come out.
    pub fn id_max(&self) -> u32 {
        self.id_max
    }

    /// The text's own tokens, and how many of them are unknown.
    fn own(&self, text: &str) -> (Vec<u32>, usize) {
        let text = cut_at(text, TEXT_BYTES_MAX);
        let (mut ids, mut unknown) = (Vec::new(), 0);
        let mut first = true;
        for stretch in stretches(text, &self.raw) {
            let part = match stretch {
                Stretch::Token(id) => {
                    ids.push(id);
                    first = false;
                    continue;
                }
                Stretch::Text(part) => self.normaliser.apply(part),
            };
            for inner in stretches(&part, &self.normalised) {
                match inner {
                    Stretch::Token(id) => ids.push(id),
                    Stretch::Text(part) => {
                        for word in self.cutter.cut(part, first) {
                            unknown += self.pieces.add(&word, &mut ids);
                        }
                    }
                }
                first = false;
            }
        }
        (ids, unknown)
    }

    /// Takes over what stands around a text.
    fn surround(&mut self, processor: Option<PostProcessor>) -> Result<(), TokenizerError> {
        let mut open = Vec::from_iter(processor);
        let mut seen = 0;
        while let Some(processor) = open.pop() {
            seen += 1;
            within("post-processors", seen, PARTS_MAX)?;
            match processor {
                PostProcessor::ByteLevel { .. } => continue,
                PostProcessor::Sequence { processors } => {
                    within("post-processors", processors.len(), PARTS_MAX)?;
                    open.extend(processors);
                    continue;
                }
                _ if !self.before.is_empty() || !self.after.is_empty() => {
                    return Err(TokenizerError::unsupported("two post-processors that add tokens"));
                }
                PostProcessor::BertProcessing { sep, cls } | PostProcessor::RobertaProcessing { sep, cls, .. } => {
                    (self.before, self.after) = (vec![(cls.1, 0)], vec![(sep.1, 0)]);
                }
                PostProcessor::TemplateProcessing { single, special_tokens, .. } => {
                    (self.before, self.own_type, self.after) = file::template(&single, &special_tokens)?;
                }
            }
            for (id, _) in self.before.iter().chain(&self.after) {
                id_checked(*id)?;
            }
        }
        Ok(())
    }
}

/// `text` cut where added tokens are found: the leftmost first, of those the longest.
fn stretches<'t>(text: &'t str, tokens: &AddedTokens) -> Vec<Stretch<'t>> {
    let mut found = Vec::new();
    let (mut rest, mut begun) = (text, 0);
    // `rest` is what is not decided; it is walked over from `begun` on.
    while let Some(ahead) = rest.get(begun..).filter(|ahead| !ahead.is_empty()) {
        let Some(token) = tokens.at(ahead) else {
            begun += ahead.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        let (mut left, mut right) = rest.split_at_checked(begun).unwrap_or((rest, ""));
        right = right.get(token.content.len()..).unwrap_or("");
        if token.lstrip {
            left = left.trim_end();
        }
        if token.rstrip {
            right = right.trim_start();
        }
        if !left.is_empty() {
            found.push(Stretch::Text(left));
        }
        found.push(Stretch::Token(token.id));
        (rest, begun) = (right, 0);
    }
    if !rest.is_empty() {
        found.push(Stretch::Text(rest));
    }
    found
}

/// The longest beginning of `text` that has at most so many bytes.
fn cut_at(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or("")
}

fn within(what: &'static str, count: usize, limit: usize) -> Result<(), TokenizerError> {
    if count > limit { Err(TokenizerError::TooMany { what, count, limit }) } else { Ok(()) }
}

fn id_checked(id: u32) -> Result<(), TokenizerError> {
    if id >= ID_END {
        Err(TokenizerError::contradiction(format!("the token id {id} is not below {ID_END}")))
    } else {
        Ok(())
    }
}

/// Largest file, in bytes: twice the largest that is in use.
pub const FILE_BYTES_MAX: usize = 64 << 20;
/// Token ids lie below this: whole numbers that the network's arithmetic holds exactly.
const ID_END: u32 = 1 << 24;
/// Tokens beside the model's vocabulary, which are sought at every character.
const ADDED_MAX: usize = 16_384;
/// Longest of them, in bytes.
const ADDED_BYTES_MAX: usize = 1_024;
/// Parts of a normaliser, pre-tokenizer or post-processor.
const PARTS_MAX: usize = 64;
/// What is read of a text, in bytes.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
