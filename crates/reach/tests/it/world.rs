//! What the tests share: a Hub with one model, and a way to fetch from it.

use ringfence_reach::{
    Fetched, Reach, ReachError, RemoteFile, Resume, Secret, Secrets, Settings, Source, testing::TestHub,
};

pub(crate) const MODEL: &str = "models/acme/digits";
pub(crate) const WEIGHTS: &str = "model.safetensors";

/// A file of `size` bytes that no two offsets share.
pub(crate) fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap()).collect()
}

/// A Hub whose model has a small file and 1 MiB of weights.
pub(crate) fn hub() -> TestHub {
    let hub = TestHub::start(0).unwrap();
    hub.put(MODEL, &[("config.json", b"{\"a\": 1}"), ("sub/notes.txt", b"notes"), (WEIGHTS, &content(1 << 20))]);
    hub
}

pub(crate) fn reach(settings: Settings) -> Reach {
    Reach::new(settings, Secrets::default()).unwrap()
}

pub(crate) fn with_token(settings: Settings, token: &str) -> Reach {
    let secret = Secret::new("test", token.to_owned().into()).unwrap();
    Reach::new(settings, Secrets { hub: Some(secret), s3: None }).unwrap()
}

pub(crate) fn source(text: &str) -> Source {
    text.parse().unwrap()
}

/// The weights of the one model.
pub(crate) fn weights(reach: &Reach) -> RemoteFile {
    let listing = reach.listing(&source("hf://acme/digits")).unwrap();
    listing.file(WEIGHTS).unwrap().clone()
}

pub(crate) fn fetch(reach: &Reach, file: &RemoteFile) -> Result<(Vec<u8>, Fetched), ReachError> {
    let mut out = Vec::new();
    let fetched = reach.fetch(file, &mut out, Resume::Start, &mut |_| {})?;
    Ok((out, fetched))
}
