//! A scan as JUnit XML, for pipelines that show test results: one suite, one case per file.
//!
//! A file with standing findings at or above the threshold fails; one that could not be read wholly is an error; waived
//! findings are told as output. Text is limited to what XML 1.0 can hold.

use crate::{
    finding::{Finding, Severity, Verdict},
    report::{FileReport, ScanReport},
};

/// `report` as JUnit XML; findings from `fail_on` upwards fail their file unless they are waived.
pub fn junit(report: &ScanReport, fail_on: Severity) -> String {
    let cases: Vec<(String, Outcome)> = report.files.iter().map(|file| case(file, fail_on)).collect();
    let count = |wanted: Outcome| cases.iter().filter(|(_, outcome)| *outcome == wanted).count();
    let totals = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"0\"",
        cases.len(),
        count(Outcome::Failure),
        count(Outcome::Error)
    );
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    xml.push_str(&format!("<testsuites {totals}>\n  <testsuite name=\"ringfence scan\" {totals}>\n"));
    for (case, _) in &cases {
        xml.push_str(case);
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Pass,
    Failure,
    Error,
}

fn case(file: &FileReport, fail_on: Severity) -> (String, Outcome) {
    let (waived, standing): (Vec<&Finding>, Vec<&Finding>) =
        file.findings.iter().partition(|finding| finding.waived.is_some());
    let failing: Vec<&Finding> = standing.into_iter().filter(|finding| finding.severity >= fail_on).collect();
    let mut xml =
        format!("    <testcase name=\"{}\" classname=\"ringfence.{}\">\n", escaped(&file.path), escaped(&file.format));
    let mut outcome = Outcome::Pass;
    if file.verdict == Verdict::Incomplete {
        outcome = Outcome::Error;
        let lines: Vec<String> = file.findings.iter().map(line).collect();
        xml.push_str(&format!(
            "      <error type=\"incomplete\" message=\"not everything could be read\">{}</error>\n",
            escaped(&lines.join("\n"))
        ));
    } else if let Some(worst) = failing.iter().max_by_key(|finding| finding.severity) {
        outcome = Outcome::Failure;
        let lines: Vec<String> = failing.iter().map(|finding| line(finding)).collect();
        xml.push_str(&format!(
            "      <failure type=\"{}\" message=\"{}\">{}</failure>\n",
            escaped(&worst.rule),
            escaped(&worst.message),
            escaped(&lines.join("\n"))
        ));
    }
    if !waived.is_empty() {
        let lines = waived.iter().filter_map(|finding| {
            let waiver = finding.waived.as_ref()?;
            Some(format!("{}\nwaived by {} until {}: {}", line(finding), waiver.by, waiver.expires_ms, waiver.reason))
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        xml.push_str(&format!("      <system-out>{}</system-out>\n", escaped(&text)));
    }
    xml.push_str("    </testcase>\n");
    (xml, outcome)
}

fn line(finding: &Finding) -> String {
    let mut text = format!("{} {}: {} ({})", finding.severity, finding.rule, finding.message, finding.place);
    for part in [&finding.why, &finding.remedy] {
        if !part.is_empty() {
            text.push_str("\n  ");
            text.push_str(part);
        }
    }
    text
}

/// Text for elements and attributes; what XML 1.0 §2.2 cannot hold becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\r' => out.push_str("&#13;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
    out
}
