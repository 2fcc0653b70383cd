//! What else a model is asked before its release: what it gives away, what a thief gets, backdoors, whose it is; and training that
//! guarantees privacy. On the digits of the example.

use std::{fs, path::Path};

use ringfence_engine::reach::testing::{Reply, Server};
use ringfence_format::npz::{self, Values};
use serde_json::{Value, json};

use crate::home::Home;

/// How every command here reads the digits.
const DIGITS: [&str; 6] = ["--label", "label", "--shape", "1,8,8", "--scale", "0.0625"];

/// A home with the example's model and data under short names.
fn home() -> Home {
    let home = Home::new();
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits");
    for file in ["base.onnx", "train.csv", "test.csv"] {
        fs::copy(digits.join(file), home.work().join(file)).unwrap();
    }
    home
}

fn with<'a>(words: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [words, &DIGITS, more, &["--format", "json"]].concat()
}

/// The pixels of so many rows of a table, from `from` on, as an NPZ with array `x`.
fn questions(home: &Home, name: &str, table: &str, from: usize, count: usize) {
    let text = fs::read_to_string(home.work().join(table)).unwrap();
    let rows = text.lines().skip(1 + from).take(count);
    let pixels: Vec<f32> =
        rows.flat_map(|row| row.split(',').take(64)).map(|cell| cell.parse::<f32>().unwrap() * 0.0625).collect();
    let shape = [count, 1, 8, 8];
    home.write(name, npz::write(&[("x", &shape, Values::Single(&pixels))]).unwrap());
}

#[test]
fn what_a_model_gives_away_is_told_or_cannot_be_stated() {
    let home = home();
    let words = ["attack", "privacy", "base.onnx", "--members", "train.csv", "--non-members", "test.csv"];
    let done = home.run(&with(&words, &["--references", "2", "--reference-epochs", "2"]));
    let report = done.json();
    assert_eq!(report["schema"], "ringfence.privacy/1");
    // 450 others are too few for one false positive in a thousand.
    let text = report.to_string();
    assert!(text.contains("rmia") && text.contains("lira") && text.contains("loss-threshold"), "{text}");
    for wrong in
        [&["attack", "privacy", "base.onnx"][..], &["attack", "privacy", "base.onnx", "--members", "train.csv"]]
    {
        home.run(wrong).exits(2);
    }
    home.run(&with(&["attack", "privacy", "no.onnx", "--members", "train.csv", "--non-members", "test.csv"], &[]))
        .exits(3);
}

