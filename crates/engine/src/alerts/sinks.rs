//! Which sinks there are, how they do, and what is kept of them while the vault is open.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use ringfence_access::{Action, Facts, Resource};
use ringfence_catalog::{
    CatalogError,
    outbox::{Aside, SinkRow},
};
use ringfence_reach::sink::{
    Outlet, SinkList, SinkSettings,
    metrics::{MetricKind, Metrics},
};
use ringfence_schema::{
    Severity, Timestamp,
    event::{Progress, Usage},
};
use serde::Serialize;
use serde_json::json;

use super::{Filed, FiledAt, Move};
use crate::{
    act::{Act, Effect, Reach},
    bundle::canonical,
    error::EngineError,
    vault::{Vault, catalog_error, read_small},
};

/// The list of sinks in the user's configuration.
pub const SINKS_FILE: &str = "sinks.toml";
/// Most runs whose figures are kept.
const RUNS_MAX: usize = 256;
/// Alerts that are queued again in one transaction.
const RESENT_AT_ONCE: usize = 256;

/// What an open vault keeps for its sinks.
#[derive(Default)]
pub(crate) struct Desk {
    list: OnceLock<Result<SinkList, String>>,
    outlets: Mutex<BTreeMap<String, Arc<Mutex<Outlet>>>>,
    runs: Mutex<BTreeMap<String, (Usage, Option<Progress>)>>,
    /// When figures were shown last, by sink.
    pub(super) shown: Mutex<BTreeMap<String, Timestamp>>,
    /// How often somebody raised; whoever delivers waits for it to change.
    raised: Mutex<u64>,
    news: Condvar,
}

impl Desk {
    /// Something waits to be delivered.
    pub(crate) fn wake(&self) {
        *lock(&self.raised) += 1;
        self.news.notify_all();
    }

    /// Waits until something was raised after `seen`, or until `wait` is over; what to remember as seen.
    pub(super) fn wait(&self, seen: u64, wait: Duration) -> u64 {
        let raised = lock(&self.raised);
        let waited = self.news.wait_timeout_while(raised, wait, |raised| *raised == seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a sink does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// `webhook`, `mail` …; absent where the configuration does not name it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// Alerts below this do not go there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
    /// How many records wait.
    pub pending: u64,
    /// How many it has taken.
    pub delivered: u64,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// Before this moment nothing is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Timestamp>,
    /// What the last failure was, if it has not worked since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// Alerts that are not queued because the queue is full. They are in the trail.
    pub not_queued: u64,
    /// What it refused for good and was spared, oldest first; not what was queued again since. The newest
    /// [`ringfence_catalog::outbox::ASIDE_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_aside: Vec<SetAside>,
}

/// What a sink refused for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// The entry of the trail that holds the alert; the first, where it stands for alerts that a full queue did not take.
    pub first: u64,
    /// The last entry.
    pub last: u64,
    /// How often it was refused.
    pub refused: u32,
    /// When it was set aside.
    pub at: Timestamp,
    /// What the sink said.
    pub why: String,
}

impl Vault<'_> {
    /// The configured sinks, read once while the vault is open.
    pub(super) fn sink_list(&self) -> Result<&SinkList, EngineError> {
        let path = self.settings.config.join(SINKS_FILE);
        let read = || -> Result<SinkList, String> {
            if !path.exists() {
                return Ok(SinkList::default());
            }
            let text = String::from_utf8(read_small(&path).map_err(|error| error.to_string())?);
            toml::from_str(&text.map_err(|error| format!("not UTF-8 text: {error}"))?)
                .map_err(|error| error.to_string())
        };
        let known = self.desk.list.get_or_init(read);
        known.as_ref().map_err(|what| EngineError::Plan { file: path.clone(), what: what.clone() })
    }

    pub(super) fn configured(&self, name: &str) -> Result<&SinkSettings, EngineError> {
        let found = self.sink_list()?.sinks.iter().find(|sink| sink.name.as_str() == name);
        found.ok_or_else(|| EngineError::NotFound { what: "sink", name: name.to_owned() })
    }

    pub(super) fn sink_rows(&self) -> Result<Vec<SinkRow>, EngineError> {
        self.catalog.read(|view| view.sinks()).map_err(|error: CatalogError| catalog_error(&error))
    }

