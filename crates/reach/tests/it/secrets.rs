//! Where credentials come from, and that they go nowhere else.

use std::collections::BTreeMap;

use ringfence_reach::{Secret, Secrets, TokenSource};

fn gather(token: &TokenSource, profile: Option<&str>, variables: &[(&str, &str)]) -> Result<Secrets, String> {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    Secrets::gather(token, profile, &|name| variables.get(name).map(|value| (*value).to_owned()))
        .map_err(|error| error.to_string())
}

#[test]
fn the_environment_is_what_it_is_told_to_be() {
    let none = gather(&TokenSource::Environment, None, &[]).unwrap();
    assert!(none.hub.is_none() && none.s3.is_none());
    assert!(gather(&TokenSource::None, None, &[("HF_TOKEN", "hf_x")]).unwrap().hub.is_none());
    assert!(gather(&TokenSource::Environment, None, &[("HF_TOKEN", "hf_x")]).unwrap().hub.is_some());
    let keys = [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "topsecret")];
    let found = gather(&TokenSource::Environment, None, &keys).unwrap();
    let shown = format!("{found:?}");
    assert!(found.s3.is_some() && !shown.contains("topsecret") && shown.contains("redacted"), "{shown}");
}

#[test]
fn files_and_commands_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "hf_file\n").unwrap();
    let path = token.to_str().unwrap();
    assert!(gather(&TokenSource::File(token.clone()), None, &[]).unwrap().hub.is_some());
    assert!(gather(&TokenSource::Environment, None, &[("HF_TOKEN_PATH", path)]).unwrap().hub.is_some());
    let home = folder.path().to_str().unwrap();
    assert!(gather(&TokenSource::Environment, None, &[("HF_HOME", home)]).unwrap().hub.is_some());
    let command = |words: &[&str]| TokenSource::Command(words.iter().map(|word| (*word).to_owned()).collect());
    assert!(gather(&command(&["cat", path]), None, &[]).unwrap().hub.is_some());
    for wrong in [&["false"][..], &[], &["/no/such/program"], &["true"]] {
        assert!(gather(&command(wrong), None, &[]).is_err(), "{wrong:?}");
    }
    std::fs::write(&token, "two words").unwrap();
    let error = gather(&TokenSource::File(token), None, &[]).unwrap_err();
    assert!(!error.contains("two words"), "{error}");
}

#[test]
fn profiles_are_found_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    let text = "[default]\naws_access_key_id = A\naws_secret_access_key = B\n[other]\naws_access_key_id=C\n";
    std::fs::write(&file, text).unwrap();
    let at = [("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())];
    assert!(gather(&TokenSource::None, None, &at).unwrap().s3.is_some());
    assert!(gather(&TokenSource::None, Some("default"), &at).unwrap().s3.is_some());
    assert!(gather(&TokenSource::None, Some("other"), &at).is_err());
    assert!(gather(&TokenSource::None, Some("missing"), &[]).is_err());
}

#[test]
fn a_secret_fits_into_a_header() {
    for wrong in ["", " ", "a b", "a\r\nb: c", "\u{e9}"] {
        assert!(Secret::new("test", wrong.to_owned().into()).is_err(), "{wrong:?}");
    }
}
