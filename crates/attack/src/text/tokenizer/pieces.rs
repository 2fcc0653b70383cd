//! Models: a word looked up, whole or in pieces.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use super::{
    TokenizerError,
    cut::letter_of,
    file::{MergeFile, ModelFile, Vocabulary},
    id_checked,
    unigram::Unigram,
    within,
};

/// A vocabulary, and how words are put together from it.
#[derive(Debug)]
pub(super) struct Pieces {
    ids: HashMap<String, u32>,
    unknown: Option<u32>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The longest beginning first (Wu et al. 2016; Devlin et al. 2019).
    WordPiece { prefix: String, chars_max: usize },
    /// The pair of the lowest rank first (Sennrich, Haddow and Birch 2016).
    Pairs(Box<Pairs>),
    /// The likeliest way (Kudo 2018).
    Unigram(Unigram),
    /// Whole words.
    Words,
}

/// Rank and outcome of pairs of tokens.
type Merges = HashMap<(u32, u32), (u32, u32)>;

#[derive(Debug)]
struct Pairs {
    /// Rank and outcome of each pair that is joined.
    merges: Merges,
    prefix: String,
    suffix: String,
    fuse_unknown: bool,
    byte_fallback: bool,
    whole_first: bool,
}

impl Pieces {
    pub(super) fn new(file: ModelFile) -> Result<Self, TokenizerError> {
        let kind = match file.kind.as_deref() {
            Some(kind) => kind,
            None if matches!(file.vocab, Vocabulary::Scores(_)) => "Unigram",
            None if file.merges.is_some() => "BPE",
            None if file.max_input_chars_per_word.is_some() || file.continuing_subword_prefix.is_some() => "WordPiece",
            None => "WordLevel",
        }
        .to_owned();
        let vocabulary = match file.vocab {
            Vocabulary::Ids(vocabulary) => vocabulary,
            Vocabulary::Scores(scores) if kind == "Unigram" => {
                return Self::unigram(&scores, file.unk_id, file.byte_fallback);
            }
            Vocabulary::Scores(_) => {
                return Err(TokenizerError::contradiction(format!("a {kind} model whose vocabulary has scores")));
            }
        };
        within("tokens", vocabulary.len(), TOKENS_MAX)?;
        for (token, id) in &vocabulary {
            within("bytes of a token", token.len(), TOKEN_BYTES_MAX)?;
            id_checked(*id)?;
        }
        let ids: HashMap<String, u32> = vocabulary.into_iter().collect();
        let unknown = match &file.unk_token {
            Some(token) => match ids.get(token) {
                Some(id) => Some(*id),
                // WordPiece and WordLevel fail on the first unknown word; we do so at once.
                None if kind != "BPE" => {
                    return Err(TokenizerError::contradiction(format!(
                        "its vocabulary lacks the unknown token `{token}`"
                    )));
                }
                None => None,
            },
            None => None,
        };
        let kind = match kind.as_str() {
            "WordPiece" => {
                let chars_max = file.max_input_chars_per_word.unwrap_or(100);
                within("characters of a word", chars_max, WORD_CHARS_MAX)?;
                Kind::WordPiece { prefix: file.continuing_subword_prefix.unwrap_or_else(|| "##".into()), chars_max }
            }
            "WordLevel" => Kind::Words,
            "BPE" => {
                if file.dropout.is_some_and(|share| share > 0.0) {
                    return Err(TokenizerError::unsupported("BPE with dropout, which is random"));
                }
                let prefix = file.continuing_subword_prefix.unwrap_or_default();
                Kind::Pairs(Box::new(Pairs {
                    merges: merges(file.merges.unwrap_or_default(), &ids, &prefix)?,
                    prefix,
                    suffix: file.end_of_word_suffix.unwrap_or_default(),
                    fuse_unknown: file.fuse_unk,
                    byte_fallback: file.byte_fallback,
                    whole_first: file.ignore_merges,
                }))
            }
            other => return Err(TokenizerError::unsupported(format!("the model `{other}`"))),
        };
        Ok(Self { ids, unknown, kind })
    }

