//! Measures what a request costs in a vault of several people and prints one JSON document: the check of a token; recorded,
//! authorised reads; and refusals, which like acts are told to nobody before a checkpoint over them is held outside the vault.
//!
//! ```sh
//! cargo run --release -p ringfence-engine --example read_bench -- [reads a case] [directory]
//! ```
//!
//! Every read checks its token, asks the policies, and returns once its entry is durable under a signed checkpoint.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program, not a library")]

use std::{
    collections::BTreeSet,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use ringfence_engine::{
    Passphrase, Protection, Settings, Silent, Vault,
    access::{PersonKind, Role},
    reach::{self, Reach, ReachError, Secrets},
    schema::Timestamp,
    team::{
        Enrollee, Invite, Origin,
        passkey::{Challenge, RelyingParty, SoftKey, UserHandle},
    },
};
use ringfence_trust::entropy::SystemEntropy;
use serde_json::{Value, json};

const SITE: &str = "https://vault.example";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let reads: u64 = arguments.next().map_or(10_000, |count| count.parse().unwrap());
    let parent = arguments.next().unwrap_or_else(|| ".".to_owned());
    let made = tempfile::tempdir_in(Path::new(&parent)).unwrap();
    let now = || {
        let time = clock_gettime(ClockId::CLOCK_REALTIME).unwrap();
        Timestamp::from_millis((time.tv_sec() * 1_000 + time.tv_nsec() / 1_000_000).cast_unsigned())
    };
    let passphrase = |_| -> std::io::Result<Passphrase> { Err(std::io::Error::other("there is none")) };
    let reach = || -> Result<Reach, ReachError> { Reach::new(reach::Settings::default(), Secrets::default()) };
    let settings = Settings {
        vault: made.path().join("vault"),
        config: made.path().join("config"),
        program: "nowhere".into(),
        now: &now,
        passphrase: &passphrase,
        reach: &reach,
        progress: &Silent,
    };
    let vault = Vault::init(&settings, Protection::KeyFile).unwrap();
    let owner = enrol(&vault, &vault.offer_setup().unwrap().token.unwrap(), Some(("ana", "Ana")));
    let invite = Invite {
        name: "ben".to_owned(),
        display: "Ben".to_owned(),
        kind: PersonKind::Human,
        roles: BTreeSet::from([Role::Researcher]),
    };
    let caller = vault.authenticate(&owner, ADDRESS).unwrap();
    let invitation = vault.acting(caller).invite(&invite).unwrap();
    let token = enrol(&vault, &invitation.token.unwrap(), None);

    let checks = 20_000;
    let start = cpu(ClockId::CLOCK_THREAD_CPUTIME_ID);
    (0..checks).for_each(|_| drop(black_box(vault.authenticate(&token, ADDRESS).unwrap())));
    let check = cpu(ClockId::CLOCK_THREAD_CPUTIME_ID).saturating_sub(start) / checks;
    let read = |vault: &Vault<'_>| {
        let caller = vault.authenticate(&token, ADDRESS).unwrap();
        vault.acting(caller).look("artifacts").unwrap();
    };
    let refused = |vault: &Vault<'_>| {
        let caller = vault.authenticate(&token, ADDRESS).unwrap();
        vault.acting(caller).invite(&invite).unwrap_err();
    };
    // The first of a kind teaches the policies' memory.
    read(&vault);
    refused(&vault);
    let mut cases = Vec::new();
    for callers in [1, 8, 64, 256] {
        cases.push(measure(&vault, "recorded reads", callers, reads / if callers == 1 { 10 } else { 1 }, &read));
    }
    for callers in [1, 8, 64] {
        let count = reads / if callers == 1 { 50 } else { 5 };
        cases.push(measure(&vault, "refusals, held", callers, count, &refused));
    }
    let all = json!({
        "schema": "ringfence.bench.reads/1",
        "target_reads_per_s_and_core": 8_000,
        "target_p99_ms": 5,
        "target_token_check_us": 5,
        "token_check_us": check.as_secs_f64() * 1e6,
        "cases": cases,
    });
    println!("{all}");
}

const ADDRESS: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));

/// Enrols a passkey by an invitation and tells the token of the session that this begins.
fn enrol(vault: &Vault<'_>, token: &str, names: Option<(&str, &str)>) -> String {
    let rp = RelyingParty::new("vault.example", &[SITE]).unwrap();
    let who = Enrollee::Invited { token, names };
    let id = vault.invited(token).unwrap().person.id;
    let handle = UserHandle::new(id.as_str().as_bytes().to_vec()).unwrap();
    let key = SoftKey::generate("vault.example", &handle, &mut SystemEntropy::new()).unwrap();
    let offer = vault.begin_enrol(&rp, who).unwrap();
    let challenge: Challenge = serde_json::from_value(offer.options["challenge"].clone()).unwrap();
    let registration = key.register(SITE, &challenge).unwrap();
    let origin = Origin { address: ADDRESS, client: "bench".to_owned() };
    let enrolled = vault.finish_enrol(&rp, who, &offer.ceremony, &registration, "laptop", &origin).unwrap();
    enrolled.entered.unwrap().token.to_string()
}

fn measure(vault: &Vault<'_>, what: &str, callers: u64, count: u64, work: &(dyn Fn(&Vault<'_>) + Sync)) -> Value {
    let each = count / callers;
    let (start, before) = (Instant::now(), cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID));
    let one = || {
        let mut taken = Vec::new();
        for _ in 0..each {
            let start = Instant::now();
            work(vault);
            taken.push(start.elapsed());
        }
        taken
    };
    let mut taken: Vec<Duration> = thread::scope(|scope| {
        let threads: Vec<_> = (0..callers).map(|_| scope.spawn(one)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (wall, used) = (start.elapsed(), cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID).saturating_sub(before));
    taken.sort();
    let count = taken.len() as f64;
    let at = |hundredth: usize| taken[(taken.len() * hundredth / 100).min(taken.len() - 1)].as_secs_f64() * 1e3;
    json!({
        "what": what,
        "callers": callers,
        "per_s": (count / wall.as_secs_f64()).round(),
        "per_cpu_s": (count / used.as_secs_f64()).round(),
        "cpu_us": used.as_secs_f64() * 1e6 / count,
        "p50_ms": at(50),
        "p99_ms": at(99),
    })
}

/// Processor time of this thread or process.
fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock).unwrap();
    Duration::new(time.tv_sec().cast_unsigned(), u32::try_from(time.tv_nsec()).unwrap())
}
