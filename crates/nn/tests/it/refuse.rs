//! Hostile and unknown models: refused by name, never a panic.

use std::fmt::Write as _;

use proptest::prelude::*;
use ringfence_format::onnx::write::{self, AttributeInput};
use ringfence_format::protobuf::Writer;
use ringfence_nn::builder::Builder;
use ringfence_nn::{Model, NnError, Tensor, Want};

use crate::cases::{Case, cases};

/// A model from `x` `[2, 3]` to `y`, opset 13, its nodes and initialisers made by `build`.
fn model(build: impl FnOnce(&mut Writer)) -> Vec<u8> {
    versioned(13, build)
}

fn versioned(opset: i64, build: impl FnOnce(&mut Writer)) -> Vec<u8> {
    write::model(8, opset, "", |graph| {
        build(graph);
        write::input(graph, "x", &[Some(2), Some(3)]);
        write::output(graph, "y", &[]);
    })
}

/// What a model says, from parsing to a first pass.
fn verdict(file: &[u8]) -> String {
    let answer = Model::parse(file).and_then(|model| model.forward(&Tensor::<f32>::zeros(&[2, 3])?));
    answer.map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    use AttributeInput::{Float, FloatTensor, Int, Ints, Text};
    let node = |operator: &'static str,
                inputs: &'static [&'static str],
                attributes: &'static [(&'static str, AttributeInput<'static>)]| {
        model(|graph| {
            write::float_initialiser(graph, "w", &[3], &[1.0; 3]);
            write::float_initialiser(graph, "k", &[1, 1, 1], &[1.0]);
            write::int_initialiser(graph, "n", &[2], &[2, 3]);
            write::int_initialiser(graph, "huge", &[3], &[1 << 40, 1 << 40, 1 << 40]);
            write::int_initialiser(graph, "far", &[1], &[7]);
            write::node(graph, operator, "it", inputs, &["y"], attributes);
        })
    };
    let files = [
        ("unknown operator", node("Frobnicate", &["x"], &[])),
        ("operator of a later opset", node("Gelu", &["x"], &[])),
        ("unknown attribute", node("Relu", &["x"], &[("speed", Int(3))])),
        ("attribute of another opset", node("ReduceSum", &["x"], &[("axes", Ints(&[0]))])),
        ("attribute of wrong type", node("LeakyRelu", &["x"], &[("alpha", Int(3))])),
        ("attribute value", node("Softmax", &["x"], &[("axis", Int(2))])),
        ("twice the same attribute", node("Elu", &["x"], &[("alpha", Float(1.0)), ("alpha", Float(2.0))])),
        ("missing input", node("Relu", &["z"], &[])),
        ("itself as input", node("Relu", &["y"], &[])),
        ("too many inputs", node("Relu", &["x", "w"], &[])),
        ("too few inputs", node("Sub", &["x"], &[])),
        ("integer operand", node("Mul", &["x", "n"], &[])),
        ("shapes that do not fit", node("Gemm", &["x", "w"], &[])),
        ("convolution of a matrix", node("Conv", &["x", "k"], &[])),
        ("pool mode", node("MaxPool", &["x"], &[("kernel_shape", Ints(&[1])), ("auto_pad", Text("SOME"))])),
        ("huge expansion", node("Expand", &["x", "huge"], &[])),
        ("huge reshape", node("Reshape", &["x", "huge"], &[])),
        ("index out of range", node("Gather", &["x", "far"], &[])),
        ("shape from numbers", node("Reshape", &["x", "w"], &[])),
        ("training mode", node("Dropout", &["x", "w", "far"], &[])),
        ("constant of no use", node("Constant", &[], &[("sparse_value", FloatTensor(&[1], &[1.0]))])),
        (
            "two definitions",
            model(|graph| {
                write::node(graph, "Relu", "a", &["x"], &["y"], &[]);
                write::node(graph, "Neg", "b", &["x"], &["y"], &[]);
            }),
        ),
        (
            "cycle",
            model(|graph| {
                write::node(graph, "Add", "a", &["x", "b"], &["a"], &[]);
                write::node(graph, "Neg", "b", &["a"], &["b"], &[]);
                write::node(graph, "Neg", "c", &["b"], &["y"], &[]);
            }),
        ),
        ("output that nobody makes", model(|graph| write::node(graph, "Relu", "a", &["x"], &["z"], &[]))),
        ("opset 6", versioned(6, |graph| write::node(graph, "Relu", "a", &["x"], &["y"], &[]))),
        ("opset 23", versioned(23, |graph| write::node(graph, "Relu", "a", &["x"], &["y"], &[]))),
        ("not protobuf", b"\x0a\xffmodel".to_vec()),
        ("nothing", Vec::new()),
    ];
    let mut report = String::new();
    for (what, file) in &files {
        writeln!(report, "{what}: {}", verdict(file)).unwrap();
    }
    // Where a message changes on purpose, the new file lies here.
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/refusals.actual"), &report).unwrap();
    assert_eq!(report, include_str!("../data/refusals.expected"));
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let file = Builder::new("net", 0).input("x", &[4]).linear(2).finish().unwrap();
    let model = Model::parse(&file).unwrap();
    let wrong = |shape: &[usize]| model.forward(&Tensor::<f32>::zeros(shape).unwrap()).unwrap_err();
    for shape in [&[2, 5][..], &[4], &[0, 4], &[1, 4, 1]] {
        assert!(matches!(wrong(shape), NnError::InputShape { .. }), "{shape:?}");
    }
    let x = Tensor::<f32>::zeros(&[2, 4]).unwrap();
    for labels in [&[0][..], &[0, 2], &[0, 0, 0]] {
        assert!(matches!(model.gradients(&x, labels, Want::Input), Err(NnError::Labels { .. })), "{labels:?}");
    }
}

