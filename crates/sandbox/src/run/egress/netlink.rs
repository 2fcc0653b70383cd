//! Messages to the kernel over netlink, built by hand: no `ip`, no `nft`, no library.
//!
//! [`Batch`] gathers requests, [`Batch::send`] sends them as one datagram and waits until the kernel has said yes to each.
//! Layouts: linux/netlink.h; every message and attribute begins at a multiple of four bytes.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
        sockopt,
    },
    time::{TimeVal, TimeValLike},
};

/// A netlink socket of this process, in its network namespace.
pub(super) fn open(protocol: SockProtocol) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    // The kernel answers at once; a kernel that does not must not hold the run up for ever.
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(ANSWER_TIME_MS))?;
    Ok(socket)
}

/// Requests that are sent together.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// What each request is for; its sequence number is its place here plus one.
    steps: Vec<Option<&'static str>>,
}

impl Batch {
    /// Adds a request that the kernel is to confirm; `step` names it in an error.
    pub(super) fn request(&mut self, step: &'static str, kind: u16, flags: u16, fill: impl FnOnce(&mut Body<'_>)) {
        self.steps.push(Some(step));
        self.message(kind, flags | NLM_F_REQUEST | NLM_F_ACK, fill);
    }

    /// Adds a message that gets no answer of its own.
    pub(super) fn frame(&mut self, kind: u16, fill: impl FnOnce(&mut Body<'_>)) {
        self.steps.push(None);
        self.message(kind, NLM_F_REQUEST, fill);
    }

    fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Body<'_>)) {
        let start = self.bytes.len();
        let sequence = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        let mut body = Body { bytes: &mut self.bytes };
        // Length (written below), kind, flags, sequence number, and the sender, which the kernel fills in.
        body.bytes.extend([0; 4]);
        body.bytes.extend(kind.to_ne_bytes());
        body.bytes.extend(flags.to_ne_bytes());
        body.bytes.extend(sequence.to_ne_bytes());
        body.bytes.extend([0; 4]);
        fill(&mut body);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        write_at(&mut self.bytes, start, &length.to_ne_bytes());
    }

    /// Sends everything and waits for all answers. An error names the step that was refused.
    pub(super) fn send(self, socket: &OwnedFd) -> io::Result<()> {
        let sent = sendto(socket.as_raw_fd(), &self.bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        if sent != self.bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let mut open = self.steps.iter().flatten().count();
        let mut buffer = vec![0; ANSWER_BYTES_MAX];
        while open > 0 {
            let count = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = buffer.get(..count).unwrap_or_default();
            while let Some((kind, sequence, body, next)) = next_message(rest) {
                rest = next;
                let Some(code) = body.first_chunk::<4>().filter(|_| kind == NLMSG_ERROR) else { continue };
                let code = i32::from_ne_bytes(*code);
                if code != 0 {
                    let place = usize::try_from(sequence).unwrap_or(0).saturating_sub(1);
                    let step = self.steps.get(place).copied().flatten().unwrap_or("a request");
                    let error = io::Error::from_raw_os_error(code.saturating_neg());
                    return Err(io::Error::new(error.kind(), format!("{step}: {error}")));
                }
                open = open.saturating_sub(1);
            }
        }
        Ok(())
    }
}

/// Kind, sequence number and body of the first message in `bytes`, and what follows it.
pub(super) fn next_message(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<2>()?;
    let (_flags, rest) = rest.split_first_chunk::<2>()?;
    let (sequence, _) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
    let body = bytes.get(HEADER_BYTES..length)?;
    let next = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    Some((u16::from_ne_bytes(*kind), u32::from_ne_bytes(*sequence), body, next))
}

/// Kind and value of the first attribute in `bytes`, and what follows it.
pub(super) fn next_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let ([a, b, c, d], _) = bytes.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_ne_bytes([*a, *b]));
    let value = bytes.get(4..length)?;
    let next = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    Some((u16::from_ne_bytes([*c, *d]) & !NLA_F_NESTED, value, next))
}

/// What follows the header of a message, or stands inside a nested attribute.
pub(super) struct Body<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Body<'_> {
    /// Adds a header of the protocol's own.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.align();
    }

    /// Adds an attribute.
    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.within(kind, |body| body.bytes.extend_from_slice(value));
    }

    /// Adds an attribute that ends with a null byte.
    pub(super) fn text(&mut self, kind: u16, value: &str) {
        self.within(kind, |body| {
            body.bytes.extend_from_slice(value.as_bytes());
            body.bytes.push(0);
        });
    }

    /// Adds an attribute made of attributes.
    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Body<'_>)) {
        self.within(kind | NLA_F_NESTED, fill);
    }

    fn within(&mut self, kind: u16, fill: impl FnOnce(&mut Body<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        fill(&mut Body { bytes: self.bytes });
        // INVARIANT: our own messages are far below 64 KiB.
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        write_at(self.bytes, start, &length.to_ne_bytes());
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

fn write_at(bytes: &mut [u8], start: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(start..start + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Makes what does not exist yet.
pub(super) const NLM_F_CREATE: u16 = 0x400;
/// Adds at the end of a list.
pub(super) const NLM_F_APPEND: u16 = 0x800;
/// It must not exist yet.
pub(super) const NLM_F_EXCL: u16 = 0x200;
/// It is a request.
const NLM_F_REQUEST: u16 = 1;
/// The kernel is to confirm it.
const NLM_F_ACK: u16 = 4;
/// An answer: zero or an error number.
const NLMSG_ERROR: u16 = 2;
/// Marks attributes made of attributes.
const NLA_F_NESTED: u16 = 0x8000;
/// Bytes of `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// Messages and attributes begin at multiples of this many bytes.
const ALIGNMENT: usize = 4;
/// Room for answers in bytes: they repeat the request.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How long the kernel may take for one answer, in milliseconds.
const ANSWER_TIME_MS: i64 = 2_000;

#[cfg(test)]
mod tests {
    use super::{Batch, next_attribute, next_message};

    #[test]
    fn what_is_built_is_read() {
        let mut batch = Batch::default();
        batch.request("one", 7, 0, |body| {
            body.put(&[1, 2, 3, 4]);
            body.text(1, "lo");
            body.nest(2, |inner| inner.attribute(3, &[9; 5]));
        });
        batch.frame(8, |_| {});
        let (kind, sequence, body, rest) = next_message(&batch.bytes).unwrap();
        assert_eq!((kind, sequence, &body[..4]), (7, 1, &[1, 2, 3, 4][..]));
        let (kind, value, after) = next_attribute(&body[4..]).unwrap();
        assert_eq!((kind, value), (1, &b"lo\0"[..]));
        let (kind, value, end) = next_attribute(after).unwrap();
        assert_eq!((kind, next_attribute(value).unwrap().1, end), (2, &[9; 5][..], &[][..]));
        assert_eq!(next_message(rest).unwrap().0, 8);
        for cut in 0..16 {
            assert!(next_message(&rest[..cut]).is_none());
        }
    }
}
