//! A real vault behind the real service, people with passkeys in it, and a clock that the test turns.
//!
//! [`House::call`] goes through guard, gate, handler and engine as a connection's request does, without the socket.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode},
};
use http_body_util::BodyExt as _;
use ringfence_engine::{
    Asked, Passphrase, Protection, Settings, Silent, Vault,
    access::{Action, PersonKind, Role},
    reach::{Reach, ReachError},
    schema::{Digest, Timestamp},
    team::{
        Caller, Enrolled, Enrollee, Entered, Invite, Offer, Origin, PersonId, TokenTerms,
        passkey::{Challenge, RelyingParty, SoftKey, UserHandle},
    },
};
use ringfence_server::{
    api,
    app::App,
    guard::{
        Guard, Service,
        hosts::{Hosts, Scheme},
    },
    health,
    routes::Routes,
    scim,
    serve::Peer,
    web,
};
use ringfence_trust::entropy::SystemEntropy;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::FREE;

/// The only site that the service answers for.
pub(crate) const SITE: &str = "https://localhost:8443";
/// Where clocks begin.
const START_MS: u64 = 1_800_000_000_000;
/// Clocks, one a house: the service takes a plain function, so each test names its own by number.
const CLOCKS: usize = 96;
static MILLIS: [AtomicU64; CLOCKS] = [const { AtomicU64::new(START_MS) }; CLOCKS];
static TAKEN: [AtomicBool; CLOCKS] = [const { AtomicBool::new(false) }; CLOCKS];

fn clock<const N: usize>() -> Timestamp {
    Timestamp::from_millis(MILLIS[N].load(Ordering::SeqCst))
}

/// Somebody with a passkey, and the session that enrolling began.
pub(crate) struct Member {
    pub(crate) id: PersonId,
    pub(crate) key: SoftKey,
    pub(crate) session: String,
}

