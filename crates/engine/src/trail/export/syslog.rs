//! RFC 5424 messages with structured data, one a line.

use ringfence_reach::sink::encode::{SyslogHead, syslog_message};
use ringfence_schema::trail::Outcome;

use super::sentence;
use crate::trail::{Decided, ShownEntry};

/// `log audit` (section 6.2.1).
const FACILITY: u8 = 13;

/// The entry as a message without the end of its line. `MSGID` is the action.
pub(super) fn message(shown: &ShownEntry) -> String {
    let entry = &shown.entry;
    let severity = match (Decided::of(entry), entry.outcome) {
        (Decided::Allowed, _) => 6,
        (Decided::Failed, Some(Outcome::Failed | Outcome::Abandoned)) => 5,
        _ => 4,
    };
    let (index, leaf, state) = (shown.index.to_string(), shown.leaf.to_string(), entry.state.to_string());
    let of = entry.of.map(|of| of.to_string()).unwrap_or_default();
    let parameters = [
        ("index", index.as_str()),
        ("leaf", &leaf),
        ("vault", &entry.vault),
        ("action", &entry.action),
        ("actor", &entry.actor),
        ("decision", Decided::of(entry).word()),
        ("outcome", shown.word()),
        ("of", &of),
        ("subject", shown.subject()),
        ("state", &state),
    ];
    let parameters: Vec<(&str, &str)> = parameters.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let head = SyslogHead { facility: FACILITY, severity, at: entry.time, hostname: None, message_type: &entry.action };
    syslog_message(&head, &parameters, &sentence(shown))
}
