//! The commands that work in another machine's vault, through its server's API.
//!
//! The server decides and records; here its answers are printed by what prints those of a vault on this machine. After each
//! command the newest checkpoint is held ([`hold`]): a server whose trail was rolled back or forked is found out.
//!
//! [`place`] says of each command where it works. What does not work on a server says so, and never turns to this machine's
//! vault instead.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _},
    path::Path,
};

use ringfence_engine::{
    EngineError, ExitClass, NamespaceState, Settings, Version,
    afar::{Continuation, hold_newest},
    alerts::{Acknowledgement, AlertState, ShownAlert},
    carry::{self, Load, Offer},
    doctor::Part,
    history::history_page,
    reach::{
        ReachError,
        server::{Method, Patience, Server, segment},
    },
    schedule::{Job, ScheduleView},
    schema::{
        Reference, Timestamp,
        alert::TelemetryLine,
        evidence::EvidenceKind,
        finding::printable,
        reference::Selector,
        report::{Check, VerifyReport},
    },
    trail::{Filter, ShownEntry},
    transfer::DownloadView,
    watch::record::Record,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    args::{
        AddArgs, Command, GetArgs, ReviewAction, SignAction,
        schedule::ScheduleAction,
        trail::TrailAction,
        watch::{AlertsArgs, StopArgs, WatchAction, WatchArgs},
    },
    command::{
        agent, glass, login, people, remote_release, remote_run, request, retire, schedule, show, supply, trail,
        vault::{self, Reports, reference},
        watch,
    },
    output::Printer,
};