/// What a request presents.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By<'a> {
    /// Nothing; from our own page.
    Nobody,
    /// A session's cookie; from our own page.
    Session(&'a str),
    /// A bearer token; from a program.
    Token(&'a str),
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Whether nothing was done and nothing shown.
    pub(crate) fn refused(&self) -> bool {
        [401, 403, 404].contains(&self.status)
    }

    /// The new session's token, from its cookie.
    pub(crate) fn session(&self) -> String {
        let cookie = self.headers["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().split_once('=').unwrap().1.to_owned()
    }
}

pub(crate) struct House {
    pub(crate) vault: Vault<'static>,
    pub(crate) app: App,
    pub(crate) service: Service,
    pub(crate) party: RelyingParty,
    pub(crate) folder: TempDir,
    millis: &'static AtomicU64,
}

impl House {
    /// A house with clock `N`, which no other test may have, and nobody in it.
    pub(crate) fn new<const N: usize>() -> Self {
        assert!(!TAKEN[N].swap(true, Ordering::SeqCst), "two tests have clock {N}");
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let settings: &'static Settings<'static> = Box::leak(Box::new(Settings {
            vault: at("vault"),
            config: at("config"),
            program: PathBuf::from("/nonexistent"),
            now: Box::leak(Box::new(clock::<N>)),
            passphrase: &no_passphrase,
            reach: &no_way_out,
            progress: &Silent,
        }));
        let vault = Vault::init(settings, Protection::KeyFile).unwrap();
        let party = RelyingParty::new("localhost", &[SITE]).unwrap();
        let app = App::new(vault.acting(vault.caller().clone()), party.clone(), clock::<N>).unwrap();
        let service = serve(&app, everything(&app));
        Self { vault, app, service, party, folder, millis: &MILLIS[N] }
    }

    /// The same with the first administrator, who is called `ana`.
    pub(crate) fn with_owner<const N: usize>() -> (Self, Member) {
        let house = Self::new::<N>();
        let ana = house.administer();
        (house, ana)
    }

    /// Makes the vault a shared one that `ana` administers.
    pub(crate) fn administer(&self) -> Member {
        let token = self.vault.offer_setup().unwrap().token.unwrap();
        self.enrol(&token, Some(("ana", "Ana")))
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.load(Ordering::SeqCst))
    }

    pub(crate) fn pass(&self, millis: u64) {
        self.millis.fetch_add(millis, Ordering::SeqCst);
    }

    /// Enrols a passkey by an invitation.
    pub(crate) fn enrol(&self, token: &str, names: Option<(&str, &str)>) -> Member {
        let who = Enrollee::Invited { token, names };
        let id = self.vault.invited(token).unwrap().person.id;
        let key = soft_key(id.as_str());
        let offer = self.vault.begin_enrol(&self.party, who).unwrap();
        let answer = key.register(SITE, &challenge(&offer)).unwrap();
        let enrolled = self.vault.finish_enrol(&self.party, who, &offer.ceremony, &answer, "laptop", &home());
        let Enrolled { person, entered, .. } = enrolled.unwrap();
        Member { id: person.id, key, session: entered.unwrap().token.to_string() }
    }

    /// The vault in the hands of whoever holds this session or token.
    pub(crate) fn acting(&self, presented: &str) -> Vault<'static> {
        self.vault.acting(self.vault.authenticate(presented, home().address).unwrap())
    }

    /// Invites somebody and enrols them.
    pub(crate) fn join(&self, by: &Member, name: &str, roles: &[Role]) -> Member {
        let invite = invite(name, PersonKind::Human, roles);
        let token = self.acting(&by.session).invite(&invite).unwrap().token.unwrap();
        self.enrol(&token, None)
    }

    /// A new session by passkey.
    pub(crate) fn login(&self, member: &Member) -> String {
        let offer = self.vault.begin_login(&self.party).unwrap();
        let answer = member.key.assert(SITE, &challenge(&offer)).unwrap();
        let Entered { token, .. } = self.vault.finish_login(&self.party, &offer.ceremony, &answer, &home()).unwrap();
        token.to_string()
    }

    /// A token of the holder of this session.
    pub(crate) fn token(&self, session: &str, scope: &[Action], life_ms: u64) -> (String, String) {
        let terms = TokenTerms {
            label: "script".into(),
            service: None,
            life_ms,
            scope: scope.iter().copied().collect(),
            networks: Vec::new(),
        };
        let (view, token) = self.acting(session).make_token(&terms).unwrap();
        (view.id, token.to_string())
    }

    /// Entries of the trail, and the root of the deciding rows.
    pub(crate) fn state(&self) -> (u64, Option<Digest>) {
        let newest = self.vault.trail(1).unwrap();
        newest.last().map_or((0, None), |entry| (entry.index + 1, Some(entry.entry.state)))
    }

    /// A request with a JSON body, or without one.
    pub(crate) async fn call(&self, verb: &str, target: &str, by: By<'_>, body: Option<&Value>) -> Reply {
        call(&self.service, verb, target, by, body).await
    }

    /// A form of the page that the holder of this session looks at.
    pub(crate) async fn form(&self, target: &str, session: &str, fields: &[(&str, &str)]) -> Reply {
        let caller = self.vault.authenticate(session, home().address).unwrap();
        let token = self.app.form_token(&caller);
        let fields = fields.iter().copied().chain([("form_token", token.as_str())]);
        send(&self.service, form(target, By::Session(session), fields)).await
    }

    /// A request as it is.
    pub(crate) async fn send(&self, request: Request) -> Reply {
        send(&self.service, request).await
    }

    /// Logs in by password over the API.
    pub(crate) async fn password(&self, name: &str, password: &str, code: &str) -> Reply {
        let body = json!({"name": name, "password": password, "code": code});
        self.call("POST", "/api/v1/login/password", By::Nobody, Some(&body)).await
    }

    /// Every file of the vault and the configuration.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        collect(self.folder.path(), &mut found);
        found
    }
}

