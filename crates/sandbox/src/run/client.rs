//! The caller's side of a run: starts the supervisor, feeds it, relays what it says.
//!
//! The supervisor is ours, but it lives beside a stranger's program: every frame from it is bounded and checked, and the
//! digests of outputs are computed here, over the bytes that the caller took.
#![deny(clippy::indexing_slicing)]

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::fd::AsFd,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};
use ringfence_schema::{
    Hasher,
    event::{Observed, RunEvent, Source as EventSource},
    tree::is_safe_path,
};

use super::{
    Collect, Events, FileHeader, Job, ORDER_BYTES_MAX, Order, OutputHeader, Place, Plan, Probe, RunResult,
    SandboxError, Source, from_supervisor, mechanisms::InForce, to_supervisor,
};
use crate::{frame, sys};

/// Stops, freezes or thaws a run from another thread. All copies are one handle; it is good for one run.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Lever>);

#[derive(Debug)]
struct Lever {
    wish: AtomicU8,
    /// Wakes the thread that waits for the run; without one it looks from time to time.
    bell: Option<EventFd>,
}

impl Default for Lever {
    fn default() -> Self {
        let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        Self { wish: AtomicU8::new(Wish::Run as u8), bell: bell.ok() }
    }
}

/// What becomes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Run,
    Freeze,
    Stop,
}

impl Stop {
    /// A handle that has not been pulled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Kills the run, within 250 ms; its outputs so far are collected. Nothing undoes it.
    pub fn stop(&self) {
        self.pull(Wish::Stop);
    }

    /// Has every process of the run stand still, until [`Stop::thaw`] or [`Stop::stop`]. Its wall time goes on, and so does
    /// its end with its supervisor. A run that has not begun freezes when it does.
    pub fn freeze(&self) {
        self.pull(Wish::Freeze);
    }

    /// Lets a frozen run go on.
    pub fn thaw(&self) {
        self.pull(Wish::Run);
    }

    /// Whether it was told to stop: whoever runs the job elsewhere has to know.
    pub fn is_stopped(&self) -> bool {
        self.wish() == Wish::Stop
    }

    /// Whether it is to stand still now.
    pub fn is_frozen(&self) -> bool {
        self.wish() == Wish::Freeze
    }

    fn pull(&self, wish: Wish) {
        let stopped = Wish::Stop as u8;
        let change = |old| (old != stopped).then_some(wish as u8);
        if self.0.wish.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_ok()
            && let Some(bell) = &self.0.bell
        {
            // A counter that is full rings already.
            let _ = bell.write(1);
        }
    }

    fn wish(&self) -> Wish {
        match self.0.wish.load(Ordering::Acquire) {
            value if value == Wish::Stop as u8 => Wish::Stop,
            value if value == Wish::Freeze as u8 => Wish::Freeze,
            _ => Wish::Run,
        }
    }
}

/// Asks a fresh supervisor (`executable` with `arguments` must call [`super::supervisor_main`]) what this host offers;
/// every level is tried for real.
pub fn probe(executable: &Path, arguments: &[impl AsRef<OsStr>]) -> Result<Probe, SandboxError> {
    let mut supervisor = Supervisor::start(executable, arguments)?;
    let order = serde_json::to_vec(&Order::Probe).map_err(|error| broken(&error))?;
    let input = supervisor.child.stdin.as_mut();
    let input = input.ok_or_else(|| broken(&"no pipe"))?;
    frame::write(input, to_supervisor::ORDER, &order).map_err(|error| broken(&error))?;
    let answer = frame::read(&mut supervisor.output, ORDER_BYTES_MAX).map_err(|error| broken(&error))?;
    let answer = answer.filter(|frame| frame.kind == from_supervisor::PROBE).ok_or_else(|| broken(&"no answer"))?;
    serde_json::from_slice(&answer.payload).map_err(|error| broken(&error))
}

