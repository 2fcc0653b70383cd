//! HTTP/1.1 by threads: one for each connection, a handler, and faults that spoil its replies on demand.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::header;

/// Most bytes of a request's body that are kept.
pub const BODY_BYTES_MAX: u64 = 4 << 20;
/// Longest request head in bytes.
const HEAD_BYTES_MAX: u64 = 64 << 10;
/// Bytes sent at a time.
const COPY_BYTES: usize = 256 << 10;

/// What a body is made of.
#[derive(Debug, Clone)]
pub enum Content {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// A file, of which so many bytes are served.
    File(PathBuf, u64),
}

impl Content {
    /// Bytes of the whole.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, size) => *size,
        }
    }

    /// A reader from `first` on.
    pub fn open(&self, first: u64) -> io::Result<Box<dyn Read + '_>> {
        match self {
            Self::Bytes(bytes) => {
                let from = usize::try_from(first).unwrap_or(usize::MAX).min(bytes.len());
                Ok(Box::new(bytes.get(from..).unwrap_or_default()))
            }
            Self::File(path, _) => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(first))?;
                Ok(Box::new(file))
            }
        }
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// A request's head.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// Path without the query, escaped as it came.
    pub path: String,
    /// Query without `?`.
    pub query: String,
    headers: Vec<(String, String)>,
    /// What came behind the head, at most [`BODY_BYTES_MAX`] of it.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header, its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a query parameter, unescaped.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let found = self.query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?;
        crate::url::unescape(found.1)
    }

    /// First and last byte of `Range` within `size`, if it asks for one range that is there.
    fn range(&self, size: u64) -> Option<(u64, u64)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let range = if first.is_empty() {
            (size.saturating_sub(header::number(last)?), size.checked_sub(1)?)
        } else {
            let last = if last.is_empty() { u64::MAX } else { header::number(last)? };
            (header::number(first)?, last.min(size.checked_sub(1)?))
        };
        (range.0 <= range.1).then_some(range)
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers beside those that describe the body.
    pub headers: Vec<(String, String)>,
    /// The whole body; a range is cut from it where one is asked for and the status is 200.
    pub body: Content,
}

impl Reply {
    /// `status` with `body`.
    pub fn new(status: u16, body: impl Into<Content>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// The same with one header more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// JSON with status 200.
    pub fn json(value: &serde_json::Value) -> Self {
        Self::new(200, value.to_string().as_bytes()).with("content-type", "application/json")
    }
}

/// How a reply is spoilt.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The connection ends after so many bytes of the body.
    CutAfter(u64),
    /// One byte of the body at a time, so many milliseconds apart.
    DripBody(u64),
    /// One byte of the head at a time, so many milliseconds apart.
    DripHead(u64),
    /// `Range` is ignored.
    IgnoreRange,
    /// Another range than was asked for, truthfully labelled.
    OtherRange,
    /// The right label on the wrong bytes of the same length.
    Corrupt,
    /// Another reply altogether.
    Instead(Reply),
    /// A header in the place of what was there.
    Header(&'static str, String),
    /// A header of so many bytes.
    HugeHeader(usize),
    /// `Content-Length` says this, whatever there is.
    ClaimLength(u64),
    /// Chunked transfer coding.
    Chunked,
    /// These bytes on the wire, then the end.
    Raw(Vec<u8>),
}

/// One line of the log.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Method, path and query.
    pub line: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// What was answered.
    pub status: u16,
    /// Bytes of the body that were sent.
    pub sent: u64,
}

struct Planned {
    part: String,
    left: u32,
    fault: Fault,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    log: Mutex<Vec<Asked>>,
    planned: Mutex<Vec<Planned>>,
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server on a free port of loopback; it ends when it is dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    /// Serves `handler` on `port`, 0 for any.
    pub fn start(port: u16, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let (inner, handler): (_, Arc<Handler>) = (Arc::clone(&shared), Arc::new(handler));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if inner.stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (shared, handler) = (Arc::clone(&inner), Arc::clone(&handler));
                // A client that goes away in the middle is the client's business.
                thread::spawn(move || drop(converse(stream, &shared, &*handler)));
            }
        });
        Ok(Self { address, shared })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Spoils the next `times` replies to requests whose line holds `part`. Of several that fit, the first one acts.
    pub fn spoil(&self, part: &str, times: u32, fault: Fault) {
        lock(&self.shared.planned).push(Planned { part: part.to_owned(), left: times, fault });
    }

    /// What was asked so far.
    pub fn log(&self) -> Vec<Asked> {
        lock(&self.shared.log).clone()
    }

    /// Bytes of bodies that were sent for requests whose line holds `part`.
    pub fn sent(&self, part: &str) -> u64 {
        self.log().iter().filter(|asked| asked.line.contains(part)).map(|asked| asked.sent).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        drop(TcpStream::connect(self.address));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Requests on one connection, one after the other.
fn converse(stream: TcpStream, shared: &Shared, handler: &Handler) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut input = BufReader::new(stream.try_clone()?);
    let mut output = stream;
    while let Some(request) = read_request(&mut input)? {
        if !answer(&request, &mut output, shared, handler)? {
            return Ok(());
        }
    }
    Ok(())
}

fn read_request(input: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut head = input.take(HEAD_BYTES_MAX);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
    let mut headers = Vec::new();
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let text = line.trim_end();
        if text.is_empty() {
            break;
        }
        if let Some((name, value)) = text.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let mut request = Request { method, path, query, headers, body: Vec::new() };
    let length = request.header("content-length").and_then(header::number).unwrap_or(0);
    input.take(length.min(BODY_BYTES_MAX)).read_to_end(&mut request.body)?;
    if (request.body.len() as u64) < length.min(BODY_BYTES_MAX) {
        return Ok(None);
    }
    // The rest is read too, so that the next request is found.
    io::copy(&mut input.take(length.saturating_sub(BODY_BYTES_MAX)), &mut io::sink())?;
    Ok(Some(request))
}

