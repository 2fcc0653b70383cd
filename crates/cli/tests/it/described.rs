//! Models of weights alone: safetensors with the description of an architecture, wherever a model is taken.

use std::fs;

use ringfence_engine::schema::Digest;
use ringfence_format::npz::{self, Array, Values};

use crate::home::{Home, examples};

/// How every command here reads the digits.
const DIGITS: [&str; 6] = ["--label", "label", "--shape", "1,8,8", "--scale", "0.0625"];

/// The network of the example, its tensors named as in `base.onnx`.
const NETWORK: &str = r#"{
  "schema": "ringfence.architecture/1",
  "input": {"name": "image", "shape": [1, 8, 8]},
  "layers": [
    {"layer": "conv", "weights": "layer1", "padding": 1},
    {"layer": "relu"},
    {"layer": "conv", "weights": "layer3", "stride": 2, "padding": 1},
    {"layer": "relu"},
    {"layer": "flatten"},
    {"layer": "linear", "weights": "layer6"},
    {"layer": "relu"},
    {"layer": "linear", "weights": "layer8"}
  ]
}"#;

/// A home with the example's data, and its model hardened for an epoch in both forms: `one.onnx` and `one.safetensors`.
fn home() -> Home {
    let home = Home::new();
    for file in ["base.onnx", "train.csv", "test.csv"] {
        fs::copy(examples().join("digits").join(file), home.work().join(file)).unwrap();
    }
    let report = harden(&home, "base.onnx", &["--out", "one.onnx", "--both"]);
    assert_eq!(report["model"], digest(&home, "one.onnx"));
    assert_eq!(report["safetensors"], digest(&home, "one.safetensors"));
    assert_eq!(report["base"], digest(&home, "base.onnx"));
    home
}

fn harden(home: &Home, model: &str, more: &[&str]) -> serde_json::Value {
    let words = ["harden", model, "--data", "train.csv", "--epochs", "1", "--format", "json"];
    home.run(&[&words[..], &DIGITS, more].concat()).exits(0).json()
}

fn digest(home: &Home, name: &str) -> String {
    Digest::of(&fs::read(home.work().join(name)).unwrap()).to_string()
}

/// The gradient of a model on a few pictures, and the loss.
fn gradient(home: &Home, model: &str) -> Vec<Array> {
    home.run(&["attack", model, "--data", "batch.npz", "--gradient", "gradient.npz"]).exits(0);
    npz::read(&mut fs::File::open(home.work().join("gradient.npz")).unwrap()).unwrap()
}

#[test]
fn weights_with_a_description_are_a_model() {
    let home = home();
    let without = home.run(&["attack", "one.safetensors", "--self-check"]).exits(2).err();
    assert!(without.contains("one.architecture.json") && without.contains("--architecture FILE"), "{without}");
    home.write("one.architecture.json", NETWORK);
    home.run(&["attack", "one.safetensors", "--self-check"]).exits(0);

    let pictures: Vec<f32> = (0..128).map(|at| (at % 17) as f32 / 16.0).collect();
    let (x, y) = (("x", &[2, 1, 8, 8][..], Values::Single(&pictures)), ("y", &[2][..], Values::Double(&[3.0, 7.0])));
    home.write("batch.npz", npz::write(&[x, y]).unwrap());
    let (network, weights) = (gradient(&home, "one.onnx"), gradient(&home, "one.safetensors"));
    for (a, b) in network.iter().zip(&weights) {
        assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
        assert!(a.values.iter().zip(&b.values).all(|(a, b)| (a - b).abs() <= 1e-6), "{} differs", a.name);
    }
    assert!(network.len() == 2 && network.iter().any(|array| array.values.iter().any(|value| value.abs() > 1e-6)));

    let words = ["--data", "test.csv", "--eps", "0.1", "--examples", "40", "--format", "json"];
    let card = |model: &str| home.run(&[&["attack", model], &words[..], &DIGITS].concat()).json();
    assert_eq!(card("one.onnx")["clean_accuracy"], card("one.safetensors")["clean_accuracy"]);
    let suspects = ["screen", "test.csv", "--model", "one.safetensors", "--format", "json"];
    assert_eq!(home.run(&[&suspects[..], &DIGITS].concat()).json()["schema"], "ringfence.screen/1");
}

#[test]
fn hardened_weights_name_what_they_come_from() {
    let home = home();
    home.write("net.json", NETWORK);
    let report =
        harden(&home, "one.safetensors", &["--architecture", "net.json", "--out", "two.safetensors", "--both"]);
    assert_eq!(report["base"], digest(&home, "one.safetensors"));
    assert_eq!(report["architecture"], digest(&home, "net.json"));
    assert_eq!(report["model"], digest(&home, "two.safetensors"));
    let header = String::from_utf8_lossy(&fs::read(home.work().join("two.safetensors")).unwrap()).into_owned();
    assert!(header.contains(&format!("\"ringfence.base\":\"{}\"", digest(&home, "one.safetensors"))));
    home.run(&["attack", "two.safetensors", "--self-check", "--architecture", "net.json"]).exits(0);
    home.run(&["attack", "two.onnx", "--self-check"]).exits(0);
    // `--both` does not write over what is trained from.
    let words = ["harden", "one.safetensors", "--architecture", "net.json", "--data", "train.csv", "--out", "one.onnx"];
    home.run(&[&words[..], &DIGITS, &["--both"]].concat()).exits(2);
}

#[test]
fn a_description_of_another_network_is_refused_by_name() {
    let home = home();
    for (wrong, names) in [
        (NETWORK.replace("layer8", "head"), "`head.weight`"),
        (
            NETWORK.replace(
                "{\"layer\": \"relu\"},\n    {\"layer\": \"linear\", \"weights\": \"layer8\"}",
                "{\"layer\": \"relu\"}",
            ),
            "`layer8.bias`",
        ),
        (NETWORK.replace("\"stride\": 2, ", ""), "512"),
        (NETWORK.replace("relu", "maxout"), "`maxout`"),
        ("{\"model_type\": \"llama\"}".to_owned(), "`llama`"),
    ] {
        home.write("wrong.json", wrong);
        let done = home.run(&["attack", "one.safetensors", "--self-check", "--architecture", "wrong.json"]).exits(3);
        assert!(done.err().contains(names), "{names}: {}", done.err());
    }
}
