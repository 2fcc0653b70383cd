//! Mail for people (RFC 5322), in UTF-8 by base64 (RFC 2045, section 6.8), so that no line begins with a dot or is too long.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringfence_schema::{Timestamp, finding::printable};

use super::{Parcel, cut, finite, message_id, severity_word};

/// Longest subject in bytes before it is encoded.
const SUBJECT_BYTES_MAX: usize = 160;
/// Bytes of text in one encoded word: with its frame and `Subject: ` in front it fits into the 76 characters of RFC 2047,
/// section 2.
const WORD_BYTES: usize = 39;
/// Longest subject that stands as it is, in characters.
const PLAIN_CHARS_MAX: usize = 67;
/// Characters of base64 in one line.
const LINE_CHARS: usize = 76;

/// The whole message, its lines ended by CR LF. `from` and `to` must be plain addresses. The `Message-ID` is made from the
/// alert's id, so a repeat is the same mail.
pub fn mail(parcel: &Parcel<'_>, from: &str, to: &[String]) -> String {
    let alert = parcel.alert;
    let domain = from.rsplit('@').next().unwrap_or("localhost");
    let subject = format!(
        "[ringfence] {}: {} at {} {}",
        severity_word(alert.severity),
        alert.kind,
        alert.subject.kind.name(),
        alert.subject.name
    );
    let headers = [
        ("Date", date(alert.at)),
        ("From", format!("Ringfence <{from}>")),
        ("To", to.join(",\r\n ")),
        ("Subject", encoded_words(cut(&printable(&subject, SUBJECT_BYTES_MAX), SUBJECT_BYTES_MAX))),
        ("Message-ID", format!("<{}@{domain}>", message_id(parcel))),
        // No vacation notices in return (RFC 3834, section 5).
        ("Auto-Submitted", "auto-generated".to_owned()),
        ("MIME-Version", "1.0".to_owned()),
        ("Content-Type", "text/plain; charset=utf-8".to_owned()),
        ("Content-Transfer-Encoding", "base64".to_owned()),
    ];
    let mut message: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    message.push_str("\r\n");
    let encoded = STANDARD.encode(body(parcel));
    for line in encoded.as_bytes().chunks(LINE_CHARS) {
        message.push_str(&String::from_utf8_lossy(line));
        message.push_str("\r\n");
    }
    message
}

fn body(parcel: &Parcel<'_>) -> String {
    let alert = parcel.alert;
    let line = |text: &str| printable(text, 2_048);
    let confidence = finite(alert.confidence).clamp(0.0, 1.0) * 100.0;
    [
        line(&alert.message),
        String::new(),
        format!("subject     {} {}", alert.subject.kind.name(), line(&alert.subject.name)),
        format!("signal      {}", line(&alert.signal)),
        format!("expected    {}", line(&alert.expected)),
        format!("seen        {}", line(&alert.seen)),
        format!("since       {}", alert.since),
        format!("raised      {}", alert.at),
        format!("severity    {}", severity_word(alert.severity)),
        format!("confidence  {confidence:.1} %"),
        format!("rule        {}", line(&alert.rule)),
        String::new(),
        format!("Why it matters: {}", line(&alert.why)),
        format!("What to do: {}", line(&alert.remedy)),
        String::new(),
        format!("alert {} of vault {}, number {}", alert.id.hex(), line(parcel.vault), parcel.sequence),
    ]
    .join("\r\n")
        + "\r\n"
}

/// Text of a header: as it is where it is short ASCII that could not be taken for encoded words, else encoded words (RFC
/// 2047), each a line of its own.
fn encoded_words(text: &str) -> String {
    if text.is_ascii() && text.len() <= PLAIN_CHARS_MAX && !text.contains("=?") {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = cut(rest, WORD_BYTES);
        words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
        rest = rest.get(word.len()..).unwrap_or_default();
    }
    words.join("\r\n ")
}

/// `Fri, 01 Jan 2027 00:00:00 +0000` (RFC 5322, section 3.3), by way of RFC 3339.
fn date(time: Timestamp) -> String {
    let text = time.to_string();
    let number = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let month = number(5, 7).parse::<usize>().unwrap_or(1);
    let month = MONTHS.get(month.saturating_sub(1)).copied().unwrap_or("Jan");
    // 1970-01-01 was a Thursday.
    let weekday = usize::try_from(time.millis() / 86_400_000 % 7).ok().and_then(|day| WEEKDAYS.get(day)).copied();
    format!("{}, {} {month} {} {} +0000", weekday.unwrap_or("Thu"), number(8, 10), number(0, 4), number(11, 19))
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
