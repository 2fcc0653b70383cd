//! Break-glass: for at most an hour, one person does alone what otherwise needs the approval of others.
//!
//! What it opens is the policy's (`context.break_glass`): exports and restores, neither a change of the policy nor the
//! destruction of keys. It is loud: a critical alert is filed with it for every sink. It ends by itself, and stays listed
//! until another person has looked at what was done and said so.

use ringfence_access::{Action, Facts, Resource};
use ringfence_catalog::Table;
use ringfence_schema::{
    Severity, Timestamp,
    alert::{Alert, Basis, Subject, SubjectKind},
};
use ringfence_trust::entropy::{self, SystemEntropy};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{PersonId, people::NOBODY, request::reason, rows::Members};
use crate::{
    act::{Act, Effect, Reach},
    bundle::canonical,
    error::EngineError,
    vault::Vault,
};

/// How long it lasts at most, in milliseconds.
pub const GLASS_LIFE_MS: u64 = 60 * 60 * 1_000;
/// The rule that its alert names.
pub const GLASS_RULE: &str = "RF-TEAM-001";

/// That rule, as `ringfence show` tells of it.
pub(crate) const GLASS: crate::RuleText = crate::RuleText {
    id: GLASS_RULE,
    title: "somebody has broken the glass",
    why: "for an hour, one person does what otherwise needs the approval of others; an account that was taken over would do the same",
    remedy: "ask the person, end it if nobody knows of it, and afterwards look at what was done and say so",
};

/// One breaking of the glass, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GlassRow {
    pub(crate) id: String,
    pub(crate) person: PersonId,
    pub(crate) reason: String,
    pub(crate) since: Timestamp,
    /// When it ends, or ended.
    pub(crate) until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) review: Option<GlassReview>,
}

/// What another person said of it afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlassReview {
    /// Who looked at it.
    pub by: PersonId,
    /// When.
    pub at: Timestamp,
    /// What they found.
    pub reason: String,
}

/// One breaking of the glass, as pages and listings show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GlassView {
    /// Its name.
    pub id: String,
    /// Who.
    pub person: PersonId,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends, or ended.
    pub until: Timestamp,
    /// It holds now.
    pub open: bool,
    /// What another person said of it; until then it needs somebody's look.
    pub review: Option<GlassReview>,
}

impl Members {
    /// Whether this person does without approvals at the moment.
    pub(crate) fn glass_is_broken(&self, person: &str, now: Timestamp) -> bool {
        self.glass.values().any(|row| row.person.as_str() == person && row.since <= now && now < row.until)
    }
}

