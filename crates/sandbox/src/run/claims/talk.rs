//! Reads the progress that trainers print, without configuration: one line after the other of one stream.
//!
//! [`Talk::line`] keeps between lines only what a reader at the terminal would: the epoch of the last heading, the bar that
//! is drawn, the columns of a table. Lines with pairs (`loss: 0.5`) are [`super::reading`]'s; here are bars and tables.
//!
//! Steps within an epoch (`Epoch 3: 225/500`) become steps so far, counted from the first epoch that was seen.
#![deny(clippy::indexing_slicing)]

use ringfence_schema::{
    event::{Progress, Told},
    finding::printable,
};

use super::{
    names::{self, Meaning},
    numbers::{Token, tokens, whole},
    reading::{self, Reading},
};

/// The reader of one output stream.
#[derive(Debug, Default)]
pub struct Talk {
    /// The first epoch that was seen, and the present one.
    epochs: Option<(u64, u64)>,
    /// Batches per epoch, where a trainer writes them in front of its lines.
    epoch_batches: Option<u64>,
    bar: Option<Bar>,
    table: Option<Table>,
}

/// The bar that counts training.
#[derive(Debug)]
struct Bar {
    label: String,
    total: u64,
    at: u64,
    laps: u64,
}

/// Columns of a table that is being printed.
#[derive(Debug)]
struct Table {
    cut: Cut,
    columns: Vec<Option<Meaning>>,
}

/// What stands between the cells of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Wide,
    Comma,
    Pipe,
    Space,
}

/// A progress bar as tqdm draws it (tqdm 4: `{l_bar}{bar}{r_bar}`).
struct Drawn<'a> {
    label: &'a str,
    at: u64,
    total: u64,
    inside: &'a str,
    rest: &'a str,
}

impl Talk {
    /// A reader that has heard nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What one line says about training, if it does. Looks at the first [`LINE_BYTES_MAX`] bytes; escape sequences of
    /// terminals are no part of it.
    pub fn line(&mut self, line: &str) -> Option<Progress> {
        let text = plain(line);
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        // A line of another kind between rows (a warning) does not end a table.
        if let Some(row) = self.table.as_ref().and_then(|table| table.row(text)) {
            return told(row);
        }
        if let Some(drawn) = drawn(text) {
            return self.bar(&drawn);
        }
        if let Some(table) = Table::heading(text) {
            self.table = Some(table);
            return None;
        }
        self.sentence(text)
    }

    fn sentence(&mut self, text: &str) -> Option<Progress> {
        let mut reading = reading::read(text);
        let leads = reading.batch_leads;
        if leads {
            // A bar of another length is an evaluation.
            let total = reading.batch.map(|(_, total)| total);
            if self.epoch_batches.is_some() && total != self.epoch_batches {
                reading = reading::read_about(text, Some(true));
                reading.batch = None;
            } else if reading.epoch.is_none() && self.epochs.is_some() {
                self.epoch_batches = total;
            }
        }
        let signals = reading.signals();
        self.note_epoch(&reading);
        let step = reading.step.or_else(|| self.step_of(&reading));
        let heading = is_epoch_heading(text);
        if heading {
            // The next bar is one of training again, however long it is.
            self.epoch_batches = None;
        }
        let checkpoint = checkpoint(text);
        if signals.is_none() && !heading && checkpoint.is_none() {
            return None;
        }
        let signals = signals.unwrap_or_default();
        told(Progress {
            step,
            epoch: reading.epoch,
            loss: signals.loss,
            evaluation_loss: signals.evaluation_loss,
            learning_rate: signals.learning_rate,
            gradient_norm: signals.gradient_norm,
            diverged: signals.diverged,
            checkpoint,
            ..Progress::default()
        })
    }

    fn note_epoch(&mut self, reading: &Reading) {
        if let Some(epoch) = reading.epoch.and_then(whole) {
            let first = self.epochs.map_or(epoch, |(first, _)| first.min(epoch));
            self.epochs = Some((first, epoch));
        }
    }

    /// Steps so far, from the batches of this epoch.
    fn step_of(&self, reading: &Reading) -> Option<u64> {
        let (at, total) = reading.batch?;
        let (first, now) = self.epochs?;
        now.saturating_sub(first).checked_mul(total)?.checked_add(at)
    }

