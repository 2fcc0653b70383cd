//! Asking a witness for its cosignature (C2SP tlog-witness): one `POST`, one answer, whatever it is.
//!
//! Witnesses are asked under the same egress policy and with the same short waits as sinks. What the answer means is told by
//! whoever knows the trail; here it is a status, a content type and bytes.

use crate::{Reach, client::Post, error::ReachError, header, url::Url};

/// Longest answer of a witness in bytes.
pub const WITNESS_ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What a witness answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessReply {
    /// The HTTP status.
    pub status: u16,
    /// The content type without parameters, empty where there is none.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Reach {
    /// Sends `body` to `add-checkpoint` below `prefix`, once.
    ///
    /// # Errors
    /// [`ReachError::Url`], [`ReachError::Denied`] where the egress policy does not name its host,
    /// [`ReachError::TooLarge`] over [`WITNESS_ANSWER_BYTES_MAX`], and whatever the network brings.
    pub fn ask_witness(&self, prefix: &str, body: &[u8]) -> Result<WitnessReply, ReachError> {
        let url = Url::parse(&format!("{}/add-checkpoint", prefix.trim_end_matches('/')))?;
        let post =
            Post { url: &url, content_type: "text/plain; charset=utf-8", headers: Vec::new(), token: None, body };
        let answer = self.sink_client()?.exchange(&post)?;
        let content_type = header::text(&answer.headers, "content-type").unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let status = answer.status;
        Ok(WitnessReply { status, content_type, body: answer.read_all(WITNESS_ANSWER_BYTES_MAX)? })
    }
}