/// Most entries of the trail that a server answers with at once.
const ENTRIES_MAX: u64 = 1_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Where a command works when a server is named.
pub(crate) enum Place {
    /// On this machine, because it uses no vault.
    Here,
    /// On the server.
    There,
    /// Only in a vault on this machine, for now.
    Nowhere(&'static str),
}

/// Where `command` works.
pub(crate) fn place(command: Option<&Command>) -> Place {
    let Some(command) = command else { return Place::Nowhere("`ringfence` without a command") };
    match command {
        Command::Scan(args) if !args.admitted => Place::Here,
        Command::Verify(args) if !args.all => Place::Here,
        Command::Sign { action: SignAction::Model(_) }
        | Command::Trail { action: TrailAction::Verify { mirror: Some(_), .. } }
        | Command::Watch(WatchArgs { action: Some(WatchAction::Replay { .. }), .. })
        | Command::Screen(_)
        | Command::Attack(_)
        | Command::Harden(_)
        | Command::Watermark { .. }
        | Command::Completions { .. }
        | Command::Witness { .. }
        | Command::Drill { .. }
        | Command::Login(_)
        | Command::Logout => Place::Here,
        Command::Show(args) if show::is_rule(&args.what) => Place::Here,
        Command::Show(args) if args.feed.feed.is_some() => Place::Nowhere("`show --feed`"),
        Command::Trail { action: TrailAction::Verify { checkpoint, root, .. } } => {
            if checkpoint.is_some() || root.is_some() {
                Place::Nowhere("`trail verify` with `--checkpoint` or `--root`")
            } else {
                Place::There
            }
        }
        Command::Add(args) if supply::is_source(&args.path) => Place::Nowhere("`add` of what lies at a source: it"),
        Command::Add(_)
        | Command::Get(_)
        | Command::Ls(_)
        | Command::Show(_)
        | Command::Verify(_)
        | Command::Rollback(_)
        | Command::Retire(_)
        | Command::Run(_)
        | Command::Release(_)
        | Command::Stop(_)
        | Command::Doctor
        | Command::Review { .. }
        | Command::Request { .. }
        | Command::Key { .. }
        | Command::Glass { .. }
        | Command::Schedule { .. }
        | Command::User { .. }
        | Command::Token { .. }
        | Command::Trail { action: TrailAction::Ls { .. } | TrailAction::Show { .. } | TrailAction::Checkpoint } => {
            Place::There
        }
        Command::Watch(args) => match &args.action {
            None
            | Some(
                WatchAction::History { .. }
                | WatchAction::Alerts(_)
                | WatchAction::Ack { .. }
                | WatchAction::Queue { .. },
            ) => Place::There,
            Some(WatchAction::People { .. }) => Place::Nowhere("`watch people`"),
            Some(WatchAction::Rules) => Place::Nowhere("`watch rules`"),
            Some(WatchAction::Sinks { .. }) => Place::Nowhere("`watch sinks`"),
            Some(WatchAction::Deliver) => Place::Nowhere("`watch deliver`"),
            Some(WatchAction::Replay { .. }) => Place::Here,
        },
        Command::Scan(_) => Place::Nowhere("`scan --admitted`"),
        Command::Sign { .. } => Place::Nowhere("`sign waiver` and `sign feed`"),
        Command::Trail { .. } => Place::Nowhere("`trail mirror`, `trail export` and `trail witness`"),
        Command::Init(_) => Place::Nowhere("`init`"),
        Command::Outdated(_) => Place::Nowhere("`outdated`"),
        Command::Serve(args) if args.runner => Place::There,
        Command::Serve(_) => Place::Nowhere("`serve`"),
    }
}

/// Does `command` at `server`; only for those whose [`place`] is there.
pub(crate) fn execute(
    settings: &Settings<'_>,
    printer: Printer,
    server: &str,
    command: &Command,
) -> Result<ExitClass, EngineError> {
    let remote = login::known(settings, server)?;
    let ended = at(&remote, printer, command);
    if ended.as_ref().is_err_and(needs_step_up) && printer.for_people() && io::stdin().is_terminal() {
        printer.say("this needs a second factor that was proven within the last ten minutes");
        login::step_up(&remote, printer, login::By::Browser)?;
        return at(&remote, printer, command);
    }
    ended
}

/// Whether nothing but a step up is missing.
fn needs_step_up(error: &EngineError) -> bool {
    matches!(error, EngineError::Reach(ReachError::Problem { kind, .. }) if kind == "step-up")
}

fn at(remote: &Remote<'_>, printer: Printer, command: &Command) -> Result<ExitClass, EngineError> {
    let desk = people::Desk::There(remote);
    let done = match command {
        Command::Ls(args) => {
            let wanted = args.name.as_deref().map(reference).transpose()?;
            vault::print_versions(printer, remote.versions()?, wanted.as_ref())
        }
        Command::Show(args) if args.what == "root" => printer.raw(&remote.server.read_bytes("/api/v1/root")?),
        Command::Show(args) => remote.show(printer, &args.what, args.bom),
        Command::Add(args) => remote.add(printer, args),
        Command::Get(args) => remote.get(printer, args),
        Command::Rollback(args) => remote.rollback(printer, &args.reference),
        Command::Retire(args) if args.dry_run => {
            let body = json!({"what": retire::named(args)?});
            retire::print_plan(printer, &remote.act("/api/v1/destruction", Some(&body), Patience::Long)?)
        }
        Command::Retire(args) => return remote.holding(|| request::ask(&desk, printer, &retire::wanted(args)?)),
        Command::Review { action } => remote.review(printer, action),
        Command::Verify(_) => {
            let report: VerifyReport = remote.act("/api/v1/verify", None, Patience::Long)?;
            return remote.holding(|| trail::conclude(printer, &report));
        }
        Command::Trail { action: TrailAction::Verify { .. } } => return remote.verify_trail(printer),
        Command::Trail { action } => remote.trail(printer, action),
        Command::Watch(args) => remote.watch(printer, args),
        Command::User { action } => return remote.holding(|| people::user(&desk, printer, action)),
        Command::Token { action } => people::token(&desk, printer, action),
        Command::Request { action } => return remote.holding(|| request::request(&desk, printer, action)),
        Command::Key { action } => return remote.holding(|| agent::key(&desk, printer, action)),
        Command::Glass { action } => return remote.holding(|| glass::glass(&desk, printer, action)),
        Command::Schedule { action } => remote.schedule(printer, action),
        Command::Run(args) => return remote.holding(|| remote_run::run(remote, printer, args)),
        Command::Release(args) => return remote.holding(|| remote_release::release(remote, printer, args)),
        Command::Serve(_) => return remote.holding(|| remote_run::serve(remote, printer)),
        Command::Stop(args) => remote.stop(printer, args),
        Command::Doctor => {
            let found: Parts = remote.read("/api/v1/posture")?;
            return remote.holding(|| show::print_parts(printer, &found.parts));
        }
        _ => Err(EngineError::Usage { what: "this command does not work on a server".into() }),
    };
    remote.holding(|| done.map(|()| ExitClass::Done))
}

/// A server, and whose vault it is.
pub(crate) struct Remote<'s> {
    settings: &'s Settings<'s>,
    server: Server,
    vault: String,
}