#[test]
fn a_borrowed_library_changes_no_figure() {
    let home = home();
    let words = ["attack", "base.onnx", "--data", "test.csv"];
    let few = ["--eps", "0.1", "--battery", "standard", "--examples", "40", "--steps", "10", "--restarts", "1"];
    let by = |library: &str| home.run(&with(&words, &[&few[..], &["--onnxruntime", library]].concat()));
    // What is no such library is named, and nothing is attacked without it.
    home.write("not-one.so", b"\x7fELF");
    for (library, said) in [("nowhere.so", "No such file"), ("not-one.so", "ONNX Runtime: ")] {
        let refused = by(library).exits(3);
        let refused = refused.out() + &refused.err();
        assert!(refused.contains(library) && refused.contains(said), "{refused}");
    }
    // Where it has no part, a library that the environment names stands in nobody's way.
    let mut command = home.command(&["attack", "base.onnx", "--self-check", "--format", "json"]);
    command.env("RINGFENCE_ONNXRUNTIME", "nowhere.so");
    home.done(command).exits(0);
    // The one to try with; it says itself what its file is called.
    let Some(library) = std::env::var_os("RINGFENCE_ONNXRUNTIME") else {
        println!("SKIPPED: RINGFENCE_ONNXRUNTIME names no libonnxruntime.so");
        return;
    };
    let (ours, theirs) = (home.run(&with(&words, &few)).json(), by(&library.to_string_lossy()).json());
    assert!(theirs["forward"]["library"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{theirs}");
    assert!(ours.get("forward").is_none());
    for figure in ["verdict", "model", "clean_accuracy", "worst_case"] {
        assert_eq!(ours[figure], theirs[figure], "{figure}");
    }
}

#[test]
fn what_a_thief_gets_is_told() {
    let home = home();
    questions(&home, "questions.npz", "train.csv", 0, 300);
    questions(&home, "others.npz", "test.csv", 0, 200);
    let words = ["attack", "theft", "base.onnx", "--queries", "questions.npz", "--held-out", "others.npz"];
    let more = ["--budget", "300", "--level", "full,label", "--format", "json"];
    let report = home.run(&[&words[..], &more].concat()).exits(0).json();
    assert_eq!(report["schema"], "ringfence.theft/1");
    let text = report.to_string();
    assert!(text.contains("full") && text.contains("label") && !text.contains("top-2"), "{text}");
    home.run(&[&words[..], &["--level", "everything"]].concat()).exits(2);
    home.run(&with(&["attack", "base.onnx", "--data", "test.csv"], &["--attack", "guessing"])).exits(2);
}

#[test]
fn edited_texts_are_tried_and_told() {
    let home = Home::new();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../attack/tests/it/data/text");
    for file in ["bag.onnx", "encoder.onnx", "wordpiece.json", "bytelevel.json", "texts.csv"] {
        fs::copy(data.join(file), home.work().join(file)).unwrap();
    }
    home.write("synonyms.txt", "# own\ngreat: fine, good\nawful: bad, poor\n");
    let words = |model: &'static str| {
        ["attack", "text", model, "--tokenizer", "wordpiece.json", "--data", "texts.csv", "--format", "json"]
    };
    let more =
        ["--edits", "2", "--queries", "200", "--examples", "12", "--synonyms", "synonyms.txt", "--html", "card.html"];
    let report = home.run(&[&words("bag.onnx")[..], &more].concat()).exits(0).json();
    assert_eq!((&report["schema"], &report["verdict"]), (&"ringfence.text-attack/1".into(), &"sound".into()));
    assert_eq!((&report["texts"], &report["edits"]), (&12.into(), &"2 words".into()));
    let text = report["results"].to_string();
    for attack in ["characters", "homoglyphs", "invisible", "synonyms", "neighbours", "hotflip", "random-words"] {
        assert!(text.contains(&format!("\"{attack}\"")), "{text}");
    }
    let worst = report["worst_case"][1]["accuracy"].as_f64().unwrap();
    assert!(worst < report["clean_accuracy"].as_f64().unwrap(), "{report}");
    assert_ne!(report["examples"][0]["original"], report["examples"][0]["changed"]);
    let page = fs::read_to_string(home.work().join("card.html")).unwrap();
    assert!(page.contains("Texts that withstand"), "{page}");
    let few = ["--attacks", "characters", "--examples", "4", "--queries", "64"];
    let other = home.run(&[&words("encoder.onnx")[..], &few].concat()).json();
    assert_eq!(other["results"].as_array().unwrap().len(), 1, "{other}");
    // What cannot be: an attack of no name, a wrong tokenizer, words for labels, no such column.
    home.run(&[&words("bag.onnx")[..], &["--attacks", "magic"]].concat()).exits(2);
    home.run(&[&words("bag.onnx")[..], &["--edits", "none"]].concat()).exits(2);
    let wrong = ["attack", "text", "bag.onnx", "--tokenizer", "bytelevel.json", "--data", "texts.csv"];
    home.run(&wrong).exits(3);
    home.run(&[&words("bag.onnx")[..], &["--classes", "ham,spam"]].concat()).exits(3);
    home.run(&[&words("bag.onnx")[..], &["--label", "stars"]].concat()).exits(3);
}

#[test]
fn texts_are_tried_behind_an_endpoint_too() {
    // It reads what a keyword is in, and says how sure it is.
    let server = Server::start(0, |request| {
        let asked: Value = serde_json::from_slice(&request.body).unwrap();
        let texts: Vec<String> = serde_json::from_value(asked["inputs"].clone()).unwrap();
        let good = |text: &String| {
            0.5 + 0.1 * (text.matches("good").count().min(4) as f64) - 0.1 * text.matches("bad").count().min(4) as f64
        };
        let answers = texts.iter().map(|text| json!({"ham": good(text), "spam": 1.0 - good(text)}));
        Reply::json(&answers.collect::<Value>())
    })
    .unwrap();
    let home = Home::new();
    let origin = server.origin();
    let endpoint = |budget: u64| {
        let text = format!(
            "url = \"{origin}/v1\"\nnetwork = \"local\"\nbudget = {budget}\nbatch = 16\ntemplate = '{{\"inputs\": \"$inputs\"}}'\n\
             [input]\ntext = true\n[output]\nkind = \"probabilities\"\nclasses = 2\nnames = [\"ham\", \"spam\"]\n"
        );
        home.write("endpoint.toml", &text);
    };
    home.write(
        "mail.csv",
        "text,label\nsuch good news,ham\na bad offer,spam\ngood good times,ham\nnot bad but bad,spam\n",
    );
    let words = ["attack", "text", "--endpoint", "endpoint.toml", "--data", "mail.csv", "--classes", "ham,spam"];
    let more = ["--edits", "1", "--queries", "100", "--format", "json", "--html", "card.html"];
    endpoint(5_000);
    let report = home.run(&[&words[..], &more].concat()).exits(0).json();
    assert_eq!(report["verdict"], "sound", "{report}");
    assert!(report["tokenizer"].is_null() && report["worst_case"][1]["accuracy"].as_f64().unwrap() <= 0.5, "{report}");
    assert_eq!(report["ledger"]["spent"], report["asked"], "{report}");
    assert!(report["results"].as_array().unwrap().iter().all(|row| row["needs"] != "weights"), "{report}");
    assert!(fs::read_to_string(home.work().join("card.html")).unwrap().contains("queries were sent"));
    // A budget that is too small, weights that it does not give, a tokenizer that is not its own, numbers for texts.
    endpoint(20);
    assert!(home.run(&words).exits(3).err().contains("budget"));
    home.run(&[&words[..], &["--attacks", "hotflip"]].concat()).exits(3);
    home.run(&[&words[..], &["--tokenizer", "tokenizer.json"]].concat()).exits(2);
    let numbers =
        home.run(&["attack", "--endpoint", "endpoint.toml", "--data", "mail.csv", "--label", "label"]).exits(3);
    assert!(numbers.err().contains("attack text --endpoint"), "{}", numbers.err());
}

#[test]
fn a_mark_is_found_where_it_was_made_and_nowhere_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = home();
    let made =
        ["watermark", "embed", "base.onnx", "--data", "train.csv", "--secret", "secret.json", "--out", "marked.onnx"];
    let made = home.run(&with(&made, &[])).exits(0).json();
    let mode = fs::metadata(home.work().join("secret.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let verify = |model: &str, exit| {
        home.run(&["watermark", "verify", model, "--secret", "secret.json", "--format", "json"]).exits(exit).json()
    };
    let found = verify("marked.onnx", 0);
    assert_eq!((&found["schema"], &found["commitment"]), (&"ringfence.watermark/1".into(), &made["commitment"]));
    verify("base.onnx", 1);
    // Neither the model nor the secret of before is written over.
    let again =
        ["watermark", "embed", "base.onnx", "--data", "train.csv", "--secret", "secret.json", "--out", "other.onnx"];
    assert_ne!(home.run(&with(&again, &[])).code(), Some(0));
    assert!(!home.work().join("other.onnx").exists());
    verify("marked.onnx", 0);
}

#[test]
fn a_recorded_secret_names_its_entry_and_time() {
    let home = Home::with_vault();
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits");
    for file in ["base.onnx", "train.csv"] {
        fs::copy(digits.join(file), home.work().join(file)).unwrap();
    }
    let made =
        ["watermark", "embed", "base.onnx", "--data", "train.csv", "--secret", "secret.json", "--out", "marked.onnx"];
    let made = home.run(&with(&made, &["--epochs", "10"])).json();
    home.run(&["add", "marked.onnx", "--as", "model/digits"]).exits(0);
    let verify = |exit| {
        let words = ["watermark", "verify", "marked.onnx", "--secret", "secret.json", "--recorded", "--format", "json"];
        home.run(&words).exits(exit).json()
    };
    // Marked, and nobody can say since when.
    assert_eq!(verify(1)["recorded"], serde_json::Value::Null);
    let record = ["watermark", "record", "model/digits@1", "--secret", "secret.json", "--format", "json"];
    let first = home.run(&record).exits(0).json();
    assert_eq!((&first["commitment"], &first["subject"]), (&made["commitment"], &"model/digits@1".into()));
    // Again is the same entry.
    assert_eq!(home.run(&record).exits(0).json(), first);
    let found = verify(0);
    assert_eq!((&found["verdict"], &found["recorded"]["entry"]), (&"marked".into(), &first["entry"]));
    let entry = first["entry"].as_u64().unwrap().to_string();
    let shown = home.run(&["trail", "show", &entry, "--format", "json"]).exits(0).json().to_string();
    assert!(shown.contains(first["commitment"].as_str().unwrap()), "{shown}");
    home.run(&["watermark", "record", "model/digits@7", "--secret", "secret.json"]).exits(2);
    // The vault keeps the secret: the file may be lost.
    let secret = fs::read_to_string(home.work().join("secret.json")).unwrap();
    fs::rename(home.work().join("secret.json"), home.work().join("elsewhere.json")).unwrap();
    let by_vault = ["watermark", "verify", "marked.onnx", "--of", "model/digits@1", "--format", "json"];
    let found = home.run(&by_vault).exits(0).json();
    assert_eq!((&found["verdict"], &found["recorded"]["entry"]), (&"marked".into(), &first["entry"]));
    home.run(&["watermark", "verify", "base.onnx", "--of", "model/digits@1"]).exits(1);
    home.run(&["add", "base.onnx", "--as", "model/base"]).exits(0);
    home.run(&["watermark", "verify", "marked.onnx", "--of", "model/base@1"]).exits(2);
    home.run(&["watermark", "verify", "marked.onnx"]).exits(2);
    let told = home.run(&["trail", "ls", "--format", "json"]).exits(0).out();
    let key: serde_json::Value = serde_json::from_str(&secret).unwrap();
    assert!(!told.contains(key["key"].as_str().unwrap()), "the trail does not tell the secret");
    fs::rename(home.work().join("elsewhere.json"), home.work().join("secret.json")).unwrap();
    home.run(&["watermark", "record", "model/digits@1", "--secret", "marked.onnx"]).exits(3);
    home.run(&["trail", "verify"]).exits(0);
}

#[test]
fn backdoors_are_sought_and_strange_records_found() {
    let home = home();
    let sought = ["attack", "backdoor", "base.onnx", "--data", "test.csv"];
    let report = home.run(&with(&sought, &["--examples", "100"])).exits(0).json();
    assert_eq!((&report["schema"], &report["verdict"]), (&"ringfence.backdoor/1".into(), &"nothing-found".into()));
    let screened = home.run(&with(&["screen", "test.csv", "--model", "base.onnx"], &[]));
    assert_eq!(screened.json()["records"], 450);
    home.run(&with(&["screen", "test.csv", "--reference", "train.csv"], &[])).exits(2);
    // Arrays without labels, as the attacks read them: the model alone looks at them, and the report says so.
    questions(&home, "arrays.npz", "test.csv", 0, 250);
    questions(&home, "clean.npz", "train.csv", 0, 250);
    let words = ["screen", "arrays.npz", "--model", "base.onnx", "--reference", "clean.npz", "--format", "json"];
    let report = home.run(&words).exits(0).json();
    assert_eq!((&report["records"], &report["dataset"]["format"]), (&250.into(), &"npz".into()));
    assert!(report["dataset"]["detectors"].to_string().contains("not run on NPZ"), "{report}");
    assert!(report["dataset"]["findings"].to_string().contains("250 clean records"), "{report}");
    assert_ne!(home.run(&["screen", "arrays.npz"]).code(), Some(0));
}

#[test]
fn private_training_says_what_it_guarantees_and_refuses_what_it_cannot() {
    let home = home();
    let words = ["harden", "base.onnx", "--data", "train.csv", "--fresh", "--mode", "dp-sgd", "--epochs", "2"];
    let more = ["--epsilon", "8", "--delta", "1e-4", "--out", "private.onnx"];
    let report = home.run(&with(&words, &more)).exits(0).json();
    assert_eq!(report["mode"], "dp-sgd");
    let epsilon = report["privacy"]["epsilon"].as_f64().unwrap();
    assert!((7.0..=8.0).contains(&epsilon), "{report}");
    for wrong in [
        &["--epsilon", "8", "--delta", "0.01", "--out", "a.onnx"][..],
        &["--epsilon", "8", "--eps", "0.1", "--out", "a.onnx"],
        &["--noise", "1", "--shuffled", "--out", "a.onnx"],
    ] {
        assert_ne!(home.run(&with(&words, wrong)).code(), Some(0), "{wrong:?}");
        assert!(!home.work().join("a.onnx").exists());
    }
    home.run(&with(&["harden", "base.onnx", "--data", "train.csv"], &["--epsilon", "8", "--out", "a.onnx"])).exits(2);
}

#[test]
fn a_training_goes_on_where_it_was_left() {
    let home = home();
    let words = ["harden", "base.onnx", "--data", "train.csv", "--epochs", "2", "--checkpoint", "state"];
    home.run(&with(&words, &["--out", "one.onnx"])).exits(0);
    // What is finished is only written again.
    home.run(&with(&words, &["--out", "two.onnx"])).exits(0);
    let read = |name: &str| fs::read(home.work().join(name)).unwrap();
    assert_eq!(read("one.onnx"), read("two.onnx"));
    home.write("state", "no state at all");
    assert_ne!(home.run(&with(&words, &["--out", "three.onnx"])).code(), Some(0));
    assert_eq!(read("state"), b"no state at all");
}
