//! A vault's own policy document: TOML with a handful of settings, and further `forbid` policies in Cedar.
//!
//! ```toml
//! schema = "ringfence.policy/1"
//! forbid = '''
//! @id("reviewed")
//! @says("every release is reviewed by a person")
//! forbid (principal, action == Action::"release", resource) unless { context.evidence.review.passes };
//! '''
//!
//! [settings]
//! allow_no_scan = false
//! demand_level = "full"
//! min_robust_accuracy_permille = 300
//! evidence_max_age_days = 30
//! login_min_for = { owner = "passkey", security_officer = "passkey" }
//!
//! [[tests]]
//! who = "researcher"
//! action = "release"
//! what = "candidate model"
//! when = ["the review does not pass"]
//! expect = "deny"
//! ```
//!
//! Settings are typed, so that a misspelt one is an error and not a gate left open. Tests ([`crate::trial`]) are run before
//! a document takes effect in a vault in several hands.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    factors::{self, LoginStrength},
    request::{Custody, Role},
    text::Position,
    trial::{TRIALS_MAX, Trial},
};

/// Longest policy document in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 128 << 10;
/// Longest age of evidence that can be set, in days.
pub const AGE_DAYS_MAX: u32 = 36_500;
/// The greatest share in thousandths.
pub const PERMILLE_MAX: u32 = 1_000;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// How well a run must be confined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DemandLevel {
    /// Landlock and seccomp will do.
    #[default]
    Any,
    /// Namespaces too.
    NoCgroup,
    /// Namespaces, and control groups.
    Full,
}

/// What a vault sets. The default is what holds where no document was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Whether models may be added with `--no-scan`; by default in solo vaults only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_no_scan: Option<bool>,
    /// Whether datasets may be added with `--no-screen`; by default in solo vaults only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_no_screen: Option<bool>,
    /// How strongly people must log in to a vault in several hands; by default, and at least, with a second factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_min: Option<LoginStrength>,
    /// The same for those who have a role. Where several demands meet, the strictest holds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub login_min_for: BTreeMap<Role, LoginStrength>,
    /// How well runs must be confined.
    #[serde(default)]
    pub demand_level: DemandLevel,
    /// Least accuracy under attack of what is released, in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_robust_accuracy_permille: Option<u32>,
    /// Most clean accuracy that may be lost against the base, in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_clean_drop_permille: Option<u32>,
    /// Most records that screening may remove, in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_filtered_permille: Option<u32>,
    /// Evidence older than this does not count, whatever its own expiry says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_max_age_days: Option<u32>,
    /// Hosts that plans may ask for: names, `*.example.org` for all below, `*` for any. By default any in solo vaults and
    /// none in shared ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_hosts: Option<Vec<String>>,
    /// Private networks that allowed hosts may lie in, in CIDR notation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress_networks: Vec<String>,
}

impl Settings {
    /// Whether the exemption from scanning is open to a vault in these hands.
    pub fn allows_no_scan(&self, custody: Custody) -> bool {
        self.allow_no_scan.unwrap_or(custody == Custody::Solo)
    }

    /// Whether the exemption from screening is open to a vault in these hands.
    pub fn allows_no_screen(&self, custody: Custody) -> bool {
        self.allow_no_screen.unwrap_or(custody == Custody::Solo)
    }

    /// How strongly somebody with `roles` must log in: the strictest of all demands that concern them.
    pub fn login_min(&self, roles: &BTreeSet<Role>) -> LoginStrength {
        let by_role = self.login_min_for.iter().filter(|(role, _)| roles.contains(role)).map(|(_, demand)| *demand);
        factors::strictest(self.login_min.into_iter().chain(by_role))
    }

    /// The hosts that plans may ask for.
    pub fn egress_hosts(&self, custody: Custody) -> Vec<String> {
        let default = || if custody == Custody::Solo { vec!["*".to_owned()] } else { Vec::new() };
        self.egress_hosts.clone().unwrap_or_else(default)
    }

    /// The oldest age of evidence that counts, in milliseconds.
    pub fn evidence_max_age_ms(&self) -> u64 {
        self.evidence_max_age_days.map_or(u64::MAX, |days| u64::from(days) * DAY_MS)
    }

    fn check(&self) -> Result<(), SettingsError> {
        let shares = [
            ("min_robust_accuracy_permille", self.min_robust_accuracy_permille, PERMILLE_MAX),
            ("max_clean_drop_permille", self.max_clean_drop_permille, PERMILLE_MAX),
            ("max_filtered_permille", self.max_filtered_permille, PERMILLE_MAX),
            ("evidence_max_age_days", self.evidence_max_age_days, AGE_DAYS_MAX),
        ];
        for (name, value, limit) in shares {
            if let Some(value) = value.filter(|value| *value > limit) {
                return Err(SettingsError::OutOfRange { name, value, limit });
            }
        }
        Ok(())
    }
}

/// A vault's policy document, read but not yet joined to the built-in set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VaultPolicy {
    /// The settings.
    pub settings: Settings,
    /// Further `forbid` policies, as Cedar text.
    pub forbid: String,
    /// What must come of it.
    pub tests: Vec<Trial>,
}

#[derive(Deserialize)]
enum PolicySchema {
    #[serde(rename = "ringfence.policy/1")]
    One,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "schema")]
    _schema: PolicySchema,
    #[serde(default)]
    forbid: String,
    #[serde(default)]
    settings: Settings,
    #[serde(default)]
    tests: Vec<Trial>,
}

impl VaultPolicy {
    /// Reads a document. Unknown keys, wrong types and values out of range are refused.
    pub fn parse(document: &str) -> Result<Self, SettingsError> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(SettingsError::TooLarge { bytes: document.len() });
        }
        let document: Document = toml::from_str(document).map_err(|error| SettingsError::Document {
            position: Position::of(document, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        document.settings.check()?;
        if document.tests.len() > TRIALS_MAX {
            return Err(SettingsError::Tests { tests: document.tests.len() });
        }
        for (number, trial) in (1..).zip(&document.tests) {
            trial.check().map_err(|what| SettingsError::Test { number, what })?;
        }
        Ok(Self { settings: document.settings, forbid: document.forbid, tests: document.tests })
    }
}

/// Why a document is no vault policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Longer than [`DOCUMENT_BYTES_MAX`].
    #[error("policy document of {bytes} bytes, limit is {DOCUMENT_BYTES_MAX}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not TOML, or not these keys and types.
    #[error("policy document, {position}: {message}")]
    Document {
        /// Where.
        position: Position,
        /// What is wrong.
        message: String,
    },
    /// More tests than [`TRIALS_MAX`].
    #[error("{tests} tests, limit is {TRIALS_MAX}")]
    Tests {
        /// How many.
        tests: usize,
    },
    /// A test that speaks of what there is not.
    #[error("test {number}: {what}")]
    Test {
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A number that makes no sense.
    #[error("`{name}` is {value}, limit is {limit}")]
    OutOfRange {
        /// Which setting.
        name: &'static str,
        /// What was given.
        value: u32,
        /// The greatest value.
        limit: u32,
    },
}
