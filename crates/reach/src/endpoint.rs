//! A model behind an HTTP endpoint that the user described, asked within a budget and entered into a ledger.
//!
//! [`Description`] is the file: where the model is, how a question is written and an answer read. [`Endpoint`] sends questions and
//! keeps the [`QueryLedger`]; it gives answers back as bytes. [`Asker`] reads those, in a process that has no secret and no
//! network: [`serve`] stands between the two.
//!
//! As with a server of the user's, exactly the host, port and scheme of the file may be spoken to, and no egress policy lists it:
//! the user named it. This machine and private networks need `network = "local"` in the file, metadata addresses besides
//! that their own address as the host.
//!
//! What must stay true: nothing is followed; a secret comes from the environment or a file, goes to that origin alone, and into
//! no error, ledger or digest; what is sent is entered before it is sent; every wait and every answer has a limit.

mod answer;
mod description;
mod wire;

use std::{
    thread,
    time::{Duration, Instant, SystemTime},
};

use ringfence_schema::{
    Timestamp,
    address::Zone,
    endpoint::{QueryLedger, QuerySpan, SPANS_MAX},
};
use zeroize::Zeroizing;

pub use answer::AnswerFault;
pub use description::{
    BATCH_MAX, CLASSES_MAX, Description, HeaderSource, Input, NotADescription, Objects, Output, OutputKind,
    TEXT_BYTES_MAX, VALUES_MAX,
};
pub use wire::{AskError, Asker, serve};

use crate::{
    client::{Client, Clock},
    error::ReachError,
    policy::{EgressPolicy, HostRule},
    secret::{Secret, from_file},
    settings::{Limits, Roots},
    url::Scheme,
};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The budget is spent.
    #[error("the budget of {budget} queries is spent")]
    Spent {
        /// Inputs that might be sent.
        budget: u64,
    },
    /// It could not be asked.
    #[error(transparent)]
    Reach(#[from] ReachError),
}

/// A described endpoint, and what it was asked.
pub struct Endpoint {
    description: Description,
    client: Client,
    headers: Vec<(String, Zeroizing<String>)>,
    attempts: u32,
    pace: Pace,
    opened: Instant,
    ledger: QueryLedger,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({})", self.description.url().origin())
    }
}

impl Endpoint {
    /// Gathers the secrets that the description names; `environment` answers for environment variables. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ReachError::Setting`] for a secret that is not there or would travel in the clear, and for roots that hold no
    /// certificate; [`ReachError::Denied`] for an address that the file does not open.
    pub fn open(description: Description, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, ReachError> {
        Self::with_clock(description, environment, || Timestamp::from(SystemTime::now()))
    }

    /// The same with another clock: dates in `Retry-After` and the ledger's times depend on it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn with_clock(
        description: Description,
        environment: &dyn Fn(&str) -> Option<String>,
        clock: Clock,
    ) -> Result<Self, ReachError> {
        let url = description.url();
        let wrong = |why: String| ReachError::Setting { name: "endpoint", why };
        let host = url.host().parse().map_err(|error: crate::policy::NotAHost| wrong(error.to_string()))?;
        let rule = HostRule { host, port: Some(url.port()), scheme: url.scheme(), network: description.network() };
        let timeout_ms = description.timeout_ms();
        let limits = Limits {
            answer_ms: timeout_ms,
            idle_ms: timeout_ms,
            connect_ms: timeout_ms.min(Limits::default().connect_ms),
            attempts: description.attempts(),
            backoff_ms: description.backoff_ms(),
            wait_ms_max: description.wait_ms_max(),
            ..Limits::default()
        };
        let roots = description.roots().map_or(Roots::Bundled, |path| Roots::File(path.to_owned()));
        let client = Client::new(EgressPolicy { hosts: vec![rule] }, limits, None, &roots, clock)?;
        client.admit(url)?;
        let headers = headers(&description, environment)?;
        let ledger = QueryLedger {
            endpoint: format!("{}{}", url.origin(), url.path()),
            description: description.digest(),
            budget: description.budget(),
            spent: 0,
            answered: 0,
            requests: 0,
            repeats: 0,
            exhausted: false,
            waited_ms: 0,
            spans: Vec::new(),
        };
        let pace = Pace { apart: description.apart(), next: Duration::ZERO };
        let attempts = description.attempts();
        Ok(Self { description, client, headers, attempts, pace, opened: Instant::now(), ledger })
    }

    /// Grants no more than `budget` inputs, or what the file grants if that is less.
    pub fn grant(&mut self, budget: u64) {
        self.ledger.budget = self.ledger.budget.min(budget);
    }

    /// How it is described.
    pub const fn description(&self) -> &Description {
        &self.description
    }

    /// What was asked so far.
    pub const fn ledger(&self) -> &QueryLedger {
        &self.ledger
    }

    /// Asks about inputs after one another (at most a batch of them, each of the described width) and gives back the body of the
    /// answer, unread.
    ///
    /// # Errors
    /// [`EndpointError::Spent`] before anything is sent; [`ReachError::Slow`], [`ReachError::Busy`] after the last attempt or where
    /// more patience is asked for than there is, [`ReachError::Status`], [`ReachError::TooLarge`], and whatever the network brings.
    pub fn ask(&mut self, values: &[f64]) -> Result<Vec<u8>, EndpointError> {
        let width = self.description.width();
        let rows = values.len() / width;
        if self.description.is_text() || !values.len().is_multiple_of(width) || !self.is_batch(rows) {
            return Err(no_batch(format!("{} values are no batch of inputs of {width}", values.len())));
        }
        self.send(rows, &self.description.question(values))
    }

