//! Pickle streams: one or several pickles in a row, torch's legacy files, and what is nested inside.

use std::{
    collections::HashMap,
    io::{self, Cursor},
};

use ringfence_schema::Verdict;

use crate::{
    audit::Audit,
    pickle::{self, Encoding, End, Nested, Report, Storage, nested},
    rules::id,
    source::{Source, Window, bytes_at, is_blank_from, length},
};

/// Most pickles with a PROTO opcode in a row; what follows is reported as trailing.
const PICKLES_MAX: u32 = 10_000_000;
/// Most rows of pickles, that is, most changes from one with PROTO to one without.
const ROWS_MAX: u32 = 1_000;
/// How far a guessed pickle is followed, in bytes.
const GUESS_BYTES_MAX: u64 = 4 << 20;
/// Longest encoded text that is decoded, in bytes.
const ENCODED_BYTES_MAX: u64 = 4 << 20;
/// How often a nested pickle may be encoded.
const LAYERS_MAX: u32 = 6;
/// How much of a decoded text is looked at for the next layer, in bytes.
const LAYER_HEAD_BYTES: usize = 64 << 10;
/// Candidates that a search tries.
const CANDIDATES_MAX: usize = 64;
/// torch's magic number as a pickle of its own (`torch/serialization.py`, `MAGIC_NUMBER`).
const TORCH_MAGIC: [u8; 15] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Pickles of a legacy torch file: magic, version, system, object, storage keys.
const TORCH_PICKLES: u32 = 5;

impl Audit<'_> {
    /// Follows every pickle from `start` and looks at what remains.
    pub(crate) fn pickles(&mut self, source: &mut dyn Source, start: u64, script: bool) -> io::Result<&'static str> {
        let is_torch = bytes_at(source, start, 15)? == TORCH_MAGIC;
        let most = if is_torch { TORCH_PICKLES } else { PICKLES_MAX };
        let mut storages = HashMap::new();
        let mut at = start;
        for _ in 0..if is_torch { 1 } else { ROWS_MAX } {
            let report = self.row(source, at, script, most)?;
            storages.extend(report.storages);
            at = report.stop;
            if report.end != End::Stop {
                return Ok(if is_torch { "pytorch-legacy" } else { "pickle" });
            }
            if !is_torch && !another_follows(source, at)? {
                break;
            }
        }
        let rest = length(source)?.saturating_sub(at);
        if is_torch {
            self.legacy_storages(source, at, rest, &storages)?;
            return Ok("pytorch-legacy");
        }
        if rest > 0 && !is_blank_from(source, at)? {
            self.note(id::PKL_TRAILING, &format!("{rest} bytes follow the pickle"), Some(at));
            self.inspect_rest(source, at)?;
        }
        Ok("pickle")
    }

    /// Follows up to `most` pickles from `start`, with their findings and what is nested in them.
    pub(crate) fn row(&mut self, source: &mut dyn Source, start: u64, script: bool, most: u32) -> io::Result<Report> {
        let report = pickle::follow(source, start, script, most);
        self.drafts(&report.drafts, report.overflow);
        match report.end {
            End::Stop => {}
            End::Broken { offset, reason } => {
                let rule = if report.stop == start { id::GEN_UNKNOWN } else { id::PKL_BROKEN };
                self.note(rule, &format!("the pickle breaks off: {reason}"), Some(offset));
            }
            End::Limit { offset, reason } => self.note(id::PKL_LIMIT, reason, Some(offset)),
        }
        for nested in &report.nested {
            self.nested(source, *nested)?;
        }
        Ok(report)
    }

    /// Each storage is its number of items (8 bytes) and its data, in the order of the last pickle.
    fn legacy_storages(
        &mut self,
        source: &mut dyn Source,
        at: u64,
        rest: u64,
        storages: &HashMap<String, Storage>,
    ) -> io::Result<()> {
        let sum = storages.values().try_fold(0_u64, |sum, storage| sum.checked_add(storage.bytes?.checked_add(8)?));
        self.weights(source, at, sum.unwrap_or(rest).min(rest))?;
        if sum == Some(rest) {
            return Ok(());
        }
        let message = match sum {
            Some(sum) => format!("the pickle names {sum} bytes of storages, {rest} bytes follow"),
            None => "the size of some storages is unclear".to_owned(),
        };
        self.note(id::TCH_STORAGE, &message, Some(at));
        match sum {
            Some(sum) if sum < rest => self.inspect_rest(source, at + sum),
            _ => Ok(()),
        }
    }

    /// A part of a pickle that may be a pickle.
    fn nested(&mut self, source: &mut dyn Source, nested: Nested) -> io::Result<()> {
        if self.depth() >= self.limits.depth_max {
            if nested.encoding == Encoding::Loaded {
                self.note(id::GEN_DEPTH, "nested deeper than the limit", Some(nested.offset));
            }
            return Ok(());
        }
        let name = format!("bytes@{:#x}", nested.offset);
        match nested.encoding {
            Encoding::Loaded => {
                let mut window = Window::new(source, nested.offset, nested.length)?;
                self.within(&name, |audit| audit.inspect(&mut window));
            }
            Encoding::Plain => {
                let mut window = Window::new(source, nested.offset, nested.length)?;
                self.within(&name, |audit| audit.guess(&mut window));
            }
            encoding => {
                let text = bytes_at(source, nested.offset, nested.length.min(ENCODED_BYTES_MAX))?;
                self.within(&name, |audit| {
                    audit.layers(&text, encoding, LAYERS_MAX);
                    // The first bytes may only look encoded, and hide what stands behind them.
                    if let Some(rest) = nested::embedded(&text).and_then(|at| text.get(at..)) {
                        audit.guess(&mut Cursor::new(rest));
                    }
                });
            }
        }
        Ok(())
    }

    /// Decodes what may be a pickle, as often as it takes.
    fn layers(&mut self, text: &[u8], encoding: Encoding, left: u32) {
        let bytes = if self.room() == 0 { Vec::new() } else { nested::decode(text, encoding) };
        if encoding == Encoding::Packed {
            self.inflated = self.inflated.saturating_add(bytes.len() as u64);
        }
        if self.guess(&mut Cursor::new(&bytes)) || left == 0 {
            return;
        }
        let head = bytes.get(..bytes.len().min(LAYER_HEAD_BYTES)).unwrap_or_default();
        let Some((start, encoding)) = nested::candidate(head) else { return };
        let rest = usize::try_from(start).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
        if encoding != Encoding::Plain {
            self.layers(rest, encoding, left - 1);
        } else if start > 0 {
            self.guess(&mut Cursor::new(rest));
        }
    }

    /// Follows what may be a pickle; it only counts if it does what chance does not.
    pub(crate) fn guess(&mut self, source: &mut dyn Source) -> bool {
        let report = pickle::follow(source, 0, false, 1);
        if !is_believable(&report, None) {
            if is_finished(&report) {
                // Plain data, which may hold the next layer.
                self.all_nested(source, &report);
            }
            return false;
        }
        let worst = report.drafts.iter().fold(Verdict::Clean, |worst, draft| worst.and(draft.rule.verdict));
        if matches!(worst, Verdict::Suspicious | Verdict::Malicious) {
            self.note(id::PKL_EMBEDDED, "a pickle with imports stands inside other data", Some(0));
            self.drafts(&report.drafts, report.overflow);
        }
        self.all_nested(source, &report);
        true
    }

    fn all_nested(&mut self, source: &mut dyn Source, report: &Report) {
        for nested in &report.nested {
            if let Err(error) = self.nested(source, *nested) {
                self.note(id::GEN_READ, &format!("reading failed: {error}"), None);
            }
        }
    }

    /// Tries the places of `bytes`, the first bytes of `source`, where a pickle may begin.
    pub(crate) fn carve_bytes(&mut self, bytes: &[u8], source: &mut dyn Source) {
        let framed = memchr::memchr_iter(0x80, bytes);
        let old = memchr::memmem::find_iter(bytes, b"\n").map(|at| at + 1).chain([0]);
        let begins = |at: &usize| {
            let rest = bytes.get(*at..).unwrap_or_default();
            nested::is_start(rest) || nested::has_global_line(rest)
        };
        let places: Vec<usize> = framed.chain(old).filter(begins).take(CANDIDATES_MAX).collect();
        let globals = memchr::memchr2_iter(b'c', b'(', bytes)
            .filter(|at| nested::has_global_line(bytes.get(*at..).unwrap_or_default()))
            .take(CANDIDATES_MAX);
        let mut all: Vec<usize> = places.into_iter().chain(globals).collect();
        all.sort_unstable();
        all.dedup();
        let mut found_until = 0;
        for at in all {
            if at < found_until {
                continue;
            }
            let Ok(mut window) = Window::new(source, at as u64, GUESS_BYTES_MAX) else { return };
            if self.within(&format!("carved@{at:#x}"), |audit| audit.guess(&mut window)) {
                // One believable pickle is enough; what it contains is not tried again.
                found_until = at + 16;
                if self.depth() > self.limits.depth_max {
                    return;
                }
            }
        }
    }
}

