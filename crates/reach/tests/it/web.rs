//! Files by link, catalogues of archives, and what lies here already.

use ringfence_reach::testing::{Fault, Reply, Server, open_settings};
use ringfence_reach::{Checked, HashRule, PathFault, ReachError, Resume, Revision, Settings};
use ringfence_schema::Digest;

use crate::world::{fetch, reach, source};

fn server(body: &'static [u8]) -> Server {
    Server::start(0, move |request| match request.path.as_str() {
        "/models/net.onnx" => Reply::new(200, body).with("etag", "\"one\""),
        path if path.ends_with("/download") => Reply::new(302, &b""[..]).with("location", "/storage/archive"),
        "/google/text/5" => Reply::new(302, &b""[..]).with("location", "/storage/archive"),
        "/storage/archive" => Reply::new(200, &b"archive"[..]),
        _ => Reply::new(404, &b""[..]),
    })
    .unwrap()
}

/// The policy of sources speaks of `https`; these tests have no certificates.
fn settings(server: &Server) -> Settings {
    let mut settings = open_settings(&[server.port()]);
    settings.trusted.allow.push("http://127.0.0.1:*".into());
    settings
}

#[test]
fn a_link_with_its_hash_is_fetched() {
    let server = server(b"weights");
    let reach = reach(settings(&server));
    let digest = Digest::of(b"weights");
    let text = format!("{}/models/net.onnx#sha256={}", server.origin(), digest.hex());
    let listing = reach.listing(&source(&text)).unwrap();
    assert_eq!((listing.files[0].path.as_str(), listing.files[0].size), ("net.onnx", Some(7)));
    assert_eq!(listing.revision, Revision::Sha256(digest));
    let (bytes, fetched) = fetch(&reach, &listing.files[0]).unwrap();
    assert_eq!((bytes.as_slice(), fetched.checked), (&b"weights"[..], Checked::Sha256));
    let wrong = format!("{}/models/net.onnx#sha256={}", server.origin(), Digest::of(b"other").hex());
    let error = fetch(&reach, &reach.listing(&source(&wrong)).unwrap().files[0]).unwrap_err();
    assert!(matches!(error, ReachError::HashMismatch { .. }), "{error}");
}

#[test]
fn a_link_without_a_hash_needs_a_policy_that_accepts_it() {
    let server = server(b"weights");
    let text = format!("{}/models/net.onnx", server.origin());
    let strict = reach(settings(&server));
    let error = fetch(&strict, &strict.listing(&source(&text)).unwrap().files[0]).unwrap_err();
    assert!(matches!(error, ReachError::Unhashed { .. }), "{error}");
    assert!(error.remedy().unwrap().contains("#sha256="));
    let mut settings = settings(&server);
    settings.trusted.hash = HashRule::Optional;
    let lenient = reach(settings);
    let listing = lenient.listing(&source(&text)).unwrap();
    let (_, fetched) = fetch(&lenient, &listing.files[0]).unwrap();
    assert_eq!((fetched.checked, fetched.sha256), (Checked::Nothing, Digest::of(b"weights")));
    server.spoil("net.onnx", 1, Fault::Header("etag", "\"two\"".into()));
    let error = fetch(&lenient, &listing.files[0]).unwrap_err();
    assert!(matches!(error, ReachError::Changed { .. }), "{error}");
}

#[test]
fn plain_http_needs_a_policy_that_names_it() {
    let server = server(b"weights");
    let text = format!("{}/models/net.onnx", server.origin());
    let error = reach(open_settings(&[server.port()])).listing(&source(&text)).unwrap_err();
    assert!(matches!(error, ReachError::Untrusted(_)), "{error}");
    let mut settings = settings(&server);
    settings.egress = ringfence_reach::EgressPolicy::default();
    assert!(matches!(reach(settings).listing(&source(&text)), Err(ReachError::Denied(_))));
}

#[test]
fn catalogues_hand_out_archives() {
    let server = server(b"");
    let mut settings = settings(&server);
    settings.catalogues.kaggle = server.origin();
    settings.catalogues.tfhub = server.origin();
    let reach = reach(settings);
    let hash = Digest::of(b"archive").hex();
    for text in [
        format!("kaggle://google/bert/tensorFlow2/base/3#sha256={hash}"),
        format!("tfhub://google/text/5#sha256={hash}"),
    ] {
        let listing = reach.listing(&source(&text)).unwrap();
        assert_eq!(listing.files[0].path, "model.tar.gz");
        assert!(matches!(listing.revision, Revision::Version(_)));
        assert_eq!(fetch(&reach, &listing.files[0]).unwrap().0, b"archive");
    }
    assert!(
        server.log().iter().any(|asked| asked.line == "GET /api/v1/models/google/bert/tensorFlow2/base/3/download")
    );
    assert!(server.log().iter().any(|asked| asked.line == "GET /google/text/5?tf-hub-format=compressed"));
}

#[test]
fn local_folders_are_listed_and_their_links_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::fs::write(folder.path().join("sub/a.txt"), b"text").unwrap();
    let reach = reach(Settings::default());
    let place = source(&format!("file:{}", folder.path().display()));
    let listing = reach.listing(&place).unwrap();
    assert_eq!(listing.files[0].path, "sub/a.txt");
    let (bytes, fetched) = fetch(&reach, &listing.files[0]).unwrap();
    assert_eq!((bytes.as_slice(), fetched.checked), (&b"text"[..], Checked::Nothing));
    let mut before = &b"te"[..];
    let mut out = b"te".to_vec();
    reach.fetch(&listing.files[0], &mut out, Resume::After(&mut before), &mut |_| {}).unwrap();
    assert_eq!(out, b"text");
    std::fs::write(folder.path().join("sub/a.txt"), b"longer text").unwrap();
    assert!(matches!(fetch(&reach, &listing.files[0]), Err(ReachError::Changed { .. })));
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("sub/link")).unwrap();
    let error = reach.listing(&place).unwrap_err();
    assert!(matches!(error, ReachError::Path { fault: PathFault::NotAFile, .. }), "{error}");
}
