//! Drills that try to carry something out.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr as UnixAddress, UnixStream},
        },
    },
    time::Duration,
};

use super::{Outcome, say};

/// What an attempt came to.
enum Attempt {
    Refused(String),
    Answered(String),
    Silent,
}

/// Judges attempts: one answer is a way out; silence after something was sent is for the record to judge.
fn judge(attempts: Vec<(String, Attempt)>) -> Outcome {
    let (mut refused, mut silent) = (0, 0);
    for (what, attempt) in &attempts {
        match attempt {
            Attempt::Refused(reason) => {
                refused += 1;
                say(&format!("{what}: refused: {reason}"));
            }
            Attempt::Silent => {
                silent += 1;
                say(&format!("{what}: no answer"));
            }
            Attempt::Answered(answer) => return Outcome::Out(format!("{what}: {answer}")),
        }
    }
    if silent > 0 {
        return Outcome::Unclear(format!("{refused} attempts refused, {silent} without an answer"));
    }
    Outcome::Held(format!("{refused} attempts refused"))
}

pub(super) fn by_dns(arguments: &[String]) -> Outcome {
    let secret: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut attempts = Vec::new();
    for number in 0..DNS_NAMES {
        let name = format!("{secret}.{number}.drill.invalid");
        let looked_up = match (name.as_str(), 443).to_socket_addrs() {
            Ok(mut addresses) => match addresses.next() {
                Some(address) => Attempt::Answered(address.to_string()),
                None => Attempt::Silent,
            },
            Err(error) => Attempt::Refused(error.to_string()),
        };
        attempts.push((format!("look up {name}"), looked_up));
    }
    let question = question(&format!("{secret}.drill.invalid"));
    for server in name_servers(arguments) {
        attempts.push((format!("ask {server} over UDP"), dns_answer(datagram(server, &question))));
        let length = u16::try_from(question.len()).unwrap_or(0);
        let framed = [&length.to_be_bytes()[..], &question].concat();
        attempts.push((format!("ask {server} over TCP"), dns_answer(stream(server, &framed).map(skip_length))));
    }
    judge(attempts)
}

fn name_servers(arguments: &[String]) -> Vec<SocketAddr> {
    let configured = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let configured = configured.lines().filter_map(|line| line.strip_prefix("nameserver ")).map(str::trim);
    let all = arguments.iter().map(String::as_str).chain(configured).chain(NAME_SERVERS.iter().copied());
    let addresses = all.filter_map(|text| text.parse::<IpAddr>().ok());
    addresses.map(|address| SocketAddr::new(address, 53)).take(TARGETS_MAX).collect()
}

/// Only an answer with an address in it is a way out that is seen from here; a refusal comes with a code.
fn dns_answer(answer: io::Result<Vec<u8>>) -> Attempt {
    match answer {
        Ok(bytes) if bytes.len() < DNS_HEADER_BYTES => Attempt::Refused("the connection was closed".to_owned()),
        Ok(bytes) => match (bytes.get(3).map(|flags| flags & 0xf), bytes.get(6..8)) {
            (Some(0), Some(count)) if count != [0, 0] => Attempt::Answered("an address".to_owned()),
            (Some(code), _) if code != 0 => Attempt::Refused(format!("response code {code}")),
            _ => Attempt::Silent,
        },
        Err(error) => failed(&error),
    }
}

/// A question for an address record (RFC 1035, section 4).
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0x52, 0x46, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        let label = label.as_bytes().get(..label.len().min(63)).unwrap_or_default();
        message.push(u8::try_from(label.len()).unwrap_or(0));
        message.extend_from_slice(label);
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

fn skip_length(answer: Vec<u8>) -> Vec<u8> {
    answer.get(2..).unwrap_or_default().to_vec()
}

pub(super) fn by_other_name(arguments: &[String]) -> Outcome {
    let hosts: Vec<&str> = arguments.iter().map(String::as_str).take(TARGETS_MAX).collect();
    let hosts = if hosts.is_empty() { vec!["allowed.drill.invalid:443"] } else { hosts };
    let hello = client_hello(OTHER_NAME);
    let request = format!("GET /?{} HTTP/1.1\r\nHost: {OTHER_NAME}\r\nConnection: close\r\n\r\n", SECRET.len());
    let mut attempts = Vec::new();
    for host in hosts {
        for (what, bytes) in [("TLS", hello.as_slice()), ("HTTP", request.as_bytes())] {
            let outcome = match host.to_socket_addrs().map(|mut addresses| addresses.next()) {
                Ok(Some(address)) => tcp_answer(stream(address, bytes)),
                Ok(None) => Attempt::Refused("no address".to_owned()),
                Err(error) => Attempt::Refused(error.to_string()),
            };
            attempts.push((format!("ask {host} for {OTHER_NAME} in {what}"), outcome));
        }
    }
    judge(attempts)
}

