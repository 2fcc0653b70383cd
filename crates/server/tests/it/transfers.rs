//! Artifacts that come and go piece by piece, through guard, gate and engine.

use axum::{body::Body, extract::Request};
use ringfence_engine::{
    Exemptions, Intake, NamespaceState, Origin, Reading,
    access::Role,
    schema::{Digest, Tree, tree::TreeEntry},
    team::{RequestId, passkey::Challenge},
    transfer::{OWN_UPLOADS_MAX, UPLOAD_IDLE_MS},
};
use serde_json::{Value, json};

use crate::house::{By, House, Member, Reply, SITE};

const CONTENT: &[u8] = b"what is brought in two pieces";

fn entry(path: &str, content: &[u8]) -> TreeEntry {
    TreeEntry { path: path.to_owned(), size: content.len() as u64, sha256: Digest::of(content) }
}

fn declared(name: &str, files: &[TreeEntry]) -> Value {
    json!({"name": name, "files": files})
}

async fn bring(house: &House, by: &str, target: &str, bytes: &[u8]) -> Reply {
    let request = Request::builder()
        .method("PATCH")
        .uri(target)
        .header("host", "localhost:8443")
        .header("origin", SITE)
        .header("cookie", format!("__Host-ringfence={by}"))
        .header("content-type", "application/octet-stream")
        .body(Body::from(bytes.to_vec()));
    house.send(request.unwrap()).await
}

