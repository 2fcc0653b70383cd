//! What a model does as a whole: gradients, batches, weights, files.

use ringfence_format::onnx;
use ringfence_format::onnx::write::{self, AttributeInput};
use ringfence_nn::builder::Builder;
use ringfence_nn::optim::{Adam, Look, Sgd};
use ringfence_nn::random::Random;
use ringfence_nn::{Model, NnError, OutputKind, Tensor, Want, self_check};

fn digits(ending: &str) -> Model {
    let builder = Builder::new("digits", 3).input("x", &[1, 8, 8]).conv(4, [3, 3], [1, 1], [1, 1]).batch_norm().relu();
    let builder = builder.max_pool([2, 2], [2, 2]).flatten().linear(16).relu().linear(3);
    let builder = if ending.is_empty() { builder } else { builder.activation(ending) };
    Model::parse(&builder.finish().unwrap()).unwrap()
}

fn noise(shape: &[usize], seed: u64) -> Tensor<f32> {
    let mut random = Random::new(seed);
    let mut tensor = Tensor::zeros(shape).unwrap();
    tensor.data.iter_mut().for_each(|number| *number = random.uniform_in(0.0, 1.0));
    tensor
}

/// A model of one node over `x`, with opset 13.
fn single(operator: &str, dims: &[i64], attributes: &[(&str, AttributeInput<'_>)]) -> Model {
    let dims: Vec<Option<i64>> = dims.iter().copied().map(Some).collect();
    let file = write::model(8, 13, "", |graph| {
        write::node(graph, operator, "", &["x"], &["y"], attributes);
        write::input(graph, "x", &dims);
        write::output(graph, "y", &[]);
    });
    Model::parse(&file).unwrap()
}

#[test]
fn self_check_is_small() {
    for ending in ["", "Softmax", "LogSoftmax"] {
        let check = self_check(&digits(ending), 1).unwrap();
        assert!(check.forward_error < 1e-5, "{check:?}");
        assert!(check.input_gradient_error < 1e-4 && check.parameter_gradient_error < 1e-4, "{check:?}");
        assert!(check.batch_error < 1e-12 && check.comparisons > 50, "{check:?}");
    }
}

#[test]
fn the_last_operator_says_what_the_output_is() {
    assert_eq!(digits("").output_kind(), OutputKind::Logits);
    assert_eq!(digits("Softmax").output_kind(), OutputKind::Probabilities);
    assert_eq!(digits("LogSoftmax").output_kind(), OutputKind::LogProbabilities);
    let sigmoid = digits("Sigmoid");
    let refused = sigmoid.gradients(&noise(&[1, 1, 8, 8], 0), &[0], Want::Input);
    assert!(matches!(refused, Err(NnError::Loss { .. })));
}

#[test]
fn loss_and_gradients_do_not_depend_on_the_ending() {
    let x = noise(&[5, 1, 8, 8], 4);
    let labels = [0, 1, 2, 1, 0];
    let plain = digits("").gradients(&x, &labels, Want::Both).unwrap();
    for ending in ["Softmax", "LogSoftmax"] {
        assert_eq!(digits(ending).gradients(&x, &labels, Want::Both).unwrap(), plain, "{ending}");
    }
    let logits = digits("").forward(&x).unwrap();
    assert_eq!(plain.logits, logits);
}

#[test]
fn batches_are_their_examples() {
    let model = digits("");
    // More than one chunk, the last one shorter.
    let x = noise(&[37, 1, 8, 8], 5);
    let labels: Vec<usize> = (0..37).map(|row| row % 3).collect();
    let whole = model.gradients(&x, &labels, Want::Both).unwrap();
    let mut sum: Vec<f64> = Vec::new();
    for (row, label) in labels.iter().enumerate() {
        let one = Tensor::new(vec![1, 1, 8, 8], x.rows().nth(row).unwrap().to_vec()).unwrap();
        let alone = model.gradients(&one, &[*label], Want::Both).unwrap();
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close(&alone.input.unwrap().data, whole.input.as_ref().unwrap().rows().nth(row).unwrap()));
        assert!(close(&alone.loss_per_example, &whole.loss_per_example[row..=row]));
        let flat: Vec<f32> = alone.parameters.unwrap().into_iter().flat_map(|tensor| tensor.data).collect();
        sum.resize(flat.len(), 0.0);
        sum.iter_mut().zip(flat).for_each(|(sum, number)| *sum += f64::from(number) / 37.0);
    }
    let mean = whole.parameters.unwrap().into_iter().flat_map(|tensor| tensor.data);
    assert!(mean.zip(sum).all(|(a, b)| (f64::from(a) - b).abs() < 1e-5));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let model = digits("");
    let x = noise(&[200, 1, 8, 8], 6);
    let labels: Vec<usize> = (0..200).map(|row| row % 3).collect();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| model.gradients(&x, &labels, Want::Both).unwrap())
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn a_pullback_takes_any_loss() {
    let model = digits("");
    let x = noise(&[2, 1, 8, 8], 7);
    // The margin between the first two classes.
    let margin = |_: usize, logits: &[f32], cotangent: &mut [f32]| {
        (cotangent[0], cotangent[1]) = (1.0, -1.0);
        logits[0] - logits[1]
    };
    let gradient = model.pullback(&x, Want::Input, &margin).unwrap();
    assert!(gradient.parameters.is_none());
    let gradient = gradient.input.unwrap();
    let loss = |x: &Tensor<f32>| {
        let logits = model.forward(&x.cast::<f64>()).unwrap();
        logits.data[0] - logits.data[1]
    };
    let step = 2f32.powi(-12);
    for place in [3, 20, 63] {
        let (mut up, mut down) = (x.clone(), x.clone());
        up.data[place] += step;
        down.data[place] -= step;
        let slope = (loss(&up) - loss(&down)) / (f64::from(up.data[place]) - f64::from(down.data[place]));
        assert!((slope - f64::from(gradient.data[place])).abs() < 1e-4, "{place}");
    }
}

#[test]
fn ties_go_to_the_first_maximum() {
    let kernel = [("kernel_shape", AttributeInput::Ints(&[2, 2])), ("strides", AttributeInput::Ints(&[1, 1]))];
    let model = single("MaxPool", &[1, 1, 3, 3], &kernel);
    let x = Tensor::new(vec![1, 1, 3, 3], vec![0.0, 5.0, 0.0, 5.0, 5.0, 0.0, 0.0, 0.0, 5.0]).unwrap();
    let ones = |_: usize, _: &[f32], cotangent: &mut [f32]| {
        cotangent.fill(1.0);
        0.0
    };
    let gradient = model.pullback(&x, Want::Input, &ones).unwrap().input.unwrap();
    // Windows: {0,5,5,5} → place 1; {5,0,5,0} → place 1; {5,5,0,0} → place 3; {5,0,0,5} → place 4. Their sum is 4, one a window.
    assert_eq!(gradient.data, [0.0, 2.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    let reduced = single("ReduceMax", &[2, 3], &[("axes", AttributeInput::Ints(&[1]))]);
    let x = Tensor::new(vec![2, 3], vec![1.0, 7.0, 7.0, 2.0, 2.0, 2.0]).unwrap();
    let gradient = reduced.pullback(&x, Want::Input, &ones).unwrap().input.unwrap();
    assert_eq!(gradient.data, [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn a_written_file_differs_in_initialisers_only() {
    for case in crate::cases::cases() {
        let mut model = Model::parse(&case.model).unwrap();
        assert_eq!(model.to_onnx().unwrap(), case.model, "{}", case.name);
        model.reinitialise(9);
        let written = model.to_onnx().unwrap();
        let old = onnx::Model::parse(&case.model).unwrap().graph.unwrap();
        let mut payload = vec![false; case.model.len()];
        for tensor in &old.initialisers {
            let onnx::Payload::Raw(raw) = tensor.payload() else { continue };
            payload[raw.offset..raw.end()].fill(true);
        }
        assert_eq!(written.len(), case.model.len());
        let same = |((a, b), payload): ((&u8, &u8), &bool)| *payload || a == b;
        assert!(written.iter().zip(&case.model).zip(&payload).all(same), "{}", case.name);
        let again = Model::parse(&written).unwrap();
        assert!(again.parameters().eq(model.parameters()), "{}", case.name);
    }
}

#[test]
fn fresh_weights_follow_the_seed_and_the_operator() {
    let mut first = digits("");
    let mut second = digits("");
    first.reinitialise(1);
    second.reinitialise(1);
    assert!(first.parameters().eq(second.parameters()));
    second.reinitialise(2);
    assert!(!first.parameters().eq(second.parameters()));
    let linear = first.parameters().find(|parameter| parameter.shape == [16, 64]).unwrap();
    let variance = linear.data.iter().map(|w| f64::from(w * w)).sum::<f64>() / 1024.0;
    assert!((variance * 64.0 / 2.0 - 1.0).abs() < 0.15, "{variance}");
    for parameter in first.parameters().filter(|parameter| parameter.shape.len() == 1) {
        let fresh = if parameter.name.ends_with("scale") { 1.0 } else { 0.0 };
        assert_eq!(parameter.data, vec![fresh; parameter.data.len()], "{}", parameter.name);
    }
}

/// Two classes on two sides of a circle.
fn learns(mut step: impl FnMut(&mut Model, &[Tensor<f32>])) -> f64 {
    let file = Builder::new("rings", 5).input("x", &[2]).linear(24).relu().linear(2).finish().unwrap();
    let mut model = Model::parse(&file).unwrap();
    let mut random = Random::new(8);
    let mut batch = |count: usize| {
        let x: Vec<f32> = (0..2 * count).map(|_| random.uniform_in(-1.0, 1.0)).collect();
        let y = x.chunks(2).map(|p| usize::from(p[0] * p[0] + p[1] * p[1] > 0.5)).collect::<Vec<_>>();
        (Tensor::new(vec![count, 2], x).unwrap(), y)
    };
    for _ in 0..400 {
        let (x, y) = batch(64);
        let gradients = model.gradients(&x, &y, Want::Parameters).unwrap();
        step(&mut model, &gradients.parameters.unwrap());
    }
    let (x, y) = batch(1000);
    let logits = model.forward(&x).unwrap();
    let right = logits.rows().zip(&y).filter(|(row, label)| usize::from(row[1] > row[0]) == **label).count();
    right as f64 / 1000.0
}

#[test]
fn optimisers_learn() {
    let mut plain = Sgd::new(0.1).momentum(0.9, Look::Behind);
    assert!(learns(|model, gradients| plain.step(model, gradients).unwrap()) > 0.95);
    let mut nesterov = Sgd::new(0.1).momentum(0.9, Look::Ahead).weight_decay(1e-4);
    assert!(learns(|model, gradients| nesterov.step(model, gradients).unwrap()) > 0.95);
    let mut adam = Adam::new(0.01);
    assert!(learns(|model, gradients| adam.step(model, gradients).unwrap()) > 0.95);
}

#[test]
fn optimisers_take_the_steps_of_their_papers() {
    // One weight w = 1 with gradient 1, twice; by hand.
    let run = |step: &mut dyn FnMut(&mut Model, &[Tensor<f32>])| {
        let file = Builder::new("one", 0).input("x", &[1]).linear(1).finish().unwrap();
        let mut model = Model::parse(&file).unwrap();
        model.parameters_mut().for_each(|parameter| parameter.data.fill(1.0));
        let gradients = [Tensor::new(vec![1, 1], vec![1.0]).unwrap(), Tensor::new(vec![1], vec![1.0]).unwrap()];
        step(&mut model, &gradients);
        step(&mut model, &gradients);
        model.parameters().next().unwrap().data[0]
    };
    let close = |found: f32, expected: f32| assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    let mut sgd = Sgd::new(0.1).momentum(0.5, Look::Behind);
    close(run(&mut |model, gradients| sgd.step(model, gradients).unwrap()), 1.0 - 0.1 - 0.15);
    let mut nesterov = Sgd::new(0.1).momentum(0.5, Look::Ahead);
    close(run(&mut |model, gradients| nesterov.step(model, gradients).unwrap()), 1.0 - 0.15 - 0.175);
    let mut decaying = Sgd::new(0.1).weight_decay(0.5);
    close(run(&mut |model, gradients| decaying.step(model, gradients).unwrap()), 0.85 - 0.1 * (1.0 + 0.5 * 0.85));
    let mut adam = Adam::new(0.1);
    close(run(&mut |model, gradients| adam.step(model, gradients).unwrap()), 0.8);
}

/// Two inputs, the second one row for all: `y = x · x + m`.
fn two_inputs() -> Model {
    let file = write::model(8, 13, "", |graph| {
        write::node(graph, "Mul", "", &["x", "x"], &["s"], &[]);
        write::node(graph, "Add", "", &["s", "m"], &["y"], &[]);
        write::input(graph, "x", &[None, Some(3)]);
        write::input(graph, "m", &[None, Some(3)]);
        write::output(graph, "y", &[None, Some(3)]);
    });
    Model::parse(&file).unwrap()
}

#[test]
fn further_inputs_are_bound_or_given() {
    let mut model = two_inputs();
    assert_eq!(model.inputs().map(|input| input.name.to_owned()).collect::<Vec<_>>(), ["x", "m"]);
    let x = Tensor::new(vec![2, 3], vec![1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    assert!(matches!(model.forward(&x), Err(NnError::Unbound { input, .. }) if input == "m"));
    let one = Tensor::new(vec![1, 3], vec![10f32, 20.0, 30.0]).unwrap();
    assert!(model.bind("x", &one).is_err() && model.bind("z", &one).is_err());
    assert!(model.bind("m", &Tensor::<f32>::zeros(&[1, 4]).unwrap()).is_err());
    model.bind("m", &one).unwrap();
    assert_eq!(model.forward(&x).unwrap().data, [11.0, 24.0, 39.0, 26.0, 45.0, 66.0]);
    let gradients = model.gradients(&x, &[0, 1], Want::Input).unwrap();
    assert_eq!(gradients.input.unwrap().shape, [2, 3]);
    let each = Tensor::new(vec![2, 3], vec![0f32, 0.0, 0.0, 1.0, 1.0, 1.0]).unwrap();
    assert_eq!(model.forward_all(&[x.clone(), each]).unwrap().data, [1.0, 4.0, 9.0, 17.0, 26.0, 37.0]);
    assert!(model.forward_all(&[x]).is_err());
}

#[test]
fn many_examples_keep_their_own_rows_of_every_input() {
    let model = two_inputs();
    let (x, m) = (noise(&[100, 3], 1), noise(&[100, 3], 2));
    let y = model.forward_all(&[x.clone(), m.clone()]).unwrap();
    let close = |((x, m), y): ((&f32, &f32), &f32)| (x * x + m - y).abs() < 1e-6;
    assert!(x.data.iter().zip(&m.data).zip(&y.data).all(close));
}

#[test]
fn the_wanted_output_is_chosen_by_name() {
    let file = write::model(8, 13, "", |graph| {
        write::node(graph, "Relu", "", &["x"], &["a"], &[]);
        write::node(graph, "Frobnicate", "", &["x"], &["b"], &[]);
        write::input(graph, "x", &[None, Some(2)]);
        write::output(graph, "a", &[None, Some(2)]);
        write::output(graph, "b", &[None, Some(2)]);
    });
    let model = Model::parse(&file).unwrap();
    let (name, others) = model.outputs();
    assert_eq!((name, others.collect::<Vec<_>>()), ("a", vec!["b"]));
    assert!(matches!(Model::parse_output(&file, "b"), Err(NnError::Operator { .. })));
    assert!(matches!(Model::parse_output(&file, "c"), Err(NnError::Interface { .. })));
}

#[test]
fn a_gradient_of_other_shape_is_refused() {
    let mut model = digits("");
    let mut sgd = Sgd::new(0.1);
    assert!(matches!(sgd.step(&mut model, &[]), Err(NnError::TensorShape { .. })));
}
