//! Alerts in the formats that others read: golden samples, and grammars that hold for any text.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use ringfence_reach::sink::{
    encode::{SYSLOG_BYTES_MAX, mail, ocsf, otlp_logs, otlp_metrics, prometheus, ringfence, syslog},
    metrics::{MetricKind, Metrics, POINTS_MAX},
};
use ringfence_schema::{
    Timestamp,
    alert::Alert,
    event::{GpuUsage, Progress, Usage},
};

use crate::alerts::{alert, hostile, now, parcel};

/// With sorted keys: whether maps keep the order in which they were filled depends on what else is built.
fn pretty(value: &serde_json::Value) -> String {
    fn sorted(value: &serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Object(fields) => {
                let fields: BTreeMap<_, _> = fields.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
                serde_json::Value::Object(fields.into_iter().collect())
            }
            serde_json::Value::Array(items) => items.iter().map(sorted).collect(),
            other => other.clone(),
        }
    }
    serde_json::to_string_pretty(&sorted(value)).unwrap()
}

fn metrics() -> Metrics {
    let mut metrics = Metrics::new("rfv1-test", Timestamp::from_millis(1_799_000_000_000), now());
    let usage = Usage {
        cpu_ms: 12_500,
        memory_bytes: 1 << 30,
        processes: 4,
        gpus: vec![GpuUsage { index: 0, busy_percent: 97, memory_bytes: 1 << 33 }],
        ..Usage::default()
    };
    metrics.add_run("r-1", &usage, Some(&Progress { step: Some(400), loss: Some(0.25), ..Progress::default() }));
    metrics.add(("ringfence_test", MetricKind::Gauge, "a \\ and\na line"), &[("name", "q\"u\\o\nte")], f64::NAN);
    metrics.add(("ringfence_test", MetricKind::Gauge, "a \\ and\na line"), &[], f64::NEG_INFINITY);
    metrics
}

#[test]
fn samples() {
    let (plain, nasty) = (alert(0), hostile());
    insta::assert_snapshot!("ringfence", pretty(&ringfence(&parcel(&plain))));
    insta::assert_snapshot!("ocsf", pretty(&ocsf(&parcel(&plain))));
    insta::assert_snapshot!("otlp_logs", pretty(&otlp_logs(&[parcel(&plain), parcel(&nasty)][..1])));
    insta::assert_snapshot!("otlp_metrics", pretty(&otlp_metrics(&metrics())));
    insta::assert_snapshot!("prometheus", prometheus(&metrics()));
    let lines = [syslog(&parcel(&plain), 13, Some("gpu-7.example.org")), syslog(&parcel(&nasty), 99, Some("a b\n"))];
    insta::assert_snapshot!("syslog", lines.map(|line| line.chars().take(1_500).collect::<String>()).join("\n"));
    let to = ["ann@example.org".to_owned(), "bob@example.org".to_owned()];
    insta::assert_snapshot!("mail", mail(&parcel(&plain), "ringfence@example.org", &to).replace('\r', ""));
}

#[test]
fn a_repeat_is_the_same_bytes() {
    for alert in [alert(0), hostile()] {
        let encode = || {
            let parcel = parcel(&alert);
            let to = ["ann@example.org".to_owned()];
            let parts = [
                ringfence(&parcel).to_string(),
                ocsf(&parcel).to_string(),
                otlp_logs(&[parcel]).to_string(),
                syslog(&parcel, 1, None),
                mail(&parcel, "a@b.example", &to),
            ];
            parts.join("\0")
        };
        assert_eq!(encode(), encode());
    }
}