/// Runs `job` under a fresh supervisor process without keys (`executable` with `arguments` must call
/// [`super::supervisor_main`]).
///
/// Events are handed over as they happen; output files after everything of the run is dead, in order of their paths,
/// with a [`Observed::Collected`] event each. When this returns, whatever it returns, nothing of the run is alive. A
/// supervisor that has said how the run ended may take some milliseconds more to end itself; a thread reaps it.
pub fn run_keyless(
    executable: &Path,
    arguments: &[impl AsRef<OsStr>],
    job: Job,
    stop: &Stop,
    events: Events<'_>,
    collect: Collect<'_>,
) -> Result<RunResult, SandboxError> {
    let (plan, files) = split(job)?;
    relay(executable, arguments, plan, files, stop, events, collect)
}

/// [`run_keyless`] with nothing but `mechanisms` in force. For the tests that show what each of them is for.
#[cfg(feature = "ablation")]
pub fn run_with_only(
    mechanisms: &[super::Mechanism],
    executable: &Path,
    arguments: &[impl AsRef<OsStr>],
    job: Job,
    events: Events<'_>,
    collect: Collect<'_>,
) -> Result<RunResult, SandboxError> {
    let (mut plan, files) = split(job)?;
    plan.in_force = InForce::only(mechanisms);
    relay(executable, arguments, plan, files, &Stop::new(), events, collect)
}

fn relay(
    executable: &Path,
    arguments: &[impl AsRef<OsStr>],
    plan: Plan,
    files: Vec<(Place, Source)>,
    stop: &Stop,
    events: Events<'_>,
    collect: Collect<'_>,
) -> Result<RunResult, SandboxError> {
    let mut supervisor = Supervisor::start(executable, arguments)?;
    let order = serde_json::to_vec(&Order::Run(Box::new(plan))).map_err(|error| broken(&error))?;
    let pipe = supervisor.child.stdin.as_ref().ok_or_else(|| broken(&"no pipe"))?;
    let mut feed = File::from(pipe.as_fd().try_clone_to_owned().map_err(|error| broken(&error))?);
    thread::scope(|scope| {
        // The supervisor may have something to say before it has read everything.
        let feeder = scope.spawn(move || {
            send(&mut feed, &order, files).inspect_err(|_| {
                // The files end here; without a word the sandbox would wait for the rest.
                let _ = frame::write(&mut feed, to_supervisor::STOP, &[]);
            })
        });
        let outcome =
            Relay { supervisor: &mut supervisor, stop, events, collect, told: Wish::Run, started: false }.run();
        // Whatever the feeder still waits for, it will not come any more.
        supervisor.end();
        let fed = feeder.join().map_err(|_| broken(&"the feeding thread failed"))?;
        match (outcome, fed) {
            // A source that fails makes the supervisor see a cut stream: the source's own error says more.
            (Err(SandboxError::Supervisor { .. } | SandboxError::Input { .. }), Err(error)) => Err(error),
            (outcome, _) => outcome,
        }
    })
}

fn split(job: Job) -> Result<(Plan, Vec<(Place, Source)>), SandboxError> {
    let Job { run_id, command, environment, readable, gpus, inputs, program, limits, demand, egress } = job;
    let inputs = inputs.into_iter().map(|source| (Place::Input, source));
    let files: Vec<_> = inputs.chain(program.into_iter().map(|source| (Place::Program, source))).collect();
    for (_, file) in &files {
        if !is_safe_path(&file.path) {
            let path = ringfence_schema::finding::printable(&file.path, 120);
            return Err(SandboxError::Input { path, detail: "not a plain relative path".to_owned() });
        }
    }
    let file_bytes = files.iter().fold(0_u64, |sum, (_, file)| sum.saturating_add(file.size));
    if file_bytes > limits.memory_bytes {
        return Err(SandboxError::InputsTooLarge { bytes: file_bytes, limit: limits.memory_bytes });
    }
    let plan = Plan {
        run_id,
        command,
        environment,
        readable,
        gpus,
        files: files.len() as u64,
        file_bytes,
        limits,
        demand,
        egress,
        in_force: InForce::default(),
    };
    Ok((plan, files))
}