/// Whether a report is more than chance: it names a gadget, or it names something and ends as pickles end.
///
/// `whole`: the length of a content that should be a pickle from its first to its last byte.
fn is_believable(report: &Report, whole: Option<u64>) -> bool {
    let ended = report.end == End::Stop;
    // Lists of words name gadgets by chance, as in `cio`, `cips`; what is only a part of a content must go on to use one.
    report.gadget && (whole.is_some() || ended || report.calls > 0)
        || ended && report.plain_names > 0
        || report.calls > 0 && report.plain_names > 0
        || whole.is_some_and(|whole| ended && report.opcodes > 1 && report.stop == whole)
}

/// Whether a content without signature is a pickle of protocol 0 or 1, or several in a row.
pub(crate) fn is_old_pickle(source: &mut dyn Source) -> bool {
    let Ok(whole) = length(source) else { return false };
    let mut at = 0;
    for _ in 0..ROWS_MAX {
        let report = pickle::follow(source, at, false, 1);
        if is_believable(&report, Some(whole)) {
            return true;
        }
        if !is_finished(&report) {
            return false;
        }
        at = report.stop;
    }
    true
}

/// Ended with STOP, and not by a single byte that happens to be one.
fn is_finished(report: &Report) -> bool {
    report.end == End::Stop && report.opcodes > 1
}

/// Whether a content that is no text begins by naming something, as only pickles do, however it goes on.
pub(crate) fn names_something(source: &mut dyn Source) -> bool {
    pickle::follow(source, 0, false, 1).plain_names > 0
}

/// Whether another pickle begins at `at`.
fn another_follows(source: &mut dyn Source, at: u64) -> io::Result<bool> {
    let head = bytes_at(source, at, 64)?;
    let report = pickle::follow(source, at, false, 1);
    Ok(nested::is_start(&head) || is_finished(&report) || is_believable(&report, None))
}
