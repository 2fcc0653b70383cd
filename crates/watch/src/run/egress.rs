//! Attempts to reach out, and what was sent against the budget.
//!
//! Every refused attempt is told, grouped by where it went. Questions to name servers are weighed: a name that was not asked
//! before carries at most its length times its entropy in bits; what adds up under one parent faster than names of a real
//! site would, or a single label that looks encoded, is data. Bytes to allowed hosts are held against the plan's budget.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_schema::{
    Digest, Severity,
    alert::Basis,
    event::{Change, Egress, EgressVia, FileChange, Usage},
};

use super::{Sightings, line};
use crate::{
    Signal,
    book::{Sighting, cut},
    rules::Kind,
    stats::{confidence, entropy},
};

/// Follows the ways out.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    budget: Option<u64>,
    parents: BTreeMap<String, Parent>,
    refused: u64,
    /// Names that were asked for and refused, a few of them.
    questions: BTreeSet<Digest>,
    /// Bytes of single attempts, and of the counters of samples: whichever is more is true.
    sent: (u64, u64),
    received: (u64, u64),
    /// What the run made: bytes written to storage, and of files that it closed after writing.
    made: (u64, u64),
    began_ms: Option<u64>,
    /// Bytes sent at the last looks, for the trend.
    trend: Option<(u64, u64)>,
    pace: f64,
    direct: u64,
}

/// Questions below one parent.
#[derive(Debug, Clone, Default)]
struct Parent {
    began_ms: u64,
    last_ms: u64,
    names: BTreeSet<Digest>,
    asked: u64,
    bits: f64,
    encoded: bool,
}

impl Reach {
    pub(super) fn new(budget: Option<u64>) -> Self {
        Self {
            budget,
            parents: BTreeMap::new(),
            refused: 0,
            questions: BTreeSet::new(),
            sent: (0, 0),
            received: (0, 0),
            made: (0, 0),
            began_ms: None,
            trend: None,
            pace: 0.0,
            direct: 0,
        }
    }

    pub(super) fn attempt(&mut self, at_ms: u64, egress: &Egress, found: &mut Sightings) {
        self.sent.0 = self.sent.0.saturating_add(egress.sent_bytes);
        self.received.0 = self.received.0.saturating_add(egress.received_bytes);
        self.began_ms.get_or_insert(at_ms);
        match &egress.refused {
            Some(reason) => self.refuse(at_ms, egress, reason, found),
            // An allowed name is answered, but what stands before it in the name is the job's own choice.
            None if egress.via == EgressVia::Dns => self.question(at_ms, egress, None, found),
            None => {}
        }
        self.bytes(at_ms, found);
    }

    pub(super) fn file(&mut self, change: &FileChange) {
        if change.change == Change::Written {
            self.made.1 = self.made.1.saturating_add(change.size.unwrap_or(0));
        }
    }

    pub(super) fn sample(&mut self, at_ms: u64, usage: &Usage, found: &mut Sightings) {
        self.made.0 = self.made.0.max(usage.written_bytes).max(usage.output_bytes.unwrap_or(0));
        self.sent.1 = self.sent.1.max(usage.sent_bytes);
        self.received.1 = self.received.1.max(usage.received_bytes);
        if self.sent.1 > 0 {
            self.began_ms.get_or_insert(at_ms);
        }
        self.bytes(at_ms, found);
    }

    pub(super) fn signals(&self, signals: &mut Vec<Signal>) {
        let budget = self.budget.map_or_else(|| "no budget".to_owned(), |bytes| format!("at most {bytes}"));
        signals.push(line("sent", "bytes", Some(self.sent() as f64), Some(budget), Basis::Observed));
        let refused = Some(self.refused as f64);
        signals.push(line("refused-egress", "attempts", refused, Some("none".to_owned()), Basis::Observed));
    }

    fn sent(&self) -> u64 {
        self.sent.0.max(self.sent.1)
    }

