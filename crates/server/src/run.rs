//! `ringfence serve`: a vault behind TLS, from the first start to the graceful stop.
//!
//! The embedded authority's keys lie in `tls/` in the operator's configuration; its certificate is what browsers are to
//! trust. Without an enrolled administrator, nothing listens beyond loopback.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use nix::sys::prctl;
use ringfence_engine::{
    EngineError, Settings, Vault,
    doctor::{Health, Part},
    lookout::people::Vigil,
    schema::Timestamp,
    team::{Invitation, passkey::RelyingParty},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

#[cfg(feature = "acme")]
use crate::serve::acme::{Acme, AcmeError, Certified};
use crate::{
    api,
    app::App,
    guard::{
        Guard,
        hosts::{HostError, HostName, Hosts, Scheme},
        rate::Rate,
    },
    health,
    routes::RouteError,
    scim,
    serve::{
        Channel, Drained, Exposure, ExposureError, Limits, ListenError, Listener, Stop,
        authority::{Authority, AuthorityError},
        files::{self, FileError},
        tls::{Clients, Identity, Tls, TlsError},
    },
    web,
};

/// Threads that use cases may wait on at the same time.
const WAITING_THREADS_MAX: usize = 64;
/// How long a stop waits for threads that still work, beyond the drain.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(5);
/// How often it is looked for what is due.
const SCHEDULES: Duration = Duration::from_secs(30);
/// How often alerts go out.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// Every so many of these, the trail is shown to the witnesses.
const WITNESS_BEATS: u32 = 12;
/// What may wait to be told.
const TOLD_MAX: usize = 16;
/// The folder of the embedded authority within the configuration.
const TLS_FOLDER: &str = "tls";

/// What to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Names under which browsers reach it; the first is what passkeys are made for. None: `localhost`.
    pub hosts: Vec<String>,
    /// An own certificate chain and its key, as PEM files; `None`: the embedded authority makes one.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// An authority that speaks ACME, for certificates of `hosts`.
    #[cfg(feature = "acme")]
    pub acme: Option<AcmeOptions>,
}

/// Which authority is asked for certificates.
#[cfg(feature = "acme")]
#[derive(Debug, Clone)]
pub struct AcmeOptions {
    /// Where its directory is.
    pub directory: String,
    /// Where it sends warnings: an address of mail.
    pub contact: Option<String>,
    /// A PEM file with the roots of its own certificate, where Mozilla's do not hold them.
    pub roots: Option<PathBuf>,
}

/// What the operator hears.
#[derive(Debug)]
#[non_exhaustive]
pub enum Told {
    /// It listens.
    Listening {
        /// Where, the port being the real one.
        address: SocketAddr,
        /// What to open in a browser.
        url: String,
        /// The embedded authority's certificate, for browsers to trust, and its fingerprint.
        authority: Option<(PathBuf, String)>,
    },
    /// There is no administrator yet; this lets the first one in.
    Setup(Invitation),
    /// A certificate from the authority that was asked is served, until then.
    Certified(Timestamp),
    /// It gave none; the embedded authority's serves, or the last one while it is good.
    Uncertified {
        /// Why.
        why: String,
        /// Seconds until it is asked again.
        again_s: u64,
    },
    /// It stops.
    Stopping,
    /// So many requests were cut off when the time was up.
    Cut(usize),
}

