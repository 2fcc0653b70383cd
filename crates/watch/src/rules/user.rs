//! The user's file of rules. Strict: what is not understood is refused with the whole file.
//!
//! ```toml
//! schema = "ringfence.rules/1"
//! [[change]]
//! rule = "RF-WCH-001"
//! actions = ["notify", "stop"]
//! reason = "no miner on this cluster, ever"
//! [[threshold]]
//! id = "USR-loss"
//! signal = "loss"
//! above = 10.0
//! for_seconds = 30
//! severity = "high"
//! [[maintenance]]
//! subject = "run:nightly-*"
//! weekly = { days = ["sat"], start = "22:00", minutes = 480 }
//! reason = "disks are swapped"
//! [[suppress]]
//! rule = "RF-WCH-034"
//! subject = "run:*"
//! until = 2026-12-31T00:00:00Z
//! reason = "telemetry of the library, known"
//! ```
#![deny(clippy::indexing_slicing)]

use ringfence_schema::{Severity, Timestamp};
use serde::Deserialize;
use toml::value::{Datetime, Offset};

use super::{Action, FILE_BYTES_MAX, RULES_SCHEMA, Rule, Rules, RulesError, SubjectPattern, notify};

/// A rule of the user's own on any signal that a model shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// The rule's id; begins with `USR-`.
    pub id: String,
    /// The signal's name, such as `loss` or `memory`.
    pub signal: String,
    /// Raised above this, in the signal's unit.
    pub above: Option<f64>,
    /// Raised below this, in the signal's unit.
    pub below: Option<f64>,
    /// For at least this long without a break, in milliseconds.
    pub for_ms: u64,
    /// Only for these subjects.
    pub subject: SubjectPattern,
}

/// A time in which alerts about a subject are expected. Critical ones pass all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// Whose.
    pub subject: SubjectPattern,
    /// When.
    pub when: When,
    /// Why.
    pub reason: String,
}

/// When a maintenance window holds. All times are UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Once.
    Once {
        /// From this moment.
        from: Timestamp,
        /// Until this one, exclusive.
        to: Timestamp,
    },
    /// Every week.
    Weekly {
        /// Days on which it begins; 0 is Monday.
        days: Vec<u8>,
        /// Minutes after midnight at which it begins.
        start: u64,
        /// How long it lasts, in minutes.
        minutes: u64,
    },
}

impl When {
    /// Whether it holds at this moment.
    pub fn holds(&self, at: Timestamp) -> bool {
        match self {
            Self::Once { from, to } => (*from..*to).contains(&at),
            Self::Weekly { days, start, minutes } => {
                // 1970-01-01 was a Thursday, day 3 of a week that begins on Monday.
                let now = (at.millis() / MINUTE_MS + 3 * DAY_MINUTES) % WEEK_MINUTES;
                days.iter().any(|day| {
                    let begin = u64::from(*day) * DAY_MINUTES + start;
                    (now + WEEK_MINUTES - begin % WEEK_MINUTES) % WEEK_MINUTES < *minutes
                })
            }
        }
    }
}

/// A rule that is not to be heard about some subjects for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// The rule's id.
    pub rule: String,
    /// About whom.
    pub subject: SubjectPattern,
    /// Until when, exclusive.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

/// Applies a file to a table.
pub(super) fn apply(rules: &Rules, text: &str) -> Result<Rules, RulesError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(RulesError::TooLong { bytes: text.len() });
    }
    let file: File = toml::from_str(text).map_err(|error| RulesError::Form { detail: error.message().to_owned() })?;
    if file.schema != RULES_SCHEMA {
        return Err(RulesError::Schema { found: file.schema });
    }
    let entries = file.change.len() + file.threshold.len() + file.maintenance.len() + file.suppress.len();
    if entries > ENTRIES_MAX {
        return Err(entry("file", &format!("{entries} entries, limit is {ENTRIES_MAX}")));
    }
    let mut result = rules.clone();
    for change in file.change {
        apply_change(&mut result, change)?;
    }
    for threshold in file.threshold {
        add_threshold(&mut result, threshold)?;
    }
    for window in file.maintenance {
        result.maintenance.push(read_window(window)?);
    }
    for suppression in file.suppress {
        let UserSuppression { rule, subject, until, reason } = suppression;
        if result.rule(&rule).is_none() {
            return Err(RulesError::UnknownRule { rule });
        }
        let until = moment(&until).ok_or_else(|| entry(&rule, NO_MOMENT))?;
        given(&rule, &reason)?;
        result.suppressions.push(Suppression { rule, subject: SubjectPattern::parse(&subject), until, reason });
    }
    Ok(result)
}

fn apply_change(rules: &mut Rules, change: UserChange) -> Result<(), RulesError> {
    given(&change.rule, &change.reason)?;
    let Some(rule) = rules.table.get_mut(&change.rule) else {
        return Err(RulesError::UnknownRule { rule: change.rule });
    };
    if change.actions.as_ref().is_some_and(Vec::is_empty) {
        return Err(entry(&change.rule, "no actions: say `enabled = false` to switch a rule off"));
    }
    if change.group_minutes.is_some_and(|minutes| minutes > WEEK_MINUTES) {
        return Err(entry(&change.rule, "a group window is at most a week"));
    }
    rule.severity = change.severity.unwrap_or(rule.severity);
    rule.actions = change.actions.unwrap_or_else(|| rule.actions.clone());
    rule.group_minutes = change.group_minutes.unwrap_or(rule.group_minutes);
    rule.enabled = change.enabled.unwrap_or(rule.enabled);
    rule.act_from = change.act_from.unwrap_or(rule.act_from);
    rule.act_on_claims = change.act_on_claims.unwrap_or(rule.act_on_claims);
    rules.reasons.insert(change.rule, change.reason);
    Ok(())
}

