//! Files, paths, contents, and what leaves in answers and exports.

use std::{os::unix::fs::PermissionsExt as _, time::Instant};

use axum::{body::Body, extract::Request};
use ringfence_engine::{
    access::{Action, Role},
    trail::{Filter, Shape},
};
use ringfence_server::{
    guard::json::{DEPTH_MAX, ITEMS_MAX, JSON_BYTES_MAX},
    routes::{Intake, Permission, Verb},
};
use serde_json::json;

use super::doors::concrete;
use crate::house::{By, House, SITE, everything};

/// Ways to write `.`, `/` and what stands around them.
const DOTS: [&str; 12] = [
    "..",
    "%2e%2e",
    "%2E.",
    ".%2e",
    "%252e%252e",
    "%c0%ae%c0%ae",
    "%u002e%u002e",
    "%uff0e%uff0e",
    "...",
    "%2e%2e%00",
    "..;",
    "..%3b",
];
const SLASHES: [&str; 13] =
    ["%2f", "%5c", "%252f", "%255c", "%c0%af", "%e0%80%af", "\\", "/", "//", "%2f%2f", ";/", "%23/", "%3f/"];
const ENDS: [&str; 4] = ["etc%2fpasswd", "vault%2fcatalog.sqlite", "file.txt%00.json", "C:%5cwindows%5cwin.ini"];
/// Wholes of other kinds: drives, shares, schemes, devices, parameters, fragments, query tricks.
const WHOLES: [&str; 12] = [
    "%5c%5cserver%5cshare",
    "file:%2f%2f%2fetc%2fpasswd",
    "%2fproc%2fself%2fenviron",
    "C:%2f",
    "a%00b",
    "a%0d%0ab",
    "a;b=c",
    "%23",
    "a%3fb",
    "%7e%2f.ssh",
    "%2e",
    "NUL%2f",
];

