//! Where alerts go: webhooks, mail, syslog, files for collectors, OpenTelemetry; and figures for Prometheus.
//!
//! [`SinkList`] is `sinks.toml`; [`Reach::open_sink`] makes an [`Outlet`] of one entry, with its secrets. An outlet is a
//! [`Sink`], which takes alerts in order, a [`Gauge`], which takes figures, or both. What is sent is made by pure functions in
//! [`encode`]; a repeat of an alert is the same bytes under the same id, apart from the time of the attempt in a signature.
//!
//! What must stay true:
//!
//! * Sinks are dialled under the same egress policy as sources, follow no redirect, and use no name that it does not admit.
//! * "Taken" means that the other side said so, in whatever way its protocol can; what may have been taken counts as not
//!   taken, so that it is sent again.
//! * Every wait ends: each call has a deadline.
//! * No error carries a secret, a path of a webhook, or words that a server says about credentials.
//!
//! Absent on purpose: queues, retries and their waits (the engine's), and any choice of what is worth an alert.

mod dial;
pub mod encode;
mod file;
mod http;
pub mod metrics;
mod settings;
mod smtp;
mod syslog;

use std::time::{Duration, Instant};

use ringfence_schema::{Timestamp, alert::Alert};

pub use settings::{
    Body, Destination, FileSettings, MailSettings, OtlpSettings, Place, PrometheusSettings, SINKS_MAX, SecretSource,
    Security, SinkList, SinkName, SinkSettings, SyslogSettings, SyslogTransport, WebhookSettings,
};
pub use smtp::read_reply;

use crate::{Reach, client::Client, error::ReachError, settings::Limits};
use metrics::Metrics;

/// Longest that one call of [`Sink::send`] is meant to last, in milliseconds; it ends within one exchange of it.
pub const SEND_MS_MAX: u64 = 20_000;
/// Milliseconds until a connection to a sink stands.
const CONNECT_MS_MAX: u64 = 5_000;
/// Milliseconds until a sink has answered one request or command.
const ANSWER_MS_MAX: u64 = 10_000;
/// Milliseconds without a byte from a sink.
const IDLE_MS_MAX: u64 = 5_000;

/// An alert on its way.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// The vault that raised it.
    pub vault: &'a str,
    /// Its number in this sink's queue, from 1.
    pub sequence: u64,
    /// The alert.
    pub alert: &'a Alert,
}

/// What came of sending.
#[derive(Debug, Default)]
pub struct Sent {
    /// How many parcels were taken, counted from the first.
    pub taken: usize,
    /// Why it stopped before the end; `None` where all were taken, or the time was over.
    pub failure: Option<ReachError>,
}

impl Sent {
    fn stopped(taken: usize, failure: ReachError) -> Self {
        Self { taken, failure: Some(failure) }
    }
}

/// Takes alerts.
pub trait Sink: Send {
    /// Sends `parcels` in order and stops at the first that is not taken, or once `deadline` has passed. `now` goes into
    /// signatures.
    fn send(&mut self, parcels: &[Parcel<'_>], now: Timestamp, deadline: Instant) -> Sent;
}

/// Takes figures; each call replaces what was said before.
pub trait Gauge: Send {
    /// Makes the figures known.
    fn show(&mut self, metrics: &Metrics) -> Result<(), ReachError>;
}

/// An opened sink.
#[derive(Default)]
pub struct Outlet {
    /// Where alerts go.
    pub sink: Option<Box<dyn Sink>>,
    /// Where figures go.
    pub gauge: Option<Box<dyn Gauge>>,
}

impl Reach {
    /// Opens a sink: reads its secrets and checks its settings. Nothing is connected to yet.
    ///
    /// # Errors
    /// [`ReachError::Setting`], [`ReachError::Url`], [`ReachError::Denied`] where the egress policy does not name its host, and
    /// [`ReachError::Io`] for a secret's file.
    pub fn open_sink(&self, settings: &SinkSettings) -> Result<Outlet, ReachError> {
        let sink = |sink: Box<dyn Sink>| Ok(Outlet { sink: Some(sink), gauge: None });
        match &settings.to {
            Destination::Webhook(webhook) => sink(Box::new(http::Webhook::open(self.sink_client()?, webhook)?)),
            Destination::Otlp(otlp) => {
                let gauge: Option<Box<dyn Gauge>> =
                    if otlp.metrics { Some(Box::new(http::Collector::open(self.sink_client()?, otlp)?)) } else { None };
                Ok(Outlet { sink: Some(Box::new(http::Collector::open(self.sink_client()?, otlp)?)), gauge })
            }
            Destination::Mail(mail) => sink(Box::new(smtp::Mailer::open(self.dialler()?, mail)?)),
            Destination::Syslog(syslog) => sink(Box::new(syslog::Forwarder::open(self.dialler()?, syslog)?)),
            Destination::File(file) => sink(Box::new(file::Lines::new(file))),
            Destination::Prometheus(textfile) => {
                Ok(Outlet { sink: None, gauge: Some(Box::new(file::Textfile::new(textfile))) })
            }
        }
    }

    /// The client for sinks and witnesses: the same policy, roots and proxy, shorter waits, and no attempts beyond the first, because
    /// whoever keeps the queue tries again.
    pub(crate) fn sink_client(&self) -> Result<Client, ReachError> {
        let Reach { settings, client, .. } = self;
        let limits = sink_limits(&settings.limits);
        Client::new(settings.egress.clone(), limits, settings.proxy.as_ref(), &settings.roots, client.clock())
    }

    fn dialler(&self) -> Result<dial::Dialler, ReachError> {
        dial::Dialler::new(self.settings.egress.clone(), sink_limits(&self.settings.limits), &self.settings.roots)
    }
}

fn sink_limits(limits: &Limits) -> Limits {
    Limits {
        connect_ms: limits.connect_ms.min(CONNECT_MS_MAX),
        answer_ms: limits.answer_ms.min(ANSWER_MS_MAX),
        idle_ms: limits.idle_ms.min(IDLE_MS_MAX),
        attempts: 1,
        ..*limits
    }
}

/// A deadline from now.
pub fn deadline(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}
