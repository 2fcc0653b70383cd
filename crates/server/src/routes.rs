//! Every route, as a table: what it is called, who may call it, what it takes, what it does.
//!
//! A [`Route`] is made by [`Route::open`], [`Route::signed_in`] or [`Route::acting`], so one without a [`Permission`] cannot
//! be said. Handlers of the latter two get the caller's [`Seat`] as their first argument and from nowhere else; handlers of
//! open routes cannot ask for one. The rest of a handler's arguments are axum's extractors.
//!
//! [`Routes`] is the table; [`Routes::iter`] is what the API's description and the test that calls every route read;
//! [`Routes::service`] is the router, with the gate of [`gate`] before each handler and the [`Guard`] before all.
//!
//! What must stay true: whatever is not in the table is 404, or 405 with what is; nothing reaches a handler that the gate
//! did not let through.

pub mod gate;
pub mod seat;

use std::{collections::BTreeMap, fmt, pin::Pin, sync::Arc};

use axum::{
    extract::{DefaultBodyLimit, Request},
    handler::Handler,
    http::Method,
    response::{IntoResponse as _, Response},
    routing::{MethodFilter, MethodRouter, Router, on},
};
use ringfence_engine::access::Action;
use serde_json::Value;

use self::{
    gate::{Gate, Pass},
    seat::{Authenticator, Seat, SeatedHandler},
};
use crate::{
    guard::{Guard, Service, json::JSON_BYTES_MAX, rate::Rate},
    problem::{Kind, Problem},
};

/// Largest form, in bytes.
pub const FORM_BYTES_MAX: usize = 64 * 1_024;

/// The methods that routes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Reads; answers `HEAD` too.
    Get,
    /// Does something.
    Post,
    /// Puts something in its place, the same however often.
    Put,
    /// Changes a part.
    Patch,
    /// Takes something away.
    Delete,
}

impl Verb {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// As a method of HTTP.
    pub fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// Why a route needs nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Open {
    /// Whether the server lives, and can work.
    Health,
    /// Style sheets, the script, icons: the same for everybody.
    Static,
    /// The description of the API.
    Description,
    /// The way in: login, invitation, the first administrator, a device's code.
    SignIn,
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Anybody, for this reason.
    Open(Open),
    /// Whoever is signed in: one's own things.
    SignedIn,
    /// The machine that carries out a run, with that run's token: it is good for nothing else, and nothing else for this.
    Run,
    /// Whoever the engine lets do this. The gate asks the [`Authenticator`] with it, and the engine decides again on the thing itself.
    Action(Action),
}

/// Whether calling a route leaves an entry in the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recorded {
    /// The engine writes one before anything happens.
    Trail,
    /// Nothing is written: it shows nothing that is guarded.
    Unrecorded,
}

/// What a route takes as a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    /// None; one that comes is refused.
    Nothing,
    /// A document for [`crate::guard::json::Json`], of at most [`JSON_BYTES_MAX`].
    Json,
    /// A form of at most [`FORM_BYTES_MAX`].
    Form,
    /// Bytes as they come.
    Bytes {
        /// At most so many bytes.
        bytes_max: u64,
    },
}

impl Intake {
    /// The limit in bytes.
    pub fn bytes_max(self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Json => JSON_BYTES_MAX as u64,
            Self::Form => FORM_BYTES_MAX as u64,
            Self::Bytes { bytes_max } => bytes_max,
        }
    }
}

/// How long a route may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Until the answer begins: [`gate::REQUEST_TIME_MAX`], body included.
    Brief,
    /// As long as it goes on: transfers and live events. Only a standstill of the body ends it ([`gate::BODY_STALL_MAX`]).
    Streaming,
}

type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;
/// A path, and what is behind its methods.
type Verbs<S, P> = (&'static str, BTreeMap<Verb, Pass<S, P>>);

type OpenHandler<S> = Arc<dyn Fn(Request, S) -> Answering + Send + Sync>;
type Seated<S, P> = Arc<dyn Fn(Seat<P>, Request, S) -> Answering + Send + Sync>;

/// What is behind a route, and who gets there.
pub(crate) enum Door<S, P> {
    Open(Open, OpenHandler<S>),
    SignedIn(Seated<S, P>),
    Run(Seated<S, P>),
    Action(Action, Seated<S, P>),
}

/// One route. `S` is the application's state, `P` its principal.
pub struct Route<S, P> {
    verb: Verb,
    path: &'static str,
    summary: &'static str,
    recorded: Recorded,
    intake: Intake,
    patience: Patience,
    weight: u32,
    body: Option<fn() -> Value>,
    door: Door<S, P>,
}

impl<S, P> fmt::Debug for Route<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?} {:?}", self.verb.name(), self.path, self.permission(), self.recorded)
    }
}

