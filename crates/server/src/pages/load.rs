//! From the engine to views: what the pages show, as `vault` answers to whoever it is in the hands of.
//!
//! Synchronous, to be called where blocking is allowed. Each function asks the engine for as much as one page shows, and no
//! more: every list that it makes has an end.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_engine::{
    EngineError, NamespaceState, Settings, Vault, Version,
    access::{PersonKind, Role},
    alerts::{AlertFilter, AlertState, ShownAlert},
    doctor::{self, Health, Part},
    history::RunLine,
    schedule::{Job, ScheduleView},
    schema::{
        Timestamp,
        alert::SubjectKind,
        evidence::{Evidence, EvidenceKind, EvidenceVerdict},
        trail::EntryKind,
    },
    team::PersonView,
    trail::{Decided, Filter, ShownEntry, moment},
};

use super::{
    artifact::{ArtifactView, EvidenceLine, FileLine},
    artifacts::{ArtifactLine, ArtifactQuery, ArtifactsView, Facet, GoneLine},
    attacks::{AttacksView, CARDS_MAX, Card},
    chart::{
        bars::Bar,
        calendar::{DAYS_MAX, Day},
        dag::{Edge, Node},
    },
    frame::Frame,
    overview::{AlertLine, Head, OverviewView},
    parts::ROWS_MAX,
    paths,
    people::PeopleView,
    policy::{PolicyView, Proposal},
    review::{HeldItem, ITEMS_MAX, PendingRequest, ReviewView},
    run::{RunView, RunsView},
    security::{Aging, SecurityView},
    trail::{Commitment, EntryLine, EntryView, Proof, TrailQuery, TrailView},
};

/// Entries that statistics by day are made of.
const COUNTED_ENTRIES_MAX: u64 = 10_000;
/// Days in the gate's statistics.
const GATE_DAYS: u64 = 30;
/// Alerts on the overview.
const ALERTS_MAX: usize = 50;
/// Runs in the list.
const RUNS_MAX: usize = 100;
/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// A version in one line.
pub fn line(version: &Version) -> ArtifactLine {
    let kinds: BTreeSet<&str> = version.evidence.iter().map(|row| row.kind.name()).collect();
    ArtifactLine {
        kind: version.artifact.kind().to_string(),
        name: version.artifact.name().to_owned(),
        version: version.version,
        state: version.state,
        files: version.files,
        bytes: version.bytes,
        written: version.written,
        labels: version.labels.clone(),
        evidence: kinds.into_iter().map(str::to_owned).collect(),
        refused: version.refused.clone(),
        revoked: version.revoked.clone(),
        destroyed: version.destroyed.as_ref().map(|gone| GoneLine {
            by: gone.by.clone(),
            at: gone.at,
            reason: gone.reason.clone(),
            entry: gone.entry,
        }),
        waived: version.waived,
    }
}

/// What the overview needs beyond the vault.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// Parts of the installation, as [`doctor::examine`] found them lately; it starts processes, so callers keep it a while.
    pub parts: Vec<Part>,
    /// When the last backup was made, where that is known.
    pub backup: Option<Timestamp>,
    /// How old a backup may be, in milliseconds.
    pub backup_limit_ms: u64,
    /// Requests that wait for a second person.
    pub requests: usize,
    /// Whether the viewer may say that an alert was seen.
    pub may_acknowledge: bool,
}

/// The parts of this installation. Starts processes: seconds, not milliseconds.
pub fn parts(settings: &Settings<'_>) -> Vec<Part> {
    doctor::examine(settings)
}

