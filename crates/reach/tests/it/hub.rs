//! The Hub: pinning, listing, fetching, tokens, paging.

use ringfence_reach::testing::{Fault, Reply};
use ringfence_reach::{
    Checked, Listing, ReachError, Revision, RevisionRule, Settings, TrustRule, TrustedSources, diff, is_commit,
};
use ringfence_schema::Digest;

use crate::world::{MODEL, WEIGHTS, content, fetch, hub, reach, source, weights, with_token};

#[test]
fn a_branch_is_pinned_to_its_commit() {
    let hub = hub();
    let reach = reach(hub.settings());
    let listing = reach.listing(&source("hf://acme/digits@main")).unwrap();
    let Revision::Commit(commit) = &listing.revision else { panic!("{:?}", listing.revision) };
    assert!(is_commit(commit));
    assert_eq!(listing.source.to_string(), format!("hf://acme/digits@{commit}"));
    let paths: Vec<&str> = listing.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["config.json", WEIGHTS, "sub/notes.txt"]);
    assert_eq!(listing.size(), 8 + (1 << 20) + 5);
    // The branch moves on, the pinned source does not.
    hub.put(MODEL, &[("config.json", b"{}")]);
    assert_eq!(reach.listing(&listing.source).unwrap(), listing);
    let (bytes, _) = fetch(&reach, listing.file("config.json").unwrap()).unwrap();
    assert_eq!(bytes, b"{\"a\": 1}");
}

#[test]
fn files_are_checked_against_the_hubs_own_hashes() {
    let hub = hub();
    let reach = reach(hub.settings());
    let listing = reach.listing(&source("hf://acme/digits")).unwrap();
    for file in &listing.files {
        let (bytes, fetched) = fetch(&reach, file).unwrap();
        assert_eq!(fetched.sha256, Digest::of(&bytes));
        assert_eq!(fetched.bytes, file.size.unwrap());
        let wanted = if file.path == WEIGHTS { Checked::Sha256 } else { Checked::GitBlob };
        assert_eq!(fetched.checked, wanted, "{}", file.path);
    }
    assert_eq!(fetch(&reach, listing.file(WEIGHTS).unwrap()).unwrap().0, content(1 << 20));
}

#[test]
fn empty_files_and_datasets_are_fetched() {
    let hub = hub();
    hub.put("datasets/acme/words", &[("empty.txt", b""), ("empty.bin", b""), ("a b/#?%.txt", b"odd")]);
    let reach = reach(hub.settings());
    let mut settings_odd = 0;
    let listing = reach.listing(&source("hf://datasets/acme/words"));
    // `?` is a name that Windows cannot hold: the listing says so rather than dropping the file.
    assert!(matches!(listing, Err(ReachError::Path { .. })), "{listing:?}");
    hub.put("datasets/acme/words", &[("empty.txt", b""), ("empty.bin", b""), ("a b/#%41+é.txt", b"odd")]);
    for file in &reach.listing(&source("hf://datasets/acme/words")).unwrap().files {
        fetch(&reach, file).unwrap_or_else(|error| panic!("{}: {error}", file.path));
        settings_odd += 1;
    }
    assert_eq!(settings_odd, 3);
}

