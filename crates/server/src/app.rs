//! The application behind the routes: one open vault, and who acts in it.
//!
//! [`App`] is the state of every handler. The engine is synchronous, so [`App::work`] takes each use case to a thread of
//! its own; what only reads memory (who somebody is) happens where it is asked. No rule is decided here.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use axum::http::HeaderMap;
use ringfence_engine::{
    EngineError, ExitClass, Glance, Looked, Vault,
    access::{Action, factors::step_up_holds},
    doctor::Part,
    schema::{Digest, Timestamp},
    team::{Caller, Entered, Origin, passkey::RelyingParty},
};

use tokio::sync::{Semaphore, oneshot};

use crate::{
    api::transfers::TRANSFERS_MAX,
    problem::{Kind, Problem},
    routes::{
        Permission,
        seat::{Account, Authenticator, Credential, Known, Refusal},
    },
    serve::{Peer, tls::provider},
    web::live::Views,
};

/// How long what was found of the installation is shown again, in milliseconds.
const POSTURE_FRESH_MS: u64 = 60_000;

/// How long the records of looks are gathered before they are written together. Half as long as the disk takes, it lets
/// several times as many share one commit, and everybody is answered sooner (`cargo xtask bench server`).
const GATHERING: Duration = Duration::from_micros(500);

/// How soon a wrong login by password is answered at the soonest: several times what a hash of a password takes.
const WRONG_LOGIN: Duration = Duration::from_millis(100);

/// What every handler shares. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    vault: Vault<'static>,
    party: RelyingParty,
    now: fn() -> Timestamp,
    /// Made at the start: forms of before a restart do not count after it.
    form_key: [u8; 32],
    /// What [`App::posture`] found, and when.
    posture: Mutex<Option<(Timestamp, Vec<Part>)>>,
    /// How it stands with certificates from outside, where an authority is asked for them.
    certificate: Mutex<Option<Part>>,
    /// Places for requests that carry bytes.
    transfers: Arc<Semaphore>,
    views: Views,
    stopping: AtomicBool,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "App({})", self.0.party.id())
    }
}

