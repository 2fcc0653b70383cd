//! Findings and evidence, shown letter by letter: what a stranger put into an artifact never becomes markup.

use std::collections::BTreeMap;

use maud::{Markup, html};
use ringfence_engine::schema::{
    Finding,
    finding::Verdict,
    report::{RecordDecision, ScreenReport},
};

use super::parts::{ROWS_MAX, TEXT_CHARS_MAX, Tone, badge, name, passage, severity, table, verbatim, words};

/// Findings listed in full on one page.
pub const FINDINGS_MAX: usize = 40;

/// A scan's verdict as a badge.
pub fn verdict(verdict: Verdict) -> Markup {
    let tone = match verdict {
        Verdict::Clean => Tone::Good,
        Verdict::Incomplete | Verdict::Suspicious => Tone::Warn,
        Verdict::Malicious => Tone::Bad,
    };
    badge(tone, &verdict.to_string())
}

/// One badge a detector: the family of rules, how many findings, toned by the worst.
pub fn detectors(findings: &[Finding]) -> Markup {
    let mut families: BTreeMap<&str, (usize, Tone)> = BTreeMap::new();
    for finding in findings {
        let family = finding.rule.rsplit_once('-').map_or(finding.rule.as_str(), |(family, _)| family);
        let tone = match finding.severity {
            _ if finding.waived.is_some() => Tone::Plain,
            ringfence_engine::schema::Severity::Critical | ringfence_engine::schema::Severity::High => Tone::Bad,
            ringfence_engine::schema::Severity::Medium => Tone::Warn,
            _ => Tone::Plain,
        };
        let entry = families.entry(family).or_insert((0, Tone::Plain));
        entry.0 += 1;
        if tone == Tone::Bad || (tone == Tone::Warn && entry.1 != Tone::Bad) {
            entry.1 = tone;
        }
    }
    html! {
        @for (family, (count, tone)) in families.iter().take(6) { (badge(*tone, &format!("{family} ×{count}"))) " " }
        @if families.len() > 6 { "+" (families.len() - 6) }
    }
}

/// Findings in full, worst first as they come.
pub fn findings<'a>(all: impl Iterator<Item = &'a Finding>) -> Markup {
    let all: Vec<&Finding> = all.collect();
    html! {
        @for finding in all.iter().take(FINDINGS_MAX) { (one(finding)) }
        @if all.len() > FINDINGS_MAX { p class="quiet" { "… and " (all.len() - FINDINGS_MAX) " findings more; " code { "ringfence show" } " lists them." } }
    }
}

fn one(finding: &Finding) -> Markup {
    let place = finding.place.to_string();
    html! {
        details class="finding" {
            summary {
                (severity(finding.severity)) " " code { (words(&finding.rule, 40)) } " " bdi { (words(&finding.message, 160)) }
                @if finding.waived.is_some() { " " (badge(Tone::Warn, "waived")) }
            }
            p class="quiet" { "at " code { (words(&place, TEXT_CHARS_MAX)) } }
            @if finding.message.chars().count() > 160 { div class="para" { (passage(&finding.message)) } }
            (verbatim("What was seen", &finding.evidence))
            @if !finding.why.is_empty() { div class="para" { b { "Why it matters: " } (passage(&finding.why)) } }
            @if !finding.remedy.is_empty() { div class="para" { b { "What to do: " } (passage(&finding.remedy)) } }
            @if let Some(waiver) = &finding.waived {
                div class="para" { b { "Waived " } "by " (name(&waiver.by)) ": " (passage(&waiver.reason)) }
            }
        }
    }
}

/// What screening found in a dataset.
pub fn screened(report: &ScreenReport) -> Markup {
    let count = |decision| report.decisions.iter().filter(|made| made.decision == decision).count();
    let rows: Vec<Vec<Markup>> = report
        .candidates
        .iter()
        .take(ROWS_MAX / 4)
        .map(|candidate| {
            vec![
                html! { code { (words(&candidate.rule, 40)) } },
                passage(&candidate.description),
                html! { (candidate.records.len()) },
            ]
        })
        .collect();
    html! {
        p { (report.records) " records: " (count(RecordDecision::Filter)) " filtered, " (count(RecordDecision::Review)) " to review, "
            (report.dataset.exact_duplicates) " exact duplicates." }
        @if !rows.is_empty() { (table("Triggers and clusters that explain several records", &["rule", "what it is", "records"], &rows)) }
        @if !report.decisions.is_empty() {
            details {
                summary { "Records and reasons" }
                (table("Records that are not simply admitted", &["record", "decision", "why"], &decisions(report)))
            }
        }
        (findings(report.dataset.findings.iter()))
    }
}

fn decisions(report: &ScreenReport) -> Vec<Vec<Markup>> {
    let row = |made: &ringfence_engine::schema::report::Decision| {
        vec![
            html! { "#" (made.record) },
            html! { @if made.decision == RecordDecision::Filter { (badge(Tone::Bad, "filter")) } @else { (badge(Tone::Warn, "review")) } },
            html! { @for reason in made.reasons.iter().take(4) { p { code { (words(&reason.rule, 40)) } " " bdi { (words(&reason.evidence, 200)) } } } },
        ]
    };
    // The table's own limit says how many more there are, so a few more rows than it shows are enough work.
    let shown = report.decisions.iter().take(DECISIONS_MAX).map(row);
    shown.collect()
}

/// Records listed on one page.
const DECISIONS_MAX: usize = 50;
