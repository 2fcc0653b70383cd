//! What a job does to reach out, in the order that `$RINGFENCE_IN/attempts.json` gives: one JSON line per attempt with what
//! came of it. The test and the benchmark of egress run it inside the sandbox; it knows nothing of it.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]
#![expect(clippy::print_stdout, reason = "the lines go to standard output")]

use std::{
    env, fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket},
    os::{linux::net::SocketAddrExt, unix::net::UnixStream},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde::Deserialize;
use serde_json::json;

/// One attempt.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
enum Attempt {
    /// `GET /` over TLS.
    Tls {
        to: String,
        port: u16,
        /// The name in the ClientHello; none when empty.
        sni: String,
        #[serde(default = "once")]
        times: u32,
    },
    /// Sends text and reads until the end.
    Text { to: String, port: u16, text: String },
    /// Sends so many bytes after a request that announces them.
    Upload { to: String, port: u16, bytes: usize },
    /// Sends bytes and waits for the other side to end it.
    Bytes { to: String, port: u16, bytes: Vec<u8> },
    /// Looks a name up as programs do.
    Resolve { name: String },
    /// Asks a name server over UDP or TCP.
    Ask { server: SocketAddr, name: String, kind: u16, tcp: bool },
    /// Asks for so many names, one after the other.
    Flood { server: SocketAddr, count: u32 },
    /// Sends a datagram.
    Datagram { to: SocketAddr },
    /// Makes a socket of this family, type and protocol.
    Socket { family: i32, kind: i32, protocol: i32 },
    /// Connects to a Unix socket by path, or by abstract name.
    Unix { path: String, hidden: bool },
    /// A connection to a listener of its own.
    Loopback,
}

const fn once() -> u32 {
    1
}

fn main() {
    let input = PathBuf::from(env::var_os("RINGFENCE_IN").unwrap());
    let attempts: Vec<Attempt> = serde_json::from_slice(&fs::read(input.join("attempts.json")).unwrap()).unwrap();
    let authority = CertificateDer::from_pem_file(input.join("ca.pem")).unwrap();
    for attempt in attempts {
        let began = Instant::now();
        let (outcome, times_us) = match try_it(&attempt, &authority) {
            Ok((text, times)) => (text, times),
            Err(error) => (format!("error: {error}"), Vec::new()),
        };
        let lasted_ms = u64::try_from(began.elapsed().as_millis()).unwrap();
        println!("{}", json!({"outcome": outcome, "lasted_ms": lasted_ms, "times_us": times_us}));
    }
}

fn try_it(attempt: &Attempt, authority: &CertificateDer<'_>) -> io::Result<(String, Vec<u64>)> {
    let text = match attempt {
        Attempt::Tls { to, port, sni, times } => return tls(to, *port, sni, *times, authority),
        Attempt::Text { to, port, text } => exchange(to, *port, text.as_bytes())?,
        Attempt::Bytes { to, port, bytes } => exchange(to, *port, bytes)?,
        Attempt::Upload { to, port, bytes } => {
            let head = format!("POST / HTTP/1.1\r\nHost: {to}\r\nContent-Length: {bytes}\r\n\r\n");
            exchange(to, *port, &[head.as_bytes(), &vec![b'x'; *bytes]].concat())?
        }
        Attempt::Resolve { name } => {
            let mut found: Vec<_> = (name.as_str(), 443).to_socket_addrs()?.map(|found| found.ip()).collect();
            found.sort_unstable();
            found.dedup();
            format!("{found:?}")
        }
        Attempt::Ask { server, name, kind, tcp } => ask(*server, name, *kind, *tcp)?,
        Attempt::Flood { server, count } => {
            let answers: io::Result<Vec<_>> =
                (0..*count).map(|index| ask(*server, &format!("x{index}.evil.example"), 1, false)).collect();
            let mut answers = answers?;
            answers.dedup();
            answers.join(", ")
        }
        Attempt::Datagram { to } => {
            let local = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(local)?;
            socket.send_to(b"hello", to)?;
            socket.set_read_timeout(Some(Duration::from_millis(300)))?;
            format!("sent, {:?}", socket.recv(&mut [0; 64])?)
        }
        Attempt::Socket { family, kind, protocol } => make_socket(*family, *kind, *protocol)?,
        Attempt::Unix { path, hidden: false } => UnixStream::connect(path).map(|_| "connected".to_owned())?,
        Attempt::Unix { path, hidden: true } => {
            let address = std::os::unix::net::SocketAddr::from_abstract_name(path)?;
            UnixStream::connect_addr(&address).map(|_| "connected".to_owned())?
        }
        Attempt::Loopback => {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            let mut near = TcpStream::connect(listener.local_addr()?)?;
            listener.accept()?.0.write_all(b"to itself")?;
            let mut text = String::new();
            near.read_to_string(&mut text)?;
            text
        }
    };
    Ok((text, Vec::new()))
}

fn connect(to: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((to, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    Ok(stream)
}

fn exchange(to: &str, port: u16, bytes: &[u8]) -> io::Result<String> {
    let mut stream = connect(to, port)?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn tls(to: &str, port: u16, sni: &str, times: u32, authority: &CertificateDer<'_>) -> io::Result<(String, Vec<u64>)> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_sni = !sni.is_empty();
    config.resumption = rustls::client::Resumption::disabled();
    let config = Arc::new(config);
    let name = ServerName::try_from(if sni.is_empty() { to } else { sni }.to_owned()).unwrap();
    let (mut body, mut times_us) = (String::new(), Vec::new());
    for _ in 0..times {
        let began = Instant::now();
        let connection = ClientConnection::new(Arc::clone(&config), name.clone()).unwrap();
        let mut stream = StreamOwned::new(connection, connect(to, port)?);
        // In one piece: a server may answer, and close, after the first.
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        times_us.push(u64::try_from(began.elapsed().as_micros()).unwrap());
        let answer = String::from_utf8_lossy(&answer);
        body = answer.rsplit("\r\n\r\n").next().map(str::to_owned).unwrap_or_default();
    }
    Ok((body, times_us))
}

/// Asks for `name` and says how the answer looks: its code and how many records it has.
fn ask(server: SocketAddr, name: &str, kind: u16, tcp: bool) -> io::Result<String> {
    let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend(label.as_bytes());
    }
    query.push(0);
    query.extend(kind.to_be_bytes());
    query.extend([0, 1]);
    let mut answer = vec![0; 1_500];
    if tcp {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&[&u16::try_from(query.len()).unwrap().to_be_bytes()[..], &query].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        answer.resize(u16::from_be_bytes(length).into(), 0);
        stream.read_exact(&mut answer)?;
    } else {
        let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.connect(server)?;
        socket.send(&query)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let count = socket.recv(&mut answer)?;
        answer.truncate(count);
    }
    Ok(format!("code {}, {} records", answer[3] & 15, u16::from_be_bytes([answer[6], answer[7]])))
}

#[expect(unsafe_code, reason = "families that no library offers")]
fn make_socket(family: i32, kind: i32, protocol: i32) -> io::Result<String> {
    // SAFETY: socket(2) takes numbers and returns one.
    let result = unsafe { nix::libc::socket(family, kind, protocol) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok("made".to_owned()) }
}
