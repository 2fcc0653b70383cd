//! What a word may become: slips and tricks of spelling, look-alikes, characters that cannot be seen, other words.
//!
//! Letters inside a word are changed, not its ends, where it has more than three: people go on reading such words (Pruthi, Dhingra
//! and Lipton 2019). Every edit of spelling is one insertion, deletion, exchange or swap.

use std::collections::BTreeMap;

use ringfence_nn::random::Random;

use super::words;
use crate::error::AttackError;

/// Words that may stand for one another, as the user's own list has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Synonyms(BTreeMap<String, Vec<String>>);

impl Synonyms {
    /// Reads lines `word: other, another`; letter case does not matter, empty lines and those that begin with `#` are skipped.
    ///
    /// Refuses lines of another form, phrases of several words, and more than the limits.
    pub fn parse(text: &str) -> Result<Self, AttackError> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut count = 0_usize;
        for (line, content) in (1_usize..).zip(text.lines()) {
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let wrong = |problem: &str| AttackError::Text { problem: format!("synonyms, line {line}: {problem}") };
            let (word, others) = content.split_once(':').ok_or_else(|| wrong("there is no `:` after the word"))?;
            let mut list = Vec::new();
            for other in std::iter::once(word).chain(others.split(',')).map(str::trim).filter(|other| !other.is_empty())
            {
                if !words::is_one(other) {
                    return Err(wrong("a synonym is not one word, which is all that is exchanged"));
                }
                list.push(other.to_lowercase());
            }
            count += list.len();
            if count > SYNONYMS_MAX {
                return Err(wrong(&format!("more than {SYNONYMS_MAX} words")));
            }
            if list.len() < 2 || word.trim().is_empty() {
                return Err(wrong("a word and at least one other are needed"));
            }
            let word = list.remove(0);
            found.entry(word).or_default().extend(list);
        }
        Ok(Self(found))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn of(&self, word: &str) -> Vec<String> {
        self.0.get(&word.to_lowercase()).cloned().unwrap_or_default()
    }
}

/// Slips and tricks of spelling that can be seen: a swap of neighbours, a letter lost or doubled, a blank inside the word, a
/// neighbour on the keyboard, a digit or sign that looks alike (Gao et al. 2018, DeepWordBug; Li et al. 2019, TextBugger).
pub(super) fn characters(word: &str) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    let mut found = Vec::new();
    let inner = inside(letters.len());
    for at in inner.clone() {
        let Some(letter) = letters.get(at).copied() else { continue };
        if inner.contains(&(at + 1)) || letters.len() == 2 {
            let mut swapped = letters.clone();
            if at + 1 < swapped.len() {
                swapped.swap(at, at + 1);
                found.push(swapped.iter().collect());
            }
        }
        if letters.len() > 2 {
            found.push(replaced(&letters, at, ""));
        }
        found.push(replaced(&letters, at, &format!("{letter}{letter}")));
        if at > 0 && letters.len() > 3 {
            found.push(replaced(&letters, at, &format!(" {letter}")));
        }
        let lower = letter.to_ascii_lowercase();
        let near = KEYS.iter().find(|(key, _)| *key == lower).map_or("", |(_, near)| *near);
        let alike = SIGNS.iter().find(|(key, _)| *key == lower).map_or("", |(_, signs)| *signs);
        for other in near.chars().chain(alike.chars()) {
            let other = if letter.is_uppercase() { other.to_ascii_uppercase() } else { other };
            found.push(replaced(&letters, at, &other.to_string()));
        }
    }
    distinct(word, found)
}

/// One letter exchanged for one that looks the same: pairs that Unicode calls intentionally alike (UTS 39, `intentional.txt`), as in
/// Boucher et al. 2022.
pub(super) fn homoglyphs(word: &str) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    let swap = |(at, letter): (usize, &char)| {
        let pair = ALIKE.iter().find(|(latin, _)| latin == letter)?;
        Some(replaced(&letters, at, &pair.1.to_string()))
    };
    distinct(word, letters.iter().enumerate().filter_map(swap).collect())
}

/// One character that takes no room between two letters (Boucher et al. 2022, "Bad Characters"; its reorderings and deletions
/// by control characters are not tried).
pub(super) fn invisible(word: &str) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    let places = (1..letters.len()).flat_map(|at| UNSEEN.iter().map(move |unseen| (at, *unseen)));
    let put = |(at, unseen): (usize, char)| {
        let mut made = letters.clone();
        made.insert(at, unseen);
        made.iter().collect()
    };
    distinct(word, places.map(put).collect())
}

/// At most `count` of `candidates`, drawn without replacement where there are more.
pub(super) fn some(mut candidates: Vec<String>, count: usize, random: &mut Random) -> Vec<String> {
    if candidates.len() > count {
        random.shuffle(&mut candidates);
        candidates.truncate(count);
    }
    candidates
}

