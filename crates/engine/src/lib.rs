//! The use cases: order, authorisation, trail. The command line, the server and Python call nothing below this crate.
//!
//! * [`Vault`]: made, opened, recovered (`vault`); every effect passes through one door (`act`).
//! * [`stage`]: `Untrusted → Inspected → Admitted → Candidate → Tested → Released`, each step consuming the one before:
//!   `admit`, `look`, `run`, `release`; `reading`: seeing what is there; what people do with artifacts afterwards: `keep`, and at the end [`destroy`].
//! * `origin`, `remote`: what is fetched, looked at by ranges first; `newer`: what its source has now, and what changed in
//!   the weights; `reaudit`: what was let in, looked at again;
//!   [`signing`]: detached signatures, waivers, feeds; `bom`: bills of materials.
//! * `since`: what a model withstands beside an earlier one; `mark`: commitments of watermarks' secrets. [`history`]: what runs looked like; [`lookout`]: versions, people and recordings under the watch.
//! * [`alerts`]: filed in the trail, queued for sinks and delivered, at least once and in order.
//! * [`transfer`]: artifacts that come and go piece by piece, over a network; [`carry`]: the other end of that.
//! * [`elsewhere`]: runs whose command runs on another machine, under a token of its own; [`told`]: what is said between the
//!   two; [`errand`]: that machine's side; [`queue`]: runs that wait for one.
//! * [`held`]: what a client holds of another machine's vault: its trust root, its newest checkpoint.
//! * [`files`]: the same controls on plain files, without a vault; `asked`: the same attacks on a model behind an endpoint. [`verify_bundle`]: a release, offline.
//! * [`oidc`]: logging in through another provider.
//! * [`drill`]: known bad jobs, run on purpose. [`schedule`]: what a server does by itself.
//! * [`trail`]: reading and verifying the log, showing it to witnesses; [`witness`]: being one for others;
//!   [`doctor`]: what works here.
//! * [`team`]: people, factors, sessions, and what several of them must agree on; [`policy`]: the vault's own policy.
//! * `work`: keyless children; [`Plan`]: `ringfence.toml`; `page`, `chart`: the report of a run; [`card`], `plot`: those of attacks; [`bundle`]: what a release holds.
//!
//! What must stay true: only this crate brings store, sandbox and trail together; no effect without a decision and a
//! record; no foreign byte is parsed in a process that holds a key.

#![forbid(unsafe_code)]

mod act;
mod admit;
pub mod afar;
pub mod alerts;
mod asked;
mod bom;
pub mod bundle;
pub mod card;
pub mod carry;
mod chart;
pub mod destroy;
pub mod doctor;
pub mod drill;
mod dump;
pub mod errand;
mod error;
mod fields;
pub mod files;
mod held;
pub mod history;
mod keep;
mod look;
pub mod lookout;
mod mark;
mod model;
mod newer;
mod numbers;
pub mod oidc;
mod origin;
mod page;
mod plan;
mod plot;
pub mod policy;
pub mod probe;
mod provenance;
mod reading;
mod reaudit;
mod record;
mod release;
mod remote;
mod run;
pub mod schedule;
mod settings;
mod show;
pub mod signing;
mod since;
mod source;
pub mod stage;
pub mod team;
pub mod trail;
pub mod transfer;
mod vault;
mod verify;
pub mod witness;
mod work;

pub use admit::{Intake, Origin};
pub use asked::Target;
pub use dump::no_core_dumps;
pub use error::{EngineError, ExitClass};
pub use mark::commitment_of;
pub use model::ModelFile;
pub use newer::Outdated;
pub use origin::scan_source;
pub use plan::{DemandedLevel, Plan};
pub use provenance::Input;
pub use reading::{Due, Glance, Looked};
pub use reaudit::{Rescan, stale};
pub use record::{Destruction, EvidenceRow, Flagged, OriginRow, Reading, RunRow, Version};
pub use ringfence_access as access;
pub use ringfence_access::{Exemptions, NamespaceState};
pub use ringfence_attack::{
    Accountant, DpPlan, Guarantee, HardenPlan, Mode, PrivacyPlan, ReferencePlan, Sampling, Start,
};
pub use ringfence_reach as reach;
pub use ringfence_sandbox::{drill_main, supervisor_main};
pub use ringfence_schema as schema;
pub use ringfence_trust::{Passphrase, feed::Feed, pins::Pins, sign::VerifyingKey};
pub use ringfence_watch as watch;
pub use run::{
    RunEnd, RunOptions, elsewhere,
    guard::{RULES_FILE, rules as watch_rules},
    live::{Follow, Order, Unfollow, follow, live_runs},
    queue, told,
};
pub use settings::{Asked, Progress, Settings, Silent};
pub use show::{Inclusion, ShownEvidence};
pub use since::{Side, attack_since};
pub use vault::{Protection, Vault, pins};
pub use verify::{Anchor, verify_approval, verify_bundle};
pub use work::{forward::main as forward_main, main as worker_main};

/// A rule that a finding can name, with what it means.
#[derive(Debug, Clone, Copy)]
pub struct RuleText {
    /// Its id.
    pub id: &'static str,
    /// What it finds.
    pub title: &'static str,
    /// Why that matters.
    pub why: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// Every rule of every control, by id.
pub fn rules() -> Vec<RuleText> {
    let scan = ringfence_scan::rules().iter().map(|rule| RuleText {
        id: rule.id,
        title: rule.title,
        why: rule.why,
        remedy: rule.remedy,
    });
    let screen = ringfence_screen::rules().iter().map(|rule| RuleText {
        id: rule.id,
        title: rule.title,
        why: rule.why,
        remedy: rule.remedy,
    });
    let watch = ringfence_watch::rules::builtins().map(|rule| RuleText {
        id: &rule.id,
        title: &rule.title,
        why: &rule.why,
        remedy: &rule.remedy,
    });
    let mut all: Vec<RuleText> = scan
        .chain(screen)
        .chain(watch)
        .chain([
            team::glass::GLASS,
            destroy::DESTROYED,
            files::UNREAD,
            probe::SUSPECT,
            reaudit::AFFECTED,
            reaudit::POSSIBLE,
            reaudit::PACKAGE,
            reaudit::STALE,
            reaudit::WORSE,
            schedule::FAILED,
            schedule::FOUND,
            since::DROPPED,
        ])
        .collect();
    all.sort_by_key(|rule| rule.id);
    all
}

/// The rule with this id.
pub fn rule(id: &str) -> Option<RuleText> {
    rules().into_iter().find(|rule| rule.id == id)
}
