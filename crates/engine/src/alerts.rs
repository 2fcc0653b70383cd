//! Alerts: filed in the trail, queued for the sinks in the same transaction, delivered, acknowledged.
//!
//! * [`Vault::raise`] files alerts; an alert whose id is in the trail already is the same matter and is not filed again.
//! * [`Vault::alerts`] lists them; [`Vault::acknowledge`] says that somebody deals with one.
//! * `deliver`: [`Vault::deliver`] and the background [`Vault::dispatching`]; `refusal`: what a sink refuses for good;
//!   `sinks`: which there are and how they do.
//!
//! What must stay true: an alert is in the trail if and only if it is on its way to every sink that wants it; it keeps its id
//! however often it is sent; an unreadable configuration of sinks loses nothing, because the queues that exist are fed then.
//!
//! Absent on purpose: detection, grouping and suppression, which are `watch`'s.

mod deliver;
mod refusal;
mod sinks;

use std::collections::{BTreeMap, BTreeSet};

use ringfence_access::{Action, Facts, Resource};
use ringfence_catalog::{
    CatalogError, Table, Tx,
    outbox::{ALERT_COMMIT, AlertRow, Aside},
};
use ringfence_schema::{
    Digest, Severity, Timestamp,
    alert::{Alert, Subject},
    canon,
    finding::printable,
};
use ringfence_trust::{entropy::SystemEntropy, seal};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    act::{Act, Effect, Failure, Filed, FiledAt, Move, Reach},
    bundle::canonical,
    error::EngineError,
    team::PersonId,
    vault::{Vault, catalog_error},
};

pub use deliver::{ASKED_MS_MAX, BACKOFF_MS_MAX, BACKOFF_MS_MIN, Delivered, SinkPass, SinkPassEnd};
pub use refusal::{REFUSALS_MAX, REFUSED_MS_MAX};
pub(crate) use sinks::Desk;
pub use sinks::{SINKS_FILE, SetAside, SinkStatus};

/// Most alerts in one entry of the trail.
pub const ALERTS_PER_ENTRY_MAX: usize = 32;
/// Most alerts that one call lists.
pub const ALERTS_LISTED_MAX: usize = 10_000;
/// Longest sentence of an alert, or reason of an acknowledgement, in bytes.
const SENTENCE_BYTES_MAX: usize = 1_024;
/// Longest name in an alert in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Alerts that are looked up at a time.
const PAGE: usize = 256;
/// Attempts to file alerts that another process files at the same time.
const RACES_MAX: u32 = 4;

/// An alert to be filed.
struct News {
    alert: Alert,
    /// It is in the trail already, as less bad.
    is_graver: bool,
}

/// What became of alerts that were raised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Raised {
    /// Those that were new, in order.
    pub filed: Vec<Digest>,
    /// How many were in the trail already.
    pub known: u64,
    /// The entries that hold the new ones.
    pub entries: Vec<u64>,
}

/// Which alerts to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// Only those in this state.
    pub state: Option<AlertState>,
    /// Only those at least this bad.
    pub min_severity: Option<Severity>,
    /// Only those about this.
    pub subject: Option<Subject>,
    /// Only those that were raised at this moment or later.
    pub since: Option<Timestamp>,
    /// At most so many, the newest; [`ALERTS_LISTED_MAX`] when absent.
    pub limit: Option<usize>,
}

/// How it stands with an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Nobody has said that they deal with it, or the time for which they said so is over.
    Open,
    /// Somebody deals with it.
    Acknowledged,
}

/// Somebody's word that they deal with an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// Which alert.
    pub id: Digest,
    /// Opaque id of who said so.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why it is no reason to act any more.
    pub reason: String,
    /// Until when that holds; for good when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How bad it was then: if it gets worse, it is open again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<Severity>,
}

/// An alert as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownAlert {
    /// The alert.
    #[serde(flatten)]
    pub alert: Alert,
    /// The trail's entry that holds it.
    pub entry: u64,
    /// How it stands.
    pub state: AlertState,
    /// The last acknowledgement, also if its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
}