#[test]
fn a_tree_of_many_pages_is_read_to_its_end() {
    let hub = hub();
    let names: Vec<String> = (0..57).map(|number| format!("data/{number:03}.txt")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    hub.put("datasets/acme/many", &files);
    hub.page_entries(10);
    let listing = reach(hub.settings()).listing(&source("hf://datasets/acme/many")).unwrap();
    assert_eq!(listing.files.len(), 57);
    let pages = hub.api.log().iter().filter(|asked| asked.line.contains("/tree/")).count();
    assert_eq!(pages, 6);
}

#[test]
fn a_next_page_elsewhere_is_not_followed() {
    let hub = hub();
    let link = format!("<{}/api/more>; rel=\"next\"", hub.storage.origin());
    hub.api.spoil("/tree/", 1, Fault::Header("link", link));
    let error = with_token(hub.settings(), "hf_secret").listing(&source("hf://acme/digits")).unwrap_err();
    assert!(matches!(error, ReachError::Malformed { .. }), "{error}");
    assert!(hub.storage.log().is_empty());
}

#[test]
fn pages_that_never_end_are_left() {
    let hub = hub();
    hub.api.spoil("/tree/", 5_000, Fault::Header("link", "<?cursor=1>; rel=\"next\"".into()));
    let error = reach(hub.settings()).listing(&source("hf://acme/digits")).unwrap_err();
    assert!(matches!(error, ReachError::TooMany { .. } | ReachError::Path { .. }), "{error}");
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let hub = hub();
    hub.gate(MODEL, "hf_secret");
    let error = reach(hub.settings()).listing(&source("hf://acme/digits")).unwrap_err();
    assert!(
        matches!(&error, ReachError::Status { status: 403, said, .. } if said == "access is restricted"),
        "{error}"
    );
    assert!(error.remedy().unwrap().contains("HF_TOKEN"));
    let reach = with_token(hub.settings(), "hf_secret");
    fetch(&reach, &weights(&reach)).unwrap();
    let shown = |log: Vec<ringfence_reach::testing::Asked>| log.iter().any(|asked| asked.authorization.is_some());
    assert!(shown(hub.api.log()));
    assert!(!hub.storage.log().is_empty());
    assert!(!shown(hub.storage.log()), "storage is another origin");
}

#[test]
fn a_commit_that_answers_for_another_is_refused() {
    let hub = hub();
    let reach = reach(hub.settings());
    let first = reach.listing(&source("hf://acme/digits")).unwrap();
    let other = "0123456789012345678901234567890123456789";
    let reply = Reply::json(&serde_json::json!({"sha": other}));
    hub.api.spoil("/revision/", 1, Fault::Instead(reply.clone()));
    let error = reach.listing(&first.source).unwrap_err();
    assert!(matches!(error, ReachError::Pin { .. }), "{error}");
    hub.api.spoil("/revision/", 1, Fault::Instead(Reply::json(&serde_json::json!({"sha": "main"}))));
    assert!(matches!(reach.listing(&first.source), Err(ReachError::Malformed { .. })));
}

#[test]
fn a_file_that_changes_after_the_listing_is_refused() {
    let hub = hub();
    let reach = reach(hub.settings());
    let file = weights(&reach);
    for (name, value) in [
        ("x-repo-commit", "0123456789012345678901234567890123456789"),
        ("x-linked-size", "5"),
        ("x-linked-etag", "\"0000000000000000000000000000000000000000000000000000000000000000\""),
    ] {
        hub.api.spoil("/resolve/", 1, Fault::Header(name, value.into()));
        let error = fetch(&reach, &file).unwrap_err();
        assert!(matches!(error, ReachError::Changed { .. }), "{name}: {error}");
    }
    assert_eq!(hub.storage.sent("Signature"), 0, "no content was taken");
}

#[test]
fn policies_of_sources_are_judged_before_anything_is_sent() {
    let hub = hub();
    let trusted = |trusted| reach(Settings { trusted, ..hub.settings() });
    let only = TrustedSources { allow: vec!["hf://google/*".into()], ..TrustedSources::default() };
    let error = trusted(only).listing(&source("hf://acme/digits")).unwrap_err();
    assert!(matches!(&error, ReachError::Untrusted(refused) if refused.rule == TrustRule::NotAllowed));
    assert!(error.remedy().unwrap().contains("hf://acme/digits"));
    let without = TrustedSources { deny: vec!["hf://acme/*".into()], ..TrustedSources::default() };
    assert!(matches!(trusted(without).listing(&source("hf://acme/digits")), Err(ReachError::Untrusted(_))));
    let firm = trusted(TrustedSources { revision: RevisionRule::Commit, ..TrustedSources::default() });
    assert!(matches!(firm.listing(&source("hf://acme/digits@main")), Err(ReachError::Untrusted(_))));
    assert!(matches!(firm.listing(&source("hf://acme/digits")), Err(ReachError::Untrusted(_))));
    assert!(hub.api.log().is_empty());
    let commit = reach(hub.settings()).listing(&source("hf://acme/digits")).unwrap().source;
    firm.listing(&commit).unwrap();
}

#[test]
fn a_repository_that_moved_is_not_followed() {
    let hub = hub();
    let commit = hub.put("models/evil/digits", &[("model.safetensors", b"other")]);
    let trusted = TrustedSources { allow: vec!["hf://acme/*".into()], ..TrustedSources::default() };
    let reach = reach(Settings { trusted, ..hub.settings() });
    for (part, revision) in [("/revision/", "main"), ("/tree/", commit.as_str())] {
        let place = format!("/api/models/evil/digits{part}{revision}");
        hub.api.spoil(part, 1, Fault::Instead(Reply::new(307, &b""[..]).with("location", place)));
        let error = reach.listing(&source("hf://acme/digits")).unwrap_err();
        assert!(matches!(&error, ReachError::Moved { asked, .. } if asked == "hf://acme/digits"), "{error}");
    }
}

#[test]
fn what_is_not_there_is_told_in_the_hubs_words() {
    let hub = hub();
    let reach = reach(hub.settings());
    for (text, words) in [("hf://acme/none", "Repository not found"), ("hf://acme/digits@v9", "Invalid rev id")] {
        let error = reach.listing(&source(text)).unwrap_err();
        assert!(matches!(&error, ReachError::Status { status: 404, said, .. } if said == words), "{error}");
    }
}

#[test]
fn the_newest_revision_is_compared_with_an_older_look() {
    let hub = hub();
    let reach = reach(hub.settings());
    let old = reach.listing(&source("hf://acme/digits")).unwrap();
    // A listing survives being written down; only its links do not.
    let kept: Listing = serde_json::from_str(&serde_json::to_string(&old).unwrap()).unwrap();
    assert!(diff(&kept, &reach.latest(&kept.source).unwrap()).is_empty());
    let unlinked = kept.file(WEIGHTS).unwrap();
    assert!(matches!(fetch(&reach, unlinked), Err(ReachError::Changed { .. })));
    hub.put(MODEL, &[("config.json", b"{\"a\": 1}"), (WEIGHTS, &content(1 << 19)), ("README.md", b"new")]);
    let new = reach.latest(&kept.source).unwrap();
    assert_ne!(new.revision, kept.revision);
    let found = diff(&kept, &new);
    assert_eq!((found.added, found.removed), (vec!["README.md".to_owned()], vec!["sub/notes.txt".to_owned()]));
    assert_eq!((found.changed, found.unchanged), (vec![WEIGHTS.to_owned()], 1));
}