/// Sends the order and the files. A broken pipe is no error: the supervisor says itself why it stopped listening.
fn send(pipe: &mut File, order: &[u8], files: Vec<(Place, Source)>) -> Result<(), SandboxError> {
    let mut buffer = vec![0; frame::PIECE_BYTES];
    let sent = frame::write(pipe, to_supervisor::ORDER, order);
    if sent.is_err() {
        return Ok(());
    }
    for (place, mut file) in files {
        let path = file.path.clone();
        let header = FileHeader { place, path: file.path, size: file.size, executable: file.executable };
        let header = serde_json::to_vec(&header).map_err(|error| broken(&error))?;
        if frame::write(pipe, to_supervisor::FILE, &header).is_err() {
            return Ok(());
        }
        let input = |detail: String| SandboxError::Input { path: path.clone(), detail };
        let mut left = file.size;
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let piece = buffer.get_mut(..room).unwrap_or_default();
            let count = match file.content.read(piece) {
                Ok(0) => return Err(input(format!("{left} bytes shorter than announced"))),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(input(error.to_string())),
            };
            left -= count as u64;
            if frame::write(pipe, to_supervisor::DATA, piece.get(..count).unwrap_or_default()).is_err() {
                return Ok(());
            }
        }
        match file.content.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(input("longer than announced".to_owned())),
            Err(error) => return Err(input(error.to_string())),
        }
    }
    let _ = frame::write(pipe, to_supervisor::END, &[]).and_then(|()| pipe.flush());
    Ok(())
}

/// The supervisor's process, killed and reaped on drop.
struct Supervisor {
    child: Child,
    output: ChildStdout,
    /// It has said how the run ended, and so that nothing of the run is left.
    has_reported: bool,
}