    /// The sinks that an alert of this severity goes to. Where their list cannot be read, every sink that ever had a queue:
    /// too much is better than nothing.
    pub(super) fn sinks_for(&self, severity: Severity) -> Result<Vec<String>, EngineError> {
        match self.sink_list() {
            Ok(list) => {
                let wants = |sink: &&SinkSettings| sink.to.takes_alerts() && severity >= sink.min_severity;
                Ok(list.sinks.iter().filter(wants).map(|sink| sink.name.to_string()).collect())
            }
            Err(error) => {
                self.settings
                    .progress
                    .note(&format!("{error}; alerts are queued for the sinks that were there before"));
                Ok(self.sink_rows()?.into_iter().map(|row| row.name).collect())
            }
        }
    }

    /// The opened sink, kept until the vault is closed.
    pub(super) fn outlet(&self, settings: &SinkSettings) -> Result<Arc<Mutex<Outlet>>, EngineError> {
        if let Some(outlet) = lock(&self.desk.outlets).get(settings.name.as_str()) {
            return Ok(Arc::clone(outlet));
        }
        let opened = Arc::new(Mutex::new((self.settings.reach)()?.open_sink(settings)?));
        lock(&self.desk.outlets).insert(settings.name.to_string(), Arc::clone(&opened));
        Ok(opened)
    }

    /// How every sink does: those that are configured, in the order of the file, then those that are not any more.
    pub fn sinks(&self) -> Result<Vec<SinkStatus>, EngineError> {
        let mut rows: BTreeMap<String, SinkRow> =
            self.sink_rows()?.into_iter().map(|row| (row.name.clone(), row)).collect();
        let mut all = Vec::new();
        for sink in &self.sink_list()?.sinks {
            all.push(self.status(sink.name.as_str(), Some(sink), rows.remove(sink.name.as_str()))?);
        }
        for (name, row) in rows {
            all.push(self.status(&name, None, Some(row))?);
        }
        Ok(all)
    }

    fn status(
        &self,
        name: &str,
        settings: Option<&SinkSettings>,
        row: Option<SinkRow>,
    ) -> Result<SinkStatus, EngineError> {
        let said = row.as_ref().and_then(|row| row.said.as_deref());
        let last_failure = said.map(|said| self.unseal_said(name, said)).transpose()?;
        let (passed, aside) = self
            .catalog
            .read(|view| Ok((view.refused(name)?.map_or(0, |refused| refused.passed), view.set_aside(name)?)))
            .map_err(|error: CatalogError| catalog_error(&error))?;
        let shown = |aside: Aside| -> Result<SetAside, EngineError> {
            let Aside { first, last, count, at, said, .. } = aside;
            Ok(SetAside { first, last, refused: count, at, why: self.unseal_said(name, &said)? })
        };
        Ok(SinkStatus {
            name: name.to_owned(),
            kind: settings.map(|sink| sink.to.kind()),
            min_severity: settings.map(|sink| sink.min_severity),
            pending: row.as_ref().map_or(0, SinkRow::pending),
            delivered: row.as_ref().map_or(0, |row| row.delivered.saturating_sub(passed)),
            set_aside: aside.into_iter().map(shown).collect::<Result<_, _>>()?,
            failures: row.as_ref().map_or(0, |row| row.failures),
            next_attempt: row.as_ref().filter(|row| row.failures > 0).map(|row| row.due),
            last_failure,
            not_queued: row.as_ref().and_then(|row| row.lost).map_or(0, |lost| lost.count),
        })
    }

    /// Queues the alerts of entries `first` to `last` of the trail again, for one sink, whatever their severity; how many.
    /// They keep their ids. What was set aside of these entries is not any more.
    pub fn resend(&self, name: &str, first: u64, last: u64) -> Result<u64, EngineError> {
        self.configured(name)?;
        let mut rows = Vec::new();
        let mut from = first;
        while from <= last {
            let page = self
                .catalog
                .read(|view| view.alerts_between(from, last))
                .map_err(|error: CatalogError| catalog_error(&error))?;
            let Some(end) = page.last().map(|row| row.entry) else { break };
            rows.extend(page);
            from = end + 1;
        }
        let mut left = rows.len();
        for some in rows.chunks(RESENT_AT_ONCE) {
            left -= some.len();
            let act = Act {
                action: Action::Deliver,
                resources: vec![Resource::Vault],
                facts: Facts::default(),
                request: json!({"what": "queue again", "sink": name, "first": first, "last": last, "alerts": some.len()}),
                subject: format!("{} alerts for {name}", some.len()),
                reach: Reach::Inside,
            };
            self.act(act, || {
                let mut effect = Effect::of(());
                if left == 0 {
                    effect.moves.push(Move::TakenBack(name.to_owned(), first, last));
                }
                for (row, alert) in self.open_alerts(some)? {
                    effect.filed.push(Filed {
                        key: row.key.clone(),
                        bytes: canonical(&alert)?,
                        place: FiledAt::Earlier(row.entry),
                        sinks: vec![name.to_owned()],
                    });
                }
                Ok(effect)
            })?;
        }
        self.desk.wake();
        Ok(rows.len() as u64)
    }

