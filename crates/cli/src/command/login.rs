//! `login` and `logout`: this machine becomes known to a server, and is forgotten.
//!
//! A login is confirmed in a browser, with whatever factors its person has there (RFC 8628); no password or code passes
//! through here. What it leaves: the session, the authority that the server's certificate has to lie below, the vault's
//! trust root and its newest checkpoint.

use std::{
    fs::File,
    io::{self, BufRead as _, IsTerminal as _, Read as _},
    path::Path,
    thread,
    time::Duration,
};

use ringfence_engine::{
    EngineError, ExitClass, Settings,
    afar::{HeldRoot, hold_root},
    reach::{
        ReachError, Secret, Url,
        server::{Method, Patience, Server, address, fingerprint},
    },
    schema::Timestamp,
};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    args::people::LoginArgs,
    command::remote::{Remote, hold},
    output::Printer,
    session::{Entry, Known, Session},
};

/// Largest file of an authority or a token, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Longest code in bytes.
const CODE_BYTES_MAX: u64 = 64;
/// Longest pause between two questions that a server may ask for, in seconds.
const INTERVAL_S_MAX: u64 = 60;

/// A device's code, as the server offers it.
#[derive(Deserialize)]
struct Offer {
    device: String,
    user_code: String,
    until: Timestamp,
    interval_s: u64,
}

/// What became of it.
#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
enum Polled {
    Pending,
    Entered { token: String, until: Timestamp },
    SteppedUp,
}

/// How somebody steps up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// In a browser, by whatever factors they have there.
    Browser,
    /// By a code of their authenticator app, typed here.
    Code,
}

/// `login`.
pub(crate) fn login(
    settings: &Settings<'_>,
    printer: Printer,
    server: Option<&str>,
    args: &LoginArgs,
) -> Result<ExitClass, EngineError> {
    let origin = address(named(server)?)?;
    if args.step_up {
        let by = if args.code { By::Code } else { By::Browser };
        step_up(&known(settings, named(server)?)?, printer, by)?;
        return Ok(ExitClass::Done);
    }
    let before = Session::load(&settings.config, &origin)?;
    let authority = match &args.authority {
        Some(file) => Some(read(file)?),
        // What was pinned stays pinned until another one is named.
        None => before.and_then(|before| before.authority),
    };
    let pem = authority.as_deref().map(str::as_bytes);
    let print = pem.map(fingerprint).transpose()?;
    let (token, until, known) = if let Some(file) = &args.token {
        (Zeroizing::new(read(file)?.trim().to_owned()), None, Known::Token)
    } else {
        let (token, until) = confirmed(settings, printer, &Server::new(origin.clone(), pem, None)?)?;
        (token, Some(until), Known::Session)
    };
    let entered = Server::new(origin.clone(), pem, Some(Secret::new("session", token.clone())?))?;
    let kept = keep(settings, &entered, |name, root| {
        let entry = Entry { authority, vault: root.vault.clone(), name: name.to_owned(), known, until, token };
        Session::new(&origin, entry).save(&settings.config, &origin)
    });
    let (name, root) = match kept {
        Ok(kept) => kept,
        Err(error) => {
            // Nothing is left here that could end it later.
            if known == Known::Session {
                let _ = entered.act::<Value>(Method::Post, "/api/v1/logout", None, Patience::Brief);
            }
            return Err(error);
        }
    };
    if !printer.for_people() {
        let body = json!({"server": origin.origin(), "name": name, "until": until, "vault": root.vault,
            "root": root.digest, "pinned": root.first, "authority": print});
        printer.document("ringfence.login/1", &body)?;
        return Ok(ExitClass::Done);
    }
    let until = until.map_or_else(String::new, |until| format!(", until {until} at the latest"));
    printer.line(format!("logged in to {} as {name}{until}", origin.origin()))?;
    printer.say(format!(
        "{} vault {}, trust root {} (epoch {}): compare that digest with the one of `ringfence show root | sha256sum` there",
        if root.first { "pinned" } else { "held already:" },
        root.vault,
        root.digest,
        root.epoch
    ));
    if let Some(print) = print {
        printer.say(format!("only certificates of the authority {print} are trusted for it from now on"));
    }
    Ok(ExitClass::Done)
}

