//! Whose cosignatures a reader wants (C2SP tlog-policy): logs, witnesses, groups of them, and a quorum.
//!
//! ```text
//! witness ana ana.example/w1+1ea3c0d7+BLk… https://ana.example/w1
//! witness ben ben.example/w1+7e2b9f04+BKp… https://ben.example/w1
//! witness cat cat.example/w1+90c4d1aa+BH8…
//! group two-of-three 2 ana ben cat
//! quorum two-of-three
//! ```
//!
//! A group names only what stands above it, and each name is a member once, so a policy is counted in one pass without
//! recursion, and no witness counts twice.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    note::Note,
    vkey::{VKEY_BYTES_MAX, VerifierKey},
};

/// Largest policy in bytes.
pub const POLICY_BYTES_MAX: usize = 256 << 10;
/// Most logs of one policy.
pub const LOGS_MAX: usize = 64;
/// Most witnesses of one policy.
pub const WITNESSES_MAX: usize = 64;
/// Most groups of one policy.
pub const GROUPS_MAX: usize = 64;
/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Longest address in bytes.
const URL_BYTES_MAX: usize = 2_048;
/// The quorum that asks for nobody.
const NONE: &[u8] = b"none";

/// Why bytes are no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct PolicyError {
    /// The line, counted from 1; the last one where something is missing.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<VerifierKey>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    quorum: Quorum,
}

/// A witness of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWitness {
    name: Vec<u8>,
    /// The key of its cosignatures.
    pub key: VerifierKey,
    /// Where it is asked, without `/add-checkpoint`.
    pub url: Option<String>,
}

impl PolicyWitness {
    /// What the policy calls it; names may be any bytes, so what is no UTF-8 is replaced.
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }
}

/// `threshold` of `members`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    threshold: usize,
    members: Vec<Voter>,
}

/// A witness or a group, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Voter {
    Witness(usize),
    Group(usize),
}

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quorum {
    /// Nobody is asked for.
    None,
    Of(Voter),
}