/// A form, percent-encoded, from our own page.
pub(crate) fn form<N: AsRef<str>, V: AsRef<str>>(
    target: &str,
    by: By<'_>,
    fields: impl IntoIterator<Item = (N, V)>,
) -> Request {
    let encoded = |text: &str| -> String {
        text.bytes()
            .map(
                |byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") },
            )
            .collect()
    };
    let pairs: Vec<String> = fields
        .into_iter()
        .map(|(name, value)| format!("{}={}", encoded(name.as_ref()), encoded(value.as_ref())))
        .collect();
    let request = with_caller(Request::builder().method("POST").uri(target).header("host", "localhost:8443"), by);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.body(Body::from(pairs.join("&"))).unwrap()
}

fn with_caller(request: axum::http::request::Builder, by: By<'_>) -> axum::http::request::Builder {
    match by {
        By::Nobody => request.header("origin", SITE),
        By::Session(token) => request.header("origin", SITE).header("cookie", format!("__Host-ringfence={token}")),
        By::Token(token) => request.header("authorization", format!("Bearer {token}")),
    }
}

/// The routes that `ringfence serve` has.
pub(crate) fn everything(app: &App) -> Routes<App, Caller> {
    let readiness = app.clone();
    api::routes().join(scim::routes()).join(web::routes()).and(health::routes(Arc::new(move || readiness.readiness())))
}

/// A service of these routes that answers as often as one likes.
pub(crate) fn serve(app: &App, routes: Routes<App, Caller>) -> Service {
    let guard = Guard::new(Hosts::new(Scheme::Https, 8443, &[]).unwrap(), FREE);
    routes.service(app.clone(), app.authenticator(), FREE, guard).unwrap()
}

pub(crate) async fn call(service: &Service, verb: &str, target: &str, by: By<'_>, body: Option<&Value>) -> Reply {
    let request = with_caller(Request::builder().method(verb).uri(target).header("host", "localhost:8443"), by);
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    send(service, request.unwrap()).await
}

pub(crate) async fn send(service: &Service, mut request: Request) -> Reply {
    if request.extensions().get::<Peer>().is_none() {
        request.extensions_mut().insert(peer());
    }
    let (parts, body) = service.answer(request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let status = parts.status;
    assert!(status != StatusCode::INTERNAL_SERVER_ERROR, "{}", String::from_utf8_lossy(&body));
    Reply { status: status.as_u16(), headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() }
}

/// Where requests come from that do not say.
pub(crate) fn peer() -> Peer {
    Peer { address: SocketAddr::new(home().address.unwrap(), 50_000), certificate: None }
}

/// The code of the app whose key `uri` shows (base 32 of RFC 4648) at `step`.
pub(crate) fn code_of(uri: &str, step: u64) -> String {
    let secret = uri.split("secret=").nth(1).unwrap().split('&').next().unwrap();
    let value = |c: u8| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == c).unwrap();
    let bits: Vec<usize> = secret.bytes().flat_map(|c| (0..5).rev().map(move |bit| (value(c) >> bit) & 1)).collect();
    let byte = |bits: &[usize]| u8::try_from(bits.iter().fold(0, |byte, bit| byte << 1 | bit)).unwrap();
    crate::totp::code(&bits.chunks_exact(8).map(byte).collect::<Vec<_>>(), step)
}

/// A passkey in software for somebody.
pub(crate) fn soft_key(id: &str) -> SoftKey {
    let handle = UserHandle::new(id.as_bytes().to_vec()).unwrap();
    SoftKey::generate("localhost", &handle, &mut SystemEntropy::new()).unwrap()
}

pub(crate) fn invite(name: &str, kind: PersonKind, roles: &[Role]) -> Invite {
    let roles: BTreeSet<Role> = roles.iter().copied().collect();
    Invite { name: name.to_owned(), display: name.to_uppercase(), kind, roles }
}

pub(crate) fn challenge(offer: &Offer) -> Challenge {
    serde_json::from_value(offer.options["challenge"].clone()).unwrap()
}

pub(crate) fn home() -> Origin {
    Origin { address: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))), client: "test".to_owned() }
}

fn no_passphrase(_: Asked) -> std::io::Result<Passphrase> {
    Err(std::io::Error::other("no passphrase here"))
}

fn no_way_out() -> Result<Reach, ReachError> {
    Err(ReachError::Unresolved { host: "nothing is fetched here".to_owned() })
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
}
