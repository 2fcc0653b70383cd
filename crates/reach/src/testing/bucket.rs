//! `ListObjectsV2` and objects of one bucket. Where keys are set, every request's signature is computed again from what came
//! over the wire, by this file's own reading of the specification.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
};
use base64::Engine as _;
use ringfence_schema::{Digest, digest::hex};

use super::{
    http::{Content, Reply, Request, Server},
    hub::open_settings,
};
use crate::{
    settings::{S3Settings, Settings},
    url::{escape, unescape},
};

/// Objects on one page.
const PAGE_OBJECTS: usize = 2;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    /// Access key and secret key.
    keys: Option<(String, String)>,
}

/// One bucket, reached by path: `http://127.0.0.1:PORT/BUCKET/KEY`.
pub struct TestBucket {
    /// Answers for everything.
    pub server: Server,
    state: Arc<RwLock<State>>,
    region: &'static str,
}

impl TestBucket {
    /// An empty bucket `bucket`.
    pub fn start(bucket: &str, region: &'static str) -> io::Result<Self> {
        let state: Arc<RwLock<State>> = Arc::default();
        let (inner, root) = (Arc::clone(&state), format!("/{bucket}/"));
        let server = Server::start(0, move |request| {
            let state = inner.read().unwrap_or_else(PoisonError::into_inner);
            answer(&state, &root, region, request)
        })?;
        Ok(Self { server, state, region })
    }

    /// Puts an object, with its SHA-256.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.objects.insert(key.to_owned(), bytes.to_vec());
    }

    /// From now on requests must be signed with these.
    pub fn lock(&self, id: &str, key: &str) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).keys = Some((id.to_owned(), key.to_owned()));
    }

    /// Settings with which this bucket, and nothing else, can be reached.
    pub fn settings(&self) -> Settings {
        let s3 = S3Settings { endpoint: Some(self.server.origin()), region: self.region.into(), profile: None };
        Settings { s3, ..open_settings(&[self.server.port()]) }
    }
}

fn answer(state: &State, root: &str, region: &str, request: &Request) -> Reply {
    if let Some((id, key)) = &state.keys
        && !signed(request, id, key, region)
    {
        return Reply::new(403, &b"<Error><Code>SignatureDoesNotMatch</Code></Error>"[..]);
    }
    let Some(key) = request.path.strip_prefix(root) else {
        return Reply::new(404, &b"<Error><Code>NoSuchBucket</Code></Error>"[..]);
    };
    if key.is_empty() {
        return list(state, request);
    }
    match unescape(key).and_then(|key| state.objects.get(&key)) {
        Some(bytes) => {
            let sum = base64::engine::general_purpose::STANDARD.encode(Digest::of(bytes).as_bytes());
            let reply = Reply::new(200, bytes.as_slice()).with("etag", tag(bytes)).with("x-amz-checksum-sha256", sum);
            reply.with("x-amz-checksum-type", "FULL_OBJECT")
        }
        None => Reply::new(404, &b"<Error><Code>NoSuchKey</Code></Error>"[..]),
    }
}

fn list(state: &State, request: &Request) -> Reply {
    let prefix = request.parameter("prefix").unwrap_or_default();
    let after = request.parameter("continuation-token").unwrap_or_default();
    let mut fitting = state.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && key.as_str() > after.as_str());
    let page: Vec<_> = fitting.by_ref().take(PAGE_OBJECTS).collect();
    let truncated = fitting.next().is_some();
    let mut text =
        String::from("<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    text.push_str(&format!("<EncodingType>url</EncodingType><IsTruncated>{truncated}</IsTruncated>"));
    for (key, bytes) in &page {
        let tag = tag(bytes).replace('"', "&quot;");
        let (key, size) = (escape(key), bytes.len());
        text.push_str(&format!("<Contents><Key>{key}</Key><Size>{size}</Size><ETag>{tag}</ETag></Contents>"));
    }
    if let (true, Some((last, _))) = (truncated, page.last()) {
        text.push_str(&format!("<NextContinuationToken>{last}</NextContinuationToken>"));
    }
    text.push_str("</ListBucketResult>");
    Reply::new(200, Content::from(text.as_bytes()))
}

fn tag(bytes: &[u8]) -> String {
    format!("\"{}\"", Digest::of(bytes).short())
}

/// Whether the `Authorization` of `request` is what `key` makes of it.
fn signed(request: &Request, id: &str, key: &str, region: &str) -> bool {
    let Some(text) = request.header("authorization").and_then(|text| text.strip_prefix("AWS4-HMAC-SHA256 ")) else {
        return false;
    };
    let part = |name: &str| text.split(", ").find_map(|part| part.strip_prefix(name));
    let (Some(scope), Some(names), Some(signature)) = (part("Credential="), part("SignedHeaders="), part("Signature="))
    else {
        return false;
    };
    let Some(stamp) = request.header("x-amz-date") else { return false };
    let day: String = stamp.chars().take(8).collect();
    let wanted = format!("{day}/{region}/s3/aws4_request");
    if scope != format!("{id}/{wanted}") || !names.split(';').any(|name| name == "host") {
        return false;
    }
    let headers: String =
        names.split(';').map(|name| format!("{name}:{}\n", request.header(name).unwrap_or_default())).collect();
    let mut query: Vec<&str> = request.query.split('&').filter(|pair| !pair.is_empty()).collect();
    query.sort_unstable();
    let body = request.header("x-amz-content-sha256").unwrap_or_default();
    let canonical = format!("{}\n{}\n{}\n{headers}\n{names}\n{body}", request.method, request.path, query.join("&"));
    let to_sign =
        format!("AWS4-HMAC-SHA256\n{stamp}\n{wanted}\n{}", hex(digest(&SHA256, canonical.as_bytes()).as_ref()));
    let mac = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let mut derived = mac(format!("AWS4{key}").as_bytes(), &day);
    for step in [region, "s3", "aws4_request"] {
        derived = mac(derived.as_ref(), step);
    }
    hex(mac(derived.as_ref(), &to_sign).as_ref()) == signature
}
