//! What a server does by itself, again and again: looked at again, verified, attacked again, drilled, mirrored.
//!
//! * [`Vault::add_schedule`], [`Vault::remove_schedule`], [`Vault::schedules`]: entries of the vault, each a sealed row that
//!   changes only together with an entry of the trail.
//! * [`Vault::carry_out_due`]: what is due, in the hands of the server, which may look and tell and nothing else.
//!
//! What must stay true: each time is in the trail before it begins and with what came of it; one that fails, or finds
//! something, is an alert; times that were missed are made up for once and never stack up, because the next one is always the
//! first of the grid that is still to come; two processes never carry out the same one.
//!
//! Absent on purpose: jobs of which the engine has no use case of its own.

use std::{fmt, fs::TryLockError, str::FromStr};

use ringfence_access::{Action, Facts, Resource};
use ringfence_catalog::{RowChange, Table};
use ringfence_schema::{
    Severity, Timestamp,
    alert::{Alert, Basis, Subject, SubjectKind},
    finding::printable,
    report::{VerifyReport, VerifyVerdict},
    since::{Drop, SinceReport},
    weights::Compared,
};
use ringfence_trust::entropy::{self, SystemEntropy};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    RuleText,
    act::{Act, Effect, Reach},
    bundle::canonical,
    drill,
    error::EngineError,
    team::{Caller, PersonId},
    trail,
    vault::{Vault, named_lock_file},
};

/// Shortest time between two times of one schedule, in milliseconds: an hour.
pub const EVERY_MS_MIN: u64 = HOUR_MS;
/// Longest, in milliseconds: 366 days.
pub const EVERY_MS_MAX: u64 = 366 * DAY_MS;
/// Most schedules of a vault.
pub const SCHEDULES_MAX: usize = 64;
/// The folder in the configuration, or the link to one, that [`Job::Mirror`] copies the trail to.
pub const MIRROR_FOLDER: &str = "mirror";
/// Longest account of what came of one time, in characters.
const SAID_CHARS_MAX: usize = 500;
/// Names that one account lists.
const NAMED_MAX: usize = 5;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 86_400_000;
/// The file that whoever carries out holds locked.
const LOCK_FILE: &str = "schedule.lock";

/// A scheduled job could not be carried out.
pub(crate) const FAILED: RuleText = RuleText {
    id: "RF-SCH-001",
    title: "a scheduled job could not be carried out",
    why: "what it would have found is not known, and nobody was there to see that it was not done",
    remedy: "read why in the trail's entry, put it right, and wait for the next time or do the job by hand",
};
/// A scheduled job found something.
pub(crate) const FOUND: RuleText = RuleText {
    id: "RF-SCH-002",
    title: "a scheduled job found something",
    why: "what was in order when somebody last looked is not in order now",
    remedy: "do the job by hand to see all of it, and decide on what it names",
};

/// What can be done by itself. Each is a use case that people have too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Job {
    /// Every stored model is scanned again with today's rules (`scan --admitted`).
    Rescan,
    /// The sources of what was fetched are asked for something newer (`outdated`).
    Outdated,
    /// The whole trail is verified (`trail verify`).
    Audit,
    /// Every stored byte is read and checked (`verify --all`).
    Verify,
    /// The newest version of every released model is attacked as the release before it was, and must withstand no less (`attack
    /// --since released`).
    Attack,
    /// Known bad jobs are run, and must be stopped or seen (`drill run`).
    Drill,
    /// The trail is copied to [`MIRROR_FOLDER`] in the configuration (`trail mirror`).
    Mirror,
}

impl Job {
    /// Every job.
    pub const ALL: [Self; 7] =
        [Self::Rescan, Self::Outdated, Self::Audit, Self::Verify, Self::Drill, Self::Mirror, Self::Attack];

