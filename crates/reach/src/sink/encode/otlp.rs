//! OpenTelemetry's log and metric records in OTLP's JSON form (opentelemetry-proto 1.x, "JSON Protobuf Encoding"): names in
//! lower camel case, 64-bit numbers as decimal strings, ids of traces and spans in hexadecimal, enums as numbers.

use ringfence_schema::{Digest, Severity, Timestamp};
use serde_json::{Value, json};

use super::{Parcel, finite, message_id, severity_word, title};
use crate::sink::metrics::{MetricKind, Metrics};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u32 = 2;

/// One `ExportLogsServiceRequest` for parcels of one vault.
///
/// All alerts on one subject share a trace id, so that a back end shows them together; the span id is of the alert.
pub fn otlp_logs(parcels: &[Parcel<'_>]) -> Value {
    let vault = parcels.first().map_or("", |parcel| parcel.vault);
    let records: Vec<Value> = parcels.iter().map(record).collect();
    json!({"resourceLogs": [{
        "resource": resource(vault),
        "scopeLogs": [{"scope": scope(), "logRecords": records}],
    }]})
}

fn record(parcel: &Parcel<'_>) -> Value {
    let alert = parcel.alert;
    let trace = Digest::of(format!("{}/{}/{}", parcel.vault, alert.subject.kind.name(), alert.subject.name).as_bytes());
    json!({
        "timeUnixNano": nanos(alert.at),
        "observedTimeUnixNano": nanos(alert.at),
        "severityNumber": severity_number(alert.severity),
        "severityText": severity_word(alert.severity),
        "eventName": "ringfence.alert",
        "body": {"stringValue": title(parcel)},
        "traceId": trace.hex().get(..32),
        "spanId": alert.id.hex().get(..16),
        "attributes": [
            text("ringfence.alert.id", &message_id(parcel)),
            text("ringfence.alert.rule", &alert.rule),
            text("ringfence.alert.kind", &alert.kind),
            text("ringfence.alert.signal", &alert.signal),
            text("ringfence.alert.expected", &alert.expected),
            text("ringfence.alert.seen", &alert.seen),
            text("ringfence.alert.since", &alert.since.to_string()),
            text("ringfence.alert.why", &alert.why),
            text("ringfence.alert.remedy", &alert.remedy),
            text("ringfence.subject.kind", alert.subject.kind.name()),
            text("ringfence.subject.name", &alert.subject.name),
            json!({"key": "ringfence.alert.confidence", "value": {"doubleValue": finite(alert.confidence)}}),
            json!({"key": "ringfence.alert.sequence", "value": {"intValue": parcel.sequence.to_string()}}),
        ],
    })
}

/// One `ExportMetricsServiceRequest`.
pub fn otlp_metrics(metrics: &Metrics) -> Value {
    let families = metrics.families().map(|family| {
        let points: Vec<Value> = family
            .points
            .iter()
            .map(|point| {
                let labels: Vec<Value> = point.labels.iter().map(|(key, value)| text(key, value)).collect();
                json!({
                    "attributes": labels,
                    "startTimeUnixNano": nanos(metrics.since),
                    "timeUnixNano": nanos(metrics.at),
                    "asDouble": finite(point.value),
                })
            })
            .collect();
        let mut family_json = json!({"name": family.name, "description": family.help});
        let data = match family.kind {
            MetricKind::Gauge => ("gauge", json!({"dataPoints": points})),
            MetricKind::Counter => {
                ("sum", json!({"dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": true}))
            }
        };
        if let Some(object) = family_json.as_object_mut() {
            object.insert(data.0.to_owned(), data.1);
        }
        family_json
    });
    let families: Vec<Value> = families.collect();
    json!({"resourceMetrics": [{
        "resource": resource(&metrics.vault),
        "scopeMetrics": [{"scope": scope(), "metrics": families}],
    }]})
}

fn resource(vault: &str) -> Value {
    json!({"attributes": [
        text("service.name", "ringfence"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", vault),
    ]})
}

fn scope() -> Value {
    json!({"name": "ringfence", "version": env!("CARGO_PKG_VERSION")})
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn nanos(time: Timestamp) -> String {
    (u128::from(time.millis()) * 1_000_000).to_string()
}

/// `INFO`, `INFO3`, `WARN`, `ERROR` and `FATAL` of the log data model.
fn severity_number(severity: Severity) -> u32 {
    match severity {
        Severity::Info => 9,
        Severity::Low => 11,
        Severity::Medium => 13,
        Severity::High => 17,
        Severity::Critical => 21,
    }
}