impl<S: Clone + Send + Sync + 'static, P: Send + Sync + 'static> Route<S, P> {
    /// A route for anybody. Ways in are recorded, the rest is not.
    pub fn open<T: 'static>(
        why: Open,
        verb: Verb,
        path: &'static str,
        summary: &'static str,
        handler: impl Handler<T, S>,
    ) -> Self {
        let run: OpenHandler<S> = Arc::new(move |request, state| Box::pin(handler.clone().call(request, state)));
        let recorded = if why == Open::SignIn { Recorded::Trail } else { Recorded::Unrecorded };
        Self { recorded, ..Self::behind(Door::Open(why, run), verb, path, summary) }
    }

    /// A route for whoever is signed in.
    pub fn signed_in<T: 'static>(
        verb: Verb,
        path: &'static str,
        summary: &'static str,
        handler: impl SeatedHandler<T, S, P>,
    ) -> Self {
        Self::behind(Door::SignedIn(seated(handler)), verb, path, summary)
    }

    /// A route for the machine that carries out a run.
    pub fn in_run<T: 'static>(
        verb: Verb,
        path: &'static str,
        summary: &'static str,
        handler: impl SeatedHandler<T, S, P>,
    ) -> Self {
        Self::behind(Door::Run(seated(handler)), verb, path, summary)
    }

    /// A route for whoever may do `action`.
    pub fn acting<T: 'static>(
        action: Action,
        verb: Verb,
        path: &'static str,
        summary: &'static str,
        handler: impl SeatedHandler<T, S, P>,
    ) -> Self {
        Self::behind(Door::Action(action, seated(handler)), verb, path, summary)
    }

    fn behind(door: Door<S, P>, verb: Verb, path: &'static str, summary: &'static str) -> Self {
        let (recorded, intake, patience) = (Recorded::Trail, Intake::Nothing, Patience::Brief);
        Self { verb, path, summary, recorded, intake, patience, weight: 1, body: None, door }
    }
}

fn seated<T: 'static, S: 'static, P: 'static>(handler: impl SeatedHandler<T, S, P>) -> Seated<S, P> {
    Arc::new(move |seat, request, state| Box::pin(handler.clone().call(seat, request, state)))
}

impl<S, P> Route<S, P> {
    /// Takes a body.
    #[must_use]
    pub fn takes(mut self, intake: Intake) -> Self {
        self.intake = intake;
        self
    }

    /// Takes a JSON document that this JSON Schema describes. It is for the API's description; the handler's type decides.
    #[must_use]
    pub fn takes_json(mut self, body: fn() -> Value) -> Self {
        (self.intake, self.body) = (Intake::Json, Some(body));
        self
    }

    /// May take longer.
    #[must_use]
    pub fn streaming(mut self) -> Self {
        self.patience = Patience::Streaming;
        self
    }

    /// Counts as so many requests, of the address and of the principal: a login costs a password hash.
    #[must_use]
    pub fn weighs(mut self, requests: u32) -> Self {
        self.weight = requests.max(1);
        self
    }

    /// Leaves no entry: it shows nothing that is guarded. The list of such routes is part of a reviewed snapshot.
    #[must_use]
    pub fn unrecorded(mut self) -> Self {
        self.recorded = Recorded::Unrecorded;
        self
    }

    /// The same for whoever may do `action` instead; an open route stays open, for it has no seat to give, and one of a run
    /// stays a run's.
    #[must_use]
    pub fn demanding(mut self, action: Action) -> Self {
        self.door = match self.door {
            Door::SignedIn(seated) | Door::Action(_, seated) => Door::Action(action, seated),
            other @ (Door::Open(..) | Door::Run(_)) => other,
        };
        self
    }

    /// Its method.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// Its path; variable parts in braces.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// What it does, in a few words.
    pub fn summary(&self) -> &'static str {
        self.summary
    }

    /// Who may call it.
    pub fn permission(&self) -> Permission {
        match &self.door {
            Door::Open(why, _) => Permission::Open(*why),
            Door::SignedIn(_) => Permission::SignedIn,
            Door::Run(_) => Permission::Run,
            Door::Action(action, _) => Permission::Action(*action),
        }
    }

    /// Whether it leaves an entry.
    pub fn recorded(&self) -> Recorded {
        self.recorded
    }

    /// What it takes.
    pub fn intake(&self) -> Intake {
        self.intake
    }

    /// The JSON Schema of the document that it takes.
    pub fn body(&self) -> Option<Value> {
        self.body.map(|body| body())
    }

    /// How long it may take.
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// As how many requests it counts.
    pub fn weight(&self) -> u32 {
        self.weight
    }
}

