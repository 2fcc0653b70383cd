//! What the supervisor tells its caller, queued so that a slow caller never holds up the watch.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ringfence_schema::event::{Claimed, Observed, RunEvent, Source};
use serde::Serialize;

use super::from_supervisor;
use crate::{frame, sys};

/// The pipe to the caller.
pub(super) struct Outbox {
    pipe: File,
    waiting: Vec<u8>,
    began: Instant,
}

impl Outbox {
    /// Speaks on `pipe`; event times count from now.
    pub(super) fn new(pipe: File) -> io::Result<Self> {
        sys::set_nonblocking(&pipe)?;
        Ok(Self { pipe, waiting: Vec::new(), began: Instant::now() })
    }

    /// The pipe, to poll for room while [`Outbox::is_waiting`].
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Whether something waits to be sent.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the caller is so slow that claims must be dropped. Observations are always queued: they are few.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() > WAITING_BYTES_MAX
    }

    /// Queues an observation.
    pub(super) fn observe(&mut self, observed: Observed) -> io::Result<()> {
        self.event(Source::Observed(observed))
    }

    /// Queues a claim.
    pub(super) fn claim(&mut self, claimed: Claimed) -> io::Result<()> {
        self.event(Source::Claimed(claimed))
    }

    fn event(&mut self, source: Source) -> io::Result<()> {
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.record(from_supervisor::EVENT, &RunEvent { at_ms, source })
    }

    /// Queues any record as JSON.
    pub(super) fn record(&mut self, kind: u8, record: &impl Serialize) -> io::Result<()> {
        let payload = serde_json::to_vec(record)?;
        frame::write(&mut self.waiting, kind, &payload)
    }

    /// Queues bytes and waits until they are gone.
    pub(super) fn bytes(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        frame::write(&mut self.waiting, kind, payload)?;
        self.flush()
    }

    /// Sends what fits now.
    pub(super) fn send(&mut self) -> io::Result<()> {
        while self.is_waiting() {
            match self.pipe.write(&self.waiting) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends everything, waiting for the caller. Only for when nothing is left to be watched.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        loop {
            self.send()?;
            if !self.is_waiting() {
                return Ok(());
            }
            match poll(&mut [PollFd::new(self.pipe.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Above this many waiting bytes, claims are dropped.
const WAITING_BYTES_MAX: usize = 4 << 20;