/// Holds the newest checkpoint of the server's trail; how many entries that is.
pub(crate) fn hold(settings: &Settings<'_>, server: &Server, vault: &str) -> Result<u64, EngineError> {
    let mut ask = |from: u64| -> Result<Continuation, EngineError> {
        Ok(server.read(&format!("/api/v1/trail/continuation/{from}"))?)
    };
    hold_newest(settings, vault, &mut ask, &mut || Ok(server.read_bytes("/api/v1/root")?))
}

#[derive(Deserialize)]
struct Versions {
    #[serde(alias = "held")]
    artifacts: Vec<Version>,
}

/// One version, as the server answers it.
#[derive(Deserialize)]
pub(super) struct One {
    pub(super) version: Version,
}

/// What was done, or the request that waits for others.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Perhaps<T> {
    Done(T),
    Waiting { request: Value },
}

#[derive(Deserialize)]
struct Entries {
    entries: Vec<ShownEntry>,
}

#[derive(Deserialize)]
struct Parts {
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Runs {
    runs: Vec<watch::RunRow>,
}

#[derive(Deserialize)]
struct Schedules {
    schedules: Vec<ScheduleView>,
}

#[derive(Deserialize)]
struct Lines {
    lines: Vec<TelemetryLine>,
}

#[derive(Deserialize)]
struct Alerts {
    alerts: Vec<ShownAlert>,
}

impl<'s> Remote<'s> {
    /// The server of `vault`.
    pub(crate) fn new(settings: &'s Settings<'s>, server: Server, vault: String) -> Self {
        Self { settings, server, vault }
    }

    /// The way to it.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Whose vault it is.
    pub(crate) fn vault(&self) -> &str {
        &self.vault
    }

    /// Where things are here.
    pub(crate) fn settings(&self) -> &'s Settings<'s> {
        self.settings
    }

    /// Reads a document.
    pub(crate) fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        Ok(self.server.read(path)?)
    }

