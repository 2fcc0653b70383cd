//! `user …`: what was typed.

use clap::{Args, Subcommand, ValueEnum};
use ringfence_engine::access::{Action, LoginStrength};

/// `user …`.
#[derive(Debug, Subcommand)]
pub(crate) enum UserAction {
    /// List the people and programs of the vault
    Ls,
    /// Say whether somebody may do something, and why; changes nothing, and is recorded
    #[command(
        after_help = "Examples:\n  ringfence user can owner configure vault\n  ringfence user can ana export model/net@released --why\n  ringfence user can ben admit dataset/digits@1 --login mfa --why --format json"
    )]
    Can(CanArgs),
}

/// `user can`.
#[derive(Debug, Args)]
pub(crate) struct CanArgs {
    /// Who: a name to log in with, an id, or `me`; `owner` in a vault of one person
    pub(crate) who: String,
    /// To do what, such as read, export, release, configure
    #[arg(value_parser = action)]
    pub(crate) action: Action,
    /// With what: `vault`, or an artifact such as model/net@released
    pub(crate) what: String,
    /// Show every policy that decides
    #[arg(long)]
    pub(crate) why: bool,
    /// How they are taken to have logged in
    #[arg(long, value_enum, default_value_t = Login::Passkey)]
    pub(crate) login: Login,
    /// They are taken to have proven a second factor just now
    #[arg(long)]
    pub(crate) stepped_up: bool,
}

/// How somebody logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Login {
    /// One factor
    Any,
    /// Password and code
    Mfa,
    /// A passkey
    Passkey,
}

impl From<Login> for LoginStrength {
    fn from(login: Login) -> Self {
        match login {
            Login::Any => Self::Any,
            Login::Mfa => Self::Mfa,
            Login::Passkey => Self::Passkey,
        }
    }
}

fn action(typed: &str) -> Result<Action, String> {
    let found = Action::ALL.into_iter().find(|known| known.name() == typed);
    let names: Vec<&str> = Action::ALL.iter().map(|known| known.name()).collect();
    found.ok_or_else(|| format!("the actions are {}", names.join(", ")))
}
