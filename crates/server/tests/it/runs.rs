//! Runs elsewhere and their tokens, through guard, gate and engine, with a clock that the tests turn.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use axum::{body::Body, extract::Request};
use ringfence_engine::{
    Exemptions, Intake, Origin, Reading,
    access::{Action, PersonKind, Role},
    elsewhere::{RUN_TOKEN_LIFE_MS, SILENCE_MS_MAX, TOKEN_OVERLAP_MS},
    queue::ATTEMPTS_MAX,
    team::TokenTerms,
};
use ringfence_server::serve::Peer;
use serde_json::{Value, json};

use crate::house::{By, House, Member, Reply, invite};

pub(crate) const PLAN: &str =
    "[run]\nname = \"net\"\ncommand = [\"/bin/true\"]\n[model.base]\nartifact = \"model/base@1\"\n";
const HOUR_MS: u64 = 60 * 60 * 1_000;

/// A vault with a model that was let in, `ana` who administers it, and `ben` who trains.
pub(crate) fn house<const N: usize>() -> (House, Member, Member) {
    let house = House::new::<N>();
    let path = house.folder.path().join("base.bin");
    std::fs::write(&path, b"weights").unwrap();
    let admitted = house.vault.add(&Intake {
        from: Origin::Files(&path),
        name: "model/base".parse().unwrap(),
        reading: Reading::default(),
        labels: None,
        exempt: Exemptions { no_scan: true, no_screen: false },
    });
    drop(admitted.unwrap());
    let ana = house.administer();
    let ben = house.join(&ana, "ben", &[Role::Researcher]);
    (house, ana, ben)
}

pub(crate) fn machine() -> Value {
    json!({"name": "box", "level": "full", "line": "level full", "cores": 2, "client": "test"})
}

fn ask() -> Value {
    json!({"plan": PLAN, "inputs": {"model.base": "model/base@1"}, "machine": machine()})
}

struct Machine {
    run: String,
    token: String,
}

impl Machine {
    fn of(reply: &Reply) -> Self {
        assert_eq!(reply.status, 201, "{reply:?}");
        let told = reply.json();
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        Self { run: text("run"), token: text("token") }
    }

    async fn begun(house: &House, by: By<'_>) -> Self {
        Self::of(&house.call("POST", "/api/v1/runs", by, Some(&ask())).await)
    }

    async fn beat(&self, house: &House) -> Reply {
        let told = json!({"first": 0, "events": []});
        let path = format!("/api/v1/runs/{}/events", self.run);
        house.call("POST", &path, By::Token(&self.token), Some(&told)).await
    }

    async fn renewed(&self, house: &House) -> Reply {
        house.call("POST", &format!("/api/v1/runs/{}/token", self.run), By::Token(&self.token), None).await
    }

    async fn fetch(&self, house: &House) -> Reply {
        let path = format!("/api/v1/runs/{}/inputs/0/files/0", self.run);
        house.call("GET", &path, By::Token(&self.token), None).await
    }

