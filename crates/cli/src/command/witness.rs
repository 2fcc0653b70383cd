//! `witness …`: being a witness of other people's trails, without a vault; and showing one's own trail to witnesses.

use std::{net::SocketAddr, path::Path, sync::Arc};

use ringfence_engine::{
    EngineError, ExitClass, Settings,
    trail::{self, Said, Witnessing},
    witness::{self, LogSource},
};
use ringfence_server::witness::{CertificateFiles, WitnessServeError, serve};
use serde_json::json;

use crate::{
    args::witness::{AlgorithmName, WitnessAction},
    output::{Printer, Style, table},
};

/// `witness …`.
pub(crate) fn witness(printer: Printer, action: &WitnessAction) -> Result<ExitClass, EngineError> {
    match action {
        WitnessAction::Init { folder, name, algorithm } => init(printer, folder, name.as_deref(), *algorithm)?,
        WitnessAction::AddLog { folder, keys } => {
            let source = match &keys.root {
                Some(file) => LogSource::Root(file.clone()),
                None => LogSource::Keys(keys.vkey.clone()),
            };
            let origin = witness::add_log(&witness::open(folder)?, &source)?;
            if printer.for_people() {
                printer.line(&origin)?;
            } else {
                printer.document("ringfence.witness-log/1", &json!({"origin": origin}))?;
            }
        }
        WitnessAction::Ls { folder } => ls(printer, folder)?,
        WitnessAction::Serve { folder, listen, certificate, key } => {
            let files = match (certificate, key) {
                (Some(chain), Some(key)) => Some(CertificateFiles { chain, key }),
                _ => None,
            };
            listen_at(printer, folder, *listen, files)?;
        }
    }
    Ok(ExitClass::Done)
}

fn init(printer: Printer, folder: &Path, name: Option<&str>, algorithm: AlgorithmName) -> Result<(), EngineError> {
    let made = witness::create(folder, name, algorithm.into())?;
    let vkey = made.verifier_key();
    if !printer.for_people() {
        let body = json!({"name": vkey.name(), "vkey": vkey.to_string()});
        return printer.document("ringfence.witness/1", &body);
    }
    printer.line(vkey.to_string())?;
    printer.say(format!(
        "that key goes into the policy of whoever relies on this witness; its secret half is `{}`",
        folder.join("witness.key").display()
    ));
    Ok(())
}

fn ls(printer: Printer, folder: &Path) -> Result<(), EngineError> {
    let witness = witness::open(folder)?;
    let logs = witness::logs(&witness)?;
    let seen = logs.iter().map(|log| (&log.origin, log.checkpoint()));
    if !printer.for_people() {
        let logs: Vec<_> = seen
            .map(|(origin, latest)| {
                json!({
                    "origin": origin,
                    "entries": latest.as_ref().map(|latest| latest.size),
                    "root": latest.as_ref().map(|latest| latest.root),
                })
            })
            .collect();
        let body = json!({"vkey": witness.verifier_key().to_string(), "logs": logs});
        return printer.document("ringfence.witness/1", &body);
    }
    let mut rows = vec![["log", "entries", "root"].map(str::to_owned).to_vec()];
    rows.extend(seen.map(|(origin, latest)| match latest {
        Some(latest) => vec![origin.clone(), latest.size.to_string(), latest.root.to_string()],
        None => vec![origin.clone(), "none yet".to_owned(), String::new()],
    }));
    printer.raw(table(&rows).as_bytes())
}

fn listen_at(
    printer: Printer,
    folder: &Path,
    listen: SocketAddr,
    files: Option<CertificateFiles<'_>>,
) -> Result<(), EngineError> {
    let witness = witness::open(folder)?;
    let scheme = if files.is_some() { "https" } else { "http" };
    let ready = |address: SocketAddr| {
        let prefix = format!("{scheme}://{address}");
        // Whoever started it may have gone; the witness stays.
        let _ = if printer.for_people() {
            printer.line(format!("listening at {prefix}"))
        } else {
            printer.document("ringfence.witness-serve/1", &json!({"address": prefix}))
        };
    };
    let talk = Arc::new(move |line: &str| printer.say(line));
    serve(witness, listen, files, ready, talk).map_err(|error| match error {
        WitnessServeError::NeedsTls { .. } => EngineError::Usage { what: error.to_string() },
        WitnessServeError::Certificate { path, why } => EngineError::incomplete(path.display().to_string(), why),
        other => EngineError::incomplete("witness", other),
    })
}

/// `trail witness`.
pub(crate) fn show_trail(settings: &Settings<'_>, printer: Printer) -> Result<ExitClass, EngineError> {
    let done = trail::witness(settings)?;
    if printer.for_people() {
        print_witnessing(printer, &done, &mut |line| printer.line(line))?;
    } else {
        printer.document("ringfence.trail-witness/1", &done)?;
    }
    done.verdict().map(|()| ExitClass::Done)
}

/// Who cosigned, line by line.
pub(crate) fn print_witnessing(
    printer: Printer,
    done: &Witnessing,
    line: &mut dyn FnMut(&str) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let width = done.witnesses.iter().map(|witness| witness.name.chars().count()).max().unwrap_or(0);
    for witness in &done.witnesses {
        let (word, style, detail) = match &witness.said {
            Said::Cosigned { at } => ("cosigned", Style::Good, format!("{} entries at {at}", done.entries)),
            Said::NoAddress => ("no address", Style::Quiet, "the policy does not say where it is".to_owned()),
            Said::Unreachable { why } => ("no answer", Style::Warn, why.clone()),
            Said::Refused { why } => ("refused", Style::Warn, why.clone()),
            Said::RolledBack { entries } => {
                ("ROLLED BACK", Style::Bad, format!("it saw {entries} entries, there are {}", done.entries))
            }
            Said::Forked { entries } => ("FORKED", Style::Bad, format!("it saw other entries, {entries} of them")),
        };
        let word = printer.strong(&format!("{word:<11}"), style);
        line(&format!("{word}  {:<width$}  {detail}", witness.name))?;
    }
    let enough = if done.met { "enough for the policy" } else { "not enough for the policy" };
    line(&format!("{} entries: {enough}", done.entries))
}
