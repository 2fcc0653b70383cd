//! Logging in through another provider: a real one, and ones that lie.
//!
//! The real one needs Node.js (`node`) and a folder with `oidc-provider` in its `node_modules`, which `RINGFENCE_OIDC_PROVIDER`
//! names (`npm install oidc-provider`). Where they are absent its tests say so and pass, except under `RINGFENCE_STRICT`.

mod browser;
mod lies;
mod real;

use std::time::SystemTime;

use ringfence_engine::{
    oidc::LoginProvider,
    reach::{Reach, Secret, Secrets, testing::open_settings},
    schema::Timestamp,
};
use ringfence_trust::entropy::SystemEntropy;

/// Where the browser comes back to; nobody listens there.
const REDIRECT: &str = "http://127.0.0.1:9/login/callback";

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

fn entropy() -> SystemEntropy {
    SystemEntropy::new()
}

/// A way to these ports of loopback alone.
fn reach(ports: &[u16]) -> Reach {
    let mut settings = open_settings(ports);
    // A busy machine must not look like a provider that is down.
    (settings.limits.answer_ms, settings.limits.idle_ms) = (10_000, 5_000);
    Reach::new(settings, Secrets::default()).unwrap()
}

fn settings(issuer: &str, client_id: &str) -> LoginProvider {
    let secret = (client_id != "public").then(|| format!("{client_id}:50%+&=/?secret"));
    LoginProvider {
        issuer: issuer.to_owned(),
        client_id: client_id.to_owned(),
        client_secret: secret.map(|secret| Secret::new("client_secret", secret.into()).unwrap()),
        scopes: ["profile", "email", "groups"].map(str::to_owned).to_vec(),
        groups_claim: "groups".to_owned(),
        mfa_levels: Vec::new(),
        login_age_s_max: Some(600),
    }
}
