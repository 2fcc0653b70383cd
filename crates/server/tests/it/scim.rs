//! SCIM, as directories speak it: the requests that Okta and Entra ID send, and those that nobody should.

use std::{collections::BTreeSet, fs};

use axum::{body::Body, extract::Request};
use proptest::prelude::*;
use ringfence_engine::{
    access::{Action, PersonKind, Role},
    team::{PersonId, Status, TokenTerms},
};
use ringfence_server::scim::{query, shape};
use serde_json::{Value, json};

use crate::house::{By, House, Member, Reply, invite};

/// A directory's program, with a token that is good for `provision` alone.
struct Directory<'h> {
    house: &'h House,
    token: String,
}

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

impl<'h> Directory<'h> {
    fn new(house: &'h House, ana: &Member) -> Self {
        let owner = house.acting(&ana.session);
        let program = owner.invite(&invite("okta", PersonKind::Service, &[Role::SecurityOfficer])).unwrap().person.id;
        let terms = TokenTerms {
            label: "directory".into(),
            service: Some(program),
            life_ms: 1_000_000,
            scope: BTreeSet::from([Action::Provision]),
            networks: Vec::new(),
        };
        let token = owner.make_token(&terms).unwrap().1.to_string();
        Self { house, token }
    }

    /// Roles that groups stand for.
    fn roles(&self, text: &str) {
        let text = format!("schema = \"ringfence.login/1\"\n[directory.roles]\n{text}\n");
        fs::write(self.house.vault.settings().config.join("login.toml"), text).unwrap();
    }

    async fn ask(&self, verb: &str, target: &str, body: Option<Value>) -> Reply {
        let request = Request::builder()
            .method(verb)
            .uri(format!("/scim/v2{target}"))
            .header("host", "localhost:8443")
            .header("accept", "application/scim+json")
            .header("authorization", format!("Bearer {}", self.token));
        let request = match body {
            Some(body) => {
                let request = request.header("content-type", "application/scim+json; charset=utf-8");
                request.body(Body::from(body.to_string()))
            }
            None => request.body(Body::empty()),
        };
        let reply = self.house.send(request.unwrap()).await;
        if reply.status != 204 {
            assert_eq!(reply.headers["content-type"], "application/scim+json", "{reply:?}");
        }
        reply
    }

