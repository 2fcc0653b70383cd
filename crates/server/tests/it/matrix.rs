//! Every route, called by everybody: nobody, whoever presents what is no longer good, every role, and a person without one.
//!
//! The table of answers is a reviewed snapshot; what must hold whatever the table says is asserted beside it. A route
//! without a case in [`CASES`] fails the test.

use std::{collections::BTreeSet, fmt::Write as _};

use ringfence_engine::{
    access::{Action, PersonKind, Role},
    schema::trail::EntryKind,
};
use ringfence_server::routes::{Open, Permission, Recorded, Routes};
use serde_json::Value;

use crate::house::{By, House, Member, Reply, call, everything, invite, serve};

/// Verb, path of the route, what is called, and the body. Words in angle brackets are filled in for each call.
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
    ("GET", "/api/v1/tokens", "", ""),
    ("POST", "/api/v1/tokens", "", r#"{"label": "x", "days": 1, "scope": ["raise"]}"#),
    ("POST", "/api/v1/tokens", "", r#"{"label": "x", "days": 1, "scope": ["raise"], "service": "<program>"}"#),
    ("POST", "/api/v1/factors/passkey/begin", "", ""),
    ("POST", "/api/v1/factors/passkey/finish", "", r#"{"ceremony": "x", "credential": {}, "label": "x"}"#),
    ("POST", "/api/v1/factors/password/begin", "", ""),
    ("POST", "/api/v1/factors/password/finish", "", r#"{"ceremony": "x", "password": "x", "code": "1"}"#),
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
    (
        "POST",
        "/api/v1/artifacts/{kind}/{name}/{version}/refuse",
        "/api/v1/artifacts/model/none/1/refuse",
        r#"{"reason": "bad"}"#,
    ),
    ("POST", "/api/v1/artifacts/{kind}/{name}/{version}/rollback", "/api/v1/artifacts/model/none/1/rollback", ""),
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
    ("DELETE", "/api/v1/uploads/{id}", "/api/v1/uploads/u-none", ""),
    ("POST", "/api/v1/artifacts/{kind}/{name}/{version}/download", "/api/v1/artifacts/model/none/1/download", ""),
    ("GET", "/api/v1/downloads/{id}/files/{file}", "/api/v1/downloads/d-none/files/0", ""),
    ("DELETE", "/api/v1/downloads/{id}", "/api/v1/downloads/d-none", ""),
    ("POST", "/api/v1/verify", "", ""),
    ("GET", "/api/v1/trail", "", ""),
    ("GET", "/api/v1/trail/entries/{index}", "/api/v1/trail/entries/0", ""),
    ("GET", "/api/v1/trail/checkpoint", "", ""),
    ("GET", "/api/v1/trail/continuation/{from}", "/api/v1/trail/continuation/0", ""),
    ("GET", "/api/v1/root", "", ""),
    ("POST", "/api/v1/trail/verify", "", ""),
    ("GET", "/api/v1/runs", "", ""),
    ("GET", "/api/v1/runs/{run}", "/api/v1/runs/r-0", ""),
    ("GET", "/api/v1/alerts", "", ""),
    (
        "POST",
        "/api/v1/alerts/{id}/acknowledge",
        "/api/v1/alerts/sha256:0000000000000000000000000000000000000000000000000000000000000000/acknowledge",
        r#"{"reason": "seen"}"#,
    ),
    ("GET", "/api/v1/posture", "", ""),
    ("POST", "/api/v1/logout", "", ""),
];

/// Who calls. The first four are nobody; `scope` holds a token that is good for raising alerts alone; `stale` is the owner
/// with a second factor proven eleven minutes ago.
const CALLERS: [&str; 14] = [
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
        let own = own.map_or_else(|_| self.ana.id.to_string(), |caller| caller.person.id);
        for (word, value) in [
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
        let body: Option<Value> =
            if body.is_empty() { None } else { Some(serde_json::from_str(&self.fill(body, caller).await).unwrap()) };
        self.house.call(verb, &target, self.by(caller), body.as_ref()).await
    }
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
            if case.1.contains("/login/") || case.1.ends_with("/step-up/code") {
                // Wrong factors from one address make it wait.
                cast.house.pass(3_000);
            }
            let before = cast.house.state();
            let reply = cast.ask(case, caller).await;
            let (after, status) = (cast.house.state(), reply.status);
            let what = format!("{} {} by {name}: {reply:?}", case.0, case.2);
            assert!(status < 500, "{what}");
            if status >= 400 {
                assert_eq!(before.1, after.1, "a refused call changed something: {what}");
                assert_eq!(reply.headers["content-type"], "application/problem+json", "{what}");
            } else if recorded == Recorded::Trail {
                assert!(after.0 > before.0, "no entry before the answer: {what}");
            }
            check(permission, caller, &reply, &what);
            let decided = status == 403 && matches!(permission, Permission::Action(_)) && *name != "scope";
            if decided {
                let newest = cast.house.vault.trail(1).unwrap().pop().unwrap();
                assert!(after.0 > before.0 && newest.entry.kind == EntryKind::Denial, "a denial without entry: {what}");
            }
            row.push(status.to_string());
        }
        let permission = match permission {
            Permission::Open(why) => format!("{why:?}"),
            Permission::SignedIn => "signed in".to_owned(),
            Permission::Action(action) => action.to_string(),
        };
        let mark = if recorded == Recorded::Trail { "" } else { "unrecorded" };
        writeln!(table, "{permission} {mark} {} {} {}\n    {}", case.0, case.1, case.2, row.join(" ")).unwrap();
    }
    insta::assert_snapshot!("matrix", table);
}

/// What holds whatever the snapshot says.
fn check(permission: Permission, caller: usize, reply: &Reply, what: &str) {
    let name = CALLERS[caller];
    match permission {
        Permission::Open(Open::SignIn) => assert!(!what.contains("finish") || reply.status >= 400, "{what}"),
        Permission::Open(_) => assert_eq!(reply.status, 200, "{what}"),
        _ if caller < NOBODIES => assert_eq!(reply.status, 401, "{what}"),
        Permission::SignedIn => {}
        Permission::Action(action) => {
            match name {
                "scope" | "tester" | "roleless" => assert_eq!(reply.status, 403, "{what}"),
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
            if case.1.contains("posture") {
                golden.push(Vec::new());
                continue;
            }
            let target = cast.fill(if case.2.is_empty() { case.1 } else { case.2 }, 6).await;
            let body: Option<Value> = serde_json::from_str(&cast.fill(case.3, 6).await).ok();
            let mut said = Vec::new();
            for by in probes {
                let reply = call(&service, case.0, &target, by, body.as_ref()).await;
                said.push((reply.status, reply.json()["reasons"].to_string()));
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
