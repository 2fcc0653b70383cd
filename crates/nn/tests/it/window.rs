//! Convolutions and layers in single precision go other ways than the reference: every geometry must agree with it, and an
//! example's numbers must be the same in every batch.

use ringfence_format::onnx::write::{self, AttributeInput};
use ringfence_nn::builder::Builder;
use ringfence_nn::random::Random;
use ringfence_nn::{Model, Tensor, Want};

/// A convolution with a `Relu` behind it: groups, channels in and out, sides of the image, kernel, strides, dilations and
/// the padding above, left, below, right.
struct Case {
    groups: i64,
    channels: [i64; 2],
    side: [i64; 2],
    kernel: [i64; 2],
    strides: [i64; 2],
    dilations: [i64; 2],
    pads: [i64; 4],
}

impl Case {
    fn random(random: &mut Random) -> Option<Self> {
        let mut number = |low: usize, high: usize| i64::try_from(low + random.below(high - low + 1)).unwrap();
        let groups = [1, 1, 1, 3][usize::try_from(number(0, 3)).unwrap()];
        // Few and many channels on either side go different ways, and so do sums of more than 256 products.
        let most = [[5, 26], [26, 5], [40, 40]][usize::try_from(number(0, 2)).unwrap()];
        let channels = most.map(|most| groups * number(1, most));
        let side = [number(1, 19), number(1, 37)];
        let kernel = [number(1, 4), number(1, 4)];
        let strides = [number(1, 3), number(1, 3)];
        let dilations = [number(1, 2), number(1, 2)];
        let most = [0, 2, 2, 2, 11][usize::try_from(number(0, 4)).unwrap()];
        let pads = [number(0, most), number(0, most), number(0, most), number(0, most)];
        let fits = |axis: usize| side[axis] + pads[axis] + pads[axis + 2] > (kernel[axis] - 1) * dilations[axis];
        (fits(0) && fits(1)).then_some(Self { groups, channels, side, kernel, strides, dilations, pads })
    }

    fn model(&self, random: &mut Random) -> Model {
        let [input, output] = self.channels;
        let dims = [output, input / self.groups, self.kernel[0], self.kernel[1]];
        let mut numbers = |count: i64| (0..count).map(|_| random.uniform_in(-1.0, 1.0)).collect::<Vec<f32>>();
        let (weights, bias) = (numbers(dims.iter().product()), numbers(output));
        let attributes = [
            ("group", AttributeInput::Int(self.groups)),
            ("kernel_shape", AttributeInput::Ints(&self.kernel)),
            ("strides", AttributeInput::Ints(&self.strides)),
            ("dilations", AttributeInput::Ints(&self.dilations)),
            ("pads", AttributeInput::Ints(&self.pads)),
        ];
        let file = write::model(8, 13, "", |graph| {
            write::node(graph, "Conv", "", &["x", "w", "b"], &["c"], &attributes);
            write::node(graph, "Relu", "", &["c"], &["y"], &[]);
            write::input(graph, "x", &[None, Some(input), Some(self.side[0]), Some(self.side[1])]);
            write::output(graph, "y", &[]);
            write::float_initialiser(graph, "w", &dims, &weights);
            write::float_initialiser(graph, "b", &[output], &bias);
        });
        Model::parse(&file).unwrap()
    }
}

/// The sum of the output's numbers, each with its own factor.
fn weighted<T: ringfence_nn::Real>(_: usize, logits: &[T], cotangent: &mut [T]) -> T {
    for (at, cotangent) in cotangent.iter_mut().enumerate() {
        *cotangent = T::of(1.0 - (at % 7) as f64 / 4.0);
    }
    logits.iter().zip(cotangent.iter()).map(|(y, factor)| *y * *factor).sum()
}

fn noise(shape: &[usize], random: &mut Random) -> Tensor<f32> {
    let mut tensor = Tensor::zeros(shape).unwrap();
    tensor.data.iter_mut().for_each(|number| *number = random.uniform_in(-1.0, 1.0));
    tensor
}

/// max|Δ| / max|reference|
fn error(found: &[f32], reference: &[f64]) -> f64 {
    let gaps = found.iter().zip(reference).map(|(found, reference)| (f64::from(*found) - reference).abs());
    let size = reference.iter().map(|number| number.abs()).fold(0.0, f64::max);
    gaps.fold(0.0, f64::max) / size.max(1e-3)
}