impl App {
    /// Serves `vault` to browsers for which it is `party`.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn new(
        vault: Vault<'static>,
        party: RelyingParty,
        now: fn() -> Timestamp,
    ) -> Result<Self, rustls::crypto::GetRandomFailed> {
        let mut form_key = [0; 32];
        provider().secure_random.fill(&mut form_key)?;
        Ok(Self(Arc::new(Inner {
            vault,
            party,
            now,
            form_key,
            posture: Mutex::new(None),
            certificate: Mutex::new(None),
            transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)),
            views: Views::default(),
            stopping: AtomicBool::new(false),
        })))
    }

    /// The vault's id.
    pub fn vault_id(&self) -> String {
        self.0.vault.id().to_string()
    }

    /// What stands in the forms of the caller's session: nobody outside can know it.
    pub fn form_token(&self, caller: &Caller) -> String {
        let key = caller.key.map(|key| key.to_string()).unwrap_or_default();
        let parts: [&[u8]; 3] = [b"ringfence form token 1", &self.0.form_key, key.as_bytes()];
        Digest::of(&parts.concat()).hex()
    }

    /// Whether `told` is what stands in the forms of the caller's session; in time that does not depend on where it differs.
    pub fn is_form_token(&self, caller: &Caller, told: &str) -> bool {
        let known = self.form_token(caller);
        let differs = known.bytes().zip(told.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
        known.len() == told.len() && differs == 0
    }

    /// How the installation is: what was found lately, or what `look` finds now, which takes seconds.
    pub fn posture(&self, look: impl FnOnce() -> Vec<Part>) -> Vec<Part> {
        let now = self.now();
        let mut kept = self.0.posture.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = match kept.as_ref() {
            Some((at, parts)) if now.millis().saturating_sub(at.millis()) < POSTURE_FRESH_MS => parts.clone(),
            _ => {
                let parts = look();
                *kept = Some((now, parts.clone()));
                parts
            }
        };
        self.with_certificate(parts)
    }

    /// `parts`, and the certificate from outside where there is to be one.
    pub fn with_certificate(&self, mut parts: Vec<Part>) -> Vec<Part> {
        parts.extend(self.0.certificate.lock().unwrap_or_else(PoisonError::into_inner).clone());
        parts
    }

    /// Remembers what came of asking an authority for a certificate.
    pub fn certified(&self, came: Part) {
        *self.0.certificate.lock().unwrap_or_else(PoisonError::into_inner) = Some(came);
    }

    /// Places for requests that carry bytes: each holds a thread as long as the other end is slow.
    pub fn transfers(&self) -> Arc<Semaphore> {
        self.0.transfers.clone()
    }

    /// Who has how many live views open.
    pub(crate) fn views(&self) -> &Views {
        &self.0.views
    }

    /// Says that the server stops: what goes on for long ends.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the server stops.
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }

    /// For whom passkeys are made.
    pub fn party(&self) -> &RelyingParty {
        &self.0.party
    }

    /// The clock.
    pub fn now(&self) -> Timestamp {
        (self.0.now)()
    }

    /// Carries out a use case as `caller`, on a thread that may wait.
    pub async fn work<T: Send + 'static>(
        &self,
        caller: Caller,
        work: impl FnOnce(&Vault<'static>, &RelyingParty) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Problem> {
        let app = self.clone();
        self.apart(move || work(&app.0.vault.acting(caller), &app.0.party)).await
    }

    /// Reads as `caller`: that they look at `what` is decided, and recorded, before anything is read.
    pub async fn look<T: Send + 'static>(
        &self,
        caller: Caller,
        what: impl Into<String>,
        read: impl FnOnce(&Vault<'static>) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Problem> {
        self.look_first(caller, what, |_, _| None, read).await
    }

    /// The same for what memory may hold: `known` tells it without waiting, if it can.
    pub async fn look_first<T: Send + 'static>(
        &self,
        caller: Caller,
        what: impl Into<String>,
        known: impl FnOnce(&Vault<'static>, &Looked) -> Option<T> + Send,
        read: impl FnOnce(&Vault<'static>) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Problem> {
        let what = what.into();
        let vault = self.0.vault.acting(caller);
        let (tell, told) = oneshot::channel();
        // The receiver is gone only where the request is: its record stays.
        let glance = vault.glance(&what, move |looked| drop(tell.send(looked))).map_err(|error| problem(&error))?;
        let Glance::Handed(due) = glance else {
            return self.apart(move || vault.look(&what).and_then(|()| read(&vault))).await;
        };
        if let Some(due) = due {
            // Dropped in any case, also where no thread is left to do it on.
            drop(tokio::task::spawn_blocking(move || {
                thread::sleep(GATHERING);
                drop(due);
            }));
        }
        let looked = told.await.map_err(|_| Problem::new(Kind::Internal))?.map_err(|error| problem(&error))?;
        match known(&vault, &looked) {
            Some(known) => Ok(known),
            None => self.apart(move || vault.looked(&looked).and_then(|()| read(&vault))).await,
        }
    }

    /// Carries out what needs nobody to be signed in: ways in.
    pub async fn work_open<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Vault<'static>, &RelyingParty) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Problem> {
        let app = self.clone();
        self.apart(move || work(&app.0.vault, &app.0.party)).await
    }

    /// Tries a login by password. Every wrong one is answered after [`WRONG_LOGIN`] at the soonest: under it, what the work took
    /// is not seen from outside.
    pub async fn login_password(
        &self,
        name: String,
        password: String,
        code: String,
        from: Origin,
    ) -> Result<Result<Entered, EngineError>, Problem> {
        let soonest = Instant::now() + WRONG_LOGIN;
        let tried = self.work_open(move |vault, _| Ok(vault.login_password(&name, password, &code, &from))).await?;
        if matches!(tried, Err(EngineError::NotSignedIn)) {
            tokio::time::sleep_until(soonest.into()).await;
        }
        Ok(tried)
    }

    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Problem> {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result.map_err(|error| problem(&error)),
            Err(_) => Err(Problem::new(Kind::Internal)),
        }
    }

    /// Finds out who presents something. A route that names an action turns away here whoever's token is not good for it,
    /// and asks for a step up where the engine would; the engine decides again.
    pub fn authenticator(&self) -> Authenticator<Caller> {
        let app = self.clone();
        Authenticator::new(move |ask| {
            let found = app.find(&ask.credential, ask.permission, ask.peer);
            async move { found }
        })
    }

    fn find(&self, credential: &Credential, permission: Permission, peer: Peer) -> Result<Known<Caller>, Refusal> {
        if permission == Permission::Run {
            return self.find_run(credential, peer);
        }
        let presented = match credential {
            Credential::Session(presented) | Credential::Token(presented) => presented.expose(),
            Credential::Certificate(_) => return Err(Refusal::SignIn),
        };
        let caller = self.0.vault.authenticate(presented, Some(peer.address.ip())).map_err(|error| match error {
            EngineError::NotSignedIn => Refusal::SignIn,
            _ => Refusal::Unavailable,
        })?;
        if let Permission::Action(action) = permission {
            if caller.scope.as_ref().is_some_and(|scope| !scope.contains(&action)) {
                return Err(Refusal::Denied(vec![format!("this token is not good for `{action}`")]));
            }
            let human = caller.person.kind == ringfence_engine::access::PersonKind::Human;
            if human && needs_step_up(action) && !step_up_holds(caller.proven, self.now()) {
                return Err(Refusal::StepUp);
            }
        }
        let account = Account(caller.person.id.as_str().into());
        Ok(Known { principal: caller, account })
    }

    /// Asks for a step up where the engine would refuse without one, so that whoever asks knows what is missing.
    ///
    /// # Errors
    /// A problem of [`Kind::StepUp`].
    pub fn fresh(&self, caller: &Caller) -> Result<(), Problem> {
        let human = caller.person.kind == ringfence_engine::access::PersonKind::Human;
        let may = !human || caller.scope.is_some() || step_up_holds(caller.proven, self.now());
        if may { Ok(()) } else { Err(Problem::new(Kind::StepUp)) }
    }

    /// The machine of a run, by the run's token alone. Its requests count against the run's limit.
    fn find_run(&self, credential: &Credential, peer: Peer) -> Result<Known<Caller>, Refusal> {
        let Credential::Token(presented) = credential else { return Err(Refusal::SignIn) };
        let found = self.0.vault.authenticate_run(presented.expose(), Some(peer.address.ip()));
        let caller = found.map_err(|error| match error {
            EngineError::NotSignedIn => Refusal::SignIn,
            _ => Refusal::Unavailable,
        })?;
        let account = Account(format!("run {}", caller.run.as_deref().unwrap_or_default()).into());
        Ok(Known { principal: caller, account })
    }

    /// Carries out a use case that goes on after it was answered, on a thread of its own: `begin` gets what to call with the
    /// answer.
    pub async fn keep<T: Send + 'static>(
        &self,
        caller: Caller,
        begin: impl FnOnce(&Vault<'static>, &mut dyn FnMut(T)) -> Result<(), EngineError> + Send + 'static,
    ) -> Result<T, Problem> {
        let (tell, told) = oneshot::channel();
        let app = self.clone();
        let keeping = move || {
            let mut tell = Some(tell);
            let mut answer = |value| {
                if let Some(tell) = tell.take() {
                    let _ = tell.send(Ok(value));
                }
            };
            let kept = begin(&app.0.vault.acting(caller), &mut answer);
            // What came of it later is in the vault.
            if let (Err(error), Some(tell)) = (kept, tell) {
                let _ = tell.send(Err(problem(&error)));
            }
        };
        thread::Builder::new().name("run".to_owned()).spawn(keeping).map_err(|_| Problem::new(Kind::Unavailable))?;
        told.await.unwrap_or_else(|_| Err(Problem::new(Kind::Internal)))
    }

    /// Whether the vault can take work: it says why not.
    pub fn readiness(&self) -> Result<(), Vec<String>> {
        self.0.vault.readiness().map_err(|error| vec![what_is_wrong(&error)])
    }
}

