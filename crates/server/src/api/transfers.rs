//! Artifacts that come and go: declared or asked for once, then piece by piece, as often as the connection breaks.
//!
//! Bytes come in pieces of [`PIECE_BYTES`] and go out in the chunks that are stored; whoever is slow holds one thread, one
//! place of [`TRANSFERS_MAX`], and no more memory than a few of these. What came and where it goes on is the engine's to say,
//! and so is who may.

use std::{
    io, mem,
    ops::{ControlFlow, Range},
    pin::{Pin, pin},
    sync::mpsc::{Sender, channel},
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::IntoResponse as _,
};
use http_body_util::BodyExt as _;
use ringfence_engine::{
    EngineError, Vault, Version,
    access::Action,
    carry::UPLOAD_PIECE_BYTES_MAX,
    team::{Asked, Caller},
    transfer::{Declaration, DownloadView, Served, TransferId, UploadView},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_stream::Stream;

use super::{
    artifacts::{Which, reference},
    description::{object, text},
};
use crate::{
    app::App,
    guard::{
        json::Json,
        range::{ByteRange, Part, content_range},
    },
    problem::{Answer, Kind, Problem},
    routes::{Intake, Route, Verb, seat::Seat},
    serve::BUFFER_BYTES_MAX,
};

/// Most requests that carry bytes at the same time.
pub const TRANSFERS_MAX: usize = 24;
/// Bytes of a body that go from thread to thread at once.
pub const PIECE_BYTES: usize = 256 << 10;
/// A part of a body is copied if it is shorter than this: half of the line's buffer, of which it may hold all.
const SHORT_BYTES: usize = BUFFER_BYTES_MAX / 2;
/// Most pieces that wait between two threads.
const PIECES_WAITING: usize = 4;
/// Chunks of what goes out, of 1 MiB at most, go from thread to thread when they are so many bytes.
const BATCH_BYTES: usize = 512 << 10;
/// Most batches that wait between two threads.
const BATCHES_WAITING: usize = 2;

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    use Action::{Export, Read, Receive};
    use Verb::{Delete, Get, Patch, Post};
    vec![
        Route::acting(Receive, Post, "/api/v1/uploads", "declares an upload, or finds it where it is", begin)
            .takes_json(declaration),
        Route::acting(Receive, Get, "/api/v1/uploads/{id}", "where an upload goes on, or how it ended", standing)
            .unrecorded(),
        Route::acting(Receive, Patch, "/api/v1/uploads/{id}/files/{file}", "brings the next bytes of a file", bring)
            .takes(Intake::Bytes { bytes_max: UPLOAD_PIECE_BYTES_MAX })
            .streaming()
            .unrecorded(),
        Route::acting(Receive, Post, "/api/v1/uploads/{id}/finish", "receives, inspects and admits it", finish)
            .streaming(),
        Route::acting(
            Receive,
            Post,
            "/api/v1/uploads/{id}/receive",
            "receives it into quarantine; it is inspected and admitted while nobody waits",
            receive,
        )
        .streaming(),
        Route::acting(Receive, Delete, "/api/v1/uploads/{id}", "gives an upload up", abandon),
        Route::acting(
            Export,
            Post,
            "/api/v1/artifacts/{kind}/{name}/{version}/download",
            "lets one take a copy, or asks others to approve that",
            take,
        ),
        Route::acting(
            Export,
            Post,
            "/api/v1/artifacts/{kind}/{name}/{version}/bundle",
            "lets one take the signed bundle of a release, or asks others to approve that",
            take_bundle,
        ),
        Route::acting(
            Read,
            Get,
            "/api/v1/downloads/{id}/files/{file}",
            "a file of a download, or a range of it",
            serve,
        )
        .streaming(),
        Route::acting(Read, Delete, "/api/v1/downloads/{id}", "ends a download", end),
    ]
}

fn declaration() -> Value {
    let whole = || json!({"type": "integer", "minimum": 0});
    let file = object(&[("path", text()), ("size", whole()), ("sha256", text())], &[]);
    let flag = || json!({"type": "boolean"});
    let exempt = object(&[("no_scan", flag()), ("no_screen", flag())], &[]);
    let reading = object(
        &[],
        &[
            ("label", text()),
            ("shape", json!({"type": "array", "items": whole()})),
            ("scale", json!({"type": "number"})),
            ("flagged", json!({"type": "string", "enum": ["leave", "keep"]})),
            ("labels", text()),
        ],
    );
    let files = json!({"type": "array", "minItems": 1, "items": file});
    object(&[("name", text()), ("files", files)], &[("reading", reading), ("exempt", exempt)])
}

/// Where the bytes of a request belong.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offset {
    /// The first byte that comes.
    pub from: u64,
}

