//! The main job: a plan from its inputs to its release.

use std::path::Path;

use ringfence_engine::{
    DemandedLevel, EngineError, ExitClass, Plan, RunEnd, RunOptions, Settings, Vault, Version, schema::Digest,
};
use serde_json::json;

use crate::{
    args::{Level, ReleaseArgs, RunArgs},
    command::vault::{exemptions, protection, reference},
    output::{Printer, Style},
};

/// `run`.
pub(crate) fn run(settings: &Settings<'_>, printer: Printer, args: &RunArgs) -> Result<ExitClass, EngineError> {
    // A plan that cannot be read must not leave a new vault behind.
    let plan = Plan::read(&args.plan)?;
    let mut vault = Vault::open_or_init(settings, protection())?;
    let level = demanded(args.level);
    let options = RunOptions { exempt: exemptions(args.skip), level, release_to: args.out.clone() };
    match vault.run(&plan, &options)? {
        RunEnd::Released { released, folder } => {
            let folder = folder.unwrap_or_default();
            print_released(printer, "ringfence.run/1", released.version(), &folder)?;
            Ok(ExitClass::Done)
        }
        RunEnd::Kept { candidate } => {
            print_kept(printer, &candidate.reference().to_string(), candidate.tree)?;
            Ok(ExitClass::Done)
        }
        RunEnd::Refused { candidate, reasons, report } => {
            let name = candidate.reference();
            if printer.for_people() {
                printer.line(format!("{}  {name}", printer.strong("refused", Style::Bad)))?;
                if let Some(report) = report {
                    printer.line(format!("  report  {}", report.display()))?;
                }
            } else {
                printer.document(
                    "ringfence.run/1",
                    &json!({"verdict": "refused",
                        "artifact": name.to_string(),
                        "tree": candidate.tree,
                        "reasons": reasons,
                        "report": report,
                    }),
                )?;
            }
            Err(EngineError::Refused { gate: "release", subject: name.to_string(), reasons })
        }
    }
}

/// The confinement that was typed.
pub(crate) fn demanded(level: Level) -> DemandedLevel {
    match level {
        Level::Any => DemandedLevel::Any,
        Level::NoCgroup => DemandedLevel::NoCgroup,
        Level::Full => DemandedLevel::Full,
    }
}

/// Says that a candidate was kept.
pub(crate) fn print_kept(printer: Printer, name: &str, tree: Digest) -> Result<(), EngineError> {
    if printer.for_people() {
        printer.line(format!("{}  {name}", printer.strong("kept", Style::Good)))?;
        printer.say("the plan has no `[test]`, so nothing was attacked and nothing released");
        Ok(())
    } else {
        printer.document("ringfence.run/1", &json!({"verdict": "kept", "artifact": name, "tree": tree}))
    }
}

/// `release`.
pub(crate) fn release(settings: &Settings<'_>, printer: Printer, args: &ReleaseArgs) -> Result<ExitClass, EngineError> {
    let wanted = reference(&args.reference)?;
    let vault = Vault::open(settings)?;
    let released = vault.release_again(&vault.find(&wanted)?, &args.out)?;
    print_released(printer, "ringfence.release/1", released.version(), &args.out)?;
    Ok(ExitClass::Done)
}

/// Says that something was released, and where its bundle is.
pub(crate) fn print_released(
    printer: Printer,
    schema: &'static str,
    version: &Version,
    folder: &Path,
) -> Result<(), EngineError> {
    let report = folder.join(ringfence_engine::bundle::REPORT_FILE);
    if printer.for_people() {
        printer.line(format!("{}  {}", printer.strong("released", Style::Good), version.reference()))?;
        printer.line(format!("  bundle  {}", folder.display()))?;
        printer.line(format!("  report  {}", report.display()))?;
        printer.say(format!(
            "  verify     ringfence show root > vault.root; ringfence verify {} --root vault.root",
            folder.display()
        ));
        Ok(())
    } else {
        printer.document(
            schema,
            &json!({"verdict": "released",
                "artifact": version.reference().to_string(),
                "tree": version.tree,
                "bundle": folder,
                "report": report,
            }),
        )
    }
}
