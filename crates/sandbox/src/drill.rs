//! Known bad jobs, to be run on purpose inside the sandbox: each shows that something stops or sees it.
//!
//! [`DRILLS`] says for each what it does, what must stop it and which alerts must see it; [`drill_main`] is the job itself,
//! to be called by the executable that is put into the sandbox. What a job can tell from inside is one line, `held`, `out`
//! or `unclear` with a reason; whether it was seen is for the record of the run to show.
//!
//! Nothing here runs outside of a sandbox of Ringfence's ([`refusal`]), and each job is bounded in time, processes and
//! memory all the same. Names are in `.invalid` (RFC 2606) and addresses from the ranges for documentation (RFC 5737,
//! RFC 3849), unless the drill names targets of its own.

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use nix::sys::prctl;

use crate::sys;

mod burn;
mod reach;
mod train;

/// A known bad job.
#[derive(Debug, Clone, Copy)]
pub struct Drill {
    /// Its name, to be given to [`drill_main`].
    pub name: &'static str,
    /// What it does.
    pub does: &'static str,
    /// What it may be given.
    pub arguments: &'static str,
    /// What must stop it, if anything must.
    pub stopped_by: Option<Stopped>,
    /// Kinds of alerts (rules of the watch), one of which must see it.
    pub alerts: &'static [&'static str],
    job: fn(&[String]) -> Outcome,
}