    /// The name in rows, commands and pages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rescan => "rescan",
            Self::Outdated => "outdated",
            Self::Audit => "audit",
            Self::Verify => "verify",
            Self::Attack => "attack",
            Self::Drill => "drill",
            Self::Mirror => "mirror",
        }
    }

    /// What it does, in a few words.
    pub const fn says(self) -> &'static str {
        match self {
            Self::Rescan => "scan every stored model again with today's rules",
            Self::Outdated => "ask the sources of what was fetched for something newer",
            Self::Audit => "verify the whole trail",
            Self::Verify => "read and check every stored byte",
            Self::Attack => "attack the newest of every released model as the release before it was attacked",
            Self::Drill => "run known bad jobs that must be stopped or seen",
            Self::Mirror => "copy the trail to the mirror folder of the configuration",
        }
    }
}

impl FromStr for Job {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        Self::ALL.into_iter().find(|job| job.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|job| job.name()).collect();
            let what = format!("`{}` is no job; there are {}", printable(text, 40), names.join(", "));
            EngineError::Usage { what }
        })
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often, and from when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// Milliseconds from one time to the next, [`EVERY_MS_MIN`] to [`EVERY_MS_MAX`].
    pub every_ms: u64,
    /// The first time; it fixes all later ones.
    pub first: Timestamp,
}

impl Cadence {
    /// From text: `every` is a number of hours or days (`6h`, `1d`), `at` a time of the day in UTC (`03:30`) at which the
    /// first time, and with whole days every one, is to be; without it the first is `every` from `now`.
    ///
    /// # Errors
    /// [`EngineError::Usage`] with what is wrong.
    pub fn parse(every: &str, at: Option<&str>, now: Timestamp) -> Result<Self, EngineError> {
        let usage = |what: &str| EngineError::Usage { what: what.to_owned() };
        let odd = || usage("how often is a number of hours or days, `6h` or `1d`, from one hour to 366 days");
        let (number, unit) = match (every.strip_suffix('h'), every.strip_suffix('d')) {
            (Some(number), _) => (number, HOUR_MS),
            (_, Some(number)) => (number, DAY_MS),
            _ => return Err(odd()),
        };
        let number: u64 = digits(number).ok_or_else(odd)?;
        let every_ms = number.checked_mul(unit).filter(|every| in_range(*every)).ok_or_else(odd)?;
        let first = match at {
            None => now.plus_millis(every_ms),
            Some(at) => {
                let odd = || usage("the time of the day is `HH:MM`, in UTC");
                let (hour, minute) = at.split_once(':').ok_or_else(odd)?;
                let part =
                    |text: &str, below: u64| (text.len() == 2).then(|| digits(text)).flatten().filter(|n| *n < below);
                let (hour, minute) = part(hour, 24).zip(part(minute, 60)).ok_or_else(odd)?;
                let today = now.millis() / DAY_MS * DAY_MS + hour * HOUR_MS + minute * 60_000;
                Timestamp::from_millis(if today > now.millis() { today } else { today + DAY_MS })
            }
        };
        Ok(Self { every_ms, first })
    }

    /// The first time of the grid after `now`.
    fn next(self, now: Timestamp) -> Timestamp {
        let Some(past) = now.millis().checked_sub(self.first.millis()) else { return self.first };
        self.first.plus_millis((past / self.every_ms.max(1)).saturating_add(1).saturating_mul(self.every_ms))
    }
}

fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn in_range(every_ms: u64) -> bool {
    (EVERY_MS_MIN..=EVERY_MS_MAX).contains(&every_ms)
}

/// What came of one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Came {
    /// It was done, and all is as it should be.
    Clean,
    /// It was done, and found something.
    Found,
    /// It could not be done.
    Failed,
}

impl Came {
    /// `clean`, `found` or `failed`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Found => "found",
            Self::Failed => "failed",
        }
    }
}

/// The last time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastTime {
    /// When it began.
    pub began: Timestamp,
    /// When it was over.
    pub ended: Timestamp,
    /// What came of it.
    pub came: Came,
    /// In a sentence.
    pub said: String,
    /// Times before it that were missed and are not made up for.
    pub missed: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScheduleRow {
    id: String,
    job: Job,
    every_ms: u64,
    first: Timestamp,
    due: Timestamp,
    by: PersonId,
    since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<LastTime>,
    /// When it was last done, whatever it found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<Timestamp>,
}

