//! Findings as SARIF 2.1.0 for code-scanning services: stable `ruleId`, `partialFingerprints` for matching across uploads.

use serde_json::{Value, json};

use crate::{
    digest::Digest,
    finding::{Finding, Severity},
};

/// A SARIF log of one run of `ringfence` with `findings`.
pub fn sarif(version: &str, findings: &[Finding]) -> Value {
    let mut rules: Vec<&str> = findings.iter().map(|finding| finding.rule.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    let results: Vec<Value> = findings.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "ringfence",
                "version": version,
                "rules": rules.iter().map(|rule| json!({"id": rule})).collect::<Vec<_>>(),
            }},
            "results": results,
        }],
    })
}

fn result(finding: &Finding) -> Value {
    let level = match finding.severity {
        Severity::Info | Severity::Low => "note",
        Severity::Medium => "warning",
        Severity::High | Severity::Critical => "error",
    };
    let file = finding.place.file.as_deref().unwrap_or_default();
    let member = finding.place.member.as_deref().unwrap_or_default();
    let fingerprint = Digest::of(format!("{}\0{file}\0{member}\0{}", finding.rule, finding.message).as_bytes());
    let mut text = finding.message.clone();
    for part in [&finding.why, &finding.remedy] {
        if !part.is_empty() {
            text.push_str(". ");
            text.push_str(part);
        }
    }
    let mut region = json!({});
    if let Some(offset) = finding.place.offset {
        region["byteOffset"] = offset.into();
        region["byteLength"] = finding.place.length.unwrap_or(1).into();
    }
    json!({
        "ruleId": finding.rule,
        "level": level,
        "message": {"text": text},
        "locations": [{
            "physicalLocation": {"artifactLocation": {"uri": file}, "region": region},
            "logicalLocations": [{"fullyQualifiedName": finding.place.to_string()}],
        }],
        "partialFingerprints": {"ringfence/1": fingerprint.hex()},
        "properties": {"severity": finding.severity, "evidence": finding.evidence},
    })
}