impl Supervisor {
    #[expect(unsafe_code, reason = "descriptors are closed and the parent is bound to between fork and exec")]
    fn start(executable: &Path, arguments: &[impl AsRef<OsStr>]) -> Result<Self, SandboxError> {
        let mut command = Command::new(executable);
        command.args(arguments).env_clear().current_dir("/");
        if let Some(folder) = std::env::var_os("XDG_RUNTIME_DIR") {
            command.env("XDG_RUNTIME_DIR", folder);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // SAFETY: between fork and exec this closure makes two plain system calls; it neither allocates nor locks.
        unsafe {
            command.pre_exec(sys::close_all_on_exec);
        }
        let mut child = command.spawn().map_err(|error| broken(&error))?;
        let output = child.stdout.take().ok_or_else(|| broken(&"no pipe"))?;
        Ok(Self { child, output, has_reported: false })
    }

    /// Waits until the supervisor, and with it whatever is left of its run, has ended; in the background if nothing is.
    fn end(self) {
        if self.has_reported {
            // Where no thread can be had, what it was to drop is dropped here.
            let _ = thread::Builder::new().name("reaper".to_owned()).spawn(move || drop(self));
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Closing its input lets it kill the run and clean up; it gets a moment for that. If it is killed itself, the
        // run dies with it all the same.
        drop(self.child.stdin.take());
        let deadline = Instant::now() + FAREWELL_TIME;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(1)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Relays frames until the result.
struct Relay<'a, 'b> {
    supervisor: &'a mut Supervisor,
    stop: &'a Stop,
    events: Events<'b>,
    collect: Collect<'b>,
    /// The last wish that the supervisor was told.
    told: Wish,
    started: bool,
}

impl Relay<'_, '_> {
    fn run(mut self) -> Result<RunResult, SandboxError> {
        let began = Instant::now();
        loop {
            self.wait()?;
            let frame = frame::read(&mut self.supervisor.output, ORDER_BYTES_MAX).map_err(|error| broken(&error))?;
            let frame = frame.ok_or_else(|| broken(&"it ended without a result"))?;
            match frame.kind {
                from_supervisor::EVENT => {
                    self.started = true;
                    (self.events)(parse(&frame.payload)?);
                }
                from_supervisor::OUTPUT => self.output(&parse(&frame.payload)?, began)?,
                from_supervisor::RESULT => {
                    let result = parse(&frame.payload)?;
                    self.supervisor.has_reported = true;
                    return Ok(result);
                }
                from_supervisor::FAILURE => {
                    let error = parse(&frame.payload)?;
                    self.supervisor.has_reported = true;
                    return Err(error);
                }
                kind => return Err(broken(&format!("unexpected frame kind {kind}"))),
            }
        }
    }

    /// Waits for the supervisor, and tells it what the caller wishes meanwhile.
    fn wait(&mut self) -> Result<(), SandboxError> {
        loop {
            self.tell()?;
            let output = self.supervisor.output.as_fd();
            let mut waits = vec![PollFd::new(output, PollFlags::POLLIN)];
            waits.extend(self.stop.0.bell.as_ref().map(|bell| PollFd::new(bell.as_fd(), PollFlags::POLLIN)));
            match poll(&mut waits, PollTimeout::from(STOP_INTERVAL_MS)) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(broken(&error)),
            }
            let [has_news, rings] = [waits.first(), waits.get(1)].map(|wait| wait.and_then(PollFd::any) == Some(true));
            if let Some(bell) = self.stop.0.bell.as_ref().filter(|_| rings) {
                // The wish is looked at after this: one that comes in between rings again.
                let _ = bell.read();
            }
            if has_news {
                return self.tell();
            }
        }
    }

    fn tell(&mut self) -> Result<(), SandboxError> {
        let wish = self.stop.wish();
        if wish == self.told {
            return Ok(());
        }
        if !self.started {
            // The pipe still belongs to the inputs; nothing of a stranger runs yet that would need an orderly end.
            if wish == Wish::Stop {
                let _ = self.supervisor.child.kill();
                return Err(SandboxError::Stopped);
            }
            return Ok(());
        }
        self.told = wish;
        let word = match wish {
            Wish::Run => to_supervisor::THAW,
            Wish::Freeze => to_supervisor::FREEZE,
            Wish::Stop => to_supervisor::STOP,
        };
        if let Some(pipe) = &mut self.supervisor.child.stdin {
            // A supervisor that does not listen any more has ended the run already.
            let _ = frame::write(pipe, word, &[]);
        }
        Ok(())
    }

    fn output(&mut self, header: &OutputHeader, began: Instant) -> Result<(), SandboxError> {
        if !is_safe_path(&header.path) {
            return Err(broken(&"an output with a path that leads elsewhere"));
        }
        let failed = |detail: String| SandboxError::Output { path: header.path.clone(), detail };
        let mut content = Output {
            pipe: &mut self.supervisor.output,
            left: header.size,
            piece: Vec::new(),
            at: 0,
            hasher: Hasher::new(),
        };
        (self.collect)(&header.path, &mut content).map_err(|error| failed(error.to_string()))?;
        // What the caller left unread still has to pass, and counts in the digest.
        io::copy(&mut content, &mut io::sink()).map_err(|error| failed(error.to_string()))?;
        let sha256 = content.hasher.finish();
        let end = frame::read(&mut self.supervisor.output, 0).map_err(|error| broken(&error))?;
        if end.is_none_or(|frame| frame.kind != from_supervisor::OUTPUT_END) {
            return Err(broken(&"an output without an end"));
        }
        let at_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let collected = Observed::Collected { path: header.path.clone(), size: header.size, sha256 };
        (self.events)(RunEvent { at_ms, source: EventSource::Observed(collected) });
        Ok(())
    }
}

/// The bytes of one output on their way to the caller.
struct Output<'a> {
    pipe: &'a mut ChildStdout,
    left: u64,
    piece: Vec<u8>,
    at: usize,
    hasher: Hasher,
}

impl Read for Output<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && self.left > 0 {
            let frame = frame::read(self.pipe, frame::PIECE_BYTES)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let length = frame.payload.len() as u64;
            if frame.kind != from_supervisor::DATA || length == 0 || length > self.left {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.left -= length;
            self.hasher.update(&frame.payload);
            self.piece = frame.payload;
            self.at = 0;
        }
        let mut rest = self.piece.get(self.at..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

fn parse<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<T, SandboxError> {
    serde_json::from_slice(payload).map_err(|error| broken(&error))
}

fn broken(error: &dyn std::fmt::Display) -> SandboxError {
    SandboxError::Supervisor { detail: error.to_string() }
}

/// How often the stop handle is looked at, in milliseconds, where it cannot ring.
const STOP_INTERVAL_MS: u16 = 50;
/// How long the supervisor may take to end by itself.
const FAREWELL_TIME: Duration = Duration::from_secs(2);