    fn refuse(&mut self, at_ms: u64, egress: &Egress, reason: &str, found: &mut Sightings) {
        self.refused = self.refused.saturating_add(1);
        let target = egress.name.as_deref().or(egress.address.as_deref()).unwrap_or("an unknown target");
        let private = egress.address.as_deref().is_some_and(is_private)
            || ["private", "link-local", "loopback", "metadata", "reserved"].iter().any(|word| reason.contains(word));
        let (kind, confidence, message) = match egress.via {
            EgressVia::Dns => return self.question(at_ms, egress, Some(reason), found),
            _ if reason.contains("budget") => {
                (Kind::EgressBudget, 0.999, format!("the budget is spent; `{target}` was refused"))
            }
            _ if private => (Kind::PrivateTarget, 0.97, format!("reached for `{target}`, inside the host's networks")),
            EgressVia::Udp => (Kind::RefusedDatagram, 0.9, format!("sent a datagram to `{target}`")),
            EgressVia::Tcp if egress.name.is_none() => {
                (Kind::DirectAddress, 0.95, format!("connected to `{target}`, an address that no name led to"))
            }
            EgressVia::Tcp if reason.contains("port") => {
                (Kind::RefusedName, 0.9, format!("reached for port {} of `{target}`", egress.port))
            }
            EgressVia::Tcp if speaks_of_names(reason) => {
                (Kind::OtherName, 0.97, format!("connected to `{target}` and then asked for another name"))
            }
            EgressVia::Tcp => (Kind::RefusedName, 0.9, format!("reached for `{target}`")),
        };
        if kind == Kind::DirectAddress {
            self.direct = self.direct.saturating_add(1);
        }
        // Single addresses are one matter: a scan must not be a thousand alerts.
        let signal =
            if kind == Kind::DirectAddress { "egress:addresses".to_owned() } else { format!("egress:{target}") };
        found.push(Sighting {
            kind,
            signal: cut(signal),
            severity: match kind {
                Kind::DirectAddress if self.direct > SCAN_MIN => Some(Severity::Critical),
                Kind::EgressBudget => Some(Severity::High),
                _ => None,
            },
            basis: Basis::Observed,
            expected: "names and ports that the plan allows".to_owned(),
            seen: cut(format!("{:?} {target}:{}, refused: {reason}", egress.via, egress.port).to_lowercase()),
            since: found.moment(at_ms),
            confidence,
            message,
        });
    }

    /// A question to a name server, refused or answered.
    fn question(&mut self, at_ms: u64, egress: &Egress, reason: Option<&str>, found: &mut Sightings) {
        let name = cut(egress.name.as_deref().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase());
        let labels: Vec<&str> = name.split('.').collect();
        let own = labels.len().saturating_sub(2);
        let parent_name = labels.iter().skip(own).copied().collect::<Vec<_>>().join(".");
        let carried = labels.iter().take(own).copied().collect::<Vec<_>>().join(".");
        if self.parents.len() >= PARENTS_MAX && !self.parents.contains_key(&parent_name) {
            let oldest = self.parents.iter().min_by_key(|(_, parent)| parent.last_ms).map(|(name, _)| name.clone());
            oldest.map(|name| self.parents.remove(&name));
        }
        let parent = self.parents.entry(parent_name.clone()).or_default();
        if parent.asked == 0 {
            parent.began_ms = at_ms;
        }
        let passed_s = at_ms.saturating_sub(parent.last_ms) as f64 / 1_000.0;
        parent.bits = (parent.bits - passed_s * DRAIN_BITS).max(0.0);
        parent.last_ms = at_ms;
        parent.asked += 1;
        if parent.names.insert(Digest::of(name.as_bytes())) {
            parent.bits += carried.len() as f64 * entropy(&carried);
            if parent.names.len() > NAMES_MAX {
                parent.names.pop_first();
            }
        }
        parent.encoded |= labels.iter().take(own.max(1)).any(|label| looks_encoded(label));
        let (bits, distinct) = (parent.bits, parent.names.len());
        let data = bits >= DATA_BITS || distinct >= DISTINCT_MAX;
        let since = found.moment(parent.began_ms);
        if data || parent.encoded {
            found.push(Sighting {
                kind: Kind::DnsExfiltration,
                signal: cut(format!("dns:{parent_name}")),
                severity: Some(if data { Severity::High } else { Severity::Medium }),
                basis: Basis::Observed,
                expected: "a few names that people chose".to_owned(),
                seen: cut(format!("{distinct} names below `{parent_name}` with about {bits:.0} bits, last `{name}`")),
                since,
                confidence: if data { confidence(3.0 + bits / 200.0) } else { 0.85 },
                message: cut(format!("questions for names below `{parent_name}` carry data")),
            });
            return;
        }
        let Some(reason) = reason else { return };
        if self.questions.len() < QUESTIONS_MAX {
            self.questions.insert(Digest::of(name.as_bytes()));
        }
        found.push(Sighting {
            kind: Kind::RefusedName,
            signal: cut(format!("egress:{name}")),
            // Libraries ask for a mirror or for where they send their statistics; nothing has left with the question.
            severity: (self.questions.len() < QUESTIONS_MAX).then_some(Severity::Info),
            basis: Basis::Observed,
            expected: "names that the plan allows".to_owned(),
            seen: cut(format!("a question for `{name}`, refused: {reason}")),
            since,
            confidence: 0.9,
            message: format!("asked for `{name}`, which the plan does not allow"),
        });
    }

