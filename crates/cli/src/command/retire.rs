//! `retire … --destroy`: versions go for good, with their keys.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use ringfence_engine::{
    EngineError, ExitClass, Settings, Vault, Version,
    destroy::{Destroyed, DestructionPlan},
    schema::finding::printable,
    team::Wanted,
};
use serde_json::{Value, json};

use crate::{
    args::RetireArgs,
    command::vault::reference,
    output::{Printer, Style, size},
};

/// Longest line that is read as an answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 512;

/// `retire`.
pub(crate) fn retire(settings: &Settings<'_>, printer: Printer, args: &RetireArgs) -> Result<ExitClass, EngineError> {
    let wanted = args.references.iter().map(|text| reference(text)).collect::<Result<Vec<_>, _>>()?;
    let vault = Vault::open(settings)?;
    let versions = wanted.iter().map(|wanted| vault.find(wanted)).collect::<Result<Vec<Version>, _>>()?;
    let plan = vault.destruction(&versions)?;
    if args.dry_run {
        print_plan(printer, &plan)?;
        return Ok(ExitClass::Done);
    }
    if !args.yes {
        confirm(printer, &plan)?;
    }
    print_destroyed(printer, &vault.destroy(&versions, args.reason.as_deref().unwrap_or_default())?)?;
    Ok(ExitClass::Done)
}

/// What is asked of a server.
pub(crate) fn wanted(args: &RetireArgs) -> Result<Wanted, EngineError> {
    Ok(Wanted::Destroy { what: named(args)?, reason: args.reason.clone().unwrap_or_default() })
}

/// The versions as a server takes them.
pub(crate) fn named(args: &RetireArgs) -> Result<Vec<String>, EngineError> {
    args.references.iter().map(|text| Ok(reference(text)?.to_string())).collect()
}

/// Has whoever sits here type what is to go.
fn confirm(printer: Printer, plan: &DestructionPlan) -> Result<(), EngineError> {
    if !io::stdin().is_terminal() {
        let what = "nobody is here to be asked, and this cannot be undone: `--yes` says that it is meant".to_owned();
        return Err(EngineError::Usage { what });
    }
    for line in told(plan) {
        printer.say(line);
    }
    let answer = match plan.versions.as_slice() {
        [one] => one.clone(),
        more => format!("{} versions", more.len()),
    };
    printer.say(format!("this cannot be undone; type `{answer}` to go on:"));
    let mut line = String::new();
    io::stdin().lock().take(ANSWER_BYTES_MAX).read_line(&mut line).map_err(EngineError::io("terminal"))?;
    if line.trim() == answer { Ok(()) } else { Err(EngineError::NotPermitted { what: "nothing was destroyed".into() }) }
}

fn told(plan: &DestructionPlan) -> Vec<String> {
    let mut lines = vec![format!("  destroys   {} ({})", plan.versions.join(", "), size(plan.bytes))];
    lines.extend(
        plan.shared.iter().map(|shared| {
            format!("  stays      {} of {}, which {} has too", size(shared.bytes), shared.of, shared.with)
        }),
    );
    lines
}

/// Says what would go.
pub(crate) fn print_plan(printer: Printer, plan: &DestructionPlan) -> Result<(), EngineError> {
    if printer.for_people() {
        told(plan).iter().try_for_each(|line| printer.line(line))?;
        return printer.line("nothing was destroyed: this is what it would take");
    }
    let DestructionPlan { versions, bytes, shared } = plan;
    let body = json!({"verdict": "planned", "artifacts": versions, "bytes": bytes, "shared": shared});
    printer.document("ringfence.retire/1", &body)
}

/// Says what is gone.
pub(crate) fn print_destroyed(printer: Printer, done: &Destroyed) -> Result<(), EngineError> {
    let names: Vec<String> = done.versions.iter().map(|version| version.reference().to_string()).collect();
    let gone = done.versions.iter().find_map(|version| version.destroyed.as_ref());
    if !printer.for_people() {
        let body = json!({
            "verdict": "destroyed",
            "artifacts": names,
            "keys": done.keys,
            "resealed_bytes": done.resealed_bytes,
            "entry": done.entry,
            "ledger_emptied": done.scrubbed,
            "at": gone.map(|gone| gone.at),
            "by": gone.map(|gone| gone.by.clone()),
            "reason": gone.map(|gone| gone.reason.clone()),
        });
        return printer.document("ringfence.retire/1", &body);
    }
    for name in &names {
        printer.line(format!("{}  {}", printer.strong("destroyed", Style::Bad), printable(name, 200)))?;
    }
    let keys = if done.keys == 1 { "1 key".to_owned() } else { format!("{} keys", done.keys) };
    printer.line(format!("  {keys} gone, trail entry {}", done.entry))?;
    if done.resealed_bytes > 0 {
        printer.line(format!("  {} that other versions share were sealed again", size(done.resealed_bytes)))?;
    }
    if !done.scrubbed {
        printer.say("a reader holds old pages of the key ledger; the next start removes them");
    }
    printer.say("copies outside this vault, backups among them, are as they were");
    Ok(())
}

/// The same of what a carried-out request answers.
pub(crate) fn print_carried_out(printer: Printer, done: &Value) -> Result<(), EngineError> {
    let destroyed: Destroyed =
        serde_json::from_value(done.clone()).map_err(|error| EngineError::incomplete("the server's answer", error))?;
    print_destroyed(printer, &destroyed)
}
