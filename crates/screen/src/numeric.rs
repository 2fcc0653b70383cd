//! Detectors for labelled numbers: tables and images.
//!
//! [`space`] turns records into points, [`neighbours`] finds each point's nearest ones in every class, [`votes`] asks them
//! for the label, in full view and with each part of an image hidden, [`relabelled`] and [`stamps`] look for values that
//! betray a trigger, and [`detect`] puts it together.

pub(crate) mod neighbours;
pub(crate) mod relabelled;
pub(crate) mod space;
pub(crate) mod stamps;
pub(crate) mod votes;

use ringfence_schema::{finding::printable, report::RecordDecision};

use crate::{
    calibrate::{self, Doubt},
    dataset::{Dataset, UNLABELLED},
    options::{Meter, Options},
    report::Book,
    rules,
};
use relabelled::{Codes, Trigger};
use space::Space;
use votes::{Poll, Votes};

/// Runs the detectors for labelled numbers, writing into `book`.
pub(crate) fn detect(data: &Dataset, options: &Options, twins: &[u32], book: &mut Book, meter: &mut Meter<'_>) {
    let space = match Space::of(data, options.shape.as_deref()) {
        Ok(space) => space,
        Err(reason) => return book.detector("label errors and patches", Err(&reason)),
    };
    let Some(labelled) = Labelled::of(data) else {
        return book.detector("label errors and patches", Err("fewer than two classes with enough records"));
    };
    let found = neighbours::search(&space, &labelled, twins, meter);
    let mut poll = Poll::open(&space, &labelled, &found, meter);
    let mut votes = poll.count();
    // Records that are surely wrong lose their vote: relabelled records support each other.
    for _ in 0..CLEANING_ROUNDS {
        let doubts =
            [calibrate::judge(&votes.consensus, labelled.classes), calibrate::judge(&votes.hidden, labelled.classes)];
        if !poll.exclude(doubts.iter().flatten().filter(|doubt| doubt.filtered).map(|doubt| doubt.record)) {
            break;
        }
        votes = poll.count();
    }
    let doubts = calibrate::judge(&votes.consensus, labelled.classes);
    report_doubts(data, &votes, &doubts, false, book);
    let how = format!("{} neighbours, {}", votes.neighbours, space.describe());
    book.detector("label errors", Ok(&how));
    if space.image.is_some() {
        let hidden = calibrate::judge(&votes.hidden, labelled.classes);
        report_doubts(data, &votes, &hidden, true, book);
        book.detector("label errors with parts hidden", Ok(&format!("{} views", votes.views)));
    } else {
        book.detector("label errors with parts hidden", Err("records are not images"));
    }
    let codes = Codes::of(data, space.image.is_some());
    meter.at("triggers", 0, 2);
    let triggers = relabelled::mine(&codes, &labelled, &votes);
    for trigger in &triggers {
        report_trigger(data, &space, trigger, book);
    }
    book.detector(
        "repeated values under wrong labels",
        Ok(&format!("{} columns, {} levels", codes.columns, codes.levels)),
    );
    meter.at("triggers", 1, 2);
    if space.image.is_some() {
        match stamps::mine(&codes, &labelled, twins, space.image.as_ref()) {
            Ok(found) => {
                for stamp in found {
                    report_trigger(data, &space, &stamp, book);
                }
                book.detector("repeated patches", Ok("rare values that occur only together"));
            }
            Err(reason) => book.detector("repeated patches", Err(reason)),
        }
    } else {
        book.detector("repeated patches", Err("records are not images"));
    }
    meter.at("triggers", 2, 2);
}

/// The labels as the detectors use them: only classes with enough records take part.
pub(crate) struct Labelled {
    /// Class of each record among those that take part, or [`UNLABELLED`].
    pub(crate) y: Vec<u32>,
    pub(crate) classes: usize,
    /// Records of each class.
    pub(crate) sizes: Vec<usize>,
}

impl Labelled {
    /// `None` where fewer than two classes have [`CLASS_RECORDS_MIN`] records.
    pub(crate) fn of(data: &Dataset) -> Option<Self> {
        let mut sizes = vec![0_usize; data.classes.len()];
        data.y.iter().filter(|class| **class != UNLABELLED).for_each(|class| sizes[*class as usize] += 1);
        let enough = sizes.iter().filter(|size| **size >= CLASS_RECORDS_MIN).count();
        (enough >= 2).then(|| Self { y: data.y.clone(), classes: sizes.len(), sizes })
    }

    pub(crate) fn class(&self, record: usize) -> Option<usize> {
        Some(self.y[record]).filter(|class| *class != UNLABELLED).map(|class| class as usize)
    }
}

fn report_doubts(data: &Dataset, votes: &Votes, doubts: &[Doubt], hidden: bool, book: &mut Book) {
    let rule = if hidden { &rules::LABEL_HIDDEN_REGION } else { &rules::LABEL_NEIGHBOURS };
    for doubt in doubts {
        let record = doubt.record;
        let witness = &votes.witnesses[record];
        let other = data.class(if hidden { votes.hidden_top[record] } else { votes.top[record] });
        let near: Vec<String> =
            witness.iter().map(|near| format!("{near} (`{}`)", data.class(data.y[*near as usize]))).collect();
        let part = if hidden { format!(" with {} hidden", votes.hidden_view_name(record)) } else { String::new() };
        let evidence = format!(
            "labelled `{}`, neighbours say `{other}`{part}; nearest: {}; posterior {:.2}",
            data.class(data.y[record]),
            near.join(", "),
            doubt.posterior,
        );
        let decision = if doubt.filtered { RecordDecision::Filter } else { RecordDecision::Review };
        book.decide(record, decision, rule, f64::from(doubt.score), &evidence);
    }
}

fn report_trigger(data: &Dataset, space: &Space, trigger: &Trigger, book: &mut Book) {
    let items: Vec<String> = trigger
        .items
        .iter()
        .take(ITEMS_SHOWN_MAX)
        .map(|item| {
            let place = match &space.image {
                Some(image) => image.place(item.column),
                None => data.column(data.numeric[item.column]),
            };
            if item.low >= item.high {
                format!("{place} = {}", item.low)
            } else {
                format!("{place} in {}..{}", item.low, item.high)
            }
        })
        .collect();
    let more = if trigger.items.len() > ITEMS_SHOWN_MAX { ", …" } else { "" };
    let target =
        trigger.class.map_or_else(|| "several labels".to_owned(), |class| format!("label `{}`", data.class(class)));
    let description = printable(&format!("{}{more}; {target}; {}", items.join(", "), trigger.evidence), 1000);
    let rule = if trigger.relabelled { &rules::PATCH_RELABELLED } else { &rules::PATCH_COOCCURRING };
    book.candidate(rule, trigger.score, &description, &trigger.carriers);
    for record in &trigger.carriers {
        let certain = trigger.certain && trigger.doubtful.binary_search(record).is_err();
        let decision = if certain { RecordDecision::Filter } else { RecordDecision::Review };
        book.decide(*record as usize, decision, rule, trigger.score, &description);
    }
}

/// A class with fewer records takes no part in votes.
pub(crate) const CLASS_RECORDS_MIN: usize = 5;
const CLEANING_ROUNDS: usize = 2;
const ITEMS_SHOWN_MAX: usize = 12;
