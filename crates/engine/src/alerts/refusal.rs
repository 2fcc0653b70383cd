//! What a sink refuses for good: set aside after a number of attempts, so that it does not hold up the rest.
//!
//! A refusal that is about the content (a record too large, a mail that is not accepted) counts [`REFUSALS_MAX`] times. One
//! that may be about everything (a token that is not valid any more, an address that is gone) has to last as long as
//! [`REFUSED_MS_MAX`], so that a wrong setting that somebody puts right empties no queue. What is set aside is listed by
//! [`Vault::sinks`], its alert is in the trail, and [`Vault::resend`] queues it again. An alert says so; one for each time
//! that a sink begins to refuse, and none about these alerts themselves.

use ringfence_catalog::{
    CatalogError,
    outbox::{Aside, PENDING_MAX, QueuedContent},
};
use ringfence_reach::Refusal;
use ringfence_schema::{
    Severity, Timestamp,
    alert::{Alert, Basis, Subject, SubjectKind},
};
use serde_json::json;

use super::{ALERT_COMMIT, Filed, FiledAt, Move, clipped};
use crate::{
    act::Effect,
    bundle::canonical,
    error::EngineError,
    vault::{Vault, catalog_error},
};

/// Refusals in a row after which a record is set aside.
pub const REFUSALS_MAX: u32 = 5;
/// How long a refusal that may be about everything has to last as well, in milliseconds.
pub const REFUSED_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// Rule of the alert that says that something was set aside.
const REFUSED_RULE: &str = "RF-OUT-003";
/// Begins the rules of alerts about sinks.
const OWN_RULES: &str = "RF-OUT-";
/// Longest part of what a sink said that its alert repeats, in bytes.
const TOLD_BYTES_MAX: usize = 200;

/// A record that a sink refused.
pub(super) struct Refused<'a> {
    /// Its number in the queue.
    pub(super) seq: u64,
    pub(super) alert: &'a Alert,
    /// What the refusal is about.
    pub(super) refusal: Refusal,
    /// What the sink said.
    pub(super) why: &'a str,
    pub(super) now: Timestamp,
}

impl Vault<'_> {
    /// Adds to `effect` what follows from a refusal: one more is counted, or the record is set aside, and an alert says so.
    /// Its number, if it is set aside.
    pub(super) fn weigh_refusal(
        &self,
        sink: &str,
        refused: Refused<'_>,
        effect: &mut Effect<()>,
    ) -> Result<Option<u64>, EngineError> {
        let Refused { seq, alert, refusal, why, now } = refused;
        let before =
            self.catalog.read(|view| view.refused(sink)).map_err(|error: CatalogError| catalog_error(&error))?;
        let same = before.filter(|before| before.seq == seq);
        let (count, since) = same.map_or((1, now), |same| (same.count.saturating_add(1), same.since));
        let long = now.millis().saturating_sub(since.millis()) >= REFUSED_MS_MAX;
        if count < REFUSALS_MAX || (refusal == Refusal::Everything && !long) {
            effect.moves.push(Move::Refused(sink.to_owned(), seq, now));
            return Ok(None);
        }
        let (first, last) = self.entries_of(sink, seq, alert)?;
        let aside = Aside { seq, first, last, count, at: now, said: Vec::new() };
        effect.moves.push(Move::SetAside(sink.to_owned(), aside, why.to_owned()));
        // It has taken nothing since the record before this one was set aside: that was told.
        let told = before.is_some_and(|before| before.passed_seq > 0 && before.passed_seq + 1 == seq);
        if !told && !alert.rule.starts_with(OWN_RULES) {
            let notice = notice(sink, (first, last), alert, (count, since), why, now);
            let name = format!("{ALERT_COMMIT}00");
            effect.openings.insert(name.clone(), json!(notice));
            effect.filed.push(Filed {
                key: self.alert_key(notice.id),
                bytes: canonical(&notice)?,
                place: FiledAt::Here(name),
                sinks: self.sinks_for(notice.severity)?,
            });
        }
        Ok(Some(seq))
    }

    /// The entries of the trail that hold what a record is about.
    fn entries_of(&self, sink: &str, seq: u64, alert: &Alert) -> Result<(u64, u64), EngineError> {
        let keys = [self.graver_key(alert), self.alert_key(alert.id)];
        let found = self.catalog.read(|view| {
            for key in &keys {
                if let Some(row) = view.alert(key)? {
                    return Ok(Some((row.entry, row.entry)));
                }
            }
            // It stands for alerts that a full queue did not take.
            let queued = view.pending(sink, PENDING_MAX)?.into_iter().find(|queued| queued.seq == seq);
            Ok(queued.and_then(|queued| match queued.content {
                QueuedContent::Lost(lost) => Some((lost.first, lost.last)),
                QueuedContent::Alert { .. } => None,
            }))
        });
        let found = found.map_err(|error: CatalogError| catalog_error(&error))?;
        found.ok_or_else(|| {
            EngineError::tampered(format!("record {seq} of the queue for `{sink}`"), "it is in no entry")
        })
    }
}

fn notice(
    sink: &str,
    (first, last): (u64, u64),
    alert: &Alert,
    (count, since): (u32, Timestamp),
    why: &str,
    now: Timestamp,
) -> Alert {
    let subject = Subject { kind: SubjectKind::Series, name: format!("sink/{sink}") };
    let signal = format!("outbox:refused:{first}-{last}");
    Alert {
        id: Alert::identify(REFUSED_RULE, &subject, &signal, now),
        rule: REFUSED_RULE.into(),
        kind: "outbox-refused".into(),
        severity: Severity::High,
        subject,
        signal,
        basis: Basis::Observed,
        expected: "a sink that takes what it is sent".into(),
        seen: format!("{count} refusals in a row"),
        since,
        at: now,
        confidence: 1.0,
        message: format!(
            "`{sink}` refuses alert {} ({}), which is set aside: {}",
            alert.id,
            alert.kind,
            clipped(why, TOLD_BYTES_MAX)
        ),
        why:
            "what a sink refuses for good would hold up everything behind it; what comes right after it and is refused \
              too is set aside without an alert of its own"
                .into(),
        remedy: format!(
            "`ringfence watch sinks` lists what was set aside; put right why it is refused, then have it sent again: \
             `ringfence watch sinks --resend {sink} {first} {last}`"
        ),
    }
}