/// A schedule, as pages and listings show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// Names it.
    pub id: String,
    /// What is done.
    pub job: Job,
    /// How often, in milliseconds.
    pub every_ms: u64,
    /// When it is done next.
    pub due: Timestamp,
    /// Who wants it.
    pub by: PersonId,
    /// Since when.
    pub since: Timestamp,
    /// What came of the last time.
    pub last: Option<LastTime>,
    /// When it was last done, whatever it found.
    pub done: Option<Timestamp>,
}

/// What a job has to say.
struct Said {
    came: Came,
    text: String,
}

impl Vault<'_> {
    /// As [`Vault::add_schedule`], from what was typed; see [`Cadence::parse`].
    ///
    /// # Errors
    /// As for [`Vault::add_schedule`]; whoever may not plan anything is told nothing else.
    pub fn plan(&self, job: &str, every: &str, at: Option<&str>) -> Result<ScheduleView, EngineError> {
        self.may(Action::Schedule, None, &printable(job, 40))?;
        let cadence = Cadence::parse(every.trim(), at, (self.settings.now)())?;
        self.add_schedule(job.parse()?, cadence)
    }

    /// Has `job` done by the server from now on.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for whoever may not; [`EngineError::Usage`] for a cadence beyond its limits, the same job as
    /// often again, and beyond [`SCHEDULES_MAX`].
    pub fn add_schedule(&self, job: Job, cadence: Cadence) -> Result<ScheduleView, EngineError> {
        self.may(Action::Schedule, None, &format!("{job}"))?;
        let usage = |what: String| EngineError::Usage { what };
        if !in_range(cadence.every_ms) {
            return Err(usage("a schedule's times are one hour to 366 days apart".to_owned()));
        }
        let now = (self.settings.now)();
        if cadence.first.millis() > now.millis().saturating_add(EVERY_MS_MAX) {
            return Err(usage("the first time is within 366 days".to_owned()));
        }
        let known = self.schedule_rows()?;
        if known.len() >= SCHEDULES_MAX {
            return Err(usage(format!("there are {SCHEDULES_MAX} schedules already")));
        }
        if let Some(same) = known.iter().find(|row| row.job == job && row.every_ms == cadence.every_ms) {
            return Err(usage(format!("`{}` does the same as often; remove it first", same.id)));
        }
        let bytes: [u8; 6] = entropy::bytes(&mut SystemEntropy::new());
        let row = ScheduleRow {
            id: format!("s-{}", ringfence_schema::digest::hex(&bytes)),
            job,
            every_ms: cadence.every_ms,
            first: cadence.first,
            due: cadence.next(now),
            by: PersonId::from(self.caller.person.id.as_str()),
            since: now,
            last: None,
            done: None,
        };
        let act = about(
            Action::Schedule,
            &row,
            json!({"what": "add", "job": job, "every_ms": row.every_ms, "first": row.first}),
        );
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(self.schedule_row(&row)?);
            effect.openings.insert("result".to_owned(), json!(row));
            Ok(effect)
        })?;
        Ok(row.view())
    }

    /// Has it done no more.
    ///
    /// # Errors
    /// [`EngineError::Refused`], [`EngineError::NotFound`].
    pub fn remove_schedule(&self, id: &str) -> Result<ScheduleView, EngineError> {
        self.may(Action::Schedule, None, &printable(id, 40))?;
        let gone = || EngineError::NotFound { what: "schedule", name: printable(id, 40) };
        let row = self.schedule_rows()?.into_iter().find(|row| row.id == id).ok_or_else(gone)?;
        let act = about(Action::Schedule, &row, json!({"what": "remove", "job": row.job}));
        self.act(act, || {
            let mut effect = Effect::of(());
            let key = self.row_key(&schedule_name(&row.id));
            effect.rows.push(RowChange { table: Table::Schedule, key, value: None });
            Ok(effect)
        })?;
        Ok(row.view())
    }

    /// Every schedule, the next one first.
    pub fn schedules(&self) -> Result<Vec<ScheduleView>, EngineError> {
        let mut views: Vec<ScheduleView> = self.schedule_rows()?.iter().map(ScheduleRow::view).collect();
        views.sort_by(|a, b| (a.due, &a.id).cmp(&(b.due, &b.id)));
        Ok(views)
    }

    /// Carries out what is due, one after the other, in the hands of the server, and says what came of it. Whatever fails
    /// is recorded and an alert; an error is what could not even be recorded. Where another process is at it, nothing is done.
    pub fn carry_out_due(&self) -> Result<Vec<ScheduleView>, EngineError> {
        let path = self.settings.vault.join(LOCK_FILE);
        let held = named_lock_file(&self.settings.vault, LOCK_FILE)?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Vec::new()),
            Err(TryLockError::Error(error)) => return Err(EngineError::io(path)(error)),
        }
        let house = self.acting(if self.is_shared() { Caller::scheduler() } else { Caller::owner() });
        let now = (self.settings.now)();
        let mut due: Vec<ScheduleRow> = house.schedule_rows()?.into_iter().filter(|row| row.due <= now).collect();
        due.sort_by(|a, b| (a.due, &a.id).cmp(&(b.due, &b.id)));
        due.into_iter().map(|row| house.carry_out_one(row)).collect()
    }

    fn carry_out_one(&self, row: ScheduleRow) -> Result<ScheduleView, EngineError> {
        let began = (self.settings.now)();
        let missed = began.millis().saturating_sub(row.due.millis()) / row.every_ms.max(1);
        let request = json!({"what": "carry out", "job": row.job, "due": row.due, "missed": missed});
        let act = Act {
            reach: if row.job == Job::Mirror { Reach::Outside } else { Reach::Inside },
            ..about(Action::Verify, &row, request)
        };
        let done = self.act(act, || {
            let said = self.perform(row.job)?;
            self.finished(&row, began, missed, said)
        });
        match done {
            Ok((row, _)) => {
                self.desk.wake();
                Ok(row.view())
            }
            Err(error) => self.keep_failure(&row, began, missed, &error),
        }
    }

    /// The row after a time that is over, with an alert where there is something to tell.
    fn finished(
        &self,
        row: &ScheduleRow,
        began: Timestamp,
        missed: u64,
        said: Said,
    ) -> Result<Effect<ScheduleRow>, EngineError> {
        let ended = (self.settings.now)();
        let last = LastTime { began, ended, came: said.came, said: printable(&said.text, SAID_CHARS_MAX), missed };
        let mut row = row.clone();
        row.due = Cadence { every_ms: row.every_ms, first: row.first }.next(ended);
        if last.came != Came::Failed {
            row.done = Some(ended);
        }
        let mut effect = Effect::of(());
        effect.openings.insert("result".to_owned(), json!(last));
        if let Some(alert) = alert(&row, &last) {
            self.file_with(&mut effect, &alert)?;
        }
        row.last = Some(last);
        // Somebody may have taken it away meanwhile.
        if self.schedule_rows()?.iter().any(|known| known.id == row.id) {
            effect.rows.push(self.schedule_row(&row)?);
        }
        Ok(effect.replace(row))
    }

    fn keep_failure(
        &self,
        row: &ScheduleRow,
        began: Timestamp,
        missed: u64,
        error: &EngineError,
    ) -> Result<ScheduleView, EngineError> {
        let act = about(Action::Raise, row, json!({"what": "a scheduled job failed", "job": row.job}));
        let said = || Said { came: Came::Failed, text: error.to_string() };
        let (row, _) = self.act(act, || self.finished(row, began, missed, said()))?;
        self.desk.wake();
        Ok(row.view())
    }

    fn perform(&self, job: Job) -> Result<Said, EngineError> {
        match job {
            Job::Rescan => {
                let rescans = self.rescan(None)?;
                let worse = rescans.iter().filter(|rescan| !rescan.alerts.is_empty());
                let names: Vec<String> = worse.map(|rescan| rescan.version.reference().to_string()).collect();
                Ok(found(format!("{} looked at again", rescans.len()), "worse than before", &names))
            }
            Job::Outdated => {
                let newer = self.outdated(None, Compared::Headers)?;
                let names: Vec<String> = newer.iter().map(|one| one.version.reference().to_string()).collect();
                // That a source has something newer is news, and nothing that is wrong.
                let text = found("sources were asked".to_owned(), "have something newer", &names).text;
                Ok(Said { came: Came::Clean, text })
            }
            Job::Audit => verified(&self.verify_trail()?),
            Job::Verify => verified(&self.verify_all()?),
            Job::Attack => beside_releases(&self.attack_again()?),
            Job::Drill => {
                let (mut count, mut failed) = (0_usize, Vec::new());
                drill::run(self.settings, &[], &mut |drilled| {
                    count += 1;
                    if !drilled.passed {
                        failed.push(drilled.name.to_owned());
                    }
                })?;
                Ok(found(format!("{count} drills"), "neither stopped nor seen as they must be", &failed))
            }
            Job::Mirror => {
                let folder = self.settings.config.join(MIRROR_FOLDER);
                if !folder.is_dir() {
                    let why = "there is no such folder in the configuration; make it, or link it to where the mirror is to lie";
                    return Err(EngineError::incomplete(MIRROR_FOLDER, why));
                }
                let copied = trail::mirror(self.settings, &folder)?;
                let text =
                    format!("{} entries, {} of them new", copied.entries, copied.entries.saturating_sub(copied.before));
                Ok(Said { came: Came::Clean, text })
            }
        }
    }

    fn schedule_rows(&self) -> Result<Vec<ScheduleRow>, EngineError> {
        self.read_table::<ScheduleRow>(Table::Schedule, |row| schedule_name(&row.id))
    }

    fn schedule_row(&self, row: &ScheduleRow) -> Result<RowChange, EngineError> {
        self.seal_row(Table::Schedule, &schedule_name(&row.id), &canonical(row)?)
    }
}

