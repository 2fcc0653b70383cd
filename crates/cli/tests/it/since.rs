//! A model beside an earlier one, on the digits of the example: on disk, in a vault, and by itself. And pages of saved reports.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use ringfence_engine::{
    EngineError, Passphrase, Settings, Silent, Vault,
    alerts::AlertFilter,
    reach::{Reach, ReachError},
    schedule::{Cadence, Came, Job},
    schema::Timestamp,
};
use serde_json::Value;

use crate::home::{Home, copy_folder, examples};

/// How the digits are read, and attacked.
const DIGITS: [&str; 6] = ["--label", "label", "--shape", "1,8,8", "--scale", "0.0625"];
const ATTACK: [&str; 8] = ["--data", "test.csv", "--eps", "0.1,0.15", "--examples", "200", "--steps", "20"];

/// The example's model, one trained against an attacker, and the data.
fn home(home: Home) -> Home {
    let digits = examples().join("digits");
    for file in ["base.onnx", "train.csv", "test.csv"] {
        fs::copy(digits.join(file), home.work().join(file)).unwrap();
    }
    let train = ["harden", "base.onnx", "--data", "train.csv", "--fresh", "--eps", "0.15", "--out", "robust.onnx"];
    home.run(&[&train[..], &DIGITS, &["--epochs", "8", "--format", "json"]].concat()).exits(0);
    home
}

fn since<'a>(model: &'a str, earlier: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["attack", model, "--since", earlier][..], &ATTACK, &DIGITS, more].concat()
}

fn alerts(home: &Home) -> Vec<Value> {
    let listed = home.run(&["watch", "alerts", "--format", "json"]).exits(0).json();
    let all = listed["alerts"].as_array().unwrap().iter();
    all.filter(|alert| alert["rule"] == "RF-ROB-001").cloned().collect()
}

#[test]
fn less_than_before_is_no_and_as_much_is_yes() {
    let home = home(Home::new());
    let lost = home.run(&since("base.onnx", "robust.onnx", &["--format", "json", "--html", "since.html"])).exits(1);
    let lost = lost.json();
    assert_eq!((&lost["schema"], &lost["verdict"]), (&"ringfence.since/1".into(), &"dropped".into()), "{lost}");
    let radius = &lost["radii"][1];
    assert!(radius["lost"].as_u64() > radius["won"].as_u64() && radius["p_value"].as_f64() < Some(0.001), "{radius}");
    assert_eq!(lost["card"]["setup"], lost["earlier_card"]["setup"]);
    let page = fs::read_to_string(home.work().join("since.html")).unwrap();
    assert!(page.contains("DROPPED") && page.contains("robust.onnx"));
    // The saved document is drawn again just so.
    home.write("since.json", serde_json::to_vec(&lost).unwrap());
    home.run(&["attack", "page", "since.json", "--html", "again.html"]).exits(0);
    assert_eq!(fs::read_to_string(home.work().join("again.html")).unwrap(), page);
    let kept = home.run(&since("robust.onnx", "base.onnx", &[])).exits(0);
    assert!(kept.out().contains("not-shown"), "{}", kept.out());
    // A few examples can show nothing.
    let few = home.run(
        &since("robust.onnx", "base.onnx", &["--format", "json"])
            .into_iter()
            .map(|word| if word == "200" { "5" } else { word })
            .collect::<Vec<_>>(),
    );
    assert_eq!(few.exits(3).json()["verdict"], "cannot-state");
    // There is no release of a file, and no vault here.
    home.run(&since("base.onnx", "model/digits@1", &[])).exits(3);
    home.run(&since("base.onnx", "nothing.onnx", &[])).exits(3);
    home.run(&since("base.onnx", "robust.onnx", &["--members", "train.csv"])).exits(2);
}

#[test]
fn a_drop_in_the_vault_is_an_alert_once() {
    let home = home(Home::with_vault());
    home.run(&["add", "robust.onnx", "--as", "model/digits"]).exits(0);
    home.run(&["add", "base.onnx", "--as", "model/digits"]).exits(0);
    let kept = home.run(&since("robust.onnx", "model/digits@1", &["--format", "json"])).exits(0).json();
    assert_eq!((&kept["verdict"], &kept["radii"][1]["lost"]), (&"not-shown".into(), &0.into()), "{kept}");
    assert!(alerts(&home).is_empty());
    for _ in 0..2 {
        let lost = home.run(&since("model/digits@2", "model/digits@1", &["--format", "json"])).exits(1).json();
        assert_eq!((&lost["model"], &lost["earlier"]), (&"model/digits@2".into(), &"model/digits@1".into()));
        let told = alerts(&home);
        assert_eq!(told.len(), 1);
        assert_eq!((&told[0]["subject"]["name"], &told[0]["severity"]), (&"model/digits@2".into(), &"high".into()));
    }
    let trail = home.run(&["trail", "ls", "--what", "attack"]).exits(0).out();
    assert!(trail.contains("model/digits@2"), "{trail}");
    // Nothing was released yet, and a file has no release before it.
    assert_eq!(home.run(&since("model/digits@2", "released", &[])).code(), Some(2));
    home.run(&since("base.onnx", "released", &[])).exits(2);
    home.run(&since("released", "base.onnx", &[])).exits(2);
    home.run(&since("model/digits@9", "model/digits@1", &[])).exits(2);
    home.run(&["trail", "verify"]).exits(0);
}