#[test]
fn tensors_whose_numbers_are_missing_are_refused() {
    let model = Model::parse(&Builder::new("net", 0).input("x", &[4]).linear(2).finish().unwrap()).unwrap();
    let torn = Tensor::<f32> { shape: vec![2, 4], data: vec![0.0; 3] };
    assert!(matches!(model.forward(&torn), Err(NnError::TensorShape { .. })));
}

#[test]
fn memory_is_bounded_before_it_is_taken() {
    let file = Builder::new("net", 0).input("x", &[1, 64, 64]).conv(8, [3, 3], [1, 1], [1, 1]).flatten().linear(2);
    let mut model = Model::parse(&file.finish().unwrap()).unwrap();
    let x = Tensor::<f32>::zeros(&[1, 1, 64, 64]).unwrap();
    model.forward(&x).unwrap();
    model.set_memory_limit(100_000);
    assert!(matches!(model.forward(&x), Err(NnError::Memory { limit: 100_000, .. })));
}

#[test]
fn a_gradient_that_does_not_exist_is_refused() {
    let sum = |_: usize, _: &[f32], cotangent: &mut [f32]| {
        cotangent.fill(1.0);
        0.0
    };
    let mut seen = 0;
    for case in cases().into_iter().filter(Case::is_flat) {
        let mut model = Model::parse(&case.model).unwrap();
        let refused = model.pullback(&case.input, Want::Input, &sum);
        assert!(matches!(refused, Err(NnError::NoGradient { .. })), "{}: {refused:?}", case.name);
        assert!(!model.gradient_stops(&case.input).unwrap().is_empty(), "{}", case.name);
        // Rounding can be passed straight through where the user says so; a choice cannot.
        model.set_straight_through(true);
        let rounds = ["flat_floor", "flat_ceil", "flat_round", "flat_quantised"].contains(&case.name.as_str());
        assert_eq!(model.pullback(&case.input, Want::Input, &sum).is_ok(), rounds, "{}", case.name);
        seen += 1;
    }
    assert!(seen > 8, "{seen}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn mutated_models_never_panic(which in 0usize..1000, changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let cases = cases();
        let case = &cases[which % cases.len()];
        let mut file = case.model.clone();
        for (place, byte) in changes {
            let place = place % file.len();
            file[place] = byte;
        }
        if let Ok(mut model) = Model::parse(&file) {
            model.set_memory_limit(1 << 24);
            let _ = model.forward(&case.input);
            let _ = model.pullback(&case.input, Want::Both, &|_, _, _| 0.0);
            let _ = model.to_onnx();
        }
    }
}