    fn bar(&mut self, drawn: &Drawn<'_>) -> Option<Progress> {
        let label = names::words(drawn.label).unwrap_or_default();
        let evaluation = names::of_data(&label) == Some(true);
        // What counts files or examples is no training, unless it shows a loss.
        let counts = !evaluation && names::labels_training(&label) && counts_batches(drawn.inside);
        let text = format!("{} , {} , {}", drawn.label, drawn.inside, drawn.rest);
        let mut reading = reading::read_about(&text, evaluation.then_some(true));
        let signals = reading.signals();
        let mut step = reading.step;
        let mut moved = false;
        if counts && reading.step.is_none() {
            if label.iter().any(|word| word == "epoch") && reading.epoch.is_some() {
                self.note_epoch(&reading);
                reading.batch = Some((drawn.at, drawn.total));
                step = self.step_of(&reading);
                moved = true;
            } else {
                step = self.lap(label.join(" "), drawn);
                moved = step.is_some();
            }
        }
        if signals.is_none() && !moved {
            return None;
        }
        let signals = signals.unwrap_or_default();
        told(Progress {
            step,
            epoch: reading.epoch,
            loss: signals.loss,
            evaluation_loss: signals.evaluation_loss,
            learning_rate: signals.learning_rate,
            gradient_norm: signals.gradient_norm,
            diverged: signals.diverged,
            ..Progress::default()
        })
    }

    /// Steps so far, from a bar that starts again with every pass.
    fn lap(&mut self, label: String, drawn: &Drawn<'_>) -> Option<u64> {
        let same = |bar: &&mut Bar| bar.label == label && bar.total == drawn.total;
        if let Some(bar) = self.bar.as_mut().filter(same) {
            bar.laps += u64::from(drawn.at < bar.at);
            bar.at = drawn.at;
            return bar.laps.checked_mul(bar.total)?.checked_add(bar.at);
        }
        // An unnamed bar of another length, while one is not full, is drawn inside it: an evaluation.
        if self.bar.as_ref().is_some_and(|bar| bar.label.is_empty() && label.is_empty() && bar.at < bar.total) {
            return None;
        }
        self.bar = Some(Bar { label, total: drawn.total, at: drawn.at, laps: 0 });
        Some(drawn.at)
    }
}

/// A progress event, if it says anything.
fn told(progress: Progress) -> Option<Progress> {
    (progress != Progress::default()).then_some(Progress { told: Told::Output, ..progress })
}

/// `Epoch 3/10` and nothing else, as Keras prints it.
fn is_epoch_heading(text: &str) -> bool {
    matches!(tokens(text).as_slice(), [Token::Word(word), Token::Ratio(..)] if word.eq_ignore_ascii_case("epoch"))
}

fn drawn(text: &str) -> Option<Drawn<'_>> {
    let (before, after) = text.split_once("%|")?;
    let label = before.trim_end_matches(|character: char| character.is_ascii_digit() || character == '.');
    if label.len() == before.len() {
        return None;
    }
    let (_, counts) = after.split_once('|')?;
    let (counts, inside) = counts.split_once('[')?;
    let (at, total) = counts.trim().split_once('/')?;
    let (inside, rest) = inside.split_once(']').unwrap_or((inside, ""));
    let (at, total) = (at.trim().parse().ok()?, total.trim().parse().ok()?);
    Some(Drawn { label: label.trim().trim_end_matches(':'), at, total, inside, rest })
}

/// Whether the rate of a bar (`4.98it/s`, `1.2s/it`) counts steps rather than bytes or examples.
fn counts_batches(inside: &str) -> bool {
    let rate = inside.split(',').nth(1).unwrap_or_default();
    let units = rate.trim_start_matches(|character: char| " ?.~".contains(character) || character.is_ascii_digit());
    units.split('/').map(str::trim).any(|unit| BATCH_UNITS.contains(&unit))
}

impl Table {
    /// The columns, if `text` is the heading of a table of training.
    fn heading(text: &str) -> Option<Self> {
        // Words only: `epoch=3 loss=0.5` is a record, not a heading.
        let worded = |each: char| each.is_alphabetic() || "| \t,_-/.()%#".contains(each);
        if !text.chars().all(worded) {
            return None;
        }
        let cut = [Cut::Pipe, Cut::Wide, Cut::Comma, Cut::Space].into_iter().find(|cut| cut.cells(text).len() > 1)?;
        let cells = cut.cells(text);
        if cells.len() > COLUMNS_MAX {
            return None;
        }
        let columns: Vec<_> = cells.iter().map(|cell| names::meaning(cell)).collect();
        let first = matches!(columns.first(), Some(Some(Meaning::Step | Meaning::Epoch)));
        let loss = |column: &Option<Meaning>| matches!(column, Some(Meaning::Loss(_) | Meaning::EvaluationLoss(_)));
        (first && columns.iter().any(loss)).then_some(Self { cut, columns })
    }

