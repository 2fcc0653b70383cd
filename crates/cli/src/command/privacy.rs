//! `attack privacy`, and `harden --mode dp-sgd`.

use ringfence_engine::{
    EngineError, ExitClass, Settings, card,
    files::{self, Drawn, ModelData, PrivacyInput},
    schema::{
        privacy::{DpGuarantee, Leak, PrivacyReport},
        report::HardenReport,
    },
};

use super::files::{dataset, percent};
use crate::{
    args::{HardenArgs, privacy::PrivacyArgs},
    output::{Printer, Style, table},
};

/// `attack privacy`. A leak that is shown is an answer of no; one that cannot be stated is incomplete.
pub(crate) fn privacy(settings: &Settings<'_>, printer: Printer, args: &PrivacyArgs) -> Result<ExitClass, EngineError> {
    let (report, pictures) = match (&args.canaries, &args.members, &args.non_members) {
        (Some(plan), ..) => {
            let Some(model) = &args.model else {
                return Err(EngineError::Usage { what: "`--canaries` needs a model".into() });
            };
            (
                files::privacy_of_language(settings, &args.architecture.of(model), plan, args.inputs.random.seed)?,
                Vec::new(),
            )
        }
        (None, Some(members), Some(non_members)) => {
            let input = PrivacyInput {
                members: dataset(members, &args.read),
                non_members: dataset(non_members, &args.read),
                references: args.reference.iter().map(|model| args.architecture.of(model)).collect(),
                masks: args.reference_masks.clone(),
                range: args.inputs.range()?,
            };
            let target = args.other.target(args.model.as_deref().map(|model| args.architecture.of(model)), None)?;
            files::privacy(settings, &target, &input, &args.plan())?
        }
        _ => {
            let what = "`attack privacy` needs `--members` and `--non-members`, or `--canaries`";
            return Err(EngineError::Usage { what: what.into() });
        }
    };
    keep(args, &pictures)?;
    if printer.for_people() {
        print_report(printer, &report)?;
    } else {
        printer.json(&report)?;
    }
    args.page.write(|| card::privacy_page(&report))?;
    Ok(match report.leak {
        Leak::Shown => ExitClass::No,
        Leak::NotShown => ExitClass::Done,
        Leak::CannotState => ExitClass::Incomplete,
    })
}

fn keep(args: &PrivacyArgs, pictures: &[Drawn]) -> Result<(), EngineError> {
    let Some(folder) = args.out.as_ref().filter(|_| !pictures.is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
    pictures.iter().try_for_each(|picture| files::write_new(&folder.join(&picture.name), &picture.bytes))
}

fn print_report(printer: Printer, report: &PrivacyReport) -> Result<(), EngineError> {
    if let Some(accuracy) = &report.accuracy {
        let (members, others) = (percent(accuracy.members), percent(accuracy.non_members));
        printer.line(format!("accuracy: {members} of members, {others} of others"))?;
    }
    if !report.membership.is_empty() {
        let mut rows = vec![["test", "AUC", "95 % interval", "TPR at 1 % FPR", "at 0.1 %"].map(str::to_owned).to_vec()];
        rows.extend(report.membership.iter().map(|test| {
            let interval = test.auc_ci95.map(|[low, high]| format!("{low:.3} – {high:.3}"));
            let rate = |place: usize| test.tpr_at_fpr.get(place).and_then(|rate| rate.tpr).map(percent);
            let said = |text: Option<String>| text.unwrap_or_else(|| UNSTATED.to_owned());
            let auc = test.auc.map(|auc| format!("{auc:.3}"));
            vec![test.attack.clone(), said(auc), said(interval), said(rate(0)), said(rate(1))]
        }));
        printer.raw(table(&rows).as_bytes())?;
    }
    for found in &report.attributes {
        let (members, others) = (percent(found.members), percent(found.non_members));
        printer.line(format!(
            "attribute {:?}: {members} of members guessed, {others} of others, {} by the commonest value",
            found.columns,
            percent(found.commonest)
        ))?;
    }
    for found in &report.inversions {
        let likeness = found.correlation.map_or_else(|| UNSTATED.to_owned(), |value| format!("{value:.2}"));
        printer.line(format!(
            "class {}: recovered with confidence {}, correlation with its members {likeness}",
            found.class,
            percent(found.confidence)
        ))?;
    }
    for canary in &report.canaries {
        let sign = if canary.at_least { "at least " } else { "" };
        printer.line(format!(
            "canary {}: exposure {sign}{:.1} of {:.1} bits",
            canary.canary, canary.exposure, canary.most
        ))?;
    }
    if let Some(found) = &report.extraction {
        let control = found.control_rate.map_or_else(|| UNSTATED.to_owned(), percent);
        printer.line(format!(
            "sequences: {} of {} come out word for word after {} tokens; of controls {control}",
            found.extracted, found.sequences, found.prefix
        ))?;
    }
    printer.line(match report.leak {
        Leak::Shown => printer.strong("a leak of training data is shown", Style::Bad),
        Leak::NotShown => "no leak is shown by these tests; none of them can show that there is none".to_owned(),
        Leak::CannotState => "nothing can be stated: too few examples".to_owned(),
    })
}

/// `harden --mode dp-sgd`.
pub(crate) fn harden(settings: &Settings<'_>, args: &HardenArgs) -> Result<HardenReport, EngineError> {
    let unfit = [
        ("--eps", args.eps.is_some()),
        ("--clean-share", args.clean_share.is_some()),
        ("--settings", args.settings.is_some()),
        ("--attack-steps", args.attack_steps.is_some()),
        ("--checkpoint", args.checkpoint.is_some()),
    ];
    if let Some((name, _)) = unfit.into_iter().find(|(_, given)| *given) {
        return Err(EngineError::Usage { what: format!("`{name}` does not go with `--mode dp-sgd`") });
    }
    let input = ModelData { model: args.architecture.of(&args.model), data: dataset(&args.data, &args.read) };
    files::harden_private(settings, &input, &args.private_plan(), &args.outs()?)
}

/// Says what was guaranteed.
pub(crate) fn print_guarantee(printer: Printer, found: &DpGuarantee) -> Result<(), EngineError> {
    let epsilon = found.epsilon.map_or_else(|| UNSTATED.to_owned(), |epsilon| format!("{epsilon:.3}"));
    printer.line(format!(
        "epsilon {epsilon} at delta {:e} ({}), noise {:.3}, clipping length {}, {} steps of {} examples on average",
        found.delta, found.accountant, found.noise, found.clip, found.steps, found.expected_batch
    ))?;
    printer.line(&found.note)
}

const UNSTATED: &str = "cannot state";
