//! Does what was typed: one function per command, each thin over the engine.

use std::path::PathBuf;

use ringfence_engine::{EngineError, ExitClass, Settings, Vault};

use crate::{
    args::{
        self, Cli, Command, Format, SignAction,
        trail::TrailAction,
        watch::{WatchAction, WatchArgs},
    },
    output::Printer,
    place,
    progress::Terminal,
};

mod agent;
mod drill;
mod files;
mod glass;
mod login;
mod people;
mod privacy;
mod remote;
mod remote_release;
mod remote_run;
mod request;
mod retire;
mod run;
mod schedule;
mod serve;
mod show;
mod since;
mod supply;
mod text;
mod theft;
mod trail;
mod vault;
mod watch;
mod witness;

/// Runs the command and says how it ended.
pub(crate) fn execute(cli: Cli, printer: Printer) -> Result<ExitClass, EngineError> {
    if cli.format == Format::Junit && !matches!(cli.command, Some(Command::Scan(_))) {
        return Err(EngineError::Usage { what: "`--format junit` is for `scan`".into() });
    }
    if cli.format == Format::Sarif && !matches!(cli.command, Some(Command::Scan(_) | Command::Screen(_))) {
        return Err(EngineError::Usage { what: "`--format sarif` is for findings: `scan` and `screen`".into() });
    }
    let place = cli.server.is_some().then(|| remote::place(cli.command.as_ref()));
    if let Some(remote::Place::Nowhere(what)) = place {
        let what = format!("{what} does not work on a server; without `--server` it works in this machine's vault");
        return Err(EngineError::Usage { what });
    }
    if let Some(Command::Serve(args)) = &cli.command
        && !args.runner
    {
        return serve::serve(lasting(&cli, printer)?, printer, args);
    }
    let progress = Terminal::new(printer);
    let places = Places::find(&cli)?;
    let config = places.config.clone();
    let reach = move || place::reach(&config);
    let settings = Settings {
        vault: places.vault,
        config: places.config,
        program: place::program()?,
        now: &place::now,
        passphrase: &place::passphrase,
        reach: &reach,
        progress: &progress,
    };
    let server = cli.server.as_deref();
    let Some(command) = cli.command else { return alone(&settings, printer) };
    if let (Some(remote::Place::There), Some(server)) = (place, server) {
        return remote::execute(&settings, printer, server, &command);
    }
    match command {
        Command::Scan(args) if args.admitted => supply::rescan(&settings, printer, &args),
        Command::Scan(args) if args.weights => supply::weights(&settings, printer, &args),
        Command::Scan(args) => files::scan(&settings, printer, &args),
        Command::Sign { action } => supply::sign(&settings, printer, &action),
        Command::Outdated(args) => supply::outdated(&settings, printer, &args),
        Command::Screen(args) => files::screen(&settings, printer, &args),
        Command::Attack(args) => files::attack(&settings, printer, &args),
        Command::Harden(args) => files::harden(&settings, printer, &args),
        Command::Watermark { action } => theft::watermark(&settings, printer, &action),
        Command::Init(args) => vault::init(&settings, printer, &args),
        Command::Add(args) => vault::add(&settings, printer, &args),
        Command::Get(args) => vault::get(&settings, printer, &args),
        Command::Ls(args) => vault::ls(&settings, printer, &args),
        Command::Rollback(args) => vault::rollback(&settings, printer, &args),
        Command::Retire(args) => retire::retire(&settings, printer, &args),
        Command::Review { action } => vault::review(&settings, printer, &action),
        Command::Release(args) => run::release(&settings, printer, &args),
        Command::Run(args) => run::run(&settings, printer, &args),
        Command::Show(args) => show::show(&settings, printer, &args),
        Command::Verify(args) => trail::verify(&settings, printer, &args),
        Command::Trail { action } => trail::trail(&settings, printer, &action),
        Command::Witness { action } => witness::witness(printer, &action),
        Command::Watch(args) => watch::watch(&settings, printer, &args),
        Command::Drill { action } => drill::drill(&settings, printer, &action),
        Command::Login(args) => login::login(&settings, printer, server, &args),
        Command::Logout => login::logout(&settings, printer, server),
        Command::Request { action } => {
            request::request(&people::Desk::Here(&Vault::open(&settings)?), printer, &action)
        }
        Command::Key { action } => agent::key(&people::Desk::Here(&Vault::open(&settings)?), printer, &action),
        Command::Glass { action } => glass::glass(&people::Desk::Here(&Vault::open(&settings)?), printer, &action),
        Command::User { action } => people::user(&people::Desk::Here(&Vault::open(&settings)?), printer, &action),
        Command::Token { action } => {
            people::token(&people::Desk::Here(&Vault::open(&settings)?), printer, &action).map(|()| ExitClass::Done)
        }
        Command::Schedule { action } => schedule::schedule(&settings, printer, &action),
        Command::Stop(args) => watch::stop(&settings, printer, &args),
        // What serves this machine's vault is dealt with above: its settings outlive this function.
        Command::Serve(_) => {
            let what = "a training machine takes runs from a server: name it with `--server`".to_owned();
            Err(EngineError::Usage { what })
        }
        Command::Doctor => show::doctor(&settings, printer),
        Command::Completions { shell } => completions(printer, shell),
    }
}