/// What a policy says of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Witnesses by their place in the policy, with the moment of their cosignature in seconds since 1970.
    pub cosigned: Vec<(usize, u64)>,
    /// Witnesses in whose name there is a line that does not hold: somebody changed it, or the text.
    pub broken: Vec<usize>,
    /// Whether enough witnesses cosigned.
    pub met: bool,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`], with its line.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let mut reader = Reader::default();
        let mut line = 0;
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyError { line: 1, what: "the policy is larger than 256 KiB" });
        }
        for text in bytes.split(|byte| *byte == b'\n') {
            line += 1;
            reader.line(text).map_err(|what| PolicyError { line, what })?;
        }
        let Reader { logs, witnesses, groups, quorum, .. } = reader;
        let quorum = quorum.ok_or(PolicyError { line, what: "there is no `quorum` line" })?;
        Ok(Self { logs, witnesses, groups, quorum })
    }

    /// The logs that it is about; where there is none, the reader knows which log it means.
    pub fn logs(&self) -> &[VerifierKey] {
        &self.logs
    }

    /// The witnesses, in the order of the file.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Whether it asks for anybody at all.
    pub fn asks(&self) -> bool {
        self.quorum != Quorum::None
    }

    /// Counts the cosignatures of `note`. Lines by others are ignored.
    pub fn satisfied(&self, note: &Note) -> Tally {
        let (mut cosigned, mut broken) = (Vec::new(), Vec::new());
        for (place, witness) in self.witnesses.iter().enumerate() {
            let claimed = note.lines().iter().filter(|line| witness.key.claims(line));
            let checked: Vec<_> = claimed.map(|line| witness.key.verify(note, line)).collect();
            // Several lines by one key are one vote, of the latest moment.
            cosigned
                .extend(checked.iter().filter_map(|it| it.as_ref().ok()).flatten().max().map(|time| (place, *time)));
            if checked.iter().any(Result::is_err) {
                broken.push(place);
            }
        }
        let met = self.count(&cosigned);
        Tally { cosigned, broken, met }
    }

    fn count(&self, cosigned: &[(usize, u64)]) -> bool {
        // A group's members stand above it.
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        let votes = |voter: &Voter, groups: &[bool]| match voter {
            Voter::Witness(place) => cosigned.iter().any(|(witness, _)| witness == place),
            Voter::Group(place) => groups.get(*place).copied().unwrap_or(false),
        };
        for group in &self.groups {
            let count = group.members.iter().filter(|member| votes(member, &groups)).count();
            groups.push(count >= group.threshold);
        }
        match &self.quorum {
            Quorum::None => true,
            Quorum::Of(voter) => votes(voter, &groups),
        }
    }
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    logs: Vec<VerifierKey>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    /// Witnesses and groups by name, and whether they are members of a group already.
    names: BTreeMap<Vec<u8>, (Voter, bool)>,
    quorum: Option<Quorum>,
}

impl Reader {
    fn line(&mut self, text: &[u8]) -> Result<(), &'static str> {
        if text.iter().any(|byte| (byte.is_ascii_control() && *byte != b'\t') || *byte == 0x7f) {
            return Err("a control character");
        }
        let words: Vec<&[u8]> =
            text.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", key] => self.log(key, None),
            [b"log", key, url] => self.log(key, Some(url)),
            [b"witness", name, key] => self.witness(name, key, None),
            [b"witness", name, key, url] => self.witness(name, key, Some(url)),
            [b"group", name, threshold, members @ ..] => self.group(name, threshold, members),
            [b"quorum", name] => self.quorum(name),
            [b"log" | b"witness" | b"group" | b"quorum", ..] => Err("too few or too many words"),
            _ => Err("not a `log`, `witness`, `group` or `quorum` line"),
        }
    }

    fn log(&mut self, key: &[u8], url: Option<&[u8]>) -> Result<(), &'static str> {
        let key = vkey(key)?;
        url.map(address).transpose()?;
        if !key.algorithm().is_logs() {
            return Err("not a key that signs for a log");
        }
        if self.logs.iter().any(|known| known.public() == key.public()) {
            return Err("the key of a log that stands above");
        }
        if self.logs.len() == LOGS_MAX {
            return Err("more than 64 logs");
        }
        self.logs.push(key);
        Ok(())
    }

    fn witness(&mut self, name: &[u8], key: &[u8], url: Option<&[u8]>) -> Result<(), &'static str> {
        let (key, url) = (vkey(key)?, url.map(address).transpose()?);
        if !key.algorithm().is_witnesses() {
            return Err("not a key that signs for a witness");
        }
        if self.witnesses.iter().any(|known| known.key.public() == key.public()) {
            return Err("the key of a witness that stands above");
        }
        if self.witnesses.len() == WITNESSES_MAX {
            return Err("more than 64 witnesses");
        }
        self.define(name, Voter::Witness(self.witnesses.len()))?;
        self.witnesses.push(PolicyWitness { name: name.to_vec(), key, url });
        Ok(())
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], members: &[&[u8]]) -> Result<(), &'static str> {
        if members.is_empty() {
            return Err("a group without members");
        }
        if self.groups.len() == GROUPS_MAX {
            return Err("more than 64 groups");
        }
        let threshold = match threshold {
            b"any" => 1,
            b"all" => members.len(),
            number => decimal(number).ok_or("not `any`, `all` or a number")?,
        };
        if !(1..=members.len()).contains(&threshold) {
            return Err("the number does not fit the members");
        }
        let mut voters = Vec::with_capacity(members.len().min(WITNESSES_MAX + GROUPS_MAX));
        for member in members {
            let (voter, used) = self.names.get_mut(*member).ok_or("a member that does not stand above")?;
            if *used {
                return Err("a member that is a member already");
            }
            *used = true;
            voters.push(*voter);
        }
        self.define(name, Voter::Group(self.groups.len()))?;
        self.groups.push(Group { threshold, members: voters });
        Ok(())
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), &'static str> {
        let quorum = match self.names.get(name) {
            _ if name == NONE => Quorum::None,
            Some((voter, _)) => Quorum::Of(*voter),
            None => return Err("a quorum that does not stand above"),
        };
        if self.quorum.is_some() {
            return Err("a second `quorum` line");
        }
        self.quorum = Some(quorum);
        Ok(())
    }

    fn define(&mut self, name: &[u8], voter: Voter) -> Result<(), &'static str> {
        if name == NONE {
            return Err("`none` is no name");
        }
        if name.len() > NAME_BYTES_MAX {
            return Err("a name of more than 255 bytes");
        }
        if self.names.contains_key(name) {
            return Err("a name that stands above");
        }
        self.names.insert(name.to_vec(), (voter, false));
        Ok(())
    }
}

fn vkey(word: &[u8]) -> Result<VerifierKey, &'static str> {
    let text = std::str::from_utf8(word).ok().filter(|text| text.len() <= VKEY_BYTES_MAX);
    text.and_then(|text| text.parse().ok()).ok_or("not a verifier key of Ed25519 or ML-DSA-44")
}

/// An address is somebody else's to judge; here it is text of a bounded length.
fn address(word: &[u8]) -> Result<String, &'static str> {
    let text = std::str::from_utf8(word).ok().filter(|text| text.len() <= URL_BYTES_MAX);
    text.map(str::to_owned).ok_or("an address that is too long, or not UTF-8")
}

fn decimal(word: &[u8]) -> Option<usize> {
    let digits = word.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(word).ok().filter(|_| digits)?.parse().ok()
}