/// `logout`.
pub(crate) fn logout(
    settings: &Settings<'_>,
    printer: Printer,
    server: Option<&str>,
) -> Result<ExitClass, EngineError> {
    let origin = address(named(server)?)?;
    let Some(session) = Session::load(&settings.config, &origin)? else {
        return Err(EngineError::NotFound { what: "login at", name: origin.origin() });
    };
    if session.known == Known::Session {
        let server = session.open(origin.clone())?;
        match server.act::<Value>(Method::Post, "/api/v1/logout", None, Patience::Brief) {
            // It is over already, which is what was wanted.
            Ok(_) | Err(ReachError::Problem { status: 401, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Session::remove(&settings.config, &origin)?;
    if printer.for_people() {
        printer.line(format!("logged out of {}", origin.origin()))?;
    } else {
        printer.document("ringfence.logout/1", &json!({"server": origin.origin()}))?;
    }
    Ok(ExitClass::Done)
}

fn named(server: Option<&str>) -> Result<&str, EngineError> {
    server.ok_or_else(|| EngineError::Usage { what: "name the server: `--server https://HOST:PORT`".into() })
}

/// Shows a code and waits until somebody has confirmed it.
fn confirmed(
    settings: &Settings<'_>,
    printer: Printer,
    server: &Server,
) -> Result<(Zeroizing<String>, Timestamp), EngineError> {
    let offer: Offer = server.act(Method::Post, "/api/v1/device/begin", None, Patience::Brief)?;
    match answered(settings, printer, server, &offer)? {
        Polled::Entered { token, until } => Ok((token.into(), until)),
        _ => Err(EngineError::incomplete("login", "the server answers what nobody asked")),
    }
}

/// Steps the session at a server up, which opens dangerous acts for ten minutes.
pub(crate) fn step_up(remote: &Remote<'_>, printer: Printer, by: By) -> Result<(), EngineError> {
    let server = remote.server();
    match by {
        By::Code => {
            let code = typed_code()?;
            let body = json!({"code": code.trim()});
            server.act::<Value>(Method::Post, "/api/v1/step-up/code", Some(&body), Patience::Brief)?;
        }
        By::Browser => {
            let offer: Offer = server.act(Method::Post, "/api/v1/step-up/device/begin", None, Patience::Brief)?;
            let Polled::SteppedUp = answered(remote.settings(), printer, server, &offer)? else {
                return Err(EngineError::incomplete("step up", "the server answers what nobody asked"));
            };
        }
    }
    if printer.for_people() {
        printer.line("stepped up  for ten minutes, dangerous acts are open to this session")
    } else {
        printer.document("ringfence.step-up/1", &json!({"server": server.origin()}))
    }
}

/// A code from the terminal, or a line of standard input where there is none.
fn typed_code() -> Result<Zeroizing<String>, EngineError> {
    let read = if io::stdin().is_terminal() {
        rpassword::prompt_password("Code: ")
    } else {
        let mut line = String::new();
        io::stdin().lock().take(CODE_BYTES_MAX).read_line(&mut line).map(|_| line)
    };
    read.map(Zeroizing::new).map_err(EngineError::io("code"))
}

/// Shows the code of a device that waits, and waits until somebody has confirmed it.
fn answered(settings: &Settings<'_>, printer: Printer, server: &Server, offer: &Offer) -> Result<Polled, EngineError> {
    let page = format!("{}/device", server.origin());
    if printer.for_people() {
        printer
            .line(format!("Open {page} in a browser, sign in, and confirm this code:\n\n    {}\n", offer.user_code))?;
    } else {
        let body = json!({"confirm": page, "code": offer.user_code, "until": offer.until});
        printer.document("ringfence.login/1", &body)?;
    }
    let device = json!({"device": offer.device});
    let pause = Duration::from_secs(offer.interval_s.clamp(1, INTERVAL_S_MAX));
    // By this clock too, so that a server cannot keep us here for ever.
    let begun = (settings.now)();
    let patience_ms = offer.until.millis().saturating_sub(begun.millis()).min(LOGIN_MS_MAX);
    loop {
        thread::sleep(pause);
        match server.act(Method::Post, "/api/v1/device/poll", Some(&device), Patience::Brief) {
            Err(ReachError::Problem { status: 401, .. }) => break,
            Ok(Polled::Pending) | Err(ReachError::Problem { status: 429 | 503, .. }) => {}
            Ok(done) => return Ok(done),
            Err(error) if error.is_passing() => {}
            Err(error) => return Err(error.into()),
        }
        if (settings.now)().millis().saturating_sub(begun.millis()) > patience_ms {
            break;
        }
    }
    Err(EngineError::NotPermitted { what: "nobody confirmed the code in time".into() })
}

/// Holds what a login is to hold, and keeps it.
fn keep(
    settings: &Settings<'_>,
    server: &Server,
    save: impl FnOnce(&str, &HeldRoot) -> Result<(), EngineError>,
) -> Result<(String, HeldRoot), EngineError> {
    let me: Value = server.read("/api/v1/me")?;
    let name = me.pointer("/person/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let root = hold_root(settings, &server.read_bytes("/api/v1/root")?)?;
    hold(settings, server, &root.vault)?;
    save(&name, &root)?;
    Ok((name, root))
}

fn read(path: &Path) -> Result<String, EngineError> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(EngineError::io(path))?;
    Ok(text)
}

/// Longest wait for a confirmation, in milliseconds.
const LOGIN_MS_MAX: u64 = 15 * 60 * 1_000;

/// The login at `server`, for every other command.
pub(crate) fn known<'s>(settings: &'s Settings<'s>, server: &str) -> Result<Remote<'s>, EngineError> {
    let origin: Url = address(server)?;
    let Some(session) = Session::load(&settings.config, &origin)? else {
        let said = format!("nobody is logged in to {}", origin.origin());
        let kind = "sign-in".to_owned();
        let problem = ReachError::Problem { server: origin.origin(), status: 401, kind, said, reasons: Vec::new() };
        return Err(problem.into());
    };
    Ok(Remote::new(settings, session.open(origin)?, session.vault))
}
