//! What works on this machine, what does not, and what to do about it.

use std::{borrow::Cow, fs};

use ringfence_sandbox::Level;
use serde::{Deserialize, Serialize};

use crate::{
    error::EngineError,
    settings::Settings,
    trail::{Standing, standing, verify_trail},
    work::{Desk, Job},
};

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Works.
    Ok,
    /// Works with less than it could.
    Warn,
    /// Does not work.
    Fail,
}

/// One part of the installation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: Cow<'static, str>,
    /// How it is.
    pub health: Health,
    /// What was seen.
    pub detail: String,
    /// What to do; empty where nothing is to be done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

/// Looks at every part.
pub fn examine(settings: &Settings<'_>) -> Vec<Part> {
    let mut parts = vec![
        sandbox(settings),
        workers(settings),
        folder("vault", &settings.vault),
        folder("configuration", &settings.config),
        trail(settings),
    ];
    parts.extend(witnesses(settings));
    parts.push(gpu());
    parts
}

fn part(name: &'static str, health: Health, detail: impl Into<String>, fix: &str) -> Part {
    Part { name: name.into(), health, detail: detail.into(), fix: fix.to_owned() }
}

fn sandbox(settings: &Settings<'_>) -> Part {
    match ringfence_sandbox::probe(&settings.program, &["__supervise"]) {
        Ok(probe) => match probe.level {
            Some(Level::Full) => part("sandbox", Health::Ok, probe.line, ""),
            Some(Level::NoCgroup) => part(
                "sandbox",
                Health::Warn,
                probe.line,
                "start it where it may make control groups with the memory and pids controllers (as root, or within \
                 `systemd-run --user --scope -p Delegate=yes`) to get the level `full`",
            ),
            Some(Level::Landlock) => part(
                "sandbox",
                Health::Warn,
                probe.line,
                "allow user namespaces for this program (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone or an \
                 AppArmor profile with `userns`) to get the level `full`",
            ),
            None => part(
                "sandbox",
                Health::Fail,
                probe.line,
                "use Linux 5.13 or later with Landlock enabled (`lsm=…,landlock`)",
            ),
        },
        Err(error) => part(
            "sandbox",
            Health::Fail,
            error.to_string(),
            "run the released binary from a place where it may be executed",
        ),
    }
}

fn workers(settings: &Settings<'_>) -> Part {
    let tried = std::io::pipe().map_err(EngineError::io("pipe")).and_then(|(reader, _)| {
        let job = Job::Scan { paths: vec!["doctor".into()], storages: false };
        Desk::silent(&settings.program).call("worker", &job, vec![reader.into()], &mut |_| {})
    });
    match tried {
        Ok(_) => part("workers", Health::Ok, "keyless children can confine themselves", ""),
        Err(error) => part(
            "workers",
            Health::Fail,
            error.to_string(),
            "Linux with seccomp and Landlock is needed to read foreign files",
        ),
    }
}

fn folder(name: &'static str, path: &std::path::Path) -> Part {
    use std::os::unix::fs::PermissionsExt as _;
    match fs::metadata(path) {
        // No bit of group and others.
        Ok(facts) if facts.permissions().mode().trailing_zeros() >= 6 => {
            part(name, Health::Ok, path.display().to_string(), "")
        }
        Ok(_) => part(name, Health::Warn, format!("{} may be read by others", path.display()), "chmod 700 that folder"),
        Err(_) => part(name, Health::Ok, format!("{} does not exist yet", path.display()), ""),
    }
}

fn trail(settings: &Settings<'_>) -> Part {
    use ringfence_schema::report::VerifyVerdict;
    match verify_trail(settings, None, None, None) {
        Ok(report) if report.verdict == VerifyVerdict::Verified => part(
            "trail",
            Health::Ok,
            format!("{} entries verify", report.facts.get("entries").map_or("?", String::as_str)),
            "",
        ),
        Ok(_) => part(
            "trail",
            Health::Fail,
            "the trail was changed",
            "`ringfence trail verify` names what; keep the vault as it is",
        ),
        Err(EngineError::NoVault { .. }) => part("trail", Health::Ok, "no vault yet", ""),
        Err(error) => part("trail", Health::Fail, error.to_string(), "`ringfence trail verify` tells more"),
    }
}

/// Whether the witnesses have seen the trail, where there are any.
fn witnesses(settings: &Settings<'_>) -> Option<Part> {
    let name = "witnesses";
    Some(match standing(settings) {
        Ok(None) | Err(EngineError::NoVault { .. }) => return None,
        Ok(Some(Standing { cosigned, entries, at: Some(at) })) if cosigned == entries => {
            part(name, Health::Ok, format!("all {entries} entries are cosigned, at {at}"), "")
        }
        Ok(Some(Standing { cosigned, entries, at })) => {
            let last = at.map_or_else(|| "never".to_owned(), |at| at.to_string());
            let line = format!("{cosigned} of {entries} entries are cosigned by enough of them; the last time: {last}");
            part(name, Health::Warn, line, "`ringfence trail witness` shows them the rest; let a timer do it")
        }
        Err(error) => part(name, Health::Fail, error.to_string(), "`ringfence trail verify` tells more"),
    })
}

fn gpu() -> Part {
    let found = crate::provenance::gpus();
    if found.is_empty() {
        part("gpu", Health::Ok, "none; runs use the processor", "")
    } else {
        part("gpu", Health::Ok, found.join(", "), "")
    }
}
