//! What is done by itself, planned on the command line.

use serde_json::Value;

use crate::home::Home;

#[test]
fn schedules_are_planned_listed_and_removed() {
    let home = Home::with_vault();
    home.run(&["schedule", "ls"]).exits(0);
    home.run(&["schedule", "add", "audit", "--every", "1d", "--at", "03:30"]).exits(0);
    for wrong in [
        ["schedule", "add", "backup", "--every", "1d"],
        ["schedule", "add", "verify", "--every", "59m"],
        ["schedule", "add", "verify", "--every", "400d"],
        ["schedule", "add", "audit", "--every", "24h"],
    ] {
        home.run(&wrong).exits(2);
    }
    let listed = home.run(&["schedule", "ls", "--format", "json"]).exits(0);
    let listed = listed.json();
    assert_eq!(listed["schema"], "ringfence.schedules/1");
    let one = &listed["schedules"][0];
    assert_eq!((&one["job"], &one["every_ms"], &one["last"]), (&"audit".into(), &86_400_000.into(), &Value::Null));
    let id = one["id"].as_str().unwrap();
    home.run(&["schedule", "rm", "s-0"]).exits(2);
    home.run(&["schedule", "rm", id]).exits(0);
    home.run(&["schedule", "rm", id]).exits(2);
    home.run(&["trail", "verify"]).exits(0);
}
