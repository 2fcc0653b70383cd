//! Reading what the vault holds: decided and recorded before anybody sees anything, and kept in memory as long as it is true.
//!
//! * [`Vault::look`] waits for its record. [`Vault::glance`] does not: it hands the record over and has somebody told, so
//!   that thousands of readers need no thread each.
//! * [`Vault::listed`]: every version, read again only when the root over the deciding rows is another one.
//!
//! What must stay true: nothing is shown before the record of it is on disk; what is kept in memory is shown only where the
//! trail says that the rows are still those that it was read from.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use ringfence_access::{Action, Decision, Facts, Resource};
use ringfence_catalog::{CatalogError, Record, Recorded, Table};
use ringfence_schema::{Digest, trail::EntryKind};
use serde_json::json;

use crate::{
    act::{Act, Reach},
    error::EngineError,
    fields::Fields,
    record::Version,
    team::{Approval, desk::locked},
    vault::{Core, Vault, catalog_error},
};

/// That somebody looked, on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked(Recorded);

/// What became of [`Vault::glance`].
#[derive(Debug)]
pub enum Glance {
    /// The record is on its way. Where there is a [`Due`], it is to be dropped soon, where waiting does no harm.
    Handed(Option<Due>),
    /// It is refused, or memory alone does not tell: ask [`Vault::look`].
    Aside,
}

/// Records that were handed over. Dropping this writes them, and waits for the disk.
pub struct Due(Arc<Core>);

impl fmt::Debug for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Due")
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        // What becomes of them is told to whoever handed them over.
        let _ = self.0.catalog.take_along();
    }
}

/// The versions as they were read last, and the root over the deciding rows at that moment.
#[derive(Default)]
pub(crate) struct Listed(Mutex<Option<(Digest, Arc<[Version]>)>>);

impl Listed {
    fn at(&self, state: Digest) -> Option<Arc<[Version]>> {
        locked(&self.0).as_ref().filter(|(read, _)| *read == state).map(|(_, versions)| versions.clone())
    }
}

impl Vault<'_> {
    /// Decides whether the caller may look at `what`, and records that they did before they see any of it: names, versions,
    /// reports, people, the trail. In a vault of one person nothing is recorded: there is nobody to tell it of.
    pub fn look(&self, what: &str) -> Result<(), EngineError> {
        if !self.is_shared() {
            return Ok(());
        }
        let (act, decisions, _) = self.judged(looking(what))?;
        let record = self.record_of(&act, &decisions)?;
        let index = self.catalog.record(record).map_err(|error| catalog_error(&error))?;
        self.follow(index)
    }

    /// The same without waiting for the disk: `tell` is called when the record is there, or cannot be. It must not wait, nor
    /// use the vault.
    ///
    /// # Errors
    /// Where it cannot be found out who the caller is, or the record cannot be made; `tell` is not called then.
    pub fn glance(
        &self,
        what: &str,
        tell: impl FnOnce(Result<Looked, EngineError>) + Send + 'static,
    ) -> Result<Glance, EngineError> {
        let is_plain = self.is_shared()
            && self.root.epoch() == self.current_root().epoch()
            && self.caller.approval == Approval::Refuse;
        let mut act = looking(what);
        let Some(decisions) = (if is_plain { self.allowed(&mut act)? } else { None }) else {
            return Ok(Glance::Aside);
        };
        let record = self.record_of(&act, &decisions)?;
        let tell = Box::new(move |recorded: Result<Recorded, CatalogError>| {
            tell(recorded.map(Looked).map_err(|error| catalog_error(&error)));
        });
        let is_first = self.catalog.hand(record, tell).map_err(|error| catalog_error(&error))?;
        Ok(Glance::Handed(is_first.then(|| Due(self.core.clone()))))
    }

    /// What is due after a look that was told to be recorded, before what was looked at is shown.
    pub fn looked(&self, looked: &Looked) -> Result<(), EngineError> {
        self.follow(looked.0.index)
    }

    fn record_of(&self, act: &Act, decisions: &[Decision]) -> Result<Record, EngineError> {
        self.draft(EntryKind::Access, act, None, Fields::of_act(act, decisions)?)
    }

    /// Every version of every artifact, sorted by artifact and version.
    pub fn versions(&self) -> Result<Vec<Version>, EngineError> {
        self.listed().map(|versions| versions.to_vec())
    }

    /// The same, shared with whoever else asked since something changed.
    pub fn listed(&self) -> Result<Arc<[Version]>, EngineError> {
        let read = self.catalog.read(|view| {
            let state = view.state()?;
            match state.and_then(|state| self.listed.at(state)) {
                Some(versions) => Ok((state, Ok(versions))),
                None => Ok((state, Err(view.rows(Table::Ref)?))),
            }
        });
        let (state, found) = read.map_err(|error: CatalogError| catalog_error(&error))?;
        let rows = match found {
            Ok(versions) => return Ok(versions),
            Err(rows) => rows,
        };
        let versions = rows.iter().map(|row| self.open_version(&row.key, &row.value));
        let mut versions = versions.collect::<Result<Vec<Version>, _>>()?;
        versions.sort_by(|a, b| (&a.artifact, a.version).cmp(&(&b.artifact, b.version)));
        let versions: Arc<[Version]> = versions.into();
        *locked(&self.listed.0) = state.map(|state| (state, versions.clone()));
        Ok(versions)
    }

    /// The same as it was when somebody looked, if memory has it and nothing else is due.
    pub fn listed_at(&self, looked: &Looked) -> Option<Arc<[Version]>> {
        self.listed.at(looked.0.state).filter(|_| !self.lags(looked.0.index))
    }
}

fn looking(what: &str) -> Act {
    Act {
        action: Action::Read,
        resources: vec![Resource::Vault],
        facts: Facts::default(),
        request: json!({"what": what}),
        subject: what.to_owned(),
        reach: Reach::Inside,
    }
}