    /// Posts a document.
    pub(crate) fn act<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<&Value>,
        patience: Patience,
    ) -> Result<T, EngineError> {
        Ok(self.server.act(Method::Post, path, body, patience)?)
    }

    /// Puts or deletes something.
    pub(crate) fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, EngineError> {
        Ok(self.server.act(method, path, body, Patience::Brief)?)
    }

    /// Reads what lies at `path` as it is.
    pub(crate) fn read_bytes(&self, path: &str) -> Result<Vec<u8>, EngineError> {
        Ok(self.server.read_bytes(path)?)
    }

    /// Brings a download into `destination`, which does not exist yet; how many bytes that is.
    pub(crate) fn fetch(&self, download: &DownloadView, destination: &Path) -> Result<u64, EngineError> {
        carry::down(&self.server, self.settings.progress, download, destination)
    }

    /// How the command ended, once the newest checkpoint is held. Tampering outweighs whatever else went wrong; where the
    /// server answered nothing, it is not asked for that either.
    fn holding(&self, ended: impl FnOnce() -> Result<ExitClass, EngineError>) -> Result<ExitClass, EngineError> {
        let ended = ended();
        let silent = |error: &EngineError| match error {
            EngineError::Reach(ReachError::Problem { status, .. }) => *status == 401,
            EngineError::Reach(_) => true,
            _ => false,
        };
        if ended.as_ref().is_err_and(silent) {
            return ended;
        }
        match (hold(self.settings, &self.server, &self.vault), ended) {
            (Err(error @ EngineError::Tampered { .. }), _) | (Err(error), Ok(_)) => Err(error),
            (_, ended) => ended,
        }
    }

    fn versions(&self) -> Result<Vec<Version>, EngineError> {
        Ok(self.read::<Versions>("/api/v1/artifacts")?.artifacts)
    }

    /// The path of the version that `text` names.
    pub(super) fn path(&self, text: &str) -> Result<(Reference, String), EngineError> {
        let mut wanted = reference(text)?;
        if wanted.selector == Selector::Latest {
            let versions = self.versions()?;
            let mut own = versions.iter().filter(|version| version.artifact == wanted.artifact);
            let newest = own.rfind(|version| version.state != NamespaceState::Quarantined);
            let missing = || EngineError::NotFound { what: "artifact", name: wanted.to_string() };
            wanted = newest.ok_or_else(missing)?.reference();
        }
        let path = path_of(&wanted);
        Ok((wanted, path))
    }

    fn show(&self, printer: Printer, what: &str, bill: bool) -> Result<(), EngineError> {
        let (_, path) = self.path(what)?;
        if bill {
            return printer.json(&self.read::<Value>(&format!("{path}/bom"))?);
        }
        let mut shown: show::Shown = self.read(&path)?;
        (shown.scan, shown.screen) = self.reports(&shown.version)?;
        show::print_shown(printer, &shown)
    }

    fn rollback(&self, printer: Printer, what: &str) -> Result<(), EngineError> {
        let (_, path) = self.path(what)?;
        let earlier = self.read::<One>(&path)?.version;
        match self.act(&format!("{path}/rollback"), None, Patience::Long)? {
            Perhaps::Done(One { version }) => vault::print_rollback(printer, &earlier, &version),
            Perhaps::Waiting { request } => Err(waiting(&request)),
        }
    }

    fn add(&self, printer: Printer, args: &AddArgs) -> Result<(), EngineError> {
        let load = Load {
            path: &args.path,
            labels: args.data.labels.as_deref(),
            name: vault::name(args)?,
            reading: vault::reading(args),
            exempt: vault::exemptions(args.skip),
            wait: !args.no_wait,
        };
        let ended = carry::up(&self.server, self.settings.progress, &load)?;
        vault::print_ended(printer, &args.name, ended, |version| self.reports(version))
    }

    fn get(&self, printer: Printer, args: &GetArgs) -> Result<(), EngineError> {
        carry::free(&args.destination)?;
        let (_, path) = self.path(&args.reference)?;
        let download = match carry::ask(&self.server, &format!("{path}/download"))? {
            Offer::Download(download) => download,
            Offer::Waiting { request } => return Err(waiting(&request)),
        };
        let bytes = carry::down(&self.server, self.settings.progress, &download, &args.destination)?;
        vault::print_got(printer, args, &download.artifact, download.tree, bytes)
    }

    /// What the controls found in a version, as far as they looked.
    fn reports(&self, version: &Version) -> Result<Reports, EngineError> {
        let has = |kind| version.newest(kind).is_some_and(|row| row.report.is_some());
        let path = path_of(&version.reference());
        let scan = has(EvidenceKind::Scan).then(|| self.read(&format!("{path}/scan"))).transpose()?;
        let screen = has(EvidenceKind::Screen).then(|| self.read(&format!("{path}/screen"))).transpose()?;
        Ok((scan, screen))
    }

    fn review(&self, printer: Printer, action: &ReviewAction) -> Result<(), EngineError> {
        let (decided, verb, args) = match action {
            ReviewAction::Ls => {
                let held = self.read::<Versions>("/api/v1/review")?.artifacts;
                return vault::print_list(printer, "ringfence.held/1", &held);
            }
            ReviewAction::Resume { reference } => {
                let (_, path) = self.path(reference)?;
                let ended = self.act(&format!("{path}/resume"), None, Patience::Long)?;
                return vault::print_ended(printer, reference, ended, |version| self.reports(version));
            }
            ReviewAction::Approve(args) => ("approved", "approve", args),
            ReviewAction::Refuse(args) => ("refused", "refuse", args),
        };
        let (_, path) = self.path(&args.reference)?;
        let body = json!({"reason": args.reason});
        let done: One = self.act(&format!("{path}/{verb}"), Some(&body), Patience::Long)?;
        vault::print_review(printer, decided, &done.version)
    }

    fn schedule(&self, printer: Printer, action: &ScheduleAction) -> Result<(), EngineError> {
        let plain = "/api/v1/schedules";
        match action {
            ScheduleAction::Add { job, every, at } => {
                let job: Job = (*job).into();
                let mut body = json!({"job": job.name(), "every": every});
                if let (Some(at), Some(fields)) = (at, body.as_object_mut()) {
                    fields.insert("at".to_owned(), json!(at));
                }
                schedule::one(printer, "planned", &self.act(plain, Some(&body), Patience::Brief)?)
            }
            ScheduleAction::Rm { id } => {
                let removed = self.change(Method::Delete, &format!("{plain}/{}", segment(id)), None)?;
                schedule::one(printer, "removed", &removed)
            }
            ScheduleAction::Ls => schedule::list(printer, &self.read::<Schedules>(plain)?.schedules),
        }
    }

    fn stop(&self, printer: Printer, args: &StopArgs) -> Result<(), EngineError> {
        let order = watch::ordered(args);
        let body = json!({"order": order.name(), "reason": args.reason});
        let path = format!("/api/v1/runs/{}/order", segment(&args.run));
        self.act::<Value>(&path, Some(&body), Patience::Brief)?;
        watch::print_ordered(printer, &args.run, order)
    }

    fn trail(&self, printer: Printer, action: &TrailAction) -> Result<(), EngineError> {
        match action {
            TrailAction::Ls { filter, last } => {
                if *last > ENTRIES_MAX {
                    let what =
                        format!("a server answers with {ENTRIES_MAX} entries at most: narrow `--since` and `--until`");
                    return Err(EngineError::Usage { what });
                }
                let filter = filter.filter((self.settings.now)())?;
                filter.check()?;
                let found: Entries = self.read(&format!("/api/v1/trail?{}", query(&filter, *last)))?;
                trail::print_entries(printer, &mut |each| {
                    found.entries.iter().try_for_each(each)?;
                    Ok(found.entries.len() as u64)
                })
            }
            TrailAction::Show { index } => {
                let entry: ShownEntry = self.read(&format!("/api/v1/trail/entries/{index}"))?;
                trail::print_entry(printer, &entry)
            }
            _ => printer.raw(&self.server.read_bytes("/api/v1/trail/checkpoint")?),
        }
    }

    /// The server's own verdict, and whether the trail continues what was seen from here.
    fn verify_trail(&self, printer: Printer) -> Result<ExitClass, EngineError> {
        let mut report: VerifyReport = self.act("/api/v1/trail/verify", None, Patience::Long)?;
        let entries = hold(self.settings, &self.server, &self.vault)?;
        let detail = format!("the trail of {entries} entries continues the one that was seen from this machine");
        report.checks.push(Check { name: "held here".into(), passed: true, detail });
        trail::conclude(printer, &report)
    }

    fn watch(&self, printer: Printer, args: &WatchArgs) -> Result<(), EngineError> {
        match (&args.action, &args.run) {
            (Some(WatchAction::History { run, out }), _) => {
                let record = self.record(run)?;
                let path = out.clone().unwrap_or_else(|| format!("{run}.html").into());
                std::fs::write(&path, history_page(run, &record)).map_err(EngineError::io(&path))?;
                watch::print_history(printer, run, &path)
            }
            (Some(WatchAction::Alerts(args)), _) => self.alerts(printer, args),
            (Some(WatchAction::Ack { id, reason, days }), _) => {
                let alerts = self.read::<Alerts>("/api/v1/alerts")?.alerts;
                let id = watch::alerts::full_id(id, &mut || Ok(alerts.iter().map(|shown| shown.alert.id).collect()))?;
                let until = days.map(|days| (self.settings.now)().plus_millis(u64::from(days) * DAY_MS));
                let path = format!("/api/v1/alerts/{}/acknowledge", segment(&id.to_string()));
                let body = json!({"reason": reason, "until": until});
                let said: Acknowledgement = self.act(&path, Some(&body), Patience::Brief)?;
                watch::alerts::print_acknowledged(printer, id, &said)
            }
            (Some(WatchAction::Queue { remove }), _) => remote_run::queue(self, printer, remove.as_deref()),
            (_, Some(run)) if printer.for_people() => watch::print_record(printer, &self.record(run)?),
            (_, Some(run)) => self.lines(run)?.iter().try_for_each(|line| watch::print_line(printer, line)),
            (_, None) => watch::print_runs(printer, self.read::<Runs>("/api/v1/runs")?.runs),
        }
    }

    fn alerts(&self, printer: Printer, args: &AlertsArgs) -> Result<(), EngineError> {
        let mut alerts = self.read::<Alerts>("/api/v1/alerts")?.alerts;
        let least = args.min_severity.map(crate::args::FailOn::severity);
        alerts.retain(|shown| {
            (!args.open || shown.state == AlertState::Open) && least.is_none_or(|least| shown.alert.severity >= least)
        });
        alerts.drain(..alerts.len().saturating_sub(args.last));
        watch::alerts::print_alerts(printer, &alerts)
    }

    fn lines(&self, run: &str) -> Result<Vec<TelemetryLine>, EngineError> {
        Ok(self.read::<Lines>(&format!("/api/v1/runs/{}", segment(run)))?.lines)
    }

    fn record(&self, run: &str) -> Result<Record, EngineError> {
        let mut record = Record::new();
        self.lines(run)?.iter().for_each(|line| record.take(line));
        Ok(record)
    }
}

