//! What to do about an error: the second half of every message.

use std::io::Write as _;

use ringfence_engine::{EngineError, bundle::RELEASE_FILE};
use serde_json::json;

use crate::{args::Format, output::Document};

/// Prints `error:` and `hint:` for people, or one JSON object for programs, to standard error.
pub(crate) fn report(format: Format, error: &EngineError) {
    let hint = remedy(error);
    let text = match format {
        Format::Json | Format::Sarif | Format::Junit => {
            let body = json!({"error": error.to_string(), "hint": hint, "exit": error.exit_class() as u8});
            serde_json::to_string(&Document { schema: "ringfence.error/1", body: &body }).unwrap_or_default()
        }
        Format::Human | Format::Plain => format!("error: {error}\nhint: {hint}"),
    };
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Says what is wrong with the flags, in the format that they ask for as far as they can be read.
pub(crate) fn report_usage(error: &clap::Error) {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let asks = |format: &str| {
        words.iter().zip(words.iter().skip(1)).any(|(flag, value)| flag == "--format" && value == format)
            || words.iter().any(|word| word.strip_prefix("--format=") == Some(format))
    };
    if asks("json") || asks("sarif") {
        let text = error.to_string();
        let what = text.strip_prefix("error: ").unwrap_or(&text).split("\n\n").next().unwrap_or_default().to_owned();
        report(Format::Json, &EngineError::Usage { what });
    } else {
        // Nobody is left to hear of a closed standard error.
        let _ = error.print();
    }
}

/// Says that an assumption of our own broke.
pub(crate) fn report_panic(what: &str) {
    let _ = writeln!(
        std::io::stderr().lock(),
        "error: this is a fault of ringfence itself: {what}\nhint: everything committed is safe; please report these lines"
    );
}

fn remedy(error: &EngineError) -> String {
    match error {
        EngineError::Usage { .. } => "`ringfence --help` and `ringfence COMMAND --help` show examples".into(),
        EngineError::Plan { file, .. } => {
            format!("correct `{}` at that place; examples/digits/ringfence.toml shows every key", file.display())
        }
        EngineError::Refused { gate: "release", .. } => {
            "the checkpoint stays in the vault as a candidate; `ringfence show` tells what its evidence says, and \
             `ringfence release` asks the gate again"
                .into()
        }
        EngineError::Refused { gate: "verify", .. } => {
            "it is genuine, and still not fit for use here; ask whoever released it for a newer release".into()
        }
        EngineError::Refused { gate: "witness", .. } => {
            "`ringfence trail witness` shows them the newest checkpoint, `ringfence trail mirror DIR --witness` copies it with what \
             they cosign; if they will not, somebody has rewritten the trail"
                .into()
        }
        EngineError::Refused { gate: "trust", .. } => {
            "`ringfence show root` in the vault that released it prints the trust root; get that file over a channel that you \
             trust and name it with `--root FILE`"
                .into()
        }
        EngineError::Refused { gate: "source", .. } => {
            "nothing of it was kept; tell its publisher, or read the findings with `--no-scan` where the vault's policy allows that".into()
        }
        EngineError::Reach(error) => error.remedy().unwrap_or_else(|| {
            "`reach.toml` in the configuration folder names hosts and sources that may be asked".into()
        }),
        EngineError::NeedsApproval { .. } => {
            "ask others with `ringfence request make`, and `ringfence request carry-out` it once they have approved".into()
        }
        EngineError::Asked { .. } => "once enough of them have approved, do exactly the same again with it".into(),
        EngineError::Destroyed { .. } => {
            "nothing brings it back; `ringfence ls` lists what there is, and a copy from elsewhere can be added again".into()
        }
        EngineError::NotFound { what: "SSH agent", .. } => {
            "start one with `eval $(ssh-agent)` and bring a key into it with `ssh-add`; or approve by a passkey on the server's \
             review page"
                .into()
        }
        EngineError::Incomplete { what, .. } if what == "SSH agent" => {
            "see that SSH_AUTH_SOCK names an agent that runs: `ssh-add -l` asks it the same".into()
        }
        EngineError::NotFound { what: "key", .. } => {
            "`ringfence key ls` lists those in the agent and among your factors, `ringfence key add` makes one a factor".into()
        }
        EngineError::NotFound { what: "request", .. } => "`ringfence request ls` lists them".into(),
        EngineError::NotFound { what: "person", .. } => "`ringfence user ls` lists them".into(),
        EngineError::Refused { .. } => {
            "what was refused stays in quarantine; `ringfence review ls` lists it, `ringfence review approve` lets it in with a reason".into()
        }
        EngineError::NotFound { what: "rule", .. } => {
            "`ringfence scan` and `ringfence screen` name the rule of each finding".into()
        }
        EngineError::NotFound { what: "policy of witnesses", .. } => {
            "name witnesses there, one a line, `witness NAME KEY URL`, and `quorum NAME`; docs/trail.md shows one".into()
        }
        EngineError::Incomplete { what, .. } if what == "witnesses" => {
            "everything else goes on; start it again once they answer, and see that `egress.hosts` of `reach.toml` names their hosts"
                .into()
        }
        EngineError::NotFound { what: "trail entry", .. } => "`ringfence trail ls` lists them".into(),
        EngineError::NotFound { .. } => "`ringfence ls` lists what there is".into(),
        EngineError::NoVault { .. } => "`ringfence init` makes one, or `--vault DIR` names another".into(),
        EngineError::VaultExists { .. } => "use it as it is, or name another folder with `--vault DIR`".into(),
        EngineError::Io { path, source } if source.kind() == std::io::ErrorKind::StorageFull => {
            format!("free some space on the disk of `{}`; everything committed is safe", path.display())
        }
        EngineError::Io { path, .. } if path.as_os_str() == "passphrase" => {
            "run it at a terminal, or set RINGFENCE_PASSPHRASE_FILE or RINGFENCE_PASSPHRASE_COMMAND".into()
        }
        EngineError::Io { path, .. } if path.extension().is_some_and(|end| end == "key") => {
            "that file is the vault's key: bring it back from your copy; nothing else opens the vault".into()
        }
        EngineError::Io { path, .. } => format!("check that `{}` exists and may be read and written", path.display()),
        EngineError::Incomplete { what, .. } if what == "signature" => {
            "name the publisher's signature file with `--signature`: a Sigstore bundle (`model.sig`), `FILE.minisig`, or `SHA256SUMS`"
                .into()
        }
        EngineError::Incomplete { what, .. } if what.ends_with(RELEASE_FILE) => {
            "that folder is no released bundle; `ringfence release` writes one".into()
        }
        EngineError::Incomplete { .. } => {
            "nothing was changed; `ringfence doctor` tells what this machine lacks, and an unreadable file must be replaced".into()
        }
        EngineError::WrongKey { .. } => {
            "check the passphrase, or that the key file in the configuration folder belongs to this vault".into()
        }
        EngineError::NotPermitted { what } if what.starts_with("key file") => {
            "if nobody else can have read that file, `chmod 600` it; else make a new vault and add everything again".into()
        }
        EngineError::NotPermitted { .. } => "ask the vault's owner; `ringfence trail ls` shows the decision".into(),
        EngineError::Tampered { .. } => {
            "do not use it; keep it as it is for whoever investigates, and fetch a genuine copy".into()
        }
        EngineError::Interrupted => "start it again; everything committed is safe".into(),
        _ => "`ringfence doctor` may know more".into(),
    }
}
