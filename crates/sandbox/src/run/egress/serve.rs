//! The supervisor's side of the doors: one thread takes what comes in and hands connections on to threads of their own.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, PoisonError},
    thread,
    time::Duration,
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{MsgFlags, recv},
};
use ringfence_schema::{
    event::{Egress, EgressVia},
    finding::printable,
};

use super::{
    Shared, dns,
    doors::Door,
    dropped,
    ledger::{self, attempt},
    relay,
};

/// A door with its socket.
enum Open {
    Tcp(TcpListener),
    DnsTcp(TcpListener),
    DnsUdp(UdpSocket),
    Dropped(OwnedFd),
}

impl AsFd for Open {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) | Self::DnsTcp(socket) => socket.as_fd(),
            Self::DnsUdp(socket) => socket.as_fd(),
            Self::Dropped(socket) => socket.as_fd(),
        }
    }
}

/// Starts the thread that serves `doors`, until the run is over.
pub(super) fn start(shared: Arc<Shared>, doors: &[Door], sockets: Vec<OwnedFd>) -> io::Result<()> {
    if doors.len() != sockets.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "doors without sockets"));
    }
    let mut open = Vec::new();
    for (door, socket) in doors.iter().zip(sockets) {
        crate::sys::set_nonblocking(&socket)?;
        open.push(match door {
            Door::Tcp => Open::Tcp(socket.into()),
            Door::DnsTcp => Open::DnsTcp(socket.into()),
            Door::DnsUdp => Open::DnsUdp(socket.into()),
            Door::Dropped => Open::Dropped(socket),
        });
    }
    thread::Builder::new().name("egress".to_owned()).spawn(move || keep_doors(&shared, &open))?;
    Ok(())
}

fn keep_doors(shared: &Arc<Shared>, open: &[Open]) {
    loop {
        let mut waits: Vec<_> = open.iter().map(|door| PollFd::new(door.as_fd(), PollFlags::POLLIN)).collect();
        if poll(&mut waits, PollTimeout::from(LOOK_INTERVAL_MS)).is_err() {
            // Interrupted, or out of memory for a moment.
            thread::sleep(PAUSE);
        }
        if shared.ledger.is_over() {
            return;
        }
        for (door, wait) in open.iter().zip(&waits) {
            if wait.any() != Some(true) {
                continue;
            }
            match door {
                Open::Tcp(listener) => take_connections(shared, listener, relay::serve),
                Open::DnsTcp(listener) => take_connections(shared, listener, |shared, job| {
                    // Whatever ends such a connection ends it for the job alone.
                    let _ = answer_stream(shared, job);
                }),
                Open::DnsUdp(socket) => answer_datagrams(shared, socket),
                Open::Dropped(socket) => tell_dropped(shared, socket),
            }
        }
    }
}

fn take_connections(shared: &Arc<Shared>, listener: &TcpListener, serve: fn(&Arc<Shared>, TcpStream)) {
    for _ in 0..TAKEN_AT_A_TIME {
        let job = match listener.accept() {
            Ok((job, _)) => job,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => {
                // Out of descriptors or memory: others must end first.
                thread::sleep(PAUSE);
                return;
            }
        };
        let theirs = Arc::clone(shared);
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        if thread.spawn(move || serve(&theirs, job)).is_err() {
            // The connection is closed with the closure that holds it.
            let refused = Some("this machine has no thread left for it".to_owned());
            shared.ledger.note(Egress { refused, ..attempt(EgressVia::Tcp, 0) });
            thread::sleep(PAUSE);
        }
    }
}

