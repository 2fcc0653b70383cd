//! Showing the trail to witnesses (C2SP tlog-witness, the log's side): the newest checkpoint, and why it continues what each of
//! them saw before. Whoever rewrites or cuts the trail, with the log's own key in hand, cannot make them sign it.
//!
//! Checkpoints and entries' hashes are in clear, so no key is needed. The trail does not wait for witnesses: what is decided and
//! done goes on when they are out of reach, and is shown to them later. Asking is not an entry itself: each would make the next
//! one necessary.

use std::{sync::Mutex, thread};

use ringfence_catalog::{CatalogError, Problem};
use ringfence_reach::WitnessReply;
use ringfence_schema::{Digest, Timestamp, finding::printable};
use ringfence_trust::{
    checkpoint::Checkpoint,
    merkle,
    note::{Note, SignatureLine},
    root::TrustRoot,
    witness::{AddCheckpoint, Answer, PROOF_LINES_MAX, Policy, PolicyWitness},
};
use serde::Serialize;

use super::cosigned::{self, POLICY_FILE, moment_of, read_policy, shown_name};
use crate::{
    error::EngineError,
    settings::Settings,
    vault::{catalog_error, open_keyless, open_pins, pin_error},
};

/// Questions to one witness: a guess, the size that it answers with, and once more if another process was quicker.
const QUESTIONS_MAX: usize = 3;
/// Rounds, where the trail grew meanwhile and a witness saw more of it already.
const ROUNDS_MAX: usize = 3;
/// Longest reason that is shown, in characters.
const WHY_CHARS_MAX: usize = 200;

/// What came of showing the trail to its witnesses.
#[derive(Debug, Clone, Serialize)]
pub struct Witnessing {
    /// Entries of the checkpoint that they were shown.
    pub entries: u64,
    /// Its root.
    pub root: Digest,
    /// Whether enough of them have cosigned it, now or before.
    pub met: bool,
    /// Each witness, in the order of the policy.
    pub witnesses: Vec<AskedWitness>,
    /// The checkpoint with all its cosignatures.
    #[serde(skip)]
    pub(super) note: Note,
}

/// What one witness said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AskedWitness {
    /// Its name in the policy.
    pub name: String,
    /// What it said.
    #[serde(flatten)]
    pub said: Said,
}

/// What a witness said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Said {
    /// It cosigned.
    Cosigned {
        /// When, by its clock.
        at: Timestamp,
    },
    /// The policy does not say where it is.
    NoAddress,
    /// It could not be reached, or did not answer in time.
    Unreachable {
        /// Why.
        why: String,
    },
    /// It answered, and did not cosign.
    Refused {
        /// Why.
        why: String,
    },
    /// It cosigned a longer trail of this vault before.
    RolledBack {
        /// How many entries that one had.
        entries: u64,
    },
    /// It cosigned another trail of this vault before.
    Forked {
        /// How many entries that one had.
        entries: u64,
    },
}

impl Witnessing {
    /// What it comes to.
    ///
    /// # Errors
    /// [`EngineError::Tampered`] where a witness saw another history, [`EngineError::Incomplete`] where too few cosigned.
    pub fn verdict(&self) -> Result<(), EngineError> {
        for witness in &self.witnesses {
            let problem = match witness.said {
                Said::RolledBack { entries } => Problem::RolledBack { size: self.entries, held: entries },
                Said::Forked { entries } => Problem::Forked { held: entries },
                _ => continue,
            };
            return Err(EngineError::tampered("trail", format!("{problem} (says witness `{}`)", witness.name)));
        }
        if self.met {
            return Ok(());
        }
        let count = self.witnesses.iter().filter(|witness| matches!(witness.said, Said::Cosigned { .. })).count();
        let all = self.witnesses.len();
        Err(EngineError::incomplete(
            "witnesses",
            format!(
                "{count} of {all} cosigned, which is not enough for `{POLICY_FILE}`; the trail goes on without them"
            ),
        ))
    }
}

/// Shows the newest checkpoint of the vault in `settings.vault` to the witnesses of `witnesses.policy`, all at once, and keeps
/// what they cosign. Needs no key.
///
/// # Errors
/// [`EngineError::NotFound`] without a policy, [`EngineError::Plan`] for one that is wrong, [`EngineError::Tampered`] where the
/// trail contradicts itself or the pinned checkpoint before anybody is asked. What witnesses say is in the result.
pub fn witness(settings: &Settings<'_>) -> Result<Witnessing, EngineError> {
    let path = settings.config.join(POLICY_FILE);
    if !path.exists() {
        return Err(EngineError::NotFound { what: "policy of witnesses", name: path.display().to_string() });
    }
    let policy = read_policy(&path)?;
    let mut round = 1;
    loop {
        let shown = Shown::newest(settings)?;
        let done = shown.ask_all(settings, &policy)?;
        let ahead = done.witnesses.iter().any(|witness| matches!(witness.said, Said::RolledBack { .. }));
        // Another process may have added entries and shown them first; then the trail here has them, too, by now.
        if !ahead || round == ROUNDS_MAX || Shown::newest(settings)?.checkpoint.size == shown.checkpoint.size {
            return Ok(done);
        }
        round += 1;
    }
}

/// The newest checkpoint, and all that proofs are made of.
struct Shown {
    trust: TrustRoot,
    note: Note,
    checkpoint: Checkpoint,
    leaves: Vec<Digest>,
}

