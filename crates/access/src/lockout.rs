//! Waiting times after wrong factors: for the account, and for the address that they come from.
//!
//! The times are those of Kanidm's softlock: one second below three failures, three below nine, five below 25, ten below
//! 100, and then until the day ends, so that nobody gets more than a hundred guesses a day at one account (NIST SP
//! 800-63B §5.2.2). An address stands for many people, so there ten failures count as one.
//!
//! [`Lockouts::attempt`] counts an attempt as a failure *before* the factor is checked, and [`Lockouts::succeeded`] takes
//! that back: however many attempts run at the same time, no more of them pass than one after another would.
//!
//! What must stay true: whether an account exists makes no difference here; memory is bounded, and what is forgotten first
//! has the fewest failures, so that a flood of made-up names does not free a name under attack.
//!
//! Absent on purpose: clocks and storage. The state can be written and read; days are those of UTC.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use ringfence_schema::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::{LoginName, NAME_CHARS_MAX};

/// Most accounts that are remembered, and most addresses.
pub const ENTRIES_MAX: usize = 1 << 16;
/// Failures after which an account is shut until the day ends.
pub const FAILURES_A_DAY: u32 = 100;
/// Failures from one address that count as one.
pub const SOURCE_SHARE: u32 = 10;
/// Longest key in bytes: a name, each character of which has at most four.
const KEY_BYTES_MAX: usize = 4 * NAME_CHARS_MAX;
/// Below so many failures, so many milliseconds.
const DELAYS: [(u32, u64); 5] = [(1, 0), (3, 1_000), (9, 3_000), (25, 5_000), (FAILURES_A_DAY, 10_000)];
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// The part of a full table that is forgotten at once.
const FORGOTTEN_SHARE: usize = 16;

/// Where an attempt comes from: an IPv4 address, or the /64 of an IPv6 address, which is what one customer gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The source of `address`; an IPv4 address in IPv6 form is that IPv4 address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & (u128::MAX << 64);
                Self(IpAddr::V6(Ipv6Addr::from_bits(network)))
            }
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

/// Nothing is checked before this moment. It does not say whether the account or the address is shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many wrong attempts: nothing is checked before {until}")]
pub struct Locked {
    /// When it opens.
    pub until: Timestamp,
}

/// An attempt that may be made, and has been counted as failed.
#[must_use = "an attempt that is dropped stays a failure"]
#[derive(Debug, PartialEq, Eq)]
pub struct Attempt {
    account: String,
    source: String,
    /// When the source was open before this attempt.
    source_open_ms: u64,
    /// The source's failures with this one.
    source_failures: u32,
}

/// Failures of one account or source within a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Softlock {
    failures: u32,
    /// The last failure, in milliseconds.
    last_ms: u64,
    /// Shut until then.
    open_ms: u64,
}

impl Softlock {
    /// As it is at `now`: a new day begins at zero.
    fn at(self, now_ms: u64) -> Self {
        if day_end(self.last_ms) <= now_ms { Self::default() } else { self }
    }

    fn failed(self, now_ms: u64, share: u32) -> Self {
        let failures = self.failures.saturating_add(1);
        let counted = failures / share;
        let delay = DELAYS.iter().find(|(below, _)| counted < *below).map(|(_, delay)| now_ms.saturating_add(*delay));
        // No wait goes beyond the day: the count begins anew then.
        let open_ms = delay.unwrap_or(u64::MAX).min(day_end(now_ms));
        Self { failures, last_ms: now_ms, open_ms }
    }
}

fn day_end(now_ms: u64) -> u64 {
    (now_ms / DAY_MS).saturating_add(1).saturating_mul(DAY_MS)
}

type Table = BTreeMap<String, Softlock>;

/// Who and what has to wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Lockouts {
    accounts: Table,
    sources: Table,
}

/// What was stored, not yet held to the limits.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    accounts: Table,
    sources: Table,
}

/// Stored lockouts that are none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {ENTRIES_MAX} entries, or a name of more than {KEY_BYTES_MAX} bytes")]
pub struct NotLockouts;

impl TryFrom<Stored> for Lockouts {
    type Error = NotLockouts;

    fn try_from(stored: Stored) -> Result<Self, NotLockouts> {
        let Stored { accounts, sources } = stored;
        let fits = |table: &Table| table.len() <= ENTRIES_MAX && table.keys().all(|key| key.len() <= KEY_BYTES_MAX);
        if fits(&accounts) && fits(&sources) { Ok(Self { accounts, sources }) } else { Err(NotLockouts) }
    }
}

impl Lockouts {
    /// Asks to check a factor of `account`, whether or not there is such an account. It counts as failed until
    /// [`Lockouts::succeeded`].
    ///
    /// # Errors
    /// [`Locked`]; nothing is counted then.
    pub fn attempt(&mut self, account: &LoginName, source: Source, now: Timestamp) -> Result<Attempt, Locked> {
        let now_ms = now.millis();
        let (account, source) = (account.as_str().to_owned(), source.0.to_string());
        let of_account = self.accounts.get(&account).copied().unwrap_or_default().at(now_ms);
        let of_source = self.sources.get(&source).copied().unwrap_or_default().at(now_ms);
        let open_ms = of_account.open_ms.max(of_source.open_ms);
        if open_ms > now_ms {
            // A clock that was ahead once must not shut anybody out for longer than a day.
            return Err(Locked { until: Timestamp::from_millis(open_ms.min(day_end(now_ms))) });
        }
        let failed = of_source.failed(now_ms, SOURCE_SHARE);
        put(&mut self.accounts, &account, of_account.failed(now_ms, 1), now_ms);
        put(&mut self.sources, &source, failed, now_ms);
        Ok(Attempt { account, source, source_open_ms: of_source.open_ms, source_failures: failed.failures })
    }

    /// The factor was right: the account begins at zero. The source only gets this attempt back, or whoever has one
    /// account could guess at all others for ever.
    pub fn succeeded(&mut self, attempt: Attempt) {
        self.accounts.remove(&attempt.account);
        let Some(of_source) = self.sources.get_mut(&attempt.source) else { return };
        if of_source.failures == attempt.source_failures {
            of_source.open_ms = attempt.source_open_ms;
        }
        of_source.failures = of_source.failures.saturating_sub(1);
        if of_source.failures == 0 {
            self.sources.remove(&attempt.source);
        }
    }

    /// Failures of `account` on the day of `now`.
    pub fn failures(&self, account: &LoginName, now: Timestamp) -> u32 {
        self.accounts.get(account.as_str()).map_or(0, |lock| lock.at(now.millis()).failures)
    }

    /// Accounts and sources that are remembered.
    pub fn len(&self) -> usize {
        self.accounts.len() + self.sources.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn put(table: &mut Table, key: &str, lock: Softlock, now_ms: u64) {
    if table.len() >= ENTRIES_MAX && !table.contains_key(key) {
        table.retain(|_, lock| day_end(lock.last_ms) > now_ms);
    }
    if table.len() >= ENTRIES_MAX && !table.contains_key(key) {
        let mut order: Vec<_> = table.iter().map(|(key, lock)| (lock.failures, lock.last_ms, key.clone())).collect();
        order.sort_unstable();
        for (_, _, key) in order.into_iter().take(ENTRIES_MAX / FORGOTTEN_SHARE) {
            table.remove(&key);
        }
    }
    table.insert(key.to_owned(), lock);
}
