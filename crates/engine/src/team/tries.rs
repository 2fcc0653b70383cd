//! Wrong attempts, over a restart too: a server that ends, or is ended, gives nobody new tries.
//!
//! [`Tries`] is [`Lockouts`] in memory and, sealed, in the file `tries` of the vault's folder: read at the first attempt,
//! written with each one before its factor is checked. The names in it are what people typed, whether or not there is
//! somebody of that name, and some of them are passwords in the wrong field; that is why it is sealed, and no row.
//!
//! What must stay true: known and unknown names cost the same; a large table is written less often than a small one, so that
//! a flood of names is not also a flood of bytes.
//!
//! Absent on purpose: an fsync. What the system has survives the process; a machine that loses power forgets seconds, and
//! whoever can do that needs no password. A file that does not open is begun anew, because the other way whoever can
//! damage it would keep everybody out.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use ringfence_access::{
    lockout::{Attempt, Lockouts, Source},
    names::{Alphabet, LoginName},
};
use ringfence_schema::Timestamp;
use ringfence_trust::{entropy::SystemEntropy, seal};

use super::desk::locked;
use crate::{error::EngineError, vault::Vault};

/// Largest file, in bytes: full tables of names of ordinary length.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// Up to so many entries the file is written with each attempt.
const ENTRIES_AT_ONCE: usize = 512;
/// Beyond that, milliseconds between two writings for each thousand entries.
const WRITING_MS_PER_THOUSAND: u64 = 100;
const FILE: &str = "tries";
const PART: &str = ".tries.part";

/// See the module.
#[derive(Default)]
pub(crate) struct Tries {
    lockouts: Lockouts,
    was_read: bool,
    written: Option<Timestamp>,
}

impl Vault<'_> {
    /// Counts an attempt as failed; [`Self::right`] takes that back.
    pub(super) fn attempt(&self, name: &str, address: Option<IpAddr>, now: Timestamp) -> Result<Attempt, EngineError> {
        let name = LoginName::parse(name, Alphabet::Ascii).map_err(|_| EngineError::NotSignedIn)?;
        let source = Source::of(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let mut tries = locked(&self.team.tries);
        if !tries.was_read {
            tries.lockouts = self.read_tries().unwrap_or_default();
            tries.was_read = true;
        }
        let attempt = tries.lockouts.attempt(&name, source, now);
        let attempt = attempt.map_err(|locked| EngineError::Locked { until: locked.until })?;
        self.write_tries(&mut tries, now)?;
        Ok(attempt)
    }

    /// The factor was right. That it was is not worth an error any more.
    pub(super) fn right(&self, attempt: Attempt) {
        let mut tries = locked(&self.team.tries);
        tries.lockouts.succeeded(attempt);
        let _ = self.write_tries(&mut tries, (self.settings.now)());
    }

    fn read_tries(&self) -> Option<Lockouts> {
        let mut sealed = Vec::new();
        let file = fs::File::open(self.settings.vault.join(FILE)).ok()?;
        file.take(FILE_BYTES_MAX).read_to_end(&mut sealed).ok()?;
        let bytes = seal::open_blob(&self.keys.detail, &self.tries_context(), &sealed).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    fn write_tries(&self, tries: &mut Tries, now: Timestamp) -> Result<(), EngineError> {
        let entries = tries.lockouts.len();
        let pause_ms = entries as u64 / 1_000 * WRITING_MS_PER_THOUSAND;
        let is_early = |written: Timestamp| now.millis().saturating_sub(written.millis()) < pause_ms;
        if entries > ENTRIES_AT_ONCE && tries.written.is_some_and(is_early) {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&tries.lockouts).map_err(|error| EngineError::incomplete("tries", error))?;
        let sealed = seal::seal_blob(&self.keys.detail, &mut SystemEntropy::new(), &self.tries_context(), &bytes)
            .map_err(|error| EngineError::incomplete("tries", error))?;
        replace(&self.settings.vault, &sealed)?;
        tries.written = Some(now);
        Ok(())
    }

    fn tries_context(&self) -> [&[u8]; 2] {
        [b"ringfence.tries/1", self.id().as_bytes()]
    }
}

/// Puts `bytes` in the place of the file, whole or not at all.
fn replace(folder: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    let (part, file) = (folder.join(PART), folder.join(FILE));
    let written = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
    written.and_then(|mut part| part.write_all(bytes)).map_err(EngineError::io(&part))?;
    fs::rename(&part, &file).map_err(EngineError::io(&file))
}