impl Shown {
    /// Reads the trail, which must lead to its own signed root by way of the pinned one.
    fn newest(settings: &Settings<'_>) -> Result<Self, EngineError> {
        let (catalog, trust) = open_keyless(settings)?;
        let held = open_pins(settings)?.checkpoint(trust.vault()).map_err(|error| pin_error(&error))?;
        let tampered = |detail: String| EngineError::tampered("trail", detail);
        let text = catalog
            .read(|view| view.newest_note())
            .map_err(|error: CatalogError| catalog_error(&error))?
            .ok_or_else(|| EngineError::incomplete("trail", "no entries"))?;
        let (checkpoint, note) = trust.verify_cosigned(text.as_bytes()).map_err(|error| tampered(error.to_string()))?;
        let size = checkpoint.size;
        let leaves =
            catalog.read(|view| view.leaf_hashes(size)).map_err(|error: CatalogError| catalog_error(&error))?;
        if merkle::root_of(&leaves) != checkpoint.root {
            return Err(tampered("its entries do not lead to the signed root".to_owned()));
        }
        if let Some(held) = held {
            let before = usize::try_from(held.size).ok().and_then(|size| leaves.get(..size));
            let problem = match before {
                None => Some(Problem::RolledBack { size, held: held.size }),
                Some(before) if merkle::root_of(before) != held.root => Some(Problem::Forked { held: held.size }),
                Some(_) => None,
            };
            if let Some(problem) = problem {
                return Err(tampered(problem.to_string()));
            }
        }
        Ok(Self { trust, note, checkpoint, leaves })
    }

    fn ask_all(&self, settings: &Settings<'_>, policy: &Policy) -> Result<Witnessing, EngineError> {
        let known = cosigned::kept(settings, &self.trust).ok().flatten();
        let lines = Mutex::new(Vec::new());
        // All at once: one that is slow or gone must not make the others wait.
        let witnesses = thread::scope(|scope| {
            let ask = |witness| {
                let (lines, known) = (&lines, known.as_ref());
                scope.spawn(move || {
                    let (said, line) = self.ask(settings, witness, known);
                    if let (Some(line), Ok(mut lines)) = (line, lines.lock()) {
                        lines.push(line);
                    }
                    AskedWitness { name: shown_name(witness), said }
                })
            };
            let asked: Vec<_> = policy.witnesses().iter().map(ask).collect();
            asked.into_iter().map(|one| one.join().map_err(|_| EngineError::Interrupted)).collect::<Result<Vec<_>, _>>()
        })?;
        let mut note = self.note.clone();
        note.merge(lines.into_inner().unwrap_or_default());
        let note = cosigned::keep(settings, &self.trust, policy, note)?;
        let met = policy.satisfied(&note).met;
        Ok(Witnessing { entries: self.checkpoint.size, root: self.checkpoint.root, met, witnesses, note })
    }

    /// Asks one witness until it cosigns or says why not.
    fn ask(
        &self,
        settings: &Settings<'_>,
        witness: &PolicyWitness,
        known: Option<&(Checkpoint, Note)>,
    ) -> (Said, Option<SignatureLine>) {
        let refused = |why: &str| (Said::Refused { why: why.to_owned() }, None);
        let Some(url) = &witness.url else { return (Said::NoAddress, None) };
        let size = self.checkpoint.size;
        let cosigned =
            |(_, note): &&(Checkpoint, Note)| note.lines().iter().any(|line| witness.key.verify(note, line).is_ok());
        let mut old = known.filter(cosigned).map_or(0, |(seen, _)| seen.size.min(size));
        for _ in 0..QUESTIONS_MAX {
            let proof = merkle::consistency_proof(&self.leaves, old).unwrap_or_default();
            if proof.len() > PROOF_LINES_MAX {
                return refused("the proof has more hashes than witnesses take");
            }
            let body = AddCheckpoint { old_size: old, proof, note: self.note.clone() }.to_string();
            let reply = (settings.reach)().and_then(|reach| reach.ask_witness(url, body.as_bytes()));
            let reply: WitnessReply = match reply {
                Ok(reply) => reply,
                Err(error) => {
                    return (Said::Unreachable { why: printable(&error.to_string(), WHY_CHARS_MAX) }, None);
                }
            };
            let answer = match Answer::read(reply.status, &reply.content_type, &reply.body) {
                Ok(answer) => answer,
                Err(error) => return refused(&error.to_string()),
            };
            match answer {
                Answer::Cosigned(lines) => return self.accept(witness, &lines),
                Answer::Conflict { size: seen } if seen > size => return (Said::RolledBack { entries: seen }, None),
                // The same number of entries, and still a conflict: other entries.
                Answer::Conflict { size: seen } if seen == old && old == size => {
                    return (Said::Forked { entries: seen }, None);
                }
                Answer::Conflict { size: seen } if seen != old => old = seen,
                Answer::Conflict { .. } => return refused("it contradicts itself about what it saw"),
                Answer::Inconsistent => return (Said::Forked { entries: old }, None),
                Answer::UnknownLog => {
                    return refused(
                        "it does not know this log: give its operator the trust root (`ringfence show root`)",
                    );
                }
                Answer::Unsigned => {
                    return refused("it knows other keys of this log: give its operator the newest trust root");
                }
                Answer::Other { status } => return refused(&format!("it answered with status {status}")),
            }
        }
        refused("others show it this trail at the same time")
    }

    /// Takes the line of this witness out of its answer; what is not by its key is ignored.
    fn accept(&self, witness: &PolicyWitness, lines: &[SignatureLine]) -> (Said, Option<SignatureLine>) {
        for line in lines {
            if let Ok(Some(time_s)) = witness.key.verify(&self.note, line) {
                return (Said::Cosigned { at: moment_of(time_s) }, Some(line.clone()));
            }
        }
        (Said::Refused { why: "its answer has no cosignature that holds by the key of the policy".to_owned() }, None)
    }
}