/// The places of a word that are changed.
fn inside(length: usize) -> std::ops::Range<usize> {
    if length > 3 { 1..length - 1 } else { 0..length }
}

fn replaced(letters: &[char], at: usize, with: &str) -> String {
    let mut made = String::new();
    for (place, letter) in letters.iter().enumerate() {
        if place == at { made.push_str(with) } else { made.push(*letter) }
    }
    made
}

fn distinct(word: &str, mut found: Vec<String>) -> Vec<String> {
    found.retain(|made| made != word && !made.is_empty());
    found.sort_unstable();
    found.dedup();
    found
}

/// Entries of a list of synonyms.
const SYNONYMS_MAX: usize = 1 << 20;

/// Keys beside each key of a QWERTY keyboard.
const KEYS: [(char, &str); 26] = [
    ('a', "qsz"),
    ('b', "vghn"),
    ('c', "xdfv"),
    ('d', "serfcx"),
    ('e', "wsdr"),
    ('f', "drtgvc"),
    ('g', "ftyhbv"),
    ('h', "gyujnb"),
    ('i', "ujko"),
    ('j', "huikmn"),
    ('k', "jiolm"),
    ('l', "kop"),
    ('m', "njk"),
    ('n', "bhjm"),
    ('o', "iklp"),
    ('p', "ol"),
    ('q', "wa"),
    ('r', "edft"),
    ('s', "awedxz"),
    ('t', "rfgy"),
    ('u', "yhji"),
    ('v', "cfgb"),
    ('w', "qase"),
    ('x', "zsdc"),
    ('y', "tghu"),
    ('z', "asx"),
];

/// Digits and signs that look like a letter.
const SIGNS: [(char, &str); 12] = [
    ('a', "4@"),
    ('b', "8"),
    ('e', "3"),
    ('g', "9"),
    ('i', "1!"),
    ('l', "1"),
    ('o', "0"),
    ('q', "9"),
    ('s', "5$"),
    ('t', "7+"),
    ('u', "v"),
    ('z', "2"),
];

/// Latin letters and the Cyrillic ones that are drawn alike.
const ALIKE: [(char, char); 32] = [
    ('a', '\u{430}'),
    ('c', '\u{441}'),
    ('d', '\u{501}'),
    ('e', '\u{435}'),
    ('h', '\u{4bb}'),
    ('i', '\u{456}'),
    ('j', '\u{458}'),
    ('l', '\u{4cf}'),
    ('o', '\u{43e}'),
    ('p', '\u{440}'),
    ('q', '\u{51b}'),
    ('s', '\u{455}'),
    ('w', '\u{51d}'),
    ('x', '\u{445}'),
    ('y', '\u{443}'),
    ('A', '\u{410}'),
    ('B', '\u{412}'),
    ('C', '\u{421}'),
    ('E', '\u{415}'),
    ('G', '\u{50c}'),
    ('H', '\u{41d}'),
    ('I', '\u{406}'),
    ('J', '\u{408}'),
    ('K', '\u{41a}'),
    ('M', '\u{41c}'),
    ('O', '\u{41e}'),
    ('P', '\u{420}'),
    ('S', '\u{405}'),
    ('T', '\u{422}'),
    ('W', '\u{51c}'),
    ('X', '\u{425}'),
    ('Y', '\u{4ae}'),
];

/// Zero-width space, non-joiner, joiner, word joiner, soft hyphen.
const UNSEEN: [char; 5] = ['\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{ad}'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edit_is_one_letter_away_and_keeps_the_ends() {
        for edits in [characters, homoglyphs, invisible] {
            for word in ["reading", "good", "Good", "at", "a", "\u{fc}ber"] {
                for made in edits(word) {
                    assert!(made != word && words::within_letters(word, &made, 1), "{word} {made}");
                }
            }
        }
        let made = characters("reading");
        assert!(made.iter().all(|made| made.starts_with('r') && made.ends_with('g')), "{made:?}");
        for wanted in ["raeding", "reding", "read1ng", "readding", "rea ding", "rexding"] {
            assert_eq!(made.contains(&wanted.to_owned()), wanted != "rexding", "{wanted}");
        }
        assert!(homoglyphs("xyz12").len() == 2 && homoglyphs("\u{4f60}").is_empty() && invisible("a").is_empty());
    }

    #[test]
    fn synonyms_are_single_words() {
        let list = Synonyms::parse("# own\n\nGood: fine, nice\ngood: great\nbad : poor").unwrap();
        assert_eq!(list.of("GOOD"), ["fine", "nice", "great"]);
        assert!(list.of("fine").is_empty() && !list.is_empty());
        for wrong in ["good fine", "good:", ": fine", "good: very fine", "good: fi-ne", "good: fine!"] {
            let error = Synonyms::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("line 1"), "{error}");
        }
    }
}
