//! The team in memory: its rows as they were read last, waiting times, ceremonies under way, and a limit on hashing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use ringfence_access::{Custody, PolicyDiff};
use ringfence_catalog::CatalogError;
use ringfence_schema::{Digest, Timestamp};
use ringfence_trust::factor::token::TokenId;

use super::{device::Devices, federated::Departures, login::Ceremonies, rows::Members, tries::Tries};
use crate::{
    error::EngineError,
    vault::{Vault, catalog_error},
};

/// How long rows that were read are taken for current, in milliseconds, where another process may write.
pub const FRESH_MS: u64 = 250;
/// Passwords that are hashed at the same time; each takes 19 MiB and some 20 ms of a core.
pub const HASHES_AT_ONCE: usize = 2;
/// Most who wait for their turn to hash.
const HASHES_WAITING_MAX: usize = 64;

/// Digests of an older and a newer set of policies, and in how many hands the vault is.
pub(crate) type Compared = (Digest, Digest, Custody);

/// See the module.
#[derive(Default)]
pub(crate) struct TeamDesk {
    loaded: Mutex<Option<Loaded>>,
    pub(crate) tries: Mutex<Tries>,
    pub(crate) ceremonies: Mutex<Ceremonies>,
    pub(crate) devices: Mutex<Devices>,
    pub(crate) departures: Mutex<Departures>,
    /// When each session was last seen.
    seen: Mutex<BTreeMap<TokenId, Timestamp>>,
    hashing: Hashing,
    /// The newest differences between policies: each takes seconds, and one change asks for its own several times.
    pub(crate) diffs: Mutex<Vec<(Compared, PolicyDiff)>>,
    /// Whoever uses something up (a code, a counter, an invitation) holds this from reading the row to storing it.
    factors: Mutex<()>,
}

struct Loaded {
    members: Arc<Members>,
    /// Root of the deciding rows when they were read.
    state: Option<Digest>,
    checked: Timestamp,
}

#[derive(Default)]
struct Hashing {
    /// How many hash, and how many wait.
    now: Mutex<(usize, usize)>,
    free: Condvar,
}

/// A turn to hash.
pub(crate) struct Turn<'a>(&'a Hashing);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        locked(&self.0.now).0 -= 1;
        self.0.free.notify_one();
    }
}

impl TeamDesk {
    /// Waits for a turn to hash a password.
    pub(crate) fn hashing(&self) -> Result<Turn<'_>, EngineError> {
        let mut now = locked(&self.hashing.now);
        if now.1 >= HASHES_WAITING_MAX {
            return Err(EngineError::Busy { what: "too many logins at once" });
        }
        now.1 += 1;
        while now.0 >= HASHES_AT_ONCE {
            now = self.hashing.free.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
        now.1 -= 1;
        now.0 += 1;
        Ok(Turn(&self.hashing))
    }

    /// The turn to use something up.
    pub(crate) fn factor_turn(&self) -> MutexGuard<'_, ()> {
        locked(&self.factors)
    }

    /// The rows have changed: they are read again when they are needed next.
    pub(crate) fn forget(&self) {
        *locked(&self.loaded) = None;
    }

    /// Notes that a session is seen now, if it is `alive` since it was seen last; `first` where this process has not seen
    /// it yet. What was idle for too long does not come to life by being asked for again.
    pub(crate) fn touch(
        &self,
        id: TokenId,
        first: Timestamp,
        now: Timestamp,
        alive: impl Fn(Timestamp) -> bool,
    ) -> bool {
        let mut seen = locked(&self.seen);
        let last = seen.get(&id).copied().unwrap_or(first).max(first);
        let alive = alive(last);
        if alive {
            seen.insert(id, now);
        }
        alive
    }

    /// When a session was last seen, `first` where this process has not seen it.
    pub(crate) fn last_seen(&self, id: TokenId, first: Timestamp) -> Timestamp {
        locked(&self.seen).get(&id).copied().unwrap_or(first).max(first)
    }

    /// A session is over.
    pub(crate) fn unseen(&self, id: TokenId) {
        locked(&self.seen).remove(&id);
    }
}

impl Vault<'_> {
    /// Everybody, at most [`FRESH_MS`] old.
    pub(crate) fn members(&self) -> Result<Arc<Members>, EngineError> {
        let now = (self.settings.now)();
        let mut loaded = locked(&self.team.loaded);
        if let Some(held) = loaded.as_mut() {
            let age = now.millis().checked_sub(held.checked.millis());
            if age.is_some_and(|age| age < FRESH_MS) {
                return Ok(held.members.clone());
            }
            if held.state == self.state_root()? {
                held.checked = now;
                return Ok(held.members.clone());
            }
        }
        // The root is read first: rows that are newer than it are read again next time, older ones never stay.
        let state = self.state_root()?;
        let members = Arc::new(self.read_members()?);
        self.follow_policy(members.policy.as_ref())?;
        *loaded = Some(Loaded { members: members.clone(), state, checked: now });
        Ok(members)
    }

    /// Everybody as of now.
    pub(crate) fn members_now(&self) -> Result<Arc<Members>, EngineError> {
        if let Some(held) = locked(&self.team.loaded).as_mut() {
            held.checked = Timestamp::from_millis(0);
        }
        self.members()
    }

    /// Root of the deciding rows, as the newest entry has it.
    fn state_root(&self) -> Result<Option<Digest>, EngineError> {
        self.catalog.read(|view| view.state()).map_err(|error: CatalogError| catalog_error(&error))
    }
}

/// The lock, whatever became of whoever held it: each holder leaves what it guards whole.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
