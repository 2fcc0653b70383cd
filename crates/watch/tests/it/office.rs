//! Thirty days of fifty people at work, with misuse planted in: seeded, and with parameters that change what an
//! honest month looks like.

use ringfence_schema::{Timestamp, alert::Access};

use crate::chance::Chance;

mod misuse;
use misuse::plant;

/// What kind of place it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Customs {
    pub(crate) projects: usize,
    pub(crate) artifacts_per_project: usize,
    /// Deviation of the logarithm of what is read of an artifact.
    pub(crate) size_spread: f64,
    /// Mean reads on a workday.
    pub(crate) reads: f64,
    /// Reads outside of one's projects.
    pub(crate) strays: f64,
    /// Share of days at home.
    pub(crate) home: f64,
    /// Trips per person and month.
    pub(crate) trips: f64,
    /// Networks at home that change in the month.
    pub(crate) moves: f64,
    /// Chance of work on a day of a weekend.
    pub(crate) weekends: f64,
    /// People in the night shift.
    pub(crate) night_shift: usize,
    /// Hours by which people are spread around the globe.
    pub(crate) zones: f64,
    /// Chance that a night on call is a bad one.
    pub(crate) pages: f64,
    pub(crate) holidays: f64,
    pub(crate) deadline_factor: f64,
    pub(crate) denied: f64,
    pub(crate) project_changes: usize,
    pub(crate) joiners: usize,
    /// Reads of the planted night.
    pub(crate) night_reads: (f64, f64),
    /// Artifacts a day of the planted slow exfiltration.
    pub(crate) slow_reads: (f64, f64),
    pub(crate) dormant_days: (f64, f64),
    /// People whose shift moves by eight hours every week.
    pub(crate) rotating: usize,
    /// Whether a service reads through everything at night.
    pub(crate) sweeps: bool,
    /// Whether what is stolen is stolen in bytes rather than in artifacts.
    pub(crate) by_bytes: bool,
}

impl Customs {
    /// A company in one city: thresholds were chosen here.
    pub(crate) fn company() -> Self {
        Self {
            projects: 8,
            artifacts_per_project: 30,
            size_spread: 1.0,
            reads: 14.0,
            strays: 0.02,
            home: 0.35,
            trips: 0.15,
            moves: 0.06,
            weekends: 0.05,
            night_shift: 0,
            zones: 0.0,
            pages: 0.25,
            holidays: 0.3,
            deadline_factor: 2.5,
            denied: 0.008,
            project_changes: 4,
            joiners: 3,
            night_reads: (30.0, 80.0),
            slow_reads: (3.0, 6.0),
            dormant_days: (18.0, 25.0),
            rotating: 0,
            sweeps: false,
            by_bytes: false,
        }
    }

    /// A laboratory around the world: only measured.
    pub(crate) fn laboratory() -> Self {
        Self {
            projects: 14,
            artifacts_per_project: 45,
            size_spread: 1.5,
            reads: 8.0,
            strays: 0.05,
            home: 0.6,
            trips: 0.35,
            moves: 0.12,
            weekends: 0.15,
            night_shift: 6,
            zones: 8.0,
            pages: 0.35,
            holidays: 0.45,
            deadline_factor: 4.0,
            denied: 0.02,
            project_changes: 7,
            joiners: 5,
            night_reads: (20.0, 50.0),
            slow_reads: (2.5, 5.0),
            dormant_days: (17.0, 24.0),
            rotating: 0,
            sweeps: false,
            by_bytes: false,
        }
    }

    /// A works with shifts, travellers and a nightly backup, where bytes are stolen: only measured.
    pub(crate) fn works() -> Self {
        Self { trips: 0.5, rotating: 8, sweeps: true, by_bytes: true, reads: 20.0, ..Self::company() }
    }
}

