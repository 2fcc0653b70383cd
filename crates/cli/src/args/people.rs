//! `login`, `logout`, `user …` and `token …`: what was typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use ringfence_engine::access::{Action, LoginStrength, Role};

/// `login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Certificate of the authority that signs for the server (PEM); only what lies below it is trusted from now on
    /// [default: the one of the last login there, or Mozilla's roots]
    #[arg(long, value_name = "FILE")]
    pub(crate) authority: Option<PathBuf>,
    /// Log in with the API token in this file instead of a browser; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) token: Option<PathBuf>,
    /// Prove a second factor again in the session that there is, which opens dangerous acts for ten minutes
    #[arg(long, conflicts_with_all = ["token", "authority"])]
    pub(crate) step_up: bool,
    /// Step up by a code of your authenticator app, typed here, instead of in a browser
    #[arg(long, requires = "step_up")]
    pub(crate) code: bool,
}

/// `user …`.
#[derive(Debug, Subcommand)]
pub(crate) enum UserAction {
    /// List the people and programs of the vault, with roles and factors
    Ls,
    /// Say whether somebody may do something, and why; changes nothing, and is recorded
    #[command(
        after_help = "Examples:\n  ringfence user can owner configure vault\n  ringfence user can ana export model/net@released --why\n  ringfence user can ben admit dataset/digits@1 --login mfa --why --format json"
    )]
    Can(CanArgs),
    /// Invite a person, or make a program known; prints the invitation, which is good once
    #[command(
        after_help = "Examples:\n  ringfence user add ben --display \"Ben Okafor\" --role researcher\n  ringfence user add nightly --program --role trainer"
    )]
    Add(AddArgs),
    /// Give somebody exactly these roles
    Roles {
        /// Login name or id
        who: String,
        /// The roles; without any, all are taken away
        #[arg(long = "role", value_enum, value_name = "ROLE")]
        roles: Vec<RoleName>,
    },
    /// Shut somebody out, at once: their sessions and tokens end
    Disable(BecauseArgs),
    /// Let somebody in again
    Enable {
        /// Login name or id
        who: String,
    },
    /// Take all of somebody's factors away and invite them anew
    Reset(BecauseArgs),
    /// Shut somebody out and erase what the vault knows of them, for good; the trail stays valid
    #[command(after_help = "Examples:\n  ringfence user erase ben --reason \"request 2026-17\"")]
    Erase(BecauseArgs),
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

/// `user add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The name to log in with
    pub(crate) name: String,
    /// What people call them [default: the login name]
    #[arg(long, value_name = "NAME")]
    pub(crate) display: Option<String>,
    /// What they may do
    #[arg(long = "role", value_enum, value_name = "ROLE")]
    pub(crate) roles: Vec<RoleName>,
    /// A program, which has tokens instead of factors
    #[arg(long)]
    pub(crate) program: bool,
}

/// `user disable`, `user reset` and `user erase`.
#[derive(Debug, Args)]
pub(crate) struct BecauseArgs {
    /// Login name or id
    pub(crate) who: String,
    /// Why
    #[arg(long)]
    pub(crate) reason: String,
}

/// `token …`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenAction {
    /// Make a token for a script, shown once
    #[command(
        after_help = "Examples:\n  ringfence token make \"nightly audit\" --scope read,verify --days 30\n  ringfence token make trainer --for nightly --scope read --days 7 --network 192.0.2.0/24"
    )]
    Make(MakeArgs),
    /// List one's own tokens, and those of programs that one made
    Ls,
    /// Revoke a token, at once
    Revoke {
        /// Its id, as `ringfence token ls` shows it
        id: String,
    },
}

/// `token make`.
#[derive(Debug, Args)]
pub(crate) struct MakeArgs {
    /// What it is for
    pub(crate) label: String,
    /// What it may do, such as read or verify; never more than its bearer's roles allow
    #[arg(long, value_delimiter = ',', required = true, value_name = "ACTION,…", value_parser = action)]
    pub(crate) scope: Vec<Action>,
    /// How long it is good
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=90))]
    pub(crate) days: u32,
    /// The program that it is for, instead of oneself
    #[arg(long = "for", value_name = "PROGRAM")]
    pub(crate) program: Option<String>,
    /// Networks that it may come from, such as 192.0.2.0/24
    #[arg(long = "network", value_name = "NETWORK")]
    pub(crate) networks: Vec<String>,
}

/// A role as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    /// Holds the vault
    Owner,
    /// Answers for its security
    SecurityOfficer,
    /// Answers for the data
    DataSteward,
    /// Designs and starts runs
    Researcher,
    /// A service that runs training jobs
    Trainer,
    /// Reads what happened and changes nothing
    Auditor,
    /// Attacks by appointment
    Tester,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Owner => Self::Owner,
            RoleName::SecurityOfficer => Self::SecurityOfficer,
            RoleName::DataSteward => Self::DataSteward,
            RoleName::Researcher => Self::Researcher,
            RoleName::Trainer => Self::Trainer,
            RoleName::Auditor => Self::Auditor,
            RoleName::Tester => Self::Tester,
        }
    }
}

fn action(typed: &str) -> Result<Action, String> {
    let found = Action::ALL.into_iter().find(|known| known.name() == typed);
    let names: Vec<&str> = Action::ALL.iter().map(|known| known.name()).collect();
    found.ok_or_else(|| format!("the actions are {}", names.join(", ")))
}
