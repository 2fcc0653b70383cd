//! `release` in another machine's vault: its gate decides there, and the bundle is written here.

use std::path::Path;

use ringfence_engine::{
    Anchor, EngineError, ExitClass, NamespaceState, Version,
    carry::{self, Offer},
    pins,
    reach::{ReachError, server::Patience},
    schema::report::VerifyVerdict,
    verify_bundle,
};

use crate::{
    args::ReleaseArgs,
    command::{
        remote::{One, Perhaps, Remote, hold, path_of, waiting},
        run::print_released,
    },
    output::Printer,
};

/// `release`.
pub(super) fn release(remote: &Remote<'_>, printer: Printer, args: &ReleaseArgs) -> Result<ExitClass, EngineError> {
    // What could not be written must not be released before that is known.
    carry::free_for_bundle(&args.out)?;
    let (wanted, path) = remote.path(&args.reference)?;
    let version = remote.read::<One>(&path)?.version;
    let released = if version.state == NamespaceState::Released {
        version
    } else {
        let asked = remote.act(&format!("{path}/release"), None, Patience::Long);
        match asked.map_err(|error| refused(error, &wanted.to_string()))? {
            Perhaps::Done(One { version }) => version,
            Perhaps::Waiting { request } => return Err(waiting(&request)),
        }
    };
    take(remote, &released, &args.out)?;
    print_released(printer, "ringfence.release/1", &released, &args.out)?;
    Ok(ExitClass::Done)
}

/// The gate's no, as the gate of a vault on this machine says it.
fn refused(error: EngineError, subject: &str) -> EngineError {
    match error {
        EngineError::Reach(ReachError::Problem { kind, reasons, .. }) if kind == "denied" && !reasons.is_empty() => {
            EngineError::Refused { gate: "release", subject: subject.to_owned(), reasons }
        }
        other => other,
    }
}

/// Fetches the bundle of a released version into `out`, once it holds under the trust root that is pinned here.
pub(super) fn take(remote: &Remote<'_>, version: &Version, out: &Path) -> Result<(), EngineError> {
    let (settings, server) = (remote.settings(), remote.server());
    let download = match carry::ask(server, &format!("{}/bundle", path_of(&version.reference())))? {
        Offer::Download(download) => download,
        Offer::Waiting { request } => return Err(waiting(&request)),
    };
    let genuine = |folder: &Path| {
        // The newest root is held first: it may be that its keys have changed since the last command.
        hold(settings, server, remote.vault())?;
        let report = verify_bundle(folder, &Anchor::Pins(&pins(settings)?), (settings.now)())?;
        let name = version.reference().to_string();
        let failed = report.checks.iter().find(|check| !check.passed);
        match report.verdict {
            VerifyVerdict::Tampered | VerifyVerdict::UnknownRoot => {
                let detail = failed.map(|check| format!("{}: {}", check.name, check.detail)).unwrap_or_default();
                Err(EngineError::tampered(format!("bundle of {name}"), detail))
            }
            _ if report.facts.get("released").is_some_and(|released| *released == name) => Ok(()),
            _ => Err(EngineError::tampered(format!("bundle of {name}"), "it is another release's")),
        }
    };
    carry::down_bundle(server, settings.progress, &download, &version.tree, out, &genuine).map(drop)
}
