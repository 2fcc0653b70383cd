//! What a server does by itself.

use ringfence_engine::{
    EngineError, ExitClass, Settings, Vault,
    schedule::{Came, Job, ScheduleView},
};
use serde_json::json;

use crate::{
    args::schedule::ScheduleAction,
    output::{Printer, Style, table},
};

const HOUR_MS: u64 = 3_600_000;

/// `schedule …`.
pub(crate) fn schedule(
    settings: &Settings<'_>,
    printer: Printer,
    action: &ScheduleAction,
) -> Result<ExitClass, EngineError> {
    let vault = Vault::open(settings)?;
    match action {
        ScheduleAction::Add { job, every, at } => {
            let job: Job = (*job).into();
            one(printer, "planned", &vault.plan(job.name(), every, at.as_deref())?)?;
            printer.say("`ringfence serve` carries it out while it runs");
        }
        ScheduleAction::Rm { id } => one(printer, "removed", &vault.remove_schedule(id)?)?,
        ScheduleAction::Ls => list(printer, &vault.schedules()?)?,
    }
    Ok(ExitClass::Done)
}

pub(crate) fn one(printer: Printer, word: &str, schedule: &ScheduleView) -> Result<(), EngineError> {
    if !printer.for_people() {
        return printer.document("ringfence.schedule/1", &json!(schedule));
    }
    printer.line(format!("{word}  {}  {} every {}, next {}", schedule.id, schedule.job, every(schedule), schedule.due))
}

pub(crate) fn list(printer: Printer, schedules: &[ScheduleView]) -> Result<(), EngineError> {
    if !printer.for_people() {
        return printer.document("ringfence.schedules/1", &json!({"schedules": schedules}));
    }
    if schedules.is_empty() {
        printer.say("nothing is done by itself yet: `ringfence schedule add audit --every 1d`");
        return Ok(());
    }
    let row = |schedule: &ScheduleView| {
        let last = schedule.last.as_ref();
        let style = |came: Came| if came == Came::Clean { Style::Good } else { Style::Bad };
        let came = last.map_or_else(
            || "not yet".to_owned(),
            |last| format!("{} {}: {}", last.ended, printer.strong(last.came.name(), style(last.came)), last.said),
        );
        vec![schedule.id.clone(), schedule.job.to_string(), every(schedule), schedule.due.to_string(), came]
    };
    let rows: Vec<Vec<String>> = schedules.iter().map(row).collect();
    printer.line(table(&rows).trim_end())
}

/// How often, as it is typed.
fn every(schedule: &ScheduleView) -> String {
    let hours = schedule.every_ms / HOUR_MS;
    if hours.is_multiple_of(24) { format!("{}d", hours / 24) } else { format!("{hours}h") }
}