    fn bytes(&mut self, at_ms: u64, found: &mut Sightings) {
        let (sent, received) = (self.sent(), self.received.0.max(self.received.1));
        let since = found.moment(self.began_ms.unwrap_or(at_ms));
        // Models and results go where the plan allows, and who trains with others gives back as much as it gets. Who sends more
        // than it ever made or fetched sends what it was given.
        let made = self.made.0.max(self.made.1);
        let due = made.saturating_add(made / 4).saturating_add(received);
        if sent >= UPLOAD_BYTES.saturating_add(due) {
            found.push(Sighting {
                kind: Kind::EgressUpload,
                signal: "sent".to_owned(),
                severity: None,
                basis: Basis::Observed,
                expected: "no more than the run has made or fetched".to_owned(),
                seen: format!("{sent} bytes sent, {made} made, {received} received"),
                since,
                confidence: 0.85,
                message: "the run sends more than it has made or fetched".to_owned(),
            });
        }
        let Some(budget) = self.budget.filter(|budget| *budget > 0) else { return };
        self.forecast(at_ms, sent);
        let share = sent as f64 / budget as f64;
        let left_s = budget.saturating_sub(sent) as f64 / self.pace.max(1e-9);
        let (severity, how) = match share {
            share if share >= 1.0 => (Severity::High, "all"),
            share if share >= 0.8 => (Severity::Medium, "80 %"),
            share if share >= 0.5 => (Severity::Low, "half"),
            share if share >= 0.1 && left_s <= SPENT_SOON_S => (Severity::Low, "at this pace soon all"),
            _ => return,
        };
        found.push(Sighting {
            kind: Kind::EgressBudget,
            signal: "sent".to_owned(),
            severity: Some(severity),
            basis: Basis::Observed,
            expected: format!("at most {budget} bytes"),
            seen: format!("{sent} bytes, {:.0} bytes a second", self.pace),
            since,
            confidence: 0.99,
            message: format!("{how} of the egress budget is spent"),
        });
    }

    fn forecast(&mut self, at_ms: u64, sent: u64) {
        let Some((before_ms, before)) = self.trend else {
            self.trend = Some((at_ms, sent));
            return;
        };
        let span_ms = at_ms.saturating_sub(before_ms);
        if span_ms < TREND_MS {
            return;
        }
        self.trend = Some((at_ms, sent));
        let pace = sent.saturating_sub(before) as f64 / (span_ms as f64 / 1_000.0);
        self.pace += (pace - self.pace) * 0.3;
    }
}

/// Whether a label looks like encoded bytes: long, and letters and digits mixed as no word mixes them.
fn looks_encoded(label: &str) -> bool {
    let length = label.len();
    if length < ENCODED_LENGTH {
        return false;
    }
    let digit = |byte: u8| byte.is_ascii_digit();
    let bytes = label.as_bytes();
    let changes = bytes.iter().zip(bytes.iter().skip(1)).filter(|(a, b)| digit(**a) != digit(**b)).count();
    let vowels = bytes.iter().filter(|byte| b"aeiou".contains(byte)).count();
    let letters = bytes.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    let hyphens = label.matches('-').count();
    let mixed = changes * 5 >= length;
    let unspoken = letters * 10 >= length * 8 && vowels * 6 < letters;
    let unbroken = hyphens * 12 < length;
    entropy(label) >= ENCODED_ENTROPY && unbroken && (mixed || unspoken || length >= LABEL_LONG)
}

/// Whether a refusal is about the name spoken inside a connection (TLS server name, HTTP host).
fn speaks_of_names(reason: &str) -> bool {
    ["TLS", "HTTP", "host", "name", "SNI"].iter().any(|word| reason.contains(word))
}

/// RFC 1918, 3927, 4193, 4291, 6598 and this host: addresses that an outside service does not have.
fn is_private(address: &str) -> bool {
    let address = address.trim_start_matches('[').split([']', '%']).next().unwrap_or_default();
    match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(v4)) => is_private_v4(v4),
        Ok(std::net::IpAddr::V6(v6)) => match v6.to_ipv4_mapped() {
            Some(v4) => is_private_v4(v4),
            None => v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local(),
        },
        Err(_) => false,
    }
}

fn is_private_v4(v4: std::net::Ipv4Addr) -> bool {
    let [first, second, ..] = v4.octets();
    let shared = first == 100 && (64..128).contains(&second);
    v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || shared
}

/// Parents that are followed at a time.
const PARENTS_MAX: usize = 256;
/// Refused names from which on a run looks for a way out.
const QUESTIONS_MAX: usize = 4;
/// Names below a parent that are told apart.
const NAMES_MAX: usize = 512;
/// Names below one parent that no site has a job ask for.
const DISTINCT_MAX: usize = 12;
/// Bits in new names below one parent that are data.
const DATA_BITS: f64 = 400.0;
/// Bits a second that names may carry for ever.
const DRAIN_BITS: f64 = 0.05;
/// Length from which on a label can be encoded, in bytes.
const ENCODED_LENGTH: usize = 16;
/// A label this long is not a word, in bytes.
const LABEL_LONG: usize = 40;
/// Bits per byte from which on a label can be encoded: hexadecimal has up to 4.
const ENCODED_ENTROPY: f64 = 2.9;
/// Attempts at addresses that are a scan.
const SCAN_MIN: u64 = 32;
/// Bytes sent from which on the direction counts.
const UPLOAD_BYTES: u64 = 16 << 20;
/// Span over which the pace is taken, in milliseconds.
const TREND_MS: u64 = 5_000;
/// A budget that will be spent in this time is told, in seconds.
const SPENT_SOON_S: f64 = 120.0;
