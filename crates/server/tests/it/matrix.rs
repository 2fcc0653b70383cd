//! Every route, called by everybody: nobody, whoever presents what is no longer good, every role, and a person without one.
//! Pages and their forms are routes like others; forms are also sent from elsewhere, and without their session's token.
//!
//! The table of answers is a reviewed snapshot; what must hold whatever the table says is asserted beside it. A route
//! without a case in [`CASES`] fails the test.

use std::{collections::BTreeSet, fmt::Write as _};

use ringfence_engine::{
    access::{Action, PersonKind, Role},
    schema::trail::EntryKind,
    team::TokenTerms,
};
use ringfence_server::routes::{Intake, Open, Permission, Recorded, Routes, Verb};
use serde_json::Value;

use axum::http::HeaderValue;

use crate::house::{By, House, Member, Reply, call, everything, form, invite, send, serve};

/// A key that nobody has, and a signature that is none.
const KEY: &str = r#"{"ceremony": "x", "signature": "AAAA", "label": "x",
    "key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGEbqObzF1gAgUzL9oRAD0vx1h9Vgw4AGSYIUPsbhb64"}"#;
const SIGNED: &str = r#"{"signature": "AAAA",
    "digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "key": "sha256:0000000000000000000000000000000000000000000000000000000000000000"}"#;