fn add_threshold(rules: &mut Rules, threshold: UserThreshold) -> Result<(), RulesError> {
    let UserThreshold { id, signal, above, below, for_seconds, severity, actions, subject, title, why, remedy } =
        threshold;
    if !id.starts_with(USER_PREFIX) {
        return Err(entry(&id, "the id of a rule of your own begins with `USR-`"));
    }
    if rules.table.contains_key(&id) {
        return Err(entry(&id, "the id is taken"));
    }
    if above.is_none() && below.is_none() {
        return Err(entry(&id, "neither `above` nor `below`"));
    }
    if above.into_iter().chain(below).any(|limit| !limit.is_finite()) {
        return Err(entry(&id, "the threshold is not a finite number"));
    }
    if for_seconds > WEEK_MINUTES * 60 {
        return Err(entry(&id, "`for_seconds` is at most a week"));
    }
    let base = super::builtin(super::Kind::Threshold);
    let rule = Rule {
        id: id.clone(),
        title: title.unwrap_or_else(|| base.title.clone()),
        severity,
        why: why.unwrap_or_else(|| base.why.clone()),
        remedy: remedy.unwrap_or_else(|| base.remedy.clone()),
        actions: actions.unwrap_or_else(notify),
        ..base.clone()
    };
    rules.base.insert(id.clone(), severity);
    rules.table.insert(id.clone(), rule);
    let subject = SubjectPattern::parse(subject.as_deref().unwrap_or("*"));
    rules.thresholds.push(Threshold { id, signal, above, below, for_ms: for_seconds.saturating_mul(1_000), subject });
    Ok(())
}

fn read_window(window: UserMaintenance) -> Result<Maintenance, RulesError> {
    let UserMaintenance { subject, from, to, weekly, reason } = window;
    given(&subject, &reason)?;
    let when = match (from, to, weekly) {
        (Some(from), Some(to), None) => {
            let (Some(from), Some(to)) = (moment(&from), moment(&to)) else { return Err(entry(&subject, NO_MOMENT)) };
            if from >= to {
                return Err(entry(&subject, "`from` is not before `to`"));
            }
            When::Once { from, to }
        }
        (None, None, Some(UserWeekly { days, start, minutes })) => {
            let start = minutes_of(&start).ok_or_else(|| entry(&subject, "`start` is not a time such as `22:00`"))?;
            if days.is_empty() || minutes == 0 || minutes > WEEK_MINUTES {
                return Err(entry(&subject, "no days, or not between a minute and a week"));
            }
            When::Weekly { days: days.into_iter().map(|day| day as u8).collect(), start, minutes }
        }
        _ => return Err(entry(&subject, "either `from` and `to`, or `weekly`")),
    };
    Ok(Maintenance { subject: SubjectPattern::parse(&subject), when, reason })
}

/// A moment with an offset; a time without one could mean anything.
fn moment(datetime: &Datetime) -> Option<Timestamp> {
    let (date, time, offset) = (datetime.date?, datetime.time?, datetime.offset?);
    let offset = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    // Howard Hinnant's `days_from_civil`.
    let (month, day) = (i64::from(date.month), i64::from(date.day));
    let year = i64::from(date.year) - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    let minutes = days * 1_440 + i64::from(time.hour) * 60 + i64::from(time.minute) - offset;
    let seconds = u64::try_from(minutes * 60 + i64::from(time.second.unwrap_or(0))).ok()?;
    Some(Timestamp::from_millis(seconds * 1_000 + u64::from(time.nanosecond.unwrap_or(0)) / 1_000_000))
}

fn minutes_of(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

fn given(name: &str, reason: &str) -> Result<(), RulesError> {
    if reason.trim().is_empty() { Err(entry(name, "no reason")) } else { Ok(()) }
}

fn entry(name: &str, problem: &str) -> RulesError {
    RulesError::Entry { entry: crate::book::cut(name.to_owned()), problem: problem.to_owned() }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    #[serde(default)]
    change: Vec<UserChange>,
    #[serde(default)]
    threshold: Vec<UserThreshold>,
    #[serde(default)]
    maintenance: Vec<UserMaintenance>,
    #[serde(default)]
    suppress: Vec<UserSuppression>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserChange {
    rule: String,
    severity: Option<Severity>,
    actions: Option<Vec<Action>>,
    group_minutes: Option<u64>,
    enabled: Option<bool>,
    act_on_claims: Option<bool>,
    act_from: Option<Severity>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserThreshold {
    id: String,
    signal: String,
    above: Option<f64>,
    below: Option<f64>,
    #[serde(default)]
    for_seconds: u64,
    severity: Severity,
    actions: Option<Vec<Action>>,
    subject: Option<String>,
    title: Option<String>,
    why: Option<String>,
    remedy: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserMaintenance {
    subject: String,
    from: Option<Datetime>,
    to: Option<Datetime>,
    weekly: Option<UserWeekly>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserWeekly {
    days: Vec<Day>,
    start: String,
    minutes: u64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserSuppression {
    rule: String,
    subject: String,
    until: Datetime,
    reason: String,
}

const NO_MOMENT: &str = "not a moment with date, time and offset";
const USER_PREFIX: &str = "USR-";
/// Entries of one file together.
const ENTRIES_MAX: usize = 4_096;
const MINUTE_MS: u64 = 60_000;
const DAY_MINUTES: u64 = 1_440;
const WEEK_MINUTES: u64 = 7 * DAY_MINUTES;
