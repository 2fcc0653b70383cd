//! Findings as SARIF 2.1.0 for code-scanning services.
//!
//! A result's fingerprint is made of rule, file name, member and message, not of the folder or the byte offset: it stays the
//! same when a tree is scanned from elsewhere or a file grows in front of the place. Results that would share one are counted.
//! A waived finding stays in the log, with a suppression that names the waiver.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    digest::Digest,
    finding::{Finding, Severity},
};

/// Key of our fingerprint; its number changes with how it is made.
const FINGERPRINT: &str = "ringfence/v2";

/// A SARIF log of one run of `ringfence` with `findings`.
pub fn sarif(version: &str, findings: &[Finding]) -> Value {
    let mut rules: BTreeMap<&str, &Finding> = BTreeMap::new();
    for finding in findings {
        let worst = rules.entry(&finding.rule).or_insert(finding);
        if finding.severity > worst.severity {
            *worst = finding;
        }
    }
    let indices: BTreeMap<&str, usize> = rules.keys().enumerate().map(|(index, rule)| (*rule, index)).collect();
    // SARIF §3.27.23: if one result tells its suppressions, all do.
    let any_waived = findings.iter().any(|finding| finding.waived.is_some());
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let results = findings.iter().map(|finding| {
        let fingerprint = fingerprint(finding);
        let count = seen.entry(fingerprint.clone()).or_default();
        *count += 1;
        let mut result = result(finding, &format!("{fingerprint}:{count}"));
        if let Some(fields) = result.as_object_mut() {
            fields
                .insert("ruleIndex".to_owned(), indices.get(finding.rule.as_str()).copied().unwrap_or_default().into());
            if any_waived {
                fields.insert("suppressions".to_owned(), suppressions(finding));
            }
        }
        result
    });
    let results: Vec<Value> = results.collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "ringfence",
                "version": version,
                "rules": rules.values().map(|finding| rule(finding)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Info | Severity::Low => "note",
        Severity::Medium => "warning",
        Severity::High | Severity::Critical => "error",
    }
}

/// What code-scanning services show as the rule, told by its worst finding.
fn rule(finding: &Finding) -> Value {
    // The scale of CVSS, by which services sort.
    let security_severity = match finding.severity {
        Severity::Info => "0.0",
        Severity::Low => "2.0",
        Severity::Medium => "5.0",
        Severity::High => "8.0",
        Severity::Critical => "9.5",
    };
    let mut rule = json!({
        "id": finding.rule,
        "defaultConfiguration": {"level": level(finding.severity)},
        "properties": {"security-severity": security_severity, "tags": ["security"]},
    });
    if let Some(fields) = rule.as_object_mut() {
        let mut text = |name: &str, text: &str| {
            if !text.is_empty() {
                fields.insert(name.to_owned(), json!({"text": text}));
            }
        };
        text("fullDescription", &finding.why);
        text("help", if finding.remedy.is_empty() { &finding.why } else { &finding.remedy });
    }
    rule
}

fn fingerprint(finding: &Finding) -> String {
    let file = finding.place.file.as_deref().unwrap_or_default();
    let name = file.rsplit('/').next().unwrap_or(file);
    let member = finding.place.member.as_deref().unwrap_or_default();
    Digest::of(format!("{}\0{name}\0{member}\0{}", finding.rule, finding.message).as_bytes()).hex()
}

fn suppressions(finding: &Finding) -> Value {
    let waived = finding.waived.iter().map(|waived| {
        let text = format!("{} (waived by {} until {})", waived.reason, waived.by, waived.expires_ms);
        json!({"kind": "external", "status": "accepted", "justification": text,
            "properties": {"waiver": waived.waiver}})
    });
    waived.collect::<Vec<_>>().into()
}

fn result(finding: &Finding, fingerprint: &str) -> Value {
    let mut text = finding.message.clone();
    for part in [&finding.why, &finding.remedy] {
        if !part.is_empty() {
            text.push_str(". ");
            text.push_str(part);
        }
    }
    let mut location = Map::new();
    location.insert("logicalLocations".to_owned(), json!([{"fullyQualifiedName": finding.place.to_string()}]));
    if let Some(file) = &finding.place.file {
        let mut physical = json!({"artifactLocation": {"uri": uri(file)}});
        if let (Some(offset), Some(fields)) = (finding.place.offset, physical.as_object_mut()) {
            let length = finding.place.length.unwrap_or(1);
            fields.insert("region".to_owned(), json!({"byteOffset": offset, "byteLength": length}));
        }
        location.insert("physicalLocation".to_owned(), physical);
    }
    json!({
        "ruleId": finding.rule,
        "level": level(finding.severity),
        "message": {"text": text},
        "locations": [location],
        "partialFingerprints": {FINGERPRINT: fingerprint},
        "properties": {"severity": finding.severity, "evidence": finding.evidence},
    })
}

/// A path as a URI reference (RFC 3986): other characters than unreserved ones and `/` are percent-encoded.
fn uri(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
