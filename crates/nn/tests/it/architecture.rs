//! Safetensors files with a description: against torch, back into a file, and what is refused.

use std::fmt::Write as _;
use std::fs;

use proptest::prelude::*;
use ringfence_format::safetensors::{self, TensorInput};
use ringfence_nn::architecture::{ARCHITECTURE_BYTES_MAX, LAYERS_MAX};
use ringfence_nn::{ArchitectureError, Model, NnError, OutputKind, Real, Tensor, Want, self_check};

/// A record of `tests/data/architecture.bin`; the format is described in `architecture_cases.py`.
struct Case {
    name: String,
    architecture: Vec<u8>,
    weights: Vec<u8>,
    inputs: Vec<Tensor<f64>>,
    output: Tensor<f64>,
    /// Of parameters, and under an empty name that of the input.
    gradients: Vec<(String, Tensor<f64>)>,
}

fn cases(mut rest: &[u8]) -> Vec<Case> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let name = text(&mut rest);
        let (architecture, weights) = (field(&mut rest).to_vec(), field(&mut rest).to_vec());
        let inputs = (0..integer(&mut rest)).map(|_| array(field(&mut rest))).collect();
        let output = array(field(&mut rest));
        let gradients = (0..integer(&mut rest)).map(|_| (text(&mut rest), array(field(&mut rest)))).collect();
        found.push(Case { name, architecture, weights, inputs, output, gradients });
    }
    found
}

fn field<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = integer(rest);
    let (field, behind) = rest.split_at(length);
    *rest = behind;
    field
}

fn text(rest: &mut &[u8]) -> String {
    String::from_utf8(field(rest).to_vec()).unwrap()
}

fn integer(rest: &mut &[u8]) -> usize {
    let (bytes, behind) = rest.split_first_chunk::<4>().unwrap();
    *rest = behind;
    u32::from_le_bytes(*bytes) as usize
}

fn array(mut field: &[u8]) -> Tensor<f64> {
    let rank = integer(&mut field);
    let shape = (0..rank).map(|_| integer(&mut field)).collect();
    Tensor::new(shape, field.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()).unwrap()
}

fn committed() -> Vec<Case> {
    cases(include_bytes!("../data/architecture.bin"))
}

fn described(case: &Case) -> Model {
    Model::described(&case.architecture, &case.weights).map_err(|error| format!("{}: {error}", case.name)).unwrap()
}

/// max|Δ|
fn gap<T: Real>(found: &Tensor<T>, wanted: &Tensor<f64>) -> f64 {
    let found = found.cast::<f64>();
    assert_eq!(found.shape, wanted.shape);
    found.data.iter().zip(&wanted.data).map(|(found, wanted)| (found - wanted).abs()).fold(0.0, f64::max)
}

/// max|reference|
fn most(wanted: &Tensor<f64>) -> f64 {
    wanted.data.iter().fold(f64::MIN_POSITIVE, |most, number| most.max(number.abs()))
}

/// The worst errors of output and gradients.
fn errors<T: Real>(model: &Model, case: &Case) -> [f64; 2] {
    let inputs: Vec<Tensor<T>> = case.inputs.iter().map(Tensor::cast).collect();
    let output = model.forward_all(&inputs).unwrap();
    assert_eq!(output.shape, case.output.shape, "{}", case.name);
    let row = case.output.row_len();
    let seed = |example: usize, _: &[T], cotangent: &mut [T]| {
        (example * row..).zip(cotangent).for_each(|(at, slot)| *slot = T::of((at as f64).cos()));
        T::ZERO
    };
    let with_input = case.gradients.iter().any(|(name, _)| name.is_empty());
    let want = if with_input { Want::Both } else { Want::Parameters };
    let found = model.pullback_all(&inputs, want, &seed).unwrap();
    let mut worst = 0.0f64;
    // Parameters are measured against the largest gradient of all: the bias of keys has none but rounding.
    let largest = case.gradients.iter().map(|(_, wanted)| most(wanted)).fold(0.0, f64::max);
    assert!(largest > 1e-3, "{}: nothing to compare", case.name);
    for (name, wanted) in &case.gradients {
        let found = if name.is_empty() {
            found.input.as_ref().unwrap()
        } else {
            let place = model.parameters().position(|parameter| parameter.name == name);
            let place = place.ok_or_else(|| format!("{}: no parameter {name}", case.name)).unwrap();
            &found.parameters.as_ref().unwrap()[place]
        };
        worst = worst.max(gap(found, wanted) / if name.is_empty() { most(wanted) } else { largest });
    }
    [gap(&output, &case.output) / most(&case.output), worst]
}

