//! A mail server for tests: a whole SMTP conversation, with faults where they hurt.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Longest line in bytes.
const LINE_BYTES_MAX: u64 = 4 << 10;

/// How TLS begins.
#[derive(Clone)]
pub enum MailMode {
    /// Not at all.
    Plain,
    /// By `STARTTLS`.
    Starttls(Arc<ServerConfig>),
    /// With the first byte.
    Tls(Arc<ServerConfig>),
}

/// What goes wrong, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailFault {
    /// The connection ends before the greeting.
    HangUp,
    /// `421` for a greeting.
    Busy,
    /// `451` to `MAIL`.
    Refuse,
    /// The mail is taken, and the connection ends before that is said.
    SilentAfterData,
    /// A reply in the clear right behind the answer to `STARTTLS`.
    Inject,
    /// An endless reply to `EHLO`.
    Endless,
}

/// A mail that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Sender in the envelope.
    pub from: String,
    /// Recipients in the envelope.
    pub to: Vec<String>,
    /// Headers and body as they came, dots restored.
    pub data: String,
    /// Whether it came over TLS.
    pub secure: bool,
    /// What `AUTH` said, decoded by nobody.
    pub login: Option<String>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    faults: Mutex<VecDeque<MailFault>>,
    mails: Mutex<Vec<Received>>,
    refused_recipients: Mutex<Vec<String>>,
    mechanisms: Mutex<String>,
}

/// A mail server; it ends when it is dropped.
pub struct MailServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl MailServer {
    /// Begins to listen on a free port of loopback.
    pub fn start(mode: MailMode) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let shared = Arc::new(Shared { mechanisms: Mutex::new("PLAIN LOGIN".to_owned()), ..Shared::default() });
        let address = listener.local_addr()?;
        let inner = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if inner.stop.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, mode) = (Arc::clone(&inner), mode.clone());
                thread::spawn(move || drop(begin(stream, &mode, &shared)));
            }
        });
        Ok(Self { address, shared })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Spoils the next conversations, one each.
    pub fn spoil(&self, faults: &[MailFault]) {
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner).extend(faults);
    }

    /// Refuses a recipient for good.
    pub fn refuse(&self, recipient: &str) {
        self.shared.refused_recipients.lock().unwrap_or_else(PoisonError::into_inner).push(recipient.to_owned());
    }

    /// Which mechanisms of `AUTH` it offers.
    pub fn offer(&self, mechanisms: &str) {
        mechanisms.clone_into(&mut self.shared.mechanisms.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Every mail that was taken, in order, repeats included.
    pub fn mails(&self) -> Vec<Received> {
        self.shared.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

fn begin(stream: TcpStream, mode: &MailMode, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let fault = shared.faults.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    if fault == Some(MailFault::HangUp) {
        return Ok(());
    }
    let tls = |config: &Arc<ServerConfig>, stream| -> io::Result<_> {
        Ok(StreamOwned::new(ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?, stream))
    };
    let mut talk = Talk { shared, fault, secure: false, offers_tls: matches!(mode, MailMode::Starttls(_)) };
    match mode {
        MailMode::Plain => talk.converse(stream, true).map(drop),
        MailMode::Tls(config) => {
            talk.secure = true;
            talk.converse(tls(config, stream)?, true).map(drop)
        }
        MailMode::Starttls(config) => match talk.converse(stream, true)? {
            Some(stream) => {
                (talk.secure, talk.offers_tls) = (true, false);
                talk.converse(tls(config, stream)?, false).map(drop)
            }
            None => Ok(()),
        },
    }
}

struct Talk<'a> {
    shared: &'a Shared,
    fault: Option<MailFault>,
    secure: bool,
    offers_tls: bool,
}

impl Talk<'_> {
    /// Goes on until the end, or until TLS is to begin: then the stream comes back.
    fn converse<S: Read + Write>(&mut self, stream: S, greet: bool) -> io::Result<Option<S>> {
        let mut input = BufReader::new(stream);
        if greet {
            let greeting = if self.fault == Some(MailFault::Busy) { "421 later\r\n" } else { "220 test ESMTP\r\n" };
            input.get_mut().write_all(greeting.as_bytes())?;
        }
        let (mut from, mut to, mut login) = (String::new(), Vec::new(), None);
        loop {
            let mut line = String::new();
            if input.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end();
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let inner =
                line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(inner, _)| inner.to_owned());
            let answer = match (verb.as_str(), inner) {
                ("EHLO", _) => self.extensions(),
                ("STARTTLS", _) if self.offers_tls => {
                    let injected = if self.fault == Some(MailFault::Inject) { "250 in the clear\r\n" } else { "" };
                    input.get_mut().write_all(format!("220 go on\r\n{injected}").as_bytes())?;
                    return Ok(Some(input.into_inner()));
                }
                ("AUTH", _) => {
                    let mut said = line.to_owned();
                    if line.eq_ignore_ascii_case("AUTH LOGIN") {
                        for prompt in ["334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n"] {
                            input.get_mut().write_all(prompt.as_bytes())?;
                            let mut word = String::new();
                            input.by_ref().take(LINE_BYTES_MAX).read_line(&mut word)?;
                            said = format!("{said} {}", word.trim_end());
                        }
                    }
                    let wrong = said.contains(&base64_of("wrong"));
                    login = Some(said);
                    // A server that repeats what it was told: the client must not.
                    if wrong { format!("535 {line} is not known\r\n") } else { "235 welcome\r\n".to_owned() }
                }
                ("MAIL", Some(_)) if self.fault == Some(MailFault::Refuse) => "451 not now\r\n".to_owned(),
                ("MAIL", Some(sender)) => {
                    (from, to) = (sender, Vec::new());
                    "250 fine\r\n".to_owned()
                }
                ("RCPT", Some(recipient)) => {
                    let refused = self.shared.refused_recipients.lock().unwrap_or_else(PoisonError::into_inner);
                    if refused.contains(&recipient) {
                        "550 nobody of that name\r\n".to_owned()
                    } else {
                        to.push(recipient);
                        "250 fine\r\n".to_owned()
                    }
                }
                ("DATA", _) => {
                    input.get_mut().write_all(b"354 go on\r\n")?;
                    let data = read_data(&mut input)?;
                    let mail = Received {
                        from: from.clone(),
                        to: to.clone(),
                        data,
                        secure: self.secure,
                        login: login.clone(),
                    };
                    self.shared.mails.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
                    if self.fault == Some(MailFault::SilentAfterData) {
                        return Ok(None);
                    }
                    "250 taken\r\n".to_owned()
                }
                ("RSET", _) => "250 fine\r\n".to_owned(),
                ("QUIT", _) => return Ok(None),
                _ => "500 what?\r\n".to_owned(),
            };
            input.get_mut().write_all(answer.as_bytes())?;
        }
    }

    fn extensions(&self) -> String {
        if self.fault == Some(MailFault::Endless) {
            return "250-again\r\n".repeat(100_000);
        }
        let starttls = if self.offers_tls { "250-STARTTLS\r\n" } else { "" };
        let mechanisms = self.shared.mechanisms.lock().unwrap_or_else(PoisonError::into_inner).clone();
        format!("250-test greets you\r\n{starttls}250-AUTH {mechanisms}\r\n250 SIZE 1000000\r\n")
    }
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text).trim_end_matches('=').to_owned()
}

/// Lines up to the one with a dot alone.
fn read_data<S: Read>(input: &mut BufReader<S>) -> io::Result<String> {
    let mut data = String::new();
    loop {
        let mut line = String::new();
        if input.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.trim_end() == "." {
            return Ok(data);
        }
        data.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}
