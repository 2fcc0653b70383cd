//! `run`, `stop` and `serve --runner` for another machine's vault: the command runs here, everything else there.

use std::{
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use ringfence_engine::{
    EngineError, ExitClass, Plan, carry,
    errand::{self, Stop},
    queue::{QueueAsk, QueueState, QueueView},
    reach::{
        ReachError,
        server::{Method, Patience, segment},
    },
    told::{Assignment, End, RunAsk, Standing},
};
use ringfence_server::run::when_asked_to_end;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    args::RunArgs,
    command::{
        remote::{One, Remote, hold, path_of},
        remote_release,
        run::{demanded, print_kept},
        vault::{exemptions, reference},
    },
    output::{Printer, Style, table},
};

/// Time between two questions how a run stands, in milliseconds.
const POLL_MS: u64 = 1_000;
/// Time between two questions whether a run waits, in milliseconds.
const QUEUE_POLL_MS: u64 = 2_000;
/// Refusals in a row after which a training machine gives up.
const REFUSED_MAX: u32 = 3;

#[derive(Deserialize)]
struct Queue {
    queue: Vec<QueueView>,
}

#[derive(Deserialize)]
struct Waiting {
    waiting: usize,
}

/// `run`.
pub(super) fn run(remote: &Remote<'_>, printer: Printer, args: &RunArgs) -> Result<ExitClass, EngineError> {
    let plan = Plan::read(&args.plan)?;
    if let Some(out) = &args.out {
        if args.queue {
            let what = "nobody waits here for what a queued run releases; leave `--out` away".to_owned();
            return Err(EngineError::Usage { what });
        }
        carry::free_for_bundle(out)?;
    }
    let (settings, server) = (remote.settings(), remote.server());
    if args.queue {
        return enqueue(remote, printer, args, &plan);
    }
    let machine = errand::machine(settings)?;
    let inputs = errand::inputs::named(settings, server, &plan, exemptions(args.skip))?;
    let ask = RunAsk { plan: plan.text.clone(), inputs, level: demanded(args.level), machine, pin: args.pin_address };
    let body = serde_json::to_value(&ask).map_err(|error| EngineError::incomplete("run", error))?;
    let assignment: Assignment = remote.act("/api/v1/runs", Some(&body), Patience::Brief)?;
    if assignment.plan != plan.text {
        return Err(EngineError::tampered("the server's assignment", "its plan is another than the one that was sent"));
    }
    let run = assignment.run.clone();
    let carried = errand::carry_out(settings, server, assignment, &Stop::new());
    if let Err(error @ EngineError::Tampered { .. }) = carried {
        return Err(error);
    }
    if carried.is_ok() {
        settings.progress.note(&format!("brought    {run}; the server scans, attacks and decides"));
    }
    // The server's word is the last one, also where it ended the run. Where it is not heard, what happened here counts.
    match (ended(remote, &run), carried) {
        (Ok(end), _) => conclude(remote, printer, &run, end, args.out.as_deref()),
        (Err(EngineError::Reach(ReachError::Problem { status: 401, .. })), Ok(())) => {
            let why = "it was brought, and the server goes on with it; the session here has ended meanwhile: log in again \
                       and look with `ringfence watch`";
            Err(EngineError::incomplete(format!("run {run}"), why))
        }
        (Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
    }
}

/// `run --queue`.
fn enqueue(remote: &Remote<'_>, printer: Printer, args: &RunArgs, plan: &Plan) -> Result<ExitClass, EngineError> {
    let inputs = errand::inputs::named(remote.settings(), remote.server(), plan, exemptions(args.skip))?;
    let ask = QueueAsk { plan: plan.text.clone(), inputs, level: demanded(args.level) };
    let body = serde_json::to_value(&ask).map_err(|error| EngineError::incomplete("run", error))?;
    let queued: QueueView = remote.act("/api/v1/queue", Some(&body), Patience::Brief)?;
    if printer.for_people() {
        printer.line(format!("{}  {} {}", printer.strong("queued", Style::Good), queued.id, queued.name))?;
        printer.say("`ringfence watch queue` says what becomes of it");
    } else {
        printer.document("ringfence.queued/1", &json!(queued))?;
    }
    Ok(ExitClass::Done)
}

/// `watch queue`.
pub(super) fn queue(remote: &Remote<'_>, printer: Printer, remove: Option<&str>) -> Result<(), EngineError> {
    if let Some(id) = remove {
        let path = format!("/api/v1/queue/{}", segment(id));
        let gone: QueueView = remote.change(Method::Delete, &path, None)?;
        return if printer.for_people() {
            printer.line(format!("removed  {} {}", gone.id, gone.name))
        } else {
            printer.document("ringfence.queued/1", &json!(gone))
        };
    }
    let Queue { queue } = remote.read("/api/v1/queue")?;
    if !printer.for_people() {
        return printer.document("ringfence.queue/1", &json!({"queue": queue}));
    }
    if queue.is_empty() {
        printer.say("nothing is queued: `ringfence run --queue PLAN`");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = queue.iter().map(row).collect();
    printer.line(table(&rows).trim_end())
}

fn row(entry: &QueueView) -> Vec<String> {
    let state = match &entry.state {
        QueueState::Waiting => "waiting".to_owned(),
        QueueState::Taken { run, at, .. } => format!("with a machine as {run} since {at}"),
        QueueState::Over { end, .. } => match end {
            End::Released { artifact, .. } => format!("released {artifact}"),
            End::Kept { artifact, .. } => format!("kept {artifact}"),
            End::Refused { artifact, reasons, .. } => format!("made {artifact}, not released: {}", reasons.join("; ")),
            End::Failed { why } => format!("failed: {why}"),
        },
    };
    vec![entry.id.clone(), entry.name.clone(), entry.since.to_string(), state]
}

/// What the system asks of a training machine: first to take no more runs, then to stop the one under way.
struct Ending {
    asked: Receiver<()>,
    stop: Stop,
}

impl Ending {
    fn new() -> Result<Self, EngineError> {
        let ((tell, asked), stop) = (channel(), Stop::new());
        let (lever, mut times) = (stop.clone(), 0);
        when_asked_to_end(move || {
            times += 1;
            if times > 1 {
                lever.stop();
            }
            // Whoever does not listen has ended.
            let _ = tell.send(());
        })
        .map_err(|source| EngineError::Io { path: "signals".into(), source })?;
        Ok(Self { asked, stop })
    }

    /// Waits for so long, or until it is asked for; whether it is.
    fn within(&self, time: Duration) -> bool {
        matches!(self.asked.recv_timeout(time), Ok(()) | Err(RecvTimeoutError::Disconnected))
    }
}

/// `serve --runner`: takes one queued run after the other until it is asked to end. A run under way is carried through first;
/// asked once more, it is stopped, and the vault hears so.
pub(super) fn serve(remote: &Remote<'_>, printer: Printer) -> Result<ExitClass, EngineError> {
    let settings = remote.settings();
    let machine = errand::machine(settings)?;
    let line = format!("ready      takes runs of {} ({})", remote.server().origin(), machine.line);
    settings.progress.note(&line);
    let body = json!({"machine": machine});
    let ending = Ending::new()?;
    let (mut refused, mut wait) = (0, Duration::ZERO);
    while !ending.within(std::mem::take(&mut wait)) {
        match taken(remote, &body) {
            Ok(Some(assignment)) => {
                refused = 0;
                let run = assignment.run.clone();
                let carried = errand::carry_out(settings, remote.server(), assignment, &ending.stop);
                let (state, why) = match &carried {
                    Ok(()) => ("brought", String::new()),
                    Err(error) => ("failed", error.to_string()),
                };
                if printer.for_people() {
                    printer.line(format!("{state}  {run}  {why}").trim_end())?;
                } else {
                    printer.document("ringfence.carried/1", &json!({"run": run, "state": state, "why": why}))?;
                }
                hold(settings, remote.server(), remote.vault())?;
            }
            Ok(None) => wait = Duration::from_millis(QUEUE_POLL_MS),
            // It may be that whoever queued it lost the right to; again and again, it is this machine's.
            Err(EngineError::Reach(ReachError::Problem { status: 403, .. })) if refused < REFUSED_MAX => refused += 1,
            Err(EngineError::Reach(error)) if error.is_passing() => {
                settings.progress.note(&format!("waiting    {error}"));
                wait = Duration::from_millis(QUEUE_POLL_MS);
            }
            Err(error) => return Err(error),
        }
    }
    settings.progress.note("ended      takes no more runs");
    Ok(ExitClass::Done)
}

/// The next run, if one waits.
fn taken(remote: &Remote<'_>, machine: &Value) -> Result<Option<Assignment>, EngineError> {
    let Waiting { waiting } = remote.read("/api/v1/queue/waiting")?;
    if waiting == 0 {
        return Ok(None);
    }
    match remote.act("/api/v1/queue/take", Some(machine), Patience::Brief) {
        // Another machine was quicker.
        Err(EngineError::Reach(ReachError::Problem { status: 404, .. })) => Ok(None),
        other => other.map(Some),
    }
}

/// Waits for what comes of the run.
fn ended(remote: &Remote<'_>, run: &str) -> Result<End, EngineError> {
    loop {
        let standing: Standing = remote.read(&format!("/api/v1/runs/{}/standing", segment(run)))?;
        match standing.end {
            Some(end) => return Ok(end),
            None => thread::sleep(Duration::from_millis(POLL_MS)),
        }
    }
}

/// Says what came of the run, and fetches what was released where that is wanted.
fn conclude(
    remote: &Remote<'_>,
    printer: Printer,
    run: &str,
    end: End,
    out: Option<&Path>,
) -> Result<ExitClass, EngineError> {
    match end {
        End::Released { artifact, tree } => {
            if let Some(out) = out {
                remote.settings().progress.note(&format!("released   {artifact}"));
                let version = remote.read::<One>(&path_of(&reference(&artifact)?))?.version;
                remote_release::take(remote, &version, out)?;
            }
            if printer.for_people() {
                printer.line(format!("{}  {artifact}", printer.strong("released", Style::Good)))?;
                match out {
                    Some(out) => printer.line(format!("  bundle  {}", out.display()))?,
                    None => printer.say(format!(
                        "it stays in the server's vault; `ringfence release {artifact} --out DIR` fetches its bundle"
                    )),
                }
            } else {
                let mut told = json!({"verdict": "released", "run": run, "artifact": artifact, "tree": tree});
                if let (Some(out), Some(fields)) = (out, told.as_object_mut()) {
                    fields.insert("bundle".to_owned(), json!(out));
                }
                printer.document("ringfence.run/1", &told)?;
            }
            Ok(ExitClass::Done)
        }
        End::Kept { artifact, tree } => print_kept(printer, &artifact, tree).map(|()| ExitClass::Done),
        End::Refused { artifact, tree, reasons } => {
            if printer.for_people() {
                printer.line(format!("{}  {artifact}", printer.strong("refused", Style::Bad)))?;
            } else {
                let told = json!({"verdict": "refused", "run": run, "artifact": artifact, "tree": tree,
                    "reasons": reasons});
                printer.document("ringfence.run/1", &told)?;
            }
            Err(EngineError::Refused { gate: "release", subject: artifact, reasons })
        }
        End::Failed { why } => {
            let said =
                why.strip_prefix(&format!("run {run}")).map_or(why.as_str(), |rest| rest.trim_start_matches(": "));
            Err(EngineError::incomplete(format!("run {run}"), said))
        }
    }
}
