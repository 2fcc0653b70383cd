//! Collects findings and what was read, and turns them into a report.

use ringfence_schema::{Finding, Place, Severity, Verdict, finding::printable, report::FileReport};

use crate::{
    Limits,
    pickle::Draft,
    rules::{Rule, id},
};

/// Longest message, in characters.
const MESSAGE_CHARS_MAX: usize = 300;
/// Longest line of evidence, in characters.
const EVIDENCE_CHARS_MAX: usize = 600;
/// Longest member name in a place, in characters.
const MEMBER_CHARS_MAX: usize = 200;

/// One scan in progress.
pub(crate) struct Audit<'l> {
    pub(crate) limits: &'l Limits,
    path: String,
    members: Vec<String>,
    findings: Vec<Finding>,
    verdict: Verdict,
    overflow: bool,
    /// Bytes inflated so far.
    pub(crate) inflated: u64,
    /// Size of the whole file.
    pub(crate) size: u64,
    /// Bytes looked at so far, those of parts that overlap as often as they were.
    pub(crate) looked: u64,
    /// Bytes of weights searched so far.
    pub(crate) searched: u64,
    /// Whether an archive was called a bomb: of what expands only samples are looked at from then on.
    pub(crate) is_bomb: bool,
}

impl<'l> Audit<'l> {
    pub(crate) fn new(path: &str, limits: &'l Limits) -> Self {
        Self {
            limits,
            path: path.to_owned(),
            members: Vec::new(),
            findings: Vec::new(),
            verdict: Verdict::Clean,
            overflow: false,
            inflated: 0,
            size: 0,
            looked: 0,
            searched: 0,
            is_bomb: false,
        }
    }

    /// How deep in archives the scan is.
    pub(crate) fn depth(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    /// Whether the content's name, of the file or of the innermost member, ends with `suffix`. Only for what takes effect
    /// by its name alone.
    pub(crate) fn is_named(&self, suffix: &str) -> bool {
        let name = self.members.last().unwrap_or(&self.path);
        name.len() >= suffix.len()
            && name.as_bytes().iter().rev().zip(suffix.as_bytes().iter().rev()).all(|(a, b)| a.eq_ignore_ascii_case(b))
    }

    /// Findings so far.
    pub(crate) fn count(&self) -> usize {
        self.findings.len()
    }

    /// Does `work` inside the member `name`.
    pub(crate) fn within<T>(&mut self, name: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        self.members.push(printable(name, MEMBER_CHARS_MAX));
        let result = work(self);
        self.members.pop();
        result
    }

    /// Adds a finding of `rule`.
    pub(crate) fn add(&mut self, rule: &'static Rule, message: &str, offset: Option<u64>, evidence: &[String]) {
        self.verdict = self.verdict.and(rule.verdict);
        if self.findings.len() >= self.limits.findings_max {
            self.overflow = true;
            return;
        }
        let evidence: Vec<String> = evidence.iter().map(|line| printable(line, EVIDENCE_CHARS_MAX)).collect();
        self.findings.push(Finding {
            rule: rule.id.to_owned(),
            severity: rule.severity,
            message: printable(message, MESSAGE_CHARS_MAX),
            place: Place {
                file: Some(self.path.clone()),
                member: (!self.members.is_empty()).then(|| self.members.join("!")),
                offset,
                ..Place::default()
            },
            evidence,
            why: rule.why.to_owned(),
            remedy: rule.remedy.to_owned(),
            waived: None,
        });
    }

    /// Adds a finding without evidence of its own.
    pub(crate) fn note(&mut self, rule: &'static Rule, message: &str, offset: Option<u64>) {
        self.add(rule, message, offset, &[]);
    }

    /// Adds what a pickle does; `shift` turns its offsets into those of the member.
    pub(crate) fn drafts(&mut self, drafts: &[Draft], overflow: bool) {
        for draft in drafts {
            self.add(draft.rule, &draft.message, Some(draft.offset), &draft.evidence);
        }
        self.overflow |= overflow;
    }

    /// The report; findings worst first, then by place.
    pub(crate) fn report(mut self, format: &str, size: u64) -> FileReport {
        if self.overflow {
            self.members.clear();
            self.findings.truncate(self.limits.findings_max.saturating_sub(1));
            self.note(id::GEN_OVERFLOW, "more findings than are kept", None);
        }
        let place = |finding: &Finding| (finding.place.member.clone(), finding.place.offset, finding.rule.clone());
        self.findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), place(finding)));
        debug_assert!(self.verdict != Verdict::Clean || self.findings.iter().all(|f| f.severity <= Severity::Low));
        FileReport { path: self.path, format: format.to_owned(), verdict: self.verdict, size, findings: self.findings }
    }
}