/// Holds every case to the bounds and answers the figures, a line each.
fn compare(cases: &[Case]) -> String {
    let mut figures = String::new();
    assert!(!cases.is_empty());
    for case in cases {
        let model = described(case);
        let (double, single) = (errors::<f64>(&model, case), errors::<f32>(&model, case));
        writeln!(figures, "{}: f64 {double:?}, f32 {single:?} (output, gradients)", case.name).unwrap();
        assert!(double.iter().all(|error| *error <= 1e-9), "{}: {double:?} in f64", case.name);
        assert!(single.iter().all(|error| *error <= 1e-5), "{}: {single:?} in f32", case.name);
    }
    figures
}

#[test]
fn outputs_and_gradients_equal_torch() {
    println!("{}", compare(&committed()));
}

#[test]
#[ignore = "takes models of 100 MB that `architecture_cases.py --large FILE` makes; RINGFENCE_ARCHITECTURE_CASES names the file"]
fn large_models_equal_torch() {
    let file = fs::read(std::env::var("RINGFENCE_ARCHITECTURE_CASES").unwrap()).unwrap();
    println!("{}", compare(&cases(&file)));
}

#[test]
fn what_works_for_onnx_works_for_these() {
    for case in committed() {
        let mut model = described(&case);
        let onnx = Model::parse(&model.to_onnx().unwrap()).unwrap();
        let inputs: Vec<Tensor<f64>> = case.inputs.clone();
        assert_eq!(onnx.forward_all(&inputs).unwrap(), model.forward_all(&inputs).unwrap(), "{}", case.name);
        if ["mlp", "cnn", "mlp_double"].contains(&case.name.as_str()) {
            let check = self_check(&model, 4).unwrap();
            assert!(check.input_gradient_error < 1e-4 && check.parameter_gradient_error < 1e-4, "{check:?}");
        }
        // Changed weights come back from a new file of weights, and everything else as it was.
        model.parameters_mut().for_each(|parameter| parameter.data.iter_mut().for_each(|number| *number *= 0.75));
        let file = model.to_safetensors(&[("ringfence.base", "sha256:00".to_owned())]);
        let again = Model::described(&case.architecture, &file).unwrap();
        assert_eq!(again.forward_all(&inputs).unwrap(), model.forward_all(&inputs).unwrap(), "{}", case.name);
        let (before, after) = (names(&case.weights), names(&file));
        assert_eq!(before.0, after.0, "{}", case.name);
        assert!(after.1.contains(&("ringfence.base".to_owned(), "sha256:00".to_owned())));
        assert!(after.1.contains(&("format".to_owned(), "pt".to_owned())));
    }
}

/// The names of all tensors in order, and the metadata.
fn names(file: &[u8]) -> (Vec<String>, Vec<(String, String)>) {
    let audit = safetensors::audit(&mut std::io::Cursor::new(file)).unwrap();
    let mut names: Vec<String> = audit.table().unwrap().iter().map(|tensor| tensor.name.clone()).collect();
    names.sort();
    (names, audit.metadata)
}

#[test]
fn an_onnx_model_has_a_file_of_weights_too() {
    let case = committed().into_iter().find(|case| case.name == "mlp").unwrap();
    let onnx = Model::parse(&described(&case).to_onnx().unwrap()).unwrap();
    let file = onnx.to_safetensors(&[]);
    assert_eq!(names(&file).0, names(&case.weights).0);
}

/// A file of `F32` tensors.
fn weights(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let numbers = vec![0u8; 4096];
    let tensors: Vec<TensorInput<'_>> = tensors
        .iter()
        .map(|(name, shape)| {
            let bytes = 4 * shape.iter().product::<usize>();
            TensorInput { name, dtype: "F32", shape, data: &numbers[..bytes] }
        })
        .collect();
    safetensors::write(&[], &tensors)
}

fn refused(architecture: &str, weights: &[u8]) -> String {
    match Model::described(architecture.as_bytes(), weights) {
        Ok(model) => match model.forward_all(&[Tensor::<f32>::zeros(&[1, 4]).unwrap()]) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => format!("run: {error}"),
        },
        Err(error) => error.to_string(),
    }
}