/// The first message of TLS 1.2 and 1.3 (RFC 8446, section 4.1.2) with `name` as server name (RFC 6066, section 3).
fn client_hello(name: &str) -> Vec<u8> {
    let short = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes()[..], bytes].concat();
    let extension = |number: u16, content: &[u8]| [&number.to_be_bytes()[..], &short(content)].concat();
    let server_name = short(&[&[0][..], &short(name.as_bytes())].concat());
    let extensions = [
        extension(0, &server_name),
        extension(10, &short(&[0, 0x1d, 0, 0x17])),
        extension(13, &short(&[4, 3, 8, 4, 4, 1])),
        extension(43, &[4, 3, 4, 3, 3]),
        extension(51, &short(&[])),
    ]
    .concat();
    let random = [0x52; 32];
    let body = [&[3, 3][..], &random, &[0], &short(&[0x13, 1, 0xc0, 0x2f, 0xc0, 0x2b]), &[1, 0], &short(&extensions)];
    let body = body.concat();
    let message = [&[1, 0][..], &short(&body)].concat();
    [&[22, 3, 1][..], &short(&message)].concat()
}

pub(super) fn by_address(arguments: &[String]) -> Outcome {
    let request = b"GET / HTTP/1.1\r\nHost: drill.invalid\r\nConnection: close\r\n\r\n";
    let targets = targets(arguments, ADDRESSES);
    judge(targets.map(|target| (format!("connect to {target}"), tcp_answer(stream(target, request)))).collect())
}

pub(super) fn by_datagram(arguments: &[String]) -> Outcome {
    let targets = targets(arguments, ADDRESSES);
    let outcome = |answer: io::Result<Vec<u8>>| match answer {
        Ok(bytes) => Attempt::Answered(format!("{} bytes", bytes.len())),
        Err(error) => failed(&error),
    };
    judge(targets.map(|target| (format!("send to {target}"), outcome(datagram(target, SECRET)))).collect())
}

fn targets(arguments: &[String], others: &'static [&'static str]) -> impl Iterator<Item = SocketAddr> {
    let all = arguments.iter().map(String::as_str).chain(others.iter().copied());
    all.filter_map(|text| text.parse().ok()).take(TARGETS_MAX)
}

pub(super) fn by_unix_socket(arguments: &[String]) -> Outcome {
    // The run's own channel is no way out; it proves that the attempts below are real ones.
    let own = env::var_os("RINGFENCE_PROGRESS_SOCKET");
    if let Some(own) = own {
        say(&format!("the run's own channel: {:?}", UnixStream::connect(own).map(drop).map_err(|error| error.kind())));
    }
    let all = arguments.iter().map(String::as_str).chain(UNIX_SOCKETS.iter().copied()).take(TARGETS_MAX);
    let connect = |name: &str| match name.strip_prefix('@') {
        Some(name) => UnixStream::connect_addr(&UnixAddress::from_abstract_name(name)?),
        None => UnixStream::connect(OsStr::from_bytes(name.as_bytes())),
    };
    let attempt = |name: &str| match connect(name) {
        Ok(_) => Attempt::Answered("connected".to_owned()),
        Err(error) => Attempt::Refused(error.to_string()),
    };
    judge(all.map(|name| (format!("connect to {name}"), attempt(name))).collect())
}

/// Sends `bytes` and takes what comes back.
fn stream(target: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&target, ANSWER_TIME)?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    stream.set_write_timeout(Some(ANSWER_TIME))?;
    stream.write_all(bytes)?;
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    let count = stream.read(&mut answer)?;
    answer.truncate(count);
    Ok(answer)
}

fn datagram(target: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let own = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(own)?;
    socket.set_read_timeout(Some(ANSWER_TIME))?;
    socket.send_to(bytes, target)?;
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    let count = socket.recv(&mut answer)?;
    answer.truncate(count);
    Ok(answer)
}

/// A connection that is closed without a byte was taken by the watch and led nowhere.
fn tcp_answer(answer: io::Result<Vec<u8>>) -> Attempt {
    match answer {
        Ok(bytes) if bytes.is_empty() => Attempt::Refused("the connection was closed".to_owned()),
        // An alert of TLS (RFC 8446, section 6) is how a server says that it will not speak.
        Ok(bytes) if bytes.first() == Some(&21) => Attempt::Refused("an alert of TLS".to_owned()),
        Ok(bytes) => Attempt::Answered(format!("{} bytes", bytes.len())),
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> Attempt {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Attempt::Silent,
        _ => Attempt::Refused(error.to_string()),
    }
}

/// Stands for what must not leave.
const SECRET: &[u8] = b"ringfence-drill-secret";
/// A name that nobody allows.
const OTHER_NAME: &str = "other.drill.invalid";
/// Names that carry the secret.
const DNS_NAMES: u32 = 12;
/// Name servers that are tried beside the configured ones.
const NAME_SERVERS: &[&str] = &["127.0.0.53", "192.0.2.53", "2001:db8::53"];
/// Addresses that are tried: for documentation, and the metadata service of clouds.
const ADDRESSES: &[&str] = &["192.0.2.1:443", "198.51.100.1:80", "[2001:db8::1]:443", "169.254.169.254:80"];
/// Sockets of services that lead far.
const UNIX_SOCKETS: &[&str] = &[
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/systemd/private",
    "/run/dbus/system_bus_socket",
    "/tmp/.X11-unix/X0",
    "@/tmp/.X11-unix/X0",
    "@ringfence-drill",
];
/// Most targets of one drill.
const TARGETS_MAX: usize = 32;
/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_millis(700);
/// Bytes of an answer that are taken.
const ANSWER_BYTES_MAX: usize = 4_096;
/// A DNS message is never shorter.
const DNS_HEADER_BYTES: usize = 12;
