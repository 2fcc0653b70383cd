//! Pre-tokenizers: a text taken apart into words, before each is looked up.

use unicode_general_category::{GeneralCategory, get_general_category};

use super::{
    PARTS_MAX, TokenizerError,
    file::{Behaviour, PreTokenizer, Prepending},
    within,
};

/// Steps, in their order.
#[derive(Debug, Default)]
pub(super) struct Cutter(Vec<Step>);

#[derive(Debug)]
enum Step {
    Bert,
    Words,
    Blanks,
    Bytes { prefix: bool, words: bool },
    Punctuation(Behaviour),
    Digits { each: bool },
    Metaspace { replacement: char, prepend: Prepending, split: bool },
}

impl Cutter {
    pub(super) fn new(described: Option<PreTokenizer>) -> Result<Self, TokenizerError> {
        let mut steps = Vec::new();
        if let Some(described) = described {
            add(described, &mut steps)?;
        }
        Ok(Self(steps))
    }

    /// The words of `text`; `first` says whether a text begins with it.
    pub(super) fn cut(&self, text: &str, first: bool) -> Vec<String> {
        let mut parts = vec![text.to_owned()];
        for step in &self.0 {
            let mut next = Vec::new();
            for (place, part) in parts.iter().enumerate() {
                step.cut(part, first && place == 0, &mut next);
            }
            next.retain(|part| !part.is_empty());
            parts = next;
        }
        parts.retain(|part| !part.is_empty());
        parts
    }
}

fn add(described: PreTokenizer, steps: &mut Vec<Step>) -> Result<(), TokenizerError> {
    steps.push(match described {
        PreTokenizer::Bert {} => Step::Bert,
        PreTokenizer::Whitespace {} => Step::Words,
        PreTokenizer::WhitespaceSplit {} => Step::Blanks,
        PreTokenizer::ByteLevel { add_prefix_space, use_regex, .. } => {
            Step::Bytes { prefix: add_prefix_space, words: use_regex }
        }
        PreTokenizer::Punctuation { behavior } => Step::Punctuation(behavior),
        PreTokenizer::Digits { individual_digits } => Step::Digits { each: individual_digits },
        PreTokenizer::Metaspace { replacement, prepend_scheme, add_prefix_space, split, .. } => {
            let older = if add_prefix_space == Some(false) { Prepending::Never } else { Prepending::Always };
            Step::Metaspace { replacement, prepend: prepend_scheme.unwrap_or(older), split }
        }
        PreTokenizer::Sequence { pretokenizers } => {
            within("pre-tokenizers", pretokenizers.len(), PARTS_MAX)?;
            for part in pretokenizers {
                add(part, steps)?;
            }
            return Ok(());
        }
    });
    within("pre-tokenizers", steps.len(), PARTS_MAX)
}

impl Step {
    fn cut(&self, text: &str, first: bool, out: &mut Vec<String>) {
        match self {
            Self::Bert => {
                for word in text.split(char::is_whitespace) {
                    isolate(word, is_punctuation, out);
                }
            }
            Self::Blanks => out.extend(text.split(char::is_whitespace).map(str::to_owned)),
            Self::Words => runs(text, |c| if c.is_whitespace() { Kind::Blank } else { Kind::word(c) }, out),
            Self::Punctuation(Behaviour::Isolated) => isolate(text, is_punctuation, out),
            Self::Punctuation(Behaviour::Removed) => out.extend(text.split(is_punctuation).map(str::to_owned)),
            Self::Punctuation(Behaviour::Contiguous) => {
                runs(text, |c| if is_punctuation(c) { Kind::Other } else { Kind::Letter }, out);
            }
            Self::Digits { each: true } => isolate(text, char::is_numeric, out),
            Self::Digits { each: false } => {
                runs(text, |c| if c.is_numeric() { Kind::Number } else { Kind::Letter }, out);
            }
            Self::Bytes { prefix, words } => {
                let text = if *prefix && !text.starts_with(' ') { format!(" {text}") } else { text.to_owned() };
                let mut parts = Vec::new();
                if *words {
                    byte_level_words(&text, &mut parts);
                } else {
                    parts.push(text);
                }
                out.extend(parts.iter().map(|part| part.bytes().map(letter_of).collect::<String>()));
            }
            Self::Metaspace { replacement, prepend, split } => {
                let mut text: String = text.chars().map(|c| if c == ' ' { *replacement } else { c }).collect();
                let wanted = *prepend == Prepending::Always || (*prepend == Prepending::First && first);
                if wanted && !text.starts_with(*replacement) {
                    text.insert(0, *replacement);
                }
                if !*split {
                    out.push(text);
                    return;
                }
                let mut word = String::new();
                for c in text.chars() {
                    if c == *replacement {
                        out.push(std::mem::take(&mut word));
                    }
                    word.push(c);
                }
                out.push(word);
            }
        }
    }
}

