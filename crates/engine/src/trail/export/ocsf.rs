//! API Activity (class 6003) of the Open Cybersecurity Schema Framework.
//!
//! An intent, its outcome and a denial are events of their own, as they are entries of their own; `metadata.correlation_uid`
//! joins an outcome to its intent.

use ringfence_reach::sink::encode::{OCSF_VERSION, ocsf_product};
use ringfence_schema::{
    Reference,
    finding::printable,
    trail::{Entry, EntryKind, Outcome},
};
use serde_json::{Value, json};

use super::{TEXT_CHARS_MAX, reason, sentence};
use crate::trail::{Decided, ShownEntry};

/// `Application Activity`.
const CATEGORY_UID: u32 = 6;
/// `API Activity`.
const CLASS_UID: u32 = 6003;
/// An activity that the schema has no number for.
const ACTIVITY_OTHER: u32 = 99;

/// The entry as an event.
pub(super) fn event(shown: &ShownEntry) -> Value {
    let entry = &shown.entry;
    let (activity_id, activity) = activity(&entry.action);
    let (status_id, status) = status(entry);
    let (severity_id, severity) = severity(entry);
    let uid = |index: u64| format!("{}/{index}", entry.vault);
    let subject = printable(shown.subject(), TEXT_CHARS_MAX);
    let mut event = json!({
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": CATEGORY_UID,
        "category_name": "Application Activity",
        "class_uid": CLASS_UID,
        "class_name": "API Activity",
        "type_uid": CLASS_UID * 100 + activity_id,
        "type_name": format!("API Activity: {activity}"),
        "time": entry.time.millis(),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "status_code": shown.word(),
        "message": sentence(shown),
        "metadata": {
            "version": OCSF_VERSION,
            "uid": uid(shown.index),
            "correlation_uid": uid(entry.of.unwrap_or(shown.index)),
            "sequence": shown.index,
            "log_name": "ringfence.trail/1",
            "product": ocsf_product(),
        },
        "actor": {"user": {"uid": entry.actor}},
        "api": {"operation": entry.action, "service": {"name": "ringfence"}},
        "src_endpoint": {"svc_name": "ringfence", "uid": entry.vault},
        "unmapped": {
            "index": shown.index,
            "leaf": shown.leaf,
            "kind": entry.kind,
            "decision": Decided::of(entry).word(),
            "state": entry.state,
        },
    });
    if let Value::Object(fields) = &mut event {
        if !subject.is_empty() {
            fields.insert("resources".to_owned(), json!([{"name": subject, "type": resource(shown.subject())}]));
        }
        let reason = reason(shown);
        if !reason.is_empty() {
            fields.insert("status_detail".to_owned(), json!(reason));
        }
    }
    event
}

fn activity(action: &str) -> (u32, String) {
    match action {
        "init" | "receive" | "release" | "raise" => (1, "Create".to_owned()),
        "inspect" | "read" | "export" | "verify" => (2, "Read".to_owned()),
        "admit" | "restore" | "review" | "configure" | "acknowledge" => (3, "Update".to_owned()),
        "destroy" => (4, "Delete".to_owned()),
        other => (ACTIVITY_OTHER, printable(other, TEXT_CHARS_MAX)),
    }
}

/// What kind of thing `subject` names.
fn resource(subject: &str) -> String {
    let reference: Result<Reference, _> = subject.parse();
    reference.map_or_else(|_| "other".to_owned(), |reference| reference.artifact.kind().to_string())
}

fn status(entry: &Entry) -> (u32, &'static str) {
    match (entry.kind, entry.outcome) {
        (EntryKind::Intent, _) => (99, "Intended"),
        (EntryKind::Outcome, Some(Outcome::Unknown) | None) => (0, "Unknown"),
        _ if Decided::of(entry) == Decided::Allowed => (1, "Success"),
        _ => (2, "Failure"),
    }
}

fn severity(entry: &Entry) -> (u32, &'static str) {
    match (Decided::of(entry), entry.outcome) {
        (Decided::Allowed, _) => (1, "Informational"),
        (Decided::Denied, _) | (Decided::Failed, Some(Outcome::Unknown) | None) => (3, "Medium"),
        (Decided::Failed, Some(_)) => (2, "Low"),
    }
}
