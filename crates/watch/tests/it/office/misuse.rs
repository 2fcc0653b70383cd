//! Misuse that is planted in a month: one case of each kind, by four people.

use ringfence_schema::{Timestamp, alert::Access};

use super::{Customs, DAYS, Person, Planted, START_MS, access, pick};
use crate::chance::Chance;

pub(super) fn plant(
    customs: Customs,
    people: &mut [Person],
    sizes: &[f64],
    chance: &mut Chance,
    accesses: &mut Vec<Access>,
) -> Vec<Planted> {
    let mut order: Vec<usize> =
        (0..33).filter(|at| *at >= customs.night_shift.max(customs.rotating) && people[*at].from_day == 0).collect();
    chance.shuffle(&mut order);
    let all = customs.projects * customs.artifacts_per_project;
    let mut planted = Vec::new();
    let mut add = |what, who: &Person, day: u64, to_day: u64, accesses: &mut Vec<Access>, new: Vec<Access>| {
        accesses.extend(new);
        planted.push(Planted {
            what,
            person: who.name.clone(),
            from: Timestamp::from_millis(START_MS + day * 86_400_000),
            to: Timestamp::from_millis(START_MS + (to_day + 2) * 86_400_000),
        });
    };
    // A night of bulk reads, by their own night.
    let who = &people[order[0]];
    let day = 10 + chance.below(19) as u64;
    let place = if chance.happens(0.5) { who.home.clone() } else { who.office.clone() };
    let hour = who.starts + chance.between(15.0, 18.0);
    let reads = chance.between(customs.night_reads.0, customs.night_reads.1) as usize;
    let new = if customs.by_bytes {
        // Few artifacts of their own project, as many bytes as of many days.
        let bytes = NIGHT_DAYS * usual_bytes(accesses, &who.name) / 12.0;
        (0..12)
            .map(|_| {
                let artifact = pick(customs, who.projects[0], chance);
                let read = access(who, day, hour + chance.share() * 1.5, artifact, sizes, &place, chance);
                Access { bytes: (bytes * chance.between(0.6, 1.4)) as u64, ..read }
            })
            .collect()
    } else {
        (0..reads)
            .map(|_| access(who, day, hour + chance.share() * 1.5, chance.below(all), sizes, &place, chance))
            .collect()
    };
    add("night-time bulk reads", who, day, day, accesses, new);
    // Their credentials from elsewhere, in the middle of their day.
    let who = &people[order[1]];
    let day = 9 + chance.below(20) as u64;
    let place = format!("203.0.{}.66", chance.below(250));
    let hour = who.starts + chance.between(0.5, 6.0);
    let new = (0..4 + chance.below(12))
        .map(|_| access(who, day, hour + chance.share(), pick(customs, who.projects[0], chance), sizes, &place, chance))
        .collect();
    add("a new place", who, day, day, accesses, new);
    // An account that nobody used for weeks.
    let who = &people[order[2]];
    let gap = chance.between(customs.dormant_days.0, customs.dormant_days.1) as u64;
    let slept = 2 + chance.below(3) as u64;
    let day = slept + gap + 1;
    let from = Timestamp::from_millis(START_MS + slept * 86_400_000);
    accesses.retain(|access| access.person != who.name || access.at < from);
    let hour = who.starts + chance.between(0.0, 12.0);
    let place = if chance.happens(0.7) { who.home.clone() } else { who.office.clone() };
    let new = (0..6 + chance.below(20))
        .map(|_| access(who, day, hour + 2.0 * chance.share(), chance.below(all), sizes, &place, chance))
        .collect();
    add("a dormant account", who, day, day, accesses, new);
    // A few artifacts more every day, during work.
    // What grows by bytes grows on days that the watch has seen before.
    let known = |at: &&usize| !customs.by_bytes || people[**at].away.is_none_or(|(from, _)| from > 8);
    let who = &people[*order[3..].iter().find(known).unwrap_or(&order[3])];
    let begun = 8 + chance.below(7) as u64;
    let reads = chance.between(customs.slow_reads.0, customs.slow_reads.1);
    let usual = usual_bytes(accesses, &who.name);
    let mut new = Vec::new();
    for day in begun..DAYS {
        let absent = day % 7 >= 5 || who.away.is_some_and(|(from, to)| (from..to).contains(&day));
        if customs.by_bytes && !absent {
            // A few heavy reads of their own project, towards the end of the day.
            let bytes = (SLOW_FACTOR - 1.0) * usual / 5.0;
            let place = place_on(accesses, &who.name, day);
            for _ in 0..if place.is_empty() { 0 } else { 5 } {
                let hour = who.starts + who.lasts * chance.between(0.7, 1.05);
                let artifact = pick(customs, who.projects[0], chance);
                let read = access(who, day, hour, artifact, sizes, &place, chance);
                new.push(Access { bytes: (bytes * chance.between(0.6, 1.4)) as u64, ..read });
            }
            continue;
        }
        for _ in 0..if absent { 0 } else { chance.poisson(reads) } {
            let hour = who.starts + chance.share() * who.lasts;
            new.push(access(who, day, hour, chance.below(all), sizes, &who.office, chance));
        }
    }
    add("slow exfiltration", who, begun, DAYS, accesses, new);
    planted
}

/// Where a person is on a day; nowhere where they do nothing.
fn place_on(accesses: &[Access], person: &str, day: u64) -> String {
    let from = START_MS + day * 86_400_000;
    let mut that_day = accesses.iter().filter(|access| (from..from + 86_400_000).contains(&access.at.millis()));
    that_day.find(|access| access.person == person).map_or(String::new(), |access| access.place.clone())
}

/// Bytes of a person on a day on the average.
fn usual_bytes(accesses: &[Access], person: &str) -> f64 {
    let own = accesses.iter().filter(|access| access.person == person);
    let days: std::collections::BTreeSet<u64> = own.clone().map(|access| access.at.millis() / 86_400_000).collect();
    own.map(|access| access.bytes as f64).sum::<f64>() / days.len().max(1) as f64
}

/// Days of usual bytes that are taken in a night.
const NIGHT_DAYS: f64 = 12.0;
/// Times the usual bytes of a day, while they are taken slowly.
const SLOW_FACTOR: f64 = 3.5;
