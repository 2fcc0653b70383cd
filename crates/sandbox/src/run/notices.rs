//! What the kernel tells about system calls: the refused ones, and connections to sockets that could only be the host's.
//! Answered, counted, bounded.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::libc;
use ringfence_schema::event::Observed;

use super::{calls, doors, outbox::Outbox};
use crate::sys::{self, Answer};

/// The listener of one run and what came from it.
#[derive(Default)]
pub(super) struct Notices {
    listener: Option<OwnedFd>,
    counts: BTreeMap<String, u64>,
}

impl Notices {
    /// Listens on `listener`.
    pub(super) fn listen(&mut self, listener: Option<OwnedFd>) {
        self.listener = listener;
    }

    /// The listener, to poll.
    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// Answers one call that waits; the first of its kind that leads nowhere becomes an event.
    pub(super) fn refuse_one(&mut self, outbox: &mut Outbox) -> io::Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        let Some(notice) = sys::receive_notice(listener.as_fd())? else {
            // The caller died meanwhile; if that was the last one, the listener would be ready for ever.
            if sys::has_hung_up(listener.as_fd())? {
                self.close();
            }
            return Ok(());
        };
        let mut detail = if i64::from(notice.call) == libc::SYS_connect {
            // Only looked at: what is not there is refused by the kernel itself. What a thread changes behind our back
            // after the look changes the record, not the outcome.
            let door = doors::of_host(&notice);
            sys::answer_notice(listener.as_fd(), notice.id, Answer::GoOn)?;
            let Some(door) = door else { return Ok(()) };
            door
        } else {
            sys::answer_notice(listener.as_fd(), notice.id, Answer::Refuse(libc::EPERM))?;
            calls::describe(notice.call, notice.arguments)
        };
        if self.counts.len() >= KINDS_MAX && !self.counts.contains_key(&detail) {
            OTHERS.clone_into(&mut detail);
        }
        let count = self.counts.entry(detail.clone()).or_default();
        *count += 1;
        if *count == 1 {
            outbox.observe(Observed::Refused { detail })?;
        }
        Ok(())
    }

    /// Nobody is left to make calls.
    pub(super) fn close(&mut self) {
        self.listener = None;
    }

    /// How often anything was refused.
    pub(super) fn total(&self) -> u64 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What was refused and how often.
    pub(super) fn counts(&self) -> Vec<(String, u64)> {
        self.counts.iter().map(|(detail, count)| (detail.clone(), *count)).collect()
    }
}

/// Most kinds of refused calls that are told apart.
const KINDS_MAX: usize = 256;
/// Stands for all further kinds.
const OTHERS: &str = "further calls";