impl Vault<'_> {
    /// Files `alerts` in the trail and queues them for every sink that wants them, at most [`ALERTS_PER_ENTRY_MAX`] in one
    /// entry. What is filed already is filed again, under the same id, only if it has become worse. What was filed before an
    /// error stays filed. Text beyond its limit is cut.
    pub fn raise(&self, alerts: &[Alert]) -> Result<Raised, EngineError> {
        let mut raised = Raised::default();
        for chunk in alerts.chunks(ALERTS_PER_ENTRY_MAX) {
            self.raise_chunk(chunk, &mut raised)?;
        }
        if !raised.filed.is_empty() {
            self.desk.wake();
        }
        Ok(raised)
    }

    fn raise_chunk(&self, chunk: &[Alert], raised: &mut Raised) -> Result<(), EngineError> {
        for race in 1.. {
            let new = self.unknown(chunk)?;
            let known = (chunk.len() - new.len()) as u64;
            if new.is_empty() {
                raised.known += known;
                return Ok(());
            }
            match self.file(&new, None) {
                Ok(index) => {
                    raised.known += known;
                    raised.entries.push(index);
                    raised.filed.extend(new.iter().map(|news| news.alert.id));
                    return Ok(());
                }
                // Another process was quicker with one of them.
                Err(_) if race < RACES_MAX && self.unknown(chunk)?.len() < new.len() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How bad the trail says that an alert is, at the worst, if it is there.
    fn filed_severity(&self, id: Digest) -> Result<Option<Severity>, EngineError> {
        let keys = Severity::ALL.iter().rev().map(|severity| self.row_key(&format!("alert {id} {severity}")));
        for key in keys.chain([self.alert_key(id)]) {
            let read = self.catalog.read(|view| view.alert(&key));
            if let Some(row) = read.map_err(|error: CatalogError| catalog_error(&error))? {
                return Ok(self.open_alerts(&[row])?.first().map(|(_, alert)| alert.severity));
            }
        }
        Ok(None)
    }

    /// Those that are not in the trail, or there as less bad than now, each once, made to fit.
    fn unknown(&self, alerts: &[Alert]) -> Result<Vec<News>, EngineError> {
        let mut seen = BTreeSet::new();
        let mut new = Vec::new();
        for alert in alerts.iter().filter(|alert| seen.insert(alert.id)) {
            let filed = self.filed_severity(alert.id)?;
            if filed.is_none_or(|filed| filed < alert.severity) {
                new.push(News { alert: fit(alert), is_graver: filed.is_some() });
            }
        }
        Ok(new)
    }

    /// Whether `alert` is not in the trail yet, or there as less bad.
    pub(crate) fn is_news(&self, alert: &Alert) -> Result<bool, EngineError> {
        Ok(self.filed_severity(alert.id)?.is_none_or(|filed| filed < alert.severity))
    }

    /// Files `alert` and, in the same transaction, ends every session and token of `person`. Nothing is done about an alert
    /// that is in the trail already and no worse.
    pub(crate) fn raise_revoking(&self, alert: &Alert, person: &PersonId) -> Result<(), EngineError> {
        if let [new] = self.unknown(std::slice::from_ref(alert))?.as_slice() {
            self.file(std::slice::from_ref(new), Some(person))?;
            self.desk.wake();
        }
        Ok(())
    }

    fn file(&self, alerts: &[News], revoked: Option<&PersonId>) -> Result<u64, EngineError> {
        let told: Vec<_> = alerts
            .iter()
            .map(|News { alert, .. }| {
                json!({"id": alert.id, "rule": alert.rule, "subject": alert.subject, "message": alert.message})
            })
            .collect();
        let subject = match alerts {
            [News { alert: one, .. }] => format!("{} at {} {}", one.kind, one.subject.kind.name(), one.subject.name),
            many => format!("{} alerts", many.len()),
        };
        let act = Act {
            action: Action::Raise,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: match revoked {
                Some(person) => json!({"alerts": told, "revoke": person}),
                None => json!({"alerts": told}),
            },
            subject,
            reach: Reach::Inside,
        };
        let ((), index) = self.act(act, || {
            let mut effect = Effect::of(());
            if let Some(person) = revoked {
                let members = self.members()?;
                let ended = self.end_all(&members, person, &mut effect);
                effect.openings.insert("result".to_owned(), json!({"person": person, "ended": ended}));
            }
            for (number, News { alert, is_graver }) in alerts.iter().enumerate() {
                let name = format!("{ALERT_COMMIT}{number:02}");
                effect.openings.insert(name.clone(), json!(alert));
                effect.filed.push(Filed {
                    key: if *is_graver { self.graver_key(alert) } else { self.alert_key(alert.id) },
                    bytes: canonical(alert)?,
                    place: FiledAt::Here(name),
                    sinks: self.sinks_for(alert.severity)?,
                });
            }
            Ok(effect)
        })?;
        Ok(index)
    }

    /// Files one alert with the outcome of another act, and queues it for every sink that wants it.
    pub(crate) fn file_with<T>(&self, effect: &mut Effect<T>, alert: &Alert) -> Result<(), EngineError> {
        let name = format!("{ALERT_COMMIT}00");
        effect.openings.insert(name.clone(), json!(alert));
        effect.filed.push(Filed {
            key: self.alert_key(alert.id),
            bytes: canonical(alert)?,
            place: FiledAt::Here(name),
            sinks: self.sinks_for(alert.severity)?,
        });
        Ok(())
    }

    /// Within the outcome's transaction: lists and queues alerts, and moves cursors.
    pub(crate) fn queue(&self, tx: &mut Tx<'_>, index: u64, filed: &[Filed], moves: &[Move]) -> Result<(), Failure> {
        for alert in filed {
            let entry = match &alert.place {
                FiledAt::Here(name) => {
                    tx.file_alert(&alert.key, index, name)?;
                    index
                }
                FiledAt::Earlier(entry) => *entry,
            };
            for sink in &alert.sinks {
                tx.enqueue(sink, &alert.key, entry, |seq| {
                    let number = seq.to_be_bytes();
                    let context = queue_context(sink, &number, &alert.key);
                    let sealed = seal::seal_blob(&self.keys.detail, &mut SystemEntropy::new(), &context, &alert.bytes);
                    sealed.map_err(|error| Failure::Engine(EngineError::incomplete("outbox", error)))
                })?;
            }
        }
        for change in moves {
            match change {
                Move::Delivered(sink, up_to) => tx.delivered(sink, *up_to)?,
                Move::Failed(sink, due, said) => tx.failed(sink, *due, &self.seal_said(sink, said)?)?,
                Move::Refused(sink, seq, at) => {
                    tx.refused(sink, *seq, *at)?;
                }
                Move::SetAside(sink, aside, said) => {
                    tx.set_aside(sink, &Aside { said: self.seal_said(sink, said)?, ..aside.clone() })?;
                }
                Move::TakenBack(sink, first, last) => {
                    tx.take_back(sink, *first, *last)?;
                }
                Move::Forgotten(sink) => {
                    tx.forget_sink(sink)?;
                }
            }
        }
        Ok(())
    }

    /// The alert in a queue's record.
    fn unseal_queued(&self, sink: &str, seq: u64, key: &[u8], sealed: &[u8]) -> Result<Alert, EngineError> {
        let tampered =
            |detail: String| EngineError::tampered(format!("record {seq} of the queue for `{sink}`"), detail);
        let bytes = seal::open_blob(&self.keys.detail, &queue_context(sink, &seq.to_be_bytes(), key), sealed)
            .map_err(|error| tampered(error.to_string()))?;
        canon::from_canonical(&bytes).map_err(|error| tampered(error.to_string()))
    }

    fn seal_said(&self, sink: &str, said: &str) -> Result<Vec<u8>, Failure> {
        let context = said_context(sink);
        let sealed = seal::seal_blob(&self.keys.detail, &mut SystemEntropy::new(), &context, said.as_bytes());
        sealed.map_err(|error| Failure::Engine(EngineError::incomplete("outbox", error)))
    }

    /// What a sink said when it failed or refused.
    fn unseal_said(&self, sink: &str, sealed: &[u8]) -> Result<String, EngineError> {
        let bytes = seal::open_blob(&self.keys.detail, &said_context(sink), sealed)
            .map_err(|error| EngineError::tampered(format!("state of sink `{sink}`"), error))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Opaque key of an alert in the catalog.
    fn alert_key(&self, id: Digest) -> Vec<u8> {
        self.row_key(&format!("alert {id}"))
    }

    /// The key of what it is filed as when it has become worse.
    fn graver_key(&self, alert: &Alert) -> Vec<u8> {
        self.row_key(&format!("alert {} {}", alert.id, alert.severity))
    }

    /// The alerts that `filter` wants, newest first; each once, as the worst that it became.
    pub fn alerts(&self, filter: &AlertFilter) -> Result<Vec<ShownAlert>, EngineError> {
        let acknowledged = self.acknowledgements()?;
        let (now, limit) = ((self.settings.now)(), filter.limit.unwrap_or(ALERTS_LISTED_MAX).min(ALERTS_LISTED_MAX));
        let (mut shown, mut seen) = (Vec::new(), BTreeSet::new());
        let mut below = u64::MAX;
        while shown.len() < limit {
            let page = self
                .catalog
                .read(|view| view.alerts(below, PAGE))
                .map_err(|error: CatalogError| catalog_error(&error))?;
            let Some(last) = page.last() else { break };
            below = last.entry;
            for (row, alert) in self.open_alerts(&page)? {
                if !seen.insert(alert.id) {
                    continue;
                }
                let acknowledged = acknowledged.get(&alert.id).cloned();
                let holds = acknowledged.as_ref().is_some_and(|ack| {
                    ack.until.is_none_or(|until| until > now) && ack.up_to.is_none_or(|worst| alert.severity <= worst)
                });
                let state = if holds { AlertState::Acknowledged } else { AlertState::Open };
                let alert = ShownAlert { alert, entry: row.entry, state, acknowledged };
                if filter.wants(&alert) {
                    shown.push(alert);
                }
            }
        }
        shown.truncate(limit);
        Ok(shown)
    }

    /// The alerts behind rows of the index, as the trail's entries hold them.
    fn open_alerts<'r>(&self, rows: &'r [AlertRow]) -> Result<Vec<(&'r AlertRow, Alert)>, EngineError> {
        let mut opened = Vec::with_capacity(rows.len());
        let mut last = None;
        for row in rows {
            let openings = match last.take() {
                Some((entry, openings)) if entry == row.entry => openings,
                _ => self.openings(row.entry)?,
            };
            let what = || format!("trail entry {}", row.entry);
            let opening = openings
                .get(&row.name)
                .ok_or_else(|| EngineError::tampered(what(), format!("it holds no `{}`", printable(&row.name, 40))))?;
            let alert: Alert =
                serde_json::from_value(opening.value.clone()).map_err(|error| EngineError::tampered(what(), error))?;
            if self.alert_key(alert.id) != row.key && self.graver_key(&alert) != row.key {
                return Err(EngineError::tampered(what(), "the index of alerts names another alert in it"));
            }
            opened.push((row, alert));
            last = Some((row.entry, openings));
        }
        Ok(opened)
    }

    fn acknowledgements(&self) -> Result<BTreeMap<Digest, Acknowledgement>, EngineError> {
        let rows = self
            .catalog
            .read(|view| view.rows(Table::Acknowledgement))
            .map_err(|error: CatalogError| catalog_error(&error))?;
        let open = |row: ringfence_catalog::StoredRow| {
            let bytes = self.unseal_row(&row.key, &row.value)?;
            let found: Acknowledgement =
                canon::from_canonical(&bytes).map_err(|error| EngineError::tampered("acknowledgement", error))?;
            if self.alert_key(found.id) == row.key {
                Ok((found.id, found))
            } else {
                Err(EngineError::tampered("acknowledgement", "it stands where it does not belong"))
            }
        };
        rows.into_iter().map(open).collect()
    }

    /// Says that somebody deals with alert `id`, with a reason that stays in the trail, until `until` or for good.
    pub fn acknowledge(
        &self,
        id: Digest,
        reason: &str,
        until: Option<Timestamp>,
    ) -> Result<Acknowledgement, EngineError> {
        self.may(Action::Acknowledge, None, &format!("alert {id}"))?;
        let now = (self.settings.now)();
        let reason = clipped(reason.trim(), SENTENCE_BYTES_MAX);
        if reason.is_empty() {
            return Err(EngineError::Usage { what: "an acknowledgement needs a reason".into() });
        }
        if until.is_some_and(|until| until <= now) {
            return Err(EngineError::Usage { what: "an acknowledgement cannot end before it begins".into() });
        }
        let severity = self.filed_severity(id)?;
        if severity.is_none() {
            return Err(EngineError::NotFound { what: "alert", name: id.to_string() });
        }
        let by = self.caller.person.id.clone();
        let said = Acknowledgement { id, by, at: now, reason, until, up_to: severity };
        let act = Act {
            action: Action::Acknowledge,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!(said),
            subject: format!("alert {id}"),
            reach: Reach::Inside,
        };
        let (said, _) = self.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(self.seal_row(Table::Acknowledgement, &format!("alert {id}"), &canonical(&said)?)?);
            effect.openings.insert("result".to_owned(), json!(said));
            Ok(effect.replace(said))
        })?;
        Ok(said)
    }
}

