//! One connection's bytes, with a clock: silence, dribble and readers that do not read end it.
//!
//! [`Line`] stands between TLS and HTTP. It knows from its [`Pulse`] whether a request is being answered. While none is, the
//! next one has to begin within [`IDLE_MAX`] and its head to be whole within [`HEAD_TIME_MAX`]; what is written has to be
//! taken within [`WRITE_STALL_MAX`].
//!
//! It also does what hyper leaves out: where hyper answers bytes that are not HTTP with a bare status, a problem document
//! goes out instead.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    guard::headers,
    problem::{Kind, MEDIA_TYPE, Problem},
    serve::Limits,
};

/// Longest silence between an answer and the next request.
pub const IDLE_MAX: Duration = Duration::from_mins(1);
/// Longest time for the head of a request, from its first byte; for the first request, from the handshake on.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest time in which nothing of what is written is taken.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// Counts beginnings and ends of requests: odd while one is being answered.
#[derive(Debug, Default)]
pub(crate) struct Pulse(AtomicU64);

impl Pulse {
    /// A request has come; until what it returns is dropped, it is being answered.
    pub(crate) fn begin(self: &Arc<Self>) -> Answering {
        self.0.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// While it lives, a request is being answered.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Pulse>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The bytes.
pub(crate) struct Line<T> {
    io: T,
    limits: Limits,
    pulse: Arc<Pulse>,
    /// The pulse when the clock was last set.
    seen: u64,
    /// Whether bytes of a head have come.
    begun: bool,
    read_by: Option<Instant>,
    written_by: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
    /// A document that stands in for hyper's bare status, and how much of it is out.
    instead: Option<(Vec<u8>, usize)>,
}

/// Whose answer is about to be written.
enum Whose {
    /// The application's, or the rest of one.
    Ours,
    /// It was hyper's: a document goes out in its place.
    Replaced,
}

impl<T> Line<T> {
    pub(crate) fn new(io: T, limits: Limits, pulse: Arc<Pulse>) -> Self {
        let first = Instant::now() + limits.head_max;
        Self {
            io,
            limits,
            pulse,
            seen: 0,
            begun: true,
            read_by: Some(first),
            written_by: None,
            alarm: Box::pin(sleep_until(first)),
            instead: None,
        }
    }

    /// Sets the clock anew where a request has begun or ended since.
    fn look(&mut self) {
        let count = self.pulse.count();
        if count != self.seen {
            self.seen = count;
            self.begun = false;
            self.read_by = count.is_multiple_of(2).then(|| Instant::now() + self.limits.idle_max);
        }
    }

    /// Ready when the time is up; otherwise somebody will wake us when it is.
    fn time_up(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let by = match (self.read_by, self.written_by) {
            (Some(read), Some(written)) => read.min(written),
            (Some(by), None) | (None, Some(by)) => by,
            (None, None) => return Poll::Pending,
        };
        loop {
            if by <= Instant::now() {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            // An alarm that rings too early is set again when it rings, not for each request.
            if self.alarm.deadline() > by {
                self.alarm.as_mut().reset(by);
            }
            match self.alarm.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => self.alarm.as_mut().reset(by),
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Line<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let line = &mut *self;
        line.look();
        let before = buffer.filled().len();
        match line.fill(context, buffer) {
            Poll::Ready(result) => {
                if line.read_by.is_some() && !line.begun && buffer.filled().len() > before {
                    line.begun = true;
                    line.read_by = Some(Instant::now() + line.limits.head_max);
                }
                Poll::Ready(result)
            }
            Poll::Pending => line.time_up(context).map(Err),
        }
    }
}

impl<T: AsyncRead + Unpin> Line<T> {
    /// Reads what is there, as far as there is room: TLS gives one record at a time.
    fn fill(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        loop {
            let filled = buffer.filled().len();
            match Pin::new(&mut self.io).poll_read(context, buffer) {
                Poll::Ready(Ok(())) if buffer.filled().len() > filled && buffer.remaining() > 0 => {}
                // What came is given out first; a connection that failed shows that with the next read.
                Poll::Pending | Poll::Ready(Err(_)) if filled > before => return Poll::Ready(Ok(())),
                other => return other,
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> Line<T> {
    /// Writes what stands in for hyper's answer.
    fn write_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((bytes, out)) = &mut self.instead {
            let rest = bytes.get(*out..).unwrap_or_default();
            if rest.is_empty() {
                self.instead = None;
                break;
            }
            match Pin::new(&mut self.io).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => (*out, self.written_by) = (*out + count, None),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.stalled(context).map(Err),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Finishes what stands in for another answer, and looks whether `bytes` begin one that is to be replaced.
    fn before_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<Whose>> {
        if self.instead.is_some() {
            match self.write_instead(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.look();
        // Bytes have come, no request was made of them, and yet there is an answer: it is hyper's own, in one piece.
        if self.read_by.is_some()
            && self.begun
            && let Some(document) = document_for(bytes)
        {
            self.instead = Some((document, 0));
            return Poll::Ready(Ok(Whose::Replaced));
        }
        Poll::Ready(Ok(Whose::Ours))
    }

    fn after_write(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(result) => {
                self.written_by = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.stalled(context).map(Err),
        }
    }

    fn stalled(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let stall_max = self.limits.write_stall_max;
        self.written_by.get_or_insert_with(|| Instant::now() + stall_max);
        self.time_up(context)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Line<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let line = &mut *self;
        match line.before_write(context, bytes) {
            Poll::Ready(Ok(Whose::Ours)) => {}
            Poll::Ready(Ok(Whose::Replaced)) => return Poll::Ready(Ok(bytes.len())),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        let written = Pin::new(&mut line.io).poll_write(context, bytes);
        line.after_write(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let line = &mut *self;
        // An answer's head comes first, and hyper's own has nothing else.
        let first = parts.iter().find(|part| !part.is_empty()).map_or(&[][..], |part| part);
        match line.before_write(context, first) {
            Poll::Ready(Ok(Whose::Ours)) => {}
            Poll::Ready(Ok(Whose::Replaced)) => return Poll::Ready(Ok(first.len())),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        let written = Pin::new(&mut line.io).poll_write_vectored(context, parts);
        line.after_write(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.write_instead(context) {
            Poll::Ready(Ok(())) => {}
            other => return other,
        }
        match Pin::new(&mut self.io).poll_flush(context) {
            Poll::Ready(result) => {
                self.written_by = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.stalled(context).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.write_instead(context) {
            Poll::Ready(Ok(())) => {}
            other => return other,
        }
        match Pin::new(&mut self.io).poll_shutdown(context) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.stalled(context).map(Err),
        }
    }
}

/// The document for an answer of hyper's own: a status of the fours and no type of content, which all answers of the
/// guard have.
fn document_for(bytes: &[u8]) -> Option<Vec<u8>> {
    let status = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?.get(..3)?;
    let status = std::str::from_utf8(status).ok()?.parse::<u16>().ok()?;
    let status = StatusCode::from_u16(status).ok().filter(StatusCode::is_client_error)?;
    if bytes.windows(13).any(|window| window.eq_ignore_ascii_case(b"content-type:")) {
        return None;
    }
    let kind = Kind::of(status);
    let document = Problem::new(kind).document().to_string();
    let reason = kind.status().canonical_reason().unwrap_or_default();
    Some(
        format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
             content-security-policy: {}\r\nx-content-type-options: nosniff\r\nreferrer-policy: same-origin\r\n\
             connection: close\r\n\r\n{document}",
            kind.status().as_u16(),
            document.len(),
            headers::CONTENT_SECURITY_POLICY,
        )
        .into_bytes(),
    )
}