/// The overview.
pub fn overview(vault: &Vault<'_>, frame: Frame, around: &Around) -> Result<OverviewView, EngineError> {
    let held = vault.held()?;
    let filter = AlertFilter { state: Some(AlertState::Open), limit: Some(ALERTS_MAX), ..AlertFilter::default() };
    let entries = vault.trail(COUNTED_ENTRIES_MAX)?;
    let inclusion = match entries.last() {
        Some(last) => vault.inclusion(last.index)?,
        None => None,
    };
    Ok(OverviewView {
        held: held.iter().filter(|version| version.refused.is_none()).take(ROWS_MAX).map(line).collect(),
        requests: around.requests,
        may_acknowledge: around.may_acknowledge,
        alerts: vault.alerts(&filter)?.into_iter().map(alert_line).collect(),
        runs: vault.runs()?.into_iter().take(RUNS_MAX).collect(),
        head: Head {
            entries: entries.last().map_or(0, |entry| entry.index + 1),
            root: inclusion.map(|inclusion| inclusion.root),
            newest: entries.last().map(|entry| entry.entry.time),
        },
        backup: around.backup,
        backup_limit_ms: around.backup_limit_ms,
        days: gate_days(&entries, frame.now),
        unwell: around.parts.iter().filter(|part| part.health != Health::Ok).cloned().collect(),
        frame,
    })
}

fn alert_line(shown: ShownAlert) -> AlertLine {
    let subject = &shown.alert.subject;
    let target = match subject.kind {
        SubjectKind::Run => Some(paths::run(&subject.name)),
        SubjectKind::Person => Some(paths::query(paths::TRAIL, &[("who", &subject.name)])),
        SubjectKind::Artifact => Some(paths::query(paths::ARTIFACTS, &[("q", &subject.name)])),
        SubjectKind::Series => None,
    };
    AlertLine {
        id: shown.alert.id,
        severity: shown.alert.severity,
        rule: shown.alert.rule.clone(),
        subject: format!("{} {}", subject.kind.name(), subject.name),
        message: shown.alert.message,
        at: shown.alert.at,
        entry: shown.entry,
        target,
    }
}

/// What the gate did by day: admitted, held (a denial of admission), refused (a review that blocks).
fn gate_days(entries: &[ShownEntry], now: Timestamp) -> Vec<Bar> {
    let today = now.millis() / DAY_MS;
    let mut counts: BTreeMap<u64, [u64; 3]> =
        (today.saturating_sub(GATE_DAYS - 1)..=today).map(|day| (day, [0; 3])).collect();
    for shown in entries {
        let Some(day) = counts.get_mut(&(shown.entry.time.millis() / DAY_MS)) else { continue };
        let done = shown.entry.kind == EntryKind::Outcome && Decided::of(&shown.entry) == Decided::Allowed;
        match (shown.entry.action.as_str(), shown.entry.kind) {
            ("admit", EntryKind::Denial) => day[1] += 1,
            ("admit", _) if done => day[0] += 1,
            ("review", EntryKind::Intent) if blocks(shown) => day[2] += 1,
            _ => {}
        }
    }
    counts.into_iter().map(|(day, counts)| Bar { label: date(day), counts: counts.to_vec() }).collect()
}

fn blocks(shown: &ShownEntry) -> bool {
    let request = shown.openings.get("request").map(|opening| &opening.value);
    request.and_then(|value| value.pointer("/what/verdict")).and_then(|verdict| verdict.as_str()) == Some("block")
}

fn date(day: u64) -> String {
    let mut text = Timestamp::from_millis(day.saturating_mul(DAY_MS)).to_string();
    text.truncate(10);
    text
}

/// The list of artifacts.
pub fn artifacts(vault: &Vault<'_>, frame: Frame, query: ArtifactQuery) -> Result<ArtifactsView, EngineError> {
    let versions = vault.versions()?;
    let facets = |of: &dyn Fn(&Version) -> String| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for version in &versions {
            *counts.entry(of(version)).or_default() += 1;
        }
        counts.into_iter().map(|(value, count)| Facet { value, count }).collect()
    };
    let kinds = facets(&|version| version.artifact.kind().to_string());
    let states = facets(&|version| version.state.name().to_owned());
    let wanted = |version: &&Version| {
        version.artifact.to_string().contains(query.text.trim())
            && (query.kind.is_empty() || version.artifact.kind().to_string() == query.kind)
            && (query.state.is_empty() || version.state.name() == query.state)
    };
    let mut fit: Vec<&Version> = versions.iter().filter(wanted).collect();
    fit.sort_by_key(|version| std::cmp::Reverse(version.written));
    let (found, lines) = (fit.len(), fit.into_iter().take(ROWS_MAX).map(line).collect());
    Ok(ArtifactsView { frame, query, lines, found, kinds, states })
}

