//! A receiver of syslog with octet counting, over TLS or in the clear, that can be down.

use std::{
    io::{self, Read, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Longest message in bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    down: AtomicBool,
    cut: AtomicU32,
    messages: Mutex<Vec<String>>,
}

/// A receiver; it ends when it is dropped.
pub struct SyslogServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl SyslogServer {
    /// Begins to listen on a free port of loopback.
    pub fn start(tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (address, shared) = (listener.local_addr()?, Arc::new(Shared::default()));
        let inner = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if inner.stop.load(Ordering::SeqCst) {
                    return;
                }
                if inner.down.load(Ordering::SeqCst) {
                    continue;
                }
                let (shared, tls) = (Arc::clone(&inner), tls.clone());
                thread::spawn(move || drop(receive(stream, tls, &shared)));
            }
        });
        Ok(Self { address, shared })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// While it is down, connections end as soon as they stand.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
    }

    /// The next `times` connections are cut after their messages were read and before their closure is answered.
    pub fn cut(&self, times: u32) {
        self.shared.cut.store(times, Ordering::SeqCst);
    }

    /// Every message that came, in order, repeats included.
    pub fn messages(&self) -> Vec<String> {
        self.shared.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for SyslogServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

fn receive(stream: TcpStream, tls: Option<Arc<ServerConfig>>, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    match tls {
        None => {
            read_frames(&mut &stream, shared)?;
            if is_cut(shared) {
                // Longer than the client's patience, so that it cannot take the end of the stream for an answer.
                thread::sleep(Duration::from_secs(3));
            }
            Ok(())
        }
        Some(tls) => {
            let mut stream = StreamOwned::new(ServerConnection::new(tls).map_err(io::Error::other)?, stream);
            read_frames(&mut stream, shared)?;
            if is_cut(shared) {
                // As when a receiver dies: TCP ends, TLS does not.
                return Ok(());
            }
            stream.conn.send_close_notify();
            stream.flush()
        }
    }
}

/// Whether this connection is one of those that are cut.
fn is_cut(shared: &Shared) -> bool {
    shared.cut.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

/// `MSG-LEN SP SYSLOG-MSG`, until the end (RFC 5425, section 4.3).
fn read_frames(from: &mut impl Read, shared: &Shared) -> io::Result<()> {
    loop {
        let mut length = 0_usize;
        let mut digits = 0;
        loop {
            let mut byte = [0];
            if from.read(&mut byte)? == 0 {
                return if digits == 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            match byte {
                [digit @ b'0'..=b'9'] => length = length.saturating_mul(10).saturating_add(usize::from(digit - b'0')),
                [b' '] if digits > 0 && length <= MESSAGE_BYTES_MAX => break,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
            digits += 1;
        }
        let mut message = vec![0; length];
        from.read_exact(&mut message)?;
        let message = String::from_utf8(message).map_err(|_| io::ErrorKind::InvalidData)?;
        shared.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
    }
}
