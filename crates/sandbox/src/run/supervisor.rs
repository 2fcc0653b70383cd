//! The supervisor: a process of its own, without keys, that starts one run, watches it and collects its outputs.
//!
//! It has one thread, and more for the connections of a run that has egress. It speaks frames: an [`Order`] and files come on standard input, events, outputs and the result go
//! to standard output. The end of standard input kills the run.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
    process::ExitCode,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{prctl, signal::Signal},
};
use ringfence_schema::{
    event::{Observed, READS_TOLD, Usage},
    finding::printable,
};

use super::{
    Demand, Ending, FILES_MAX, Gpus, Level, ORDER_BYTES_MAX, Order, OutputHeader, Plan, Probe, RunResult, SandboxError,
    Totals,
    calls::MemoryControl,
    claims::{self, Claims},
    collect::{self, Entry},
    control::Report,
    devices,
    egress::{Egress, EgressPolicy},
    files::Files,
    from_supervisor,
    groups::{self, Groups},
    keeper::Purpose,
    landlocked,
    lines::{Budget, Lines},
    mechanisms::{InForce, Mechanism},
    notices::Notices,
    nvml::Gauge,
    outbox::Outbox,
    to_supervisor,
    tree::{Start, Tree, best_with_namespaces, start_best_level},
    usage::{self, Pace, Sample},
};
use crate::{frame, sys};

