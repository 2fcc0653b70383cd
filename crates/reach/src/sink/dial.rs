//! Connections for what is not HTTP: dialled under the egress policy, with TLS or without, every call bounded in time.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
};

use crate::{
    client::{address_check::addresses, certificates},
    error::ReachError,
    policy::EgressPolicy,
    settings::{Limits, Roots},
    url::Url,
};

/// Makes connections.
pub(super) struct Dialler {
    egress: EgressPolicy,
    limits: Limits,
    tls: Arc<ClientConfig>,
}

impl Dialler {
    pub(super) fn new(egress: EgressPolicy, limits: Limits, roots: &Roots) -> Result<Self, ReachError> {
        let mut store = RootCertStore::empty();
        match roots {
            Roots::Bundled => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Roots::File(path) => {
                for certificate in certificates(path)? {
                    store
                        .add(CertificateDer::from(certificate.der().to_vec()))
                        .map_err(|error| ReachError::Setting { name: "roots", why: error.to_string() })?;
                }
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| ReachError::Setting { name: "roots", why: error.to_string() })?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self { egress, limits, tls: Arc::new(tls) })
    }

    /// Whether the policy names the host at all; for refusals as early as possible.
    pub(super) fn admit(&self, url: &Url) -> Result<(), ReachError> {
        Ok(self.egress.admit(url).map(drop)?)
    }

    /// A connection in the clear. Nothing on it lasts beyond `deadline`.
    pub(super) fn connect(&self, url: &Url, deadline: Instant) -> Result<Wire, ReachError> {
        let found = addresses(&self.egress, url, self.connect_wait(deadline))?;
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for address in found {
            let wait = self.connect_wait(deadline);
            if wait.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(&address, wait) {
                Ok(socket) => {
                    let _ = socket.set_nodelay(true);
                    let idle = Duration::from_millis(self.limits.idle_ms);
                    return Ok(Wire { url: url.clone(), line: Line::Plain(Timed { socket, idle, deadline }) });
                }
                Err(error) => last = error,
            }
        }
        Err(trouble(&last, url, "no connection"))
    }

    /// The same with TLS from the first byte.
    pub(super) fn connect_tls(&self, url: &Url, deadline: Instant) -> Result<Wire, ReachError> {
        self.secure(self.connect(url, deadline)?)
    }

    /// Begins TLS on a connection, and finishes its handshake.
    pub(super) fn secure(&self, wire: Wire) -> Result<Wire, ReachError> {
        let Wire { url, line } = wire;
        let Line::Plain(mut socket) = line else { return Ok(Wire { url, line }) };
        let host = url.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let failed = |reason: String| ReachError::Tls { host: url.authority(), reason };
        let name = ServerName::try_from(host).map_err(|error| failed(error.to_string()))?;
        let mut tls = ClientConnection::new(Arc::clone(&self.tls), name).map_err(|error| failed(error.to_string()))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).map_err(|error| trouble(&error, &url, "no TLS handshake"))?;
        }
        let line = Line::Tls(Box::new(rustls::StreamOwned::new(tls, socket)));
        Ok(Wire { url, line })
    }

    /// A socket for datagrams to the host.
    pub(super) fn datagrams(&self, url: &Url, deadline: Instant) -> Result<UdpSocket, ReachError> {
        let found = addresses(&self.egress, url, self.connect_wait(deadline))?;
        let Some(address) = found.first() else { return Err(ReachError::Unresolved { host: url.authority() }) };
        let any: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let open = || -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind(any)?;
            socket.set_write_timeout(Some(Duration::from_millis(self.limits.idle_ms.max(1))))?;
            socket.connect(address)?;
            Ok(socket)
        };
        open().map_err(|error| trouble(&error, url, "no socket"))
    }

    fn connect_wait(&self, deadline: Instant) -> Duration {
        Duration::from_millis(self.limits.connect_ms).min(deadline.saturating_duration_since(Instant::now()))
    }
}

/// A connection.
pub(super) struct Wire {
    url: Url,
    line: Line,
}

enum Line {
    Plain(Timed),
    Tls(Box<rustls::StreamOwned<ClientConnection, Timed>>),
}

impl Wire {
    /// Where it leads, for errors.
    pub(super) fn host(&self) -> String {
        self.url.authority()
    }

    /// What an I/O error on it means.
    pub(super) fn trouble(&self, error: &io::Error, stage: &'static str) -> ReachError {
        trouble(error, &self.url, stage)
    }

    /// Says that nothing more comes, and waits until the other side has read all and says the same: by `close_notify`, or in
    /// the clear by the end of the stream.
    pub(super) fn close(mut self) -> Result<(), ReachError> {
        let ended = match &mut self.line {
            Line::Plain(socket) => socket.socket.shutdown(std::net::Shutdown::Write).and_then(|()| drain(socket)),
            Line::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush().and_then(|()| drain(stream))
            }
        };
        // Over TLS an end without `close_notify` is none: a receiver that dies ends its connections too.
        ended.map_err(|error| self.trouble(&error, "it did not answer the closure"))
    }
}

/// Reads until the end. A syslog receiver says nothing, so little is enough.
fn drain(from: &mut impl Read) -> io::Result<()> {
    let read = io::copy(&mut from.take(DRAIN_BYTES_MAX), &mut io::sink())?;
    if read < DRAIN_BYTES_MAX { Ok(()) } else { Err(io::Error::from(io::ErrorKind::InvalidData)) }
}

/// Most bytes that are read while a connection is closed.
const DRAIN_BYTES_MAX: u64 = 4 << 10;

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.line {
            Line::Plain(socket) => socket.read(buffer),
            Line::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.line {
            Line::Plain(socket) => socket.write(bytes),
            Line::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.line {
            Line::Plain(socket) => socket.flush(),
            Line::Tls(stream) => stream.flush(),
        }
    }
}

/// A socket whose calls end.
struct Timed {
    socket: TcpStream,
    idle: Duration,
    deadline: Instant,
}

impl Timed {
    fn wait(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now()).min(self.idle);
        if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(Some(left)) }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.wait()?)?;
        self.socket.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.wait()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

fn trouble(error: &io::Error, url: &Url, stage: &'static str) -> ReachError {
    let host = url.authority();
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(inner) => ReachError::Tls { host, reason: inner.to_string() },
        None if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
            ReachError::Slow { host, stage }
        }
        None => ReachError::Connection { host, reason: error.to_string() },
    }
}