/// Where a version is.
pub(super) fn path_of(wanted: &Reference) -> String {
    let full = wanted.to_string();
    let selector = full.split_once('@').map_or("", |(_, selector)| selector);
    let (kind, name) = (wanted.artifact.kind(), wanted.artifact.name());
    format!("/api/v1/artifacts/{kind}/{}/{}", segment(name), segment(selector))
}

/// What to do about a request that waits for others.
pub(super) fn waiting(request: &Value) -> EngineError {
    let id = request.get("id").and_then(Value::as_str).unwrap_or_default();
    let needed = request.pointer("/document/needed").and_then(Value::as_u64).unwrap_or_default();
    EngineError::NotPermitted {
        what: format!(
            "request `{}` waits for the approval of {needed} other people, in the server's review queue \
             or by `ringfence request approve`; run this again once they have given it",
            printable(id, 40)
        ),
    }
}

/// The query of a search.
fn query(filter: &Filter, last: u64) -> String {
    let moment = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
    let given = BTreeMap::from([
        ("who", filter.who.clone()),
        ("what", filter.what.clone()),
        ("artifact", filter.artifact.clone()),
        ("decision", filter.decision.map(|decision| decision.word().to_owned())),
        ("since", moment(filter.since)),
        ("until", moment(filter.until)),
        ("last", Some(last.to_string())),
    ]);
    let pairs = given.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", segment(&value?))));
    pairs.collect::<Vec<_>>().join("&")
}