    /// The same about texts, each at most [`TEXT_BYTES_MAX`] long, where inputs are texts.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn ask_texts(&mut self, texts: &[String]) -> Result<Vec<u8>, EndpointError> {
        let long = texts.iter().any(|text| text.len() > TEXT_BYTES_MAX);
        if !self.description.is_text() || long || !self.is_batch(texts.len()) {
            return Err(no_batch(format!("{} texts are no batch of inputs", texts.len())));
        }
        self.send(texts.len(), &self.description.question_of_texts(texts))
    }

    fn is_batch(&self, rows: usize) -> bool {
        (1..=self.description.batch()).contains(&rows)
    }

    fn send(&mut self, rows: usize, body: &[u8]) -> Result<Vec<u8>, EndpointError> {
        let mut attempt = 0;
        loop {
            self.enter(rows as u64, attempt > 0)?;
            let error = match self.once(body) {
                Ok(answer) => {
                    self.ledger.answered += rows as u64;
                    return Ok(answer);
                }
                Err(error) => error,
            };
            attempt += 1;
            let again = matches!(error, ReachError::Busy { .. } | ReachError::Connection { .. });
            if !again || attempt >= self.attempts {
                return Err(error.into());
            }
            let begun = Instant::now();
            self.client.wait(attempt, &error)?;
            self.waited(begun.elapsed());
        }
    }

    fn once(&self, body: &[u8]) -> Result<Vec<u8>, ReachError> {
        let url = self.description.url();
        let answer = self.client.question(url, &self.headers, body)?;
        answer.read_all(self.description.answer_bytes_max())
    }

    /// Enters what is about to be sent, and waits until the rate allows it.
    fn enter(&mut self, rows: u64, repeated: bool) -> Result<(), EndpointError> {
        let spent = self.ledger.spent.saturating_add(rows);
        if spent > self.ledger.budget {
            self.ledger.exhausted = true;
            return Err(EndpointError::Spent { budget: self.ledger.budget });
        }
        let wait = self.pace.wait(self.opened.elapsed());
        if !wait.is_zero() {
            thread::sleep(wait);
            self.waited(wait);
        }
        self.ledger.spent = spent;
        self.ledger.requests += 1;
        self.ledger.repeats += u64::from(repeated);
        let now = (self.client.clock())();
        let full = self.ledger.spans.len() >= SPANS_MAX;
        match self.ledger.spans.last_mut() {
            Some(span) if full || now.millis() < span.from.millis().saturating_add(MINUTE_MS) => {
                span.requests += 1;
                span.queries += rows;
            }
            _ => self.ledger.spans.push(QuerySpan { from: now, requests: 1, queries: rows }),
        }
        Ok(())
    }

    fn waited(&mut self, time: Duration) {
        let waited_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.ledger.waited_ms = self.ledger.waited_ms.saturating_add(waited_ms);
    }
}

fn no_batch(why: String) -> EndpointError {
    ReachError::Setting { name: "endpoint", why }.into()
}

/// The values of the headers that the description names.
fn headers(
    description: &Description,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<(String, Zeroizing<String>)>, ReachError> {
    let url = description.url();
    let clear = url.scheme() == Scheme::Http
        && url.address().is_none_or(|address| ringfence_schema::address::zone(address) != Zone::Loopback);
    let mut found = Vec::new();
    for (name, source) in description.headers() {
        let wrong = |why: String| ReachError::Setting { name: "headers", why };
        let secret = match source {
            HeaderSource::Value(value) => {
                found.push((name.clone(), Zeroizing::new(value.clone())));
                continue;
            }
            HeaderSource::Environment(variable) => {
                let value = environment(variable).ok_or_else(|| wrong(format!("`{variable}` is not set")))?;
                Secret::new("headers", Zeroizing::new(value))?
            }
            HeaderSource::Bearer(variable) => {
                let value = environment(variable).ok_or_else(|| wrong(format!("`{variable}` is not set")))?;
                Secret::new("headers", Zeroizing::new(value))?
            }
            HeaderSource::File(path) => from_file("headers", path)?,
        };
        if clear {
            return Err(wrong(format!("the secret of `{name}` is not sent in the clear; use https")));
        }
        let prefix = if matches!(source, HeaderSource::Bearer(_)) { "Bearer " } else { "" };
        found.push((name.clone(), Zeroizing::new(format!("{prefix}{}", secret.expose()))));
    }
    Ok(found)
}

/// Keeps requests apart.
#[derive(Debug)]
struct Pace {
    /// Between the beginnings of two requests.
    apart: Duration,
    /// When the next one may begin, since the endpoint was opened.
    next: Duration,
}

impl Pace {
    /// How long to wait before a request that is ready at `now`.
    fn wait(&mut self, now: Duration) -> Duration {
        let begins = now.max(self.next);
        self.next = begins.saturating_add(self.apart);
        begins.saturating_sub(now)
    }
}

/// A minute.
const MINUTE_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::{Duration, Pace};

    #[test]
    fn requests_begin_no_closer_than_the_rate_allows() {
        let ms = Duration::from_millis;
        let mut pace = Pace { apart: ms(100), next: Duration::ZERO };
        assert_eq!(pace.wait(ms(5)), Duration::ZERO);
        assert_eq!(pace.wait(ms(25)), ms(80));
        assert_eq!(pace.wait(ms(110)), ms(95), "one that waited counts from when it begins");
        assert_eq!(pace.wait(ms(900)), Duration::ZERO, "what was not used is not saved up");
        assert_eq!(pace.wait(ms(900)), ms(100));
    }
}