impl ScheduleRow {
    fn view(&self) -> ScheduleView {
        ScheduleView {
            id: self.id.clone(),
            job: self.job,
            every_ms: self.every_ms,
            due: self.due,
            by: self.by.clone(),
            since: self.since,
            last: self.last.clone(),
            done: self.done,
        }
    }
}

fn schedule_name(id: &str) -> String {
    format!("schedule/{id}")
}

fn about(action: Action, row: &ScheduleRow, mut request: serde_json::Value) -> Act {
    if let Some(fields) = request.as_object_mut() {
        fields.insert("schedule".to_owned(), json!(row.id));
    }
    Act {
        action,
        resources: vec![Resource::Vault],
        facts: Facts::default(),
        request,
        subject: format!("schedule {} {}", row.id, row.job),
        reach: Reach::Inside,
    }
}

/// What was done, and which of it are as `what` says.
fn found(done: String, what: &str, names: &[String]) -> Said {
    if names.is_empty() {
        return Said { came: Came::Clean, text: format!("{done}, none {what}") };
    }
    let shown = names.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if names.len() > NAMED_MAX { ", …" } else { "" };
    Said { came: Came::Found, text: format!("{done}, {} {what}: {shown}{more}", names.len()) }
}

/// What withstands less than its last release; where that cannot be stated it is a failure, for it may.
fn beside_releases(compared: &[SinceReport]) -> Result<Said, EngineError> {
    let of = |verdict: Drop| compared.iter().filter(move |report| report.verdict == verdict);
    let dropped: Vec<String> = of(Drop::Dropped).map(|report| report.model.clone()).collect();
    if let (true, Some(report)) = (dropped.is_empty(), of(Drop::CannotState).next()) {
        let why = report.note.clone().unwrap_or_default();
        return Err(EngineError::incomplete(format!("{} beside {}", report.model, report.earlier), why));
    }
    let done = format!("{} set beside their last release", compared.len());
    Ok(found(done, "withstand less", &dropped))
}