/// A chain over `[4]`.
fn chain(layers: &str) -> String {
    format!(r#"{{"schema": "ringfence.architecture/1", "input": {{"shape": [4]}}, "layers": [{layers}]}}"#)
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let file = weights(&[("fc.weight", &[2, 4]), ("fc.bias", &[2])]);
    let fc = r#"{"layer": "linear", "weights": "fc"}"#;
    let refusals = [
        ("sound", chain(fc)),
        ("not JSON", "{".to_owned()),
        ("no kind", "{}".to_owned()),
        ("schema of another version", r#"{"schema": "ringfence.architecture/2"}"#.to_owned()),
        ("model type", r#"{"model_type": "llama"}"#.to_owned()),
        ("preset", r#"{"schema": "ringfence.architecture/1", "preset": "alexnet"}"#.to_owned()),
        ("no layers", r#"{"schema": "ringfence.architecture/1", "input": {"shape": [4]}}"#.to_owned()),
        ("no input", r#"{"schema": "ringfence.architecture/1", "layers": []}"#.to_owned()),
        ("unknown key", chain(fc).replace("\"input\"", "\"speed\": 3, \"input\"")),
        ("repeated key", chain(r#"{"layer": "relu", "layer": "tanh"}"#)),
        ("unknown layer", chain(r#"{"layer": "lstm"}"#)),
        ("unknown setting", chain(r#"{"layer": "linear", "weights": "fc", "stride": 2}"#)),
        ("weights of a function", chain(r#"{"layer": "relu", "weights": "fc"}"#)),
        ("setting of another kind", chain(r#"{"layer": "linear", "weights": "fc", "bias": "yes"}"#)),
        ("missing tensor", chain(&format!(r#"{fc}, {{"layer": "linear", "weights": "head"}}"#))),
        ("unused tensor", chain(r#"{"layer": "linear", "weights": "fc", "bias": false}"#)),
        (
            "ignored tensor",
            chain(r#"{"layer": "linear", "weights": "fc", "bias": false}"#)
                .replace("\"layers\"", r#""ignore": ["fc.b*"], "layers""#),
        ),
        ("tensor of another rank", chain(r#"{"layer": "conv", "weights": "fc"}"#)),
        ("tensor of another shape", chain(&format!(r#"{fc}, {{"layer": "layer-norm", "weights": "fc"}}"#))),
        ("input of another shape", chain(fc).replace("[4]", "[5]")),
        ("no channels", chain(&format!(r#"{fc}, {{"layer": "max-pool", "kernel": 2}}"#))),
        ("shortcut of another shape", chain(&format!(r#"{{"layer": "residual", "layers": [{fc}]}}"#))),
        ("axis of the batch", chain(&format!(r#"{fc}, {{"layer": "softmax", "axis": 0}}"#))),
        ("axis beyond", chain(&format!(r#"{fc}, {{"layer": "softmax", "axis": 2}}"#))),
        ("embedding of numbers", chain(r#"{"layer": "embedding", "weights": "fc"}"#)),
        ("whole numbers without an embedding", chain(fc).replace("[4]", r#"[4], "element": "integer""#)),
        ("huge dimension", chain(fc).replace("[4]", "[4000000000]")),
        ("fractional dimension", chain(fc).replace("[4]", "[4.5]")),
        ("heads", r#"{"model_type": "bert", "num_attention_heads": 7}"#.to_owned()),
        ("layers of a transformer", r#"{"model_type": "gpt2", "n_layer": 1000000000}"#.to_owned()),
        ("activation", r#"{"model_type": "gpt2", "activation_function": "maxout"}"#.to_owned()),
        ("tensors of another model", r#"{"model_type": "gpt2"}"#.to_owned()),
    ];
    let mut found = String::new();
    for (what, architecture) in &refusals {
        found += &format!("{what}: {}\n", refused(architecture, &file));
    }
    let expected = include_str!("../data/architecture.expected");
    assert_eq!(found, expected, "found:\n{found}");
}

#[test]
fn windows_and_weights_are_checked() {
    let picture = |layer: &str| {
        format!(r#"{{"schema": "ringfence.architecture/1", "input": {{"shape": [2, 5, 5]}}, "layers": [{layer}]}}"#)
    };
    let file = weights(&[("c.weight", &[4, 1, 3, 3]), ("c.bias", &[4])]);
    let conv = |more: &str| picture(&format!(r#"{{"layer": "conv", "weights": "c"{more}}}"#));
    assert!(Model::described(conv(r#", "groups": 2"#).as_bytes(), &file).is_ok());
    for (more, wanted) in [
        ("", "1 channels"),
        (r#", "groups": 3"#, "a multiple of 3"),
        (r#", "groups": 2, "stride": 0"#, "stride"),
        (r#", "groups": 2, "stride": [1, 1, 1]"#, "strides"),
        (r#", "groups": 2, "dilation": 3"#, "as long as its window"),
        (r#", "groups": 2, "dilation": 2000000000"#, "as long as its window"),
    ] {
        let refusal = refused(&conv(more), &file);
        assert!(refusal.contains(wanted), "{more}: {refusal}");
    }
    let wide = picture(r#"{"layer": "max-pool", "kernel": 2, "padding": 2}"#);
    assert!(refused(&wide, &weights(&[])).contains("more padding than half"));
    // Integers are no weights, and a file that readers may take differently is none.
    let integers = TensorInput { name: "fc.weight", dtype: "I32", shape: &[2, 4], data: &[0; 32] };
    let integers = safetensors::write(&[], &[integers]);
    let layer = chain(r#"{"layer": "linear", "weights": "fc", "bias": false}"#);
    assert!(refused(&layer, &integers).contains("`fc.weight` holds I32"));
    let mut trailing = weights(&[("fc.weight", &[2, 4])]);
    trailing.push(0);
    assert!(refused(&layer, &trailing).starts_with("weights: not sound"));
    assert!(refused(&layer, b"nothing").starts_with("weights: "));
}

#[test]
fn a_softmax_at_the_end_is_seen() {
    let file = weights(&[("fc.weight", &[2, 4]), ("fc.bias", &[2])]);
    for (ending, kind) in [("softmax", OutputKind::Probabilities), ("log-softmax", OutputKind::LogProbabilities)] {
        let layers = format!(r#"{{"layer": "linear", "weights": "fc"}}, {{"layer": "{ending}"}}"#);
        assert_eq!(Model::described(chain(&layers).as_bytes(), &file).unwrap().output_kind(), kind);
    }
}

#[test]
fn embeddings_of_tokens_are_found() {
    let tables = [
        ("bert", "bert.embeddings.word_embeddings.weight"),
        ("gpt2", "transformer.wte.weight"),
        ("gpt2_untied", "transformer.wte.weight"),
    ];
    for (name, table) in tables {
        let case = committed().into_iter().find(|case| case.name == name).unwrap();
        let model = described(&case);
        let place = model.embedding("input_ids").unwrap();
        assert_eq!(model.parameters().nth(place).unwrap().name, table);
    }
}

#[test]
fn a_tied_head_repeats_its_embeddings() {
    let case = committed().into_iter().find(|case| case.name == "gpt2_untied").unwrap();
    let text = String::from_utf8(case.architecture).unwrap();
    let tied = text.replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
    assert_ne!(text, tied);
    let refusal = refused(&tied, &case.weights);
    assert!(
        refusal.contains("`lm_head.weight` is tied to `transformer.wte.weight`, but holds other numbers"),
        "{refusal}"
    );
}

#[test]
fn hostile_descriptions_end_quickly() {
    let file = weights(&[]);
    let deep = format!("{}{}", r#"{"layer": "residual", "layers": ["#.repeat(200), "]}".repeat(200));
    assert!(refused(&chain(&deep), &file).contains("nested deeper than"));
    let many = vec![r#"{"layer": "relu"}"#; LAYERS_MAX + 1].join(",");
    assert!(refused(&chain(&many), &file).contains("more than 4096 layers"));
    let long = vec![b' '; ARCHITECTURE_BYTES_MAX + 1];
    assert!(matches!(Model::described(&long, &file), Err(ArchitectureError::TooLong { .. })));
    // As large as a shape may be, but no file holds such tensors.
    let dims = "[2000000000, 2000000000, 2000000000]";
    let wide = chain(r#"{"layer": "flatten"}, {"layer": "linear", "weights": "fc"}"#).replace("[4]", dims);
    assert!(refused(&wide, &file).contains("needs the tensor `fc.weight`"));
    let bare = chain(r#"{"layer": "relu"}"#).replace("[4]", dims);
    let refusal = Model::described(bare.as_bytes(), &file).unwrap().forward(&Tensor::<f32>::zeros(&[1, 4]).unwrap());
    assert!(matches!(refusal, Err(NnError::InputShape { .. })));
}

proptest! {
    /// Whatever is cut out of a sound description or file, or changed in it: an error or a model, never a panic.
    #[test]
    fn damage_is_an_error(case in 0usize..10, at in any::<prop::sample::Index>(), byte in any::<u8>(), in_weights in any::<bool>()) {
        let cases = committed();
        let case = &cases[case % cases.len()];
        let (mut architecture, mut weights) = (case.architecture.clone(), case.weights.clone());
        let target = if in_weights { &mut weights } else { &mut architecture };
        // The header is where a file of weights can be hurt.
        let end = target.len().min(2048);
        target[at.index(end)] = byte;
        if let Ok(model) = Model::described(&architecture, &weights) {
            let _ = model.forward_all(&case.inputs);
        }
    }
}