/// The whole life of the supervisor process: call it first thing in `main` of the executable that [`super::run_keyless`]
/// starts. Everything it has to say goes through its pipes.
pub fn supervisor_main() -> ExitCode {
    match main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn main() -> io::Result<()> {
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut outbox = Outbox::new(File::from(io::stdout().as_fd().try_clone_to_owned()?))?;
    // What the keeper cannot adopt any more (it was killed) falls to this process.
    prctl::set_child_subreaper(true)?;
    let order = frame::read(&mut input, ORDER_BYTES_MAX)?.filter(|frame| frame.kind == to_supervisor::ORDER);
    let order = order.ok_or(io::ErrorKind::UnexpectedEof)?;
    match serde_json::from_slice(&order.payload)? {
        Order::Probe => outbox.record(from_supervisor::PROBE, &probe_levels(&input))?,
        Order::Run(plan) => {
            // Kept until the caller has heard: closing an inotify queue waits until every CPU has passed a quiet state
            // (fsnotify's grace period), some 15 ms, and nothing of the run depends on it.
            let mut files = None;
            match supervise(&plan, &input, &mut outbox, &mut files) {
                Ok(result) => outbox.record(from_supervisor::RESULT, &result)?,
                Err(error) => outbox.record(from_supervisor::FAILURE, &error)?,
            }
            outbox.flush()?;
            // What killed supervisors left. Nobody waits for it, and what cannot be removed now is somebody's next time.
            let _ = landlocked::sweep_stale();
        }
    }
    outbox.flush()
}

/// Tries each level for real, best first.
fn probe_levels(input: &File) -> Probe {
    let plan = Plan {
        run_id: format!("probe-{}", std::process::id()),
        command: Vec::new(),
        environment: Vec::new(),
        readable: Vec::new(),
        gpus: Gpus::None,
        files: 0,
        file_bytes: 0,
        limits: super::RunLimits::default(),
        demand: Demand::Any,
        egress: EgressPolicy::default(),
        in_force: InForce::default(),
    };
    let mut reasons: Vec<String> = Vec::new();
    let best = best_with_namespaces(&Groups::make(&plan.run_id, &plan.limits));
    for level in [best, Level::Landlock] {
        let started = Tree::start(level, &plan, Groups::default(), input, Purpose::Probe);
        let outcome = match started {
            Ok(mut tree) => {
                tree.end();
                Ok(tree.measures.clone())
            }
            Err(Start::Refused(reason)) => Err(reason),
            Err(Start::Failed(error)) => Err(error.to_string()),
        };
        match outcome {
            Ok(measures) => {
                let mut line = format!("level {}: {}", level.name(), measures.join("; "));
                if level == Level::NoCgroup {
                    line.push_str("; level full cannot be had: ");
                    line.push_str(groups::NO_MEMORY_CONTROLLER);
                }
                for reason in &reasons {
                    line.push_str("; namespaces cannot be had: ");
                    line.push_str(reason);
                }
                return Probe { level: Some(level), line };
            }
            Err(reason) => reasons.push(reason),
        }
    }
    Probe { level: None, line: format!("no sandbox: {}", reasons.join("; ")) }
}

/// Runs `plan` to its end. When this returns everything of the run is dead and its folders and groups are gone; `files` is
/// its watch over files, which takes long to close.
fn supervise(
    plan: &Plan,
    input: &File,
    outbox: &mut Outbox,
    files: &mut Option<Files>,
) -> Result<RunResult, SandboxError> {
    check(plan)?;
    plan.egress.check().map_err(|fault| SandboxError::Job { detail: format!("egress: {fault}") })?;
    let (tree, refusals) = start_best_level(plan, input)?;
    let mut watch = Watch::new(plan, tree, input, outbox, files)?;
    watch.measures.extend(refusals);
    watch.run()
}

/// What can be refused before anything is built.
fn check(plan: &Plan) -> Result<(), SandboxError> {
    let refuse = |detail: &str| Err(SandboxError::Job { detail: detail.to_owned() });
    let plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    if plan.run_id.is_empty() || plan.run_id.len() > RUN_ID_BYTES_MAX || !plan.run_id.chars().all(plain) {
        return refuse("the run's id is not 1 to 64 of a-z, 0-9 and -");
    }
    if plan.command.first().is_none_or(String::is_empty) {
        return refuse("there is no command");
    }
    if plan.files > FILES_MAX {
        return refuse("too many files");
    }
    for (name, _) in &plan.environment {
        let plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
        if name.is_empty() || !name.chars().all(plain) || name.starts_with("RINGFENCE_") {
            return refuse(&format!("environment variable `{}` cannot be granted", printable(name, 80)));
        }
    }
    for path in &plan.readable {
        if !path.is_absolute() || path.components().count() < 2 {
            return refuse("a readable folder is not an absolute path below the root");
        }
    }
    devices::nodes(&plan.gpus)?;
    if plan.file_bytes > plan.limits.memory_bytes {
        return Err(SandboxError::InputsTooLarge { bytes: plan.file_bytes, limit: plan.limits.memory_bytes });
    }
    Ok(())
}

/// Everything that happens between the start of the job and its result.
struct Watch<'a> {
    plan: &'a Plan,
    tree: Tree,
    input: &'a File,
    outbox: &'a mut Outbox,
    notices: Notices,
    egress: Egress,
    stdout: Stream,
    stderr: Stream,
    budget: Budget,
    claims: Claims,
    measures: Vec<String>,
    phase: Phase,
    ending: Option<Ending>,
    totals: Totals,
    telemetry: Pace,
    guard: Pace,
    /// Whether the caller has the run stand still.
    frozen: bool,
    /// Outlives the watch: see [`main`].
    files: &'a mut Option<Files>,
    /// Whether what killed supervisors left has been looked for.
    swept: bool,
    gauge: Option<Gauge>,
}

/// One output pipe of the job.
struct Stream {
    which: claims::Stream,
    lines: Lines,
    open: bool,
}

/// How far a run has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The keeper reads the inputs from our standard input.
    Loading,
    /// The job confines itself.
    Confining,
    /// The job runs since then.
    Running(Instant),
    /// Everything is dead or dying.
    Ended,
}