    /// What a row says.
    fn row(&self, text: &str) -> Option<Progress> {
        let cells = self.cut.cells(text);
        if cells.len() != self.columns.len() {
            return None;
        }
        let mut row = Progress::default();
        for (cell, meaning) in cells.iter().zip(&self.columns) {
            let value = cell.parse::<f64>().ok();
            let finite = value.filter(|value| value.is_finite());
            match meaning {
                Some(Meaning::Step) => row.step = Some(whole(finite?)?),
                Some(Meaning::Epoch) => row.epoch = Some(finite.filter(|epoch| *epoch >= 0.0)?),
                Some(Meaning::Loss(_) | Meaning::EvaluationLoss(_) | Meaning::GradientNorm(_)) if finite.is_none() => {
                    row.diverged |= value.is_some();
                }
                Some(Meaning::Loss(_)) => row.loss = row.loss.or(finite),
                Some(Meaning::EvaluationLoss(_)) => row.evaluation_loss = row.evaluation_loss.or(finite),
                Some(Meaning::GradientNorm(_)) => row.gradient_norm = finite,
                Some(Meaning::LearningRate) => row.learning_rate = finite.filter(|rate| *rate >= 0.0),
                Some(Meaning::Batch) | None => {}
            }
        }
        Some(row)
    }
}

impl Cut {
    fn cells(self, text: &str) -> Vec<&str> {
        let kept = |cell: &&str| !cell.is_empty();
        let most = COLUMNS_MAX + 1;
        match self {
            Self::Wide => {
                let cells = text.split('\t').flat_map(|part| part.split("  "));
                cells.map(str::trim).filter(kept).take(most).collect()
            }
            Self::Comma => text.split(',').map(str::trim).take(most).collect(),
            Self::Pipe if text.starts_with('|') => {
                text.trim_matches('|').split('|').map(str::trim).take(most).collect()
            }
            Self::Pipe => Vec::new(),
            Self::Space => text.split_ascii_whitespace().take(most).collect(),
        }
    }
}

/// The path in `Saving model checkpoint to /out/checkpoint-500`.
fn checkpoint(text: &str) -> Option<String> {
    if !text.as_bytes().windows(2).any(|pair| matches!(pair, [b's' | b'S' | b'w' | b'W', b'a' | b'r'])) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let words = || lower.split_ascii_whitespace().map(|word| word.trim_matches(|mark: char| !mark.is_alphanumeric()));
    if !words().any(|word| SAVING.contains(&word)) || !words().any(|word| SAVED.contains(&word)) {
        return None;
    }
    let paths = words().zip(text.split_ascii_whitespace().skip(1)).filter_map(|(word, path)| {
        let path = path.trim_matches(['"', '\'', '`', ',', ';', ':', '(', ')']).trim_end_matches('.');
        let plain = path.contains(['/', '.']) && !path.contains("://") && path.parse::<f64>().is_err();
        (plain && matches!(word, "to" | "in" | "at" | "as" | "into")).then_some(path)
    });
    paths.last().map(|path| printable(path, PATH_CHARS_MAX))
}

/// `line` without escape sequences (ECMA-48) and other control characters but tabs.
fn plain(line: &str) -> String {
    let mut end = line.len().min(LINE_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let mut text = String::with_capacity(end);
    let mut characters = line.get(..end).unwrap_or_default().chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => match characters.next() {
                // A control sequence ends with a letter or one of @ to ~.
                Some('[') => while characters.next().is_some_and(|next| !('@'..='~').contains(&next)) {},
                // A command to the terminal ends with BEL or ESC \.
                Some(']') => while characters.next().is_some_and(|next| next != '\u{7}' && next != '\\') {},
                _ => {}
            },
            '\t' => text.push('\t'),
            other if other.is_control() => {}
            other => text.push(other),
        }
    }
    text
}

/// Bytes of a line that are looked at.
pub const LINE_BYTES_MAX: usize = 4_096;
/// Longest path of a checkpoint in characters.
const PATH_CHARS_MAX: usize = 1_024;
/// Most columns of a table.
const COLUMNS_MAX: usize = 64;
/// What bars of training count.
const BATCH_UNITS: &[&str] = &["it", "ba", "batch", "batches", "step", "steps", "iter", "iters", "update", "updates"];
/// Words that say that something was saved.
const SAVING: &[&str] = &["saving", "saved", "wrote", "writing"];
/// What was.
const SAVED: &[&str] = &["checkpoint", "model", "weights", "adapter", "state"];
