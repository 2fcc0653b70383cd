//! The words of a text, and how far two texts are apart.

use std::{collections::BTreeMap, ops::Range};

/// Where the words of `text` lie: runs of letters, digits and the marks on them, with single apostrophes inside; at most
/// [`WORDS_MAX`]. In writing without spaces a run may be a sentence.
pub(super) fn of(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut open: Option<Range<usize>> = None;
    let mut before: Option<char> = None;
    for (at, c) in text.char_indices() {
        let part = c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c);
        let next = text.get(at + c.len_utf8()..).and_then(|rest| rest.chars().next());
        let apostrophe = matches!(c, '\'' | '\u{2019}')
            && before.is_some_and(char::is_alphanumeric)
            && next.is_some_and(char::is_alphanumeric);
        match &mut open {
            Some(word) if part || apostrophe => word.end = at + c.len_utf8(),
            None if part => open = Some(at..at + c.len_utf8()),
            _ => found.extend(open.take()),
        }
        before = Some(c);
    }
    found.extend(open);
    found.truncate(WORDS_MAX);
    found
}

/// Whether all of `text` is one word.
pub(super) fn is_one(text: &str) -> bool {
    of(text).first().is_some_and(|range| *range == (0..text.len()))
}

/// `text` with some of its words, by their place in `words`, changed.
pub(super) fn with(text: &str, words: &[Range<usize>], changes: &BTreeMap<usize, String>) -> String {
    let mut made = String::with_capacity(text.len());
    let mut at = 0;
    for (place, change) in changes {
        let Some(range) = words.get(*place) else { continue };
        made.push_str(text.get(at..range.start).unwrap_or(""));
        made.push_str(change);
        at = range.end;
    }
    made.push_str(text.get(at..).unwrap_or(""));
    made
}

/// `with` in the letter case of `like`: all capitals, a capital first, or as it is.
pub(super) fn cased(with: &str, like: &str) -> String {
    let mut letters = like.chars().filter(|c| c.is_alphabetic());
    let first = letters.next().is_some_and(char::is_uppercase);
    let several = like.chars().filter(|c| c.is_alphabetic()).nth(1).is_some();
    if first && several && letters.all(char::is_uppercase) {
        return with.to_uppercase();
    }
    let mut rest = with.chars();
    match rest.next() {
        Some(head) if first => head.to_uppercase().chain(rest).collect(),
        _ => with.to_owned(),
    }
}

/// Whether at most `limit` insertions, deletions, exchanges of a character and swaps of neighbours lead from one text to the other
/// (optimal string alignment within a band: Damerau 1964, Ukkonen 1985).
pub(super) fn within_letters(a: &str, b: &str, limit: usize) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return false;
    }
    // Column `j` of row `i` is kept at `j + limit - i`; what lies outside the band is farther than the limit.
    let (width, far) = (2 * limit + 1, limit + 1);
    let mut rows = [vec![far; width], vec![far; width], vec![far; width]];
    for i in 0..=a.len() {
        rows.rotate_right(1);
        let [now, above, before] = &mut rows;
        now.fill(far);
        for j in i.saturating_sub(limit)..=(i + limit).min(b.len()) {
            let k = j + limit - i;
            let letters = i.checked_sub(1).zip(j.checked_sub(1)).map(|(i, j)| (a[i], b[j]));
            let mut least = if i == 0 { j } else { far };
            if i > 0 && k + 1 < width {
                least = least.min(above[k + 1] + 1);
            }
            if j > 0 && k > 0 {
                least = least.min(now[k - 1] + 1);
            }
            if let Some((from, to)) = letters {
                least = least.min(above[k] + usize::from(from != to));
            }
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[k] + 1);
            }
            now[k] = least.min(far);
        }
    }
    rows[0].get(b.len() + limit - a.len()).is_some_and(|distance| *distance <= limit)
}

/// Whether the texts differ in at most `limit` words, each of which became one other word, and in nothing else.
pub(super) fn within_words(a: &str, b: &str, limit: usize) -> bool {
    let (first, second) = (of(a), of(b));
    let at = |text: &str, range: &Range<usize>| text.get(range.clone()).unwrap_or("").to_owned();
    let differing = first.iter().zip(&second).filter(|(one, other)| at(a, one) != at(b, other)).count();
    first.len() == second.len() && differing <= limit && gaps(a, &first) == gaps(b, &second)
}

/// What lies between words.
fn gaps(text: &str, words: &[Range<usize>]) -> Vec<String> {
    let starts = std::iter::once(0).chain(words.iter().map(|range| range.end));
    let ends = words.iter().map(|range| range.start).chain([text.len()]);
    starts.zip(ends).map(|(start, end)| text.get(start..end).unwrap_or("").to_owned()).collect()
}

/// Words of a text that are looked at.
pub(super) const WORDS_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_and_changed_in_their_places() {
        let text = "It wasn't 'good', na\u{ef}ve e\u{301}: \u{4f60}\u{597d}!";
        let words = of(text);
        let found: Vec<&str> = words.iter().map(|range| &text[range.clone()]).collect();
        assert_eq!(found, ["It", "wasn't", "good", "na\u{ef}ve", "e\u{301}", "\u{4f60}\u{597d}"]);
        let changed = with(text, &words, &BTreeMap::from([(0, "That".into()), (2, "bad".into())]));
        assert!(changed.starts_with("That wasn't 'bad', na"), "{changed}");
        assert!(within_words(text, &changed, 2) && !within_words(text, &changed, 1));
        assert!(!within_words("one two", "one, two", 5));
        assert_eq!([cased("fine", "Good"), cased("fine", "GOOD"), cased("fine", "I")], ["Fine", "FINE", "Fine"]);
    }

    #[test]
    fn letters_are_counted_as_the_full_table_counts_them() {
        // The same without a band.
        fn full(a: &[char], b: &[char]) -> usize {
            let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
            for i in 0..=a.len() {
                for j in 0..=b.len() {
                    let mut least = if i == 0 || j == 0 { i + j } else { usize::MAX };
                    if i > 0 && j > 0 {
                        least = (table[i - 1][j].min(table[i][j - 1]) + 1)
                            .min(table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]));
                    }
                    if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        least = least.min(table[i - 2][j - 2] + 1);
                    }
                    table[i][j] = least;
                }
            }
            table[a.len()][b.len()]
        }
        let mut random = ringfence_nn::random::Random::new(5);
        for _ in 0..2_000 {
            let mut word = || (0..random.below(7)).map(|_| ['a', 'b', 'c'][random.below(3)]).collect::<String>();
            let (a, b) = (word(), word());
            let distance = full(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
            for limit in 0..5 {
                assert_eq!(within_letters(&a, &b, limit), distance <= limit, "{a} {b} {limit}");
            }
        }
    }
}
