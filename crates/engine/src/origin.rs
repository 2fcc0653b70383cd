//! Artifacts from elsewhere: looked at by ranges before their weights are fetched, fetched under pins; compared later in
//! `newer`.
//!
//! The network is spoken to here, in the parent; foreign content is parsed in keyless children all the same, which ask for
//! the pieces that they want (see [`crate::remote`]).

use std::thread;

use ringfence_reach::{Listing, Reach, RemoteFile, Resume, Source};
use ringfence_schema::{
    ArtifactKind, Verdict,
    finding::{Severity, printable},
    report::{FileReport, ScanReport},
};
use ringfence_store::{Cuts, Writer};
use serde_json::json;

use crate::{
    admit::{FILE_BYTES_MAX, Intake},
    error::EngineError,
    files::unread,
    record::OriginRow,
    remote,
    settings::Settings,
    source::Bounded,
    stage::Untrusted,
    vault::{Vault, store_error},
    work::{Desk, Job},
};

/// Most findings that a refusal quotes.
const QUOTED_MAX: usize = 8;

impl Vault<'_> {
    /// Fetches a source into sealed quarantine: pinned, scanned by ranges first, every file compared with the source's hash.
    pub(crate) fn receive_source(&self, intake: &Intake<'_>, source: &Source) -> Result<Untrusted, EngineError> {
        let request = json!({"source": source.to_string(), "reading": intake.reading, "exempt": intake.exempt});
        self.take_in(intake, intake.reading.clone(), request, |writer| {
            let reach = (self.settings.reach)()?;
            self.settings.progress.begin("listing", None);
            let listing = reach.listing(source)?;
            self.settings.progress.end("");
            let is_data = intake.name.kind() == ArtifactKind::Dataset;
            if !is_data && !intake.exempt.no_scan {
                self.look_first(&reach, &listing)?;
            }
            self.fetch(&reach, &listing, writer)?;
            Ok(Some(OriginRow {
                asked: source.to_string(),
                pinned: listing.source.to_string(),
                revision: listing.revision.to_string(),
            }))
        })
    }

    /// Scans what is there by ranges. What is malicious is refused before it is fetched; everything else is scanned again,
    /// whole, in quarantine.
    fn look_first(&self, reach: &Reach, listing: &Listing) -> Result<(), EngineError> {
        let look = Look::at(self.settings, reach, listing)?;
        let report = ScanReport::new(look.reports.into_iter().flatten().collect());
        if report.verdict != Verdict::Malicious {
            return Ok(());
        }
        let bad = report.files.iter().filter(|file| file.verdict == Verdict::Malicious);
        let findings = bad.flat_map(|file| file.findings.iter().map(move |finding| (file, finding)));
        let mut reasons: Vec<String> = findings
            .filter(|(_, finding)| finding.severity >= Severity::High)
            .take(QUOTED_MAX)
            .map(|(file, finding)| format!("{}: {} {}", printable(&file.path, 120), finding.rule, finding.message))
            .collect();
        reasons.push(format!("{} of {} bytes were looked at, nothing was kept", look.fetched, listing.size()));
        Err(EngineError::Refused { gate: "source", subject: listing.source.to_string(), reasons })
    }

    fn fetch(&self, reach: &Reach, listing: &Listing, writer: &mut Writer) -> Result<(), EngineError> {
        let progress = self.settings.progress;
        progress.begin("fetching", Some(listing.size()));
        let mut before = 0;
        for file in &listing.files {
            let (out, mut into) = std::io::pipe().map_err(EngineError::io("pipe"))?;
            let (fetched, stored) = thread::scope(|scope| {
                let fetch = scope.spawn(move || {
                    reach.fetch(file, &mut into, Resume::Start, &mut |bytes| {
                        progress.advance(before + bytes, &file.path);
                    })
                });
                let mut out = Bounded::new(out, FILE_BYTES_MAX);
                let stored = writer.file(&file.path, &mut out, Cuts::Content);
                // A fetch that nobody reads any more must end before it is joined.
                drop(out);
                (fetch.join(), stored)
            });
            let fetched = fetched.map_err(|_| EngineError::incomplete(&file.path, "its thread ended"))??;
            let stored = stored.map_err(|error| store_error(&error))?;
            if stored.sha256 != fetched.sha256 {
                return Err(EngineError::incomplete(&file.path, "what was stored is not what was fetched"));
            }
            before += stored.size;
        }
        progress.end("");
        Ok(())
    }
}

/// Scans what lies at `source` by ranges: nothing is kept, and weights are looked at in samples.
pub fn scan_source(settings: &Settings<'_>, source: &Source) -> Result<ScanReport, EngineError> {
    let reach = (settings.reach)()?;
    settings.progress.begin("listing", None);
    let listing = reach.listing(source)?;
    settings.progress.end("");
    let look = Look::at(settings, &reach, &listing)?;
    settings.progress.note(&format!(
        "looked at  {}  {} of {} bytes were fetched for it",
        listing.source,
        look.fetched,
        listing.size()
    ));
    let files = listing.files.iter().zip(look.reports).map(|(file, report)| {
        let why = "the source does not send parts of it: `ringfence add` fetches it whole";
        let report = report.unwrap_or_else(|| unread(&file.path, file.size.unwrap_or(0), why));
        FileReport { path: format!("{}/{}", listing.source, file.path), ..report }
    });
    Ok(ScanReport::new(files.collect()))
}

/// What a look at a source found.
struct Look {
    /// One for each file of the listing; `None` where the source does not answer for parts.
    reports: Vec<Option<FileReport>>,
    /// Bytes that the look took.
    fetched: u64,
}

impl Look {
    fn at(settings: &Settings<'_>, reach: &Reach, listing: &Listing) -> Result<Self, EngineError> {
        let mut look = Self { reports: Vec::new(), fetched: 0 };
        settings.progress.begin("looking", Some(listing.files.len() as u64));
        for (done, file) in listing.files.iter().enumerate() {
            let report = look.at_file(settings, reach, file)?;
            look.reports.push(report);
            settings.progress.advance(done as u64 + 1, &file.path);
        }
        settings.progress.end("");
        Ok(look)
    }

    fn at_file(
        &mut self,
        settings: &Settings<'_>,
        reach: &Reach,
        file: &RemoteFile,
    ) -> Result<Option<FileReport>, EngineError> {
        let Some(size) = file.size else { return Ok(None) };
        let mut parts = reach.open_range(file)?;
        let job = Job::ScanElsewhere { path: file.path.clone(), size, whole: false };
        let mut report = None;
        // A child that dies, or misbehaves and is cut off, leaves a file that is unread.
        let _ = remote::beside(vec![&mut parts], |theirs| {
            Desk::silent(&settings.program).call(&file.path, &job, theirs, &mut |one| report = Some(one))
        });
        self.fetched += parts.fetched();
        Ok(report.map(|report| FileReport { path: file.path.clone(), ..report }))
    }
}