    /// Waits until the token opens nothing more.
    async fn ends(&self, house: &House) {
        for _ in 0..100 {
            if self.fetch(house).await.status == 401 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the token is still good after two seconds");
    }
}

async fn end(house: &House, session: &str, run: &str) -> String {
    for _ in 0..200 {
        let standing = house.call("GET", &format!("/api/v1/runs/{run}/standing"), By::Session(session), None).await;
        if let Some(why) = standing.json()["end"]["why"].as_str() {
            return why.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the run does not end");
}

#[tokio::test]
async fn a_run_token_lives_for_minutes_and_is_renewed_by_its_bearer() {
    let (house, _, ben) = house::<70>();
    let machine = Machine::begun(&house, By::Session(&ben.session)).await;
    assert_eq!(machine.fetch(&house).await.body, "weights");
    // One that is new is not renewed.
    assert_eq!(machine.renewed(&house).await.status, 422);
    house.pass(SILENCE_MS_MAX - 1_000);
    assert_eq!(machine.beat(&house).await.status, 200);
    house.pass(2_000);
    let next = machine.renewed(&house).await;
    assert_eq!(next.status, 201, "{next:?}");
    let next = Machine { run: machine.run.clone(), token: next.json()["token"].as_str().unwrap().to_owned() };
    // The one before is good for a moment more, and then no longer.
    assert_eq!((machine.beat(&house).await.status, next.beat(&house).await.status), (200, 200));
    for _ in 0..2 {
        house.pass(TOKEN_OVERLAP_MS / 2);
        assert_eq!(next.beat(&house).await.status, 200);
    }
    assert_eq!(machine.beat(&house).await.status, 401);
    // Without another one, the run goes on as long as it is heard of, but not beyond the token's life.
    let mut passed = TOKEN_OVERLAP_MS;
    while passed + 50_000 < RUN_TOKEN_LIFE_MS {
        house.pass(50_000);
        passed += 50_000;
        assert_eq!(next.beat(&house).await.status, 200, "{passed}");
    }
    house.pass(50_000);
    assert_eq!(next.beat(&house).await.status, 401);
    house.pass(SILENCE_MS_MAX);
    // Long silent, and its owner's session with it.
    let ben = house.login(&ben);
    let why = end(&house, &ben, &machine.run).await;
    assert!(why.contains("nothing was heard of its machine"), "{why}");
}

#[tokio::test]
async fn two_runs_of_one_plan_at_a_time_make_two_versions() {
    let (house, _, ben) = house::<74>();
    let by = By::Session(&ben.session);
    let first = Machine::begun(&house, by).await;
    Machine::begun(&house, by).await;
    let made = || -> BTreeSet<String> {
        let entries = house.vault.trail(256).unwrap().into_iter().filter(|entry| entry.entry.action == "train");
        entries.map(|entry| entry.subject().to_owned()).collect()
    };
    assert_eq!(made(), ["checkpoint/net@1".to_owned(), "checkpoint/net@2".to_owned()].into());
    // Numbers rise, also where a run came to nothing.
    let path = format!("/api/v1/runs/{}/fail", first.run);
    house.call("POST", &path, By::Token(&first.token), Some(&json!({"why": "no luck"}))).await;
    end(&house, &ben.session, &first.run).await;
    Machine::begun(&house, by).await;
    assert!(made().contains("checkpoint/net@3"), "{:?}", made());
}

#[tokio::test]
async fn a_run_token_ends_with_the_role_the_account_or_the_token_behind_it() {
    let (house, ana, ben) = house::<71>();
    let ana = By::Session(&ana.session);
    let roles = format!("/api/v1/people/{}/roles", ben.id);
    let disable = format!("/api/v1/people/{}/disable", ben.id);

    // A role is taken away.
    let machine = Machine::begun(&house, By::Session(&ben.session)).await;
    assert_eq!(machine.fetch(&house).await.status, 200);
    assert_eq!(house.call("PUT", &roles, ana, Some(&json!({"roles": ["auditor"]}))).await.status, 200);
    house.pass(300);
    machine.ends(&house).await;
    let why = end(&house, &ben.session, &machine.run).await;
    assert!(why.contains("may train no more"), "{why}");
    assert_eq!(house.call("POST", "/api/v1/runs", By::Session(&ben.session), Some(&ask())).await.status, 403);
    assert_eq!(house.call("PUT", &roles, ana, Some(&json!({"roles": ["researcher"]}))).await.status, 200);
    house.pass(300);

    // The API token with which it was begun is revoked; a session that ends is none of its business.
    let (id, token) = house.token(&ben.session, &[Action::Train, Action::Read], HOUR_MS);
    let machine = Machine::begun(&house, By::Token(&token)).await;
    let own = house.login(&ben);
    let of_session = Machine::begun(&house, By::Session(&own)).await;
    let sessions = house.call("GET", "/api/v1/me", By::Session(&own), None).await;
    assert_eq!(sessions.status, 200);
    house.acting(&own).leave().unwrap();
    assert_eq!(
        house.call("DELETE", &format!("/api/v1/sessions/{id}"), By::Session(&ben.session), None).await.status,
        204
    );
    house.pass(300);
    machine.ends(&house).await;
    assert_eq!(of_session.fetch(&house).await.status, 200);

    // The account is shut out.
    assert_eq!(house.call("POST", &disable, ana, Some(&json!({"reason": "left"}))).await.status, 200);
    house.pass(300);
    of_session.ends(&house).await;
}

#[tokio::test]
async fn a_run_token_is_held_to_its_address_and_its_scope() {
    let (house, _, ben) = house::<72>();
    let mut pinned = ask();
    pinned["pin"] = true.into();
    let machine = Machine::of(&house.call("POST", "/api/v1/runs", By::Session(&ben.session), Some(&pinned)).await);
    assert_eq!(machine.fetch(&house).await.status, 200);
    let elsewhere = |path: &str| {
        let request = Request::builder().uri(path).header("host", "localhost:8443");
        let mut request =
            request.header("authorization", format!("Bearer {}", machine.token)).body(Body::empty()).unwrap();
        let address = SocketAddr::from(([198, 51, 100, 9], 50_000));
        request.extensions_mut().insert(Peer { address, certificate: None });
        request
    };
    let path = format!("/api/v1/runs/{}/inputs/0/files/0", machine.run);
    assert_eq!(house.send(elsewhere(&path)).await.status, 401);
    // A token that may not train begins nothing, and inputs that are not the plan's are not its.
    let (_, narrow) = house.token(&ben.session, &[Action::Read], HOUR_MS);
    assert_eq!(house.call("POST", "/api/v1/runs", By::Token(&narrow), Some(&ask())).await.status, 403);
    for wrong in [json!({}), json!({"model.base": "model/base@1", "code": "model/base@1"}), json!({"model.base": "x"})]
    {
        let mut ask = ask();
        ask["inputs"] = wrong;
        assert_eq!(house.call("POST", "/api/v1/runs", By::Session(&ben.session), Some(&ask)).await.status, 422);
    }
    // A machine without a sandbox gets none.
    let mut bare = ask();
    bare["machine"]["level"] = Value::Null;
    let refused = house.call("POST", "/api/v1/runs", By::Session(&ben.session), Some(&bare)).await;
    assert!(refused.status >= 400, "{refused:?}");
}

#[tokio::test]
async fn queued_runs_go_to_one_machine_at_a_time_in_the_name_of_who_queued_them() {
    let (house, ana, ben) = house::<73>();
    let queued = json!({"plan": PLAN, "inputs": {"model.base": "model/base@1"}});
    let program = house.acting(&ana.session).invite(&invite("gpu", PersonKind::Service, &[Role::Trainer])).unwrap();
    let terms = TokenTerms {
        label: "gpu".into(),
        service: Some(program.person.id.clone()),
        life_ms: 24 * HOUR_MS,
        scope: [Action::Read, Action::Train].into(),
        networks: Vec::new(),
    };
    let trainer = house.acting(&ana.session).make_token(&terms).unwrap().1.to_string();
    let trainer = By::Token(&trainer);
    let take = async || house.call("POST", "/api/v1/queue/take", trainer, Some(&json!({"machine": machine()}))).await;
    let waiting = async || house.call("GET", "/api/v1/queue/waiting", trainer, None).await.json()["waiting"].clone();

    // A trainer begins nothing by itself, and queues nothing.
    assert_eq!(house.call("POST", "/api/v1/runs", trainer, Some(&ask())).await.status, 403);
    assert_eq!(house.call("POST", "/api/v1/queue", trainer, Some(&queued)).await.status, 403);
    let before = house.state().0;
    assert_eq!((waiting().await, take().await.status), (json!(0), 404));
    // Asking whether there is something leaves no trace; asking for it does.
    assert!(house.state().0 > before);
    let before = house.state().0;
    assert_eq!(waiting().await, json!(0));
    assert_eq!(house.state().0, before);

    let added = house.call("POST", "/api/v1/queue", By::Session(&ben.session), Some(&queued)).await;
    assert_eq!((added.status, &added.json()["state"]), (201, &json!("waiting")), "{added:?}");
    let id = added.json()["id"].as_str().unwrap().to_owned();
    // Machines die on it: each time another one has it, and never two.
    for attempt in 1..=ATTEMPTS_MAX {
        assert_eq!(waiting().await, json!(1), "{attempt}");
        let machine = Machine::of(&take().await);
        assert_eq!(machine.fetch(&house).await.body, "weights");
        assert_eq!((waiting().await, take().await.status), (json!(0), 404));
        let remove = house.call("DELETE", &format!("/api/v1/queue/{id}"), By::Session(&ben.session), None).await;
        assert_eq!(remove.status, 422, "{remove:?}");
        house.pass(SILENCE_MS_MAX + 1_000);
        let session = house.login(&ben);
        end(&house, &session, &machine.run).await;
        assert_eq!(machine.fetch(&house).await.status, 401);
        // Its entry says so a moment later.
        for _ in 0..100 {
            let listed = house.call("GET", "/api/v1/queue", By::Session(&session), None).await.json();
            if listed["queue"][0]["state"] != "taken" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let session = house.login(&ben);
    let listed = house.call("GET", "/api/v1/queue", By::Session(&session), None).await.json();
    assert_eq!(listed["queue"][0]["state"], "over", "{listed}");
    assert_eq!(listed["queue"][0]["end"]["verdict"], "failed");

    // Whoever queued one and may train no more has no run.
    let again = house.call("POST", "/api/v1/queue", By::Session(&session), Some(&queued)).await;
    assert_eq!(again.status, 201);
    let ana = house.login(&ana);
    let roles = format!("/api/v1/people/{}/roles", ben.id);
    assert_eq!(house.call("PUT", &roles, By::Session(&ana), Some(&json!({"roles": ["auditor"]}))).await.status, 200);
    house.pass(300);
    assert_eq!(take().await.status, 403);
    let listed = house.call("GET", "/api/v1/queue", By::Session(&ana), None).await.json();
    assert_eq!(listed["queue"][1]["end"]["verdict"], "failed", "{listed}");
    // What waits can be taken out, by whoever may stop runs.
    let last = house.call("POST", "/api/v1/queue", By::Session(&ana), Some(&queued)).await.json();
    let path = format!("/api/v1/queue/{}", last["id"].as_str().unwrap());
    assert_eq!(house.call("DELETE", &path, trainer, None).await.status, 403);
    assert_eq!(house.call("DELETE", &path, By::Session(&ana), None).await.status, 200);
    assert_eq!(waiting().await, json!(0));
}
