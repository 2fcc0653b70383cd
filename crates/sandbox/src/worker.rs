//! Keyless workers: foreign bytes are parsed in a child that can do nothing else.
//!
//! Parent: [`Worker`] starts an executable (our own) with an empty environment and only the given descriptors, sends one
//! request, takes bounded records and one answer, and kills the child at the first limit. Child: [`confine`] or
//! [`confine_readers`] gives up files, network and exec, then [`serve`] handles the request.
//!
//! Whatever goes wrong in the child (crash, flood, silence, nonsense) is a [`WorkerError`] here. Answers are untrusted.
//!
//! Wire: frames of [`crate::frame`]; request kind 1 (a count and the descriptors' numbers as little-endian 32-bit
//! integers, then the request), from the child 2 (record), 3 (answer) and 4 (the handler's error, text).
#![deny(clippy::indexing_slicing)]

use std::{
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ringfence_schema::finding::printable;

use crate::{frame, sys};

mod child;
mod confine;
pub use child::{Emit, serve};
pub use confine::{ConfineError, confine, confine_library, confine_readers};

/// What a worker may use. The defaults suit the parsing of one artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of the child in bytes: address space in the child, resident memory from outside.
    pub memory_bytes: u64,
    /// CPU time over all threads, rounded up to a second.
    pub cpu: Duration,
    /// Time from start to answer.
    pub wall: Duration,
    /// Most descriptors that the child may have open.
    pub open_files: u64,
    /// Longest request in bytes.
    pub request_bytes: usize,
    /// Longest record in bytes.
    pub record_bytes: usize,
    /// Most records.
    pub records: u64,
    /// Longest answer in bytes.
    pub answer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 4 << 30,
            cpu: Duration::from_mins(10),
            wall: Duration::from_mins(10),
            open_files: 256,
            request_bytes: 1 << 20,
            record_bytes: 1 << 20,
            records: 1_000_000,
            answer_bytes: 64 << 20,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The child could not be started.
    #[error("worker `{executable}` could not be started: {source}")]
    Start {
        /// What was to be started.
        executable: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The request is longer than the limit.
    #[error("request of {bytes} bytes, limit is {limit}")]
    RequestTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The child ended without an answer.
    #[error("worker ended without an answer ({})", ending(*.code, *.signal))]
    Died {
        /// Exit code, if it exited by itself.
        code: Option<i32>,
        /// Signal, if one ended it (31: it tried a forbidden call).
        signal: Option<i32>,
    },
    /// The child took too long and was killed.
    #[error("worker gave no answer within {limit_ms} ms")]
    TimedOut {
        /// The limit in milliseconds.
        limit_ms: u128,
    },
    /// The child used too much memory and was killed.
    #[error("worker used {bytes} bytes of memory, limit is {limit}")]
    Memory {
        /// Resident bytes when it was killed.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The child sent something too long, too often or malformed, and was killed.
    #[error("worker broke the protocol: {detail}")]
    Protocol {
        /// What it did.
        detail: String,
    },
    /// The child's handler refused the request.
    #[error("{message}")]
    Refused {
        /// What the handler said, fit to print.
        message: String,
    },
    /// The pipe to the child failed.
    #[error("worker's pipe failed: {0}")]
    Pipe(#[from] io::Error),
}

fn ending(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (_, Some(signal)) => format!("signal {signal}"),
        (Some(code), None) => format!("exit code {code}"),
        (None, None) => "no status".to_owned(),
    }
}

/// A worker that is about to be called.
#[derive(Debug)]
pub struct Worker {
    executable: PathBuf,
    arguments: Vec<OsString>,
    descriptors: Vec<OwnedFd>,
    limits: Limits,
}

impl Worker {
    /// A worker that runs `executable` with `arguments`; it must call [`confine`] and [`serve`].
    pub fn new(executable: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            executable: executable.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            descriptors: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// Hands a descriptor to the child; its handler gets them in this order.
    #[must_use]
    pub fn descriptor(mut self, descriptor: impl Into<OwnedFd>) -> Self {
        self.descriptors.push(descriptor.into());
        self
    }

    /// Replaces the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Runs the child to its end: sends `request`, gives each record to `on_record`, returns the answer.
    ///
    /// The child is dead when this returns, whatever it returns.
    pub fn call(self, request: &[u8], on_record: &mut dyn FnMut(&[u8])) -> Result<Vec<u8>, WorkerError> {
        let limits = self.limits;
        if request.len() > limits.request_bytes {
            return Err(WorkerError::RequestTooLong { bytes: request.len(), limit: limits.request_bytes });
        }
        let message = self.message(request)?;
        let deadline = Instant::now() + limits.wall;
        let mut running = Running::start(&self)?;
        let answer = running.converse(&message, limits, deadline, on_record)?;
        Ok(answer)
    }

    fn message(&self, request: &[u8]) -> Result<Vec<u8>, WorkerError> {
        let count = u32::try_from(self.descriptors.len()).map_err(io::Error::other)?;
        let mut payload = count.to_le_bytes().to_vec();
        for descriptor in &self.descriptors {
            payload.extend_from_slice(&descriptor.as_raw_fd().to_le_bytes());
        }
        payload.extend_from_slice(request);
        let mut message = Vec::with_capacity(payload.len() + frame::HEADER_BYTES);
        frame::write(&mut message, KIND_REQUEST, &payload)?;
        Ok(message)
    }
}

/// The child, killed and reaped on drop.
struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Running {
    #[expect(unsafe_code, reason = "descriptors are let through between fork and exec")]
    fn start(worker: &Worker) -> Result<Self, WorkerError> {
        let mut command = Command::new(&worker.executable);
        command.args(&worker.arguments).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let numbers: Vec<_> = worker.descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let parent = nix::unistd::getpid();
        // SAFETY: between fork and exec this closure only makes plain system calls on numbers prepared before the fork;
        // it neither allocates nor locks.
        unsafe {
            command.pre_exec(move || {
                sys::die_with_parent()?;
                if nix::unistd::getppid() != parent {
                    return Err(io::Error::from_raw_os_error(nix::libc::ESRCH));
                }
                sys::close_all_on_exec()?;
                numbers.iter().try_for_each(|number| sys::keep_on_exec(*number))
            });
        }
        let start = |source| WorkerError::Start { executable: worker.executable.clone(), source };
        let mut child = command.spawn().map_err(start)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(start(io::ErrorKind::BrokenPipe.into()));
        };
        let running = Self { child, input: Some(input), output };
        if let Some(input) = &running.input {
            sys::set_nonblocking(input)?;
        }
        sys::set_nonblocking(&running.output)?;
        Ok(running)
    }

    fn converse(
        &mut self,
        message: &[u8],
        limits: Limits,
        deadline: Instant,
        on_record: &mut dyn FnMut(&[u8]),
    ) -> Result<Vec<u8>, WorkerError> {
        let mut unsent = message;
        let mut assembler = frame::Assembler::default();
        let mut records = 0_u64;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            while let Some(frame) = next_frame(&mut assembler, limits)? {
                match frame.kind {
                    KIND_RECORD if records < limits.records => {
                        records += 1;
                        on_record(&frame.payload);
                    }
                    KIND_RECORD => return Err(protocol(format!("more than {} records", limits.records))),
                    KIND_ANSWER => return Ok(frame.payload),
                    _ => {
                        let message = printable(&String::from_utf8_lossy(&frame.payload), ERROR_CHARS_MAX);
                        return Err(WorkerError::Refused { message });
                    }
                }
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(WorkerError::TimedOut { limit_ms: limits.wall.as_millis() });
            }
            self.check_memory(limits.memory_bytes)?;
            self.wait(!unsent.is_empty(), (deadline - now).min(WATCH_INTERVAL))?;
            unsent = self.send(unsent)?;
            match self.output.read(&mut buffer) {
                Ok(0) => return Err(self.ended(assembler.is_partial())),
                Ok(count) => assembler.push(buffer.get(..count).unwrap_or_default()),
                Err(error) if is_temporary(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until there is something to read (or to write, while `sending`), at most `time`.
    fn wait(&self, sending: bool, time: Duration) -> io::Result<()> {
        let mut waits = vec![PollFd::new(self.output.as_fd(), PollFlags::POLLIN)];
        if let Some(input) = self.input.as_ref().filter(|_| sending) {
            waits.push(PollFd::new(input.as_fd(), PollFlags::POLLOUT));
        }
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        match poll(&mut waits, time) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends what fits; the end of the message closes the pipe.
    fn send<'a>(&mut self, unsent: &'a [u8]) -> io::Result<&'a [u8]> {
        let Some(input) = &mut self.input else { return Ok(&[]) };
        let rest = match input.write(unsent) {
            Ok(count) => unsent.get(count..).unwrap_or_default(),
            Err(error) if is_temporary(&error) => unsent,
            // The child is gone: its end of the other pipe says how.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => &[],
            Err(error) => return Err(error),
        };
        if rest.is_empty() {
            self.input = None;
        }
        Ok(rest)
    }

    fn check_memory(&self, limit: u64) -> Result<(), WorkerError> {
        let Ok(statm) = fs::read_to_string(format!("/proc/{}/statm", self.child.id())) else { return Ok(()) };
        let pages: u64 = statm.split(' ').nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
        let bytes = pages.saturating_mul(page_bytes());
        if bytes > limit { Err(WorkerError::Memory { bytes, limit }) } else { Ok(()) }
    }

    fn ended(&mut self, partial: bool) -> WorkerError {
        // The pipe's end is closed, but the process may be about to end only: it gets no more time than a kill takes.
        let _ = self.child.kill();
        match self.child.wait() {
            Ok(status) if status.success() && partial => protocol("the answer was cut off".to_owned()),
            Ok(status) => WorkerError::Died { code: status.code(), signal: status.signal() },
            Err(error) => error.into(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn next_frame(assembler: &mut frame::Assembler, limits: Limits) -> Result<Option<frame::Frame>, WorkerError> {
    let limit = |kind| match kind {
        KIND_RECORD => Some(limits.record_bytes),
        KIND_ANSWER => Some(limits.answer_bytes),
        KIND_ERROR => Some(ERROR_BYTES_MAX),
        _ => None,
    };
    assembler.next(limit).map_err(|error| protocol(error.to_string()))
}

fn protocol(detail: String) -> WorkerError {
    WorkerError::Protocol { detail }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Bytes of one memory page.
pub(crate) fn page_bytes() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4096)
}

/// Frame kind: the request.
const KIND_REQUEST: u8 = 1;
/// Frame kind: a record on the way.
const KIND_RECORD: u8 = 2;
/// Frame kind: the answer.
const KIND_ANSWER: u8 = 3;
/// Frame kind: the handler's error.
const KIND_ERROR: u8 = 4;
/// Longest error text in bytes.
const ERROR_BYTES_MAX: usize = 8 << 10;
/// Longest error text in characters, after escaping begins.
const ERROR_CHARS_MAX: usize = 2_000;
/// Size of one read, in bytes.
const READ_BYTES: usize = 64 << 10;
/// How often memory is looked at while nothing arrives.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
