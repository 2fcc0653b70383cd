//! RFC 5424 messages.

use ringfence_schema::{Severity, Timestamp, finding::printable};

use super::{Parcel, cut, finite, message_id, severity_word, title};

/// Longest message in bytes: what RFC 5425, section 4.3.1 says that receivers should take.
pub const SYSLOG_BYTES_MAX: usize = 8_192;
/// Longest parameter value in bytes before it is escaped.
const VALUE_BYTES_MAX: usize = 256;
/// Longest host name (RFC 5424, section 6.2.4).
const HOSTNAME_BYTES_MAX: usize = 255;
/// Longest message id (RFC 5424, section 6.2.7).
const MSGID_BYTES_MAX: usize = 32;
/// Our element of structured data; 32473 is the enterprise number that RFC 5612 sets aside for names without one of their own.
const SD_ID: &str = "ringfence@32473";

/// The alert as one message, without framing. `MSGID` is its rule, as section 6.2.7 wants it; `id` in the structured data is
/// the alert's id, the same in a repeat.
pub fn syslog(parcel: &Parcel<'_>, facility: u8, hostname: Option<&str>) -> String {
    let alert = parcel.alert;
    let head =
        SyslogHead { facility, severity: severity(alert.severity), at: alert.at, hostname, message_type: &alert.rule };
    let subject = format!("{}/{}", alert.subject.kind.name(), alert.subject.name);
    let confidence = format!("{:.4}", finite(alert.confidence));
    let (id, since, sequence) = (message_id(parcel), alert.since.to_string(), parcel.sequence.to_string());
    let parameters = [
        ("id", id.as_str()),
        ("kind", &alert.kind),
        ("severity", severity_word(alert.severity)),
        ("subject", &subject),
        ("signal", &alert.signal),
        ("expected", &alert.expected),
        ("seen", &alert.seen),
        ("since", &since),
        ("confidence", &confidence),
        ("vault", parcel.vault),
        ("sequence", &sequence),
    ];
    syslog_message(&head, &parameters, &title(parcel))
}

/// What stands in front of a message's data.
#[derive(Debug, Clone, Copy)]
pub struct SyslogHead<'a> {
    /// Facility of section 6.2.1, 0 to 23; a larger one is cut to that.
    pub facility: u8,
    /// Severity of section 6.2.1, 0 (emergency) to 7 (debug).
    pub severity: u8,
    /// When it happened.
    pub at: Timestamp,
    /// Which machine, if that is to be said.
    pub hostname: Option<&'a str>,
    /// `MSGID`: the type of message.
    pub message_type: &'a str,
}

/// One message of at most [`SYSLOG_BYTES_MAX`] as long as its parameters leave room, without framing and without any control
/// character. Values are cut to 256 bytes each, then `text` to what is left.
pub fn syslog_message(head: &SyslogHead<'_>, parameters: &[(&str, &str)], text: &str) -> String {
    let priority = u32::from(head.facility.min(23)) * 8 + u32::from(head.severity.min(7));
    let hostname = header(head.hostname.unwrap_or_default(), HOSTNAME_BYTES_MAX);
    let message_type = header(head.message_type, MSGID_BYTES_MAX);
    let data: String = parameters.iter().map(|(name, text)| format!(" {name}=\"{}\"", value(text))).collect();
    let mut message = format!("<{priority}>1 {} {hostname} ringfence - {message_type} [{SD_ID}{data}] ", head.at);
    // A byte order mark says that the text is UTF-8 (section 6.4).
    message.push('\u{feff}');
    let room = SYSLOG_BYTES_MAX.saturating_sub(message.len());
    let text = printable(text, SYSLOG_BYTES_MAX);
    message.push_str(cut(&text, room));
    message
}

/// `PRINTUSASCII`, or the nil value.
fn header(text: &str, bytes_max: usize) -> String {
    let visible: String =
        text.chars().map(|character| if character.is_ascii_graphic() { character } else { '_' }).collect();
    let visible = cut(&visible, bytes_max);
    if visible.is_empty() { "-".to_owned() } else { visible.to_owned() }
}

/// `PARAM-VALUE`: `"`, `\` and `]` are escaped (section 6.3.3); what is invisible is written out first, as plain text.
fn value(text: &str) -> String {
    let shown = printable(text, VALUE_BYTES_MAX);
    let mut out = String::with_capacity(shown.len());
    for character in cut(&shown, VALUE_BYTES_MAX).chars() {
        if matches!(character, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// Numerical severities of section 6.2.1.
fn severity(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 6,
        Severity::Low => 5,
        Severity::Medium => 4,
        Severity::High => 3,
        Severity::Critical => 2,
    }
}
