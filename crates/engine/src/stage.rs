//! The stages of the way, as types: each step consumes the one before, so that skipping one does not compile.
//!
//! `Untrusted → Inspected → Admitted → Candidate → Tested → Released`. Fields are private to the engine, there is no
//! `Deserialize`, and a stage is made only by the step that earns it or, after a restart, by [`crate::earn`], which
//! checks signatures, the trail and the subject again.

use ringfence_schema::report::{AttackReport, HardenReport, ScanReport, ScreenReport};

use crate::{record::Version, work::GreyPicture};

/// A stranger's bytes in quarantine: read once, hashed, sealed, not looked into.
#[must_use]
pub struct Untrusted {
    pub(crate) version: Version,
}

/// Looked into by the controls that its kind calls for; not let in yet.
#[must_use]
pub struct Inspected {
    pub(crate) version: Version,
    pub(crate) found: Found,
}

/// What the controls found, for people.
#[derive(Default)]
pub struct Found {
    pub(crate) scan: Option<ScanReport>,
    pub(crate) screen: Option<ScreenReport>,
    pub(crate) pictures: Vec<GreyPicture>,
}

/// Let in by the gate.
#[must_use]
pub struct Admitted {
    pub(crate) version: Version,
    pub(crate) found: Found,
}

/// What a run made of admitted inputs.
#[must_use]
pub struct Candidate {
    pub(crate) version: Version,
    pub(crate) training: Option<HardenReport>,
    pub(crate) observed: Vec<(String, String)>,
}

/// Attacked, with a card.
#[must_use]
pub struct Tested {
    pub(crate) version: Version,
    pub(crate) before: Option<AttackReport>,
    pub(crate) after: AttackReport,
}

/// Let out by the gate.
#[must_use]
pub struct Released {
    pub(crate) version: Version,
}

impl Admitted {
    /// The row behind it.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// What scanning found, where it was scanned.
    pub fn scan(&self) -> Option<&ScanReport> {
        self.found.scan.as_ref()
    }

    /// What screening found, where it was screened.
    pub fn screen(&self) -> Option<&ScreenReport> {
        self.found.screen.as_ref()
    }
}

impl Candidate {
    /// The row behind it.
    pub fn version(&self) -> &Version {
        &self.version
    }
}

impl Released {
    /// The row behind it.
    pub fn version(&self) -> &Version {
        &self.version
    }
}