/// What a character is to a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Blank,
    Letter,
    Number,
    Other,
}

impl Kind {
    /// By the general category, as `\p{L}` and `\p{N}` have it.
    fn of(c: char) -> Self {
        use GeneralCategory::{
            DecimalNumber, LetterNumber, LowercaseLetter, ModifierLetter, OtherLetter, OtherNumber, TitlecaseLetter,
            UppercaseLetter,
        };
        match get_general_category(c) {
            _ if c.is_whitespace() => Self::Blank,
            LowercaseLetter | ModifierLetter | OtherLetter | TitlecaseLetter | UppercaseLetter => Self::Letter,
            DecimalNumber | LetterNumber | OtherNumber => Self::Number,
            _ => Self::Other,
        }
    }

    /// As `\w` has it (UTS 18, annex C): letters, marks, decimal digits, connectors, joiners.
    fn word(c: char) -> Self {
        use GeneralCategory::{ConnectorPunctuation, DecimalNumber, EnclosingMark, NonspacingMark, SpacingMark};
        let category = get_general_category(c);
        let others = [ConnectorPunctuation, DecimalNumber, EnclosingMark, NonspacingMark, SpacingMark];
        let word = c.is_alphabetic() || others.contains(&category) || matches!(c, '\u{200c}' | '\u{200d}');
        if word { Self::Letter } else { Self::Other }
    }
}

/// Runs of one kind, without blanks.
fn runs(text: &str, kind: impl Fn(char) -> Kind, out: &mut Vec<String>) {
    let mut word = String::new();
    let mut before = Kind::Blank;
    for c in text.chars() {
        let now = kind(c);
        if now != before {
            out.push(std::mem::take(&mut word));
        }
        if now != Kind::Blank {
            word.push(c);
        }
        before = now;
    }
    out.push(word);
}

/// Cut before and after each character of a kind, which stands alone.
fn isolate(text: &str, alone: impl Fn(char) -> bool, out: &mut Vec<String>) {
    let mut word = String::new();
    for c in text.chars() {
        if alone(c) {
            out.push(std::mem::take(&mut word));
            out.push(c.to_string());
        } else {
            word.push(c);
        }
    }
    out.push(word);
}

/// GPT-2's words: contractions; letters, numbers or other characters with at most one space before them; blanks, of which the
/// last belongs to the word after them where it is a space (Radford et al. 2019, the pattern in `encoder.py`).
fn byte_level_words(text: &str, out: &mut Vec<String>) {
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = word_length(rest, c).max(c.len_utf8());
        let (word, left) = rest.split_at_checked(length).unwrap_or((rest, ""));
        out.push(word.to_owned());
        rest = left;
    }
}

/// Bytes of the word that `rest` begins with, whose first character is `c`.
fn word_length(rest: &str, c: char) -> usize {
    if let Some(contraction) = CONTRACTIONS.iter().find(|contraction| rest.starts_with(**contraction)) {
        return contraction.len();
    }
    let space = usize::from(c == ' ');
    let after = rest.get(space..).unwrap_or("");
    if let Some(kind) = after.chars().next().map(Kind::of).filter(|kind| *kind != Kind::Blank) {
        return space + after.find(|c| Kind::of(c) != kind).unwrap_or(after.len());
    }
    let blanks = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
    if blanks == rest.len() {
        return blanks;
    }
    let last = rest.get(..blanks).and_then(|blanks| blanks.chars().next_back()).map_or(0, char::len_utf8);
    // One blank that is no space stands alone.
    if blanks > last { blanks - last } else { blanks }
}

/// BERT's punctuation: of ASCII everything that is neither letter, digit nor blank, else the category P.
fn is_punctuation(c: char) -> bool {
    use GeneralCategory::{
        ClosePunctuation, ConnectorPunctuation, DashPunctuation, FinalPunctuation, InitialPunctuation, OpenPunctuation,
        OtherPunctuation,
    };
    c.is_ascii_punctuation()
        || matches!(
            get_general_category(c),
            ClosePunctuation
                | ConnectorPunctuation
                | DashPunctuation
                | FinalPunctuation
                | InitialPunctuation
                | OpenPunctuation
                | OtherPunctuation
        )
}

/// The character by which GPT-2 writes a byte: itself where it is visible, else one from U+0100 on.
pub(super) fn letter_of(byte: u8) -> char {
    match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        0..=0x20 => char::from_u32(0x100 + u32::from(byte)).unwrap_or('?'),
        0x7f..=0xa0 => char::from_u32(0x100 + 0x21 + u32::from(byte) - 0x7f).unwrap_or('?'),
        0xad => '\u{143}',
    }
}

const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