/// One version, with its lineage; `may_release` says whether the viewer's roles let them release.
pub fn artifact(
    vault: &Vault<'_>,
    frame: Frame,
    version: &Version,
    may_release: bool,
) -> Result<ArtifactView, EngineError> {
    let versions = vault.versions()?;
    let scan = vault.scan_report(version)?;
    let files = scan.into_iter().flat_map(|report| report.files).take(ROWS_MAX).map(|file| FileLine {
        path: file.path,
        format: file.format,
        size: file.size,
        verdict: file.verdict,
        findings: file.findings,
    });
    let mut others: Vec<&Version> = versions.iter().filter(|other| other.artifact == version.artifact).collect();
    others.reverse();
    let left_out = [(version.exempt.no_scan, "scan"), (version.exempt.no_screen, "screening")];
    let mut own = line(version);
    if let Some(gone) = &mut own.destroyed
        && let Ok(person) = vault.person(&gone.by)
    {
        gone.by = person.display;
    }
    Ok(ArtifactView {
        line: own,
        tree: version.tree,
        source: version.source,
        origin: version.origin.as_ref().map(|origin| origin.pinned.clone()),
        run: version.run.as_ref().map(|run| run.id.clone()),
        left_out: left_out.into_iter().filter(|(left, _)| *left).map(|(_, name)| name.to_owned()).collect(),
        files: files.collect(),
        screen: vault.screen_report(version)?,
        evidence: evidence(vault, version)?,
        versions: others.into_iter().take(ROWS_MAX).map(line).collect(),
        lineage: lineage(&versions, version),
        may_release,
        may_ask: vault.caller().person.roles.iter().any(|role| *role != Role::Auditor && *role != Role::Tester),
        frame,
    })
}

fn evidence(vault: &Vault<'_>, version: &Version) -> Result<Vec<EvidenceLine>, EngineError> {
    let shown = vault.evidence_of(version)?;
    let line = |shown: ringfence_engine::ShownEvidence| {
        let says = serde_json::from_value::<Evidence>(shown.statement.predicate).ok();
        let verdict = says.as_ref().map_or("recorded", |says| match says.verdict {
            EvidenceVerdict::Pass => "pass",
            EvidenceVerdict::Block => "block",
            EvidenceVerdict::Incomplete => "incomplete",
        });
        let parts = says.iter().flat_map(|says| &says.summary).map(|(name, value)| format!("{name}={value}"));
        EvidenceLine {
            kind: shown.kind.name().to_owned(),
            verdict: verdict.to_owned(),
            entry: shown.index,
            envelope: shown.envelope,
            summary: parts.collect::<Vec<_>>().join(" "),
        }
    };
    Ok(shown.into_iter().take(ROWS_MAX).map(line).collect())
}