impl<'a> Watch<'a> {
    fn new(
        plan: &'a Plan,
        mut tree: Tree,
        input: &'a File,
        outbox: &'a mut Outbox,
        files: &'a mut Option<Files>,
    ) -> Result<Self, SandboxError> {
        // Nothing of this process is for the job's eyes.
        prctl::set_dumpable(false).map_err(|error| failure("core dumps", &error))?;
        for pipe in [&tree.stdout, &tree.stderr] {
            sys::set_nonblocking(pipe).map_err(|error| failure("pipe", &error))?;
        }
        let parts = std::mem::take(&mut tree.claims);
        let claims = Claims::new(tree.output.as_ref().map(AsFd::as_fd), parts, Instant::now());
        let egress = Egress::start(&plan.egress, tree.doors.take()).map_err(|error| failure("egress", &error))?;
        Ok(Self {
            plan,
            measures: egress.measures().to_vec(),
            egress,
            tree,
            input,
            outbox,
            notices: Notices::default(),
            stdout: Stream { which: claims::Stream::Output, lines: Lines::new("stdout"), open: true },
            stderr: Stream { which: claims::Stream::Error, lines: Lines::new("stderr"), open: true },
            budget: Budget::new(plan.limits.line_bytes),
            claims,
            phase: Phase::Loading,
            ending: None,
            totals: Totals::default(),
            telemetry: Pace::new(TELEMETRY_INTERVAL),
            guard: Pace::new(GUARD_INTERVAL),
            frozen: false,
            files,
            swept: false,
            gauge: None,
        })
    }

    fn run(mut self) -> Result<RunResult, SandboxError> {
        let outcome = loop {
            match self.step() {
                Ok(None) => {}
                Ok(Some(ending)) => break Ok(ending),
                Err(error) => break Err(error),
            }
        };
        let last = usage::sample(self.tree.keeper, &self.tree.groups);
        self.tree.end();
        self.notices.close();
        self.egress.end(self.outbox).map_err(|error| failure("caller", &error))?;
        let ending = outcome?;
        self.finish(ending, last).map_err(|error| failure("caller", &error))
    }

    /// Waits for the next things and deals with them; returns how the job ended, once it did.
    fn step(&mut self) -> Result<Option<Ending>, SandboxError> {
        for spring in self.wait().map_err(|error| failure("wait", &error))? {
            match spring {
                Spring::Outbox => self.outbox.send().map_err(|error| failure("caller", &error))?,
                Spring::Notice => {
                    self.notices.refuse_one(self.outbox).map_err(|error| failure("seccomp listener", &error))?;
                }
                Spring::Stdout | Spring::Stderr => {
                    self.read_stream(spring).map_err(|error| failure("job's output", &error))?;
                }
                Spring::Claims => self.claims.hear(Instant::now()),
                Spring::Egress => self.egress.tell(self.outbox).map_err(|error| failure("caller", &error))?,
                Spring::Caller => self.hear_caller()?,
                Spring::Keeper => {
                    if let Some(ending) = self.hear_keeper()? {
                        return Ok(Some(ending));
                    }
                }
            }
        }
        self.look().map_err(|error| failure("telemetry", &error))?;
        self.pass_claims().map_err(|error| failure("caller", &error))?;
        Ok(None)
    }

    /// Passes on what the job said of its training, while the caller keeps up.
    fn pass_claims(&mut self) -> io::Result<()> {
        if self.outbox.is_full() {
            return Ok(());
        }
        self.claims.drain().try_for_each(|claimed| self.outbox.claim(claimed))
    }

    /// What has something to say, at the latest when the next look is due.
    fn wait(&mut self) -> io::Result<Vec<Spring>> {
        let time = PollTimeout::try_from(self.until_next_look()).unwrap_or(PollTimeout::MAX);
        let mut springs = vec![(Spring::Keeper, self.tree.control.as_fd(), PollFlags::POLLIN)];
        let mut add = |wanted: bool, spring, fd, flags| {
            if wanted {
                springs.push((spring, fd, flags));
            }
        };
        add(self.stdout.open, Spring::Stdout, self.tree.stdout.as_fd(), PollFlags::POLLIN);
        add(self.stderr.open, Spring::Stderr, self.tree.stderr.as_fd(), PollFlags::POLLIN);
        add(self.phase != Phase::Loading, Spring::Caller, self.input.as_fd(), PollFlags::POLLIN);
        add(self.outbox.is_waiting(), Spring::Outbox, self.outbox.as_fd(), PollFlags::POLLOUT);
        if let Some(listener) = self.notices.as_fd() {
            add(true, Spring::Notice, listener, PollFlags::POLLIN);
        }
        for descriptor in self.claims.descriptors(Instant::now()) {
            add(true, Spring::Claims, descriptor, PollFlags::POLLIN);
        }
        if let Some(bell) = self.egress.as_fd() {
            add(true, Spring::Egress, bell, PollFlags::POLLIN);
        }
        let mut waits: Vec<_> = springs.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        match poll(&mut waits, time) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready: Vec<_> = springs.iter().map(|(spring, ..)| *spring).zip(&waits).collect();
        ready.retain(|(_, wait)| wait.any() == Some(true));
        // The keeper's word may be the last one: everything else comes first.
        ready.reverse();
        Ok(ready.into_iter().map(|(spring, _)| spring).collect())
    }

