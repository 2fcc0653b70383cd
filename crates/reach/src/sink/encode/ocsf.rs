//! Detection Finding (class 2004) of the Open Cybersecurity Schema Framework, version 1.5.0.

use ringfence_schema::{Severity, alert::Basis};
use serde_json::{Value, json};

use super::{Parcel, severity_word, title};

/// Version of the schema that the events are written for.
pub const OCSF_VERSION: &str = "1.5.0";
/// `Findings`.
const CATEGORY_UID: u32 = 2;
/// `Detection Finding`.
const CLASS_UID: u32 = 2004;
/// `Create`: a finding is told once; what comes later is a repeat of the same.
const ACTIVITY_CREATE: u32 = 1;

/// The alert as a Detection Finding. `finding_info.uid` and `metadata.uid` are the alert's id, so a repeat is known.
pub fn ocsf(parcel: &Parcel<'_>) -> Value {
    let alert = parcel.alert;
    let id = alert.id.hex();
    let (severity_id, severity) = severity(alert.severity);
    let (confidence_id, confidence) = confidence(alert.confidence);
    json!({
        "activity_id": ACTIVITY_CREATE,
        "activity_name": "Create",
        "category_uid": CATEGORY_UID,
        "category_name": "Findings",
        "class_uid": CLASS_UID,
        "class_name": "Detection Finding",
        "type_uid": CLASS_UID * 100 + ACTIVITY_CREATE,
        "type_name": "Detection Finding: Create",
        "time": alert.at.millis(),
        "start_time": alert.since.millis(),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": 1,
        "status": "New",
        "is_alert": true,
        "message": title(parcel),
        "confidence_id": confidence_id,
        "confidence": confidence,
        "confidence_score": percent(alert.confidence),
        "metadata": {
            "version": OCSF_VERSION,
            "uid": id,
            "sequence": parcel.sequence,
            "log_name": "ringfence.alert/1",
            "product": ocsf_product(),
        },
        "finding_info": {
            "uid": id,
            "title": title(parcel),
            "desc": alert.why,
            "types": [alert.kind],
            "created_time": alert.at.millis(),
            "first_seen_time": alert.since.millis(),
            "last_seen_time": alert.at.millis(),
            "analytic": {"uid": alert.rule, "name": alert.kind, "type_id": 2, "type": "Behavioral"},
        },
        "remediation": {"desc": alert.remedy},
        "resources": [{"name": alert.subject.name, "type": alert.subject.kind.name(), "uid": alert.subject.name}],
        "evidences": [{"data": {
            "signal": alert.signal,
            "expected": alert.expected,
            "seen": alert.seen,
            "basis": basis(alert.basis),
        }}],
        "unmapped": {"vault": parcel.vault, "ringfence_severity": severity_word(alert.severity)},
    })
}

/// The `product` object of every event's `metadata`: us.
pub fn ocsf_product() -> Value {
    json!({"name": "Ringfence", "vendor_name": "Ringfence", "version": env!("CARGO_PKG_VERSION")})
}

fn severity(severity: Severity) -> (u32, &'static str) {
    match severity {
        Severity::Info => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}

/// The schema leaves the bounds to the producer.
fn confidence(confidence: f64) -> (u32, &'static str) {
    match percent(confidence) {
        0..50 => (1, "Low"),
        50..90 => (2, "Medium"),
        _ => (3, "High"),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100, and NaN becomes 0")]
fn percent(confidence: f64) -> u32 {
    (confidence.clamp(0.0, 1.0) * 100.0).round() as u32
}

fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Observed => "observed",
        Basis::Claimed => "claimed",
        Basis::Both => "both",
    }
}
