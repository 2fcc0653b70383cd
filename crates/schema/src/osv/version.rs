//! The order of versions: PEP 440 for Python packages, SemVer 2.0 for others that say so.
//!
//! Both yield keys that compare as the standard says; text that is no version yields `None`, and the caller then knows nothing.
//! Numbers beyond 64 bits are no version here.

use std::cmp::Ordering;

/// Longest version in bytes.
pub const VERSION_BYTES_MAX: usize = 256;

/// Compares two versions of `ecosystem`; `None` where its order is not known here or one of them is no version.
pub fn compare(ecosystem: &str, a: &str, b: &str) -> Option<Ordering> {
    // `Debian:12` is an ecosystem with its release.
    match ecosystem.split(':').next().unwrap_or_default() {
        "PyPI" => Some(Pep440::parse(a)?.cmp(&Pep440::parse(b)?)),
        "npm" | "crates.io" | "Go" | "Hex" | "Pub" | "SwiftURL" | "SEMVER" => {
            Some(SemVer::parse(a)?.cmp(&SemVer::parse(b)?))
        }
        _ => None,
    }
}

/// A Python package's name in the one spelling of PEP 503.
pub fn normalise_python_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for character in name.chars() {
        if !matches!(character, '-' | '_' | '.') {
            out.extend(character.to_lowercase());
        } else if !out.ends_with('-') {
            out.push('-');
        }
    }
    out
}

/// A version by PEP 440, as what it is ordered by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pep440 {
    epoch: u64,
    /// Without zeros at the end.
    release: Vec<u64>,
    pre: Pre,
    /// A version without comes before one with.
    post: Option<u64>,
    /// A development release comes before what it develops.
    dev: Dev,
    /// A version without comes before one with; numbers come after words.
    local: Option<Vec<LocalPart>>,
}

/// Where a version stands before its release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Pre {
    /// A development release of the release itself.
    BeforeAll,
    /// Letter `a`, `b` or `r` and number.
    At(char, u64),
    /// The release itself, or after it.
    None,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Dev {
    At(u64),
    None,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum LocalPart {
    Word(String),
    Number(u64),
}

impl Pep440 {
    /// Reads every spelling that PEP 440 (Appendix B) accepts.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text.len() > VERSION_BYTES_MAX || !text.is_ascii() {
            return None;
        }
        let mut cursor = Cursor(text.strip_prefix('v').unwrap_or(&text));
        let mut first = cursor.number()?;
        let mut epoch = 0;
        if cursor.take("!") {
            (epoch, first) = (first, cursor.number()?);
        }
        let mut release = vec![first];
        while let Some(next) = cursor.attempt(|cursor| cursor.take(".").then(|| cursor.number()).flatten()) {
            release.push(next);
        }
        let pre = cursor.tagged(&[
            ("alpha", 'a'),
            ("beta", 'b'),
            ("preview", 'r'),
            ("pre", 'r'),
            ("rc", 'r'),
            ("a", 'a'),
            ("b", 'b'),
            ("c", 'r'),
        ]);
        let bare_post = cursor.attempt(|cursor| cursor.take("-").then(|| cursor.number()).flatten());
        let post =
            bare_post.or_else(|| cursor.tagged(&[("post", 'p'), ("rev", 'p'), ("r", 'p')]).map(|(_, number)| number));
        let dev = cursor.tagged(&[("dev", 'd')]).map(|(_, number)| number);
        let local =
            if cursor.take("+") { Some(local(cursor.0)?) } else { Some(Vec::new()).filter(|_| cursor.0.is_empty()) };
        let local = local?;
        while release.len() > 1 && release.last() == Some(&0) {
            release.pop();
        }
        let pre = match (pre, post, dev) {
            (Some((letter, number)), _, _) => Pre::At(letter, number),
            (None, None, Some(_)) => Pre::BeforeAll,
            (None, _, _) => Pre::None,
        };
        let dev = dev.map_or(Dev::None, Dev::At);
        let local = Some(local).filter(|parts| !parts.is_empty());
        Some(Self { epoch, release, pre, post, dev, local })
    }
}

fn local(text: &str) -> Option<Vec<LocalPart>> {
    text.split(['.', '-', '_'])
        .map(|part| {
            let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !plain {
                return None;
            }
            if part.bytes().all(|byte| byte.is_ascii_digit()) {
                return part.parse().ok().map(LocalPart::Number);
            }
            Some(LocalPart::Word(part.to_owned()))
        })
        .collect()
}

struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn take(&mut self, text: &str) -> bool {
        self.0.strip_prefix(text).map(|rest| self.0 = rest).is_some()
    }

    fn number(&mut self) -> Option<u64> {
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.0.split_at_checked(digits)?;
        let number = number.parse().ok()?;
        self.0 = rest;
        Some(number)
    }

    /// Takes all that `step` takes, or nothing.
    fn attempt<T>(&mut self, step: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.0;
        let result = step(self);
        if result.is_none() {
            self.0 = before;
        }
        result
    }

    /// A separator, one of `tags`, a separator, and a number that is 0 where it is left out.
    fn tagged(&mut self, tags: &[(&str, char)]) -> Option<(char, u64)> {
        self.attempt(|cursor| {
            let _ = cursor.take(".") || cursor.take("-") || cursor.take("_");
            let (_, kind) = tags.iter().find(|(tag, _)| cursor.take(tag))?;
            let number = cursor.attempt(|cursor| {
                let _ = cursor.take(".") || cursor.take("-") || cursor.take("_");
                cursor.number()
            });
            Some((*kind, number.unwrap_or(0)))
        })
    }
}

/// A version by SemVer 2.0, as what it is ordered by. Build metadata does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SemVer {
    core: [u64; 3],
    pre: Vec<SemVerPart>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum SemVerPart {
    Number(u64),
    Word(String),
}

impl SemVer {
    /// Reads `1.2.3-pre+build`, with a `v` in front or parts left out as advisories write it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() > VERSION_BYTES_MAX || !text.is_ascii() {
            return None;
        }
        let text = text.strip_prefix('v').unwrap_or(text).split('+').next()?;
        let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
        let mut parts = core.split('.').map(|part| part.parse::<u64>().ok());
        let mut next = || parts.next().unwrap_or(Some(0));
        let core = [next()?, next()?, next()?];
        if parts.next().is_some() {
            return None;
        }
        let part = |part: &str| {
            let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            let part = part.parse().map_or_else(|_| SemVerPart::Word(part.to_owned()), SemVerPart::Number);
            plain.then_some(part)
        };
        let pre = pre.map_or(Some(Vec::new()), |pre| pre.split('.').map(part).collect())?;
        Some(Self { core, pre })
    }
}

impl Ord for SemVer {
    fn cmp(&self, other: &Self) -> Ordering {
        // A version without a pre-release comes after those with one (SemVer §11).
        let key = |version: &Self| version.pre.is_empty();
        self.core.cmp(&other.core).then(key(self).cmp(&key(other))).then(self.pre.cmp(&other.pre))
    }
}

impl PartialOrd for SemVer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