impl AlertFilter {
    fn wants(&self, shown: &ShownAlert) -> bool {
        self.state.is_none_or(|state| state == shown.state)
            && self.min_severity.is_none_or(|severity| shown.alert.severity >= severity)
            && self.subject.as_ref().is_none_or(|subject| *subject == shown.alert.subject)
            && self.since.is_none_or(|since| shown.alert.at >= since)
    }
}

/// What a queue's record is bound to.
fn queue_context<'a>(sink: &'a str, seq: &'a [u8], key: &'a [u8]) -> [&'a [u8]; 4] {
    [b"ringfence.outbox/1", sink.as_bytes(), seq, key]
}

fn said_context(sink: &str) -> [&[u8]; 2] {
    [b"ringfence.sink/1", sink.as_bytes()]
}

/// The alert with every text within its limit and fit to print.
fn fit(alert: &Alert) -> Alert {
    let mut alert = alert.clone();
    for name in [&mut alert.rule, &mut alert.kind, &mut alert.signal, &mut alert.subject.name] {
        *name = clipped(name, NAME_BYTES_MAX);
    }
    for sentence in [&mut alert.expected, &mut alert.seen, &mut alert.message, &mut alert.why, &mut alert.remedy] {
        *sentence = clipped(sentence, SENTENCE_BYTES_MAX);
    }
    alert.confidence = if alert.confidence.is_finite() { alert.confidence.clamp(0.0, 1.0) } else { 0.0 };
    alert
}

fn clipped(text: &str, bytes_max: usize) -> String {
    let mut text = printable(text, bytes_max);
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}
