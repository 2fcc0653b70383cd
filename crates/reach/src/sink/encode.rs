//! An alert as the formats that others read: pure functions from a [`Parcel`] to bytes, the same bytes each time.
//!
//! Text in an alert may come from a stranger (names of hosts, artifacts, labels); each encoding escapes it in its own way, and
//! where a format has no escape for a character, [`printable`](ringfence_schema::finding::printable) writes it out.

mod mail;
mod ocsf;
mod otlp;
mod prometheus;
mod syslog;

use ringfence_schema::Severity;
use serde_json::{Value, json};

pub use mail::mail;
pub use ocsf::{OCSF_VERSION, ocsf, ocsf_product};
pub use otlp::{otlp_logs, otlp_metrics};
pub use prometheus::prometheus;
pub use syslog::{SYSLOG_BYTES_MAX, SyslogHead, syslog, syslog_message};

use super::Parcel;

/// The alert as `ringfence.alert/1`: `type`, `timestamp` and `data` as Standard Webhooks recommends them.
pub fn ringfence(parcel: &Parcel<'_>) -> Value {
    json!({
        "schema": "ringfence.alert/1",
        "type": "ringfence.alert",
        "timestamp": parcel.alert.at.to_string(),
        "data": {"vault": parcel.vault, "sequence": parcel.sequence, "alert": parcel.alert},
    })
}

/// What receivers know an alert by, however often it comes: no dots, which Standard Webhooks puts between the parts of what it
/// signs.
pub fn message_id(parcel: &Parcel<'_>) -> String {
    format!("alert-{}", parcel.alert.id.hex())
}

/// One line that says what is wrong.
fn title(parcel: &Parcel<'_>) -> String {
    let alert = parcel.alert;
    format!("{} at {} {}: {}", alert.kind, alert.subject.kind.name(), alert.subject.name, alert.message)
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

/// Cuts at the last character that fits into `bytes_max`.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Few formats have a word for what is not finite.
fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}