/// Misuse that was planted.
#[derive(Debug, Clone)]
pub(crate) struct Planted {
    pub(crate) what: &'static str,
    pub(crate) person: String,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

struct Person {
    name: String,
    role: &'static str,
    starts: f64,
    lasts: f64,
    pace: f64,
    projects: Vec<usize>,
    office: String,
    home: String,
    trip: Option<(u64, u64, String)>,
    away: Option<(u64, u64)>,
    from_day: u64,
    changes: Option<(u64, usize)>,
    on_call_week: Option<u64>,
    rotates: bool,
}

/// Monday 2026-01-05, 00:00 UTC.
const START_MS: u64 = 1_767_571_200_000;
pub(crate) const DAYS: u64 = 30;
const HOUR_MS: f64 = 3_600_000.0;

/// The month: accesses in order, and what was planted in it.
pub(crate) fn month(customs: Customs, seed: u64) -> (Vec<Access>, Vec<Planted>) {
    let mut chance = Chance::new(seed);
    let sizes: Vec<f64> = (0..customs.projects * customs.artifacts_per_project)
        .map(|_| 40e6 * chance.log_normal(customs.size_spread))
        .collect();
    let mut people: Vec<Person> = (0..45).map(|number| person(customs, number, &mut chance)).collect();
    for _ in 0..customs.project_changes {
        let who = chance.below(36);
        people[who].changes = Some((8 + chance.below(18) as u64, chance.below(customs.projects)));
    }
    for joiner in 0..customs.joiners {
        people[36 - joiner].from_day = 3 + chance.below(24) as u64;
    }
    let deadlines: Vec<u64> = (0..customs.projects).map(|_| 6 + chance.below(24) as u64).collect();
    let mut accesses = Vec::new();
    for person in &people {
        for day in person.from_day..DAYS {
            work(customs, person, day, &deadlines, &sizes, &mut chance, &mut accesses);
        }
    }
    services(customs, &sizes, &mut chance, &mut accesses);
    let planted = plant(customs, &mut people, &sizes, &mut chance, &mut accesses);
    accesses.sort_by_key(|access| access.at);
    (accesses, planted)
}

fn person(customs: Customs, number: usize, chance: &mut Chance) -> Person {
    let role = match number {
        0..22 => "researcher",
        22..34 => "engineer",
        34..40 => "annotator",
        40..43 => "admin",
        _ => "manager",
    };
    let zone = customs.zones * chance.between(-1.0, 1.0);
    let night = if number < customs.night_shift { 12.0 } else { 0.0 };
    let mut projects = vec![chance.below(customs.projects)];
    if chance.happens(0.4) {
        projects.push(chance.below(customs.projects));
    }
    let trip = chance.happens(customs.trips).then(|| {
        let from = 2 + chance.below(25) as u64;
        (from, from + 1 + chance.below(4) as u64, format!("198.51.{}.7", chance.below(250)))
    });
    let away = chance.happens(customs.holidays).then(|| {
        let from = chance.below(26) as u64;
        (from, from + 3 + chance.below(9) as u64)
    });
    Person {
        name: format!("{role}-{number:02}"),
        role,
        starts: 9.0 + zone + night + 0.8 * chance.normal(),
        lasts: chance.between(6.5, 9.5),
        pace: customs.reads * chance.log_normal(0.5) * if role == "manager" { 0.4 } else { 1.0 },
        projects,
        office: format!("10.1.{}.{}", chance.below(3), chance.below(250)),
        home: format!("81.{}.{}.{}", chance.below(250), chance.below(250), chance.below(250)),
        trip,
        away,
        from_day: 0,
        changes: None,
        on_call_week: (role == "engineer").then(|| chance.below(6) as u64),
        rotates: number < customs.rotating,
    }
}

fn work(
    customs: Customs,
    person: &Person,
    day: u64,
    deadlines: &[u64],
    sizes: &[f64],
    chance: &mut Chance,
    accesses: &mut Vec<Access>,
) {
    if person.away.is_some_and(|(from, to)| (from..to).contains(&day)) {
        return;
    }
    if person.on_call_week == Some(day / 7) && chance.happens(customs.pages) {
        let hour = chance.between(23.0, 29.0) + person.starts - 9.0;
        for _ in 0..2 + chance.below(5) {
            let artifact = pick(customs, person.projects[0], chance);
            let minutes = chance.between(0.0, 50.0);
            accesses.push(access(person, day, hour + minutes / 60.0, artifact, sizes, &person.home, chance));
        }
    }
    let weekend = day % 7 >= 5;
    if !chance.happens(if weekend { customs.weekends } else { 0.93 }) {
        return;
    }
    let mut projects = person.projects.clone();
    let mut pace = person.pace;
    if let Some((from, project)) = person.changes.filter(|(from, _)| day >= *from) {
        projects = vec![project];
        // The first days on a new project are spent reading into it.
        pace *= if day < from + 3 { 1.8 } else { 1.0 };
    }
    let busy =
        projects.iter().any(|project| (deadlines[*project].saturating_sub(3)..=deadlines[*project]).contains(&day));
    let factor = if busy { customs.deadline_factor } else { 1.0 };
    let late = if busy { 2.5 } else { 0.0 };
    let place = match &person.trip {
        Some((from, to, network)) if (*from..=*to).contains(&day) => network.clone(),
        _ if chance.happens(customs.home) => moved_home(customs, person, day),
        _ => person.office.clone(),
    };
    let shift = if person.rotates { (day / 7 % 3) as f64 * 8.0 } else { 0.0 };
    let starts = person.starts + shift + 0.5 * chance.normal();
    let mood = chance.log_normal(0.5);
    for _ in 0..chance.poisson(pace * factor * mood).max(1) {
        let project = if chance.happens(customs.strays) {
            chance.below(customs.projects)
        } else {
            projects[chance.below(projects.len())]
        };
        let hour = starts + chance.share() * (person.lasts + late);
        let artifact = pick(customs, project, chance);
        accesses.push(access(person, day, hour, artifact, sizes, &place, chance));
        if chance.happens(customs.denied) {
            for _ in 0..=chance.below(3) {
                let denied = access(person, day, hour, artifact, sizes, &place, chance);
                accesses.push(Access { allowed: false, bytes: 0, ..denied });
            }
        }
    }
}

/// Some networks at home change once in the month.
fn moved_home(customs: Customs, person: &Person, day: u64) -> String {
    let number = person.name.bytes().map(u64::from).sum::<u64>();
    if ((number * 37 % 100) as f64) < customs.moves * 100.0 && day > 8 + number % 15 {
        return format!("82.{}.9.4", number % 250);
    }
    person.home.clone()
}

/// Few artifacts are read often, most seldom.
fn pick(customs: Customs, project: usize, chance: &mut Chance) -> usize {
    let rank = (customs.artifacts_per_project as f64).powf(chance.share()) - 1.0;
    project * customs.artifacts_per_project + (rank as usize).min(customs.artifacts_per_project - 1)
}

fn access(
    person: &Person,
    day: u64,
    hour: f64,
    artifact: usize,
    sizes: &[f64],
    place: &str,
    chance: &mut Chance,
) -> Access {
    let at_ms = START_MS as f64 + (day as f64 * 24.0 + hour) * HOUR_MS;
    Access {
        at: Timestamp::from_millis(at_ms as u64),
        person: person.name.clone(),
        roles: vec![person.role.to_owned()],
        action: "read".to_owned(),
        artifact: format!("dataset/a{artifact}"),
        place: place.to_owned(),
        bytes: (sizes[artifact] * chance.between(0.05, 1.0)) as u64,
        allowed: true,
    }
}

/// Service accounts: by the clock, from one host, much the same each time.
fn services(customs: Customs, sizes: &[f64], chance: &mut Chance, accesses: &mut Vec<Access>) {
    for number in 0..4_usize {
        let account = Person {
            name: format!("service-{number}"),
            role: "service",
            starts: 0.0,
            lasts: 0.0,
            pace: 0.0,
            projects: vec![number % customs.projects],
            office: format!("10.9.0.{number}"),
            home: String::new(),
            trip: None,
            away: None,
            from_day: 0,
            changes: None,
            on_call_week: None,
            rotates: false,
        };
        let hours: Vec<f64> = if number < 2 { vec![2.0 + number as f64] } else { (0..24).map(f64::from).collect() };
        let all = customs.projects * customs.artifacts_per_project;
        for day in 0..DAYS {
            if customs.sweeps && number == 0 {
                for artifact in 0..all {
                    let hour = 3.0 + 0.004 * artifact as f64;
                    accesses.push(access(&account, day, hour, artifact, sizes, &account.office, chance));
                }
            }
            for hour in &hours {
                for turn in 0..if hours.len() == 1 { 12 } else { 1 } {
                    let artifact = account.projects[0] * customs.artifacts_per_project + turn;
                    let hour = hour + 0.02 * turn as f64 + 0.01 * chance.share();
                    accesses.push(access(&account, day, hour, artifact, sizes, &account.office, chance));
                }
            }
        }
    }
}