async fn fetch(house: &House, by: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::builder().uri(target).header("host", "localhost:8443");
    request = request.header("cookie", format!("__Host-ringfence={by}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    house.send(request.body(Body::empty()).unwrap()).await
}

async fn post(house: &House, by: &str, target: &str, body: Option<&Value>) -> Reply {
    house.call("POST", target, By::Session(by), body).await
}

/// Admits a model of one file, unseen: before a vault is shared, its owner may.
fn admit(house: &House) {
    let path = house.folder.path().join("a");
    std::fs::write(&path, CONTENT).unwrap();
    let admitted = house.vault.add(&Intake {
        from: Origin::Files(&path),
        name: "model/net".parse().unwrap(),
        reading: Reading::default(),
        labels: None,
        exempt: Exemptions { no_scan: true, no_screen: false },
    });
    assert_eq!(admitted.unwrap().version().state, NamespaceState::Admitted);
}

fn approve(house: &House, member: &Member, id: &RequestId) {
    let session = house.acting(&house.login(member));
    let approving = session.begin_approve(&house.party, id).unwrap();
    let challenge: Challenge = serde_json::from_value(approving.options["challenge"].clone()).unwrap();
    session.approve_request(&house.party, id, &member.key.assert(SITE, &challenge).unwrap()).unwrap();
}

#[tokio::test]
async fn an_upload_goes_on_where_it_is_and_is_what_was_declared() {
    let (house, ana) = House::with_owner::<53>();
    let files = [entry("a", CONTENT), entry("b/none", b""), entry("c", b"more")];
    let body = declared("code/job", &files);
    let begun = post(&house, &ana.session, "/api/v1/uploads", Some(&body)).await;
    assert_eq!(begun.status, 201, "{begun:?}");
    let view = begun.json();
    assert_eq!(view["tree"], json!(Tree::new(files.to_vec()).unwrap().digest()));
    let path = format!("/api/v1/uploads/{}", view["id"].as_str().unwrap());
    let to = |file: usize, from: usize| format!("{path}/files/{file}?from={from}");

    let (first, second) = CONTENT.split_at(10);
    assert_eq!(bring(&house, &ana.session, &to(0, 0), first).await.json()["offset"], 10);
    // The same again, a hole, the next file, bytes too many: it stays where it is.
    for (target, bytes, status) in
        [(to(0, 0), first, 409), (to(0, 11), second, 409), (to(2, 0), b"more", 409), (to(9, 0), b"x", 409)]
    {
        assert_eq!(bring(&house, &ana.session, &target, bytes).await.status, status, "{target}");
    }
    assert_eq!(bring(&house, &ana.session, &to(0, 10), &[0; 40]).await.status, 422);
    let finish = format!("{path}/finish");
    assert_eq!(post(&house, &ana.session, &finish, None).await.status, 422, "bytes are missing");
    // Declared again, it is the same.
    let again = post(&house, &ana.session, "/api/v1/uploads", Some(&body)).await.json();
    assert_eq!((&again["id"], &again["offset"]), (&view["id"], &json!(10)));
    assert_eq!(bring(&house, &ana.session, &to(0, 10), second).await.json()["file"], 2, "the empty file is there");

    // It is Ana's alone.
    let ben = house.join(&ana, "ben", &[Role::Owner]);
    assert_eq!(bring(&house, &ben.session, &to(2, 0), b"more").await.status, 404);
    assert_eq!(fetch(&house, &ben.session, &path, &[]).await.status, 404);
    assert_eq!(house.call("DELETE", &path, By::Session(&ben.session), None).await.status, 404);

    assert_eq!(bring(&house, &ana.session, &to(2, 0), b"more").await.json()["state"], "whole");
    let ended = post(&house, &ana.session, &finish, None).await.json();
    assert_eq!((&ended["state"], &ended["version"]["tree"]), (&json!("admitted"), &view["tree"]), "{ended}");
    assert_eq!(post(&house, &ana.session, &finish, None).await.json(), ended, "asked again it tells the same");
    let [version] = &house.vault.versions().unwrap()[..] else { panic!("one version") };
    assert_eq!((version.state, json!(version.tree)), (NamespaceState::Admitted, view["tree"].clone()));
    let ended = house.vault.trail(64).unwrap().into_iter().filter(|entry| entry.entry.action == "receive");
    assert!(ended.count() >= 4, "intents and outcomes of the declaration and the receipt");
}

#[tokio::test]
async fn what_nobody_waits_for_is_in_quarantine_and_goes_on_by_itself() {
    let (house, ana) = House::with_owner::<91>();
    let mut ended = Vec::new();
    for (name, content) in [("code/good", CONTENT), ("model/bad", CONTENT)] {
        let begun = post(&house, &ana.session, "/api/v1/uploads", Some(&declared(name, &[entry("a", content)]))).await;
        let path = format!("/api/v1/uploads/{}", begun.json()["id"].as_str().unwrap());
        let receive = format!("{path}/receive");
        assert_eq!(post(&house, &ana.session, &receive, None).await.status, 422, "bytes are missing");
        assert_eq!(bring(&house, &ana.session, &format!("{path}/files/0?from=0"), content).await.status, 200);
        let received = post(&house, &ana.session, &receive, None).await;
        assert_eq!(received.status, 202, "{received:?}");
        let received = received.json();
        assert_eq!((&received["state"], &received["version"]["state"]), (&json!("admitting"), &json!("quarantined")));
        let reference = format!("{name}@1").parse().unwrap();
        assert!(house.vault.find(&reference).is_ok(), "it is a version already");
        let view = loop {
            let view = fetch(&house, &ana.session, &path, &[]).await.json();
            if view["state"] != "admitting" {
                break view;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        // Whoever comes to wait after all hears the same.
        assert_eq!(post(&house, &ana.session, &format!("{path}/finish"), None).await.json(), view);
        ended.push((view["state"].clone(), house.vault.find(&reference).unwrap().state));
    }
    // Here no scan can run: code may hold what none recognises, a model may not.
    let [good, bad] = &ended[..] else { panic!("two") };
    assert_eq!(good, &(json!("admitted"), NamespaceState::Admitted));
    assert_eq!(bad, &(json!("refused"), NamespaceState::Quarantined));
    // Nothing was cut off: the gate says the same again, and what is in is not held.
    let again = post(&house, &ana.session, "/api/v1/artifacts/model/bad/1/resume", None).await;
    assert_eq!((again.status, &again.json()["state"]), (200, &json!("refused")));
    assert_eq!(post(&house, &ana.session, "/api/v1/artifacts/code/good/1/resume", None).await.status, 422);
    let tree = again.json()["version"]["tree"].as_str().unwrap().to_owned();
    let resume = |tree| [("reference", "model/bad@1"), ("tree", tree)];
    let pressed = house.form("/review/resume", &ana.session, &resume(&tree)).await;
    assert_eq!(pressed.status, 303);
    let other = house.form("/review/resume", &ana.session, &resume("of other bytes")).await;
    assert_eq!(other.status, 404);
}

#[tokio::test]
async fn what_is_given_up_wrong_or_too_much_leaves_nothing() {
    let (house, ana) = House::with_owner::<54>();
    let before: Vec<_> = stored(&house);
    let wrong = TreeEntry { sha256: Digest::of(b"something else"), ..entry("a", CONTENT) };
    let begun = post(&house, &ana.session, "/api/v1/uploads", Some(&declared("code/x", &[wrong]))).await.json();
    let path = format!("/api/v1/uploads/{}", begun["id"].as_str().unwrap());
    let reply = bring(&house, &ana.session, &format!("{path}/files/0?from=0"), CONTENT).await;
    assert!(reply.status == 422 && reply.body.contains("not what was declared"), "{reply:?}");
    assert_eq!(fetch(&house, &ana.session, &path, &[]).await.status, 404, "it is gone");

    let several = |number: usize| declared("code/x", &[entry(&format!("file {number}"), CONTENT)]);
    for number in 0..OWN_UPLOADS_MAX {
        assert_eq!(post(&house, &ana.session, "/api/v1/uploads", Some(&several(number))).await.status, 201);
    }
    let begun = post(&house, &ana.session, "/api/v1/uploads", Some(&several(0))).await.json();
    assert_eq!(post(&house, &ana.session, "/api/v1/uploads", Some(&several(99))).await.status, 503);
    let path = format!("/api/v1/uploads/{}", begun["id"].as_str().unwrap());
    assert_eq!(bring(&house, &ana.session, &format!("{path}/files/0?from=0"), b"what").await.status, 200);
    assert_eq!(house.call("DELETE", &path, By::Session(&ana.session), None).await.status, 204);
    // The rest stands still for too long.
    house.pass(UPLOAD_IDLE_MS);
    house.app.work_open(|vault, _| vault.keep_house(false)).await.unwrap();
    assert_eq!(stored(&house), before);

    for files in [
        json!([]),
        json!([entry("../x", b"")]),
        json!([entry("a", b""), entry("a", b"")]),
        json!([{"path": "a", "size": u64::MAX, "sha256": Digest::of(b"")}]),
        json!([{"path": "a", "size": 300_u64 << 30, "sha256": Digest::of(b"")}]),
    ] {
        let body = json!({"name": "code/x", "files": files});
        let reply = post(&house, &house.login(&ana), "/api/v1/uploads", Some(&body)).await;
        assert!((400..500).contains(&reply.status), "{reply:?}");
    }
}

/// Names of the packs in quarantine.
fn stored(house: &House) -> Vec<std::path::PathBuf> {
    let packs = |path: &std::path::Path| path.to_string_lossy().contains("/store/quarantine/packs/");
    let mut names: Vec<_> = house.files().into_iter().map(|(path, _)| path).filter(|path| packs(path)).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_copy_is_taken_in_ranges_once_two_others_have_approved() {
    let house = House::new::<55>();
    admit(&house);
    let ana = house.administer();
    let eva = house.join(&ana, "eva", &[Role::Owner]);
    let sol = house.join(&ana, "sol", &[Role::SecurityOfficer]);
    let take = "/api/v1/artifacts/model/net/1/download";
    let asked = post(&house, &eva.session, take, None).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let id = asked.json()["request"]["id"].as_str().unwrap().to_owned();
    approve(&house, &ana, &RequestId::from(id.as_str()));
    assert_eq!(post(&house, &eva.session, take, None).await.json()["request"]["id"], json!(id), "one is not enough");
    approve(&house, &sol, &RequestId::from(id.as_str()));
    let taken = post(&house, &eva.session, take, None).await;
    assert_eq!(taken.status, 201, "{taken:?}");
    assert_eq!(post(&house, &eva.session, take, None).await.status, 202, "approved once is good once");

    let path = format!("/api/v1/downloads/{}", taken.json()["id"].as_str().unwrap());
    let file = format!("{path}/files/0");
    let tag = format!("\"{}\"", Digest::of(CONTENT));
    let whole = fetch(&house, &eva.session, &file, &[]).await;
    assert_eq!((whole.status, whole.body.as_bytes()), (200, CONTENT));
    assert_eq!(whole.headers["etag"].to_str().unwrap(), tag);
    let part = fetch(&house, &eva.session, &file, &[("range", "bytes=5-"), ("if-range", &tag)]).await;
    assert_eq!((part.status, part.body.as_bytes()), (206, &CONTENT[5..]));
    assert_eq!(part.headers["content-range"].to_str().unwrap(), format!("bytes 5-28/{}", CONTENT.len()));
    let part = fetch(&house, &eva.session, &file, &[("range", "bytes=5-6")]).await;
    assert_eq!((part.status, part.body.as_bytes()), (206, &CONTENT[5..7]));
    let other = fetch(&house, &eva.session, &file, &[("range", "bytes=5-"), ("if-range", "\"other\"")]).await;
    assert_eq!((other.status, other.body.as_bytes()), (200, CONTENT));
    assert_eq!(fetch(&house, &eva.session, &file, &[("range", "bytes=29-")]).await.status, 416);
    assert_eq!(fetch(&house, &eva.session, &format!("{path}/files/1"), &[]).await.status, 404);
    // It is Eva's alone, and each look leaves an entry.
    assert_eq!(fetch(&house, &ana.session, &file, &[]).await.status, 404);
    let newest = house.vault.trail(64).unwrap();
    assert!(newest.iter().any(|entry| entry.subject().contains("from byte 5")), "no entry for the range");
    assert_eq!(house.call("DELETE", &path, By::Session(&eva.session), None).await.status, 204);
    assert_eq!(fetch(&house, &eva.session, &file, &[]).await.status, 404);
}
