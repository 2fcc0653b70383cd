//! A run carried out on this machine for a vault behind a server: inputs fetched, the command in this machine's sandbox,
//! events told while it goes on, outputs brought.
//!
//! [`machine`] says what this machine is; [`inputs::named`] has a plan's files brought into the vault; [`carry_out`] does the
//! rest under the run's token. What the sandbox is given is made by the same code as for a run beside its vault.
//!
//! What must stay true: every byte of an input is what the vault's tree says; inputs and outputs lie in memory, never on this
//! machine's disks; nothing runs that the plan does not say; the command ends when the vault says so, and when the vault has
//! not been heard for [`LEASE_MS`], which is before it gives the run to somebody else.

mod talk;

pub mod inputs;

use std::{
    cell::Cell,
    fs::File,
    io::{self, Read},
    sync::mpsc,
    thread,
};

use ringfence_reach::{
    ReachError, Secret,
    server::{Method, Patience, Server, segment},
};
pub use ringfence_sandbox::Stop;
use ringfence_sandbox::{Ending, memfd, probe, run_keyless};
use ringfence_schema::{
    Hasher, Tree,
    event::{Claimed, Observed, RunEvent, Source},
    finding::printable,
    tree::TreeEntry,
};
use serde_json::{Value, json};

use self::talk::{Said, Talk};
use crate::{
    carry::{Retry, bring, fetch_whole},
    error::EngineError,
    plan::Plan,
    provenance,
    run::{
        job::{self, Content, Granted},
        told::{Assignment, MachineFacts, Outcome, Shown},
    },
    settings::Settings,
    transfer::{UPLOAD_FILES_MAX, UploadView},
};

pub use self::talk::LEASE_MS;

/// Events that wait to be told, at most; beyond them the supervisor waits.
const EVENTS_WAITING_MAX: usize = 4_096;
/// Longest name of a machine, in characters.
const NAME_CHARS_MAX: usize = 64;