/// A report in a sentence; what could not be read is a failure, for it is not clean.
fn verified(report: &VerifyReport) -> Result<Said, EngineError> {
    let wrong = report.checks.iter().find(|check| !check.passed);
    let wrong = wrong.map(|check| format!("{}: {}", check.name, check.detail));
    match (report.verdict, wrong) {
        (VerifyVerdict::Verified, _) => Ok(Said {
            came: Came::Clean,
            text: format!("{} verified in {} checks", report.subject, report.checks.len()),
        }),
        (VerifyVerdict::Incomplete, wrong) => {
            Err(EngineError::incomplete(report.subject.clone(), wrong.unwrap_or_default()))
        }
        (_, wrong) => Ok(Said { came: Came::Found, text: wrong.unwrap_or_else(|| report.subject.clone()) }),
    }
}

/// What somebody should hear of a time that is over.
fn alert(row: &ScheduleRow, last: &LastTime) -> Option<Alert> {
    let (rule, kind, severity) = match last.came {
        Came::Clean => return None,
        Came::Found => (FOUND, "schedule-found", Severity::High),
        Came::Failed => (FAILED, "schedule-failed", Severity::Medium),
    };
    let subject = Subject { kind: SubjectKind::Series, name: format!("schedule {} {}", row.id, row.job) };
    Some(Alert {
        id: Alert::identify(rule.id, &subject, row.job.name(), last.began),
        rule: rule.id.to_owned(),
        kind: kind.to_owned(),
        severity,
        subject,
        signal: row.job.name().to_owned(),
        basis: Basis::Observed,
        expected: row.job.says().to_owned(),
        seen: last.said.clone(),
        since: last.began,
        at: last.ended,
        confidence: 1.0,
        message: format!("{}: {}", row.job, last.said),
        why: rule.why.to_owned(),
        remedy: rule.remedy.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        trail::moment(text, Timestamp::from_millis(0)).expect("a moment")
    }

    #[test]
    fn cadences_are_read() {
        let now = at("2026-03-01T10:00:00Z");
        let first = |every: &str, time: Option<&str>| Cadence::parse(every, time, now).map(|read| read.first);
        assert_eq!(first("6h", None).expect("read"), at("2026-03-01T16:00:00Z"));
        assert_eq!(first("1d", Some("03:30")).expect("read"), at("2026-03-02T03:30:00Z"));
        assert_eq!(first("1d", Some("23:59")).expect("read"), at("2026-03-01T23:59:00Z"));
        assert_eq!(first("366d", Some("10:00")).expect("read"), at("2026-03-02T10:00:00Z"));
        for every in ["", "h", "0h", "59m", "1", "+1d", "1.5d", "367d", "9999999d", "18446744073709551615d", "1 d"] {
            assert!(matches!(first(every, None), Err(EngineError::Usage { .. })), "{every}");
        }
        for time in ["", "3:30", "24:00", "03:60", "03:3x", "03:30:00", "+3:30"] {
            assert!(matches!(first("1d", Some(time)), Err(EngineError::Usage { .. })), "{time}");
        }
    }

    #[test]
    fn missed_times_do_not_stack_up() {
        let cadence = Cadence { every_ms: DAY_MS, first: at("2026-03-01T03:00:00Z") };
        for (now, next) in [
            ("2026-02-01T00:00:00Z", "2026-03-01T03:00:00Z"),
            ("2026-03-01T03:00:00Z", "2026-03-02T03:00:00Z"),
            ("2026-03-09T17:00:00Z", "2026-03-10T03:00:00Z"),
        ] {
            assert_eq!(cadence.next(at(now)), at(next), "{now}");
        }
    }
}