async fn begin(seat: Seat<Caller>, State(app): State<App>, Json(declared): Json<Declaration>) -> Answer {
    let view = app.work(seat.into_principal(), move |vault, _| vault.begin_upload(&declared)).await?;
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

async fn standing(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    let id = TransferId::from(id.as_str());
    let view = app.work(seat.into_principal(), move |vault, _| vault.upload(&id)).await?;
    Ok(Json(view).into_response())
}

/// What has come stays, whatever becomes of the rest.
async fn bring(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path((id, file)): Path<(String, usize)>,
    Query(Offset { from }): Query<Offset>,
    body: Body,
) -> Answer {
    let id = TransferId::from(id.as_str());
    brought(seat, app, from, body, move |vault, piece| match piece {
        None => vault.upload(&id),
        Some((at, bytes)) => vault.append_upload(&id, file, at, bytes),
    })
    .await
}

/// Takes a body whose first byte belongs at `from`, piece by piece, and answers how the upload stands then. `take` gets each
/// piece with its place, and first of all none: then it says how the upload stands before.
pub(super) async fn brought(
    seat: Seat<Caller>,
    app: App,
    from: u64,
    body: Body,
    take: impl Fn(&Vault<'_>, Option<(u64, &[u8])>) -> Result<UploadView, EngineError> + Send + 'static,
) -> Answer {
    let _place = place(&app)?;
    let (pieces, mut coming) = mpsc::channel::<Piece>(PIECES_WAITING);
    let taking = app.work(seat.into_principal(), move |vault, _| {
        let mut view = take(vault, None)?;
        let mut at = from;
        while let Some(piece) = coming.blocking_recv() {
            for part in piece.into_parts() {
                view = take(vault, Some((at, &part)))?;
                at = at.saturating_add(part.len() as u64);
            }
        }
        Ok(view)
    });
    let (taken, whole) = tokio::join!(taking, feed(body, pieces));
    let view = taken?;
    if whole {
        Ok(Json(view).into_response())
    } else {
        Err(Problem::about(Kind::TooSlow, "the body did not arrive whole"))
    }
}

/// Hands the body on as it comes; whether all of it came. Where nobody takes it any more, that is somebody else's to say.
async fn feed(body: Body, pieces: mpsc::Sender<Piece>) -> bool {
    let mut body = pin!(body);
    let mut piece = Piece::default();
    let whole = loop {
        match body.frame().await {
            Some(Ok(frame)) => piece.add(frame.into_data().unwrap_or_default()),
            Some(Err(_)) => break false,
            None => break true,
        }
        if piece.bytes >= PIECE_BYTES && pieces.send(mem::take(&mut piece)).await.is_err() {
            return true;
        }
    };
    if piece.bytes > 0 {
        let _ = pieces.send(piece).await;
    }
    whole
}

/// Part of a body, as it came from the line: what is long is not copied.
#[derive(Default)]
struct Piece {
    parts: Vec<Bytes>,
    /// The short ones since the last long one. Each might hold on to a whole buffer of the line.
    short: Vec<u8>,
    bytes: usize,
}

impl Piece {
    fn add(&mut self, part: Bytes) {
        self.bytes += part.len();
        if part.len() < SHORT_BYTES {
            self.short.extend_from_slice(&part);
            return;
        }
        self.close();
        self.parts.push(part);
    }

    fn close(&mut self) {
        if !self.short.is_empty() {
            self.parts.push(mem::take(&mut self.short).into());
        }
    }

    /// What came, in its order.
    fn into_parts(mut self) -> Vec<Bytes> {
        self.close();
        self.parts
    }
}

async fn finish(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    let id = TransferId::from(id.as_str());
    let view = app.work(seat.into_principal(), move |vault, _| vault.finish_upload(&id)).await?;
    Ok(Json(view).into_response())
}

/// Once it is in quarantine it goes on by itself: how it ended is told to whoever asks, and recorded in any case.
async fn receive(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    let (id, caller) = (TransferId::from(id.as_str()), seat.into_principal());
    let (tell, told) = oneshot::channel();
    // A task of its own: it ends what it began, though whoever asked has hung up.
    tokio::spawn(async move {
        let (ours, its) = (caller.clone(), id.clone());
        let received = app.work(ours, move |vault, _| vault.receive_upload(&its)).await;
        let goes_on = received.is_ok();
        drop(tell.send(received));
        if goes_on {
            drop(app.work(caller, move |vault, _| vault.admit_upload(&id)).await);
        }
    });
    let view = told.await.map_err(|_| Problem::new(Kind::Internal))??;
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

async fn abandon(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    let id = TransferId::from(id.as_str());
    app.work(seat.into_principal(), move |vault, _| vault.abandon_upload(&id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn take(seat: Seat<Caller>, State(app): State<App>, which: Which) -> Answer {
    offered(seat, app, which, Vault::begin_download).await
}

async fn take_bundle(seat: Seat<Caller>, State(app): State<App>, which: Which) -> Answer {
    offered(seat, app, which, Vault::begin_bundle).await
}

async fn offered(
    seat: Seat<Caller>,
    app: App,
    which: Which,
    begin: fn(&Vault<'static>, &Version) -> Result<DownloadView, EngineError>,
) -> Answer {
    let which = reference(which)?;
    let asked = app.look(seat.into_principal(), which.to_string(), move |vault| {
        let version = vault.find(&which)?;
        vault.ask_or_use(|vault| begin(vault, &version))
    });
    Ok(match asked.await? {
        Asked::Done(view) => (StatusCode::CREATED, Json(view)).into_response(),
        Asked::Waiting(request) => (StatusCode::ACCEPTED, Json(json!({"request": request}))).into_response(),
    })
}

/// `Range` and `If-Range` as RFC 9110, section 14 has them; the entity tag is the file's SHA-256.
async fn serve(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path((id, file)): Path<(String, usize)>,
    headers: HeaderMap,
) -> Answer {
    let id = TransferId::from(id.as_str());
    let place = place(&app)?;
    let from = first(&headers);
    let served = app.work(seat.into_principal(), move |vault, _| vault.open_download(&id, file, from)).await?;
    ranged(served, &headers, place)
}

/// From which byte on `headers` ask for a file.
pub(super) fn first(headers: &HeaderMap) -> u64 {
    ByteRange::of(headers).map_or(0, |range| range.first)
}

/// `served`, or the part of it that `headers` ask for.
pub(super) fn ranged(served: Served, headers: &HeaderMap, place: OwnedSemaphorePermit) -> Answer {
    let (size, tag) = (served.file().size, format!("\"{}\"", served.file().sha256));
    let (whole, range) = match Part::of(headers, size, &tag) {
        Part::Whole => (true, 0..size),
        Part::Range(range) => (false, range),
        Part::Beyond => return Err(Problem::about(Kind::Range, format!("the file has {size} bytes"))),
    };
    let mut answer = stream(served, range.clone(), place).into_response();
    *answer.status_mut() = if whole { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
    let head = answer.headers_mut();
    head.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    head.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let text = |text: String| HeaderValue::try_from(text).map_err(|_| Problem::new(Kind::Internal));
    head.insert(header::ETAG, text(tag)?);
    if !whole {
        head.insert(header::CONTENT_RANGE, text(content_range(&range, size))?);
    }
    Ok(answer)
}

/// Reads on a thread that may wait. What cannot be read cuts the answer short, which its length tells.
fn stream(served: Served, range: Range<u64>, place: OwnedSemaphorePermit) -> Body {
    let (batches, coming) = mpsc::channel(BATCHES_WAITING);
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let (back, spare) = channel();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let read = served.read(range, &mut || spare.try_recv().unwrap_or_default(), &mut |chunk, wanted| {
            bytes += wanted.len();
            batch.push(Bytes::from_owner(Lent { chunk, back: back.clone() }).slice(wanted));
            if bytes < BATCH_BYTES {
                return ControlFlow::Continue(());
            }
            bytes = 0;
            let sent = batches.blocking_send(Ok(mem::take(&mut batch)));
            if sent.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let _ = batches.blocking_send(Ok(batch));
        if read.is_err() {
            let _ = batches.blocking_send(Err(io::ErrorKind::InvalidData.into()));
        }
    });
    Body::from_stream(Going { coming, now: Vec::new().into_iter() })
}

/// Chunks that go out. They come in batches: waking another thread for each was most of a download's context switches.
struct Going {
    coming: mpsc::Receiver<io::Result<Vec<Bytes>>>,
    now: std::vec::IntoIter<Bytes>,
}

impl Stream for Going {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(chunk) = self.now.next() {
                return Poll::Ready(Some(Ok(chunk)));
            }
            match ready!(self.coming.poll_recv(context)) {
                Some(Ok(batch)) => self.now = batch.into_iter(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// A chunk that is being sent; its buffer goes back to whoever reads the next one.
struct Lent {
    chunk: Vec<u8>,
    back: Sender<Vec<u8>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.chunk
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Whoever read may be done.
        let _ = self.back.send(mem::take(&mut self.chunk));
    }
}

async fn end(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    let id = TransferId::from(id.as_str());
    app.work(seat.into_principal(), move |vault, _| vault.end_download(&id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) fn place(app: &App) -> Result<OwnedSemaphorePermit, Problem> {
    let busy = || Problem::about(Kind::Unavailable, "too many transfers are under way").retry_after_s(1);
    app.transfers().try_acquire_owned().map_err(|_| busy())
}
