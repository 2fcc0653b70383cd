//! Secrets in texts: private keys and the tokens of well-known services.
//!
//! A token counts only if its form is exact and it looks random; where the format has a checksum, that must fit. The
//! examples of documentation do not count. A finding never repeats the secret.

use std::collections::BTreeSet;

use crate::{audit::Audit, rules::id};

/// Most secrets of one text.
const SECRETS_MAX: usize = 20;
/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 256;
/// Least randomness of a token, in bits a letter.
const ENTROPY_MIN: f64 = 3.0;
/// How far from an AWS key's name its secret is looked for, in bytes.
const BESIDE_BYTES: usize = 300;
/// Letters of a key's body that make it more than an example.
const KEY_BODY_BYTES: usize = 120;

/// What a token is, how it begins, which letters follow, and how many.
const FORMS: [(&str, &str, Letters, usize, usize); 18] = [
    ("an AWS access key", "AKIA", Letters::Upper32, 16, 16),
    ("an AWS access key", "ASIA", Letters::Upper32, 16, 16),
    ("a Hugging Face token", "hf_", Letters::Alphabetic, 34, 34),
    ("a GitHub token", "ghp_", Letters::Checked62, 36, 36),
    ("a GitHub token", "gho_", Letters::Checked62, 36, 36),
    ("a GitHub token", "ghs_", Letters::Checked62, 36, 36),
    ("a GitHub token", "ghu_", Letters::Checked62, 36, 36),
    ("an npm token", "npm_", Letters::Checked62, 36, 36),
    ("a GitHub token", "github_pat_", Letters::Word, 82, 82),
    ("an OpenAI key", "sk-proj-", Letters::Word, 40, 200),
    ("an OpenAI key", "sk-", Letters::Alphanumeric, 48, 48),
    ("an Anthropic key", "sk-ant-", Letters::Word, 80, 130),
    ("a Slack token", "xoxb-", Letters::Word, 40, 80),
    ("a Slack token", "xoxp-", Letters::Word, 60, 90),
    ("a Google key", "AIza", Letters::Word, 35, 35),
    ("a GitLab token", "glpat-", Letters::Word, 20, 20),
    ("a Stripe key", "sk_live_", Letters::Alphanumeric, 24, 99),
    ("a PyPI token", "pypi-AgEIcHlwaS5vcmc", Letters::Word, 50, 220),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letters {
    /// Capitals and 2 to 7.
    Upper32,
    Alphabetic,
    Alphanumeric,
    /// Letters, digits, `-` and `_`.
    Word,
    /// Letters and digits, the last six of which are a CRC-32 of the rest.
    Checked62,
}

impl Letters {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Upper32 => byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte),
            Self::Alphabetic => byte.is_ascii_alphabetic(),
            Self::Alphanumeric | Self::Checked62 => byte.is_ascii_alphanumeric(),
            Self::Word => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
        }
    }
}

impl Audit<'_> {
    /// Tells the secrets in the stretches of text `parts`, which may overlap: where each begins, and its bytes.
    pub(crate) fn secrets(&mut self, parts: &[(u64, Vec<u8>)]) {
        let each = parts
            .iter()
            .flat_map(|(base, bytes)| find(bytes).into_iter().map(move |(at, what)| (base + at as u64, what)));
        let found: BTreeSet<(u64, &'static str)> = each.collect();
        for (at, what) in found.into_iter().take(SECRETS_MAX) {
            self.note(id::SEC_KEY, &format!("holds {what}"), Some(at));
        }
    }
}

