//! Sinks that speak HTTP: signed webhooks, and OpenTelemetry's collector.

use std::time::Instant;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringfence_schema::Timestamp;
use serde_json::Value;

use super::{
    Body, Gauge, OtlpSettings, Parcel, Sent, Sink, WebhookSettings,
    encode::{message_id, ocsf, otlp_logs, otlp_metrics, ringfence},
    metrics::Metrics,
    settings::signing_key,
};
use crate::{
    client::{Client, Post},
    error::{ReachError, Refusal},
    secret::Secret,
    url::{Scheme, Url},
};

/// Most log records of one request to a collector.
const RECORDS_MAX: usize = 64;

/// One `POST` for each alert.
pub(super) struct Webhook {
    client: Client,
    url: Url,
    body: Body,
    key: Option<hmac::Key>,
}

impl Webhook {
    pub(super) fn open(client: Client, settings: &WebhookSettings) -> Result<Self, ReachError> {
        let url = settings.url.url()?;
        client.admit(&url)?;
        let key = match &settings.secret {
            Some(source) => Some(hmac::Key::new(hmac::HMAC_SHA256, &signing_key(&source.read("secret")?)?)),
            None => None,
        };
        Ok(Self { client, url, body: settings.body, key })
    }

    fn post(&self, parcel: &Parcel<'_>, now: Timestamp) -> Result<(), ReachError> {
        let body = match self.body {
            Body::Ringfence => ringfence(parcel),
            Body::Ocsf => ocsf(parcel),
        };
        let body = body.to_string();
        let (id, time_s) = (message_id(parcel), (now.millis() / 1_000).to_string());
        let mut headers = Vec::new();
        if let Some(key) = &self.key {
            headers.push(("webhook-signature", signature(key, &id, &time_s, body.as_bytes())));
        }
        headers.push(("webhook-id", id));
        headers.push(("webhook-timestamp", time_s));
        let post =
            Post { url: &self.url, content_type: "application/json", headers, token: None, body: body.as_bytes() };
        self.client.post(&post)
    }
}

/// Standard Webhooks 1, "Signature scheme": HMAC-SHA-256 over id, time and body with dots between.
fn signature(key: &hmac::Key, id: &str, time_s: &str, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    for part in [id.as_bytes(), b".", time_s.as_bytes(), b".", body] {
        context.update(part);
    }
    format!("v1,{}", STANDARD.encode(context.sign().as_ref()))
}

impl Sink for Webhook {
    fn send(&mut self, parcels: &[Parcel<'_>], now: Timestamp, deadline: Instant) -> Sent {
        for (taken, parcel) in parcels.iter().enumerate() {
            if Instant::now() >= deadline {
                return Sent { taken, failure: None };
            }
            if let Err(error) = self.post(parcel, now) {
                return Sent::stopped(taken, error);
            }
        }
        Sent { taken: parcels.len(), failure: None }
    }
}

/// OpenTelemetry's collector.
pub(super) struct Collector {
    client: Client,
    logs: Url,
    metrics: Url,
    token: Option<Secret>,
}

impl Collector {
    pub(super) fn open(client: Client, settings: &OtlpSettings) -> Result<Self, ReachError> {
        let base = settings.endpoint.trim_end_matches('/');
        let logs = Url::parse(&format!("{base}/v1/logs"))?;
        let metrics = Url::parse(&format!("{base}/v1/metrics"))?;
        client.admit(&logs)?;
        let token = settings.token.as_ref().map(|source| source.read("token")).transpose()?;
        if token.is_some() && logs.scheme() == Scheme::Http {
            return Err(ReachError::Setting { name: "token", why: "a token is not sent in the clear".into() });
        }
        Ok(Self { client, logs, metrics, token })
    }

    fn post(&self, url: &Url, body: &Value) -> Result<(), ReachError> {
        let body = body.to_string();
        let (headers, token) = (Vec::new(), self.token.as_ref());
        self.client.post(&Post { url, content_type: "application/json", headers, token, body: body.as_bytes() })
    }
}

impl Sink for Collector {
    fn send(&mut self, parcels: &[Parcel<'_>], _: Timestamp, deadline: Instant) -> Sent {
        let mut taken = 0;
        for some in parcels.chunks(RECORDS_MAX) {
            if Instant::now() >= deadline {
                return Sent { taken, failure: None };
            }
            match self.post(&self.logs, &otlp_logs(some)) {
                Ok(()) => taken += some.len(),
                // Which of them it refuses is seen when they come one by one.
                Err(error) if some.len() > 1 && error.refusal() == Some(Refusal::Content) => {
                    for one in some.chunks(1) {
                        if Instant::now() >= deadline {
                            return Sent { taken, failure: None };
                        }
                        if let Err(error) = self.post(&self.logs, &otlp_logs(one)) {
                            return Sent::stopped(taken, error);
                        }
                        taken += 1;
                    }
                }
                Err(error) => return Sent::stopped(taken, error),
            }
        }
        Sent { taken, failure: None }
    }
}

impl Gauge for Collector {
    fn show(&mut self, metrics: &Metrics) -> Result<(), ReachError> {
        self.post(&self.metrics, &otlp_metrics(metrics))
    }
}
