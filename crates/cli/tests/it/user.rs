//! `user ls` and `user can` in a vault of one person.

use crate::home::Home;

#[test]
fn any_decision_is_explained() {
    let home = Home::new();
    home.run(&["init"]).exits(0);
    let may = home.run(&["user", "can", "owner", "configure", "vault", "--why"]).exits(0).out();
    assert!(may.contains("owner may configure vault") && may.contains("owner-may"), "{may}");
    let not = home.run(&["user", "can", "me", "breakglass", "vault"]).exits(1).out();
    assert!(not.contains("may not") && not.contains("there is nobody to ask"), "{not}");
    let json = home.run(&["user", "can", "me", "ask", "vault", "--format", "json"]).exits(1).out();
    let body: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(body["schema"], "ringfence.can/1");
    assert_eq!(body["decision"]["allow"], false);
    home.run(&["user", "can", "nobody", "read", "vault"]).exits(2);
    home.run(&["user", "can", "owner", "dance", "vault"]).exits(2);
    home.run(&["user", "can", "owner", "read", "model/none"]).exits(2);
    assert!(home.run(&["user", "ls"]).exits(0).out().contains("one person"));
    let trail = home.run(&["trail", "ls"]).exits(0).out();
    assert!(trail.contains("read"), "{trail}");
}