/// Verb, path of the route, what is called, and the body: a document, or the fields of a form. Words in angle brackets are
/// filled in for each call.
const CASES: &[(&str, &str, &str, &str)] = &[
    ("POST", "/api/v1/invitation", "", r#"{"token": "<garbage>"}"#),
    ("POST", "/api/v1/enrol/passkey/begin", "", r#"{"token": "<garbage>"}"#),
    (
        "POST",
        "/api/v1/enrol/passkey/finish",
        "",
        r#"{"invitation": {"token": "<garbage>"}, "ceremony": "x", "credential": {}, "label": "x"}"#,
    ),
    ("POST", "/api/v1/enrol/password/begin", "", r#"{"token": "<garbage>"}"#),
    (
        "POST",
        "/api/v1/enrol/password/finish",
        "",
        r#"{"invitation": {"token": "<garbage>"}, "ceremony": "x", "password": "x", "code": "1"}"#,
    ),
    ("POST", "/api/v1/login/passkey/begin", "", ""),
    ("POST", "/api/v1/login/passkey/finish", "", r#"{"ceremony": "x", "credential": {}}"#),
    (
        "POST",
        "/api/v1/login/password",
        "",
        r#"{"name": "nobody-<who>", "password": "a guess of some length", "code": "123456"}"#,
    ),
    ("POST", "/api/v1/device/begin", "", ""),
    ("POST", "/api/v1/device/poll", "", r#"{"device": "<garbage>"}"#),
    ("GET", "/api/v1/login/providers", "", ""),
    ("GET", "/login/with/{provider}", "/login/with/none", ""),
    ("GET", "/login/back", "/login/back?state=x&code=x", ""),
    ("GET", "/api/v1/openapi.json", "", ""),
    ("GET", "/health/live", "", ""),
    ("GET", "/health/ready", "", ""),
    ("GET", "/api/v1/me", "", ""),
    ("GET", "/api/v1/sessions", "", ""),
    ("DELETE", "/api/v1/sessions/{id}", "/api/v1/sessions/<session of vic>", ""),
    ("DELETE", "/api/v1/sessions/{id}", "/api/v1/sessions/<token of vic>", ""),
    ("POST", "/api/v1/step-up/passkey/begin", "", ""),
    ("POST", "/api/v1/step-up/passkey/finish", "", r#"{"ceremony": "x", "credential": {}}"#),
    ("POST", "/api/v1/step-up/code", "", r#"{"code": "123456"}"#),
    ("POST", "/api/v1/step-up/device/begin", "", ""),
    ("GET", "/api/v1/tokens", "", ""),
    ("POST", "/api/v1/tokens", "", r#"{"label": "x", "days": 1, "scope": ["raise"]}"#),
    ("POST", "/api/v1/tokens", "", r#"{"label": "x", "days": 1, "scope": ["raise"], "service": "<program>"}"#),
    ("POST", "/api/v1/factors/passkey/begin", "", ""),
    ("POST", "/api/v1/factors/passkey/finish", "", r#"{"ceremony": "x", "credential": {}, "label": "x"}"#),
    ("POST", "/api/v1/factors/password/begin", "", ""),
    ("POST", "/api/v1/factors/password/finish", "", r#"{"ceremony": "x", "password": "x", "code": "1"}"#),
    ("POST", "/api/v1/factors/key/begin", "", ""),
    ("POST", "/api/v1/factors/key/finish", "", KEY),
    ("DELETE", "/api/v1/factors/{id}", "/api/v1/factors/<passkey of vic>", ""),
    ("POST", "/api/v1/recovery-codes", "", ""),
    ("GET", "/api/v1/device/{code}", "/api/v1/device/<device>", ""),
    ("POST", "/api/v1/device/{code}", "/api/v1/device/<device>", ""),
    ("GET", "/api/v1/people", "", ""),
    ("GET", "/api/v1/people/{who}", "/api/v1/people/<vic>", ""),
    ("GET", "/api/v1/people/{who}", "/api/v1/people/p-0000000000000000", ""),
    ("POST", "/api/v1/people", "", r#"{"name": "guest-<who>", "display": "Guest", "roles": []}"#),
    ("POST", "/api/v1/people", "", r#"{"name": "ana", "display": "a name that is taken", "roles": []}"#),
    ("PUT", "/api/v1/people/{who}/roles", "/api/v1/people/<vic>/roles", r#"{"roles": ["trainer"]}"#),
    ("PUT", "/api/v1/people/{who}/roles", "/api/v1/people/<self>/roles", r#"{"roles": ["owner"]}"#),
    ("PUT", "/api/v1/people/{who}/roles", "/api/v1/people/p-0000000000000000/roles", r#"{"roles": []}"#),
    ("POST", "/api/v1/people/{who}/disable", "/api/v1/people/<vic>/disable", r#"{"reason": "left"}"#),
    ("POST", "/api/v1/people/{who}/enable", "/api/v1/people/<vic>/enable", ""),
    ("POST", "/api/v1/people/{who}/erase", "/api/v1/people/<vic>/erase", r#"{"reason": "asked for it"}"#),
    ("POST", "/api/v1/people/{who}/reset", "/api/v1/people/<vic>/reset", r#"{"reason": "lost"}"#),
    (
        "POST",
        "/api/v1/people/{who}/can",
        "/api/v1/people/<vic>/can",
        r#"{"action": "export", "what": "vault", "login": "mfa"}"#,
    ),
    ("GET", "/api/v1/requests", "", ""),
    ("POST", "/api/v1/requests", "", r#"{"action": "restore", "what": "model/none@1"}"#),
    ("POST", "/api/v1/requests", "", r#"{"action": "destroy", "what": ["dataset/none@1"], "reason": "withdrawn"}"#),
    ("GET", "/api/v1/requests/{id}", "/api/v1/requests/q-0", ""),
    ("GET", "/api/v1/requests/{id}/proof", "/api/v1/requests/q-0/proof", ""),
    ("POST", "/api/v1/requests/{id}/approve/begin", "/api/v1/requests/q-0/approve/begin", ""),
    ("POST", "/api/v1/requests/{id}/approve/finish", "/api/v1/requests/q-0/approve/finish", r#"{"credential": {}}"#),
    ("POST", "/api/v1/requests/{id}/approve", "/api/v1/requests/q-0/approve", SIGNED),
    ("POST", "/api/v1/requests/{id}/refuse", "/api/v1/requests/q-0/refuse", r#"{"reason": "no"}"#),
    ("POST", "/api/v1/requests/{id}/withdraw", "/api/v1/requests/q-0/withdraw", ""),
    ("POST", "/api/v1/requests/{id}/carry-out", "/api/v1/requests/q-0/carry-out", ""),
    ("GET", "/api/v1/break-glass", "", ""),
    ("POST", "/api/v1/break-glass", "", r#"{"reason": "the site is on fire"}"#),
    ("POST", "/api/v1/break-glass/{id}/end", "/api/v1/break-glass/g-0/end", ""),
    ("POST", "/api/v1/break-glass/{id}/review", "/api/v1/break-glass/g-0/review", r#"{"reason": "fine"}"#),
    ("GET", "/api/v1/artifacts", "", ""),
    ("GET", "/api/v1/artifacts/{kind}/{name}/{version}", "/api/v1/artifacts/model/none/1", ""),
    ("GET", "/api/v1/artifacts/{kind}/{name}/{version}/scan", "/api/v1/artifacts/model/none/1/scan", ""),
    ("GET", "/api/v1/artifacts/{kind}/{name}/{version}/screen", "/api/v1/artifacts/dataset/none/1/screen", ""),
    ("GET", "/api/v1/artifacts/{kind}/{name}/{version}/bom", "/api/v1/artifacts/model/none/1/bom", ""),
    ("GET", "/api/v1/review", "", ""),
    (
        "POST",
        "/api/v1/artifacts/{kind}/{name}/{version}/approve",
        "/api/v1/artifacts/model/none/1/approve",
        r#"{"reason": "fine"}"#,
    ),
    ("POST", "/api/v1/artifacts/{kind}/{name}/{version}/resume", "/api/v1/artifacts/model/none/1/resume", ""),
    (
        "POST",
        "/api/v1/artifacts/{kind}/{name}/{version}/refuse",
        "/api/v1/artifacts/model/none/1/refuse",
        r#"{"reason": "bad"}"#,
    ),
    ("POST", "/api/v1/artifacts/{kind}/{name}/{version}/rollback", "/api/v1/artifacts/model/none/1/rollback", ""),
    ("POST", "/api/v1/artifacts/{kind}/{name}/{version}/release", "/api/v1/artifacts/checkpoint/none/1/release", ""),
    ("POST", "/api/v1/artifacts/{kind}/{name}/{version}/bundle", "/api/v1/artifacts/model/none/1/bundle", ""),
    (
        "POST",
        "/api/v1/uploads",
        "",
        r#"{"name": "code/job", "files": [{"path": "a", "size": 0,
            "sha256": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]}"#,
    ),
    ("GET", "/api/v1/uploads/{id}", "/api/v1/uploads/u-none", ""),
    ("PATCH", "/api/v1/uploads/{id}/files/{file}", "/api/v1/uploads/u-none/files/0?from=0", ""),
    ("POST", "/api/v1/uploads/{id}/finish", "/api/v1/uploads/u-none/finish", ""),
    ("POST", "/api/v1/uploads/{id}/receive", "/api/v1/uploads/u-none/receive", ""),
    ("DELETE", "/api/v1/uploads/{id}", "/api/v1/uploads/u-none", ""),
    ("POST", "/api/v1/artifacts/{kind}/{name}/{version}/download", "/api/v1/artifacts/model/none/1/download", ""),
    ("GET", "/api/v1/downloads/{id}/files/{file}", "/api/v1/downloads/d-none/files/0", ""),
    ("DELETE", "/api/v1/downloads/{id}", "/api/v1/downloads/d-none", ""),
    ("POST", "/api/v1/destruction", "", r#"{"what": ["dataset/none@1"]}"#),
    ("POST", "/api/v1/verify", "", ""),
    ("GET", "/api/v1/trail", "", ""),
    ("GET", "/api/v1/trail/entries/{index}", "/api/v1/trail/entries/0", ""),
    ("GET", "/api/v1/trail/checkpoint", "", ""),
    ("GET", "/api/v1/trail/continuation/{from}", "/api/v1/trail/continuation/0", ""),
    ("GET", "/api/v1/root", "", ""),
    ("POST", "/api/v1/trail/verify", "", ""),
    ("GET", "/api/v1/runs", "", ""),
    ("GET", "/api/v1/runs/{run}", "/api/v1/runs/r-0", ""),
    ("POST", "/api/v1/runs/{run}/order", "/api/v1/runs/r-0/order", r#"{"order": "stop", "reason": "it diverges"}"#),
    ("GET", "/api/v1/alerts", "", ""),
    (
        "POST",
        "/api/v1/alerts/{id}/acknowledge",
        "/api/v1/alerts/sha256:0000000000000000000000000000000000000000000000000000000000000000/acknowledge",
        r#"{"reason": "seen"}"#,
    ),
    ("GET", "/api/v1/posture", "", ""),
    (
        "POST",
        "/api/v1/runs",
        "",
        r#"{"plan": "[run]\nname = \"x\"\ncommand = [\"y\"]\n[model.base]\nartifact = \"model/none@1\"\n",
            "inputs": {"model.base": "model/none@1"},
            "machine": {"name": "m", "level": null, "line": "x", "cores": 1, "client": "1"}}"#,
    ),
    ("GET", "/api/v1/runs/{run}/standing", "/api/v1/runs/r-0/standing", ""),
    ("GET", "/api/v1/runs/{run}/inputs/{input}/files/{file}", "/api/v1/runs/r-0/inputs/0/files/0", ""),
    ("POST", "/api/v1/runs/{run}/events", "/api/v1/runs/r-0/events", r#"{"first": 0, "events": []}"#),
    ("POST", "/api/v1/runs/{run}/token", "/api/v1/runs/r-0/token", ""),
    (
        "POST",
        "/api/v1/runs/{run}/outputs",
        "/api/v1/runs/r-0/outputs",
        r#"{"result": {}, "files": [], "environment": {}, "program": "x"}"#,
    ),
    ("GET", "/api/v1/runs/{run}/outputs", "/api/v1/runs/r-0/outputs", ""),
    ("PATCH", "/api/v1/runs/{run}/outputs/files/{file}", "/api/v1/runs/r-0/outputs/files/0?from=0", ""),
    ("POST", "/api/v1/runs/{run}/finish", "/api/v1/runs/r-0/finish", ""),
    ("POST", "/api/v1/runs/{run}/fail", "/api/v1/runs/r-0/fail", r#"{"why": "x"}"#),
    (
        "POST",
        "/api/v1/queue",
        "",
        r#"{"plan": "[run]\nname = \"x\"\ncommand = [\"y\"]\n[model.base]\nartifact = \"model/none@1\"\n",
            "inputs": {"model.base": "model/none@1"}}"#,
    ),
    ("GET", "/api/v1/queue", "", ""),
    ("GET", "/api/v1/queue/waiting", "", ""),
    (
        "POST",
        "/api/v1/queue/take",
        "",
        r#"{"machine": {"name": "m", "level": null, "line": "x", "cores": 1, "client": "1"}}"#,
    ),
    ("DELETE", "/api/v1/queue/{id}", "/api/v1/queue/q-0", ""),
    ("GET", "/api/v1/schedules", "", ""),
    ("POST", "/api/v1/schedules", "", r#"{"job": "audit", "every": "<hours>h"}"#),
    ("POST", "/api/v1/schedules", "", r#"{"job": "backup", "every": "1d"}"#),
    ("DELETE", "/api/v1/schedules/{id}", "/api/v1/schedules/s-0", ""),
    ("GET", "/scim/v2/ServiceProviderConfig", "", ""),
    ("GET", "/scim/v2/ResourceTypes", "", ""),
    ("GET", "/scim/v2/Schemas", "", ""),
    ("GET", "/scim/v2/Users", "", ""),
    ("POST", "/scim/v2/Users", "", r#"{"userName": "new-<who>"}"#),
    ("GET", "/scim/v2/Users/{id}", "/scim/v2/Users/<vic>", ""),
    ("PUT", "/scim/v2/Users/{id}", "/scim/v2/Users/<vic>", r#"{"userName": "vic", "active": false}"#),
    (
        "PATCH",
        "/scim/v2/Users/{id}",
        "/scim/v2/Users/<vic>",
        r#"{"Operations": [{"op": "replace", "value": {"active": false}}]}"#,
    ),
    ("DELETE", "/scim/v2/Users/{id}", "/scim/v2/Users/<vic>", ""),
    ("GET", "/scim/v2/Groups", "", ""),
    ("POST", "/scim/v2/Groups", "", r#"{"displayName": "group-<who>"}"#),
    ("GET", "/scim/v2/Groups/{id}", "/scim/v2/Groups/d-0", ""),
    ("PUT", "/scim/v2/Groups/{id}", "/scim/v2/Groups/d-0", r#"{"displayName": "x"}"#),
    (
        "PATCH",
        "/scim/v2/Groups/{id}",
        "/scim/v2/Groups/d-0",
        r#"{"Operations": [{"op": "remove", "path": "members"}]}"#,
    ),
    ("DELETE", "/scim/v2/Groups/{id}", "/scim/v2/Groups/d-0", ""),
    ("GET", "/assets/app.css", "", ""),
    ("GET", "/assets/app.js", "", ""),
    ("GET", "/sign-in", "", ""),
    ("POST", "/sign-in", "", "name=nobody-<who>&password=a+guess+of+some+length&code=123456"),
    ("POST", "/sign-in/passkey/begin", "", "{}"),
    ("POST", "/sign-in/passkey/finish", "", r#"{"ceremony": "x", "credential": {}}"#),
    ("GET", "/invitation", "", ""),
    ("POST", "/invitation/open", "", "token=<garbage>"),
    ("POST", "/invitation/passkey/begin", "", r#"{"token": "<garbage>"}"#),
    (
        "POST",
        "/invitation/passkey/finish",
        "",
        r#"{"token": "<garbage>", "ceremony": "x", "credential": {}, "label": "x"}"#,
    ),
    ("POST", "/invitation/password", "", "token=<garbage>&password=x&ceremony=x&code=1"),
    ("GET", "/step-up", "", ""),
    ("POST", "/step-up", "", "code=123456"),
    ("POST", "/step-up/passkey/begin", "", "{<token>}"),
    ("POST", "/step-up/passkey/finish", "", r#"{<token>, "ceremony": "x", "credential": {}}"#),
    ("GET", "/device", "", ""),
    ("POST", "/device/confirm", "", "code=<device>"),
    ("GET", "/account", "", ""),
    ("POST", "/account/factors/remove", "", "factor=<passkey of vic>"),
    ("POST", "/account/recovery-codes", "", "nothing=but+the+token"),
    ("POST", "/account/sessions/end", "", "session=<session of vic>"),
    ("POST", "/account/tokens", "", "label=x&days=1&scope=raise&networks="),
    ("POST", "/account/tokens/revoke", "", "token=<token of vic>"),
    ("POST", "/account/passkey/begin", "", "{<token>}"),
    ("POST", "/account/passkey/finish", "", r#"{<token>, "ceremony": "x", "credential": {}, "label": "x"}"#),
    ("GET", "/", "", ""),
    ("GET", "/artifacts", "", ""),
    ("GET", "/artifacts/{kind}/{name}/{version}", "/artifacts/model/none/1", ""),
    ("GET", "/review", "", ""),
    ("GET", "/queue", "", ""),
    ("POST", "/queue/remove", "", "queued=q-0"),
    ("GET", "/break-glass", "", ""),
    ("POST", "/break-glass/break", "", "reason=the+site+is+on+fire"),
    ("POST", "/break-glass/end", "", "glass=g-0"),
    ("POST", "/break-glass/review", "", "glass=g-0&reason=fine"),
    ("GET", "/runs", "", ""),
    ("GET", "/runs/{run}", "/runs/r-0", ""),
    ("GET", "/runs/{run}/events", "/runs/r-0/events", ""),
    ("POST", "/runs/{run}/stop", "/runs/r-0/stop", "reason=it+diverges"),
    ("GET", "/tests", "", ""),
    ("GET", "/trail", "", ""),
    ("GET", "/trail/{index}", "/trail/0", ""),
    ("GET", "/security", "", ""),
    ("GET", "/people", "", ""),
    ("GET", "/policy", "", ""),
    (
        "POST",
        "/alerts/acknowledge",
        "",
        "alert=sha256:0000000000000000000000000000000000000000000000000000000000000000&reason=seen",
    ),
    ("POST", "/schedules/add", "", "job=verify&every=<hours>h&at="),
    ("POST", "/schedules/remove", "", "schedule=s-0"),
    ("POST", "/review/approve", "", "reference=model/none@1&tree=x&reason=fine"),
    ("POST", "/review/resume", "", "reference=model/none@1&tree=x"),
    ("POST", "/review/refuse", "", "reference=model/none@1&tree=x&reason=bad"),
    ("POST", "/artifacts/release", "", "reference=checkpoint/none@1&tree=x"),
    ("POST", "/requests/approve/begin", "", r#"{<token>, "request": "q-0", "digest": "x"}"#),
    ("POST", "/requests/approve/finish", "", r#"{<token>, "request": "q-0", "credential": {}}"#),
    ("POST", "/requests/refuse", "", "request=q-0&reason=no"),
    ("POST", "/requests/make", "", "reference=model/none@1&action=destroy&reason=withdrawn"),
    ("POST", "/requests/withdraw", "", "request=q-0"),
    ("POST", "/requests/carry-out", "", "request=q-0"),
    ("POST", "/people/invite", "", "name=visitor-<who>&display=Visitor&kind=human"),
    ("POST", "/people/roles", "", "person=<vic>&role=trainer"),
    ("POST", "/people/disable", "", "person=<vic>&reason=left"),
    ("POST", "/people/enable", "", "person=<vic>"),
    ("POST", "/people/reset", "", "person=<vic>&reason=lost"),
    ("POST", "/people/token", "", "person=<program>&label=x&days=1&scope=raise&networks="),
    ("POST", "/policy/compare", "", "document=nonsense"),
    ("POST", "/policy/propose", "", "document=schema = \"ringfence.policy/1\"\n[settings]\nlogin_min = \"passkey\"\n"),
    // Both end the caller's session, which can end once: the form is one that nobody's page has made.
    ("POST", "/sign-out", "", "form_token=of+nobody"),
    ("POST", "/api/v1/logout", "", ""),
];

/// Who calls. The first four are nobody; `scope` holds a token that is good for raising alerts alone; `stale` is the owner
/// with a second factor proven eleven minutes ago; `program` speaks for a directory.
const CALLERS: [&str; 15] = [
    "none",
    "garbage",
    "expired",
    "revoked",
    "scope",
    "stale",
    "owner",
    "officer",
    "steward",
    "researcher",
    "trainer",
    "auditor",
    "tester",
    "roleless",
    "program",
];
const NOBODIES: usize = 4;
/// Well-formed, and nobody's: as a token's checksum demands.
const GARBAGE: &str = "rf_session_not-a-token_at-all_00000000";

struct Cast {
    house: House,
    ana: Member,
    vic: Member,
    program: String,
    vic_session: String,
    vic_token: String,
    presented: Vec<(String, bool)>,
}

impl Cast {
    fn new<const N: usize>() -> Self {
        let (house, ana) = House::with_owner::<N>();
        let vic = house.join(&ana, "vic", &[Role::Researcher]);
        let roles = [
            ("officer", Role::SecurityOfficer),
            ("steward", Role::DataSteward),
            ("researcher", Role::Researcher),
            ("trainer", Role::Trainer),
            ("auditor", Role::Auditor),
            ("tester", Role::Tester),
        ];
        let others: Vec<Member> = roles.iter().map(|(name, role)| house.join(&ana, name, &[*role])).collect();
        let roleless = house.join(&ana, "roleless", &[]);
        let program = house.acting(&ana.session).invite(&invite("ci", PersonKind::Service, &[Role::Trainer])).unwrap();
        // What was proven until now is too old for what is dangerous.
        house.pass(11 * 60 * 1_000);
        let fresh = house.login(&ana);
        let (_, expired) = house.token(&fresh, &[Action::Read], 1_000);
        let (_, scope) = house.token(&fresh, &[Action::Raise], 60 * 60 * 1_000);
        house.pass(1_500);
        let revoked = house.login(&ana);
        house.acting(&revoked).leave().unwrap();
        let vic_session = house.login(&vic);
        let (vic_token, _) = house.token(&vic_session, &[Action::Read], 60_000);
        let held = house.acting(&vic_session).own_sessions().unwrap();
        let vic_session = held.into_iter().find(|session| session.current).unwrap().id;
        let mut presented = vec![
            (String::new(), false),
            (GARBAGE.to_owned(), false),
            (expired, true),
            (revoked, false),
            (scope, true),
            (ana.session.clone(), false),
            (fresh, false),
        ];
        presented.extend(others.iter().chain([&roleless]).map(|member| (house.login(member), false)));
        let owner = house.acting(&presented[6].0);
        let directory = owner.invite(&invite("directory", PersonKind::Service, &[Role::SecurityOfficer])).unwrap();
        let terms = TokenTerms {
            label: "directory".into(),
            service: Some(directory.person.id),
            life_ms: 24 * 60 * 60 * 1_000,
            scope: BTreeSet::from([Action::Provision]),
            networks: Vec::new(),
        };
        presented.push((owner.make_token(&terms).unwrap().1.to_string(), true));
        Self { house, ana, vic, program: program.person.id.to_string(), vic_session, vic_token, presented }
    }

    fn by(&self, caller: usize) -> By<'_> {
        match &self.presented[caller] {
            (text, _) if text.is_empty() => By::Nobody,
            (token, true) => By::Token(token),
            (session, false) => By::Session(session),
        }
    }

    /// The template with the words in angle brackets filled in, as of now.
    async fn fill(&self, template: &str, caller: usize) -> String {
        let mut text = template.to_owned();
        if text.contains("<device>") {
            let begun = self.house.call("POST", "/api/v1/device/begin", By::Nobody, None).await.json();
            text = text.replace("<device>", begun["user_code"].as_str().unwrap());
        }
        let own = self.house.vault.authenticate(&self.presented[caller].0, None);
        let token = own.as_ref().map_or_else(|_| String::new(), |own| self.house.app.form_token(own));
        let token = format!("\"form_token\": \"{token}\"");
        let own = own.map_or_else(|_| self.ana.id.to_string(), |caller| caller.person.id);
        let hours = (caller + 1).to_string();
        for (word, value) in [
            ("<token>", token.as_str()),
            ("<hours>", &hours),
            ("<self>", own.as_str()),
            ("<vic>", self.vic.id.as_str()),
            ("<program>", &self.program),
            ("<session of vic>", &self.vic_session),
            ("<token of vic>", &self.vic_token),
            ("<passkey of vic>", &self.vic.key.credential_id().to_string()),
            ("<garbage>", GARBAGE),
            ("<who>", CALLERS[caller]),
        ] {
            text = text.replace(word, value);
        }
        text
    }

    async fn ask(&self, case: &(&str, &str, &str, &str), caller: usize) -> Reply {
        let (verb, path, target, body) = case;
        let target = self.fill(if target.is_empty() { path } else { target }, caller).await;
        let body = self.fill(body, caller).await;
        if body.is_empty() || body.starts_with('{') {
            let body: Option<Value> = if body.is_empty() { None } else { Some(serde_json::from_str(&body).unwrap()) };
            return self.house.call(verb, &target, self.by(caller), body.as_ref()).await;
        }
        let own = self.house.vault.authenticate(&self.presented[caller].0, crate::house::home().address);
        let token = own.map_or_else(|_| String::new(), |own| self.house.app.form_token(&own));
        self.house.send(form(&target, self.by(caller), fields(&body).chain([("form_token".into(), token)]))).await
    }
}

/// The fields of a form as a case writes them.
fn fields(body: &str) -> impl Iterator<Item = (String, String)> {
    body.split('&')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.replace('+', " ")))
}

#[tokio::test]
async fn every_route_answers_everybody_as_the_golden_matrix_says() {
    let cast = Cast::new::<0>();
    let routes = everything(&cast.house.app);
    let cases: BTreeSet<(&str, &str)> = CASES.iter().map(|case| (case.0, case.1)).collect();
    let known: BTreeSet<(&str, &str)> = routes.iter().map(|route| (route.verb().name(), route.path())).collect();
    assert_eq!(known, cases, "each route has a case, and each case a route");
    let mut table = CALLERS.join(" ") + "\n";
    for case in CASES {
        let route = routes.iter().find(|route| (route.verb().name(), route.path()) == (case.0, case.1)).unwrap();
        let (permission, recorded) = (route.permission(), route.recorded());
        let mut row = Vec::new();
        for (caller, name) in CALLERS.iter().enumerate() {
            let guesses = ["/sign-in", "/step-up", "/api/v1/step-up/code"].contains(&case.1) && case.0 == "POST";
            if case.1.contains("/login/") || guesses {
                // Wrong factors from one address make it wait.
                cast.house.pass(3_000);
            }
            let before = cast.house.state();
            let reply = cast.ask(case, caller).await;
            let (after, status) = (cast.house.state(), reply.status);
            let what = format!("{} {} {} by {name}: {reply:?}", case.0, case.1, case.2);
            assert!(status < 500, "{what}");
            if status >= 400 {
                assert_eq!(before.1, after.1, "a refused call changed something: {what}");
                let kind =
                    if case.1.starts_with("/scim/") { "application/scim+json" } else { "application/problem+json" };
                assert_eq!(reply.headers["content-type"], kind, "{what}");
            } else if recorded == Recorded::Trail {
                assert!(after.0 > before.0, "no entry before the answer: {what}");
            }
            check(permission, case.1, caller, &reply, &what);
            // What a token is not good for is turned away before it is decided, and so is a form of nobody's page.
            let scoped = matches!(*name, "scope" | "program");
            let decided = status == 403 && matches!(permission, Permission::Action(_)) && !scoped;
            if decided {
                let newest = cast.house.vault.trail(1).unwrap().pop().unwrap();
                assert!(after.0 > before.0 && newest.entry.kind == EntryKind::Denial, "a denial without entry: {what}");
            }
            row.push(status.to_string());
        }
        let permission = match permission {
            Permission::Open(why) => format!("{why:?}"),
            Permission::SignedIn => "signed in".to_owned(),
            Permission::Run => "the run".to_owned(),
            Permission::Action(action) => action.to_string(),
        };
        let mark = if recorded == Recorded::Trail { "" } else { "unrecorded" };
        writeln!(table, "{permission} {mark} {} {} {}\n    {}", case.0, case.1, case.2, row.join(" ")).unwrap();
    }
    insta::assert_snapshot!("matrix", table);
}

/// What holds whatever the snapshot says.
fn check(permission: Permission, path: &str, caller: usize, reply: &Reply, what: &str) {
    let name = CALLERS[caller];
    match permission {
        Permission::Open(Open::SignIn) => assert!(!path.contains("finish") || reply.status >= 400, "{what}"),
        Permission::Open(_) => assert_eq!(reply.status, 200, "{what}"),
        _ if caller < NOBODIES => assert_eq!(reply.status, 401, "{what}"),
        Permission::SignedIn => {}
        // None of them is a run's machine.
        Permission::Run => assert_eq!(reply.status, 401, "{what}"),
        Permission::Action(action) => {
            match name {
                "program" if action == Action::Provision => assert!(!reply.refused() || reply.status == 404, "{what}"),
                _ if action == Action::Provision => assert_eq!(reply.status, 403, "{what}"),
                "scope" | "program" | "tester" | "roleless" => assert_eq!(reply.status, 403, "{what}"),
                "stale" if Action::DANGEROUS.contains(&action) => assert_eq!(reply.status, 401, "{what}"),
                _ => {}
            }
            let looks = matches!(action, Action::Read | Action::Verify);
            if matches!(name, "auditor" | "trainer") && !looks {
                assert!(reply.refused(), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_route_with_another_permission_is_noticed() {
    let cast = Cast::new::<1>();
    let acting: Vec<&(&str, &str, &str, &str)> = {
        let routes = everything(&cast.house.app);
        let is_acting = |case: &&(&str, &str, &str, &str)| {
            let mut all = routes.iter();
            all.any(|route| {
                (route.verb().name(), route.path()) == (case.0, case.1)
                    && matches!(route.permission(), Permission::Action(_))
            })
        };
        let mut seen = BTreeSet::new();
        CASES.iter().filter(is_acting).filter(|case| seen.insert((case.0, case.1))).collect()
    };
    let fresh = cast.presented[6].0.clone();
    let hour = 60 * 60 * 1_000;
    let (_, narrow) = cast.house.token(&fresh, &[Action::Raise], hour);
    let (_, reading) = cast.house.token(&fresh, &[Action::Read, Action::Verify], hour);
    // What each route says to tokens of two scopes and to an old second factor.
    let probes = [By::Token(&narrow), By::Token(&reading), By::Session(&cast.ana.session)];
    let mut golden: Vec<Vec<(u16, String)>> = Vec::new();
    let (mut mutants, mut missed) = (0, Vec::new());
    for shift in 0..Action::ALL.len() {
        let routes = everything(&cast.house.app).into_iter().map(|route| match route.permission() {
            Permission::Action(action) => {
                let at = Action::ALL.iter().position(|known| *known == action).unwrap();
                route.demanding(Action::ALL[(at + shift) % Action::ALL.len()])
            }
            _ => route,
        });
        let service = serve(&cast.house.app, Routes::default().and(routes));
        for (at, case) in acting.iter().enumerate() {
            // Slow, and of the same permission as others.
            if case.1.contains("posture") || ["/", "/security"].contains(&case.1) {
                golden.push(Vec::new());
                continue;
            }
            let target = cast.fill(if case.2.is_empty() { case.1 } else { case.2 }, 6).await;
            let body = cast.fill(case.3, 6).await;
            let document: Option<Value> = serde_json::from_str(&body).ok();
            let mut said = Vec::new();
            for by in probes {
                let reply = if body.is_empty() || document.is_some() {
                    call(&service, case.0, &target, by, document.as_ref()).await
                } else {
                    send(&service, form(&target, by, fields(&body))).await
                };
                // A directory is told the reasons in one sentence.
                let why = if case.1.starts_with("/scim/") { "detail" } else { "reasons" };
                said.push((reply.status, reply.json()[why].to_string()));
            }
            if shift == 0 {
                golden.push(said);
            } else {
                mutants += 1;
                if golden[at] == said {
                    missed.push(format!("{} {} by {shift}", case.0, case.1));
                }
            }
        }
    }
    assert!(mutants >= 400, "{mutants}");
    assert!(missed.len() * 20 <= mutants, "{} of {mutants} went unnoticed: {missed:?}", missed.len());
}

/// Forms that change something, by whoever may, but not from our own page: sent by another site, by a page that says nothing
/// of where it is from, with the token of another session, or with none.
#[tokio::test]
async fn a_form_counts_from_our_own_page_alone() {
    let cast = Cast::new::<51>();
    let session = cast.presented[6].0.clone();
    let others = cast.house.app.form_token(&cast.house.vault.authenticate(&cast.vic.session, None).unwrap());
    let own = cast.house.app.form_token(&cast.house.vault.authenticate(&session, None).unwrap());
    let mut forms = 0;
    for route in everything(&cast.house.app).iter().filter(|route| route.verb() != Verb::Get) {
        let page = !route.path().starts_with("/api/") && !route.path().starts_with("/scim/");
        let open = matches!(route.permission(), Permission::Open(_));
        let case = CASES.iter().find(|case| (case.0, case.1) == (route.verb().name(), route.path())).unwrap();
        let target = cast.fill(if case.2.is_empty() { case.1 } else { case.2 }, 6).await;
        let body = cast.fill(case.3, 6).await;
        let build = |token: &str| {
            if route.intake() == Intake::Form {
                return form(
                    &target,
                    By::Session(&session),
                    fields(&body).chain([("form_token".into(), token.to_owned())]),
                );
            }
            let mut document: Value = serde_json::from_str(&body).unwrap_or_default();
            if document.get("form_token").is_some() {
                document["form_token"] = token.into();
            }
            let request =
                axum::extract::Request::builder().method(case.0).uri(&target).header("host", "localhost:8443");
            let request =
                request.header("origin", crate::house::SITE).header("cookie", format!("__Host-ringfence={session}"));
            let text = if body.is_empty() { String::new() } else { document.to_string() };
            request.header("content-type", "application/json").body(text.into()).unwrap()
        };
        let elsewhere: [fn(&mut axum::http::HeaderMap); 5] = [
            |headers| drop(headers.insert("origin", HeaderValue::from_static("https://evil.example"))),
            |headers| drop(headers.insert("origin", HeaderValue::from_static("null"))),
            |headers| drop(headers.insert("origin", HeaderValue::from_static("http://localhost:8443"))),
            |headers| drop(headers.remove("origin")),
            |headers| drop(headers.insert("sec-fetch-site", HeaderValue::from_static("cross-site"))),
        ];
        for (number, change) in elsewhere.iter().enumerate() {
            let mut request = build(&own);
            change(request.headers_mut());
            let before = cast.house.state();
            let reply = cast.house.send(request).await;
            assert_eq!((reply.status, cast.house.state()), (403, before), "{route:?} from elsewhere, {number}");
        }
        if page && !open {
            forms += 1;
            for token in [others.as_str(), ""] {
                let before = cast.house.state().1;
                let reply = cast.house.send(build(token)).await;
                // A step up may be asked for first; whatever is said, nothing changes.
                assert!(matches!(reply.status, 401 | 403), "{route:?} with another session's token: {reply:?}");
                assert_eq!(cast.house.state().1, before, "{route:?}");
            }
        }
    }
    assert!(forms >= 25, "{forms}");
}
