//! `trainer_state.json`, which Hugging Face's trainer writes into every checkpoint (transformers,
//! `trainer_callback.TrainerState`): the entries of its `log_history`.
//!
//! Every checkpoint repeats the whole history, so [`Histories`] counts the entries that were told, for each folder of
//! checkpoints.
#![deny(clippy::indexing_slicing)]

use std::collections::BTreeMap;

use ringfence_schema::event::{Progress, Told};
use serde_json::Value;

use super::{Nonsense, record};

/// The progress in the history of a trainer state, entry by entry; `None` for entries that say nothing of it, so that
/// positions stay.
///
/// # Errors
/// What is wrong with the document. An entry that is wrong in itself is left out.
pub fn history(bytes: &[u8]) -> Result<Vec<Option<Progress>>, Nonsense> {
    let Value::Object(state) = record::document(bytes, BYTES_MAX)? else { return Err(Nonsense::Shape) };
    let entries = state.get("log_history").and_then(Value::as_array).ok_or(Nonsense::Shape)?;
    let entry = |entry: &Value| {
        let mut fields = entry.as_object()?.clone();
        // The last entry sums up the training: its loss is the mean over all of it.
        if fields.contains_key("train_runtime") {
            fields.remove("train_loss");
        }
        let progress = record::progress(&fields).ok()?;
        let measured = Progress { step: None, epoch: None, ..progress.clone() } != Progress::default();
        measured.then_some(Progress { told: Told::TrainerState, ..progress })
    };
    Ok(entries.iter().take(ENTRIES_MAX).map(entry).collect())
}

/// How much of each history was told.
#[derive(Debug, Default)]
pub(super) struct Histories {
    told: BTreeMap<String, usize>,
}

impl Histories {
    /// What is new in the state at `path` (below the output folder).
    pub(super) fn news(&mut self, path: &str, bytes: &[u8]) -> Result<Vec<Progress>, Nonsense> {
        let entries = history(bytes)?;
        let folder = trainer_folder(path);
        if self.told.len() >= FOLDERS_MAX && !self.told.contains_key(folder) {
            return Err(Nonsense::Many);
        }
        let told = self.told.entry(folder.to_owned()).or_default();
        let before = std::mem::replace(told, entries.len().max(*told));
        Ok(entries.into_iter().skip(before).flatten().collect())
    }
}

/// The folder in which a trainer makes its checkpoints.
fn trainer_folder(path: &str) -> &str {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
    if name.starts_with("checkpoint-") { above } else { folder }
}

/// Name of the file.
pub(super) const FILE_NAME: &str = "trainer_state.json";
/// Largest file in bytes; one entry takes about 150.
pub(super) const BYTES_MAX: usize = 4 << 20;
/// Most entries of a history.
const ENTRIES_MAX: usize = 65_536;
/// Most folders of checkpoints.
const FOLDERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_told_once_however_many_checkpoints_repeat_them() {
        let state = |entries: &str| format!("{{\"global_step\": 3, \"log_history\": [{entries}]}}").into_bytes();
        let first = r#"{"epoch":0.1,"grad_norm":1.5,"learning_rate":4.9e-05,"loss":0.9,"step":10}"#;
        let second = r#"{"epoch":0.2,"eval_loss":0.8,"eval_runtime":1.0,"step":20}"#;
        let last = r#"{"epoch":1.0,"step":20,"train_loss":0.85,"train_runtime":9.9,"total_flos":1.0}"#;
        let mut histories = Histories::default();
        let mut news = |path: &str, entries: String| histories.news(path, &state(&entries)).unwrap();
        let told = news("run/checkpoint-10/trainer_state.json", first.to_owned());
        assert_eq!((told.len(), told[0].step, told[0].loss), (1, Some(10), Some(0.9)));
        let both = format!("{first},{second}");
        let told = news("run/checkpoint-20/trainer_state.json", both.clone());
        assert_eq!((told.len(), told[0].evaluation_loss), (1, Some(0.8)));
        assert!(news("run/trainer_state.json", format!("{both},{last}")).is_empty());
        assert_eq!(news("other/checkpoint-10/trainer_state.json", both).len(), 2);
    }

    #[test]
    fn a_state_that_is_none_is_named() {
        assert_eq!(history(b"{\"log_history\": [{\"loss\": 1"), Err(Nonsense::Json));
        assert_eq!(history(b"{\"log_history\": 3}"), Err(Nonsense::Shape));
        assert_eq!(history(b"{\"log_history\": [3, {\"loss\": \"x\"}, {}]}"), Ok(vec![None, None, None]));
        assert_eq!(history(&vec![b' '; BYTES_MAX + 1]), Err(Nonsense::Long));
        let nan = history(b"{\"log_history\": [{\"loss\": NaN, \"step\": 1}]}").unwrap();
        assert!(nan[0].as_ref().unwrap().diverged);
    }
}