/// In single precision it gives what the reference gives, and each example what it gives alone.
fn check(case: &Case, index: usize, random: &mut Random) {
    let model = case.model(random);
    let [channels, height, width] = [case.channels[0], case.side[0], case.side[1]].map(i64::unsigned_abs);
    let shape = [(index % 6 + 1) as u64, channels, height, width].map(|dim| usize::try_from(dim).unwrap());
    let x = noise(&shape, random);
    let wide = x.cast::<f64>();
    let place = format!("case {index}: {:?} {:?} by {:?}", case.channels, case.side, case.kernel);
    let (found, reference) = (model.forward(&x).unwrap(), model.forward(&wide).unwrap());
    assert!(error(&found.data, &reference.data) < 1e-5, "{place}");
    let found = model.pullback(&x, Want::Both, &weighted).unwrap();
    let reference = model.pullback(&wide, Want::Both, &weighted).unwrap();
    assert!(error(&found.input.unwrap().data, &reference.input.unwrap().data) < 1e-5, "{place}: input");
    for (found, reference) in found.parameters.unwrap().iter().zip(reference.parameters.unwrap()) {
        assert!(error(&found.data, &reference.data) < 1e-4, "{place}: parameters");
    }
    // Alone, every example has the numbers that it has in the batch.
    let whole = model.pullback(&x, Want::Input, &weighted).unwrap();
    let (whole_input, row) = (whole.input.unwrap(), x.data.len() / shape[0]);
    for (at, example) in x.rows().enumerate() {
        let example = Tensor::new(vec![1, shape[1], shape[2], shape[3]], example.to_vec()).unwrap();
        let alone = model.pullback(&example, Want::Input, &weighted).unwrap();
        assert_eq!(alone.logits.data, whole.logits.rows().nth(at).unwrap(), "{place}: example {at}");
        assert_eq!(alone.input.unwrap().data, whole_input.data[at * row..][..row], "{place}: example {at}");
    }
}

#[test]
fn convolutions_of_every_geometry_agree_with_the_reference() {
    let mut random = Random::new(11);
    let cases: Vec<Case> = std::iter::repeat_with(|| Case::random(&mut random)).flatten().take(160).collect();
    for (index, case) in cases.iter().enumerate() {
        check(case, index, &mut random);
    }
}

/// Sums of few and of many products, and numbers of columns that leave a few lanes or most of them empty.
#[test]
fn layers_of_every_size_agree_with_the_reference() {
    let mut random = Random::new(14);
    for index in 0..60 {
        let most = [40, 400, 900][index % 3];
        let [depth, middle, columns] = [most, 400, 40].map(|most| 1 + random.below(most));
        let net = Builder::new("layers", index as u64).input("x", &[depth]).linear(middle).relu().linear(columns);
        let model = Model::parse(&net.finish().unwrap()).unwrap();
        let x = noise(&[1 + index % 23, depth], &mut random);
        let found = model.pullback(&x, Want::Input, &weighted).unwrap();
        let reference = model.pullback(&x.cast::<f64>(), Want::Input, &weighted).unwrap();
        let place = format!("{depth} to {middle} to {columns}");
        assert!(error(&found.logits.data, &reference.logits.data) < 1e-5, "{place}");
        // A number so near 0 that it rounds to the other side of it changes a gradient by more than rounding.
        assert!(error(&found.input.unwrap().data, &reference.input.unwrap().data) < 1e-2, "{place}: input");
        for (example, logits) in x.rows().zip(found.logits.rows()) {
            let alone = Tensor::new(vec![1, depth], example.to_vec()).unwrap();
            assert_eq!(model.forward(&alone).unwrap().data, logits, "{place}");
        }
    }
}

#[test]
fn strides_beyond_the_image_take_no_room() {
    let mut random = Random::new(13);
    for (index, strides) in [[1, 16_777_215], [16_777_215, 2], [9, 9], [4, 5]].into_iter().enumerate() {
        let (channels, side, kernel) = ([3, 24], [7, 8], [1, 2]);
        let case = Case { groups: 1, channels, side, kernel, strides, dilations: [1, 1], pads: [3, 3, 118, 2] };
        check(&case, index, &mut random);
    }
}

#[test]
fn changed_weights_are_used_at_once() {
    let mut random = Random::new(12);
    let case = Case {
        groups: 1,
        channels: [2, 3],
        side: [9, 9],
        kernel: [3, 3],
        strides: [2, 1],
        dilations: [1, 1],
        pads: [1; 4],
    };
    let mut model = case.model(&mut random);
    let x = noise(&[3, 2, 9, 9], &mut random);
    for _ in 0..3 {
        let found = model.pullback(&x, Want::Input, &weighted).unwrap().input.unwrap();
        let reference = model.pullback(&x.cast::<f64>(), Want::Input, &weighted).unwrap().input.unwrap();
        assert!(error(&found.data, &reference.data) < 1e-5);
        for parameter in model.parameters_mut() {
            parameter.data.iter_mut().for_each(|number| *number = random.uniform_in(-1.0, 1.0));
        }
    }
}
