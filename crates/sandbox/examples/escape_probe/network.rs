//! The network and sockets. What an allow-list of hosts adds is tried elsewhere.

use std::{
    net::{SocketAddr as IpAddress, TcpListener, TcpStream, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram, UnixStream},
    },
    time::Duration,
};

use nix::libc;

use super::{At, Attempt, Outcome, address_mut, call, number, tried};

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt::new("tcp-to-host", "connect to a TCP port of the host", |targets| {
        let address = IpAddress::from(([127, 0, 0, 1], targets.tcp_port));
        tried(TcpStream::connect_timeout(&address, Duration::from_millis(500)))
    }),
    Attempt::new("udp-to-host", "send to a UDP port of the host", |targets| {
        let socket = UdpSocket::bind("0.0.0.0:0").map_err(|error| error.to_string())?;
        socket.connect(("127.0.0.1", targets.udp_port)).map_err(|error| error.to_string())?;
        socket.send(b"x").map_err(|error| error.to_string())?;
        // Where nobody listens, the answer comes with the next call.
        std::thread::sleep(Duration::from_millis(20));
        tried(socket.send(b"x"))
    }),
    // Connecting a datagram socket asks for a route and sends nothing.
    Attempt::new("route-to-name-server", "find a route to a name server", |_| route("192.0.2.53:53")),
    Attempt::new("route-to-metadata", "find a route to a cloud's metadata service", |_| route("169.254.169.254:80")),
    Attempt::new("listen-for-host", "open a port that the host's programs could use", |targets| {
        // The port is taken on the host: in a network of one's own it is free.
        match TcpListener::bind(("127.0.0.1", targets.tcp_port)) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(error.to_string()),
            Err(error) => Err(error.to_string()),
            Ok(_) => Err("a port of its own".to_owned()),
        }
    }),
    Attempt::new("path-socket", "connect to a socket with a path", |targets| {
        tried(UnixStream::connect(&targets.socket))
    }),
    Attempt::new("path-datagram", "send to a socket with a path", |targets| {
        let socket = UnixDatagram::unbound().map_err(|error| error.to_string())?;
        let sent = socket.send_to(b"x", &targets.socket);
        // A stream socket says that it is one only to those who reach it.
        match sent {
            Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => Ok(error.to_string()),
            other => tried(other),
        }
    }),
    Attempt::new("abstract-socket", "connect to an abstract socket", |targets| {
        let name = SocketAddr::from_abstract_name(&targets.abstract_name).map_err(|error| error.to_string())?;
        tried(UnixStream::connect_addr(&name))
    }),
    Attempt::new("raw-socket", "a raw IP socket", |_| socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)),
    Attempt::new("raw-socket-6", "a raw IPv6 socket", |_| socket(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6)),
    Attempt::new("packet-socket", "a packet socket", |_| socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
    Attempt::new("netlink-socket", "a netlink socket", |_| socket(libc::AF_NETLINK, libc::SOCK_RAW, 0)),
    Attempt::new("vsock-socket", "a socket to the machine's host", |_| socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)),
    Attempt::new("crypto-socket", "a socket to the kernel's ciphers", |_| {
        socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)
    }),
    Attempt::new("bluetooth-socket", "a Bluetooth socket", |_| socket(libc::AF_BLUETOOTH, libc::SOCK_RAW, 0)),
    Attempt::new("key-socket", "a key management socket", |_| socket(libc::AF_KEY, libc::SOCK_RAW, 2)),
    Attempt::new("can-socket", "a CAN socket", |_| socket(libc::AF_CAN, libc::SOCK_RAW, 1)),
    Attempt::new("tipc-socket", "a TIPC socket", |_| socket(libc::AF_TIPC, libc::SOCK_STREAM, 0)),
    Attempt::new("xdp-socket", "an XDP socket", |_| socket(libc::AF_XDP, libc::SOCK_RAW, 0)),
    Attempt::new("rds-socket", "an RDS socket", |_| socket(libc::AF_RDS, libc::SOCK_SEQPACKET, 0)),
    Attempt::new("any-socket", "any socket at all", |_| socket(libc::AF_UNIX, libc::SOCK_STREAM, 0))
        .only(At::LandlockOnly),
    Attempt::new("datagram-pair", "a pair of sockets that could be pointed elsewhere", |_| {
        let mut pair = [0_i32; 2];
        call(libc::SYS_socketpair, &[1, number(libc::SOCK_DGRAM), 0, address_mut(&mut pair)])
    })
    .only(At::LandlockOnly),
];

fn route(address: &str) -> Outcome {
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(|error| error.to_string())?;
    tried(socket.connect(address))
}

fn socket(family: i32, kind: i32, protocol: i32) -> Outcome {
    call(libc::SYS_socket, &[number(family), number(kind), number(protocol)])
}