/// Answers one request; `false` when the connection must end.
fn answer(request: &Request, output: &mut TcpStream, shared: &Shared, handler: &Handler) -> io::Result<bool> {
    let line = match request.query.as_str() {
        "" => format!("{} {}", request.method, request.path),
        query => format!("{} {}?{query}", request.method, request.path),
    };
    let fault = take_fault(shared, &line);
    let mut reply = match &fault {
        Some(Fault::Instead(reply)) => reply.clone(),
        _ => handler(request),
    };
    if let Some(Fault::Header(name, value)) = &fault {
        reply.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        reply.headers.push(((*name).to_owned(), value.clone()));
    }
    let plan = Plan::new(request, &reply, fault.as_ref());
    let asked = Asked {
        line,
        range: request.header("range").map(str::to_owned),
        authorization: request.header("authorization").map(str::to_owned),
        status: plan.status,
        sent: 0,
    };
    let at = {
        let mut log = lock(&shared.log);
        log.push(asked);
        log.len() - 1
    };
    // Counted before it goes out, so that whoever has received it finds it counted.
    plan.send(request, &reply, fault.as_ref(), output, &mut |bytes| {
        if let Some(asked) = lock(&shared.log).get_mut(at) {
            asked.sent += bytes;
        }
    })
}

fn take_fault(shared: &Shared, line: &str) -> Option<Fault> {
    let mut planned = lock(&shared.planned);
    let found = planned.iter_mut().find(|planned| planned.left > 0 && line.contains(&planned.part))?;
    found.left -= 1;
    Some(found.fault.clone())
}

/// The shape of what goes out.
struct Plan {
    status: u16,
    first: u64,
    bytes: u64,
    head: String,
}

impl Plan {
    fn new(request: &Request, reply: &Reply, fault: Option<&Fault>) -> Self {
        let size = reply.body.size();
        let tag = reply.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("etag")).map(|(_, value)| value);
        let fresh = request.header("if-range").is_none_or(|wanted| Some(wanted) == tag.map(String::as_str));
        let ranged = reply.status == 200 && fresh && !matches!(fault, Some(Fault::IgnoreRange));
        let range = if ranged { request.range(size) } else { None };
        let range = match (range, fault) {
            (Some((first, last)), Some(Fault::OtherRange)) if last > first => Some((first, last - 1)),
            (Some((first, last)), Some(Fault::OtherRange)) if first > 0 => Some((first - 1, last)),
            (range, _) => range,
        };
        let (status, first, bytes) = match range {
            Some((first, last)) => (206, first, last - first + 1),
            None => (reply.status, 0, size),
        };
        let mut head = format!("HTTP/1.1 {status} Test\r\n");
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some((first, last)) = range {
            head.push_str(&format!("content-range: bytes {first}-{last}/{size}\r\n"));
        }
        if let Some(Fault::HugeHeader(length)) = fault {
            head.push_str(&format!("x-huge: {}\r\n", "x".repeat(*length)));
        }
        let length = if let Some(Fault::ClaimLength(claimed)) = fault { *claimed } else { bytes };
        head.push_str(&match fault {
            Some(Fault::Chunked) => "transfer-encoding: chunked\r\n".to_owned(),
            _ => format!("content-length: {length}\r\n"),
        });
        head.push_str("accept-ranges: bytes\r\n\r\n");
        Self { status, first, bytes, head }
    }

    fn send(
        &self,
        request: &Request,
        reply: &Reply,
        fault: Option<&Fault>,
        output: &mut TcpStream,
        sent: &mut dyn FnMut(u64),
    ) -> io::Result<bool> {
        match fault {
            Some(Fault::Raw(bytes)) => return output.write_all(bytes).map(|()| false),
            Some(Fault::DripHead(pause_ms)) => drip(self.head.as_bytes(), *pause_ms, output)?,
            _ => output.write_all(self.head.as_bytes())?,
        }
        if request.method == "HEAD" {
            return Ok(true);
        }
        let limit = if let Some(Fault::CutAfter(limit)) = fault { self.bytes.min(*limit) } else { self.bytes };
        let mut body = reply.body.open(self.first)?.take(limit);
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let bytes = body.read(&mut buffer)?;
            let Some(piece) = buffer.get_mut(..bytes).filter(|piece| !piece.is_empty()) else { break };
            sent(piece.len() as u64);
            match fault {
                Some(Fault::DripBody(pause_ms)) => drip(piece, *pause_ms, output)?,
                Some(Fault::Chunked) => {
                    write!(output, "{:x}\r\n", piece.len())?;
                    output.write_all(piece)?;
                    output.write_all(b"\r\n")?;
                }
                Some(Fault::Corrupt) => {
                    piece.iter_mut().take(1).for_each(|byte| *byte ^= 1);
                    output.write_all(piece)?;
                }
                _ => output.write_all(piece)?,
            }
        }
        if matches!(fault, Some(Fault::Chunked)) {
            output.write_all(b"0\r\n\r\n")?;
        }
        Ok(!matches!(fault, Some(Fault::CutAfter(_) | Fault::ClaimLength(_))))
    }
}

fn drip(bytes: &[u8], pause_ms: u64, output: &mut TcpStream) -> io::Result<()> {
    for byte in bytes {
        output.write_all(&[*byte])?;
        thread::sleep(Duration::from_millis(pause_ms));
    }
    Ok(())
}