    /// Gives up what waits for a sink; how many records that were. The alerts stay in the trail.
    pub fn forget_sink(&self, name: &str) -> Result<u64, EngineError> {
        let row = self.sink_rows()?.into_iter().find(|row| row.name == name);
        let row = row.ok_or_else(|| EngineError::NotFound { what: "queue of a sink", name: name.to_owned() })?;
        let act = Act {
            action: Action::Deliver,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"what": "give up", "sink": name, "pending": row.pending()}),
            subject: format!("the queue for {name}"),
            reach: Reach::Inside,
        };
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.moves.push(Move::Forgotten(name.to_owned()));
            Ok(effect)
        })?;
        Ok(row.pending())
    }

    /// Notes the figures of a run, for sinks that take figures; they stay until [`Vault::run_ended`].
    pub fn run_figures(&self, run: &str, usage: &Usage, claimed: Option<&Progress>) {
        let mut runs = lock(&self.desk.runs);
        if runs.len() < RUNS_MAX || runs.contains_key(run) {
            runs.insert(run.to_owned(), (usage.clone(), claimed.cloned()));
        }
    }

    /// The figures of a run are of the past.
    pub fn run_ended(&self, run: &str) {
        lock(&self.desk.runs).remove(run);
    }

    /// What can be counted of alerts, sinks and runs at the moment `now`.
    pub fn figures(&self, now: Timestamp) -> Result<Metrics, EngineError> {
        let since = self.catalog.entry(0).map_err(|error| catalog_error(&error))?.map_or(now, |first| first.entry.time);
        let mut metrics = Metrics::new(self.id().to_string(), since, now);
        let count: u64 =
            self.catalog.read(|view| view.alert_count()).map_err(|error: CatalogError| catalog_error(&error))?;
        let acknowledgements = self.acknowledgements()?;
        let holding =
            acknowledgements.values().filter(|said| said.until.is_none_or(|until| until > now)).count() as u64;
        metrics.add(ALERTS, &[], count as f64);
        metrics.add(ALERTS_OPEN, &[], count.saturating_sub(holding) as f64);
        metrics.add(TRAIL, &[], self.catalog.size().map_err(|error| catalog_error(&error))? as f64);
        for row in self.sink_rows()? {
            let labels: &[(&'static str, &str)] = &[("sink", &row.name)];
            metrics.add(SINK_PENDING, labels, row.pending() as f64);
            let refused = self
                .catalog
                .read(|view| view.refused(&row.name))
                .map_err(|error: CatalogError| catalog_error(&error))?;
            let passed = refused.map_or(0, |refused| refused.passed);
            metrics.add(SINK_DELIVERED, labels, row.delivered.saturating_sub(passed) as f64);
            metrics.add(SINK_SET_ASIDE, labels, passed as f64);
            metrics.add(SINK_FAILURES, labels, f64::from(row.failures));
            metrics.add(SINK_NOT_QUEUED, labels, row.lost.map_or(0, |lost| lost.count) as f64);
        }
        for (run, (usage, claimed)) in lock(&self.desk.runs).iter() {
            metrics.add_run(run, usage, claimed.as_ref());
        }
        Ok(metrics)
    }
}

type Name = (&'static str, MetricKind, &'static str);

const ALERTS: Name = ("ringfence_alerts_total", MetricKind::Counter, "Alerts in the trail");
const ALERTS_OPEN: Name = ("ringfence_alerts_open", MetricKind::Gauge, "Alerts that nobody has acknowledged");
const TRAIL: Name = ("ringfence_trail_entries_total", MetricKind::Counter, "Entries of the trail");
const SINK_PENDING: Name = ("ringfence_sink_pending", MetricKind::Gauge, "Alerts that wait for a sink");
const SINK_DELIVERED: Name = ("ringfence_sink_delivered_total", MetricKind::Counter, "Alerts that a sink has taken");
const SINK_SET_ASIDE: Name = (
    "ringfence_sink_set_aside_total",
    MetricKind::Counter,
    "Alerts that a sink refused for good and was spared; they are in the trail",
);
const SINK_FAILURES: Name = ("ringfence_sink_failures", MetricKind::Gauge, "Failed attempts in a row at a sink");
const SINK_NOT_QUEUED: Name =
    ("ringfence_sink_not_queued", MetricKind::Gauge, "Alerts that a full queue did not take; they are in the trail");
