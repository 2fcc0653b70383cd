//! `attack --since`: a model beside an earlier one.

use std::path::Path;

use ringfence_engine::{
    EngineError, ExitClass, ModelFile, Settings, Side, Vault, attack_since, card,
    files::{AttackJob, Dataset},
    schema::{
        Reference,
        since::{Drop, SinceReport},
    },
};

use crate::{
    args::attack::AttackArgs,
    command::files::percent,
    output::{Printer, Style, table},
};

/// What is meant by a model's name where there may be a vault: a file, if there is one, or a version.
enum Named<'a> {
    File(&'a ModelFile),
    Version(Reference),
    /// The last release before the model.
    Released,
}

fn named(model: &ModelFile) -> Named<'_> {
    let told = model.path().to_str().filter(|_| !model.path().exists());
    match told {
        Some(RELEASED) => Named::Released,
        Some(told) => told.parse().map_or(Named::File(model), Named::Version),
        None => Named::File(model),
    }
}

/// Whether a comparison names something in a vault.
pub(crate) fn names_a_version(args: &AttackArgs) -> bool {
    let file = |text: &Path| matches!(named(&ModelFile::new(text, None)), Named::File(_));
    args.since.as_deref().is_some_and(|earlier| !file(earlier) || !args.model.as_deref().is_none_or(file))
}

/// Attacks both and tells what was lost.
pub(crate) fn since(
    settings: &Settings<'_>,
    printer: Printer,
    args: &AttackArgs,
    [model, earlier]: [&ModelFile; 2],
    data: &Dataset,
    job: &AttackJob,
) -> Result<ExitClass, EngineError> {
    let report = match (named(model), named(earlier)) {
        (Named::File(model), Named::File(earlier)) => attack_since(settings, [model, earlier], data, job)?,
        (model, earlier) => {
            let vault = Vault::open(settings)?;
            let model = side(&vault, model, None)?;
            let earlier = side(&vault, earlier, Some(&model))?;
            vault.attack_since([&model, &earlier], data, job)?
        }
    };
    if printer.for_people() {
        print(printer, &report)?;
    } else {
        printer.json(&report)?;
    }
    args.page.write(|| card::since_page(&report))?;
    Ok(match report.verdict {
        Drop::Dropped => ExitClass::No,
        Drop::NotShown => ExitClass::Done,
        Drop::CannotState => ExitClass::Incomplete,
    })
}

/// What is attacked; `model` is what an earlier release comes before.
fn side(vault: &Vault<'_>, named: Named<'_>, model: Option<&Side>) -> Result<Side, EngineError> {
    let version = match (named, model) {
        (Named::File(file), _) => return Ok(Side::File(file.to_owned())),
        (Named::Version(reference), _) => vault.find(&reference)?,
        (Named::Released, Some(Side::Version(version))) => vault.released_before(version)?,
        (Named::Released, Some(Side::File(_))) => {
            let what = "`--since released` is the last release of a model in the vault; for a file, name it: `--since model/NAME@released`";
            return Err(EngineError::Usage { what: what.into() });
        }
        (Named::Released, None) => {
            // A model may be called so; then it is one of the vault's all the same.
            let what = format!("`{RELEASED}` is no model; name a file, or a version such as model/NAME@3");
            return Err(EngineError::Usage { what });
        }
    };
    Ok(Side::Version(Box::new(version)))
}

fn print(printer: Printer, report: &SinceReport) -> Result<(), EngineError> {
    let mut rows = vec![["worst case", "earlier", "now", "lost", "won", "difference", "p"].map(str::to_owned).to_vec()];
    rows.extend(report.radii.iter().map(|radius| {
        let points = |share: f64| format!("{:+.1}", share * 100.0);
        let [low, high] = radius.difference_ci95;
        vec![
            format!("{} {:.4}", radius.norm, radius.eps),
            percent(radius.earlier),
            percent(radius.now),
            radius.lost.to_string(),
            radius.won.to_string(),
            format!("{} ({} to {}) points", points(radius.difference), points(low), points(high)),
            format!("{:.1e}", radius.p_value),
        ]
    }));
    if rows.len() > 1 {
        printer.raw(table(&rows).as_bytes())?;
    }
    if report.recorded {
        printer.line(format!("{} was not attacked again: its evidence says what stood", report.earlier))?;
    }
    let p = report.p_value.map_or_else(String::new, |p| format!(" (p = {p:.1e}, {} needed)", report.threshold));
    let note = report.note.as_deref().unwrap_or_default();
    let word = |style| printer.strong(report.verdict.name(), style);
    printer.line(match report.verdict {
        Drop::Dropped => {
            format!("{}: {} withstands less than {}{p}", word(Style::Bad), report.model, report.earlier)
        }
        Drop::NotShown => {
            format!(
                "{}: {} was not shown to withstand less than {}{p}",
                word(Style::Good),
                report.model,
                report.earlier
            )
        }
        Drop::CannotState => format!("{}: {note}", word(Style::Warn)),
    })
}

/// The last release before the model.
const RELEASED: &str = "released";
