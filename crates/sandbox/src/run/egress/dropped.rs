//! What the kernel dropped on its way to somewhere else, as it tells over NFLOG.
//!
//! Layouts: linux/netfilter/nfnetlink_log.h, RFC 791 and RFC 8200 headers. The packets were made by the job: every read is
//! checked.
#![deny(clippy::indexing_slicing)]

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::OwnedFd,
};

use nix::{libc, sys::socket::SockProtocol};

use super::{
    net::{DROPPED_GROUP, TOLD_BYTES, generic},
    netlink::{self, Batch, next_attribute, next_message},
};

/// One packet that went nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Where it was going.
    pub(super) to: IpAddr,
    /// Its protocol number (IANA).
    pub(super) protocol: u8,
    /// Its port, for protocols that have one.
    pub(super) port: u16,
    /// Its length in bytes, as its header says.
    pub(super) bytes: u64,
}

/// Asks the kernel to tell of dropped packets on the socket that this returns.
pub(super) fn listen() -> io::Result<OwnedFd> {
    let socket = netlink::open(SockProtocol::NetlinkNetFilter)?;
    let mut batch = Batch::default();
    let kind = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
    batch.request("listen to dropped packets", kind, 0, |body| {
        body.put(&generic(0, DROPPED_GROUP));
        body.attribute(NFULA_CFG_CMD, &[NFULNL_CFG_CMD_BIND]);
    });
    batch.request("headers of dropped packets", kind, 0, |body| {
        body.put(&generic(0, DROPPED_GROUP));
        let [a, b, c, d] = TOLD_BYTES.to_be_bytes();
        body.attribute(NFULA_CFG_MODE, &[a, b, c, d, NFULNL_COPY_PACKET, 0]);
        body.attribute(NFULA_CFG_QTHRESH, &1_u32.to_be_bytes());
    });
    batch.send(&socket)?;
    Ok(socket)
}

/// The packets in what was read from the socket.
pub(super) fn parse(mut bytes: &[u8]) -> Vec<Dropped> {
    let mut all = Vec::new();
    while let Some((kind, _, body, next)) = next_message(bytes) {
        bytes = next;
        if kind != NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET {
            continue;
        }
        let mut rest = body.get(GENERIC_BYTES..).unwrap_or_default();
        while let Some((kind, value, next)) = next_attribute(rest) {
            rest = next;
            if kind == NFULA_PAYLOAD {
                all.extend(packet(value));
            }
        }
    }
    all
}

fn packet(bytes: &[u8]) -> Option<Dropped> {
    match bytes.first()? >> 4 {
        4 => {
            let (head, _) = bytes.split_first_chunk::<20>()?;
            let [first, _, high, low, _, _, _, _, _, protocol, _, _, _, _, _, _, a, b, c, d] = *head;
            let to = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
            let port = port(protocol, bytes.get(usize::from(first & 0xf) * 4..));
            Some(Dropped { to, protocol, port, bytes: u16::from_be_bytes([high, low]).into() })
        }
        6 => {
            let (head, rest) = bytes.split_first_chunk::<40>()?;
            let [_, _, _, _, high, low, protocol, ..] = *head;
            let to = IpAddr::V6(Ipv6Addr::from(*head.last_chunk::<16>()?));
            let length = u64::from(u16::from_be_bytes([high, low])) + 40;
            Some(Dropped { to, protocol, port: port(protocol, Some(rest)), bytes: length })
        }
        _ => None,
    }
}

/// The destination port: the second half-word of TCP, UDP and their like.
fn port(protocol: u8, transport: Option<&[u8]>) -> u16 {
    let with_ports = [libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_UDPLITE, libc::IPPROTO_SCTP];
    match transport {
        Some([_, _, high, low, ..]) if with_ports.contains(&i32::from(protocol)) => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

/// Bytes of `struct nfgenmsg`.
const GENERIC_BYTES: usize = 4;
const NFNL_SUBSYS_ULOG: u16 = 4;
const NFULNL_MSG_PACKET: u16 = 0;
const NFULNL_MSG_CONFIG: u16 = 1;
const NFULA_PAYLOAD: u16 = 9;
const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_QTHRESH: u16 = 5;
const NFULNL_CFG_CMD_BIND: u8 = 1;
const NFULNL_COPY_PACKET: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_rubbish_is_not() {
        let mut v4 = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 198, 18, 0, 1, 192, 0, 2, 7];
        v4.extend([0x80, 0, 0, 123, 0, 12, 0, 0]);
        let wanted = Dropped { to: "192.0.2.7".parse().unwrap(), protocol: 17, port: 123, bytes: 32 };
        assert_eq!(packet(&v4), Some(wanted));
        let mut v6 = vec![0x60, 0, 0, 0, 0, 8, 58, 64];
        v6.extend([0xfd; 16]);
        v6.extend([0x20; 16]);
        v6.extend([128, 0, 0, 0]);
        let ping = packet(&v6).unwrap();
        assert_eq!((ping.protocol, ping.port, ping.bytes), (58, 0, 48));
        assert_eq!(ping.to.to_string(), "2020:2020:2020:2020:2020:2020:2020:2020");
        for cut in 0..20 {
            assert_eq!(packet(&v4[..cut]), None);
        }
        assert_eq!(packet(&[0x10; 64]), None);
    }
}