/// Everything that `version` came from, and what was made of it directly or indirectly.
fn lineage(versions: &[Version], version: &Version) -> (Vec<Node>, Vec<Edge>) {
    let by_name: BTreeMap<String, &Version> =
        versions.iter().map(|version| (version.reference().to_string(), version)).collect();
    let here = version.reference().to_string();
    let mut edges: Vec<Edge> = Vec::new();
    for made in versions {
        let to = made.reference().to_string();
        let inputs = made.run.iter().flat_map(|run| &run.inputs);
        edges.extend(inputs.map(|input| Edge {
            from: input.artifact.clone(),
            to: to.clone(),
            role: input.role.clone(),
        }));
    }
    let mut kept: BTreeSet<String> = BTreeSet::from([here.clone()]);
    for forward in [false, true] {
        let mut front = vec![here.clone()];
        while let Some(key) = front.pop() {
            for edge in &edges {
                let (near, far) = if forward { (&edge.from, &edge.to) } else { (&edge.to, &edge.from) };
                if *near == key && kept.len() < LINEAGE_MAX && kept.insert(far.clone()) {
                    front.push(far.clone());
                }
            }
        }
    }
    edges.retain(|edge| kept.contains(&edge.from) && kept.contains(&edge.to));
    let node = |key: String| {
        let known = by_name.get(&key);
        Node {
            note: known.map_or("not in this vault".to_owned(), |version| version.state.name().to_owned()),
            target: known.map(|version| {
                paths::artifact(&version.artifact.kind().to_string(), version.artifact.name(), version.version)
            }),
            here: key == here,
            label: key.clone(),
            key,
        }
    };
    (kept.into_iter().map(node).collect(), edges)
}

/// Artifacts in one lineage.
const LINEAGE_MAX: usize = 60;

/// The review queue, with the `requests` that wait for a second person.
pub fn review(vault: &Vault<'_>, frame: Frame, requests: Vec<PendingRequest>) -> Result<ReviewView, EngineError> {
    let mut held = Vec::new();
    // What is beyond the page is counted, not read.
    for (place, version) in vault.held()?.iter().filter(|version| version.refused.is_none()).enumerate() {
        let shown = place < ITEMS_MAX;
        let scan = if shown { vault.scan_report(version)? } else { None };
        held.push(HeldItem {
            line: line(version),
            tree: version.tree,
            looked_into: version.is_looked_into(),
            findings: scan.into_iter().flat_map(|report| report.files).flat_map(|file| file.findings).collect(),
            screen: if shown { vault.screen_report(version)? } else { None },
        });
    }
    let versions = vault.versions()?;
    let candidates =
        versions.iter().filter(|version| version.state == NamespaceState::Candidate && version.destroyed.is_none());
    Ok(ReviewView { frame, held, candidates: candidates.take(ROWS_MAX).map(line).collect(), requests })
}

/// The list of runs.
pub fn runs(vault: &Vault<'_>, frame: Frame) -> Result<RunsView, EngineError> {
    Ok(RunsView { frame, runs: vault.runs()?.into_iter().take(RUNS_MAX).collect() })
}

/// One run.
pub fn run(vault: &Vault<'_>, frame: Frame, id: &str, may_stop: bool) -> Result<RunView, EngineError> {
    let record = vault.run_record(id)?;
    let known = vault.runs()?.into_iter().find(|line| line.run == id);
    // It ended between the two looks: what was recorded says so.
    let state = if record.has_ended() { "done" } else { "running" };
    let line = known.unwrap_or_else(|| RunLine {
        run: id.to_owned(),
        state,
        subject: String::new(),
        ended: None,
        error: None,
    });
    Ok(RunView { frame, line, record, may_stop })
}

/// The newest cards.
pub fn attacks(vault: &Vault<'_>, frame: Frame) -> Result<AttacksView, EngineError> {
    let mut tested = vault.versions()?;
    tested.retain(|version| version.newest(EvidenceKind::Robustness).is_some());
    tested.sort_by_key(|version| std::cmp::Reverse(version.written));
    let mut cards = Vec::new();
    for version in tested.iter().take(CARDS_MAX) {
        if let Some(report) = vault.attack_report(version)? {
            cards.push(Card { line: line(version), report });
        }
    }
    Ok(AttacksView { frame, cards })
}