    async fn bring(&self, name: &str) -> String {
        let reply = self.ask("POST", "/Users", Some(json!({"schemas": [USER], "userName": name}))).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    async fn group(&self, name: &str, members: &[&str]) -> String {
        let members: Vec<Value> = members.iter().map(|id| json!({"value": id})).collect();
        let body = json!({"schemas": [GROUP], "displayName": name, "members": members});
        let reply = self.ask("POST", "/Groups", Some(body)).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    async fn patch(&self, target: &str, operations: Value) -> Reply {
        self.ask("PATCH", target, Some(json!({"schemas": [PATCH], "Operations": operations}))).await
    }

    fn roles_of(&self, id: &str) -> Vec<Role> {
        self.house.vault.person(id).unwrap().roles
    }
}

#[tokio::test]
async fn as_okta_asks() {
    let (house, ana) = House::with_owner::<44>();
    let okta = Directory::new(&house, &ana);
    let first = okta.ask("GET", "/Users?startIndex=1&count=2", None).await.json();
    assert_eq!(
        (first["totalResults"].as_u64(), first["itemsPerPage"].as_u64()),
        (Some(1), Some(1)),
        "ana alone: {first}"
    );
    assert_eq!(okta.ask("GET", "/Groups?startIndex=1&count=100", None).await.json()["totalResults"], 0);
    let by_name = "/Users?filter=userName%20eq%20%22isaac.brock%40example.com%22&startIndex=1&count=100";
    assert_eq!(okta.ask("GET", by_name, None).await.json()["totalResults"], 0);
    let person = json!({
        "schemas": [USER],
        "userName": "Isaac.Brock@example.com",
        "name": {"givenName": "Isaac", "familyName": "Brock"},
        "emails": [{"primary": true, "value": "isaac.brock@example.com", "type": "work"}],
        "displayName": "Isaac Brock", "locale": "en-US", "externalId": "00ujl29u0le5T6Aj10h7",
        "groups": [], "password": "never-kept-1mz050nq", "active": true,
    });
    let made = okta.ask("POST", "/Users", Some(person.clone())).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        (made.status, made.headers["location"].to_str().unwrap()),
        (201, format!("https://localhost:8443/scim/v2/Users/{id}").as_str())
    );
    assert_eq!((&made.json()["userName"], &made.json()["active"]), (&json!("isaac.brock@example.com"), &json!(true)));
    assert!(
        !made.body.contains("never-kept")
            && !house.files().iter().any(|(_, bytes)| bytes.windows(10).any(|part| part == b"never-kept"))
    );
    let again = okta.ask("POST", "/Users", Some(person.clone())).await;
    assert_eq!((again.status, &again.json()["scimType"]), (409, &json!("uniqueness")));
    assert_eq!(okta.ask("GET", by_name, None).await.json()["Resources"][0]["id"], json!(id));
    // They are known, and have no way in that a person has not given them.
    let known = house.vault.person(&id).unwrap();
    assert_eq!((known.status, known.factors.len(), known.roles.len()), (Status::Invited, 0, 0));
    let mut changed = person;
    changed["displayName"] = json!("Isaac B.");
    let put = okta.ask("PUT", &format!("/Users/{id}"), Some(changed)).await;
    assert_eq!((put.status, &put.json()["displayName"]), (200, &json!("Isaac B.")));
    let off = okta.patch(&format!("/Users/{id}"), json!([{"op": "replace", "value": {"active": false}}])).await;
    assert_eq!((off.status, &off.json()["active"]), (200, &json!(false)));
    assert_eq!(house.vault.person(&id).unwrap().status, Status::Disabled);

    okta.roles("ml = [\"researcher\"]");
    let group = okta.group("ml", &[]).await;
    let add = json!([{"op": "add", "path": "members", "value": [{"value": id, "display": "isaac.brock@example.com"}]}]);
    assert_eq!(okta.patch(&format!("/Groups/{group}"), add).await.status, 204);
    assert_eq!(okta.roles_of(&id), [Role::Researcher]);
    let rename = json!([{"op": "replace", "value": {"id": group, "displayName": "ml-old"}}]);
    assert_eq!(okta.patch(&format!("/Groups/{group}"), rename).await.status, 204);
    assert_eq!(okta.roles_of(&id), [], "the new name stands for nothing");
    let shown = okta.ask("GET", &format!("/Groups/{group}"), None).await.json();
    assert_eq!((&shown["displayName"], &shown["members"][0]["value"]), (&json!("ml-old"), &json!(id)));
    let path = format!("members[value eq \"{id}\"]");
    assert_eq!(okta.patch(&format!("/Groups/{group}"), json!([{"op": "remove", "path": path}])).await.status, 204);
    assert_eq!(okta.ask("GET", &format!("/Groups/{group}"), None).await.json()["members"], json!([]));
    assert_eq!(okta.ask("DELETE", &format!("/Groups/{group}"), None).await.status, 204);
    assert_eq!(okta.ask("GET", &format!("/Groups/{group}"), None).await.status, 404);
}

#[tokio::test]
async fn as_entra_id_asks() {
    let (house, ana) = House::with_owner::<45>();
    let entra = Directory::new(&house, &ana);
    entra.roles("\"ML research\" = [\"researcher\", \"data_steward\"]\naudit = [\"auditor\"]");
    let rob = house.join(&ana, "rob@example.org", &[Role::Researcher]);
    let found = entra.ask("GET", "/Users?filter=userName+eq+%22Rob%40Example.org%22", None).await.json();
    assert_eq!((found["totalResults"].as_u64(), &found["Resources"][0]["id"]), (Some(1), &json!(rob.id)));
    let person = json!({
        "schemas": [USER, "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
        "externalId": "58342554-38d6-4ec8-948c-50044d0a33fd",
        "userName": "dee@example.org", "active": true, "displayName": "Dee",
        "emails": [{"primary": true, "type": "work", "value": "dee@example.org"}],
        "meta": {"resourceType": "User"}, "name": {"formatted": "Dee D", "familyName": "D", "givenName": "Dee"},
        "roles": [{"value": "owner"}],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "x", "manager": "y"},
    });
    let dee = entra.ask("POST", "/Users", Some(person)).await.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(entra.roles_of(&dee), [], "an attribute gives no role");
    let external = "/Users?filter=externalId%20eq%20%2258342554-38d6-4ec8-948c-50044d0a33fd%22";
    assert_eq!(entra.ask("GET", external, None).await.json()["Resources"][0]["id"], json!(dee));
    let many = json!([
        {"op": "Replace", "path": "displayName", "value": "Dee Dee"},
        {"op": "Add", "path": "emails[type eq \"work\"].value", "value": "dd@example.org"},
        {"op": "Add", "path": "name.familyName", "value": "Dee"},
        {"op": "Replace", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", "value": "y"},
        {"op": "Replace", "path": "userName", "value": "dee.dee@example.org"},
    ]);
    let patched = entra.patch(&format!("/Users/{dee}"), many).await;
    assert_eq!(
        (patched.status, &patched.json()["userName"], &patched.json()["displayName"]),
        (200, &json!("dee.dee@example.org"), &json!("Dee Dee"))
    );

    let none = "/Groups?excludedAttributes=members&filter=displayName+eq+%22ML+research%22";
    assert_eq!(entra.ask("GET", none, None).await.json()["totalResults"], 0);
    let group = entra.group("ML research", &[]).await;
    let listed = entra.ask("GET", none, None).await.json();
    assert_eq!(listed["Resources"][0]["id"], json!(group));
    assert!(listed["Resources"][0].get("members").is_none());
    let add = json!([{"op": "Add", "path": "members", "value": [{"$ref": null, "value": dee}, {"value": rob.id}]}]);
    assert_eq!(entra.patch(&format!("/Groups/{group}"), add).await.status, 204);
    assert_eq!(entra.roles_of(&dee), [Role::DataSteward, Role::Researcher]);
    assert_eq!(entra.roles_of(rob.id.as_str()), [Role::DataSteward, Role::Researcher]);
    let remove = json!([{"op": "Remove", "path": "members", "value": [{"value": rob.id}, {"value": dee}]}]);
    assert_eq!(entra.patch(&format!("/Groups/{group}"), remove).await.status, 204);
    assert_eq!(entra.roles_of(&dee), []);
    assert_eq!(entra.roles_of(rob.id.as_str()), [Role::Researcher], "what people gave stays");

    // Whoever is shut out is out at once, in every session.
    assert_eq!(house.call("GET", "/api/v1/me", By::Session(&rob.session), None).await.status, 200);
    let off = json!([{"op": "Replace", "path": "active", "value": "False"}]);
    assert_eq!(entra.patch(&format!("/Users/{}", rob.id), off).await.json()["active"], json!(false));
    assert_eq!(house.call("GET", "/api/v1/me", By::Session(&rob.session), None).await.status, 401);
    let on = json!([{"op": "Replace", "path": "active", "value": "True"}]);
    assert_eq!(entra.patch(&format!("/Users/{}", rob.id), on.clone()).await.json()["active"], json!(true));
    assert_eq!(house.vault.person(rob.id.as_str()).unwrap().status, Status::Active);
    house.login(&rob);
    // Whom people shut out, no directory lets in again.
    house.acting(&house.login(&ana)).disable(&rob.id, "left").unwrap();
    assert_eq!(entra.patch(&format!("/Users/{}", rob.id), on).await.json()["active"], json!(false));
    assert_eq!(house.vault.person(rob.id.as_str()).unwrap().status, Status::Disabled);
}

#[tokio::test]
async fn filters_are_joined_by_and() {
    let (house, ana) = House::with_owner::<60>();
    let directory = Directory::new(&house, &ana);
    let dee = directory.bring("dee").await;
    directory.bring("deirdre").await;
    let off = json!([{"op": "replace", "path": "active", "value": false}]);
    directory.patch(&format!("/Users/{dee}"), off).await;
    for (filter, expected) in [
        ("userName sw \"DE\"", &["dee", "deirdre"][..]),
        ("userName sw \"de\" and active eq true", &["deirdre"]),
        ("active eq false AND userName co \"ee\"", &["dee"]),
        ("displayName pr and userName eq \"Dee\" and id pr", &["dee"]),
        ("userName eq \"dee\" and externalId pr", &[]),
        ("externalId co \"x and y\"", &[]),
        ("id sw \"P-\"", &[]),
    ] {
        let escaped: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let reply = directory.ask("GET", &format!("/Users?filter={escaped}"), None).await;
        assert_eq!(reply.status, 200, "{filter}: {}", reply.body);
        let found = reply.json()["Resources"].as_array().unwrap().clone();
        let mut names: Vec<&str> = found.iter().map(|user| user["userName"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{filter}");
    }
    let many = ["id pr"; 9].join("%20and%20").replace(' ', "%20");
    assert_eq!(directory.ask("GET", &format!("/Users?filter={many}"), None).await.status, 400);
}

#[tokio::test]
async fn whoever_is_deleted_is_gone_until_they_come_again() {
    let (house, ana) = House::with_owner::<46>();
    let directory = Directory::new(&house, &ana);
    directory.roles("ml = [\"researcher\"]");
    let id = directory.bring("dee").await;
    directory.group("ml", &[&id]).await;
    assert_eq!(directory.roles_of(&id), [Role::Researcher]);
    assert_eq!(directory.ask("DELETE", &format!("/Users/{id}"), None).await.status, 204);
    for (verb, body) in [("GET", None), ("DELETE", None), ("PUT", Some(json!({"userName": "dee"})))] {
        assert_eq!(directory.ask(verb, &format!("/Users/{id}"), body).await.status, 404, "{verb}");
    }
    assert_eq!(directory.ask("GET", "/Users?filter=userName%20eq%20%22dee%22", None).await.json()["totalResults"], 0);
    let person = house.vault.person(&id).unwrap();
    assert_eq!((person.status, person.roles), (Status::Disabled, vec![]));
    // Whoever comes again is the same one to the trail, without what they had.
    let again = directory.ask("POST", "/Users", Some(json!({"userName": "Dee", "active": true}))).await;
    assert_eq!((again.status, &again.json()["id"], &again.json()["active"]), (201, &json!(id), &json!(true)));
    assert_eq!(directory.roles_of(&id), []);
}

#[tokio::test]
async fn an_owner_is_out_of_a_directory_s_reach() {
    let (house, ana) = House::with_owner::<47>();
    let directory = Directory::new(&house, &ana);
    directory.roles("audit = [\"auditor\"]");
    let target = format!("/Users/{}", ana.id);
    for (verb, body) in [
        ("DELETE", None),
        ("PUT", Some(json!({"userName": "ana", "active": false}))),
        ("PATCH", Some(json!({"Operations": [{"op": "replace", "value": {"active": false}}]}))),
    ] {
        let reply = directory.ask(verb, &target, body).await;
        assert_eq!(
            (reply.status, &reply.json()["schemas"][0], &reply.json()["status"]),
            (403, &json!(ERROR), &json!("403"))
        );
        let newest = house.vault.trail(1).unwrap().pop().unwrap();
        assert_eq!((newest.word(), newest.entry.action.as_str()), ("denied", "provision"));
    }
    // To make an owner an auditor would shut her out of her own vault.
    directory.group("audit", &[ana.id.as_str()]).await;
    assert_eq!(directory.roles_of(ana.id.as_str()), [Role::Owner]);
    // A mapping that gives the owner's role is none.
    let dee = directory.bring("dee").await;
    directory.roles("boss = [\"owner\"]");
    let body = json!({"displayName": "boss", "members": [{"value": dee}]});
    let refused = directory.ask("POST", "/Groups", Some(body)).await;
    assert_eq!((refused.status, directory.roles_of(&dee)), (503, vec![]));
    assert!(!refused.body.contains("login.toml") || !refused.body.contains('/'), "{}", refused.body);
}

#[tokio::test]
async fn only_a_program_with_the_right_token_is_heard() {
    let (house, ana) = House::with_owner::<48>();
    let directory = Directory::new(&house, &ana);
    let (_, narrow) = house.token(&ana.session, &[Action::Read], 60_000);
    let (_, person) = house.token(&ana.session, &[Action::Provision], 60_000);
    for (by, status) in [
        (By::Nobody, 401),
        (By::Token(&narrow), 403),
        (By::Token(&person), 403),
        (By::Session(&ana.session), 403),
        (By::Token("rf_api_not-a-token_at-all_00000000"), 401),
    ] {
        for target in ["/scim/v2/Users", "/scim/v2/Groups/d-1"] {
            let reply = house.call("GET", target, by, None).await;
            assert_eq!((reply.status, &reply.json()["schemas"][0]), (status, &json!(ERROR)), "{by:?} {reply:?}");
            assert_eq!(reply.json()["status"], json!(status.to_string()));
            assert_eq!(reply.headers.contains_key("www-authenticate"), status == 401);
        }
    }
    // The token is good for nothing else.
    for target in ["/api/v1/people", "/api/v1/trail", "/api/v1/artifacts"] {
        assert_eq!(house.call("GET", target, By::Token(&directory.token), None).await.status, 403, "{target}");
    }
    let asked = directory.ask("GET", "/ServiceProviderConfig", None).await.json();
    assert_eq!((&asked["patch"]["supported"], &asked["bulk"]["supported"]), (&json!(true), &json!(false)));
    assert_eq!(directory.ask("GET", "/ResourceTypes", None).await.json()["totalResults"], 2);
    assert_eq!(directory.ask("GET", "/Schemas", None).await.json()["totalResults"], 2);
    assert_eq!(directory.ask("GET", "/Bulk", None).await.json()["schemas"][0], json!(ERROR));
}

#[tokio::test]
async fn what_is_odd_is_refused_in_scim_s_words() {
    let (house, ana) = House::with_owner::<49>();
    let directory = Directory::new(&house, &ana);
    let id = directory.bring("dee").await;
    let group = directory.group("ml", &[]).await;
    let (user, group) = (format!("/Users/{id}"), format!("/Groups/{group}"));
    let operation = |operation: Value| Some(json!({"Operations": [operation]}));
    let many: Vec<Value> =
        (0..=shape::OPERATIONS_MAX).map(|_| json!({"op": "add", "path": "active", "value": true})).collect();
    let crowd: Vec<Value> = (0..=shape::MEMBERS_MAX).map(|number| json!(number.to_string())).collect();
    let cases = [
        ("GET", "/Users?filter=userName%20ew%20%22a%22", None, 400, "invalidFilter"),
        ("GET", "/Users?filter=userName%20eq%20%22a%22%20and", None, 400, "invalidFilter"),
        ("GET", "/Users?filter=active%20co%20%22t%22", None, 400, "invalidFilter"),
        ("GET", "/Users?filter=userName%20pr%20pr", None, 400, "invalidFilter"),
        ("GET", "/Users?filter=userName%20eq%20a", None, 400, "invalidFilter"),
        ("GET", "/Users?filter=userName%20eq%20%22a%22%20or%20id%20eq%20%22b%22", None, 400, "invalidFilter"),
        ("GET", "/Users?filter=password%20eq%20%22a%22", None, 400, "invalidFilter"),
        ("GET", "/Groups?filter=userName%20eq%20%22a%22", None, 400, "invalidFilter"),
        ("POST", "/Users", Some(json!([])), 400, "invalidSyntax"),
        ("POST", "/Users", Some(json!({})), 400, "invalidValue"),
        ("POST", "/Users", Some(json!({"userName": 7})), 400, "invalidValue"),
        ("POST", "/Users", Some(json!({"userName": "a b"})), 400, "invalidValue"),
        ("POST", "/Users", Some(json!({"userName": "x".repeat(3_000)})), 400, "invalidValue"),
        ("POST", "/Users", Some(json!({"userName": "setup"})), 409, "uniqueness"),
        ("POST", "/Users", Some(json!({"userName": "okta"})), 409, "uniqueness"),
        ("POST", "/Users", Some(json!({"userName": "e", "displayName": "\u{202e}e"})), 400, "invalidValue"),
        ("PATCH", &user, Some(json!({})), 400, "invalidSyntax"),
        ("PATCH", &user, operation(json!({"op": "move", "path": "active"})), 400, "invalidSyntax"),
        ("PATCH", &user, operation(json!({"op": "replace", "path": "active", "value": "maybe"})), 400, "invalidValue"),
        ("PATCH", &user, operation(json!({"op": "replace", "path": "shoeSize", "value": 44})), 400, "invalidPath"),
        ("PATCH", &user, operation(json!({"op": "remove", "path": "userName"})), 400, "mutability"),
        ("PATCH", &user, operation(json!({"op": "remove"})), 400, "noTarget"),
        ("PATCH", &user, operation(json!({"op": "replace", "path": "userName", "value": "ana"})), 409, "uniqueness"),
        ("PATCH", &user, Some(json!({"Operations": many})), 400, "invalidValue"),
        ("POST", "/Groups", Some(json!({"displayName": " "})), 400, "invalidValue"),
        ("POST", "/Groups", Some(json!({"displayName": "ml"})), 409, "uniqueness"),
        ("PATCH", &group, operation(json!({"op": "remove", "path": "members[value co \"a\"]"})), 400, "invalidPath"),
        ("PATCH", &group, operation(json!({"op": "add", "path": "members[value eq \"a\"]"})), 400, "invalidPath"),
        ("PATCH", &group, operation(json!({"op": "add", "path": "members", "value": crowd})), 400, "invalidValue"),
        ("PATCH", &group, operation(json!({"op": "add", "path": "members", "value": [{"value": "p-0"}]})), 404, ""),
        ("PATCH", "/Groups/d-0", operation(json!({"op": "replace", "path": "displayName", "value": "x"})), 404, ""),
        ("GET", "/Users/p-0", None, 404, ""),
        ("DELETE", "/Users/okta", None, 404, ""),
    ];
    for (verb, target, body, status, why) in cases {
        let before = house.vault.people().unwrap().len();
        let reply = directory.ask(verb, target, body).await;
        let said = reply.json();
        assert_eq!(
            (reply.status, said["scimType"].as_str().unwrap_or_default()),
            (status, why),
            "{verb} {target} {reply:?}"
        );
        assert_eq!((&said["schemas"][0], &said["status"]), (&json!(ERROR), &json!(status.to_string())));
        assert_eq!(house.vault.people().unwrap().len(), before);
    }
    let xml = Request::builder()
        .method("POST")
        .uri("/scim/v2/Users")
        .header("host", "localhost:8443")
        .header("content-type", "text/xml")
        .header("authorization", format!("Bearer {}", directory.token));
    assert_eq!(house.send(xml.body(Body::from("<a/>")).unwrap()).await.status, 415);
}

#[tokio::test]
async fn a_large_group_moves_in_several_entries() {
    let (house, ana) = House::with_owner::<50>();
    let directory = Directory::new(&house, &ana);
    directory.roles("ml = [\"researcher\"]");
    let mut ids = Vec::new();
    for number in 0..120 {
        ids.push(directory.bring(&format!("p{number}")).await);
    }
    let page = directory.ask("GET", "/Users?startIndex=101&count=10&attributes=userName", None).await.json();
    assert_eq!((page["totalResults"].as_u64(), page["Resources"].as_array().unwrap().len()), (Some(121), 10));
    assert_eq!(page["Resources"][0].as_object().unwrap().keys().collect::<Vec<_>>(), ["schemas", "id", "userName"]);
    let members: Vec<&str> = ids.iter().map(String::as_str).collect();
    let group = directory.group("ml", &members).await;
    assert!(ids.iter().all(|id| directory.roles_of(id) == [Role::Researcher]));
    let body = json!({"displayName": "ml", "members": [{"value": ids[0]}]});
    let put = directory.ask("PUT", &format!("/Groups/{group}"), Some(body)).await.json();
    assert_eq!(put["members"].as_array().unwrap().len(), 1);
    assert!(ids[1..].iter().all(|id| directory.roles_of(id).is_empty()));
    assert!(house.vault.verify_trail().unwrap().checks.iter().all(|check| check.passed));
    assert!(house.vault.person(PersonId::from(ids[0].as_str()).as_str()).is_ok());
}

proptest! {
    #[test]
    fn any_document_is_read_or_refused(text in any::<String>(), key in "(Operations|members|op|path|value|active|userName|[a-z]{1,8})",
        word in "(add|Replace|remove|members\\[value eq \"|\"\\]|members|active|true|\\PC{0,12})") {
        let values = [json!(text), json!([word]), json!({key.as_str(): word}), json!({key.as_str(): [text]}), Value::Null];
        for value in &values {
            let operation = json!({"Operations": [{"op": word, "path": text, "value": value}, {"op": "add", "path": word, key.as_str(): value}]});
            for document in [value, &operation] {
                let _ = (shape::user(document), shape::group(document));
                let _ = (shape::patched_user(document), shape::patched_group(document));
            }
        }
        let _ = query::filter(&text, query::Of::Users);
        let _ = query::filter(&format!("userName eq {text}"), query::Of::Groups);
    }
}
