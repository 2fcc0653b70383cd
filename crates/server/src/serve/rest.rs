//! What an answer leaves of its request's body, and of the connection.
//!
//! A request that is refused is answered before its body has come. Closing then tears the answer from the other end's
//! hands: its next write fails, and it may never look whether there was an answer. So what is left is taken first
//! ([`Rest::take`]), up to a limit, and the connection goes on; where more is left, the answer says that the connection
//! ends, and it ends in good order ([`leave`]), what still comes being thrown away for a while.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{Request, header},
};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

/// Most of a body that is taken after its answer, in bytes: more than any document that the server reads.
const REST_BYTES_MAX: u64 = 256 * 1_024;
/// Longest time for that.
const REST_TIME_MAX: Duration = Duration::from_secs(2);
/// Most that is thrown away of a connection that ends, in bytes.
const LEAVE_BYTES_MAX: usize = 4 << 20;
/// Longest time for that.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(2);
/// What is thrown away at once, in bytes.
const PIECE_BYTES: usize = 16 * 1_024;

/// A body that two hold: whoever answers the request, and whoever sees to the connection after that.
#[derive(Clone)]
struct Shared(Arc<Mutex<Incoming>>);

impl Shared {
    fn with<T>(&self, look: impl FnOnce(&mut Incoming) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl hyper::body::Body for Shared {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.with(|body| Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.size_hint())
    }
}

/// What may be left of a request's body once it is answered.
pub(super) struct Rest {
    body: Option<Shared>,
    /// The other end waits to be told to send it.
    unsent: bool,
}

impl Rest {
    /// The request for whoever answers it, and its body for later.
    pub(super) fn of(request: Request<Incoming>) -> (Request<Body>, Self) {
        let unsent = request.headers().contains_key(header::EXPECT);
        if request.body().is_end_stream() {
            return (request.map(Body::new), Self { body: None, unsent });
        }
        let mut body = None;
        let request = request.map(|incoming| {
            let shared = Shared(Arc::new(Mutex::new(incoming)));
            body = Some(shared.clone());
            Body::new(shared)
        });
        (request, Self { body, unsent })
    }

    /// Takes what is left; whether that was all of it, so that the connection can go on.
    pub(super) async fn take(self) -> bool {
        let Some(body) = self.body.filter(|body| !body.is_end_stream()) else { return true };
        // Asking for it would have it sent.
        if self.unsent || body.size_hint().lower() > REST_BYTES_MAX {
            return false;
        }
        timeout(REST_TIME_MAX, thrown_away(body)).await.unwrap_or(false)
    }
}

async fn thrown_away(mut body: Shared) -> bool {
    let mut taken = 0;
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        match frame {
            None => return true,
            Some(Err(_)) => return false,
            Some(Ok(frame)) => taken += frame.data_ref().map_or(0, |data| data.len() as u64),
        }
        if taken > REST_BYTES_MAX {
            return false;
        }
    }
}

/// Ends a connection: says that nothing more will be said, and listens until the other end has done the same.
pub(super) async fn leave(mut line: impl AsyncRead + AsyncWrite + Unpin) {
    let left = async {
        line.shutdown().await?;
        let (mut piece, mut taken) = (vec![0; PIECE_BYTES], 0);
        while taken < LEAVE_BYTES_MAX {
            match line.read(&mut piece).await? {
                0 => break,
                count => taken += count,
            }
        }
        std::io::Result::Ok(())
    };
    // However it ends, it has ended.
    let _ = timeout(LEAVE_TIME_MAX, left).await;
}