    fn until_next_look(&self) -> Duration {
        let now = Instant::now();
        let mut next = self.telemetry.next().min(self.guard.next());
        if let Phase::Running(since) = self.phase {
            next = next.min(since + Duration::from_millis(self.plan.limits.wall_ms));
        }
        // A millisecond on top: poll rounds down, and waking too early would spin.
        next.saturating_duration_since(now) + Duration::from_millis(1)
    }

    fn hear_keeper(&mut self) -> Result<Option<Ending>, SandboxError> {
        let report = self.tree.control.receive().map_err(|error| failure("keeper", &error))?;
        match report {
            Some((Report::Loaded, input)) => {
                self.phase = Phase::Confining;
                *self.files = Files::watch(input.as_ref(), self.tree.output.as_ref()).ok();
                self.measures.push(match (&self.files, &input) {
                    (Some(_), Some(_)) => READS_TOLD.to_owned(),
                    _ => "files: what is read and written is not told".to_owned(),
                });
            }
            Some((Report::Confined { measures }, listener)) => {
                self.notices.listen(listener);
                let held = devices::nodes(&self.plan.gpus).unwrap_or_default();
                self.gauge = Gauge::start(devices::nvidia_indices(&held), self.tree.keeper);
                self.phase = Phase::Running(Instant::now());
                let mut all = self.tree.measures.clone();
                all.extend(measures);
                all.append(&mut self.measures);
                self.measures.clone_from(&all);
                let level = self.tree.level.name().to_owned();
                self.outbox
                    .observe(Observed::Started { level, measures: all })
                    .map_err(|error| failure("caller", &error))?;
            }
            Some((Report::Ended { code, signal }, _)) => {
                self.note_wall();
                let by_itself = match (code, signal) {
                    (Some(code), _) => Ending::Exited(code),
                    (None, signal) => Ending::Signalled(signal.unwrap_or(0)),
                };
                return Ok(Some(self.ending.take().unwrap_or(by_itself)));
            }
            Some((Report::Failed(error), _)) => return Err(error),
            Some((other, _)) => return Err(SandboxError::Supervisor { detail: format!("unexpected {other:?}") }),
            None => {
                self.note_wall();
                let killed = self.ending.take();
                return killed
                    .map(Some)
                    .ok_or_else(|| SandboxError::Supervisor { detail: "the sandbox's first process died".to_owned() });
            }
        }
        Ok(None)
    }

    fn note_wall(&mut self) {
        if let Phase::Running(since) = self.phase {
            self.totals.wall_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        }
        self.phase = Phase::Ended;
    }

    /// After the inputs the caller says nothing but stop, freeze or thaw, or dies.
    fn hear_caller(&mut self) -> Result<(), SandboxError> {
        let mut buffer = [0; frame::HEADER_BYTES];
        let mut input = self.input;
        let count = input.read(&mut buffer).map_err(|error| failure("caller", &error))?;
        if count == 0 {
            return Err(SandboxError::Supervisor { detail: "the caller is gone".to_owned() });
        }
        match buffer {
            [to_supervisor::FREEZE, ..] => self.freeze(true),
            [to_supervisor::THAW, ..] => self.freeze(false),
            _ => self.stop(Ending::Stopped),
        }
        Ok(())
    }

    fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen;
        self.tree.freeze(frozen);
    }

    fn stop(&mut self, ending: Ending) {
        if self.ending.is_none() {
            self.ending = Some(ending);
        }
        self.tree.kill();
    }

    fn read_stream(&mut self, spring: Spring) -> io::Result<()> {
        let (stream, pipe) = match spring {
            Spring::Stderr => (&mut self.stderr, &mut self.tree.stderr),
            _ => (&mut self.stdout, &mut self.tree.stdout),
        };
        read_stream(stream, pipe, &mut self.budget, &mut self.claims, self.outbox)
    }

    /// Telemetry once a second, limits more often.
    fn look(&mut self) -> io::Result<()> {
        let Phase::Running(since) = self.phase else { return Ok(()) };
        let limits = &self.plan.limits;
        if since.elapsed() >= Duration::from_millis(limits.wall_ms) {
            return self.limit("wall time");
        }
        let keeper = self.tree.keeper;
        let groups = &self.tree.groups;
        let watched = groups.memory_control() == MemoryControl::Watched;
        let telemetry = self.telemetry.due(|| usage::sample(keeper, groups));
        let guard = self.guard.due(|| telemetry.unwrap_or_else(|| usage::sample(keeper, groups)));
        if let Some(sample) = telemetry {
            self.record(sample);
            self.egress.tell(self.outbox)?;
            self.tell_files()?;
            let usage = self.usage(sample);
            self.outbox.observe(Observed::Sample(usage))?;
            self.claims.look(Instant::now());
            if !std::mem::replace(&mut self.swept, true) {
                // A run may last for days; a short one does it when it is over.
                groups::remove_abandoned();
            }
        }
        let Some(sample) = guard else { return Ok(()) };
        self.record(sample);
        if !self.plan.in_force.has(Mechanism::Watch) {
            return Ok(());
        }
        if sample.cpu_ms > limits.cpu_ms {
            return self.limit("cpu time");
        }
        if sample.processes > limits.processes.saturating_add(PROCESSES_SLACK) {
            return self.limit("processes");
        }
        let room_ms = limits.cpu_ms.saturating_sub(sample.cpu_ms) / cores();
        let longest = match (self.tree.level, watched) {
            (Level::Landlock, _) => GUARD_INTERVAL,
            (_, true) => WATCH_INTERVAL,
            (_, false) => TELEMETRY_INTERVAL,
        };
        let mut interval = Duration::from_millis(room_ms).clamp(GUARD_INTERVAL, longest);
        // What stands still takes no more; looking closer would let it go on.
        if watched && !self.frozen {
            let mut used = sample.memory_bytes;
            if used > limits.memory_bytes {
                used = usage::frozen_memory(keeper);
                self.totals.memory_bytes = self.totals.memory_bytes.max(used);
                if used > limits.memory_bytes {
                    return self.limit("memory");
                }
                usage::thaw(keeper);
            }
            let room = limits.memory_bytes.saturating_sub(used);
            interval = interval.min(until_full(room).max(GUARD_INTERVAL_MIN));
        }
        self.guard.set(interval);
        if self.tree.level == Level::Landlock {
            return self.look_at_folders();
        }
        Ok(())
    }

    /// At level `landlock` nothing but this bounds what a job writes.
    fn look_at_folders(&mut self) -> io::Result<()> {
        let limits = self.plan.limits;
        let bytes = landlocked::written_bytes(&self.plan.run_id, self.tree.keeper);
        if bytes > limits.output_bytes.saturating_add(limits.scratch_bytes) {
            return self.limit("bytes in the output and temporary folders");
        }
        Ok(())
    }

    fn limit(&mut self, what: &str) -> io::Result<()> {
        if self.ending.is_none() {
            self.outbox.observe(Observed::Limit { detail: what.to_owned() })?;
        }
        self.stop(Ending::Limit(what.to_owned()));
        Ok(())
    }

    fn tell_files(&mut self) -> io::Result<()> {
        let changes = self.files.as_mut().map(Files::look).unwrap_or_default();
        changes.into_iter().try_for_each(|change| self.outbox.observe(Observed::File(change)))
    }

    /// `sample` with what else is known at this moment.
    fn usage(&mut self, sample: Sample) -> Usage {
        let (sent_bytes, received_bytes) = self.egress.bytes();
        let own_system = self.tree.output.as_ref().filter(|_| self.tree.level.has_namespaces());
        Usage {
            cpu_ms: sample.cpu_ms,
            memory_bytes: sample.memory_bytes,
            processes: sample.processes,
            read_bytes: sample.read_bytes,
            written_bytes: sample.written_bytes,
            sent_bytes,
            received_bytes,
            output_bytes: own_system.and_then(usage::used_bytes),
            refused_calls: self.notices.total(),
            untold_files: self.files.as_ref().map_or(0, Files::untold),
            pressure: self.tree.groups.pressure(),
            gpus: self.gauge.as_mut().map(Gauge::read).unwrap_or_default(),
        }
    }

    fn record(&mut self, sample: Sample) {
        let totals = &mut self.totals;
        totals.cpu_ms = totals.cpu_ms.max(sample.cpu_ms);
        totals.memory_bytes = totals.memory_bytes.max(sample.memory_bytes);
        totals.processes = totals.processes.max(sample.processes);
        totals.read_bytes = totals.read_bytes.max(sample.read_bytes);
        totals.written_bytes = totals.written_bytes.max(sample.written_bytes);
    }

    /// Everything is dead: the last lines, the totals, the outputs.
    fn finish(mut self, ending: Ending, last: Sample) -> io::Result<RunResult> {
        for spring in [Spring::Stdout, Spring::Stderr] {
            self.read_stream(spring)?;
        }
        let outbox = &mut *self.outbox;
        for stream in [&mut self.stdout, &mut self.stderr] {
            let mut lines = Vec::new();
            let mut hear = |text: &str| self.claims.line(stream.which, text, Instant::now());
            stream.lines.end(&mut self.budget, &mut hear, &mut |claimed| lines.push(claimed));
            lines.into_iter().try_for_each(|claimed| outbox.claim(claimed))?;
        }
        if let Some(dropped) = self.budget.dropped() {
            outbox.claim(dropped)?;
        }
        self.claims.finish(Instant::now());
        self.claims.drain().try_for_each(|claimed| outbox.claim(claimed))?;
        self.record(Sample { cpu_ms: usage::ended_cpu_ms(), ..last });
        (self.totals.sent_bytes, self.totals.received_bytes) = self.egress.bytes();
        let totals = self.totals;
        self.tell_files()?;
        let usage = self.usage(Sample {
            cpu_ms: totals.cpu_ms,
            memory_bytes: totals.memory_bytes,
            processes: 0,
            read_bytes: totals.read_bytes,
            written_bytes: totals.written_bytes,
        });
        self.outbox.observe(Observed::Sample(usage))?;
        for detail in self.limits_hit() {
            self.outbox.observe(Observed::Limit { detail })?;
        }
        let (code, signal) = match &ending {
            Ending::Exited(code) => (Some(*code), None),
            Ending::Signalled(signal) => (None, Some(*signal)),
            Ending::Limit(_) | Ending::Stopped => (None, Some(Signal::SIGKILL as i32)),
        };
        self.outbox.observe(Observed::Exited { code, signal })?;
        let counts = self.collect()?;
        Ok(RunResult {
            level: self.tree.level,
            measures: self.measures.clone(),
            ending,
            totals,
            refused: self.notices.counts(),
            collected: counts.taken,
            not_collected: counts.skipped,
        })
    }

    /// Limits that the kernel enforced by itself.
    fn limits_hit(&self) -> Vec<String> {
        let mut hit = Vec::new();
        let kills = self.tree.groups.memory_kills();
        if kills > 0 {
            hit.push(format!("memory: the kernel killed {kills} processes"));
        }
        let refusals = self.tree.groups.process_refusals();
        if refusals > 0 {
            hit.push(format!("processes: {refusals} could not be made"));
        }
        if self.tree.level.has_namespaces() && self.tree.output.as_ref().is_some_and(usage::is_full) {
            hit.push("the output folder is full".to_owned());
        }
        hit
    }

    fn collect(&mut self) -> io::Result<collect::Counts> {
        let Some(output) = self.tree.output.take() else { return Ok(collect::Counts::default()) };
        let outbox = &mut *self.outbox;
        collect::collect(output, &self.plan.limits, &mut |entry| match entry {
            Entry::Skipped(path, reason) => outbox.observe(Observed::NotCollected { path, reason }),
            Entry::File(path, size, file) => send_output(outbox, path, size, file),
        })
    }
}