/// The search of the trail. What cannot be looked for is said on the page.
pub fn trail(vault: &Vault<'_>, frame: Frame, query: TrailQuery) -> Result<TrailView, EngineError> {
    let now = frame.now;
    let mut entries = Vec::new();
    let found = filter(&query, now).and_then(|filter| {
        vault.search(&filter, Some(ROWS_MAX as u64), &mut |shown| {
            entries.push(entry_line(shown));
            Ok(())
        })
    });
    let problem = match found {
        Ok(_) => None,
        Err(EngineError::Usage { what }) => Some(what),
        Err(error) => return Err(error),
    };
    entries.reverse();
    let counted = vault.trail(COUNTED_ENTRIES_MAX)?;
    let size = counted.last().map_or(0, |entry| entry.index + 1);
    Ok(TrailView { frame, query, problem, entries, days: activity(&counted, now), size })
}

/// What was typed, as the engine understands it.
fn filter(query: &TrailQuery, now: Timestamp) -> Result<Filter, EngineError> {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let decision = match query.decision.as_str() {
        "" => None,
        "allowed" => Some(Decided::Allowed),
        "denied" => Some(Decided::Denied),
        "failed" => Some(Decided::Failed),
        _ => return Err(EngineError::Usage { what: "a decision is allowed, denied or failed".into() }),
    };
    Ok(Filter {
        who: given(&query.who),
        what: given(&query.what),
        artifact: given(&query.artifact),
        decision,
        since: given(&query.since).map(|text| moment(&text, now)).transpose()?,
        until: given(&query.until).map(|text| moment(&text, now)).transpose()?,
    })
}

fn entry_line(shown: &ShownEntry) -> EntryLine {
    EntryLine {
        index: shown.index,
        time: shown.entry.time,
        action: shown.entry.action.clone(),
        actor: shown.entry.actor.clone(),
        word: shown.word().to_owned(),
        subject: shown.subject().to_owned(),
    }
}

fn activity(entries: &[ShownEntry], now: Timestamp) -> Vec<Day> {
    let today = now.millis() / DAY_MS;
    let mut counts: BTreeMap<u64, (u64, u64)> =
        (today.saturating_sub(DAYS_MAX as u64 - 1)..=today).map(|day| (day, (0, 0))).collect();
    for shown in entries {
        if let Some((count, denied)) = counts.get_mut(&(shown.entry.time.millis() / DAY_MS)) {
            *count += 1;
            *denied += u64::from(shown.entry.kind == EntryKind::Denial);
        }
    }
    // 1970-01-01 was a Thursday.
    let weekday = |day: u64| u8::try_from((day + 3) % 7).unwrap_or(0);
    let day = |(day, (count, denied))| Day { day: date(day), weekday: weekday(day), count, denied };
    counts.into_iter().map(day).collect()
}

/// One entry of the trail.
pub fn entry(vault: &Vault<'_>, frame: Frame, index: u64) -> Result<EntryView, EngineError> {
    let shown = vault.trail_entry(index)?;
    let proof = vault.inclusion(index)?.map(|found| Proof {
        size: found.size,
        root: found.root,
        path: found.path,
        checkpoint: found.note,
    });
    let commitments = shown.entry.commits.iter().map(|(name, digest)| Commitment {
        name: name.clone(),
        digest: *digest,
        opening: shown.openings.get(name).map(|opening| {
            let value = serde_json::to_string_pretty(&opening.value);
            (opening.salt.clone(), value.unwrap_or_default())
        }),
    });
    let mut changes: BTreeMap<&str, usize> = BTreeMap::new();
    for change in &shown.entry.changes {
        *changes.entry(&change.table).or_default() += 1;
    }
    Ok(EntryView {
        line: entry_line(&shown),
        of: shown.entry.of,
        leaf: shown.leaf,
        state: shown.entry.state,
        changes: changes.into_iter().map(|(table, count)| format!("{count} of {table}")).collect(),
        commitments: commitments.collect(),
        proof,
        frame,
    })
}

