//! Waiting times, by an injected clock.

use std::{collections::BTreeSet, net::IpAddr};

use proptest::prelude::*;
use ringfence_access::{
    lockout::{ENTRIES_MAX, FAILURES_A_DAY, Locked, Lockouts, SOURCE_SHARE, Source},
    names::{Alphabet, LoginName},
};
use ringfence_schema::Timestamp;

const DAY_MS: u64 = 86_400_000;
/// Noon of some day.
const NOON_MS: u64 = 20_000 * DAY_MS + DAY_MS / 2;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn name(name: &str) -> LoginName {
    LoginName::parse(name, Alphabet::Ascii).unwrap()
}

fn source(address: &str) -> Source {
    Source::of(address.parse::<IpAddr>().unwrap())
}

/// Another address for every number.
fn elsewhere(number: u32) -> Source {
    Source::of(IpAddr::from(number.to_be_bytes()))
}

#[test]
fn the_table_of_waiting_times() {
    let mut lockouts = Lockouts::default();
    let ann = name("ann");
    let mut now = NOON_MS;
    let mut waits = Vec::new();
    for number in 0..FAILURES_A_DAY {
        // Each from another address, so that only the account counts.
        let _ = lockouts.attempt(&ann, elsewhere(number), at(now)).unwrap();
        let Err(Locked { until }) = lockouts.attempt(&ann, elsewhere(number), at(now)) else { panic!("{number}") };
        assert!(lockouts.attempt(&ann, elsewhere(0), at(until.millis() - 1)).is_err(), "{number}");
        waits.push(until.millis() - now);
        now = until.millis();
    }
    assert_eq!(lockouts.failures(&ann, at(now - 1)), FAILURES_A_DAY);
    let seconds: Vec<_> = [(2, 1_000), (6, 3_000), (16, 5_000), (75, 10_000)]
        .into_iter()
        .flat_map(|(count, wait)| std::iter::repeat_n(wait, count))
        .collect();
    assert_eq!(waits.split_last().unwrap().1, seconds);
    assert_eq!(now, 20_001 * DAY_MS, "then until the day ends");
    let _ = lockouts.attempt(&ann, elsewhere(0), at(now)).unwrap();
    assert_eq!(lockouts.failures(&ann, at(now)), 1, "a new day begins at zero");
}

#[test]
fn a_right_factor_clears_the_account() {
    let mut lockouts = Lockouts::default();
    let (ann, home) = (name("ann"), source("192.0.2.1"));
    let mut now = NOON_MS;
    for _ in 0..5 {
        let _ = lockouts.attempt(&ann, home, at(now)).unwrap();
        now += 3_000;
    }
    let attempt = lockouts.attempt(&ann, home, at(now)).unwrap();
    lockouts.succeeded(attempt);
    assert_eq!(lockouts.failures(&ann, at(now)), 0);
    assert!(lockouts.attempt(&ann, home, at(now)).is_ok(), "at once");
}

#[test]
fn attempts_at_the_same_time_are_attempts_one_after_another() {
    let mut lockouts = Lockouts::default();
    let ann = name("ann");
    let passed = (0..1_000).filter(|number| lockouts.attempt(&ann, elsewhere(*number), at(NOON_MS)).is_ok()).count();
    assert_eq!(passed, 1);
}

#[test]
fn one_address_guessing_at_many_accounts_waits() {
    let mut lockouts = Lockouts::default();
    let bad = source("198.51.100.7");
    let mut now = NOON_MS;
    let mut passed = 0;
    // As fast as it is let, for an hour.
    for number in 0..100_000 {
        match lockouts.attempt(&name(&format!("n{number}")), bad, at(now)) {
            Ok(_) => passed += 1,
            Err(Locked { until }) => now = until.millis(),
        }
        if now >= NOON_MS + DAY_MS / 2 {
            break;
        }
    }
    assert_eq!(passed, FAILURES_A_DAY * SOURCE_SHARE);
    // Having an account of one's own does not help: success gives back that attempt alone.
    let mut lockouts = Lockouts::default();
    for number in 0..SOURCE_SHARE {
        let _ = lockouts.attempt(&name(&format!("n{number}")), bad, at(NOON_MS)).unwrap();
        if number + 1 < SOURCE_SHARE {
            let own = lockouts.attempt(&name("own"), bad, at(NOON_MS)).unwrap();
            lockouts.succeeded(own);
        }
    }
    assert!(lockouts.attempt(&name("own"), bad, at(NOON_MS)).is_err());
    assert!(lockouts.attempt(&name("own"), elsewhere(1), at(NOON_MS)).is_ok(), "from another address");
}

#[test]
fn a_source_is_what_one_customer_has() {
    assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
    assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
    assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
}

#[test]
fn a_clock_that_was_ahead_shuts_nobody_out_for_long() {
    let mut lockouts = Lockouts::default();
    let ann = name("ann");
    let ahead = NOON_MS + 400 * DAY_MS;
    let mut now = ahead;
    for number in 0..FAILURES_A_DAY {
        let _ = lockouts.attempt(&ann, elsewhere(number), at(now)).unwrap();
        now += 10_000;
    }
    let Err(Locked { until }) = lockouts.attempt(&ann, elsewhere(0), at(NOON_MS)) else { panic!() };
    assert_eq!(until, at(20_001 * DAY_MS));
}