impl Told {
    /// What came of asking for a certificate, as posture and overview show it.
    fn certificate(&self) -> Option<Part> {
        let (health, detail, fix) = match self {
            Self::Certified(until) => (Health::Ok, format!("from the authority, good until {until}"), String::new()),
            Self::Uncertified { why, again_s } => (
                Health::Warn,
                format!(
                    "none from the authority: {why}; asked again in {} minutes, and until then the one before is served, or the \
                     embedded authority's",
                    again_s / 60
                ),
                "see that the authority can reach this server by its name on port 443".to_owned(),
            ),
            _ => return None,
        };
        Some(Part { name: "certificate".into(), health, detail, fix })
    }
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The vault.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A name that is none.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A name for which no passkey can be made.
    #[error("`{host}` cannot be what passkeys are made for: {why}")]
    Party {
        /// The name.
        host: String,
        /// Why not.
        why: String,
    },
    /// The embedded authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The given certificate or key.
    #[error(transparent)]
    File(#[from] FileError),
    /// The authority that speaks ACME.
    #[cfg(feature = "acme")]
    #[error(transparent)]
    Acme(#[from] AcmeError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address is not allowed.
    #[error(transparent)]
    Exposure(#[from] ExposureError),
    /// The address cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The table of routes is wrong: our own mistake.
    #[error(transparent)]
    Routes(#[from] RouteError),
    /// The system has no threads or signals for us.
    #[error("the server cannot start: {0}")]
    System(std::io::Error),
}

/// Serves the vault of `settings` until it is told to stop by SIGINT or SIGTERM.
pub fn serve(
    settings: &'static Settings<'static>,
    options: &Options,
    now: fn() -> Timestamp,
    tell: &mut dyn FnMut(Told),
) -> Result<(), ServeError> {
    keep_memory_in()?;
    let vault = Vault::open(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(WAITING_THREADS_MAX)
        .build()
        .map_err(ServeError::System)?;
    let done = runtime.block_on(listen(vault, &settings.config, options, now, tell));
    runtime.shutdown_timeout(SHUTDOWN_TIME_MAX);
    done
}

/// No core dump of this process, and nobody of the same user attaches to it: the vault's keys are in its memory. Programs that
/// it starts may be attached to again, but leave no core dump either.
fn keep_memory_in() -> Result<(), ServeError> {
    ringfence_engine::no_core_dumps()?;
    prctl::set_dumpable(false).map_err(|error| ServeError::System(error.into()))
}

async fn listen(
    vault: Vault<'static>,
    config: &Path,
    options: &Options,
    now: fn() -> Timestamp,
    tell: &mut dyn FnMut(Told),
) -> Result<(), ServeError> {
    let hosts = options.hosts.iter().map(|host| HostName::parse(host)).collect::<Result<Vec<_>, _>>()?;
    let (identity, authority) = identity(config, options, &hosts, now())?;
    let shown =
        authority.map(|authority| (authority.certificate_path().to_owned(), authority.fingerprint().to_string()));
    let tls = Tls::new(identity, Clients::Unasked, now())?;
    let (tls, certifying, mut certified) = certifying(config, options, &hosts, tls, now)?;
    let shared = vault.is_shared();
    let ready = || {
        let missing = "no administrator has enrolled yet; do that on this machine first".to_owned();
        if shared { Ok(()) } else { Err(missing) }
    };
    let exposure = Exposure::of(options.listen, Channel::Tls(tls), ready)?;
    let listener = Listener::bind(exposure, Limits::default()).await?;
    let address = listener.address();
    let public = hosts.first().map_or("localhost", HostName::host).to_owned();
    let allowed = Hosts::new(Scheme::Https, address.port(), &hosts)?;
    let url = allowed.origin(&format!("{public}:{}", address.port()));
    let party = RelyingParty::new(&public, &[url.as_str()])
        .map_err(|error| ServeError::Party { host: public.clone(), why: error.to_string() })?;
    tell(Told::Listening { address, url, authority: shown });
    if !shared {
        tell(Told::Setup(vault.offer_setup()?));
    }
    let app = App::new(vault, party, now).map_err(|_| ServeError::System(std::io::Error::other("no random bytes")))?;
    let readiness = app.clone();
    let routes = api::routes()
        .join(scim::routes())
        .join(web::routes())
        .and(health::routes(Arc::new(move || readiness.readiness())));
    let shown = app.clone();
    let guard = Guard::new(allowed, Rate::ADDRESS).page(move |ask| web::face(&shown, ask));
    let service = routes.service(app.clone(), app.authenticator(), Rate::PRINCIPAL, guard)?;
    let stop = Stop::default();
    let mut end = signal(SignalKind::terminate()).map_err(ServeError::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::System)?;
    let stopped = stop.clone();
    let house = tokio::spawn(keep_house(app.clone()));
    let schedules = tokio::spawn(keep_schedules(app.clone()));
    let serving = tokio::spawn(listener.serve(service, stop));
    let certifying = tokio::spawn(certifying);
    loop {
        tokio::select! {
            _ = end.recv() => break,
            _ = interrupt.recv() => break,
            Some(told) = certified.recv() => {
                told.certificate().into_iter().for_each(|part| app.certified(part));
                tell(told);
            }
        }
    }
    certifying.abort();
    tell(Told::Stopping);
    app.stop();
    stopped.stop();
    house.abort();
    schedules.abort();
    if let Ok(Drained::Cut(count)) = serving.await {
        tell(Told::Cut(count));
    }
    Ok(())
}

/// Calls `act` on a thread of its own each time that the system asks this process to end (SIGTERM, SIGINT), which does not end
/// it any more.
///
/// # Errors
/// Whatever the system says where signals cannot be heard.
pub fn when_asked_to_end(mut act: impl FnMut() + Send + 'static) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let inside = runtime.enter();
    let (mut end, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    drop(inside);
    let hear = async move {
        loop {
            tokio::select! {
                _ = end.recv() => act(),
                _ = interrupt.recv() => act(),
            }
        }
    };
    std::thread::Builder::new().name("asked-to-end".to_owned()).spawn(move || runtime.block_on(hear))?;
    Ok(())
}

/// The work of keeping a certificate from outside, and where it is heard of.
type Certifying = (Tls, Pin<Box<dyn Future<Output = ()> + Send>>, mpsc::Receiver<Told>);

/// Asks an authority for certificates where that is wanted, and else does nothing.
fn certifying(
    config: &Path,
    options: &Options,
    hosts: &[HostName],
    tls: Tls,
    now: fn() -> Timestamp,
) -> Result<Certifying, ServeError> {
    let (told, heard) = mpsc::channel(TOLD_MAX);
    #[cfg(not(feature = "acme"))]
    let _ = (config, options, hosts, now, told);
    #[cfg(feature = "acme")]
    if let Some(asked) = &options.acme {
        let roots = asked.roots.as_deref().map(crate::serve::authority::read).transpose()?;
        let folder = config.join(TLS_FOLDER);
        let acme = Acme::new(&asked.directory, roots.as_deref(), asked.contact.as_deref(), hosts, &folder)?;
        let tls = tls.proving();
        let tell = move |outcome| {
            let line = match outcome {
                Certified::Until(until) => Told::Certified(until),
                Certified::Refused(why, again) => Told::Uncertified { why: why.to_string(), again_s: again.as_secs() },
            };
            // Nobody hears it any more: the server stops.
            let _ = told.try_send(line);
        };
        return Ok((tls.clone(), Box::pin(acme.keep(tls, now, tell)), heard));
    }
    Ok((tls, Box::pin(std::future::pending()), heard))
}

/// What nobody asks for: people's accesses are watched, alerts go out to the sinks, and the trail is shown to the witnesses.
/// What fails is tried again, and stands in `ringfence watch sinks` and `ringfence doctor`.
async fn keep_house(app: App) {
    let mut clock = tokio::time::interval(HOUSEKEEPING);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut beats: u32 = 0;
    let mut vigil = None;
    loop {
        clock.tick().await;
        let witnesses = beats.is_multiple_of(WITNESS_BEATS);
        beats = beats.wrapping_add(1);
        // One that failed begins anew, so that nothing is passed over.
        let before = vigil.take();
        vigil = app.work_open(move |vault, _| kept(before, vault)).await.ok();
        // Its only results are in the vault.
        let _ = app.work_open(move |vault, _| vault.keep_house(witnesses)).await;
    }
}

/// The vigil over people after one look, begun where there is none.
fn kept(vigil: Option<Vigil>, vault: &Vault<'_>) -> Result<Vigil, EngineError> {
    let mut vigil = vigil.map_or_else(|| vault.begin_vigil(), Ok)?;
    while vault.keep_vigil(&mut vigil)? {}
    Ok(vigil)
}

/// What is scheduled is carried out when it is due. What came of it is in the vault, and an alert where that is needed; what
/// is under way when the server stops is given up, and made up for at the next start.
async fn keep_schedules(app: App) {
    let mut clock = tokio::time::interval(SCHEDULES);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let _ = app.work_open(|vault, _| vault.carry_out_due()).await;
    }
}

/// Who the server is, and the authority behind it if that is the embedded one.
fn identity(
    config: &Path,
    options: &Options,
    hosts: &[HostName],
    now: Timestamp,
) -> Result<(Identity, Option<Arc<Authority>>), ServeError> {
    if let Some((chain, key)) = &options.certificate {
        return Ok((Identity::Files(files::load(chain, key, now)?), None));
    }
    let authority = Arc::new(Authority::open(&config.join(TLS_FOLDER), hosts, now)?);
    Ok((Identity::Embedded(authority.clone()), Some(authority)))
}
