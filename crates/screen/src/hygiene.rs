//! What hides in text: invisible and direction-changing characters, look-alike letters, credentials.
//!
//! Exact by construction: each rule is a property of characters, not a guess about meaning. Emoji sequences (joiners,
//! variation selectors, flag tags) and scripts that need joiners are left alone.

use ringfence_schema::{finding::printable, report::RecordDecision};

use crate::rules::{self, Rule};

/// One hit in a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hit {
    pub(crate) rule: &'static Rule,
    pub(crate) decision: RecordDecision,
    pub(crate) evidence: String,
}

/// Looks through one text; at most one hit a rule.
pub(crate) fn inspect(text: &str) -> Vec<Hit> {
    let mut hits = Vec::new();
    if !text.is_ascii() {
        hits.extend(hidden(text));
        hits.extend(mixed_word(text).map(|word| Hit {
            rule: &rules::TEXT_MIXED,
            decision: RecordDecision::Review,
            evidence: format!("`{}`", printable(word, EVIDENCE_CHARS_MAX)),
        }));
    }
    hits.extend(credential(text).map(|kind| Hit {
        rule: &rules::SECRET,
        decision: RecordDecision::Review,
        // The secret itself never goes into a report.
        evidence: kind.to_owned(),
    }));
    hits
}

fn hidden(text: &str) -> Vec<Hit> {
    let (mut tags, mut bidi, mut invisible) = (0_usize, 0_usize, 0_usize);
    let mut smuggled = String::new();
    let mut before = ' ';
    let mut in_flag = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1f3f4}' => in_flag = true,
            '\u{e0020}'..='\u{e007f}' if in_flag => in_flag = character != '\u{e007f}',
            '\u{e0000}'..='\u{e007f}' => {
                tags += 1;
                smuggled.extend(char::from_u32(u32::from(character) - 0xe_0000).filter(|c| !c.is_control()));
            }
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => bidi += 1,
            '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{00ad}' | '\u{180e}' | '\u{200c}' | '\u{200d}' => {
                let inside = |c: char| c.is_alphanumeric() && !matches!(script(c), Script::Other);
                if inside(before) && characters.peek().copied().is_some_and(inside) {
                    invisible += 1;
                }
            }
            other => {
                in_flag = false;
                before = other;
            }
        }
    }
    let hit = |rule, decision, evidence| Hit { rule, decision, evidence };
    let mut hits = Vec::new();
    if tags > 0 {
        let evidence = format!("{tags} tag characters that spell `{}`", printable(&smuggled, EVIDENCE_CHARS_MAX));
        hits.push(hit(&rules::TEXT_TAGS, RecordDecision::Filter, evidence));
    }
    if bidi > 0 {
        hits.push(hit(&rules::TEXT_BIDI, RecordDecision::Review, format!("{bidi} direction controls")));
    }
    if invisible > 0 {
        hits.push(hit(&rules::TEXT_INVISIBLE, RecordDecision::Review, format!("{invisible} inside words")));
    }
    hits
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Latin,
    Greek,
    Cyrillic,
    Other,
    Scriptless,
}

fn script(character: char) -> Script {
    match character {
        'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => Script::Latin,
        // The micro sign and the ohm sign live among Latin text; mathematics uses single Greek letters.
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Script::Greek,
        '\u{400}'..='\u{52f}' => Script::Cyrillic,
        other if other.is_alphabetic() => Script::Other,
        _ => Script::Scriptless,
    }
}

/// The first word in which Latin letters stand beside Cyrillic or Greek ones.
pub(crate) fn mixed_word(text: &str) -> Option<&str> {
    text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_ascii()).find(|word| {
        let count = |wanted| word.chars().filter(|c| script(*c) == wanted).count();
        let (latin, cyrillic, greek) = (count(Script::Latin), count(Script::Cyrillic), count(Script::Greek));
        latin > 0 && (cyrillic > 0 || greek > 0) && latin + cyrillic + greek >= MIXED_LETTERS_MIN
    })
}

fn credential(text: &str) -> Option<&'static str> {
    if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    let token = |prefix: &str, length: usize, allowed: fn(u8) -> bool| {
        text.match_indices(prefix).any(|(at, _)| {
            let before = text.get(..at).and_then(|head| head.bytes().next_back());
            let body = text.as_bytes().get(at + prefix.len()..).unwrap_or(&[]);
            let run = body.iter().take_while(|byte| allowed(**byte)).count();
            run >= length && !before.is_some_and(|byte| byte.is_ascii_alphanumeric())
        })
    };
    let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if token("AKIA", 16, upper) || token("ASIA", 16, upper) {
        return Some("an AWS access key id");
    }
    if ["ghp_", "gho_", "ghs_", "github_pat_"].iter().any(|prefix| token(prefix, 22, word)) {
        return Some("a GitHub token");
    }
    if ["xoxb-", "xoxp-", "xoxa-"].iter().any(|prefix| token(prefix, 20, word)) {
        return Some("a Slack token");
    }
    token("sk-", 40, word).then_some("an API key")
}

const EVIDENCE_CHARS_MAX: usize = 60;
const MIXED_LETTERS_MIN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_of(text: &str) -> Vec<&'static str> {
        inspect(text).into_iter().map(|hit| hit.rule.id).collect()
    }

    #[test]
    fn finds_what_hides() {
        assert_eq!(rules_of("hi\u{e0041}\u{e0042}"), ["RF-TXT-001"]);
        assert_eq!(rules_of("abc \u{202e}cba"), ["RF-TXT-002"]);
        assert_eq!(rules_of("fr\u{200b}ee"), ["RF-TXT-003"]);
        assert_eq!(rules_of("fr\u{0435}e money"), ["RF-TXT-004"]);
        assert_eq!(rules_of("key AKIAABCDEFGHIJKLMNOP."), ["RF-SEC-001"]);
    }

    #[test]
    fn leaves_ordinary_text_alone() {
        for text in [
            "plain",
            "na\u{ef}ve",
            "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442} hello",
            "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e007f}",
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            "5 \u{3bc}m",
            "\u{feff}start",
            "task-sk-",
            "SAKIAABCDEFGHIJKLMNOP",
        ] {
            assert_eq!(rules_of(text), Vec::<&str>::new(), "{text:?}");
        }
    }

    #[test]
    fn a_secret_is_not_repeated() {
        let hits = inspect("ghp_0123456789abcdefghijABCDEFGHIJ");
        assert_eq!(hits[0].evidence, "a GitHub token");
    }
}
