//! The doors of a run's network: listeners that the keeper opens inside the namespace, before the job exists, and that
//! the supervisor serves from outside.
//!
//! [`open`] runs in the keeper while it still holds the capabilities of its own user namespace. Where the kernel offers
//! nftables, all TCP and all questions are redirected to one door each ([`Mechanism::Redirected`]). Where it does not,
//! every address is local all the same, so there is one listener for each allowed port and one for questions
//! ([`Mechanism::AnyAddress`]): nothing more gets out, but what is tried at other ports is refused by the kernel without a
//! word to us. Ports of doors are privileged: a job without capabilities can take none of them.

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, UdpSocket},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrIn6, bind, listen, setsockopt, socket, sockopt,
};
use serde::{Deserialize, Serialize};

use super::{
    dropped,
    net::{self, DNS_PORT, DOOR_PORT, Families, JOB_V4, JOB_V6},
    policy::EgressPolicy,
};

/// What the keeper has opened; the descriptors travel beside it, in the same order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::run) struct Doors {
    pub(super) mechanism: Mechanism,
    pub(super) kinds: Vec<Door>,
    /// Whether names have IPv6 addresses in there.
    pub(super) has_v6: bool,
    /// What cannot be had, if something cannot.
    pub(super) lacking: Vec<String>,
}

/// How what a job sends comes to a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mechanism {
    /// Redirected by nftables: the kernel remembers where it was going.
    Redirected,
    /// Every address is local: a connection's own address is where it was going.
    AnyAddress,
}

/// What a descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Door {
    /// A listener for connections to anywhere.
    Tcp,
    /// A listener for questions over TCP.
    DnsTcp,
    /// A socket for questions over UDP.
    DnsUdp,
    /// Where the kernel tells of what it dropped.
    Dropped,
}

impl Doors {
    /// For the record: what holds the network of this run.
    pub(super) fn measures(&self, policy: &EgressPolicy) -> Vec<String> {
        let names = policy.allow.iter().map(|allowed| format!("{}:{}", allowed.host, allowed.port));
        let mut names: Vec<_> = names.take(NAMES_SHOWN_MAX).collect();
        if policy.allow.len() > names.len() {
            names.push(format!("{} more", policy.allow.len() - names.len()));
        }
        let how = match self.mechanism {
            Mechanism::Redirected => "nftables",
            Mechanism::AnyAddress => "local routes, attempts at other ports are refused but not told",
        };
        let budget = policy.sent_bytes_max;
        let mut all = vec![
            "no network interface but loopback".to_owned(),
            format!("egress by name alone ({how}): {}; at most {budget} bytes sent", names.join(", ")),
        ];
        all.extend(self.lacking.iter().cloned());
        all
    }
}

/// Brings up the network of this namespace and opens the doors.
pub(super) fn open(policy: &EgressPolicy) -> io::Result<(Doors, Vec<OwnedFd>)> {
    let families = net::raise()?;
    let mut lacking = Vec::new();
    let mechanism = match net::redirect(families) {
        Ok(()) => Mechanism::Redirected,
        Err(error) => {
            lacking.push(format!("nftables cannot be had: {error}"));
            Mechanism::AnyAddress
        }
    };
    if families == Families::V4 {
        lacking.push("no IPv6 in this kernel".to_owned());
    }
    let mut doors = Vec::new();
    match mechanism {
        Mechanism::Redirected => {
            open_redirected(families, &mut doors)?;
            match dropped::listen() {
                Ok(socket) => doors.push((Door::Dropped, socket)),
                Err(error) => lacking.push(format!("dropped packets are not told: {error}")),
            }
        }
        Mechanism::AnyAddress => open_any_address(families, policy, &mut doors)?,
    }
    let (kinds, sockets) = doors.into_iter().unzip();
    Ok((Doors { mechanism, kinds, has_v6: families == Families::Both, lacking }, sockets))
}

fn open_redirected(families: Families, doors: &mut Vec<(Door, OwnedFd)>) -> io::Result<()> {
    let mut loopback = vec![std::net::IpAddr::V4(Ipv4Addr::LOCALHOST)];
    if families == Families::Both {
        loopback.push(Ipv6Addr::LOCALHOST.into());
    }
    for address in loopback {
        doors.push((Door::Tcp, TcpListener::bind(SocketAddr::new(address, DOOR_PORT))?.into()));
        open_dns(SocketAddr::new(address, DNS_PORT), doors)?;
    }
    Ok(())
}

fn open_any_address(families: Families, policy: &EgressPolicy, doors: &mut Vec<(Door, OwnedFd)>) -> io::Result<()> {
    open_dns((JOB_V4, DNS_PORT).into(), doors)?;
    if families == Families::Both {
        open_dns((JOB_V6, DNS_PORT).into(), doors)?;
    }
    let ports: BTreeSet<u16> = policy.allow.iter().map(|allowed| allowed.port).collect();
    for port in ports {
        doors.push((Door::Tcp, TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?.into()));
        if families == Families::Both {
            doors.push((Door::Tcp, listen_v6_only(port)?));
        }
    }
    Ok(())
}

fn open_dns(address: SocketAddr, doors: &mut Vec<(Door, OwnedFd)>) -> io::Result<()> {
    doors.push((Door::DnsUdp, UdpSocket::bind(address)?.into()));
    doors.push((Door::DnsTcp, TcpListener::bind(address)?.into()));
    Ok(())
}

/// The standard library cannot listen to IPv6 alone.
fn listen_v6_only(port: u16) -> io::Result<OwnedFd> {
    let listener = socket(AddressFamily::Inet6, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)?;
    setsockopt(&listener, sockopt::Ipv6V6Only, &true)?;
    bind(listener.as_raw_fd(), &SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0)))?;
    listen(&listener, Backlog::new(BACKLOG)?)?;
    Ok(listener)
}

/// Connections that wait for a door.
const BACKLOG: i32 = 128;
/// Most allowed names that the record lists.
const NAMES_SHOWN_MAX: usize = 16;
