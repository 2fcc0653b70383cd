//! Attacks carried out on purpose, to prove that a control works.

use ringfence_engine::{EngineError, ExitClass, Settings, drill};
use serde_json::json;

use crate::{
    args::watch::DrillAction,
    output::{Printer, Style, table},
};

/// `drill`.
pub(crate) fn drill(settings: &Settings<'_>, printer: Printer, action: &DrillAction) -> Result<ExitClass, EngineError> {
    let names = match action {
        DrillAction::Ls => {
            if printer.for_people() {
                let rows: Vec<Vec<String>> =
                    drill::names().map(|(name, does)| vec![name.to_owned(), does.to_owned()]).collect();
                printer.line(table(&rows).trim_end())?;
            } else {
                let all: Vec<_> = drill::names().map(|(name, does)| json!({"name": name, "does": does})).collect();
                printer.document("ringfence.drills/1", &json!({"drills": all}))?;
            }
            return Ok(ExitClass::Done);
        }
        DrillAction::Run { names } => names,
    };
    let mut all = Vec::new();
    let mut failed = None;
    drill::run(settings, names, &mut |drilled| {
        if printer.for_people() {
            let (word, style) = if drilled.passed { ("held", Style::Good) } else { ("FAILED", Style::Bad) };
            let stopped = drilled.stopped_by.as_ref().map(|how| format!("stopped: {how}"));
            let seen = drilled.seen_by.as_ref().map(|(kind, after)| format!("seen: {kind} after {after} ms"));
            let how: Vec<String> = stopped.into_iter().chain(seen).collect();
            let lines = format!(
                "{}  {:<18} {}\n        {}\n        {}",
                printer.strong(word, style),
                drilled.name,
                drilled.does,
                how.join("; "),
                drilled.detail
            );
            if let Err(error) = printer.line(lines) {
                failed.get_or_insert(error);
            }
        }
        all.push(drilled.clone());
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let passed = all.iter().all(|drilled| drilled.passed);
    if printer.for_people() {
        let held = all.iter().filter(|drilled| drilled.passed).count();
        printer.line(format!("{held} of {} drills held", all.len()))?;
    } else {
        printer.document("ringfence.drill/1", &json!({"passed": passed, "drills": all}))?;
    }
    Ok(if passed { ExitClass::Done } else { ExitClass::No })
}