fn send_output(outbox: &mut Outbox, path: &str, size: u64, file: &mut File) -> io::Result<()> {
    outbox.record(from_supervisor::OUTPUT, &OutputHeader { path: path.to_owned(), size })?;
    let mut buffer = vec![0; frame::PIECE_BYTES];
    let mut left = size;
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let piece = buffer.get_mut(..room).unwrap_or_default();
        match file.read(piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                left -= count as u64;
                outbox.bytes(from_supervisor::DATA, piece.get(..count).unwrap_or_default())?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    outbox.bytes(from_supervisor::OUTPUT_END, &[])
}

fn read_stream(
    stream: &mut Stream,
    pipe: &mut File,
    budget: &mut Budget,
    claims: &mut Claims,
    outbox: &mut Outbox,
) -> io::Result<()> {
    let mut buffer = vec![0; frame::PIECE_BYTES];
    // Not for ever: a job that writes without end must not keep the supervisor from its other duties.
    for _ in 0..READS_AT_A_TIME {
        let bytes = match pipe.read(&mut buffer) {
            Ok(0) => {
                stream.open = false;
                break;
            }
            Ok(count) => buffer.get(..count).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut lines = Vec::new();
        let now = Instant::now();
        let mut hear = |text: &str| claims.line(stream.which, text, now);
        if outbox.is_full() {
            // What it says of progress is heard all the same: that is put together until the caller takes more.
            budget.drop_bytes(bytes.len() as u64);
            stream.lines.push(bytes, &mut Budget::new(0), &mut hear, &mut |_| ());
            continue;
        }
        stream.lines.push(bytes, budget, &mut hear, &mut |claimed| lines.push(claimed));
        lines.into_iter().try_for_each(|claimed| outbox.claim(claimed))?;
    }
    Ok(())
}

/// Where news of a run comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spring {
    /// The keeper, or the job before exec.
    Keeper,
    /// The job's standard output.
    Stdout,
    /// The job's standard error.
    Stderr,
    /// The job says how its training goes.
    Claims,
    /// The caller says stop, or is dead.
    Caller,
    /// The caller takes more.
    Outbox,
    /// A call was refused.
    Notice,
    /// The job reached out, or tried to.
    Egress,
}

/// How long a job that fills memory on all cores needs for `room` bytes.
fn until_full(room: u64) -> Duration {
    Duration::from_micros(room / (cores() * FILL_BYTES_PER_MICROSECOND))
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, usize::from) as u64
}

/// A failed step of the sandbox itself.
pub(super) fn failure(step: &str, error: &dyn std::error::Error) -> SandboxError {
    SandboxError::Kernel { step: step.to_owned(), detail: error.to_string() }
}

/// Longest run id in bytes.
const RUN_ID_BYTES_MAX: usize = 64;
/// Telemetry comes at 1 Hz.
const TELEMETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How often limits are looked at that the kernel does not enforce, where one of them may be near.
const GUARD_INTERVAL: Duration = Duration::from_millis(20);
/// The same where the job could not reach its memory limit sooner.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// The same where a job is near its memory limit.
const GUARD_INTERVAL_MIN: Duration = Duration::from_millis(1);
/// How fast one core makes new pages, in bytes per microsecond: zeroing alone takes longer.
const FILL_BYTES_PER_MICROSECOND: u64 = 4_096;
/// Processes that may be seen beyond the limit: those just being reaped.
const PROCESSES_SLACK: u64 = 64;
/// Reads of one output pipe before the supervisor looks elsewhere.
const READS_AT_A_TIME: usize = 16;