#[test]
fn a_flood_of_names_is_bounded_and_does_not_free_a_name_under_attack() {
    let mut lockouts = Lockouts::default();
    let ann = name("ann");
    for number in 0..5 {
        let _ = lockouts.attempt(&ann, elsewhere(number), at(NOON_MS + u64::from(number) * 3_000)).unwrap();
    }
    let later = NOON_MS + 60_000;
    for number in 0..u32::try_from(ENTRIES_MAX).unwrap() + 10_000 {
        let _ = lockouts.attempt(&name(&format!("n{number}")), elsewhere(1_000 + number), at(later)).unwrap();
        assert!(lockouts.len() <= 2 * ENTRIES_MAX);
    }
    assert_eq!(lockouts.failures(&ann, at(later)), 5);
    // What is over is forgotten first.
    let tomorrow = at(later + DAY_MS);
    let _ = lockouts.attempt(&name("zoe"), elsewhere(7), tomorrow).unwrap();
    assert!(lockouts.len() <= 2 * ENTRIES_MAX);
}

#[test]
fn the_state_can_be_written_and_read() {
    let mut lockouts = Lockouts::default();
    let _ = lockouts.attempt(&name("ann"), source("2001:db8::1"), at(NOON_MS)).unwrap();
    let text = serde_json::to_string(&lockouts).unwrap();
    assert_eq!(serde_json::from_str::<Lockouts>(&text).unwrap(), lockouts);
    insta::assert_snapshot!("lockouts", text);
    let long = text.replace("ann", &"a".repeat(300));
    assert!(serde_json::from_str::<Lockouts>(&long).is_err());
}

#[test]
fn stored_keys_are_as_long_as_names_can_be_and_no_longer() {
    let reads = |accounts: usize, sources: usize| {
        let table = |bytes: usize| format!(r#"{{"{}":{{"failures":1,"last_ms":0,"open_ms":0}}}}"#, "a".repeat(bytes));
        let text = format!(r#"{{"accounts":{},"sources":{}}}"#, table(accounts), table(sources));
        serde_json::from_str::<Lockouts>(&text).is_ok()
    };
    // 64 characters of four bytes.
    assert!(reads(256, 256));
    assert!(!reads(257, 1));
    assert!(!reads(1, 257));
}

#[test]
fn accounts_and_sources_are_counted() {
    let mut lockouts = Lockouts::default();
    let home = source("192.0.2.1");
    assert!(lockouts.is_empty());
    let ann = lockouts.attempt(&name("ann"), home, at(NOON_MS)).unwrap();
    let bob = lockouts.attempt(&name("bob"), home, at(NOON_MS)).unwrap();
    assert_eq!((lockouts.len(), lockouts.is_empty()), (3, false), "two accounts, one source");
    lockouts.succeeded(ann);
    assert_eq!(lockouts.len(), 2);
    lockouts.succeeded(bob);
    assert!(lockouts.is_empty());
}

#[test]
fn a_right_factor_opens_the_address_unless_another_attempt_shut_it_meanwhile() {
    let nearly_shut = || {
        let (mut lockouts, home) = (Lockouts::default(), source("192.0.2.1"));
        for number in 0..SOURCE_SHARE - 2 {
            let _ = lockouts.attempt(&name(&format!("n{number}")), home, at(NOON_MS)).unwrap();
        }
        (lockouts, home)
    };
    let (mut lockouts, home) = nearly_shut();
    let _ = lockouts.attempt(&name("bob"), home, at(NOON_MS)).unwrap();
    let ann = lockouts.attempt(&name("ann"), home, at(NOON_MS)).unwrap();
    lockouts.succeeded(ann);
    assert!(lockouts.attempt(&name("zoe"), home, at(NOON_MS)).is_ok(), "as before the attempt");
    let (mut lockouts, home) = nearly_shut();
    let ann = lockouts.attempt(&name("ann"), home, at(NOON_MS)).unwrap();
    let _ = lockouts.attempt(&name("bob"), home, at(NOON_MS)).unwrap();
    lockouts.succeeded(ann);
    assert!(lockouts.attempt(&name("zoe"), home, at(NOON_MS)).is_err(), "the wrong attempt keeps it shut");
}

#[test]
fn a_full_table_forgets_what_is_over_before_what_counts() {
    let midnight = 20_001 * DAY_MS;
    let lock = format!(r#"{{"failures":50,"last_ms":{0},"open_ms":{0}}}"#, midnight - 1);
    let yesterday: Vec<_> = (1..ENTRIES_MAX).map(|number| format!(r#""n{number}":{lock}"#)).collect();
    let text = format!(r#"{{"accounts":{{{}}},"sources":{{}}}}"#, yesterday.join(","));
    let mut lockouts: Lockouts = serde_json::from_str(&text).unwrap();
    let (ann, zoe) = (name("ann"), name("zoe"));
    let _ = lockouts.attempt(&ann, elsewhere(1), at(midnight)).unwrap();
    assert_eq!(lockouts.len(), ENTRIES_MAX + 1);
    let _ = lockouts.attempt(&zoe, elsewhere(2), at(midnight)).unwrap();
    assert_eq!((lockouts.failures(&ann, at(midnight)), lockouts.failures(&zoe, at(midnight))), (1, 1));
    assert_eq!(lockouts.len(), 4, "of today, two accounts and two sources");
}

proptest! {
    /// Whatever the order of attempts, successes and pauses: an account gets at most a hundred wrong guesses a day.
    #[test]
    fn no_more_than_a_hundred_failures_a_day(pauses in prop::collection::vec(0_u64..20_000, 1..600)) {
        let mut lockouts = Lockouts::default();
        let ann = name("ann");
        let (mut now, mut failed, mut days) = (NOON_MS, 0, BTreeSet::new());
        for (number, pause) in (0..).zip(pauses) {
            now += pause;
            days.insert(now / DAY_MS);
            failed += u32::from(lockouts.attempt(&ann, elsewhere(number), at(now)).is_ok());
        }
        prop_assert!(failed <= FAILURES_A_DAY * u32::try_from(days.len()).unwrap());
    }
}
