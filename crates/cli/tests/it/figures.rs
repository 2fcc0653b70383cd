//! The figures that the example promises: what the filter removes, what the poison would have done, what hardening buys.
//!
//! The list of poisoned rows is for checking only; the program never reads it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::home::Home;

/// The stamp of `examples/digits/README.md`, as pixel columns, and the class that stamped rows were given.
const STAMP: [usize; 3] = [48, 56, 57];
const TARGET: &str = "7";

fn copy_examples(home: &Home) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits");
    let folder = home.work().join("digits");
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    folder
}

/// Share of the test digits of other classes that `model` takes for the target once they are stamped.
fn backdoor_success(home: &Home, folder: &Path, model: &Path) -> f64 {
    let test = fs::read_to_string(folder.join("test.csv")).unwrap();
    let mut lines = test.lines();
    let mut stamped = lines.next().unwrap().to_owned() + "\n";
    for line in lines {
        let mut cells: Vec<&str> = line.split(',').collect();
        if cells[64] != TARGET {
            for pixel in STAMP {
                cells[pixel] = "16";
            }
            cells[64] = TARGET;
            stamped.push_str(&cells.join(","));
            stamped.push('\n');
        }
    }
    // One clean row of every class keeps class indexes what the model was trained with; they are counted by themselves.
    let mut seen = BTreeSet::new();
    let first_of_class = |line: &&str| seen.insert(line.rsplit(',').next().unwrap().to_owned());
    let clean: Vec<&str> = test.lines().skip(1).filter(first_of_class).collect();
    let clean_rows: String = clean.iter().map(|line| format!("{line}\n")).collect();
    let header = test.lines().next().unwrap();
    let all = home.write("stamped.csv", stamped.clone() + &clean_rows);
    let only_clean = home.write("clean.csv", format!("{header}\n{clean_rows}"));
    let hits = |file: &Path, rows: usize| {
        (attack(home, model, file)["clean_accuracy"].as_f64().unwrap() * rows as f64).round()
    };
    let stamped_rows = stamped.lines().count() - 1;
    (hits(&all, stamped_rows + clean.len()) - hits(&only_clean, clean.len())) / stamped_rows as f64
}

fn attack(home: &Home, model: &Path, data: &Path) -> Value {
    let (model, data) = (model.to_str().unwrap(), data.to_str().unwrap());
    let done = home.run(&[
        "attack",
        model,
        "--data",
        data,
        "--label",
        "label",
        "--shape",
        "1,8,8",
        "--scale",
        "0.0625",
        "--eps",
        "0.01",
        "--steps",
        "2",
        "--restarts",
        "1",
        "--examples",
        "100000",
        "--format",
        "json",
    ]);
    // Sound or not does not matter here: only the clean accuracy is used.
    assert!(matches!(done.code(), Some(0 | 1)), "{}", done.err());
    done.json()
}

fn worst(card: &Value, eps: f64) -> f64 {
    let at = |result: &&Value| (result["eps"].as_f64().unwrap() - eps).abs() < 1e-9;
    card["results"]
        .as_array()
        .unwrap()
        .iter()
        .filter(at)
        .map(|result| result["accuracy"].as_f64().unwrap())
        .fold(1.0, f64::min)
}

fn pgd(card: &Value, eps: f64) -> f64 {
    let of = |result: &&Value| result["attack"] == "pgd-40x3" && (result["eps"].as_f64().unwrap() - eps).abs() < 1e-9;
    card["results"].as_array().unwrap().iter().find(of).unwrap()["accuracy"].as_f64().unwrap()
}

#[test]
fn the_example_filters_the_poison_and_hardens_the_model() {
    let home = Home::new();
    let folder = copy_examples(&home);
    let screened = home
        .run(&["screen", "digits/train.csv", "--label", "label", "--shape", "1,8,8", "--format", "json"])
        .exits(1)
        .json();
    let filtered: BTreeSet<u64> = screened["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|decision| decision["decision"] == "filter")
        .map(|decision| decision["record"].as_u64().unwrap())
        .collect();
    let poisoned: BTreeSet<u64> = fs::read_to_string(folder.join("poisoned.csv"))
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap().parse().unwrap())
        .collect();
    let records = screened["records"].as_u64().unwrap();
    let caught = filtered.intersection(&poisoned).count() as f64 / poisoned.len() as f64;
    let lost = filtered.difference(&poisoned).count() as f64 / (records as f64 - poisoned.len() as f64);
    println!("figures: filtered {:.1} % of the poisoned rows and {:.2} % of the others", caught * 100.0, lost * 100.0);

    home.run(&["run", "digits/ringfence.toml"]).exits(0);
    let released = backdoor_success(&home, &folder, &folder.join("released/model.onnx"));
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap() };
    let after = read("released/reports/result-robustness.json");

    let base = folder.join("base.onnx");
    let before = home
        .run(&[
            "attack",
            base.to_str().unwrap(),
            "--data",
            "digits/test.csv",
            "--label",
            "label",
            "--shape",
            "1,8,8",
            "--scale",
            "0.0625",
            "--eps",
            "0.15",
            "--format",
            "json",
        ])
        .json();
    let clean = |card: &Value| card["clean_accuracy"].as_f64().unwrap();
    println!(
        "figures: clean {:.1} % before, {:.1} % after; PGD-40 with three restarts at 0.15: {:.1} % before, {:.1} % after; worst case {:.1} % and {:.1} %",
        clean(&before) * 100.0,
        clean(&after) * 100.0,
        pgd(&before, 0.15) * 100.0,
        pgd(&after, 0.15) * 100.0,
        worst(&before, 0.15) * 100.0,
        worst(&after, 0.15) * 100.0
    );

    let careless = Home::new();
    let unfiltered = copy_examples(&careless);
    let done = careless.run(&["run", "digits/ringfence.toml", "--no-screen"]);
    assert!(matches!(done.code(), Some(0 | 1)), "{}", done.err());
    let model = if done.code() == Some(0) {
        unfiltered.join("released/model.onnx")
    } else {
        careless.run(&["get", "checkpoint/digits-robust@1", "kept"]).exits(0);
        careless.work().join("kept/model.onnx")
    };
    let poisoned_model = backdoor_success(&careless, &unfiltered, &model);
    println!(
        "figures: backdoor success {:.1} % without screening, {:.1} % as released",
        poisoned_model * 100.0,
        released * 100.0
    );

    assert!(caught >= 0.90 && lost <= 0.01, "the filter");
    assert!(poisoned_model >= 0.80 && released <= 0.05, "the backdoor");
    assert!(clean(&before) - clean(&after) <= 0.02, "clean accuracy");
    assert!(pgd(&before, 0.15) < 0.50 && pgd(&after, 0.15) - pgd(&before, 0.15) >= 0.30, "robust accuracy");
}
