//! `oidc-provider`, a certified implementation, started for each test.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use ringfence_access::factors::Proof;
use ringfence_engine::{
    oidc::{Callback, LOGIN_MS_MAX, LoginError, LoginProvider, Pending, Provider},
    reach::Reach,
};

use super::{
    REDIRECT,
    browser::{Browser, Person},
    entropy, now, reach, settings,
};

/// A provider that runs until this is dropped.
struct Running {
    child: Child,
    /// Kept open: the provider writes notices there, and ends when it cannot.
    _said: BufReader<ChildStdout>,
    issuer: String,
}

impl Running {
    /// Starts one of the two kinds, or says why not.
    #[expect(clippy::print_stderr, reason = "a test that is passed over says so")]
    fn start(kind: &str) -> Option<Self> {
        let folder = env::var_os("RINGFENCE_OIDC_PROVIDER");
        let node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
        let Some(folder) = folder.filter(|_| node) else {
            assert!(env::var_os("RINGFENCE_STRICT").is_none(), "no OpenID provider to test against");
            eprintln!(
                "SKIPPED: no `node`, or RINGFENCE_OIDC_PROVIDER names no folder with `npm install oidc-provider`"
            );
            return None;
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/oidc/provider.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .arg(folder)
            .args([REDIRECT, kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut issuer = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut issuer).unwrap();
        assert!(issuer.starts_with("http://127.0.0.1:"), "the provider did not start");
        Some(Self { child, _said: said, issuer: issuer.trim().to_owned() })
    }

    fn reach(&self) -> Reach {
        reach(&[self.issuer.rsplit_once(':').unwrap().1.parse().unwrap()])
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn begin(provider: &Provider, settings: &LoginProvider) -> Pending {
    provider.begin(settings, REDIRECT, now(), &mut entropy()).unwrap()
}

/// Begins a login and walks a browser of its own through it.
fn walked(provider: &Provider, settings: &LoginProvider, name: &str) -> (Pending, Callback) {
    let pending = begin(provider, settings);
    let callback = Browser::default().walk(pending.url(), REDIRECT, Person::LogsIn(name));
    (pending, callback)
}

#[test]
fn people_log_in_with_every_algorithm_and_every_way_to_show_a_secret() {
    for (kind, clients) in [("plain", &["basic", "public"][..]), ("other", &["post"])] {
        let Some(running) = Running::start(kind) else { return };
        let reach = running.reach();
        let provider = Provider::discover(&reach, &running.issuer).unwrap();
        assert_eq!(provider.issuer(), running.issuer);
        for (client, name) in clients.iter().flat_map(|client| [(client, "ann"), (client, "eve")]) {
            let settings = settings(&running.issuer, client);
            let (pending, callback) = walked(&provider, &settings, name);
            assert_eq!(callback.state.as_deref(), Some(pending.state()));
            let found = provider.finish(&reach, &settings, pending, &callback, now()).unwrap();
            assert_eq!((found.issuer.as_str(), found.subject.as_str()), (running.issuer.as_str(), name));
            assert_eq!(found.name, Some(format!("Somebody called {name}")), "{client}");
            assert_eq!(found.preferred_username.as_deref(), Some(name));
            let email = found.email.unwrap();
            assert_eq!((email.address, email.verified), (format!("{name}@example.org"), name != "eve"));
            assert_eq!(found.groups, ["lab", "admins"]);
            assert_eq!(found.proof, Proof::FederatedAny);
            assert!(found.auth_time.unwrap().millis().abs_diff(now().millis()) < 60_000);
        }
    }
}

#[test]
fn a_code_is_for_one_login_of_one_browser() {
    let Some(running) = Running::start("plain") else { return };
    let reach = running.reach();
    let provider = Provider::discover(&reach, &running.issuer).unwrap();
    let settings = settings(&running.issuer, "basic");
    let finish = |pending, callback: &Callback| provider.finish(&reach, &settings, pending, callback, now());

    // Somebody else's code, smuggled into this login: the provider wants the verifier of the login that it belongs to.
    let (_, theirs) = walked(&provider, &settings, "mallory");
    let mine = begin(&provider, &settings);
    let smuggled = Callback { state: Some(mine.state().to_owned()), ..theirs };
    let refused = finish(mine, &smuggled).unwrap_err();
    assert!(matches!(refused, LoginError::Refused { code: "invalid_grant" }), "{refused}");

    // A code that was used.
    let (pending, callback) = walked(&provider, &settings, "ann");
    finish(pending, &callback).unwrap();
    let again = begin(&provider, &settings);
    let callback = Callback { state: Some(again.state().to_owned()), ..callback };
    let refused = finish(again, &callback).unwrap_err();
    assert!(matches!(refused, LoginError::Refused { code: "invalid_grant" }), "{refused}");

    // Another state, none, another provider's name, none.
    for spoil in [
        |callback: &mut Callback| callback.state = Some("another".to_owned()),
        |callback: &mut Callback| callback.state = None,
        |callback: &mut Callback| callback.iss = Some("https://evil.example.org".to_owned()),
        |callback: &mut Callback| callback.iss = None,
    ] {
        let (pending, mut callback) = walked(&provider, &settings, "ann");
        spoil(&mut callback);
        assert!(matches!(finish(pending, &callback), Err(LoginError::NotThisLogin)));
    }

    // Too late.
    let (pending, callback) = walked(&provider, &settings, "ann");
    let later = now().plus_millis(LOGIN_MS_MAX + 1_000);
    let refused = provider.finish(&reach, &settings, pending, &callback, later);
    assert!(matches!(refused, Err(LoginError::TooLate)));
}

#[test]
fn a_refusal_is_told_by_its_code() {
    let Some(running) = Running::start("plain") else { return };
    let reach = running.reach();
    let provider = Provider::discover(&reach, &running.issuer).unwrap();
    let settings = settings(&running.issuer, "basic");
    let pending = begin(&provider, &settings);
    let callback = Browser::default().walk(pending.url(), REDIRECT, Person::Aborts);
    let refused = provider.finish(&reach, &settings, pending, &callback, now()).unwrap_err();
    assert!(matches!(refused, LoginError::Refused { code: "access_denied" }), "{refused}");

    let (pending, callback) = walked(&provider, &settings, "ann");
    let wrong = ringfence_engine::reach::Secret::new("client_secret", "wrong".to_owned().into()).unwrap();
    let guessing = LoginProvider { client_secret: Some(wrong), ..settings };
    let refused = provider.finish(&reach, &guessing, pending, &callback, now()).unwrap_err();
    assert!(matches!(refused, LoginError::Refused { code: "invalid_client" }), "{refused}");
}