/// The vault of `home` at a moment so many milliseconds from now.
fn in_vault(home: &Home, later: &AtomicU64, look: impl FnOnce(&Vault<'_>)) {
    let now = || Timestamp::from(SystemTime::now()).plus_millis(later.load(Ordering::Relaxed));
    let nobody = |_| -> std::io::Result<Passphrase> { Err(std::io::Error::other("no passphrase here")) };
    let nowhere = || -> Result<Reach, ReachError> { panic!("nothing is fetched here") };
    let settings = Settings {
        vault: home.vault(),
        config: home.config(),
        program: Path::new(env!("CARGO_BIN_EXE_ringfence")).to_owned(),
        now: &now,
        passphrase: &nobody,
        reach: &nowhere,
        progress: &Silent,
    };
    look(&Vault::open(&settings).unwrap());
}

#[test]
fn what_is_released_is_set_beside_the_release_before() {
    let home = Home::new();
    copy_folder(&examples().join("digits"), &home.work().join("digits"));
    let plan = fs::read_to_string(home.work().join("digits/ringfence.toml")).unwrap();
    let plan = plan.split("[test.require]").next().unwrap().replace("[0.05, 0.1, 0.15, 0.2]", "[0.15]");
    let plan = plan.replace("examples = 450", "examples = 200");
    home.write("digits/robust.toml", &plan);
    home.write("digits/plain.toml", plan.replace("\neps = 0.15\nepochs", "\neps = 0.0\nepochs"));
    home.run(&["run", "digits/robust.toml", "--out", "first"]).exits(0);
    let later = AtomicU64::new(0);
    let look = |vault: &Vault<'_>| -> (Came, String, usize) {
        let every = Cadence::parse("1h", None, (vault.settings().now)()).unwrap();
        match vault.add_schedule(Job::Attack, every) {
            Ok(_) | Err(EngineError::Usage { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        later.fetch_add(2 * 3_600_000, Ordering::Relaxed);
        let done = vault.carry_out_due().unwrap();
        let last = done.first().and_then(|schedule| schedule.last.clone()).unwrap();
        let told = vault.alerts(&AlertFilter::default()).unwrap();
        (last.came, last.said, told.iter().filter(|shown| shown.alert.rule == "RF-ROB-001").count())
    };
    in_vault(&home, &later, |vault| {
        let (came, said, told) = look(vault);
        assert_eq!((came, told), (Came::Clean, 0), "{said}");
    });
    home.run(&["run", "digits/plain.toml", "--out", "second"]).exits(0);
    in_vault(&home, &later, |vault| {
        for _ in 0..2 {
            let (came, said, told) = look(vault);
            assert_eq!((came, told), (Came::Found, 1), "{said}");
            assert!(said.contains("model/digits-robust@2"), "{said}");
        }
    });
    // By hand the same: the earlier release is not attacked again where its evidence says what stood.
    let words =
        ["attack", "model/digits-robust@2", "--since", "released", "--data", "digits/test.csv", "--eps", "0.15"];
    let more = ["--examples", "200", "--seed", "1", "--format", "json"];
    let lost = home.run(&[&words[..], &DIGITS, &more].concat()).exits(1).json();
    assert_eq!((&lost["verdict"], &lost["recorded"]), (&"dropped".into(), &true.into()), "{}", lost["note"]);
    assert_eq!(lost["earlier"], "model/digits-robust@1");
}

#[test]
fn pages_of_saved_reports_are_drawn_and_what_is_none_is_refused() {
    let home = home(Home::new());
    let card = ["attack", "base.onnx", "--data", "test.csv", "--examples", "40", "--steps", "5", "--format", "json"];
    let card = home.run(&[&card[..], &DIGITS].concat());
    home.write("card.json", card.raw());
    home.run(&["attack", "page", "card.json", "--html", "card.html"]).exits(0);
    assert!(fs::read_to_string(home.work().join("card.html")).unwrap().contains("Robustness card"));
    let hostile = card.out().replace("noise-10", "</style><script>alert(1)</script>");
    home.write("hostile.json", hostile);
    home.run(&["attack", "page", "hostile.json", "--html", "hostile.html"]).exits(0);
    assert!(!fs::read_to_string(home.work().join("hostile.html")).unwrap().contains("<script"));
    for (name, text) in [
        ("none.json", "no report at all"),
        ("other.json", "{\"schema\":\"ringfence.scan/1\"}"),
        ("empty.json", "{\"schema\":\"ringfence.attack/1\"}"),
        ("twice.json", "{\"schema\":\"ringfence.attack/1\",\"schema\":\"ringfence.attack/1\"}"),
        ("deep.json", &"[".repeat(100_000)),
    ] {
        home.write(name, text);
        let refused = home.run(&["attack", "page", name, "--html", "refused.html"]).exits(3);
        assert!(refused.err().contains(name), "{}", refused.err());
        assert!(!home.work().join("refused.html").exists(), "{name}");
    }
    home.run(&["attack", "page", "card.json"]).exits(2);
}