/// The security page; `parts` are kept by the caller, because looking for them takes seconds.
pub fn security(
    vault: &Vault<'_>,
    frame: Frame,
    parts: Vec<Part>,
    may_schedule: bool,
) -> Result<SecurityView, EngineError> {
    let schedules = vault.schedules()?;
    let ages = ages(vault.keys_since()?, &schedules);
    Ok(SecurityView {
        people: everybody(vault)?,
        sessions: vault.own_sessions()?,
        ages,
        schedules,
        may_schedule,
        parts,
        frame,
    })
}

/// What must not grow too old, as far as the engine knows its age: the keys,
/// and what is to be looked at again and again.
fn ages(keys_since: Timestamp, schedules: &[ScheduleView]) -> Vec<Aging> {
    let keys = Aging {
        what: "the vault's keys".to_owned(),
        since: Some(keys_since),
        limit_ms: KEYS_LIMIT_MS,
        remedy: "plan a new vault, with keys of its own, and admit what is still needed there".to_owned(),
    };
    let checks = [
        (Job::Audit, CHECK_LIMIT_MS),
        (Job::Verify, CHECK_LIMIT_MS),
        (Job::Rescan, CHECK_LIMIT_MS),
        (Job::Drill, DRILL_LIMIT_MS),
        (Job::Mirror, MIRROR_LIMIT_MS),
    ];
    let checks = checks.into_iter().map(|(job, limit_ms)| Aging {
        what: format!("{job}: {}", job.says()),
        since: schedules.iter().filter(|schedule| schedule.job == job).filter_map(|schedule| schedule.done).max(),
        limit_ms,
        remedy: format!("have it done by itself: below, or `ringfence schedule add {job} --every 1d`"),
    });
    std::iter::once(keys).chain(checks).collect()
}

/// How old keys may be, in milliseconds: two years, in the middle of what NIST SP 800-57 part 1 (section 5.3.6) gives keys that
/// sign.
const KEYS_LIMIT_MS: u64 = 730 * DAY_MS;
/// How long what is stored may go unlooked at, in milliseconds: a month.
const CHECK_LIMIT_MS: u64 = 31 * DAY_MS;
/// How long controls may go untried, in milliseconds: a quarter.
const DRILL_LIMIT_MS: u64 = 92 * DAY_MS;
/// How far behind the copy of the trail may be, in milliseconds: two days.
const MIRROR_LIMIT_MS: u64 = 2 * DAY_MS;

/// Everybody, people before programs, by name.
fn everybody(vault: &Vault<'_>) -> Result<Vec<PersonView>, EngineError> {
    let mut people = vault.people()?;
    people.sort_by(|a, b| (a.kind == PersonKind::Service, &a.name).cmp(&(b.kind == PersonKind::Service, &b.name)));
    Ok(people)
}

/// People administration for `me`.
pub fn people(vault: &Vault<'_>, frame: Frame, me: &str, may_appoint: bool) -> Result<PeopleView, EngineError> {
    Ok(PeopleView { frame, people: everybody(vault)?, may_appoint, me: me.to_owned(), made: None })
}

/// The policy in force; with what the `proposed` document would change, which takes seconds.
pub fn policy(
    vault: &Vault<'_>,
    frame: Frame,
    document: String,
    proposed: Option<String>,
    may_propose: bool,
) -> Result<PolicyView, EngineError> {
    let policies = vault.policies();
    let proposal = proposed
        .map(|document| {
            let outcome = match vault.compare_policy(&document) {
                Ok(diff) => Ok(diff),
                Err(EngineError::Usage { what }) => Err(what),
                Err(error) => return Err(error),
            };
            Ok(Proposal { document, outcome })
        })
        .transpose()?;
    let settings = match serde_json::to_value(policies.settings()) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    Ok(PolicyView {
        frame,
        digest: policies.digest(),
        policies: policies.explanations().map(|(id, says)| (id.to_owned(), says.to_owned())).collect(),
        settings: settings.into_iter().map(|(name, value)| (name, value.to_string())).collect(),
        document,
        proposal,
        may_propose,
    })
}