    fn unigram(scores: &[(String, f64)], unknown: Option<u32>, byte_fallback: bool) -> Result<Self, TokenizerError> {
        within("tokens", scores.len(), TOKENS_MAX)?;
        let ids: HashMap<String, u32> = scores.iter().map(|(piece, _)| piece.clone()).zip(0..).collect();
        if unknown.is_some_and(|unknown| usize::try_from(unknown).is_ok_and(|unknown| unknown >= scores.len())) {
            return Err(TokenizerError::contradiction("its unknown token is beyond its vocabulary"));
        }
        let kind = Kind::Unigram(Unigram::new(scores, &ids, byte_fallback)?);
        Ok(Self { ids, unknown, kind })
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    pub(super) fn id_max(&self) -> u32 {
        self.ids.values().copied().max().unwrap_or(0)
    }

    /// Adds the tokens of `word`; answers how many of them are unknown.
    pub(super) fn add(&self, word: &str, out: &mut Vec<u32>) -> usize {
        match &self.kind {
            Kind::Words => match self.id(word) {
                Some(id) => {
                    out.push(id);
                    usize::from(Some(id) == self.unknown)
                }
                None => self.add_unknown(out),
            },
            Kind::WordPiece { prefix, chars_max } => match self.longest_first(word, prefix, *chars_max) {
                Some(found) => {
                    out.extend(found);
                    0
                }
                None => self.add_unknown(out),
            },
            Kind::Unigram(model) => self.add_likeliest(model, word, out),
            Kind::Pairs(pairs) => pairs.add(self, word, out),
        }
    }

    fn add_likeliest(&self, model: &Unigram, word: &str, out: &mut Vec<u32>) -> usize {
        let (mut begin, mut unknown) = (0, 0);
        for part in model.parts(word, self.unknown) {
            let text = word.get(begin..part.end).unwrap_or_default();
            begin = part.end;
            match part.id.filter(|_| part.id != self.unknown) {
                Some(id) => out.push(id),
                None => match self.bytes(text).filter(|_| model.byte_fallback) {
                    Some(bytes) => out.extend(bytes),
                    None => unknown += self.add_unknown(out),
                },
            }
        }
        unknown
    }

    /// The tokens of the bytes of `text`, where there are such.
    fn bytes(&self, text: &str) -> Option<Vec<u32>> {
        text.bytes().map(|byte| self.id(&format!("<0x{byte:02X}>"))).collect()
    }

    /// Tokens that may stand for whole words of letters, as they are written in a text.
    pub(super) fn words(&self) -> Vec<(u32, String)> {
        let space: String = [letter_of(b' ')].iter().collect();
        let word = |(token, id): (&String, &u32)| {
            let plain = match &self.kind {
                Kind::Words => token.as_str(),
                Kind::WordPiece { prefix, .. } => match token.strip_prefix(prefix.as_str()) {
                    Some(_) if !prefix.is_empty() => return None,
                    _ => token.as_str(),
                },
                Kind::Pairs(pairs) if !pairs.suffix.is_empty() => token.strip_suffix(pairs.suffix.as_str())?,
                Kind::Unigram(_) => token.strip_prefix('\u{2581}')?,
                Kind::Pairs(_) => token.strip_prefix(space.as_str()).or_else(|| token.strip_prefix('\u{2581}'))?,
            };
            let long = plain.chars().nth(1).is_some();
            (long && plain.chars().all(char::is_alphabetic)).then(|| (*id, plain.to_owned()))
        };
        self.ids.iter().filter_map(word).collect()
    }

    fn add_unknown(&self, out: &mut Vec<u32>) -> usize {
        out.extend(self.unknown);
        1
    }

    fn longest_first(&self, word: &str, prefix: &str, chars_max: usize) -> Option<Vec<u32>> {
        if word.chars().count() > chars_max {
            return None;
        }
        let ends: Vec<usize> = word.char_indices().map(|(at, _)| at).skip(1).chain([word.len()]).collect();
        let mut found = Vec::new();
        let (mut begun, mut key) = (0, String::new());
        while begun < word.len() {
            let piece = ends.iter().rev().take_while(|end| **end > begun).find_map(|end| {
                key.clear();
                if begun > 0 {
                    key.push_str(prefix);
                }
                key.push_str(word.get(begun..*end)?);
                Some((self.id(&key)?, *end))
            });
            let (id, end) = piece?;
            found.push(id);
            begun = end;
        }
        Some(found)
    }
}

/// A token in the making, in a list of which parts vanish.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    id: u32,
    before: Option<usize>,
    after: Option<usize>,
    gone: bool,
}