fn answer_datagrams(shared: &Shared, socket: &UdpSocket) {
    let mut buffer = [0; dns::QUERY_BYTES_MAX];
    for _ in 0..TAKEN_AT_A_TIME {
        let Ok((count, from)) = socket.recv_from(&mut buffer) else { return };
        if let Some(answer) = answer(shared, buffer.get(..count).unwrap_or_default()) {
            // A job that does not take its answer asks again.
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// Questions over TCP, each with its length in front (RFC 7766).
fn answer_stream(shared: &Shared, mut job: TcpStream) -> io::Result<()> {
    let Some(attempt) = shared.ledger.enter(ledger::attempt(EgressVia::Dns, super::net::DNS_PORT)) else {
        return Ok(());
    };
    let mut conversation = || -> io::Result<()> {
        job.set_nonblocking(false)?;
        job.set_nodelay(true)?;
        job.set_read_timeout(Some(DNS_TIME))?;
        job.set_write_timeout(Some(DNS_TIME))?;
        for _ in 0..QUESTIONS_MAX {
            let mut length = [0; 2];
            job.read_exact(&mut length)?;
            let length = usize::from(u16::from_be_bytes(length));
            if length > dns::QUERY_BYTES_MAX {
                return Ok(());
            }
            let mut query = vec![0; length];
            job.read_exact(&mut query)?;
            let Some(answer) = answer(shared, &query) else { return Ok(()) };
            let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
            job.write_all(&[&length.to_be_bytes()[..], &answer].concat())?;
        }
        Ok(())
    };
    let outcome = conversation();
    shared.ledger.forget(&attempt);
    outcome
}

/// The answer to one query, which becomes an event.
fn answer(shared: &Shared, query: &[u8]) -> Option<Vec<u8>> {
    let question = dns::parse(query)?;
    let name = question.host().filter(|name| shared.policy.names(name));
    let addresses = name.and_then(|name| shared.names.lock().unwrap_or_else(PoisonError::into_inner).addresses(name));
    let (answer, refused) = match (name, addresses) {
        (_, Some((v4, v6))) => (dns::Answer::Addresses(v4, shared.has_v6.then_some(v6)), None),
        (Some(_), None) => (dns::Answer::NoName, Some("too many names")),
        (None, None) => (dns::Answer::NoName, Some("the name is not allowed")),
    };
    shared.ledger.note(Egress {
        name: Some(printable(&question.name, NAME_SHOWN_MAX)),
        refused: refused.map(str::to_owned),
        ..attempt(EgressVia::Dns, super::net::DNS_PORT)
    });
    Some(dns::answer(&question, answer))
}

fn tell_dropped(shared: &Shared, socket: &OwnedFd) {
    use std::os::fd::AsRawFd;
    let mut buffer = vec![0; DROPPED_BUFFER_BYTES];
    for _ in 0..TAKEN_AT_A_TIME {
        // What the kernel could not keep is lost: it tells so by an error.
        let Ok(count) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) else { return };
        for packet in dropped::parse(buffer.get(..count).unwrap_or_default()) {
            let what = match i32::from(packet.protocol) {
                libc::IPPROTO_UDP => "a datagram; only TCP to allowed names leaves".to_owned(),
                protocol => format!("a packet of protocol {protocol}; only TCP to allowed names leaves"),
            };
            shared.ledger.note(Egress {
                address: Some(packet.to.to_string()),
                refused: Some(what),
                ..attempt(EgressVia::Udp, packet.port)
            });
        }
    }
}

/// How often the thread looks whether the run is over, in milliseconds.
const LOOK_INTERVAL_MS: u16 = 500;
/// A pause where the kernel lacks something for the moment.
const PAUSE: Duration = Duration::from_millis(10);
/// What is taken from one door before the next has its turn.
const TAKEN_AT_A_TIME: usize = 64;
/// Stack of a connection's thread in bytes; looking up a name needs the most.
const STACK_BYTES: usize = 512 << 10;
/// How long a job may be silent between questions over TCP.
const DNS_TIME: Duration = Duration::from_secs(5);
/// Most questions over one TCP connection.
const QUESTIONS_MAX: usize = 1_024;
/// Characters of a name that the record shows.
const NAME_SHOWN_MAX: usize = 120;
/// Room for what the kernel tells at a time, in bytes.
const DROPPED_BUFFER_BYTES: usize = 16 << 10;
