//! Detectors for labelled texts.
//!
//! [`terms`] turns texts into words and weighted features, [`similar`] finds each text's nearest ones and [`bayes`] asks a
//! naive Bayes model; together they say which label a text would get without itself. [`phrases`] looks for words without
//! which the texts contradict their label: the mark of an inserted trigger. [`detect`] puts it together.
//!
//! Fixed words and phrases are found, and invisible or look-alike characters (as if they were words); triggers that are a
//! style or a syntax are not looked for.

mod bayes;
mod phrases;
mod similar;
mod terms;

use rayon::prelude::*;
use ringfence_schema::{finding::printable, report::RecordDecision};

use crate::{
    calibrate::{self, Contradictions},
    dataset::{Dataset, UNLABELLED},
    numeric::Labelled,
    options::Meter,
    report::Book,
    rules,
};
use bayes::Bayes;
use terms::Corpus;

/// Runs the detectors for labelled texts, writing into `book`.
pub(crate) fn detect(data: &Dataset, twins: &[u32], book: &mut Book, meter: &mut Meter<'_>) {
    let Some(labelled) = Labelled::of(data) else {
        for name in ["label errors", "phrases"] {
            book.detector(name, Err("fewer than two classes with enough records"));
        }
        return;
    };
    meter.at("words", 0, 1);
    let corpus = Corpus::of(data);
    if corpus.words() > WORDS_MAX {
        for name in ["label errors", "phrases"] {
            book.detector(name, Err("too many words for one machine's memory"));
        }
        return;
    }
    let bayes = Bayes::of(&corpus, &labelled);
    meter.at("words", 1, 1);
    let triggers = phrases::mine(&corpus, &labelled, &bayes);
    let mut explained = vec![false; data.len()];
    for trigger in &triggers {
        let target = data.class(trigger.class);
        let description = printable(&format!("`{}`; label `{target}`; {}", trigger.text, trigger.evidence), 1000);
        book.candidate(&rules::PHRASE_RELABELLED, trigger.score, &description, &trigger.carriers);
        let decision = if trigger.certain { RecordDecision::Filter } else { RecordDecision::Review };
        for record in &trigger.carriers {
            explained[*record as usize] |= trigger.certain;
            book.decide(*record as usize, decision, &rules::PHRASE_RELABELLED, trigger.score, &description);
        }
    }
    book.detector(
        "phrases",
        Ok(&format!("word runs of up to {} in at least {} texts", phrases::RUN_MAX, phrases::CARRIERS_MIN)),
    );
    let near = similar::search(&corpus, &labelled, twins, &explained, meter);
    let (contradictions, tops) = vote(&labelled, &bayes, &corpus, &near, &explained);
    for doubt in calibrate::judge(&contradictions, labelled.classes) {
        let record = doubt.record;
        let shown: Vec<String> = near[record]
            .iter()
            .take(WITNESSES)
            .map(|(near, _)| format!("{near} (`{}`)", data.class(data.y[*near as usize])))
            .collect();
        let evidence = format!(
            "labelled `{}`, words and neighbours say `{}`; nearest: {}; posterior {:.2}",
            data.class(data.y[record]),
            data.class(tops[record]),
            shown.join(", "),
            doubt.posterior,
        );
        let decision = if doubt.filtered { RecordDecision::Filter } else { RecordDecision::Review };
        book.decide(record, decision, &rules::LABEL_NEIGHBOURS, f64::from(doubt.score), &evidence);
    }
    book.detector(
        "label errors",
        Ok(&format!("{} nearest texts by weighted words, and naive Bayes", similar::NEIGHBOURS)),
    );
    for name in ["label errors with parts hidden", "repeated patches"] {
        book.detector(name, Err("records are texts"));
    }
}

/// Half the neighbours' vote, half the Bayes model's, for every record that is not explained already.
fn vote(
    labelled: &Labelled,
    bayes: &Bayes,
    corpus: &Corpus,
    near: &[Vec<(u32, f32)>],
    explained: &[bool],
) -> (Contradictions, Vec<u32>) {
    let stride = (labelled.y.len() * labelled.classes).div_ceil(POSSIBLE_MAX).max(1);
    let ballots: Vec<(u32, f32, Vec<f32>)> = (0..labelled.y.len())
        .into_par_iter()
        .map(|record| {
            let Some(label) = labelled.class(record).filter(|_| !explained[record]) else {
                return (UNLABELLED, 0.0, Vec::new());
            };
            let mut shares = bayes.shares(corpus.words_of(record), Some(label));
            let total: f32 = near[record].iter().map(|(_, likeness)| likeness).sum::<f32>() + LIKENESS_FLOOR;
            for share in &mut shares {
                *share *= 0.5;
            }
            for (other, likeness) in &near[record] {
                if let Some(class) = labelled.class(*other as usize) {
                    shares[class] += 0.5 * likeness / total;
                }
            }
            let top = (0..shares.len()).fold(0, |best, class| if shares[class] > shares[best] { class } else { best });
            let against = |class: usize| shares[top] - shares[class];
            let possible = if record.is_multiple_of(stride) {
                (0..labelled.classes).filter(|class| *class != top).map(against).collect()
            } else {
                Vec::new()
            };
            (u32::try_from(top).unwrap_or(UNLABELLED), against(label), possible)
        })
        .collect();
    let mut found = Contradictions { scale: stride, ..Contradictions::default() };
    let mut tops = Vec::with_capacity(ballots.len());
    for (record, (top, against, possible)) in (0_u32..).zip(ballots) {
        if against > 0.0 {
            found.observed.push((record, against));
        }
        found.possible.extend(possible);
        tops.push(top);
    }
    (found, tops)
}

const WORDS_MAX: usize = 1 << 28;
const WITNESSES: usize = 3;
const POSSIBLE_MAX: usize = 1 << 24;
/// Texts that resemble nothing leave the vote to the words.
const LIKENESS_FLOOR: f32 = 0.1;
