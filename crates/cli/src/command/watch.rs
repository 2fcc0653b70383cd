//! Runs seen while they go on and afterwards, and series scored.

pub(crate) mod alerts;
mod screen;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal as _},
    path::Path,
};

use ringfence_engine::{
    EngineError, ExitClass, Order, Settings, Vault, follow,
    history::{RunLine, clock, history_page},
    live_runs,
    lookout::{judge_recording, people::judge_accesses},
    schema::{
        Timestamp,
        alert::{Basis, TelemetryLine},
    },
    watch::{
        record::{MarkKind, Record},
        replay::{RowError, Rows},
        rules::Rules,
        series::Detector,
    },
    watch_rules,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    args::{
        Format,
        watch::{StopArgs, WatchAction, WatchArgs},
    },
    output::{Printer, Style, table},
};

/// `watch`.
pub(crate) fn watch(settings: &Settings<'_>, printer: Printer, args: &WatchArgs) -> Result<ExitClass, EngineError> {
    match (&args.action, &args.run) {
        (Some(WatchAction::Replay { file }), _) => replay(printer, file),
        (Some(WatchAction::People { last }), _) => {
            let accesses = Vault::open(settings)?.accesses(*last)?;
            let raised = judge_accesses(accesses, watch_rules(&settings.config)?);
            alerts::print_ranked(printer, raised)
        }
        (Some(WatchAction::History { run, out }), _) => {
            let record = Vault::open(settings)?.run_record(run)?;
            let path = out.clone().unwrap_or_else(|| format!("{run}.html").into());
            std::fs::write(&path, history_page(run, &record)).map_err(EngineError::io(&path))?;
            print_history(printer, run, &path)?;
            Ok(ExitClass::Done)
        }
        (Some(WatchAction::Alerts(args)), _) => alerts::list(settings, printer, args),
        (Some(WatchAction::Ack { id, reason, days }), _) => alerts::acknowledge(settings, printer, id, reason, *days),
        (Some(WatchAction::Rules), _) => alerts::rules(settings, printer),
        (Some(WatchAction::Sinks { test: Some(name), .. }), _) => alerts::test(settings, printer, name),
        (Some(WatchAction::Sinks { resend, forget, .. }), _) => {
            alerts::requeue(settings, printer, resend, forget.as_deref())
        }
        (Some(WatchAction::Deliver), _) => alerts::deliver(settings, printer),
        (Some(WatchAction::Queue { .. }), _) => {
            Err(EngineError::Usage { what: "a queue is a server's: name it with `--server`".into() })
        }
        (None, Some(run)) => look_at(settings, printer, run),
        (None, None) => list(settings, printer),
    }
}

/// `stop`.
pub(crate) fn stop(settings: &Settings<'_>, printer: Printer, args: &StopArgs) -> Result<ExitClass, EngineError> {
    let order = ordered(args);
    Vault::open(settings)?.order_run(&args.run, order, &args.reason)?;
    print_ordered(printer, &args.run, order)?;
    Ok(ExitClass::Done)
}

/// What is to be done to the run.
pub(crate) fn ordered(args: &StopArgs) -> Order {
    match (args.freeze, args.thaw) {
        (true, _) => Order::Freeze,
        (_, true) => Order::Thaw,
        _ => Order::Stop,
    }
}

/// What was done, of a run here or on a server.
pub(crate) fn print_ordered(printer: Printer, run: &str, order: Order) -> Result<(), EngineError> {
    let done = match order {
        Order::Freeze => "frozen",
        Order::Thaw => "going on",
        Order::Stop => "stopped",
    };
    if printer.for_people() {
        return printer.line(format!("{done}  {run}"));
    }
    printer.document("ringfence.stop/1", &json!({"run": run, "state": done}))
}

fn list(settings: &Settings<'_>, printer: Printer) -> Result<ExitClass, EngineError> {
    let runs = Vault::open(settings)?.runs()?;
    print_runs(printer, runs.into_iter().map(RunRow::from).collect())?;
    Ok(ExitClass::Done)
}

