//! One connection of the job, from its first byte to its last, in a thread of its own.
//!
//! [`serve`] finds the name behind the address, looks at the first bytes, dials, and carries bytes both ways until both
//! sides are done, one is silent for too long, the budget is spent, or the run is over. Whatever happens becomes one event.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{getsockopt, setsockopt, sockopt},
};
use ringfence_schema::event::{Egress, EgressVia};

use super::{
    Shared,
    dial::dial,
    doors::Mechanism,
    inspect::Inspector,
    ledger::{self, Ledger},
};

/// Serves a connection that the job has made.
pub(super) fn serve(shared: &Arc<Shared>, job: TcpStream) {
    let began = Instant::now();
    let Some(target) = target(shared.mechanism, &job) else { return };
    let name = shared.names.lock().unwrap_or_else(PoisonError::into_inner).name(target.ip()).map(str::to_owned);
    let address = name.is_none().then(|| target.ip().to_canonical().to_string());
    let egress = Egress { name: name.clone(), address, ..ledger::attempt(EgressVia::Tcp, target.port()) };
    let Some(attempt) = shared.ledger.enter(egress.clone()) else {
        reset(&job);
        return;
    };
    let mut moved = Moved::default();
    let outcome = match &name {
        Some(name) => converse(shared, name, target.port(), &job, &mut moved),
        None => Err("an address without a name".into()),
    };
    if outcome.is_err() {
        reset(&job);
    }
    let refused = match outcome {
        Err(End::Cut(reason)) => Some(reason),
        Err(End::Broken) | Ok(()) => None,
    };
    // The event comes before the end of the connection: who sees the end can count on the event.
    let lasted_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let Moved { sent_bytes, received_bytes } = moved;
    shared.ledger.leave(&attempt, Egress { refused, sent_bytes, received_bytes, lasted_ms, ..egress });
}

/// Where the job wanted to go.
fn target(mechanism: Mechanism, job: &TcpStream) -> Option<SocketAddr> {
    let ours = job.local_addr().ok()?;
    if mechanism == Mechanism::AnyAddress {
        return Some(ours);
    }
    // A connection straight to our door was never redirected, and the kernel may know nothing of it.
    match ours.ip() {
        IpAddr::V4(_) => getsockopt(job, sockopt::OriginalDst).map_or(Some(ours), |found| {
            let ip = u32::from_be(found.sin_addr.s_addr);
            Some(SocketAddr::new(IpAddr::V4(ip.into()), u16::from_be(found.sin_port)))
        }),
        IpAddr::V6(_) => getsockopt(job, sockopt::Ip6tOriginalDst).map_or(Some(ours), |found| {
            Some(SocketAddr::new(IpAddr::V6(found.sin6_addr.s6_addr.into()), u16::from_be(found.sin6_port)))
        }),
    }
}

/// Why a connection ends before both sides are done.
enum End {
    /// We do not let it go on.
    Cut(String),
    /// One side, or the run, has ended it.
    Broken,
}

