//! Servers on loopback for the tests of whoever fetches: no network, no packages, no promises of speed or safety.
//!
//! * [`TestHub`]: the Hugging Face Hub's interface over repositories in memory or on disk, with its storage on another
//!   origin; Python's `huggingface_hub` downloads from it (`HF_ENDPOINT`).
//! * [`TestBucket`]: `ListObjectsV2` and objects of S3, anonymous or with signatures that are really checked.
//! * [`MailServer`] and [`SyslogServer`]: SMTP and syslog over TCP or TLS, as sinks of alerts see them.
//! * [`Server`]: HTTP/1.1 over a function, with a log of what was asked and [`Fault`]s on demand.

mod bucket;
mod http;
mod hub;
mod mail;
mod syslog;
mod tls;

pub use bucket::TestBucket;
pub use http::{Asked, BODY_BYTES_MAX, Content, Fault, Reply, Request, Server};
pub use hub::{TestHub, open_settings};
pub use mail::{MailFault, MailMode, MailServer, Received};
pub use syslog::SyslogServer;
pub use tls::server_tls;

/// Reads the first line of `bytes` as the description of an endpoint in JSON and the rest as what that endpoint answers: for the
/// fuzz target.
///
/// # Panics
/// Where a description does not read back as it was, or an answer has another size than it must.
pub fn read_endpoint(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (Some(file), Some(answer)) = (parts.next(), parts.next()) else { return };
    let Ok(description) = serde_json::from_slice::<crate::endpoint::Description>(file) else { return };
    let written = serde_json::to_vec(&description).unwrap_or_default();
    let again = serde_json::from_slice::<crate::endpoint::Description>(&written);
    assert_eq!(again.ok().map(|again| again.digest()), Some(description.digest()), "a description reads as it prints");
    if description.width() <= 1_024 {
        let question = description.question(&vec![0.5; description.width()]);
        assert!(serde_json::from_slice::<serde_json::Value>(&question).is_ok(), "a question is JSON");
    }
    for rows in 1..=2 {
        if let Ok(scores) = description.answer(answer, rows) {
            assert_eq!(scores.len(), rows * description.output().classes);
            assert!(scores.iter().all(|score| score.is_finite()));
        }
    }
}

/// Reads `bytes` as each kind of answer and each text that a source may send: for the fuzz target.
///
/// # Panics
/// Where something does not print as it was read.
pub fn read_answers(bytes: &[u8]) {
    let _ = crate::hub::parse_tree(bytes);
    let _ = crate::s3::parse_page(bytes);
    let _ = serde_json::from_slice::<crate::Listing>(bytes);
    if let Ok(Some((reply, used))) = crate::sink::read_reply(bytes) {
        assert!(used <= bytes.len() && !reply.lines.is_empty(), "a reply is within what was read");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = crate::header::next_link(text);
    let _ = crate::header::retry_after_s(text, 0);
    let _ = crate::header::etag(text);
    let _ = crate::header::ContentRange::parse(text);
    let _ = crate::check_path(text);
    let _ = text.parse::<crate::HostPattern>();
    if let Ok(source) = text.parse::<crate::Source>() {
        let again = source.to_string().parse::<crate::Source>();
        assert_eq!(again.as_ref(), Ok(&source), "a source prints as it is read");
    }
    if let Ok(url) = crate::Url::parse(text) {
        let again = crate::Url::parse(&url.to_text());
        assert_eq!(again.as_ref(), Ok(&url), "a link prints as it is read");
        let _ = url.join(text);
    }
    if let Some((base, reference)) = text.split_once(' ')
        && let Ok(base) = crate::Url::parse(base)
    {
        let _ = base.join(reference);
    }
}