/// Secrets in `text`, and where they begin.
fn find(text: &[u8]) -> Vec<(usize, &'static str)> {
    let mut found: Vec<(usize, &'static str)> = Vec::new();
    for (what, start, letters, least, most) in FORMS {
        for at in memchr::memmem::find_iter(text, start.as_bytes()).take(10_000) {
            if found.len() < SECRETS_MAX && is_token(text, at, start.len(), letters, (least, most)) {
                found.push((at, what));
            }
        }
    }
    let keys = memchr::memmem::find_iter(text, b"PRIVATE KEY-----").take(1_000);
    found.extend(keys.filter(|at| is_private_key(text, *at)).map(|at| (at, "a private key")).take(SECRETS_MAX));
    let accounts = memchr::memmem::find_iter(text, b"AccountKey=").take(1_000);
    found.extend(accounts.filter(|at| is_account_key(text, at + 11)).map(|at| (at, "an Azure storage key")));
    found
}

fn is_token(text: &[u8], at: usize, skip: usize, letters: Letters, (least, most): (usize, usize)) -> bool {
    let is_inside = at.checked_sub(1).and_then(|before| text.get(before)).is_some_and(u8::is_ascii_alphanumeric);
    if is_inside {
        return false;
    }
    let rest = text.get(at + skip..text.len().min(at + skip + TOKEN_BYTES_MAX)).unwrap_or_default();
    let length = rest.iter().take_while(|byte| letters.has(**byte)).count();
    let is_longer = rest.get(length).is_some_and(u8::is_ascii_alphanumeric);
    if length < least || length > most || is_longer {
        return false;
    }
    let token = rest.get(..length).unwrap_or_default();
    let lower = token.to_ascii_lowercase();
    let is_example =
        ["example", "xxxx", "0000", "1234", "abcd", "aaaa", "your", "test", "fake", "dummy", "placeholder"]
            .iter()
            .any(|word| memchr::memmem::find(&lower, word.as_bytes()).is_some());
    if is_example || entropy(token) < ENTROPY_MIN {
        return false;
    }
    match letters {
        Letters::Checked62 => is_checked(token),
        Letters::Upper32 => has_secret_beside(text, at),
        _ => true,
    }
}

/// The name of an AWS key is no secret; forty letters beside it are.
fn has_secret_beside(text: &[u8], at: usize) -> bool {
    let around = text.get(at.saturating_sub(BESIDE_BYTES)..text.len().min(at + BESIDE_BYTES)).unwrap_or_default();
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    around.split(|byte| !is_letter(byte)).any(|word| {
        let is_mixed = word.iter().any(u8::is_ascii_uppercase) && word.iter().any(u8::is_ascii_lowercase);
        word.len() == 40 && is_mixed && entropy(word) > 4.0 && memchr::memmem::find(word, b"EXAMPLE").is_none()
    })
}

/// GitHub's and npm's tokens end in the CRC-32 of the thirty letters before, in base 62.
fn is_checked(token: &[u8]) -> bool {
    let Some((body, check)) = token.split_at_checked(token.len().saturating_sub(6)) else { return false };
    let digits: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut stated = 0_u64;
    for byte in check {
        let Some(digit) = digits.iter().position(|digit| digit == byte) else { return false };
        stated = stated * 62 + digit as u64;
    }
    stated == u64::from(crc32(body))
}

/// CRC-32 as in IEEE 802.3, bit by bit: tokens are short.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn entropy(token: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in token {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let whole = token.len().max(1) as f64;
    let part = |count: &u32| f64::from(*count) / whole;
    counts.iter().filter(|count| **count > 0).map(|count| -part(count) * part(count).log2()).sum()
}

/// The marker's line, then a body of base 64; line ends may be escaped.
fn is_private_key(text: &[u8], at: usize) -> bool {
    let line = text.get(at.saturating_sub(30)..at).unwrap_or_default();
    if memchr::memmem::find(line, b"-----BEGIN ").is_none() {
        return false;
    }
    let body = text.get(at + 16..).unwrap_or_default();
    let body = body.get(..body.len().min(4 << 10)).unwrap_or_default();
    let end = memchr::memmem::find(body, b"-----END").unwrap_or(body.len());
    let body = body.get(..end).unwrap_or_default();
    let letters: Vec<u8> =
        body.iter().copied().filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')).collect();
    let others = body
        .iter()
        .filter(|byte| {
            !byte.is_ascii_alphanumeric()
                && !byte.is_ascii_whitespace()
                && !matches!(byte, b'+' | b'/' | b'=' | b'\\' | b'"' | b',' | b':' | b'-')
        })
        .count();
    letters.len() >= KEY_BODY_BYTES && others * 20 < letters.len() && entropy(&letters) > 4.5
}

fn is_account_key(text: &[u8], at: usize) -> bool {
    let key = text.get(at..at + 88).unwrap_or_default();
    key.ends_with(b"==")
        && key.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
        && entropy(key) > 4.5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert!(!is_checked(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcd000000"));
    }

    #[test]
    fn examples_are_no_secrets() {
        let found = |text: &[u8]| {
            FORMS.iter().any(|(_, start, letters, least, most)| {
                memchr::memmem::find_iter(text, start.as_bytes())
                    .any(|at| is_token(text, at, start.len(), *letters, (*least, *most)))
            })
        };
        assert!(!found(b"key = AKIAIOSFODNN7EXAMPLE"));
        assert!(!found(b"hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"));
        assert!(!found(b"task-sk-learn-something"));
        assert!(!found(b"key = AKIA2JQX7KZP4MWTN5VR"));
        assert!(found(b"id = AKIA2JQX7KZP4MWTN5VR secret = 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"));
        assert!(found(b"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 "));
    }
}
