//! Pages for what cannot wait: break-glass, the queue of runs, and what others were asked for.

use ringfence_engine::{
    access::Role,
    doctor::{Health, Part},
    team::{RequestId, passkey::Challenge},
};
use serde_json::json;

use crate::{
    house::{By, House, Member},
    runs::{PLAN, house, machine},
};

const SITE: &str = "https://localhost:8443";

async fn page(house: &House, path: &str, session: &str) -> String {
    let reply = house.call("GET", path, By::Session(session), None).await;
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    reply.body
}

/// The hidden field `name` of a page.
fn field(page: &str, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let rest = page.split(&mark).nth(1).unwrap_or_else(|| panic!("no {name} in {page}"));
    rest.split('"').next().unwrap().to_owned()
}

fn approve(house: &House, member: &Member, id: &str) {
    let session = house.acting(&member.session);
    let approving = session.begin_approve(&house.party, &RequestId::from(id)).unwrap();
    let challenge: Challenge = serde_json::from_value(approving.options["challenge"].clone()).unwrap();
    let answer = member.key.assert(SITE, &challenge).unwrap();
    session.approve_request(&house.party, &RequestId::from(id), &answer).unwrap();
}

#[tokio::test]
async fn the_glass_is_broken_ended_and_reviewed_on_its_page() {
    let (house, ana) = House::with_owner::<86>();
    let olaf = house.join(&ana, "olaf", &[Role::SecurityOfficer]);
    let rob = house.join(&ana, "rob", &[Role::Researcher]);
    let empty = page(&house, "/break-glass", &rob.session).await;
    assert!(empty.contains("Nobody has ever") && !empty.contains("/break-glass/break"), "{empty}");
    let why = [("reason", "the site is <b>on fire</b>")];
    assert_eq!(house.form("/break-glass/break", &rob.session, &why).await.status, 403);
    assert_eq!(house.form("/break-glass/break", &ana.session, &[("reason", " ")]).await.status, 422);
    assert!(page(&house, "/break-glass", &ana.session).await.contains("/break-glass/break"));
    assert_eq!(house.form("/break-glass/break", &ana.session, &why).await.status, 303);
    let broken = page(&house, "/break-glass", &ana.session).await;
    for words in ["broken now", "the site is &lt;b&gt;on fire", "/break-glass/end", "aria-current=\"page\""] {
        assert!(broken.contains(words), "{words}: {broken}");
    }
    assert!(!broken.contains("/break-glass/break"), "once is enough");
    let id = field(&broken, "glass");
    let review = [("glass", id.as_str()), ("reason", "looked at all of it")];
    assert_eq!(house.form("/break-glass/review", &olaf.session, &review).await.status, 422, "it goes on");
    assert_eq!(house.form("/break-glass/end", &olaf.session, &[("glass", &id)]).await.status, 303);
    let ended = page(&house, "/break-glass", &ana.session).await;
    assert!(ended.contains("waits for a review") && !ended.contains("/break-glass/review"), "not by herself: {ended}");
    assert_eq!(house.form("/break-glass/review", &ana.session, &review).await.status, 403);
    assert_eq!(house.form("/break-glass/review", &olaf.session, &review).await.status, 303);
    let reviewed = page(&house, "/break-glass", &rob.session).await;
    assert!(reviewed.contains("looked at all of it") && reviewed.contains("reviewed"), "{reviewed}");
    // A second factor of some time ago is none.
    house.pass(11 * 60 * 1_000);
    assert_eq!(house.form("/break-glass/break", &ana.session, &why).await.status, 401);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_had_is_seen_where_people_look() {
    let (house, ana) = House::with_owner::<90>();
    let everywhere = async || {
        let parts = house.call("GET", "/api/v1/posture", By::Session(&ana.session), None).await.body;
        [page(&house, "/", &ana.session).await, page(&house, "/security", &ana.session).await, parts]
    };
    let why = "the authority <refused> the name";
    assert!(everywhere().await.iter().all(|text| !text.contains("the authority")));
    let part =
        |health, detail: &str| Part { name: "certificate".into(), health, detail: detail.into(), fix: String::new() };
    house.app.certified(part(Health::Warn, why));
    let [overview, security, parts] = everywhere().await;
    for text in [overview, security] {
        assert!(text.contains("the authority &lt;refused&gt; the name"), "{text}");
    }
    assert!(parts.contains(why), "{parts}");
    // Once there is one, nothing needs to be looked at.
    house.app.certified(part(Health::Ok, "good for long"));
    assert!(!everywhere().await[0].contains("certificate"));
}

#[tokio::test]
async fn the_queue_says_what_waits_who_has_it_and_what_came_of_it() {
    let (house, ana, ben) = house::<87>();
    let dora = house.join(&ana, "dora", &[Role::Auditor]);
    assert!(page(&house, "/queue", &ben.session).await.contains("No run waits"));
    let queued = json!({"plan": PLAN, "inputs": {"model.base": "model/base@1"}});
    for _ in 0..2 {
        let added = house.call("POST", "/api/v1/queue", By::Session(&ben.session), Some(&queued)).await;
        assert_eq!(added.status, 201, "{added:?}");
    }
    let waiting = page(&house, "/queue", &ben.session).await;
    for words in ["2 runs wait", "BEN", "/artifacts/model/base/1", "/queue/remove", "Take out"] {
        assert!(waiting.contains(words), "{words}: {waiting}");
    }
    let seen = page(&house, "/queue", &dora.session).await;
    assert!(seen.contains("2 runs wait") && !seen.contains("/queue/remove"), "{seen}");
    let id = field(&waiting, "queued");
    assert_eq!(house.form("/queue/remove", &dora.session, &[("queued", &id)]).await.status, 403);
    assert_eq!(house.form("/queue/remove", &ben.session, &[("queued", "q-0")]).await.status, 404);
    assert_eq!(house.form("/queue/remove", &ben.session, &[("queued", &id)]).await.status, 303);
    assert!(page(&house, "/queue", &ben.session).await.contains("1 run waits"));
    // A machine has the other one.
    let gpu = house.acting(&ana.session).invite(&crate::house::invite(
        "gpu",
        ringfence_engine::access::PersonKind::Service,
        &[Role::Trainer],
    ));
    let terms = ringfence_engine::team::TokenTerms {
        label: "gpu".into(),
        service: Some(gpu.unwrap().person.id),
        life_ms: 60 * 60 * 1_000,
        scope: [ringfence_engine::access::Action::Read, ringfence_engine::access::Action::Train].into(),
        networks: Vec::new(),
    };
    let token = house.acting(&ana.session).make_token(&terms).unwrap().1.to_string();
    let taken = house.call("POST", "/api/v1/queue/take", By::Token(&token), Some(&json!({"machine": machine()}))).await;
    assert_eq!(taken.status, 201, "{taken:?}");
    let taken = page(&house, "/queue", &ben.session).await;
    for words in ["No run waits", "a machine has it", "GPU", "Stop it there"] {
        assert!(taken.contains(words), "{words}: {taken}");
    }
}

#[tokio::test]
async fn destruction_is_asked_for_approved_and_carried_out_on_pages() {
    let (house, ana, ben) = house::<88>();
    let dora = house.join(&house.join(&ana, "cleo", &[Role::Owner]), "dora", &[Role::SecurityOfficer]);
    let olaf = house.join(&ana, "olaf", &[Role::SecurityOfficer]);
    let artifact = "/artifacts/model/base/1";
    assert!(page(&house, artifact, &olaf.session).await.contains("/requests/make"));
    let ask = [("reference", "model/base@1"), ("action", "destroy"), ("reason", "the licence <i>ended</i>")];
    // A researcher may not destroy at all; without a reason nobody asks.
    assert_eq!(house.form("/requests/make", &ben.session, &ask).await.status, 403);
    assert_eq!(house.form("/requests/make", &olaf.session, &ask[..2]).await.status, 422);
    for wrong in [("action", "configure"), ("action", "")] {
        let fields = [ask[0], wrong, ask[2]];
        assert_eq!(house.form("/requests/make", &olaf.session, &fields).await.status, 422);
    }
    assert_eq!(house.form("/requests/make", &olaf.session, &ask).await.status, 303);
    let seen = page(&house, "/review", &ana.session).await;
    for words in [
        "destroy model/base@1",
        "the licence &lt;i&gt;ended",
        "destroy the keys of model/base@1",
        "Approve with a passkey",
    ] {
        assert!(seen.contains(words), "{words}: {seen}");
    }
    let own = page(&house, "/review", &olaf.session).await;
    assert!(own.contains("/requests/withdraw") && !own.contains("/requests/carry-out"), "{own}");
    let id = field(&own, "request");
    assert_eq!(house.form("/requests/carry-out", &olaf.session, &[("request", &id)]).await.status, 403);
    approve(&house, &ana, &id);
    approve(&house, &dora, &id);
    let ready = page(&house, "/review", &olaf.session).await;
    assert!(ready.contains("/requests/carry-out"), "{ready}");
    assert_eq!(house.form("/requests/carry-out", &ana.session, &[("request", &id)]).await.status, 403);
    assert_eq!(house.form("/requests/carry-out", &olaf.session, &[("request", &id)]).await.status, 303);
    let gone = page(&house, artifact, &ben.session).await;
    for words in ["Destroyed, and nothing opens it", "the licence &lt;i&gt;ended", "OLAF"] {
        assert!(gone.contains(words), "{words}: {gone}");
    }
    assert!(!gone.contains("/requests/make"));
    let path = "/api/v1/artifacts/model/base/1/download";
    let refused = house.call("POST", path, By::Session(&olaf.session), None).await;
    assert_eq!(refused.status, 410, "{refused:?}");
    assert!(refused.body.contains("was destroyed") && refused.body.contains("ended"), "{refused:?}");
    let queued = json!({"plan": PLAN, "inputs": {"model.base": "model/base@1"}});
    let queued = house.call("POST", "/api/v1/queue", By::Session(&ben.session), Some(&queued)).await;
    assert_eq!(queued.status, 410, "a run that names it is told the same: {queued:?}");
    let verified = house.call("POST", "/api/v1/verify", By::Session(&ana.session), None).await;
    assert_eq!(verified.json()["verdict"], "verified", "{verified:?}");
    // One's own request can be taken back; a restore shows another way to end.
    let ask = [("reference", "model/base@1"), ("action", "restore"), ("reason", "we want it back")];
    assert_eq!(house.form("/requests/make", &olaf.session, &ask).await.status, 410);
}