/// Settings that last as long as the process: the server's threads use them.
fn lasting(cli: &Cli, printer: Printer) -> Result<&'static Settings<'static>, EngineError> {
    let places = Places::find(cli)?;
    let config = places.config.clone();
    Ok(Box::leak(Box::new(Settings {
        vault: places.vault,
        config: places.config,
        program: place::program()?,
        now: &place::now,
        passphrase: &place::passphrase,
        reach: Box::leak(Box::new(move || place::reach(&config))),
        progress: Box::leak(Box::new(Terminal::new(printer))),
    })))
}

/// `completions`.
fn completions(printer: Printer, shell: clap_complete::Shell) -> Result<ExitClass, EngineError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "ringfence", &mut script);
    printer.raw(&script)?;
    Ok(ExitClass::Done)
}

/// `ringfence` alone: how the vault is, or help where there is none.
fn alone(settings: &Settings<'_>, printer: Printer) -> Result<ExitClass, EngineError> {
    if show::status(settings, printer)? {
        return Ok(ExitClass::Done);
    }
    if !printer.for_people() {
        return Err(EngineError::NoVault { path: settings.vault.clone() });
    }
    printer.raw(args::command().render_help().to_string().as_bytes())?;
    Ok(ExitClass::Done)
}

/// The vault's folder and the user's configuration.
struct Places {
    vault: PathBuf,
    config: PathBuf,
}

impl Places {
    /// Commands on plain files need neither, so they also work where there is no home.
    fn find(cli: &Cli) -> Result<Self, EngineError> {
        let plain = match &cli.command {
            Some(
                Command::Screen(_)
                | Command::Harden(_)
                | Command::Sign { action: SignAction::Model(_) }
                | Command::Trail { action: TrailAction::Verify { mirror: Some(_), .. } }
                | Command::Completions { .. }
                | Command::Drill { .. }
                | Command::Witness { .. }
                | Command::Watch(WatchArgs { action: Some(WatchAction::Replay { .. }), .. }),
            ) => true,
            Some(Command::Watermark { action }) => !theft::uses_the_vault(action),
            Some(Command::Attack(args)) => !since::names_a_version(args),
            Some(Command::Verify(args)) => args.root.is_some() || args.signature.is_some(),
            // Pins, if there are any, say whose waivers count.
            Some(Command::Scan(args)) if !args.admitted => {
                let config = place::config_folder().unwrap_or_default();
                return Ok(Self { vault: PathBuf::new(), config });
            }
            _ => false,
        };
        if plain {
            return Ok(Self { vault: PathBuf::new(), config: PathBuf::new() });
        }
        let vault = cli.vault.clone().map_or_else(place::data_folder, Ok)?;
        Ok(Self { vault, config: place::config_folder()? })
    }
}
