//! Questions for names and our answers (RFC 1035, RFC 3596, RFC 6891).
//!
//! [`parse`] reads a message with exactly one question; [`answer`] writes what we say to it. Nothing is ever asked of a
//! real name server here: allowed names get an address of ours, others do not exist.
#![deny(clippy::indexing_slicing)]

use std::net::{Ipv4Addr, Ipv6Addr};

use super::policy::{LABEL_BYTES_MAX, NAME_BYTES_MAX};

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    id: [u8; 2],
    recursion: bool,
    /// The name in lower case, labels with dots between; bytes that are no letters, digits, `-` or `_` as `?`.
    pub(super) name: String,
    /// Whether the name has such bytes: then nothing can allow it.
    odd: bool,
    kind: u16,
    /// The question as it was asked.
    asked: Vec<u8>,
}

/// What is said to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The addresses that stand for an allowed name; IPv6 only where this kernel has it.
    Addresses(Ipv4Addr, Option<Ipv6Addr>),
    /// There is no such name.
    NoName,
}

impl Question {
    /// The name, if it could be a host's.
    pub(super) fn host(&self) -> Option<&str> {
        (!self.odd && !self.name.is_empty()).then_some(self.name.as_str())
    }
}

/// Reads a query. `None` for what is none, and gets no answer.
pub(super) fn parse(bytes: &[u8]) -> Option<Question> {
    let (head, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let [a, b, flags, _, high, low, answers_high, answers_low, ..] = *head;
    let is_query = flags & (RESPONSE | OPCODE_MASK | TRUNCATED) == 0;
    if !is_query || [high, low] != [0, 1] || [answers_high, answers_low] != [0, 0] {
        return None;
    }
    let (mut name, mut odd, mut at) = (String::new(), false, rest);
    loop {
        let (length, after) = at.split_first()?;
        let length = usize::from(*length);
        if length == 0 {
            at = after;
            break;
        }
        // Longer lengths are pointers, which a question has no use for.
        let (label, after) = after.split_at_checked(length).filter(|_| length <= LABEL_BYTES_MAX)?;
        if !name.is_empty() {
            name.push('.');
        }
        for byte in label {
            let plain = byte.is_ascii_alphanumeric() || [b'-', b'_'].contains(byte);
            odd |= !plain;
            name.push(if plain { byte.to_ascii_lowercase().into() } else { '?' });
        }
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        at = after;
    }
    let (&[kind_high, kind_low, _, class], rest_after) = at.split_first_chunk::<4>()?;
    if class != CLASS_INTERNET {
        return None;
    }
    let asked = rest.get(..rest.len() - rest_after.len())?.to_vec();
    let recursion = flags & RECURSION_DESIRED != 0;
    Some(Question { id: [a, b], recursion, name, odd, kind: u16::from_be_bytes([kind_high, kind_low]), asked })
}

/// Writes the answer to `question`. Other kinds than addresses get an empty one: so there is no service record that could
/// lead elsewhere, and no key for an encrypted ClientHello.
pub(super) fn answer(question: &Question, answer: Answer) -> Vec<u8> {
    let address: Option<Vec<u8>> = match (answer, question.kind) {
        (Answer::Addresses(v4, _), KIND_A) => Some(v4.octets().to_vec()),
        (Answer::Addresses(_, v6), KIND_AAAA) => v6.map(|v6| v6.octets().to_vec()),
        _ => None,
    };
    let code = if answer == Answer::NoName { NAME_ERROR } else { 0 };
    let desired = if question.recursion { RECURSION_DESIRED } else { 0 };
    let mut bytes = question.id.to_vec();
    bytes.extend([RESPONSE | AUTHORITATIVE | desired, RECURSION_AVAILABLE | code]);
    bytes.extend([0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    bytes.extend(&question.asked);
    if let Some(address) = address {
        bytes.extend(POINTER_TO_QUESTION);
        bytes.extend(question.kind.to_be_bytes());
        bytes.extend([0, CLASS_INTERNET]);
        bytes.extend(LIFE_S.to_be_bytes());
        bytes.extend([0, if question.kind == KIND_A { 4 } else { 16 }]);
        bytes.extend(address);
    }
    bytes
}

const HEADER_BYTES: usize = 12;
/// Longest query in bytes that is looked at; names are short.
pub(super) const QUERY_BYTES_MAX: usize = 1_232;
const RESPONSE: u8 = 0x80;
const OPCODE_MASK: u8 = 0x78;
const AUTHORITATIVE: u8 = 0x04;
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;
const RECURSION_AVAILABLE: u8 = 0x80;
/// "Name Error": the name does not exist.
const NAME_ERROR: u8 = 3;
const CLASS_INTERNET: u8 = 1;
const KIND_A: u16 = 1;
const KIND_AAAA: u16 = 28;
/// The name at the start of the question.
const POINTER_TO_QUESTION: [u8; 2] = [0xc0, 12];
/// How long an answer may be kept, in seconds: it never changes during a run.
const LIFE_S: u32 = 600;

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "what these tests build is short")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        // An option record, as most clients send.
        bytes.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn addresses_are_said_for_allowed_names() {
        let v4 = Ipv4Addr::new(198, 18, 1, 7);
        let v6 = "fd72::7".parse().ok();
        let question = parse(&query("Hub.Example.ORG", KIND_A)).unwrap();
        assert_eq!(question.host(), Some("hub.example.org"));
        let bytes = answer(&question, Answer::Addresses(v4, v6));
        assert_eq!(bytes[..12], [0xab, 0xcd, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert!(bytes.windows(3).any(|part| part == b"ORG") && bytes.ends_with(&[0, 4, 198, 18, 1, 7]));
        let question = parse(&query("hub.example.org", KIND_AAAA)).unwrap();
        assert!(answer(&question, Answer::Addresses(v4, v6)).ends_with(&v6.unwrap().octets()));
        assert_eq!(answer(&question, Answer::Addresses(v4, None))[6..8], [0, 0]);
        for kind in [64, 65, 16, 255] {
            let question = parse(&query("hub.example.org", kind)).unwrap();
            let bytes = answer(&question, Answer::Addresses(v4, v6));
            assert_eq!((bytes[3] & 15, &bytes[6..8]), (0, &[0, 0][..]), "kind {kind}");
        }
        assert_eq!(answer(&question, Answer::NoName)[3] & 15, NAME_ERROR);
    }

    #[test]
    fn what_is_no_plain_question_is_none() {
        let good = query("a.b", KIND_A);
        for end in 0..20 {
            assert_eq!(parse(&good[..end.min(good.len())]), None, "cut at {end}");
        }
        for (at, value) in [(2, 0x80), (2, 0x28), (2, 2), (5, 2), (5, 0), (7, 1), (12, 0xc0), (12, 64)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(parse(&bad), None, "byte {at} is {value}");
        }
        assert_eq!(parse(&query(&["a"; 128].join("."), KIND_A)), None);
        assert_eq!(parse(&query("a b.c", KIND_A)).unwrap().host(), None);
        assert_eq!(parse(&query("", KIND_A)).unwrap().host(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for plain in [false, true] {
                if plain && bytes.len() >= 12 {
                    bytes[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
                }
                if let Some(question) = parse(&bytes) {
                    prop_assert!(question.name.len() <= NAME_BYTES_MAX);
                    let said = answer(&question, Answer::Addresses(Ipv4Addr::LOCALHOST, None));
                    prop_assert!(said.len() <= bytes.len() + 16);
                }
            }
        }

        #[test]
        fn names_survive(name in "[a-z0-9_-]{1,63}(\\.[a-z0-9_-]{1,30}){0,5}") {
            let question = parse(&query(&name, KIND_A)).unwrap();
            prop_assert_eq!(question.host(), Some(name.as_str()));
        }
    }
}