impl From<&str> for End {
    fn from(reason: &str) -> Self {
        Self::Cut(reason.to_owned())
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

/// Bytes of one connection.
#[derive(Default)]
struct Moved {
    sent_bytes: u64,
    received_bytes: u64,
}

fn converse(shared: &Shared, name: &str, port: u16, job: &TcpStream, moved: &mut Moved) -> Result<(), End> {
    let Some(entry) = shared.policy.entry(name, port) else {
        return Err("the name is not allowed at this port".into());
    };
    if let Some(reason) = shared.ledger.cut() {
        return Err(End::Cut(reason));
    }
    job.set_nonblocking(true)?;
    job.set_nodelay(true)?;
    let mut pass = Vec::new();
    let mut inspector = if entry.opaque { Inspector::opaque() } else { Inspector::new(name, port) };
    if !entry.opaque {
        first_bytes(&shared.ledger, job, &mut inspector, &mut pass)?;
    }
    if !entry.host.is_exact() {
        // The job chose this name, and whoever answers for it will hear it.
        let granted = shared.ledger.take(name.len());
        moved.sent_bytes += granted as u64;
        if granted < name.len() {
            return Err(End::Cut(shared.ledger.budget()));
        }
    }
    let server = dial(&shared.policy, name, port).map_err(End::Cut)?;
    server.set_nonblocking(true)?;
    server.set_nodelay(true)?;
    Relay {
        ledger: &shared.ledger,
        moved,
        inspector,
        job: Side { stream: job, open: true, waiting: Vec::new(), at: 0, closing: false },
        server: Side { stream: &server, open: true, waiting: pass, at: 0, closing: false },
        deaf: false,
        torn: false,
        over: None,
        buffer: vec![0; BUFFER_BYTES],
    }
    .run()
}

/// Reads until something may go on.
fn first_bytes(ledger: &Ledger, mut job: &TcpStream, inspector: &mut Inspector, pass: &mut Vec<u8>) -> Result<(), End> {
    let deadline = Instant::now() + HELLO_TIME;
    let mut buffer = vec![0; HELLO_BUFFER_BYTES];
    let mut total = 0_u64;
    while pass.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let text = format!("{total} bytes in {} s did not say whom they are for", HELLO_TIME.as_secs());
            return Err(End::Cut(text));
        }
        wait(&[(job.as_fd(), PollFlags::POLLIN), (ledger.halt(), PollFlags::POLLIN)], left)?;
        if let Some(reason) = ledger.cut() {
            return Err(End::Cut(reason));
        }
        match job.read(&mut buffer) {
            Ok(0) => {
                let text = format!("closed after {total} bytes, which did not say whom they are for");
                return Err(End::Cut(text));
            }
            Ok(count) => {
                total += count as u64;
                inspector.hear_job(buffer.get(..count).unwrap_or_default(), pass)?;
            }
            Err(error) if is_temporary(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// One end of a relayed connection, and what waits to be written to it.
struct Side<'a> {
    stream: &'a TcpStream,
    /// Whether it may still say something.
    open: bool,
    waiting: Vec<u8>,
    at: usize,
    /// Nothing follows what waits.
    closing: bool,
}

impl Side<'_> {
    fn is_idle(&self) -> bool {
        self.at == self.waiting.len()
    }

    /// Writes up to `most` of what waits; returns how much the kernel took.
    fn write(&mut self, most: usize) -> io::Result<usize> {
        let rest = self.waiting.get(self.at..).unwrap_or_default();
        if rest.is_empty() || most == 0 {
            return Ok(0);
        }
        let mut stream = self.stream;
        let count = match stream.write(rest.get(..most).unwrap_or(rest)) {
            Ok(count) => count,
            Err(error) if is_temporary(&error) => 0,
            Err(error) => return Err(error),
        };
        self.at += count;
        if self.is_idle() {
            self.discard();
            self.finish();
        }
        Ok(count)
    }

    /// Throws away what waits.
    fn discard(&mut self) {
        self.waiting.clear();
        self.at = 0;
    }

    /// Says that nothing follows, once nothing waits.
    fn finish(&self) {
        if self.closing && self.is_idle() {
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }
}

/// Carries bytes both ways.
struct Relay<'a> {
    ledger: &'a Ledger,
    moved: &'a mut Moved,
    inspector: Inspector,
    job: Side<'a>,
    server: Side<'a>,
    /// The server takes nothing more: what the job says is thrown away.
    deaf: bool,
    /// The server has ended the connection other than in order.
    torn: bool,
    /// The job is dead; until then, what it had said already may still go out.
    over: Option<Instant>,
    buffer: Vec<u8>,
}

impl Relay<'_> {
    fn run(mut self) -> Result<(), End> {
        let mut farewell = None;
        loop {
            self.send()?;
            self.job.write(usize::MAX)?;
            if !self.server.open && self.job.is_idle() {
                if self.torn {
                    return Err(End::Broken);
                }
                // Closing while the job still speaks would be a reset, which may cost it what it has not read yet.
                farewell.get_or_insert_with(|| Instant::now() + FAREWELL_TIME);
            }
            let ends = farewell.into_iter().chain(self.over).min();
            let time = ends.map_or(IDLE_TIME, |end| end.saturating_duration_since(Instant::now()));
            if self.over.is_some() && (time.is_zero() || (!self.job.open && self.server.is_idle())) {
                return Err(End::Broken);
            }
            if farewell.is_some() && (!self.job.open || time.is_zero()) {
                return Ok(());
            }
            if !self.wait(time)? && ends.is_none() {
                return Err(End::Cut(format!("silent for {} s", IDLE_TIME.as_secs())));
            }
        }
    }

    /// Waits for either side and hears it; whether anything happened.
    fn wait(&mut self, time: Duration) -> Result<bool, End> {
        let unheard = self.deaf || !self.server.open;
        let from_job = self.job.open && (unheard || (self.server.is_idle() && self.inspector.wants_more()));
        let from_server = self.server.open && self.job.is_idle();
        let flags = |read: bool, write: bool| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, read);
            flags.set(PollFlags::POLLOUT, write);
            flags
        };
        let to_job = flags(from_job, !self.job.is_idle());
        let to_server = flags(from_server, !self.server.is_idle());
        let mut sources = vec![(self.job.stream.as_fd(), to_job)];
        if !to_server.is_empty() {
            // Nothing is wanted of a server while the job is slow; its end would wake us again and again.
            sources.push((self.server.stream.as_fd(), to_server));
        }
        if self.over.is_none() {
            sources.push((self.ledger.halt(), PollFlags::POLLIN));
        }
        let ready = wait(&sources, time)?;
        match self.ledger.cut() {
            Some(_) if self.ledger.is_over() => {
                self.over.get_or_insert_with(|| Instant::now() + LAST_TIME);
            }
            Some(reason) => return Err(End::Cut(reason)),
            None => {}
        }
        let gone = ready.first().is_some_and(|flags| flags.intersects(PollFlags::POLLERR | PollFlags::POLLHUP));
        if to_job.is_empty() && gone {
            return Err(End::Broken);
        }
        if from_job {
            self.hear_job()?;
        }
        if from_server {
            self.hear_server()?;
        }
        Ok(ready.iter().any(|flags| !flags.is_empty()))
    }

    /// Writes to the server what the budget allows.
    fn send(&mut self) -> Result<(), End> {
        let waiting = self.server.waiting.len() - self.server.at;
        if waiting == 0 {
            return Ok(());
        }
        if self.deaf || !self.server.open {
            self.server.discard();
            return Ok(());
        }
        let granted = self.ledger.take(waiting);
        let Ok(written) = self.server.write(granted) else {
            self.ledger.give_back(granted);
            // It may have answered all the same.
            self.deaf = true;
            self.server.discard();
            return Ok(());
        };
        self.ledger.give_back(granted - written);
        self.moved.sent_bytes += written as u64;
        if granted < waiting { Err(End::Cut(self.ledger.budget())) } else { Ok(()) }
    }

    fn hear_job(&mut self) -> Result<(), End> {
        let mut stream = self.job.stream;
        match stream.read(&mut self.buffer) {
            Ok(0) => {
                self.job.open = false;
                self.server.closing = true;
                self.server.finish();
            }
            Ok(count) => {
                let bytes = self.buffer.get(..count).unwrap_or_default();
                self.inspector.hear_job(bytes, &mut self.server.waiting)?;
            }
            Err(error) if is_temporary(&error) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn hear_server(&mut self) -> Result<(), End> {
        let mut stream = self.server.stream;
        match stream.read(&mut self.buffer) {
            Ok(count @ 1..) => {
                let bytes = self.buffer.get(..count).unwrap_or_default();
                self.inspector.hear_server(bytes, &mut self.server.waiting)?;
                self.job.waiting.extend_from_slice(bytes);
                self.moved.received_bytes += count as u64;
                self.ledger.received(count);
            }
            Err(error) if is_temporary(&error) => {}
            end => {
                self.torn = end.is_err();
                self.server.open = false;
                self.job.closing = !self.torn;
                self.job.finish();
            }
        }
        Ok(())
    }
}

/// Waits for one of `sources`; what each is ready for, nothing at all after `time`.
fn wait(sources: &[(BorrowedFd<'_>, PollFlags)], time: Duration) -> io::Result<Vec<PollFlags>> {
    let mut waits: Vec<_> = sources.iter().map(|(fd, flags)| PollFd::new(*fd, *flags)).collect();
    // A millisecond on top: poll rounds down.
    let time = PollTimeout::try_from(time + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    match poll(&mut waits, time) {
        Ok(_) => Ok(waits.iter().map(|wait| wait.revents().unwrap_or(PollFlags::all())).collect()),
        Err(nix::errno::Errno::EINTR) => Ok(vec![PollFlags::POLLIN]),
        Err(error) => Err(error.into()),
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Makes the end of `stream` a reset: the job learns at once that nothing comes.
fn reset(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // Without it the connection ends as usual.
    let _ = setsockopt(stream, sockopt::Linger, &linger);
}

/// How long a job may take to say whom a connection is for.
const HELLO_TIME: Duration = Duration::from_secs(10);
/// How long a connection may be silent on both sides.
const IDLE_TIME: Duration = Duration::from_mins(10);
/// How long a job may take to end a connection that the server has ended.
const FAREWELL_TIME: Duration = Duration::from_secs(2);
/// How long the last words of a job that is dead may take.
const LAST_TIME: Duration = Duration::from_millis(150);
/// Bytes read at a time.
const BUFFER_BYTES: usize = 64 << 10;
/// Bytes read at a time before a connection is made.
const HELLO_BUFFER_BYTES: usize = 4 << 10;