/// Why a table does not make a router.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// Not of the form `/words/{name}/{*rest}`.
    #[error("`{path}` is not the path of a route")]
    Path {
        /// The path.
        path: &'static str,
    },
    /// Two routes for one request.
    #[error("`{} {path}` stands twice, perhaps with another name in braces", verb.name())]
    Twice {
        /// Its method.
        verb: Verb,
        /// The path of the second.
        path: &'static str,
    },
}

/// The table.
#[derive(Debug)]
pub struct Routes<S, P>(Vec<Route<S, P>>);

impl<S, P> Default for Routes<S, P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S, P> Routes<S, P> {
    /// With one more.
    #[must_use]
    pub fn with(mut self, route: Route<S, P>) -> Self {
        self.0.push(route);
        self
    }

    /// With these.
    #[must_use]
    pub fn and(mut self, routes: impl IntoIterator<Item = Route<S, P>>) -> Self {
        self.0.extend(routes);
        self
    }

    /// With those of another table.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        self.and(other.0)
    }

    /// Every route, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Route<S, P>> {
        self.0.iter()
    }
}

impl<S, P> IntoIterator for Routes<S, P> {
    type Item = Route<S, P>;
    type IntoIter = std::vec::IntoIter<Route<S, P>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<S: Clone + Send + Sync + 'static, P: Send + Sync + 'static> Routes<S, P> {
    /// The routes behind their gates, behind the guard.
    pub fn service(
        self,
        state: S,
        authenticator: Authenticator<P>,
        per_principal: Rate,
        guard: Guard,
    ) -> Result<Service, RouteError> {
        let gate = Arc::new(Gate::new(state, authenticator, guard.addresses(), per_principal, guard.times()));
        // Routes by the shape of their path: names in braces do not tell requests apart.
        let mut paths = BTreeMap::<String, Verbs<S, P>>::new();
        for route in self.0 {
            let shape = shape(route.path).ok_or(RouteError::Path { path: route.path })?;
            let (verb, path) = (route.verb, route.path);
            let (first, verbs) = paths.entry(shape).or_insert_with(|| (path, BTreeMap::new()));
            if verbs.insert(verb, Pass::of(route)).is_some() || *first != path {
                return Err(RouteError::Twice { verb, path });
            }
        }
        for (shape, (path, verbs)) in &paths {
            let covered = shape.strip_suffix("{*}").map(|before| format!("{before}{{}}"));
            if let (Some(covered), Some(verb)) = (covered, verbs.keys().next())
                && paths.keys().any(|other| other.starts_with(&covered))
            {
                return Err(RouteError::Twice { verb: *verb, path });
            }
        }
        let mut router = Router::new();
        for (path, verbs) in paths.into_values() {
            let methods = verbs.into_iter().fold(MethodRouter::new(), |methods, (verb, pass)| {
                let (gate, pass) = (Arc::clone(&gate), Arc::new(pass));
                let answer = move |request: Request| {
                    let (gate, pass) = (Arc::clone(&gate), Arc::clone(&pass));
                    async move { gate.answer(&pass, request).await }
                };
                methods.merge(on(verb.filter(), answer))
            });
            router = router.route(path, methods);
        }
        let nothing = || async { Problem::new(Kind::NotFound).into_response() };
        // The gate sets each route's own limit.
        Ok(guard.around(router.fallback(nothing).layer(DefaultBodyLimit::disable())))
    }
}

/// The path with its names left out, if it is a path.
fn shape(path: &str) -> Option<String> {
    let rest = path.strip_prefix('/')?;
    if rest.is_empty() {
        return Some("/".to_owned());
    }
    let mut shape = String::new();
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let word = |text: &str, extra: &[u8]| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
        };
        shape.push('/');
        if let Some(name) = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            let (rest, name) = name.strip_prefix('*').map_or((false, name), |name| (true, name));
            if !word(name, b"_") || (rest && segments.peek().is_some()) {
                return None;
            }
            shape.push_str(if rest { "{*}" } else { "{}" });
        } else {
            let dots = segment.bytes().all(|byte| byte == b'.');
            if dots || !word(segment, b"-._") {
                return None;
            }
            shape.push_str(segment);
        }
    }
    Some(shape)
}