impl Vault<'_> {
    /// Breaks the glass for the caller: for [`GLASS_LIFE_MS`] at most, the policy takes it for the approval of others.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for whoever is neither owner nor security officer, or has not stepped up, and in a vault in
    /// one person's hands; [`EngineError::Usage`] without a reason, or while the caller's glass is broken already.
    pub fn break_glass(&self, why: &str) -> Result<GlassView, EngineError> {
        let now = (self.settings.now)();
        let reason = reason(why)?;
        let me = PersonId(self.caller.person.id.clone());
        if self.members_now()?.glass_is_broken(me.as_str(), now) {
            return Err(EngineError::Usage {
                what: "the glass is broken already, and holds until its time is over".to_owned(),
            });
        }
        let bytes: [u8; 8] = entropy::bytes(&mut SystemEntropy::new());
        let row = GlassRow {
            id: format!("g-{}", ringfence_schema::digest::hex(&bytes)),
            person: me,
            reason,
            since: now,
            until: now.plus_millis(GLASS_LIFE_MS),
            review: None,
        };
        let act =
            about_glass(Action::BreakGlass, &row, json!({"what": "break", "reason": row.reason, "until": row.until}));
        let alert = alert(&row);
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(self.glass_row(&row)?);
            self.file_with(&mut effect, &alert)?;
            Ok(effect)
        })?;
        self.desk.wake();
        Ok(row.view(now))
    }

    /// Ends it before its time. Whoever broke it can, and whoever may break it.
    pub fn end_break_glass(&self, id: &str) -> Result<GlassView, EngineError> {
        let now = (self.settings.now)();
        self.may(Action::BreakGlass, None, "break-glass")?;
        let mut row = self.glass(id)?;
        if now >= row.until {
            return Err(EngineError::Usage { what: format!("`{id}` is over already") });
        }
        row.until = now;
        self.keep_glass(Action::BreakGlass, row, json!({"what": "end"}), None)
    }

    /// Says what was found when another person looked at what was done; from then on it needs nobody's look any more.
    pub fn review_break_glass(&self, id: &str, found: &str) -> Result<GlassView, EngineError> {
        let now = (self.settings.now)();
        // Whose it is decides too; what there is not is nobody's.
        let whose = self.members_now()?.glass.get(id).map_or_else(|| NOBODY.to_owned(), |row| row.person.to_string());
        self.may_review(&whose, "break-glass")?;
        let reason = reason(found)?;
        let mut row = self.glass(id)?;
        if now < row.until {
            return Err(EngineError::Usage { what: format!("`{id}` goes on; end it, or wait until its time is over") });
        }
        if row.review.is_some() {
            return Err(EngineError::Usage { what: format!("`{id}` was reviewed already") });
        }
        let requester = row.person.to_string();
        row.review = Some(GlassReview { by: PersonId(self.caller.person.id.clone()), at: now, reason: reason.clone() });
        self.keep_glass(Action::Review, row, json!({"what": "review break-glass", "reason": reason}), Some(requester))
    }

    /// Every breaking of the glass, newest first.
    pub fn glasses(&self) -> Result<Vec<GlassView>, EngineError> {
        let now = (self.settings.now)();
        let mut views: Vec<GlassView> = self.members()?.glass.values().map(|row| row.view(now)).collect();
        views.sort_by(|a, b| (b.since, &b.id).cmp(&(a.since, &a.id)));
        Ok(views)
    }

    fn glass(&self, id: &str) -> Result<GlassRow, EngineError> {
        let gone = || EngineError::NotFound { what: "break-glass", name: ringfence_schema::finding::printable(id, 40) };
        self.members_now()?.glass.get(id).cloned().ok_or_else(gone)
    }

    fn keep_glass(
        &self,
        action: Action,
        row: GlassRow,
        request: serde_json::Value,
        requester: Option<String>,
    ) -> Result<GlassView, EngineError> {
        let mut act = about_glass(action, &row, request);
        act.facts.requester = requester;
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(self.glass_row(&row)?);
            effect.openings.insert("result".to_owned(), json!(row));
            Ok(effect)
        })?;
        Ok(row.view((self.settings.now)()))
    }

    fn glass_row(&self, row: &GlassRow) -> Result<ringfence_catalog::RowChange, EngineError> {
        self.seal_row(Table::Emergency, &glass_name(&row.id), &canonical(row)?)
    }
}

impl GlassRow {
    fn view(&self, now: Timestamp) -> GlassView {
        GlassView {
            id: self.id.clone(),
            person: self.person.clone(),
            reason: self.reason.clone(),
            since: self.since,
            until: self.until,
            open: self.since <= now && now < self.until,
            review: self.review.clone(),
        }
    }
}

fn about_glass(action: Action, row: &GlassRow, request: serde_json::Value) -> Act {
    Act {
        action,
        resources: vec![Resource::Vault],
        facts: Facts::default(),
        request,
        subject: row.id.clone(),
        reach: Reach::Inside,
    }
}

/// The alert that goes out with it.
fn alert(row: &GlassRow) -> Alert {
    let crate::RuleText { why, remedy, .. } = GLASS;
    let subject = Subject { kind: SubjectKind::Person, name: row.person.to_string() };
    Alert {
        id: Alert::identify(GLASS_RULE, &subject, &row.id, row.since),
        rule: GLASS_RULE.to_owned(),
        kind: "break-glass".to_owned(),
        severity: Severity::Critical,
        subject,
        signal: row.id.clone(),
        basis: Basis::Observed,
        expected: "what is dangerous is approved by two other people".to_owned(),
        seen: format!("one person does without them until {}: {}", row.until, row.reason),
        since: row.since,
        at: row.since,
        confidence: 1.0,
        message: format!("somebody has broken the glass: {}", row.reason),
        why: why.to_owned(),
        remedy: remedy.to_owned(),
    }
}

pub(crate) fn glass_name(id: &str) -> String {
    format!("glass/{id}")
}
