//! How often: the generic cell rate algorithm (ITU-T I.371, annex A), one number a key.
//!
//! For each key stands the moment at which its bucket will be empty again. A request adds its weight times the interval; it
//! is refused if that would lie further ahead than the burst allows. The table is bounded: keys without debt go first,
//! and then the one with the least.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Most keys in a shard.
const KEYS_MAX: usize = 2_048;
/// Shards, so that cores do not wait for each other.
const SHARDS: usize = 16;
/// Bits of an IPv6 address that name a customer's network.
const IPV6_PREFIX_BITS: u32 = 64;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second, in the long run; at least one.
    pub per_second: u32,
    /// Requests at once, after a pause; at least one.
    pub burst: u32,
}

impl Rate {
    /// Requests of an address: every page and its parts many times over, and a script that is in a hurry.
    pub const ADDRESS: Self = Self { per_second: 200, burst: 600 };
    /// Requests of a principal, from whatever addresses.
    pub const PRINCIPAL: Self = Self { per_second: 100, burst: 400 };

    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }
}

/// The buckets of all keys of one sort.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    epoch: Instant,
    hasher: RandomState,
    shards: [Mutex<HashMap<K, Duration>>; SHARDS],
}

impl<K: Hash + Eq + Copy> Buckets<K> {
    /// Empty ones; `now` is when their time begins.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, epoch: now, hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Takes `weight` requests for `key`, or says how long to wait. A weight over the burst counts as the whole burst.
    pub fn take(&self, key: K, weight: u32, now: Instant) -> Result<(), Duration> {
        let interval = self.rate.interval();
        let tolerance = interval * self.rate.burst.max(1);
        let cost = interval * weight.min(self.rate.burst.max(1));
        let now = now.saturating_duration_since(self.epoch);
        let at = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        let Some(shard) = self.shards.get(at) else { return Ok(()) };
        let mut keys = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = keys.get(&key).copied().unwrap_or_default().max(now);
        let then = empty.saturating_add(cost);
        if let Some(wait) = then.checked_sub(now.saturating_add(tolerance)).filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        if keys.len() >= KEYS_MAX && !keys.contains_key(&key) {
            make_room(&mut keys, now);
        }
        keys.insert(key, then);
        Ok(())
    }

    /// Keys that are held, for the tests and the figures.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most keys that are ever held.
    pub const fn capacity() -> usize {
        KEYS_MAX * SHARDS
    }
}

fn make_room<K: Hash + Eq + Copy>(keys: &mut HashMap<K, Duration>, now: Duration) {
    keys.retain(|_, empty| *empty > now);
    if keys.len() >= KEYS_MAX
        && let Some(least) = keys.iter().min_by_key(|(_, empty)| **empty).map(|(key, _)| *key)
    {
        keys.remove(&least);
    }
}

/// The key of an address: IPv4 by itself, IPv6 by its network, because a customer has 2⁶⁴ addresses of it.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let mask = u128::MAX << (128 - IPV6_PREFIX_BITS);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}