/// What stops a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Attempts are refused: the job itself says `held`, and every attempt is in the record.
    Refused(&'static str),
    /// A limit of the run ends it or keeps it small.
    Limited(&'static str),
    /// It dies with the run: nothing comes from it after the run's end.
    Dead(&'static str),
}

/// What a job found out about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// It got nowhere.
    Held(String),
    /// It got through.
    Out(String),
    /// That cannot be told from inside.
    Unclear(String),
}

/// All drills, in the order in which they are run.
pub const DRILLS: &[Drill] = &[
    Drill {
        name: "exfiltrate-dns",
        does: "asks name servers for names that carry a secret, through the C library, over UDP and over TCP",
        arguments: "[NAMESERVER…]",
        stopped_by: Some(Stopped::Refused("only allowed names are asked for outside")),
        alerts: &["dns-exfiltration", "refused-name"],
        job: reach::by_dns,
    },
    Drill {
        name: "exfiltrate-name",
        does: "connects to an allowed host and asks it for another name, in TLS and in HTTP",
        arguments: "[HOST:PORT…]",
        stopped_by: Some(Stopped::Refused("server name and Host must be the allowed name")),
        alerts: &["other-name", "refused-name", "direct-address"],
        job: reach::by_other_name,
    },
    Drill {
        name: "exfiltrate-address",
        does: "connects to addresses without asking for a name, of both versions, a metadata service among them",
        arguments: "[ADDRESS:PORT…]",
        stopped_by: Some(Stopped::Refused("addresses that no allowed name led to are not reached")),
        alerts: &["direct-address", "private-target"],
        job: reach::by_address,
    },
    Drill {
        name: "exfiltrate-udp",
        does: "sends datagrams to addresses of both versions",
        arguments: "[ADDRESS:PORT…]",
        stopped_by: Some(Stopped::Refused("no datagram leaves but questions to the run's name server")),
        alerts: &["refused-datagram"],
        job: reach::by_datagram,
    },
    Drill {
        name: "exfiltrate-unix",
        does: "connects to sockets of services of the host, by path and by abstract name",
        arguments: "[PATH or @NAME…]",
        stopped_by: Some(Stopped::Refused("no socket of the host is in the run's file system and network namespace")),
        alerts: &["unix-socket"],
        job: reach::by_unix_socket,
    },
    Drill {
        name: "miner",
        does: "computes SHA-256 on all cores and says nothing of any training",
        arguments: "[SECONDS]",
        stopped_by: None,
        alerts: &["miner"],
        job: burn::miner,
    },
    Drill {
        name: "miner-disguised",
        does: "computes SHA-256 on all cores and prints lines of a training that never gets better",
        arguments: "[SECONDS]",
        stopped_by: None,
        alerts: &["miner", "plateau", "idle-claims"],
        job: burn::disguised_miner,
    },
    Drill {
        name: "fork-bomb",
        does: "makes processes that make processes",
        arguments: "",
        stopped_by: Some(Stopped::Limited("processes")),
        alerts: &["fork-bomb", "limit"],
        job: burn::fork_bomb,
    },
    Drill {
        name: "memory-bomb",
        does: "takes memory and never gives any back",
        arguments: "",
        stopped_by: Some(Stopped::Limited("memory")),
        alerts: &["memory-bomb", "limit"],
        job: burn::memory_bomb,
    },
    Drill {
        name: "learning-rate",
        does: "trains as planned for a while, then with ten times the learning rate",
        arguments: "[PLANNED_RATE]",
        stopped_by: None,
        alerts: &["learning-rate"],
        job: train::learning_rate,
    },
    Drill {
        name: "label-flip",
        does: "trains on the shares of labels that the dataset has, then on others",
        arguments: "[LABEL=COUNT…]",
        stopped_by: None,
        alerts: &["label-share"],
        job: train::label_flip,
    },
    Drill {
        name: "loss-bomb",
        does: "trains until its loss leaps and ends as NaN",
        arguments: "",
        stopped_by: None,
        alerts: &["loss-spike", "divergence", "gradient-explosion"],
        job: train::loss_bomb,
    },
    Drill {
        name: "checkpoint-swap",
        does: "writes a checkpoint, tells its digest, and overwrites it later without a word",
        arguments: "",
        stopped_by: None,
        alerts: &["checkpoint-swap"],
        job: train::checkpoint_swap,
    },
    Drill {
        name: "outlive",
        does: "leaves a process behind that has its own session, no parent, and no ear for signals",
        arguments: "[stay]",
        stopped_by: Some(Stopped::Dead("a run's processes die with its first one and with its supervisor")),
        alerts: &[],
        job: burn::outlive,
    },
];

/// The whole life of a drill's process: call it first thing in `main` of the executable in the sandbox, with the drill's
/// name and what it is given. Ends with 0 if the job was held or cannot tell, 1 if it got out, 2 if it did not run.
pub fn drill_main(name: &str, arguments: &[String]) -> ExitCode {
    let Some(drill) = DRILLS.iter().find(|drill| drill.name == name) else {
        say("drill: there is none of this name");
        return ExitCode::from(2);
    };
    if let Some(reason) = refusal() {
        say(&format!("drill: refused: {reason}"));
        return ExitCode::from(2);
    }
    let (word, reason, code) = match (drill.job)(arguments) {
        Outcome::Held(reason) => ("held", reason, 0),
        Outcome::Out(reason) => ("out", reason, 1),
        Outcome::Unclear(reason) => ("unclear", reason, 0),
    };
    say(&format!("drill: {name}: {word}: {reason}"));
    ExitCode::from(code)
}

/// Why a drill does not run here: this process is not in a sandbox of Ringfence's.
pub fn refusal() -> Option<&'static str> {
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    if !["RINGFENCE_RUN_ID", "RINGFENCE_LEVEL", "RINGFENCE_OUT", "RINGFENCE_PROGRESS"].iter().all(|name| set(name)) {
        return Some("this is no run of Ringfence's");
    }
    if prctl::get_no_new_privs() != Ok(true) {
        return Some("new privileges could be had here");
    }
    match (sys::has_filter(), sys::holds_capability()) {
        (Ok(true), Ok(false)) => None,
        (Ok(true), _) => Some("this process holds capabilities"),
        _ => Some("no filter of system calls is in force"),
    }
}

/// One line on standard output; a reader that is gone is no matter.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_drill_runs_outside() {
        assert!(refusal().is_some());
        for drill in DRILLS {
            assert_eq!(drill_main(drill.name, &[]), ExitCode::from(2), "{}", drill.name);
        }
    }
}
