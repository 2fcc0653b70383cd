//! What a shared vault's server does by itself: planned by those who may, done by the server and by nobody else.

use ringfence_engine::{
    access::Role,
    alerts::AlertFilter,
    schedule::{Came, Job},
};
use serde_json::json;

use crate::house::{By, House};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

#[tokio::test]
async fn the_server_does_what_was_planned_in_its_own_name() {
    let (house, ana) = House::with_owner::<52>();
    let rob = house.join(&ana, "rob", &[Role::Researcher]);
    let eve = house.join(&ana, "eve", &[Role::Auditor]);
    let olaf = house.join(&ana, "olaf", &[Role::SecurityOfficer]);
    let plan = |job: &str, every: &str| json!({"job": job, "every": every});
    for session in [&rob.session, &eve.session] {
        let by = By::Session(session);
        assert_eq!(house.call("POST", "/api/v1/schedules", by, Some(&plan("audit", "1d"))).await.status, 403);
        assert_eq!(house.form("/schedules/add", session, &[("job", "audit"), ("every", "1d")]).await.status, 403);
        assert_eq!(house.call("GET", "/api/v1/schedules", by, None).await.json(), json!({"schedules": []}));
    }
    let by = By::Session(&olaf.session);
    for job in ["audit", "verify", "rescan", "drill"] {
        let made = house.call("POST", "/api/v1/schedules", by, Some(&plan(job, "1d"))).await;
        assert_eq!((made.status, &made.json()["by"]), (201, &json!(olaf.id)), "{made:?}");
    }
    for odd in [plan("backup", "1d"), plan("audit", "10m"), plan("audit", "1d")] {
        assert_eq!(house.call("POST", "/api/v1/schedules", by, Some(&odd)).await.status, 422, "{odd}");
    }
    let fields = [("job", "outdated"), ("every", "7d"), ("at", "25:00")];
    assert_eq!(house.form("/schedules/add", &olaf.session, &fields).await.status, 422);
    house.pass(3 * DAY_MS);
    let before = house.state().0;
    let done = house.vault.carry_out_due().unwrap();
    assert_eq!(done.len(), 4);
    for schedule in &done {
        let last = schedule.last.as_ref().unwrap();
        let came = if schedule.job == Job::Drill { Came::Failed } else { Came::Clean };
        assert_eq!((last.came, last.missed), (came, 2), "{schedule:?}");
    }
    // All of it stands under the server's own name, and it did nothing but look and tell.
    let entries = house.vault.trail(u64::MAX).unwrap();
    for entry in entries.iter().filter(|entry| entry.index >= before) {
        assert_eq!(entry.entry.actor, "server");
        assert!(["verify", "inspect", "raise"].contains(&entry.entry.action.as_str()), "{}", entry.entry.action);
    }
    let alerts = house.vault.alerts(&AlertFilter::default()).unwrap();
    assert_eq!(alerts.iter().map(|shown| shown.alert.rule.as_str()).collect::<Vec<_>>(), ["RF-SCH-001"]);
    let owner = house.login(&ana);
    let page = house.call("GET", "/security", By::Session(&owner), None).await;
    assert!(page.body.contains("made up for once; 2 more were missed") && page.body.contains("/schedules/remove"));
    assert!(page.body.contains("the vault&#39;s keys") || page.body.contains("the vault's keys"), "{}", page.body);
    let olaf = house.login(&olaf);
    for schedule in &done {
        let target = format!("/api/v1/schedules/{}", schedule.id);
        assert_eq!(house.call("DELETE", &target, By::Session(&olaf), None).await.status, 200);
        assert_eq!(house.call("DELETE", &target, By::Session(&olaf), None).await.status, 404);
    }
    house.pass(9 * DAY_MS);
    assert_eq!(house.vault.carry_out_due().unwrap(), []);
}