/// Reads an RFC 5424 message strictly; its structured data.
fn read_syslog(message: &str) -> Option<BTreeMap<String, String>> {
    let rest = message.strip_prefix('<')?;
    let (priority, rest) = rest.split_once('>')?;
    (priority.parse::<u32>().ok()? <= 191 && !priority.starts_with('0')).then_some(())?;
    let mut words = rest.splitn(7, ' ');
    (words.next()? == "1").then_some(())?;
    for (limit, word) in
        [(32, words.next()?), (255, words.next()?), (48, words.next()?), (128, words.next()?), (32, words.next()?)]
    {
        (!word.is_empty() && word.len() <= limit && word.bytes().all(|byte| byte.is_ascii_graphic())).then_some(())?;
    }
    let mut rest = words.next()?.strip_prefix("[ringfence@32473")?;
    let mut found = BTreeMap::new();
    while let Some(parameter) = rest.strip_prefix(' ') {
        let (name, mut value) = parameter.split_once("=\"")?;
        let mut text = String::new();
        loop {
            let mut characters = value.chars();
            let character = characters.next()?;
            value = characters.as_str();
            match character {
                '"' => break,
                ']' => return None,
                '\\' => {
                    let escaped = value.chars().next().filter(|next| matches!(next, '"' | '\\' | ']'))?;
                    text.push(escaped);
                    value = &value[1..];
                }
                other => text.push(other),
            }
        }
        found.insert(name.to_owned(), text);
        rest = value;
    }
    rest.strip_prefix("] \u{feff}")?;
    Some(found)
}

/// A header section and its body.
fn read_mail(mail: &str) -> Option<(Vec<(String, String)>, String)> {
    // An id cannot be folded; every other line keeps to the 78 characters of RFC 5322, section 2.1.1.
    let limit = |line: &str| if line.starts_with("Message-ID: ") { 998 } else { 78 };
    let fits = |line: &str| line.len() <= limit(line) && !line.starts_with('.') && !line.contains(['\r', '\n']);
    assert!(mail.split("\r\n").all(fits), "{mail}");
    let (head, body) = mail.split_once("\r\n\r\n")?;
    let unfolded = head.replace("\r\n ", " ");
    let headers = unfolded.split("\r\n").map(|line| line.split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())));
    let body = STANDARD.decode(body.replace("\r\n", "")).ok()?;
    Some((headers.collect::<Option<_>>()?, String::from_utf8(body).ok()?))
}

fn holds(alert: &Alert) {
    let parcel = parcel(alert);
    let id = format!("alert-{}", alert.id.hex());
    let message = syslog(&parcel, 13, Some("host"));
    assert!(message.len() <= SYSLOG_BYTES_MAX && !message.contains(['\n', '\r', '\0']), "{}", message.len());
    let data = read_syslog(&message).unwrap_or_else(|| panic!("{message}"));
    assert_eq!((data["id"].as_str(), data["sequence"].as_str()), (id.as_str(), "42"));
    let to = ["ann@example.org".to_owned()];
    let (headers, body) = read_mail(&mail(&parcel, "r@example.org", &to)).unwrap();
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let known = ["Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"];
    assert_eq!(names, [&known[..], &["Content-Transfer-Encoding"]].concat());
    assert_eq!(headers[4].1, format!("<{id}@example.org>"));
    assert!(body.contains(&alert.id.hex()));
    for json in [ringfence(&parcel), ocsf(&parcel), otlp_logs(&[parcel])] {
        let text = json.to_string();
        assert!(!text.contains('\n') && text.contains(&alert.id.hex()));
    }
}

#[test]
fn nothing_that_a_stranger_chooses_breaks_a_format() {
    holds(&alert(0));
    holds(&hostile());
    let text = prometheus(&metrics());
    assert!(text.lines().all(|line| line.starts_with("# ") || line.starts_with("ringfence_")), "{text}");
}

proptest! {
    #[test]
    fn nor_does_any_other_text(name in any::<String>(), text in ".{0,2000}", confidence in any::<f64>()) {
        let mut alert = alert(1);
        alert.subject.name = name.clone();
        (alert.rule, alert.kind, alert.signal) = (name.clone(), name.clone(), name);
        (alert.expected, alert.message, alert.why) = (text.clone(), text.clone(), text);
        alert.confidence = confidence;
        holds(&alert);
    }
}

#[test]
fn figures_are_bounded() {
    let mut metrics = Metrics::new("v", now(), now());
    for run in 0..POINTS_MAX {
        metrics.add_run(&run.to_string(), &Usage::default(), None);
    }
    assert_eq!(metrics.families().map(|family| family.points.len()).sum::<usize>(), POINTS_MAX);
}