fn needs_step_up(action: Action) -> bool {
    action == Action::Enrol || Action::DANGEROUS.contains(&action)
}

/// Where a request comes from, as logins are recorded.
pub fn origin(address: IpAddr, headers: &HeaderMap) -> Origin {
    let client = headers.get(axum::http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("unnamed");
    Origin { address: Some(address), client: client.to_owned() }
}

/// An engine's error as others may see it: what is wrong with the request in full, what is wrong here by kind alone.
pub fn problem(error: &EngineError) -> Problem {
    match error {
        EngineError::NotSignedIn => Problem::new(Kind::SignIn),
        EngineError::Locked { .. } => Problem::about(Kind::TooMany, "too many wrong attempts; wait before the next"),
        EngineError::Busy { what } => Problem::about(Kind::Unavailable, *what).retry_after_s(1),
        EngineError::Destroyed { .. } => Problem::about(Kind::Gone, error.to_string()),
        EngineError::Refused { reasons, .. } => Problem::new(Kind::Denied).because(reasons.iter().cloned()),
        EngineError::NotFound { .. } => Problem::about(Kind::NotFound, error.to_string()),
        EngineError::Usage { .. } | EngineError::Plan { .. } => Problem::about(Kind::Unprocessable, error.to_string()),
        EngineError::NotPermitted { .. } | EngineError::NeedsApproval { .. } | EngineError::Asked { .. } => {
            Problem::about(Kind::Denied, error.to_string())
        }
        EngineError::Taken { .. } | EngineError::Elsewhere { .. } => Problem::about(Kind::Conflict, error.to_string()),
        other if other.exit_class() == ExitClass::No => Problem::about(Kind::Unprocessable, other.to_string()),
        other => Problem::about(Kind::Unavailable, what_is_wrong(other)),
    }
}

/// What is wrong here, without paths, names or digests: for whoever is not the operator.
fn what_is_wrong(error: &EngineError) -> String {
    match error {
        EngineError::Tampered { .. } => "the vault's content is not what it was; its operator must look".to_owned(),
        EngineError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            "the disk is full: nothing is done that cannot be recorded".to_owned()
        }
        EngineError::Io { .. } => "the vault's files cannot be read or written".to_owned(),
        EngineError::Reach(_) => "a source outside could not be reached".to_owned(),
        _ => "the vault cannot do this now".to_owned(),
    }
}
