//! Between supervisor and keeper: one socket pair, whole messages, descriptors beside them.
//!
//! Supervisor to keeper: [`Control::go`]. Keeper to supervisor: [`Report`]. The end of the socket on either side means
//! that the other one is dead.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};

use nix::{
    cmsg_space,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
    },
};
use serde::{Deserialize, Serialize};

use super::{SandboxError, claims::Part, egress::Doors};
use crate::sys;

/// One end of the socket pair.
pub(super) struct Control {
    socket: OwnedFd,
}

/// What the keeper and the job to be report.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// Before [`Report::Ready`]: something on which the job's claims are heard; comes with its descriptor.
    Claims(Part),
    /// The sandbox stands; comes with a descriptor of the output folder, and those of the doors.
    Ready {
        /// What confines it.
        measures: Vec<String>,
        /// The doors of its network, if it has one.
        doors: Option<Doors>,
    },
    /// This level cannot be had here.
    Refused {
        /// Which step failed, and how.
        reason: String,
    },
    /// The inputs are in place; comes with a descriptor of their folder.
    Loaded,
    /// From the job, just before exec: its seccomp filter stands; comes with the listener, if there is one.
    Confined {
        /// What confines it.
        measures: Vec<String>,
    },
    /// It cannot go on.
    Failed(SandboxError),
    /// The command ended.
    Ended {
        /// Exit code.
        code: Option<i32>,
        /// Signal.
        signal: Option<i32>,
    },
}

impl Control {
    /// Two connected ends.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self { socket: one }, Self { socket: other }))
    }

    /// The socket, to poll.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends a report, with at most one descriptor.
    pub(super) fn report(&self, report: &Report, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.report_with(report, descriptor.as_slice())
    }

    /// Sends a report, with at most [`DESCRIPTORS_MAX`] descriptors.
    pub(super) fn report_with(&self, report: &Report, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(report)?;
        let bytes = bytes.get(..MESSAGE_BYTES_MAX).unwrap_or(&bytes);
        let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let extra = if numbers.is_empty() { &rights[..0] } else { &rights[..] };
        sendmsg::<()>(self.socket.as_raw_fd(), &[IoSlice::new(bytes)], extra, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    /// Waits for a report and its descriptor; `None` when the other side is dead.
    pub(super) fn receive(&self) -> io::Result<Option<(Report, Option<OwnedFd>)>> {
        Ok(self.receive_with()?.map(|(report, descriptors)| (report, descriptors.into_iter().next())))
    }

    /// Waits for a report and its descriptors; `None` when the other side is dead.
    pub(super) fn receive_with(&self) -> io::Result<Option<(Report, Vec<OwnedFd>)>> {
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        let mut space = cmsg_space!([RawFd; DESCRIPTORS_MAX]);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let (length, numbers) = loop {
            match recvmsg::<()>(self.socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
                Ok(message) => {
                    let mut numbers = Vec::new();
                    for extra in message.cmsgs()? {
                        if let ControlMessageOwned::ScmRights(list) = extra {
                            numbers.extend(list);
                        }
                    }
                    break (message.bytes, numbers);
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::ECONNRESET) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        if length == 0 {
            return Ok(None);
        }
        let descriptors = numbers.into_iter().map(sys::adopt).collect::<io::Result<Vec<_>>>()?;
        let report = serde_json::from_slice(buffer.get(..length).unwrap_or_default())?;
        Ok(Some((report, descriptors)))
    }

    /// Whether something arrives (or the other side dies) within `time`.
    pub(super) fn wait(&self, time: Duration) -> io::Result<bool> {
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        loop {
            match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], time) {
                Ok(count) => return Ok(count > 0),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Lets the keeper take its next step.
    pub(super) fn go(&self) -> io::Result<()> {
        sendmsg::<()>(self.socket.as_raw_fd(), &[IoSlice::new(b"go")], &[], MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    /// Waits for [`Control::go`]; an error when the supervisor is dead.
    pub(super) fn wait_for_go(&self) -> io::Result<()> {
        let mut buffer = [0; 8];
        match nix::unistd::read(&self.socket, &mut buffer)? {
            0 => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Ok(()),
        }
    }

    /// An error when the supervisor is dead already.
    pub(super) fn check_alive(&self) -> io::Result<()> {
        if sys::has_hung_up(self.socket.as_fd())? { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

/// Most descriptors beside one message (`SCM_MAX_FD`).
const DESCRIPTORS_MAX: usize = 253;
/// Longest message in bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