/// What this machine is, by its own account.
///
/// # Errors
/// [`EngineError::Incomplete`] where the sandbox cannot be asked.
pub fn machine(settings: &Settings<'_>) -> Result<MachineFacts, EngineError> {
    let probe =
        probe(&settings.program, &["__supervise"]).map_err(|error| EngineError::incomplete("sandbox", error))?;
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(MachineFacts {
        name: printable(name.trim(), NAME_CHARS_MAX),
        level: probe.level,
        line: probe.line,
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        client: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// Carries out `assignment` of the vault behind `server`, to the point from where the vault goes on alone, or until `stop`.
///
/// # Errors
/// [`EngineError::Tampered`] for inputs, or a grant, that are not what they should be; [`EngineError::Incomplete`] where the
/// command did not end well or was stopped. The server is told why, as long as it listens.
pub fn carry_out(
    settings: &Settings<'_>,
    server: &Server,
    assignment: Assignment,
    stop: &Stop,
) -> Result<(), EngineError> {
    let Assignment { token: Shown(token), .. } = &assignment;
    let server = server.with_token(Secret::new("run token", token.clone())?);
    let path = format!("/api/v1/runs/{}", segment(&assignment.run));
    let talk = Talk::new(&server, &path, stop);
    let (tell, told) = mpsc::sync_channel(EVENTS_WAITING_MAX);
    let errand = Errand { settings, server: &server, path: &path, stop, tell };
    thread::scope(|scope| {
        let talking = scope.spawn(move || talk.go_on(&told));
        let done = errand.run(&assignment);
        // Whoever talks ends when nobody can tell anything any more.
        drop(errand);
        let over = talking.join().unwrap_or_else(|_| Some("its thread ended".to_owned()));
        match (done, over) {
            (Ok(()), None) if stop.is_stopped() => {
                Err(EngineError::incomplete(format!("run {}", assignment.run), "it was stopped on this machine"))
            }
            // With its end a run's token is good no more: that it was told so is no failure.
            (Ok(()), _) => Ok(()),
            (Err(error @ EngineError::Tampered { .. }), _) | (Err(error), None) => Err(error),
            (Err(_), Some(why)) => Err(EngineError::incomplete(format!("run {}", assignment.run), why)),
        }
    })
}

struct Errand<'e> {
    settings: &'e Settings<'e>,
    server: &'e Server,
    path: &'e str,
    stop: &'e Stop,
    tell: mpsc::SyncSender<Said>,
}

impl Errand<'_> {
    fn run(&self, assignment: &Assignment) -> Result<(), EngineError> {
        let done = self.ran(assignment);
        if let Err(error) = &done {
            // Where it does not listen, its own patience ends the run.
            let why = json!({"why": printable(&error.to_string(), 1_000)});
            let path = format!("{}/fail", self.path);
            let _ = self.server.act::<Value>(Method::Post, &path, Some(&why), Patience::Brief);
        }
        done
    }

    fn ran(&self, assignment: &Assignment) -> Result<(), EngineError> {
        let answer = |what: String| EngineError::tampered("the server's assignment", what);
        let plan = Plan::parse(assignment.plan.clone(), std::path::Path::new("the plan"))?;
        let egress = plan.content.run.egress.taken(&assignment.egress).map_err(answer)?;
        let contents = self.fetched(&plan, assignment)?;
        let command = job::command(&plan, &assignment.inputs);
        let program = &self.settings.program;
        let granted = Granted { demand: assignment.demand, egress };
        let job = job::job(&plan, &assignment.run, &command, granted, contents, program)?;
        let progress = self.settings.progress;
        progress.note(&format!("running    {}", assignment.run));
        progress.begin("training", None);
        let (mut files, mut outputs) = (Vec::new(), Vec::new());
        let mut events = |event: RunEvent| {
            progress.advance(event.at_ms / 1_000, &line(&event));
            // Nobody listens where the run is over; the command is being stopped then.
            let _ = self.tell.send(Said::Event(event));
        };
        let mut collect = |path: &str, content: &mut dyn Read| -> io::Result<()> {
            let mut hashing = Hashing { inner: content, hasher: Hasher::new() };
            let file = File::from(memfd("output", &mut hashing)?);
            let (size, sha256) = (hashing.hasher.len(), hashing.hasher.finish());
            files.push(TreeEntry { path: path.to_owned(), size, sha256 });
            outputs.push(file);
            Ok(())
        };
        let ran = run_keyless(program, &["__supervise"], job, self.stop, &mut events, &mut collect);
        progress.end("");
        let result = ran.map_err(job::failed)?;
        self.flush();
        let environment = provenance::environment(&command);
        if result.ending != Ending::Exited(0) {
            // Nothing is kept of a command that did not end well.
            files.clear();
        }
        if files.len() > UPLOAD_FILES_MAX {
            let why = format!("{} outputs; a server takes {UPLOAD_FILES_MAX}: pack them into archives", files.len());
            return Err(EngineError::incomplete("outputs", why));
        }
        let outcome = Outcome { result, files, environment, program: job::program_digest(program)? };
        self.bring(&outcome, &outputs)
    }

    /// The inputs, each file checked against its digest and each input against its tree.
    fn fetched(&self, plan: &Plan, assignment: &Assignment) -> Result<Vec<Content>, EngineError> {
        let progress = self.settings.progress;
        let most = plan.content.run.limits.memory.0;
        let mut total: u64 = 0;
        for given in &assignment.inputs {
            let tree = Tree::new(given.files.clone())
                .map_err(|error| EngineError::tampered("the server's assignment", error))?;
            if tree.digest() != given.input.tree || tree.files() != given.files {
                return Err(EngineError::tampered(
                    &given.input.artifact,
                    "its files do not make the tree that it names",
                ));
            }
            total = total.saturating_add(tree.size());
        }
        if total > most {
            let why = format!("{total} bytes of inputs; the plan's memory is {most}");
            return Err(EngineError::incomplete("inputs", why));
        }
        progress.begin("receiving", Some(total));
        let (mut contents, mut done) = (Vec::new(), 0);
        for (number, given) in assignment.inputs.iter().enumerate() {
            for (place, file) in given.files.iter().enumerate() {
                if self.stop.is_stopped() {
                    return Err(EngineError::incomplete("inputs", "the run was stopped"));
                }
                let path = format!("{}/inputs/{number}/files/{place}", self.path);
                let bytes = fetch_whole(self.server, &path, file, &mut |some| {
                    progress.advance(done + some, &file.path);
                })?;
                done += file.size;
                contents.push(Content { role: given.input.role.clone(), path: file.path.clone(), bytes });
            }
        }
        progress.end("");
        Ok(contents)
    }

    /// Waits until all that happened has been told.
    fn flush(&self) {
        let (done, all) = mpsc::sync_channel(1);
        if self.tell.send(Said::All(done)).is_ok() {
            let _ = all.recv();
        }
    }

    /// Says how it ended and brings what it left.
    fn bring(&self, outcome: &Outcome, outputs: &[File]) -> Result<(), EngineError> {
        let progress = self.settings.progress;
        let body = serde_json::to_value(outcome).map_err(|error| EngineError::incomplete("outcome", error))?;
        let path = format!("{}/outputs", self.path);
        let begun: Option<UploadView> =
            Retry::default().until(|| self.server.act(Method::Post, &path, Some(&body), Patience::Brief))?;
        let Some(begun) = begun else { return Ok(()) };
        progress.begin("sending", Some(begun.bytes));
        let open = |file: usize| {
            let file = outputs.get(file).ok_or_else(|| EngineError::incomplete("outputs", "one is missing"))?;
            file.try_clone().map_err(EngineError::io("output"))
        };
        bring(self.server, progress, &path, begun, &outcome.files, &open)?;
        progress.end("");
        let finish = format!("{}/finish", self.path);
        let tries = Cell::new(0);
        let finished = Retry::default().until(|| {
            tries.set(tries.get() + 1);
            match self.server.act::<Value>(Method::Post, &finish, None, Patience::Brief) {
                // The answer to an earlier one was lost: with it the token had served its purpose.
                Err(ReachError::Problem { status: 401, .. }) if tries.get() > 1 => Ok(Value::Null),
                other => other,
            }
        });
        finished.map(drop)
    }
}

/// A reader that hashes what passes.
struct Hashing<'r> {
    inner: &'r mut dyn Read,
    hasher: Hasher,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// What is worth showing of an event.
fn line(event: &RunEvent) -> String {
    match &event.source {
        Source::Claimed(Claimed::Line { text, .. }) => text.chars().take(60).collect(),
        Source::Observed(Observed::Sample(usage)) => {
            let (cpu, memory) = (usage.cpu_ms as f64 / 1e3, usage.memory_bytes as f64 / f64::from(1 << 20));
            format!("{cpu:.1} CPU-s, {memory:.0} MiB")
        }
        _ => String::new(),
    }
}
