//! ResNets under torchvision's names (He et al. 2015; `torchvision/models/resnet.py`), as the chain that they are.

use super::fields::Sides;
use super::layer::{Activation, EPSILON, Operation, Step, Window};

/// What a preset stands for: whether its blocks are bottlenecks, and how many each stage has.
pub(super) fn preset(name: &str) -> Option<(bool, [usize; 4])> {
    Some(match name {
        "resnet18" => (false, [2, 2, 2, 2]),
        "resnet34" => (false, [3, 4, 6, 3]),
        "resnet50" => (true, [3, 4, 6, 3]),
        "resnet101" => (true, [3, 4, 23, 3]),
        "resnet152" => (true, [3, 8, 36, 3]),
        _ => return None,
    })
}

/// The layers of such a network.
pub(super) fn steps((bottleneck, stages): (bool, [usize; 4])) -> Vec<Step> {
    let mut steps = vec![conv("conv1", 2, 3), norm("bn1"), relu("conv1")];
    let window = Window { stride: Some(Sides::All(2)), padding: Some(Sides::All(1)), dilation: None };
    let pool = Operation::Pool { max: true, kernel: Sides::All(3), window, count_padding: false };
    steps.push(step("maxpool", pool));
    for (stage, count) in (1..).zip(stages) {
        for block in 0..count {
            let at = format!("layer{stage}.{block}");
            let stride = if stage > 1 && block == 0 { 2 } else { 1 };
            let changes = block == 0 && (bottleneck || stage > 1);
            let shortcut = if changes {
                vec![conv(&format!("{at}.downsample.0"), stride, 0), norm(&format!("{at}.downsample.1"))]
            } else {
                Vec::new()
            };
            let layers = if bottleneck { narrowed(&at, stride) } else { basic(&at, stride) };
            steps.push(step(&at, Operation::Residual { layers, shortcut }));
            steps.push(relu(&at));
        }
    }
    steps.push(step("avgpool", Operation::GlobalPool { max: false }));
    steps.push(step("flatten", Operation::Flatten));
    steps.push(step("fc", Operation::Linear { weights: "fc".to_owned(), bias: true }));
    steps
}

fn basic(at: &str, stride: usize) -> Vec<Step> {
    vec![
        conv(&format!("{at}.conv1"), stride, 1),
        norm(&format!("{at}.bn1")),
        relu(at),
        conv(&format!("{at}.conv2"), 1, 1),
        norm(&format!("{at}.bn2")),
    ]
}

/// The stride is the middle convolution's, as torchvision has it.
fn narrowed(at: &str, stride: usize) -> Vec<Step> {
    vec![
        conv(&format!("{at}.conv1"), 1, 0),
        norm(&format!("{at}.bn1")),
        relu(at),
        conv(&format!("{at}.conv2"), stride, 1),
        norm(&format!("{at}.bn2")),
        relu(at),
        conv(&format!("{at}.conv3"), 1, 0),
        norm(&format!("{at}.bn3")),
    ]
}

fn conv(weights: &str, stride: usize, padding: usize) -> Step {
    let window = Window { stride: Some(Sides::All(stride)), padding: Some(Sides::All(padding)), dilation: None };
    step(weights, Operation::Conv { weights: weights.to_owned(), bias: false, window, groups: 1 })
}

fn norm(weights: &str) -> Step {
    step(weights, Operation::BatchNorm { weights: weights.to_owned(), epsilon: EPSILON })
}

fn relu(at: &str) -> Step {
    step(at, Operation::Activation(Activation::Relu))
}

fn step(label: &str, layer: Operation) -> Step {
    Step { label: label.to_owned(), layer }
}
