//! Normalisers: texts rewritten before they are taken apart.

use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use super::{
    PARTS_MAX, TEXT_BYTES_MAX, TokenizerError,
    charsmap::CharacterMap,
    cut_at,
    file::{Normalizer, Pattern},
    within,
};

/// Steps, in their order.
#[derive(Debug, Default)]
pub(super) struct Normaliser(Vec<Step>);

#[derive(Debug)]
enum Step {
    Clean,
    SpaceChinese,
    Lowercase,
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    /// Without the marks of any kind.
    StripMarks,
    /// Without the marks that take no room.
    StripNonspacing,
    Strip {
        left: bool,
        right: bool,
    },
    Prepend(String),
    Replace(String, String),
    /// Two blanks and more become something.
    Blanks(String),
    Mapped(CharacterMap),
}

impl Normaliser {
    pub(super) fn new(described: Option<Normalizer>) -> Result<Self, TokenizerError> {
        let mut steps = Vec::new();
        if let Some(described) = described {
            add(described, &mut steps)?;
        }
        Ok(Self(steps))
    }

    /// The text as the model sees it; what grows beyond [`GROWN_BYTES_MAX`] is cut off.
    pub(super) fn apply(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, step| {
            let mut made = step.apply(&text);
            let end = cut_at(&made, GROWN_BYTES_MAX).len();
            made.truncate(end);
            made
        })
    }
}

fn add(described: Normalizer, steps: &mut Vec<Step>) -> Result<(), TokenizerError> {
    match described {
        Normalizer::Bert { clean_text, handle_chinese_chars, strip_accents, lowercase } => {
            steps.extend(clean_text.then_some(Step::Clean));
            steps.extend(handle_chinese_chars.then_some(Step::SpaceChinese));
            if strip_accents.unwrap_or(lowercase) {
                steps.extend([Step::Nfd, Step::StripNonspacing]);
            }
            steps.extend(lowercase.then_some(Step::Lowercase));
        }
        Normalizer::Lowercase {} => steps.push(Step::Lowercase),
        Normalizer::Nfc {} => steps.push(Step::Nfc),
        Normalizer::Nfd {} => steps.push(Step::Nfd),
        Normalizer::Nfkc {} => steps.push(Step::Nfkc),
        Normalizer::Nfkd {} => steps.push(Step::Nfkd),
        Normalizer::StripAccents {} => steps.push(Step::StripMarks),
        Normalizer::Strip { strip_left, strip_right } => {
            steps.push(Step::Strip { left: strip_left, right: strip_right });
        }
        Normalizer::Prepend { prepend } => {
            within("bytes of a prefix", prepend.len(), REPLACEMENT_BYTES_MAX)?;
            steps.push(Step::Prepend(prepend));
        }
        Normalizer::Replace { pattern: Pattern::String(pattern), content } => {
            within("bytes of a replacement", content.len(), REPLACEMENT_BYTES_MAX)?;
            if pattern.is_empty() {
                return Err(TokenizerError::contradiction("it replaces the empty text"));
            }
            steps.push(Step::Replace(pattern, content));
        }
        // The one that SentencePiece's files come with.
        Normalizer::Replace { pattern: Pattern::Regex(pattern), content } if pattern == " {2,}" => {
            within("bytes of a replacement", content.len(), REPLACEMENT_BYTES_MAX)?;
            steps.push(Step::Blanks(content));
        }
        Normalizer::Precompiled { precompiled_charsmap } => {
            steps.push(Step::Mapped(CharacterMap::parse(&precompiled_charsmap)?));
        }
        Normalizer::Replace { pattern: Pattern::Regex(pattern), .. } => {
            return Err(TokenizerError::unsupported(format!("the regular expression `{pattern}` in its normaliser")));
        }
        Normalizer::Sequence { normalizers } => {
            within("normalisers", normalizers.len(), PARTS_MAX)?;
            for part in normalizers {
                add(part, steps)?;
            }
        }
    }
    within("normalisers", steps.len(), PARTS_MAX)
}

impl Step {
    fn apply(&self, text: &str) -> String {
        match self {
            Self::Clean => {
                text.chars().filter(|c| !is_dropped(*c)).map(|c| if is_space(c) { ' ' } else { c }).collect()
            }
            Self::SpaceChinese => {
                let mut made = String::with_capacity(text.len());
                for c in text.chars() {
                    if is_chinese(c) { made.extend([' ', c, ' ']) } else { made.push(c) }
                }
                made
            }
            Self::Lowercase => text.chars().flat_map(char::to_lowercase).collect(),
            Self::Nfc => text.nfc().collect(),
            Self::Nfd => text.nfd().collect(),
            Self::Nfkc => text.nfkc().collect(),
            Self::Nfkd => text.nfkd().collect(),
            Self::StripMarks => text.chars().filter(|c| !is_combining_mark(*c)).collect(),
            Self::StripNonspacing => {
                text.chars().filter(|c| get_general_category(*c) != GeneralCategory::NonspacingMark).collect()
            }
            Self::Strip { left, right } => {
                let text = if *left { text.trim_start() } else { text };
                (if *right { text.trim_end() } else { text }).to_owned()
            }
            Self::Prepend(_) if text.is_empty() => String::new(),
            Self::Prepend(prefix) => format!("{prefix}{text}"),
            Self::Replace(from, to) => {
                // Replacing may lengthen: no more is made than is kept.
                let room = GROWN_BYTES_MAX / to.len().max(1) + 1;
                text.replacen(from.as_str(), to, room)
            }
            Self::Blanks(to) => {
                let mut made = String::with_capacity(text.len());
                let mut rest = text;
                while let Some((before, after)) = rest.split_once("  ").filter(|_| made.len() <= GROWN_BYTES_MAX) {
                    made.push_str(before);
                    made.push_str(to);
                    rest = after.trim_start_matches(' ');
                }
                made + rest
            }
            Self::Mapped(map) => map.apply(text, GROWN_BYTES_MAX),
        }
    }
}

/// What BERT's cleaning leaves out: control, format and private characters but the blanks among them, and the replacement
/// character; what is not assigned stays.
fn is_dropped(c: char) -> bool {
    use GeneralCategory::{Control, Format, PrivateUse};
    let other = matches!(get_general_category(c), Control | Format | PrivateUse);
    c == '\0' || c == '\u{fffd}' || (other && !matches!(c, '\t' | '\n' | '\r'))
}

fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r') || c.is_whitespace()
}

/// The blocks of Chinese characters that BERT sets apart; one bound is the reference implementation's own.
fn is_chinese(c: char) -> bool {
    matches!(u32::from(c),
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x2_0000..=0x2_a6df | 0x2_a700..=0x2_b73f | 0x2_b740..=0x2_b81f
        | 0x2_b920..=0x2_ceaf | 0xf900..=0xfaff | 0x2_f800..=0x2_fa1f)
}

/// What a text may grow to, in bytes; compatibility forms are up to eighteen characters for one.
const GROWN_BYTES_MAX: usize = 4 * TEXT_BYTES_MAX;
/// Longest text that is put in, in bytes.
const REPLACEMENT_BYTES_MAX: usize = 64;
