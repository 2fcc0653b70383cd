//! The egress policy and the records of a configuration file.

use ringfence_reach::{DenyRule, EgressPolicy, HostPattern, HostRule, Network, Scheme, Settings, Url};

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn rule(host: &str, network: Network) -> HostRule {
    HostRule { host: host.parse().unwrap(), port: None, scheme: Scheme::Https, network }
}

#[test]
fn the_default_opens_the_hub_and_nothing_else() {
    let policy = EgressPolicy::default();
    for open in [
        "https://huggingface.co/api",
        "https://cdn-lfs.huggingface.co/x",
        "https://cdn-lfs-us-1.huggingface.co/x",
        "https://cas-bridge.xethub.hf.co/x",
        "https://cdn-lfs.hf.co/x",
    ] {
        policy.admit(&url(open)).unwrap_or_else(|error| panic!("{error}"));
    }
    for (shut, other_door) in [
        ("http://huggingface.co/", true),
        ("https://huggingface.co:8443/", true),
        ("https://evil.huggingface.co/", false),
        ("https://huggingface.co.evil.org/", false),
        ("https://hf.co/", false),
        ("https://evilhf.co/", false),
        ("https://cdn-lfs.evil.huggingface.co/", false),
        ("https://bucket.s3.us-east-1.amazonaws.com/", false),
        ("https://1.2.3.4/", false),
    ] {
        let denied = policy.admit(&url(shut)).unwrap_err();
        let wanted = if other_door { DenyRule::OtherDoor } else { DenyRule::NotListed };
        assert_eq!(denied.rule, wanted, "{shut}");
        assert!(denied.remedy().contains("egress.hosts"));
    }
}

#[test]
fn addresses_need_a_rule_that_includes_them() {
    let public = EgressPolicy { hosts: vec![rule("models.example.org", Network::Public)] };
    let local = EgressPolicy { hosts: vec![rule("models.example.org", Network::Local)] };
    let host = url("https://models.example.org/");
    let judge = |policy: &EgressPolicy, address: &str| policy.admit_address(&host, address.parse().unwrap()).is_ok();
    assert!(judge(&public, "93.184.216.34"));
    for address in ["127.0.0.1", "10.1.2.3", "::1", "fd12::1", "::ffff:192.168.1.1", "64:ff9b::a00:1"] {
        assert!(!judge(&public, address), "{address}");
        assert!(judge(&local, address), "{address}");
    }
    for address in ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "0.0.0.0", "224.0.0.1", "fe80::1"] {
        assert!(!judge(&public, address) && !judge(&local, address), "{address}");
    }
    // Whoever really wants the metadata service names it.
    let named = EgressPolicy { hosts: vec![rule("169.254.169.254", Network::Local)] };
    named.admit(&url("https://169.254.169.254/")).unwrap();
    let careless = EgressPolicy { hosts: vec![rule("169.254.169.254", Network::Public)] };
    let denied = careless.admit(&url("https://169.254.169.254/")).unwrap_err();
    assert!(matches!(denied.rule, DenyRule::Address { .. }));
    assert!(denied.remedy().contains("169.254.169.254"));
}

#[test]
fn patterns_keep_their_last_two_labels() {
    for fine in ["a.org", "*.a.org", "cdn-*.a.org", "localhost", "127.0.0.1", "[::1]", "*.s3.eu-*.amazonaws.com"] {
        fine.parse::<HostPattern>().unwrap_or_else(|error| panic!("{error}"));
    }
    for wrong in
        ["", "*", "*.org", "a.*", "*.*.org", "**.a.org", "a*b*.c.org", "http://a.org", "a.org:80", "a..org", "1.2.3"]
    {
        assert!(wrong.parse::<HostPattern>().is_err(), "{wrong}");
    }
    let fits = |pattern: &str, host: &str| pattern.parse::<HostPattern>().unwrap().matches(host);
    assert!(fits("*.a.org", "x.y.a.org"));
    assert!(!fits("*.a.org", "a.org"));
    assert!(!fits("*.a.org", "xa.org"));
    assert!(fits("cdn-*.a.org", "cdn-1.a.org"));
    assert!(!fits("cdn-*.a.org", "cdn-1.b.a.org"));
    assert!(fits("A.Org", "a.org"));
}

#[test]
fn settings_are_a_record() {
    let text = r#"
        proxy = "http://proxy.lan:3128"
        [[egress.hosts]]
        host = "huggingface.co"
        [[egress.hosts]]
        host = "minio.lan"
        port = 9000
        scheme = "http"
        network = "local"
        [trusted]
        allow = ["hf://google/*", "s3://models/*"]
        revision = "commit"
        hash = "optional"
        [hub]
        token = { command = ["pass", "hf"] }
        [s3]
        endpoint = "http://minio.lan:9000"
        [limits]
        attempts = 2
        [roots]
        file = "/etc/ssl/certs/ca-certificates.crt"
    "#;
    let settings: Settings = toml::from_str(text).unwrap();
    assert_eq!(settings.limits.attempts, 2);
    assert_eq!(settings.limits.idle_ms, 30_000);
    let again: Settings = toml::from_str(&toml::to_string(&settings).unwrap()).unwrap();
    assert_eq!(again, settings);
    assert!(toml::from_str::<Settings>("[egress]\nhosts = []\nextra = 1").is_err());
    assert_eq!(toml::from_str::<Settings>("").unwrap(), Settings::default());
}

#[test]
fn links_are_resolved_as_servers_mean_them() {
    let base = url("https://h.org/a/b/c?q=1");
    for (reference, wanted) in [
        ("https://x.org/y", "https://x.org/y"),
        ("//x.org/y", "https://x.org/y"),
        ("/y/z", "https://h.org/y/z"),
        ("d", "https://h.org/a/b/d"),
        ("../d", "https://h.org/a/d"),
        ("../../../../d", "https://h.org/d"),
        ("%2e%2e/d", "https://h.org/a/d"),
        ("?r=2", "https://h.org/a/b/c?r=2"),
        ("#x", "https://h.org/a/b/c?q=1"),
        ("./", "https://h.org/a/b/"),
        ("/..////d?z", "https://h.org////d?z"),
        ("https://X.org:443", "https://x.org/"),
    ] {
        assert_eq!(base.join(reference).unwrap().to_text(), wanted, "{reference}");
    }
    for wrong in ["javascript:alert(1)", "https:/x", "https://", "\\\\x\\y", "https://x.org/\u{e9}", "http://a@b/"] {
        assert!(base.join(wrong).is_err(), "{wrong}");
    }
    assert_eq!(url("https://h.org/a?token=secret").to_string(), "https://h.org/a?…");
}