/// A run in a list, of this machine or a server.
#[derive(Serialize, Deserialize)]
pub(crate) struct RunRow {
    run: String,
    state: String,
    subject: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<RunLine> for RunRow {
    fn from(line: RunLine) -> Self {
        let RunLine { run, state, subject, ended, error } = line;
        Self { run, state: state.to_owned(), subject, ended, error }
    }
}

/// Lists runs.
pub(crate) fn print_runs(printer: Printer, runs: Vec<RunRow>) -> Result<(), EngineError> {
    if !printer.for_people() {
        return printer.document("ringfence.runs/1", &json!({"runs": runs}));
    }
    if runs.is_empty() {
        printer.say("no runs yet: `ringfence run PLAN` starts one");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = runs
        .into_iter()
        .map(|line| {
            let ended = line.ended.map(|time| time.to_string()).unwrap_or_default();
            vec![line.run, line.state, line.subject, ended, line.error.unwrap_or_default()]
        })
        .collect();
    printer.line(table(&rows).trim_end())
}

/// Says where the page of a run is.
pub(crate) fn print_history(printer: Printer, run: &str, path: &Path) -> Result<(), EngineError> {
    if printer.for_people() {
        printer.line(path.display().to_string())
    } else {
        printer.document("ringfence.history/1", &json!({"run": run, "page": path}))
    }
}

/// What a run was like, for people.
pub(crate) fn print_record(printer: Printer, record: &Record) -> Result<(), EngineError> {
    print_marks(printer, record, 0)?;
    print_signals(printer, record)
}

/// A terminal gets the view; pipes and programs get lines.
fn look_at(settings: &Settings<'_>, printer: Printer, run: &str) -> Result<ExitClass, EngineError> {
    let is_live = live_runs(&settings.vault).iter().any(|live| live == run);
    let on_terminal = printer.format == Format::Human && io::stdout().is_terminal() && io::stdin().is_terminal();
    if on_terminal {
        let vault = Vault::open(settings)?;
        let record = if is_live { Record::new() } else { vault.run_record(run)? };
        let lines = if is_live { Some(follow(&settings.vault, run)?) } else { None };
        let obeys = |order| vault.order_run(run, order, "in the live view");
        screen::show(&obeys, run, record, lines)?;
        return Ok(ExitClass::Done);
    }
    if is_live {
        let mut record = Record::new();
        for line in follow(&settings.vault, run)? {
            let line = line?;
            if printer.for_people() {
                let before = record.marks().len();
                record.take(&line);
                print_marks(printer, &record, before)?;
            } else {
                print_line(printer, &line)?;
            }
        }
        if printer.for_people() {
            print_signals(printer, &record)?;
        }
        return Ok(ExitClass::Done);
    }
    let vault = Vault::open(settings)?;
    if printer.for_people() {
        print_record(printer, &vault.run_record(run)?)?;
    } else {
        vault.run_lines(run)?.iter().try_for_each(|line| print_line(printer, line))?;
    }
    Ok(ExitClass::Done)
}

pub(crate) fn print_line(printer: Printer, line: &TelemetryLine) -> Result<(), EngineError> {
    let text = serde_json::to_string(line).map_err(|error| EngineError::incomplete("standard output", error))?;
    printer.line(text)
}

fn print_marks(printer: Printer, record: &Record, from: usize) -> Result<(), EngineError> {
    for mark in record.marks().iter().skip(from) {
        let (word, style) = word(mark.kind);
        let line = format!("{:>8}  {}  {}", clock(mark.at_ms), printer.strong(word, style), mark.text);
        printer.line(line)?;
    }
    Ok(())
}

/// One line per signal: whose word, name, newest value, range.
fn print_signals(printer: Printer, record: &Record) -> Result<(), EngineError> {
    let rows: Vec<Vec<String>> = record
        .signals()
        .map(|signal| {
            let low = signal.points.iter().map(|point| point.low).fold(f64::INFINITY, f64::min);
            let high = signal.points.iter().map(|point| point.high).fold(f64::NEG_INFINITY, f64::max);
            let value = |value: f64| format!("{value:.4} {}", signal.unit).trim_end().to_owned();
            vec![
                short_whose(signal.basis).to_owned(),
                signal.name.to_owned(),
                signal.latest().map(value).unwrap_or_default(),
                format!("{low:.4} to {high:.4}"),
            ]
        })
        .collect();
    printer.line(table(&rows).trim_end())
}

/// Whose word a signal is, in one word.
fn short_whose(basis: Basis) -> &'static str {
    match basis {
        Basis::Observed => "kernel",
        Basis::Claimed => "claim",
        Basis::Both => "both",
    }
}

fn word(kind: MarkKind) -> (&'static str, Style) {
    match kind {
        MarkKind::Phase => ("phase  ", Style::Quiet),
        MarkKind::Checkpoint => ("file   ", Style::Good),
        MarkKind::Refusal => ("refused", Style::Warn),
        MarkKind::Limit => ("limit  ", Style::Bad),
        MarkKind::Alert(_) => ("alert  ", Style::Bad),
    }
}

fn replay(printer: Printer, file: &Path) -> Result<ExitClass, EngineError> {
    let mut input: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file).map_err(EngineError::io(file))?))
    };
    let begin = input.fill_buf().map_err(EngineError::io(file))?;
    if begin.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return score(printer, file, input);
    }
    let (name, mut failed) = (file.file_stem().unwrap_or_default().to_string_lossy(), None);
    judge_recording(&name, input, Rules::builtin(), &mut |routed| {
        if let Err(error) = alerts::print_routed(printer, &routed) {
            failed.get_or_insert(error);
        }
    })?;
    failed.map_or(Ok(ExitClass::Done), Err)
}

fn score(printer: Printer, file: &Path, input: impl BufRead) -> Result<ExitClass, EngineError> {
    let mut detector = Detector::new();
    let mut out = String::new();
    let mut unread = 0_u64;
    for row in Rows::new(input) {
        let row = match row {
            Ok(row) => row,
            // One bad row is named and passed over; without columns or a file there is nothing to go on with.
            Err(error @ (RowError::Read { .. } | RowError::NoColumn { .. })) => {
                return Err(EngineError::incomplete(file.display().to_string(), error));
            }
            Err(error) => {
                unread += 1;
                if unread <= UNREAD_SAID_MAX {
                    printer.say(format!("{}: {error}", file.display()));
                }
                continue;
            }
        };
        let score = detector.push(row.at_s, row.value);
        if printer.for_people() {
            out.push_str(&format!("{}  {}  {score:.4}\n", row.timestamp, row.value));
        } else {
            let line = json!({"timestamp": row.timestamp, "value": row.value, "score": score});
            out.push_str(&line.to_string());
            out.push('\n');
        }
        if out.len() >= OUT_BYTES {
            printer.raw(out.as_bytes())?;
            out.clear();
        }
    }
    printer.raw(out.as_bytes())?;
    if unread > 0 {
        return Err(EngineError::incomplete(file.display().to_string(), format!("{unread} rows could not be read")));
    }
    Ok(ExitClass::Done)
}

/// Rows that could not be read and are named one by one.
const UNREAD_SAID_MAX: u64 = 10;
/// Bytes that are written at a time.
const OUT_BYTES: usize = 32 << 10;