impl Pairs {
    fn add(&self, pieces: &Pieces, word: &str, out: &mut Vec<u32>) -> usize {
        if let Some(id) = pieces.id(word).filter(|_| self.whole_first) {
            out.push(id);
            return 0;
        }
        let (mut symbols, unknown) = self.symbols(pieces, word);
        let mut queue = BinaryHeap::new();
        let offer = |queue: &mut BinaryHeap<Reverse<(u32, usize, u32)>>, symbols: &[Symbol], at: Option<usize>| {
            let left = at.and_then(|at| symbols.get(at));
            let right = left.and_then(|left| symbols.get(left.after?));
            let Some((at, left, right)) = at.zip(left).zip(right).map(|((at, left), right)| (at, left, right)) else {
                return;
            };
            if let Some((rank, made)) = self.merges.get(&(left.id, right.id)) {
                queue.push(Reverse((*rank, at, *made)));
            }
        };
        for at in 0..symbols.len() {
            offer(&mut queue, &symbols, Some(at));
        }
        while let Some(Reverse((_, at, made))) = queue.pop() {
            let Some(left) = symbols.get(at).copied().filter(|left| !left.gone) else { continue };
            let Some(next) = left.after else { continue };
            let Some(right) = symbols.get(next).copied() else { continue };
            // What was offered may have changed since.
            if self.merges.get(&(left.id, right.id)).is_none_or(|(_, now)| *now != made) {
                continue;
            }
            if let Some(symbol) = symbols.get_mut(at) {
                (symbol.id, symbol.after) = (made, right.after);
            }
            if let Some(symbol) = symbols.get_mut(next) {
                symbol.gone = true;
            }
            if let Some(symbol) = right.after.and_then(|after| symbols.get_mut(after)) {
                symbol.before = Some(at);
            }
            offer(&mut queue, &symbols, left.before);
            offer(&mut queue, &symbols, Some(at));
        }
        out.extend(symbols.iter().filter(|symbol| !symbol.gone).map(|symbol| symbol.id));
        unknown
    }

    /// One symbol for each character, or for each byte of one that is not known.
    fn symbols(&self, pieces: &Pieces, word: &str) -> (Vec<Symbol>, usize) {
        let (mut ids, mut unknown, mut fused) = (Vec::new(), 0, false);
        let last = word.char_indices().next_back().map_or(0, |(at, _)| at);
        for (at, c) in word.char_indices() {
            let mut token = String::new();
            if at > 0 {
                token.push_str(&self.prefix);
            }
            token.push(c);
            if at == last {
                token.push_str(&self.suffix);
            }
            if let Some(id) = pieces.id(&token) {
                ids.push(id);
                fused = false;
                continue;
            }
            if let Some(bytes) = pieces.bytes(&token).filter(|_| self.byte_fallback) {
                ids.extend(bytes);
                fused = false;
                continue;
            }
            unknown += 1;
            if let Some(id) = pieces.unknown.filter(|_| !(fused && self.fuse_unknown)) {
                ids.push(id);
            }
            fused = pieces.unknown.is_some();
        }
        let count = ids.len();
        let symbol = |(at, id): (usize, u32)| Symbol {
            id,
            before: at.checked_sub(1),
            after: (at + 1 < count).then_some(at + 1),
            gone: false,
        };
        (ids.into_iter().enumerate().map(symbol).collect(), unknown)
    }
}

/// Pairs of ids with rank and outcome.
fn merges(listed: Vec<MergeFile>, ids: &HashMap<String, u32>, prefix: &str) -> Result<Merges, TokenizerError> {
    within("merges", listed.len(), MERGES_MAX)?;
    let mut found = HashMap::with_capacity(listed.len());
    for (rank, merge) in (0..).zip(listed) {
        let (left, right) = match merge {
            MergeFile::Pair(left, right) => (left, right),
            MergeFile::Joined(both) => match both.split_once(' ') {
                Some((left, right)) if !right.contains(' ') => (left.to_owned(), right.to_owned()),
                _ => return Err(TokenizerError::contradiction(format!("the merge `{both}` is not of two tokens"))),
            },
        };
        let made = format!("{left}{}", right.strip_prefix(prefix).unwrap_or(&right));
        let id = |token: &str| {
            let lacking = || TokenizerError::contradiction(format!("a merge has `{token}`, its vocabulary does not"));
            ids.get(token).copied().ok_or_else(lacking)
        };
        found.insert((id(&left)?, id(&right)?), (rank, id(&made)?));
    }
    Ok(found)
}

/// Most tokens of a vocabulary: four times the largest in use.
const TOKENS_MAX: usize = 1 << 20;
/// Most merges.
const MERGES_MAX: usize = 1 << 21;
/// Longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 4_096;
/// Longest word that WordPiece looks at, in characters: the time that it takes grows with its cube.
const WORD_CHARS_MAX: usize = 256;