#[tokio::test]
async fn cve_2023_1177_path_traversal() {
    let (house, ana) = House::with_owner::<16>();
    let mut texts: Vec<String> = WHOLES.iter().map(ToString::to_string).collect();
    for dots in DOTS {
        for slash in SLASHES {
            for end in ENDS {
                texts.push(format!("{dots}{slash}{dots}{slash}{end}"));
            }
        }
    }
    let before = house.state().1;
    let mut tried = 0;
    for route in everything(&house.app).iter() {
        let parts: Vec<&str> = route.path().split('/').collect();
        for at in (0..parts.len()).filter(|at| parts[*at].starts_with('{')) {
            // Every part of one route in each group takes all of the table; the others a share, in turn.
            let step = if route.path().ends_with("{who}") || route.path().ends_with("{version}") { 1 } else { 7 };
            for text in texts.iter().skip(tried % step).step_by(step) {
                let filled: Vec<&str> = parts
                    .iter()
                    .enumerate()
                    .map(|(index, part)| match part {
                        _ if index == at => text.as_str(),
                        part if part.starts_with('{') => "1",
                        part => part,
                    })
                    .collect();
                let Ok(request) = Request::builder()
                    .method(route.verb().name())
                    .uri(filled.join("/"))
                    .header("host", "localhost:8443")
                    .header("origin", SITE)
                    .header("cookie", format!("__Host-ringfence={}", ana.session))
                    .body(Body::empty())
                else {
                    // No request line can say it.
                    tried += 1;
                    continue;
                };
                let reply = house.send(request).await;
                assert!((400..500).contains(&reply.status), "{route:?} {text}: {reply:?}");
                assert!(!reply.body.contains("root:") && !reply.body.contains("SQLite"), "{reply:?}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 2_000, "{tried}");
    assert_eq!(house.state().1, before);
}

#[tokio::test]
async fn cve_2026_2393_requests_to_inner_places() {
    let (house, ana) = House::with_owner::<17>();
    let described = house.call("GET", "/api/v1/openapi.json", By::Nobody, None).await.json();
    // No document that comes in has a field for an address to call; a new one has to be argued for here.
    let text = described["paths"].to_string().to_lowercase();
    for word in
        ["\"url\"", "\"uri\"", "\"webhook\"", "\"callback\"", "\"endpoint\"", "\"remote\"", "\"proxy\"", "\"host\""]
    {
        assert!(!text.contains(word), "{word}");
    }
    // The vault's way out answers with an error that no answer may show, because nobody asks for it.
    for route in everything(&house.app).iter() {
        let body = json!({"url": "http://169.254.169.254/latest/meta-data", "source": "http://localhost:1/"});
        let target = format!("{}?url=http://169.254.169.254/&source=http://[::1]/", concrete(route.path()));
        for by in [By::Nobody, By::Session(&ana.session)] {
            let body = (route.intake() == Intake::Json).then_some(&body);
            let reply = house.call(route.verb().name(), &target, by, body).await;
            assert!(!reply.body.contains("nothing is fetched here"), "{route:?}: {reply:?}");
            assert!(reply.status != 503, "{route:?}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn cve_2023_6019_command_injection() {
    let (house, ana) = House::with_owner::<18>();
    let by = By::Session(&ana.session);
    let mark = house.folder.path().join("made-by-a-shell");
    let mark = mark.to_str().unwrap();
    for text in [
        format!("$(touch {mark})"),
        format!("`touch {mark}`"),
        format!("; touch {mark};"),
        format!("| touch {mark}"),
        format!("\n touch {mark}"),
        format!("' && touch {mark} '"),
        format!("--output={mark}"),
        format!("-x @{mark}"),
    ] {
        let escape =
            |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02X}") };
        let escaped: String = text.bytes().map(escape).collect();
        for (verb, target, body) in [
            ("POST", "/api/v1/people".to_owned(), Some(json!({"name": text, "display": text, "roles": []}))),
            ("POST", "/api/v1/tokens".to_owned(), Some(json!({"label": text, "days": 1, "scope": ["read"]}))),
            ("GET", format!("/api/v1/artifacts/model/{escaped}/1"), None),
            ("GET", format!("/api/v1/runs/{escaped}"), None),
            ("GET", format!("/api/v1/trail?who={escaped}&artifact={escaped}"), None),
            ("GET", format!("/api/v1/trail?since={escaped}"), None),
        ] {
            let reply = house.call(verb, &target, by, body.as_ref()).await;
            assert!(reply.status < 500, "{target}: {reply:?}");
        }
    }
    assert!(!std::path::Path::new(mark).exists());
}

#[tokio::test]
async fn cve_2024_37052_unsafe_deserialisation() {
    let (house, ana) = House::with_owner::<19>();
    // A pickle that calls `os.system`, one in base 64 within JSON, Java's and PHP's serial forms, YAML tags, XML entities.
    let bodies: [(&str, &[u8]); 7] = [
        ("application/octet-stream", b"\x80\x04cos\nsystem\n(S'id'\ntR."),
        ("application/json", b"\x80\x04cos\nsystem\n(S'id'\ntR."),
        ("application/json", br#"{"py/object": "os.system", "__class__": "x", "$type": "System.Diagnostics.Process"}"#),
        ("application/x-java-serialized-object", b"\xac\xed\x00\x05sr"),
        ("application/json", br#"O:8:"stdClass":0:{}"#),
        ("application/x-yaml", b"!!python/object/apply:os.system [id]"),
        ("application/xml", br#"<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>"#),
    ];
    let before = house.state().1;
    for route in everything(&house.app).iter() {
        for (media_type, body) in bodies {
            let request = Request::builder().method(route.verb().name()).uri(concrete(route.path()));
            let request =
                request.header("host", "localhost:8443").header("origin", SITE).header("content-type", media_type);
            let request = request.header("cookie", format!("__Host-ringfence={}", ana.session)).body(Body::from(body));
            let reply = house.send(request.unwrap()).await;
            // A passkey's login begins with nothing in particular.
            let begins = route.path() == "/sign-in/passkey/begin" && reply.json()["ceremony"].is_string();
            assert!(begins || (400..500).contains(&reply.status), "{route:?} {media_type}: {reply:?}");
        }
    }
    assert_eq!(house.state().1, before);
}

#[tokio::test]
async fn cve_2023_6568_script_in_answers() {
    let (house, ana) = House::with_owner::<20>();
    let by = By::Session(&ana.session);
    let script = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let body = json!({"name": "ben", "display": script, "roles": []});
    assert_eq!(house.call("POST", "/api/v1/people", by, Some(&body)).await.status, 201);
    let escaped: String = script.bytes().filter(|byte| *byte != b'/').map(|byte| format!("%{byte:02X}")).collect();
    for route in everything(&house.app).iter() {
        for (query, accept) in [("", "text/html"), ("", "*/*"), (escaped.as_str(), "text/html")] {
            let target = format!("{}?q={query}", concrete(route.path()));
            let request = Request::builder().method(route.verb().name()).uri(target).header("host", "localhost:8443");
            let request = request.header("accept", accept).header("origin", SITE);
            let request = request.header("cookie", format!("__Host-ringfence={}", ana.session)).body(Body::empty());
            let reply = house.send(request.unwrap()).await;
            let kind = reply.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
            let is_page = !["/api/", "/scim/", "/health/"].iter().any(|place| route.path().starts_with(place));
            assert!(is_page || !kind.starts_with("text/html"), "{route:?}: {reply:?}");
            assert!(!reply.body.contains("<script>alert") || kind.starts_with("application/"), "{route:?}");
            assert!(!reply.body.contains("<img"), "{route:?}: {reply:?}");
            assert_eq!(reply.headers["x-content-type-options"], "nosniff", "{route:?}");
            let policy = reply.headers["content-security-policy"].to_str().unwrap();
            for part in [
                "default-src 'none'",
                "script-src 'self'",
                "frame-ancestors 'none'",
                "require-trusted-types-for 'script'",
            ] {
                assert!(policy.contains(part), "{policy}");
            }
            assert!(!policy.contains("unsafe"), "{policy}");
            assert!(!reply.body.contains("<script>") || kind.starts_with("application/"), "{reply:?}");
        }
    }
}

#[tokio::test]
async fn cve_2024_24593_forged_requests() {
    let (house, ana) = House::with_owner::<21>();
    let before = house.state();
    let mut unsafe_routes = 0;
    for route in everything(&house.app).iter().filter(|route| route.verb() != Verb::Get) {
        unsafe_routes += 1;
        let forgeries: [&[(&str, &str)]; 8] = [
            &[],
            &[("origin", "https://attacker.example")],
            &[("origin", "null")],
            &[("origin", "http://localhost:8443")],
            &[("origin", "https://localhost:8444")],
            &[("origin", "https://localhost:8443.attacker.example")],
            &[("origin", SITE), ("sec-fetch-site", "cross-site")],
            &[("origin", SITE), ("sec-fetch-site", "same-site")],
        ];
        for headers in forgeries {
            for media_type in
                ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
            {
                let mut request = Request::builder().method(route.verb().name()).uri(concrete(route.path()));
                request = request.header("host", "localhost:8443").header("content-type", media_type);
                request = request.header("cookie", format!("__Host-ringfence={}", ana.session));
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                let reply = house.send(request.body(Body::empty()).unwrap()).await;
                assert_eq!(reply.status, 403, "{route:?} {headers:?}: {reply:?}");
            }
        }
    }
    assert!(unsafe_routes >= 25, "{unsafe_routes}");
    assert_eq!(house.state(), before, "none of it reached the engine");
    // A session's cookie goes to nobody else, and no script reads it.
    let offer = house.call("POST", "/api/v1/login/passkey/begin", By::Nobody, None).await.json();
    let challenge = serde_json::from_value(offer["options"]["challenge"].clone()).unwrap();
    let body = json!({"ceremony": offer["ceremony"], "credential": ana.key.assert(SITE, &challenge).unwrap()});
    let entered = house.call("POST", "/api/v1/login/passkey/finish", By::Nobody, Some(&body)).await;
    let cookie = entered.headers["set-cookie"].to_str().unwrap();
    for part in ["__Host-", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
        assert!(cookie.contains(part) && !cookie.contains("Domain"), "{cookie}");
    }
}

#[tokio::test]
async fn cve_2020_26232_open_redirect() {
    let (house, ana) = House::with_owner::<22>();
    for route in everything(&house.app).iter() {
        for place in
            ["//attacker.example", "https://attacker.example", "/%09/attacker.example", "%5c%5cattacker.example"]
        {
            for name in ["next", "url", "redirect", "return_to", "continue"] {
                let target = format!("{}?{name}={place}", concrete(route.path()));
                for by in [By::Nobody, By::Session(&ana.session)] {
                    if matches!(route.permission(), Permission::Action(Action::Verify))
                        || route.path().contains("posture")
                    {
                        continue;
                    }
                    let reply = house.call(route.verb().name(), &target, by, None).await;
                    let elsewhere =
                        reply.headers.get("location").is_some_and(|to| !to.to_str().unwrap().starts_with('/'));
                    assert!(!elsewhere && !reply.headers.contains_key("refresh"), "{target}: {reply:?}");
                    assert!(!(300..400).contains(&reply.status), "{target}: {reply:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn cve_2025_6203_documents_that_exhaust() {
    let (house, _) = House::with_owner::<23>();
    let many_keys = |count: usize| {
        let keys: Vec<String> = (0..count).map(|key| format!("\"k{key}\":0")).collect();
        format!("{{{}}}", keys.join(","))
    };
    let bodies = [
        format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1)),
        "[".repeat(JSON_BYTES_MAX),
        "{\"a\":".repeat(JSON_BYTES_MAX / 5),
        format!("[{}0]", "0,".repeat(ITEMS_MAX)),
        many_keys(ITEMS_MAX / 2 - 1),
        format!("{{{}\"a\":1}}", "\"a\":0,".repeat(5_000)),
        format!("\"{}\"", "\\u0000".repeat(JSON_BYTES_MAX / 6 - 1)),
        format!("[1e{}]", "9".repeat(5_000)),
        format!("[{}]", "9".repeat(100_000)),
        format!("{{\"name\": \"{}\"}}", "x".repeat(JSON_BYTES_MAX)),
    ];
    let begun = Instant::now();
    let mut asked = 0_u32;
    for route in everything(&house.app).iter() {
        let Permission::Open(_) = route.permission() else { continue };
        for body in &bodies {
            let request = Request::builder().method(route.verb().name()).uri(concrete(route.path()));
            let request = request
                .header("host", "localhost:8443")
                .header("origin", SITE)
                .header("content-type", "application/json");
            let reply = house.send(request.body(Body::from(body.clone())).unwrap()).await;
            assert!((400..500).contains(&reply.status), "{route:?} {}: {reply:?}", &body[..20]);
            asked += 1;
        }
    }
    // Far from exact, on a machine that is busy: nothing here is quadratic.
    assert!(begun.elapsed().as_millis() < u128::from(asked) * 250, "{asked} in {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2024_8185_hashing_that_exhausts() {
    let (house, _) = House::with_owner::<24>();
    let house = std::sync::Arc::new(house);
    let logins: Vec<_> = (0..90)
        .map(|number| {
            let house = std::sync::Arc::clone(&house);
            tokio::spawn(
                async move { house.password(&format!("name{number}"), "a guess of some length", "000000").await },
            )
        })
        .collect();
    let mut statuses = Vec::new();
    for login in logins {
        statuses.push(login.await.unwrap().status);
    }
    // Two hash at the same time, sixty-four wait, and whoever comes then hears so; or has to wait for wrong factors.
    assert!(statuses.iter().all(|status| [401, 429, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&429) || statuses.contains(&503), "{statuses:?}");
}

#[tokio::test]
async fn cve_2025_6000_audit_as_attack_surface() {
    let (house, ana) = House::with_owner::<25>();
    let ben = house.join(&ana, "ben", &[Role::Researcher]);
    let by = By::Session(&ana.session);
    let hostile = [
        "two\r\nlines",
        "\u{1b}[2J\u{1b}]0;title\u{7}",
        "\u{202e}gnp.exe",
        "a\u{2066}b\u{2069}",
        "<13>1 forged - -",
        "\",\"x\n",
        "\u{85}\u{2028}\u{2029}",
        "x\0y",
        "{\"kind\":\"genesis\"}",
        "\u{feff}bom",
    ];
    for text in hostile {
        let target = format!("/api/v1/people/{}/disable", ben.id);
        assert_eq!(house.call("POST", &target, by, Some(&json!({"reason": text}))).await.status, 200);
        let enable = format!("/api/v1/people/{}/enable", ben.id);
        assert_eq!(house.call("POST", &enable, by, None).await.status, 200);
        for (path, body) in [
            ("/api/v1/people", json!({"name": text, "display": text, "roles": []})),
            ("/api/v1/tokens", json!({"label": text, "days": 1, "scope": ["read"]})),
        ] {
            assert!(house.call("POST", path, by, Some(&body)).await.status < 500);
        }
        house.pass(10_000);
        assert!([401, 429].contains(&house.password(text, text, text).await.status));
    }
    for shape in [Shape::Jsonl, Shape::Csv, Shape::Ocsf, Shape::Syslog] {
        let mut out = Vec::new();
        let mut keep = |lines: &[u8]| {
            out.extend_from_slice(lines);
            Ok(())
        };
        let count = house.vault.export_trail(&Filter::default(), None, shape, &mut keep).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines = text.matches('\n').count() as u64 - u64::from(shape == Shape::Csv);
        assert_eq!(lines, count, "{shape:?}: no text makes a line of its own");
        // RFC 5424, section 6.4: a message in UTF-8 begins with the mark; nowhere else is one.
        let marks = if shape == Shape::Syslog { count } else { 0 };
        assert_eq!(text.matches('\u{feff}').count() as u64, marks, "{shape:?}");
        let odd = |c: char| (c.is_control() && c != '\n' && !(shape == Shape::Csv && c == '\r')) || hides(c);
        let found: Vec<char> = text.chars().filter(|c| odd(*c)).collect();
        assert!(found.is_empty(), "{shape:?}: {found:?}");
        assert!(!text.contains("\n<13>1 forged"), "{shape:?}");
    }
}

/// Turns the direction, separates lines, or is not seen.
fn hides(c: char) -> bool {
    matches!(c, '\u{85}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[tokio::test]
async fn cve_2022_24770_formulas_and_temporary_files() {
    let (house, ana) = House::with_owner::<26>();
    let by = By::Session(&ana.session);
    for text in ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", " =1", "\u{ff1d}1", "=cmd|' /C calc'!A0"] {
        let body = json!({"name": "x", "display": text, "roles": []});
        assert!(house.call("POST", "/api/v1/people", by, Some(&body)).await.status < 500);
        let plain: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || "=+-@()!'".contains(*c)).collect();
        for target in [format!("/api/v1/runs/{plain}"), format!("/api/v1/people/{plain}")] {
            assert_eq!(house.call("GET", &target, by, None).await.status, 404, "{target}");
        }
    }
    let file = house.folder.path().join("trail.csv");
    house.vault.export_trail_file(&Filter::default(), None, Shape::Csv, &file).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    for cell in text.lines().flat_map(|line| line.split(',')) {
        let cell = cell.trim_matches('"').trim_start();
        assert!(!cell.starts_with(['=', '+', '-', '@', '\u{ff1d}']), "{cell}");
    }
    assert!(
        text.contains("run =1+1") && text.contains("person @SUM(1)"),
        "what would be a formula is text behind other text"
    );
    // What leaves the vault in clear is for this user alone, and nothing of its making is left beside it.
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    assert!(house.files().iter().all(|(path, _)| !path.to_string_lossy().ends_with(".part")));
}
