//! Calls that the kernel refused: sockets of the host, attempts to escape, bursts.
//!
//! What single calls are is known only as far as the kernel tells, the first of each kind; how many, by the counter. Honest
//! libraries try a few and take no for an answer, so counts are held against a rate that is learned.

use std::collections::BTreeSet;

use ringfence_schema::{Severity, alert::Basis, event::Usage};

use super::{Sightings, line};
use crate::{
    Signal,
    book::{Sighting, cut},
    rules::Kind,
    stats::poisson_tail,
};

/// Follows refused calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    total: u64,
    grave: BTreeSet<String>,
    first_ms: u64,
    /// Refused calls and time so far, of which the usual rate is made.
    counted: f64,
    watched_ms: u64,
    /// Calls in the current span.
    span: (u64, f64),
    last_ms: u64,
}

impl Calls {
    pub(super) fn refused(&mut self, at_ms: u64, detail: &str, found: &mut Sightings) {
        if let Some(kind) = socket_kind(detail) {
            let (message, severity) = match kind {
                Kind::UnixSocket => ("the job tried to open a socket of the host", Severity::Medium),
                _ => ("the job tried to open a socket that goes past the network rules", Severity::Medium),
            };
            found.push(Sighting {
                kind,
                signal: "refused-calls".to_owned(),
                severity: Some(severity),
                basis: Basis::Observed,
                expected: "none".to_owned(),
                seen: cut(detail.to_owned()),
                since: found.moment(at_ms),
                confidence: 0.9,
                message: message.to_owned(),
            });
            return;
        }
        let first = detail.split_whitespace().next().unwrap_or_default();
        if !GRAVE.contains(&first) {
            return;
        }
        if self.grave.is_empty() {
            self.first_ms = at_ms;
        }
        if self.grave.len() < GRAVE.len() {
            self.grave.insert(first.to_owned());
        }
        let several = self.grave.len() >= 3;
        found.push(Sighting {
            kind: Kind::EscapeAttempt,
            signal: "refused-calls".to_owned(),
            severity: Some(if several { Severity::High } else { Severity::Medium }),
            basis: Basis::Observed,
            expected: "none that only an escape needs".to_owned(),
            seen: self.grave.iter().cloned().collect::<Vec<_>>().join(", "),
            since: found.moment(self.first_ms),
            confidence: if several { 0.98 } else { 0.8 },
            message: format!("the job tried `{first}`, which was refused"),
        });
    }

    pub(super) fn sample(&mut self, at_ms: u64, usage: &Usage, found: &mut Sightings) {
        let new = usage.refused_calls.saturating_sub(self.total) as f64;
        self.total = self.total.max(usage.refused_calls);
        let passed_ms = at_ms.saturating_sub(self.last_ms);
        self.last_ms = at_ms;
        self.span.1 += new;
        if at_ms.saturating_sub(self.span.0) < SPAN_MS {
            return;
        }
        let (began_ms, calls) = self.span;
        self.span = (at_ms, 0.0);
        // Gamma prior of one call a span, one span's worth: a start with some refusals is normal.
        let spans = self.watched_ms as f64 / SPAN_MS as f64;
        let usual = (self.counted + 2.0) / (spans + 1.0);
        let p = poisson_tail(calls, 3.0 * usual);
        self.counted += calls.min(BURST_MIN);
        self.watched_ms += passed_ms.max(at_ms.saturating_sub(began_ms));
        // Libraries find out at the start what they may do.
        let least = if began_ms == 0 { START_BURST_MIN } else { BURST_MIN };
        if calls < least || p > BURST_P {
            return;
        }
        found.push(Sighting {
            kind: Kind::RefusedBurst,
            signal: "refused-calls".to_owned(),
            severity: None,
            basis: Basis::Observed,
            expected: format!("about {usual:.1} in {} s", SPAN_MS / 1_000),
            seen: format!("{calls} in {} s", at_ms.saturating_sub(began_ms) / 1_000),
            since: found.moment(began_ms),
            confidence: 1.0 - p,
            message: format!("{calls} refused calls within {} s", at_ms.saturating_sub(began_ms) / 1_000),
        });
    }

    pub(super) fn signals(&self, signals: &mut Vec<Signal>) {
        let expected = Some("few".to_owned());
        signals.push(line("refused-calls", "", Some(self.total as f64), expected, Basis::Observed));
    }
}

/// What a refused socket means, by its address family (Linux, `include/linux/socket.h`).
fn socket_kind(detail: &str) -> Option<Kind> {
    if detail.to_ascii_lowercase().contains("unix") {
        return Some(Kind::UnixSocket);
    }
    let family = detail.strip_prefix("socket of family ")?.split_whitespace().next()?;
    match family {
        "1" => Some(Kind::UnixSocket),
        // Packet, vsock, Bluetooth, netlink, raw link layers: past the rules for IP.
        "16" => None,
        "2" | "10" => Some(Kind::RefusedDatagram),
        _ => Some(Kind::EscapeAttempt),
    }
}

/// Calls that training never needs and that escapes begin with.
const GRAVE: [&str; 26] = [
    "unshare",
    "setns",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsmount",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
    "bpf",
    "userfaultfd",
    "fanotify_init",
    "open_by_handle_at",
    "init_module",
    "finit_module",
    "kexec_load",
    "kexec_file_load",
    "iopl",
    "ioperm",
    "modify_ldt",
    "mknod",
];
/// Span in which calls are counted, in milliseconds.
const SPAN_MS: u64 = 10_000;
/// Calls in a span that can be a burst.
const BURST_MIN: f64 = 40.0;
/// The same in the first span of a run.
const START_BURST_MIN: f64 = 400.0;
/// Chance of that many at three times the usual rate, below which it is told.
const BURST_P: f64 = 1e-9;
