//! What `screen --model` finds on MNIST, of attacks and networks of many kinds: run by hand with
//! `cargo test --release -p ringfence-attack --test it measure_suspects -- --ignored --nocapture`.

use std::io::Write as _;

use ringfence_attack::{
    Examples, HardenPlan, Labels, Method, Norm, Plan, Start, Statistic, SuspectPlan, accuracy, fooling, gradient,
    harden, statistics, suspects,
};
use ringfence_nn::{Model, Tensor, builder::Builder};
use ringfence_schema::suspect::SuspectReport;

use crate::{
    measure::number,
    mnist::{mnist, wong},
};

/// PGD that goes on after it has fooled the model, as somebody would who wants the model to be sure.
fn sure(model: &Model, examples: &Examples, eps: f32) -> Examples {
    let clean = &examples.inputs().data;
    let mut x = examples.inputs().clone();
    for _ in 0..40 {
        let at = Examples::new(x.clone(), examples.labels().to_vec()).unwrap();
        let slope = gradient(model, &at).unwrap().gx;
        for ((value, slope), clean) in x.data.iter_mut().zip(&slope.data).zip(clean) {
            let sign = if *slope == 0.0 { 0.0 } else { slope.signum() };
            *value = (*value + eps / 16.0 * sign).clamp(clean - eps, clean + eps).clamp(0.0, 1.0);
        }
    }
    Examples::new(x, examples.labels().to_vec()).unwrap()
}

/// The examples that fool `model`, changed by `method`, with the labels that they had.
fn fooled(model: &Model, examples: &Examples, method: Method, norm: Norm, eps: f64) -> Examples {
    let plan = Plan { eps: vec![eps], norm, ..Plan::default() };
    let found = fooling(model, examples, method, &plan).unwrap();
    let labels = found.iter().map(|(place, _)| examples.labels()[*place]).collect();
    let data = found.into_iter().flat_map(|(_, point)| point).collect();
    pictures(data, labels)
}

fn pictures(data: Vec<f32>, labels: Vec<usize>) -> Examples {
    Examples::new(Tensor { shape: vec![labels.len(), 1, 28, 28], data }, labels).unwrap()
}

/// Those that `model` is wrong about.
fn wrong(model: &Model, examples: &Examples) -> Examples {
    let answers = ringfence_attack::predict(model, examples).unwrap();
    let places: Vec<usize> =
        (0..examples.count()).filter(|row| answers[*row] != Some(examples.labels()[*row])).collect();
    chosen(examples, &places)
}

fn chosen(examples: &Examples, places: &[usize]) -> Examples {
    let data = places.iter().flat_map(|place| examples.row(*place)).copied().collect();
    pictures(data, places.iter().map(|place| examples.labels()[*place]).collect())
}

fn joined<'e>(parts: impl Iterator<Item = &'e Examples> + Clone) -> Examples {
    let labels = parts.clone().flat_map(|part| part.labels().to_vec()).collect();
    pictures(parts.flat_map(|part| part.inputs().data.clone()).collect(), labels)
}

/// Fresh networks of several makes, by name. `narrow`, `pooled`, `leaky`, `broad`, `averaged`
/// and `linear` had no part in the choice of the rule.
fn fresh(name: &str) -> Model {
    let start = |seed| Builder::new(name, seed).input("input", &[1, 28, 28]);
    let built = match name {
        "wong" => return wong(1),
        "hardened" => return wong(4),
        "dense" => start(2).flatten().linear(256).relu().linear(128).relu().linear(10),
        "sigmoid" => start(7).flatten().linear(100).activation("Sigmoid").linear(10),
        "deep" => start(8)
            .conv(16, [3, 3], [1, 1], [1, 1])
            .batch_norm()
            .relu()
            .conv(16, [3, 3], [2, 2], [1, 1])
            .batch_norm()
            .relu()
            .conv(32, [3, 3], [2, 2], [1, 1])
            .batch_norm()
            .relu()
            .flatten()
            .linear(10),
        "leaky" => start(12)
            .conv(12, [3, 3], [2, 2], [1, 1])
            .activation("LeakyRelu")
            .conv(24, [3, 3], [2, 2], [1, 1])
            .activation("LeakyRelu")
            .flatten()
            .linear(64)
            .activation("LeakyRelu")
            .linear(10),
        "broad" => start(13).flatten().linear(512).activation("Tanh").linear(128).activation("Tanh").linear(10),
        "averaged" => start(14)
            .conv(16, [5, 5], [1, 1], [2, 2])
            .batch_norm()
            .relu()
            .average_pool([2, 2], [2, 2])
            .conv(32, [3, 3], [1, 1], [1, 1])
            .batch_norm()
            .relu()
            .average_pool([2, 2], [2, 2])
            .flatten()
            .linear(10),
        "linear" => start(15).flatten().linear(10),
        "narrow" => start(9).conv(4, [5, 5], [2, 2], [2, 2]).relu().flatten().linear(32).relu().linear(10),
        "pooled" => start(3)
            .conv(8, [5, 5], [1, 1], [2, 2])
            .relu()
            .max_pool([2, 2], [2, 2])
            .conv(16, [5, 5], [1, 1], [0, 0])
            .relu()
            .max_pool([2, 2], [2, 2])
            .flatten()
            .linear(84)
            .relu()
            .linear(10),
        _ => start(5)
            .conv(8, [5, 5], [2, 2], [2, 2])
            .activation("Tanh")
            .conv(16, [3, 3], [2, 2], [1, 1])
            .activation("Tanh")
            .flatten()
            .linear(64)
            .activation("Tanh")
            .linear(10),
    };
    Model::parse(&built.finish().unwrap()).unwrap()
}

/// `RINGFENCE_SEED` draws other weights, and another order of training.
fn trained(name: &str, train: &Examples) -> Model {
    let seed = number("RINGFENCE_SEED", 0) as u64;
    let plan = match name {
        "hardened" => HardenPlan { eps: 0.1, epochs: 5, clean_share: 0.5, ..HardenPlan::default() },
        _ => HardenPlan { eps: 0.0, epochs: 4, ..HardenPlan::default() },
    };
    let plan = HardenPlan { start: Start::Fresh, batch: 100, rate: 0.003, seed, ..plan };
    harden(fresh(name), train, &plan, &mut |_| {}).unwrap().0
}

/// Inputs that fool `model`, by attack. Those made against another network had no part in the choice of the rule.
fn changed(model: &Model, victims: &Examples, other: &Model) -> Vec<(&'static str, Examples)> {
    let linf = |method, eps| fooled(model, victims, method, Norm::Linf, eps);
    let l2 = |method| fooled(model, victims, method, Norm::L2, 3.0);
    vec![
        ("pgd-0.1", wrong(model, &sure(model, victims, 0.1))),
        ("pgd-0.2", wrong(model, &sure(model, victims, 0.2))),
        ("pgd-0.3", wrong(model, &sure(model, victims, 0.3))),
        ("pgd-0.3-just", linf(Method::Pgd, 0.3)),
        ("carlini-wagner", l2(Method::CarliniWagner)),
        ("square-0.3", linf(Method::Square, 0.3)),
        ("square-l2-3", l2(Method::Square)),
        ("deepfool-l2", l2(Method::DeepFool)),
        ("fab-t-0.3", linf(Method::FabT, 0.3)),
        ("transferred-0.3", wrong(model, &sure(other, victims, 0.3))),
    ]
}

/// How many of each part of `sizes` are suspect.
fn counted(report: &SuspectReport, sizes: &[usize]) -> Vec<usize> {
    let mut start = 0;
    sizes
        .iter()
        .map(|size| {
            let part = start..start + *size as u64;
            start = part.end;
            report.suspects.iter().filter(|suspect| part.contains(&suspect.record)).count()
        })
        .collect()
}

fn told(name: &str, sets: &[(&str, Examples)], sizes: &[usize], found: &[usize]) {
    let names = sets.iter().map(|(name, _)| *name);
    let shares =
        names.zip(sizes.iter().zip(found).skip(1)).map(|(name, (size, found))| format!("{name} {found}/{size}"));
    eprintln!("  {name}: natural {}/{}; {}", found[0], sizes[0], shares.collect::<Vec<_>>().join(", "));
}

/// The first `most` of each set.
fn first<'s>(sets: &[(&'s str, Examples)], most: usize) -> Vec<(&'s str, Examples)> {
    let places = |set: &Examples| (0..set.count().min(most)).collect::<Vec<_>>();
    sets.iter().map(|(name, set)| (*name, chosen(set, &places(set)))).collect()
}

/// What is found of `natural` pictures mixed with `sets`, where no clean record is known.
fn alone(what: &str, model: &Model, natural: &Examples, sets: &[(&str, Examples)], plan: &SuspectPlan) {
    let records = joined(std::iter::once(natural).chain(sets.iter().map(|(_, set)| set)));
    let sizes: Vec<usize> = std::iter::once(natural.count()).chain(sets.iter().map(|(_, set)| set.count())).collect();
    told(what, sets, &sizes, &counted(&suspects(model, &records, None, plan).unwrap(), &sizes));
}

/// `RINGFENCE_MODELS` names the networks, `RINGFENCE_VICTIMS` how many pictures are changed; `RINGFENCE_OUT` gets the statistics as
/// CSV.
#[test]
#[ignore = "minutes of attacks"]
fn measure_suspects_on_mnist() {
    let Some((train, test)) = mnist(number("RINGFENCE_EXAMPLES", 20_000), 10_000) else { return };
    let part = |from: usize, count: usize| {
        // Parts that share no picture.
        chosen(&test, &(0..test.count()).filter(|place| place % 5 == from).take(count).collect::<Vec<_>>())
    };
    let (reference, natural, others) = (part(0, 2_000), part(1, 2_000), part(4, 2_000));
    let victims = part(2, 2_000).sample(number("RINGFENCE_VICTIMS", 100), 1);
    let names = std::env::var("RINGFENCE_MODELS")
        .unwrap_or_else(|_| "wong,dense,hardened,smooth,sigmoid,deep,narrow,pooled,leaky,broad,averaged,linear".into());
    let other = trained("another", &train);
    for name in names.split(',') {
        let model = trained(name, &train);
        eprintln!("{name}: clean accuracy {:.4}", accuracy(&model, &test).unwrap());
        let sets = changed(&model, &victims, &other);
        let records = joined(std::iter::once(&natural).chain(sets.iter().map(|(_, set)| set)));
        let sizes: Vec<usize> =
            std::iter::once(natural.count()).chain(sets.iter().map(|(_, set)| set.count())).collect();
        let plan = SuspectPlan::default();
        let blank = SuspectPlan { labels: Labels::Absent, ..plan };
        // As a poisoner would label them, who wants the model's mistake learned.
        let answers = ringfence_attack::predict(&model, &records).unwrap();
        let answers = answers.into_iter().zip(records.labels()).enumerate();
        let theirs = answers.map(|(row, (answer, label))| answer.filter(|_| row >= natural.count()).unwrap_or(*label));
        let poisoned = pictures(records.inputs().data.clone(), theirs.collect());
        let with = |records: &Examples, plan| suspects(&model, records, Some(&reference), plan).unwrap();
        told("true labels", &sets, &sizes, &counted(&with(&records, &plan), &sizes));
        told("the model's labels", &sets, &sizes, &counted(&with(&poisoned, &plan), &sizes));
        told("no labels", &sets, &sizes, &counted(&with(&records, &blank), &sizes));
        // One record in 20 changed, of all kinds; the same among other pictures, one in 100 and none; and one in 20 changed alike.
        alone("without a reference", &model, &natural, &first(&sets, 10), &plan);
        alone("without reference and labels", &model, &natural, &first(&sets, 10), &blank);
        alone("without a reference, other pictures", &model, &others, &first(&sets, 10), &plan);
        alone("one in 100 changed, without a reference", &model, &natural, &first(&sets, 2), &plan);
        for from in [1, 3, 4] {
            alone("nothing changed, without a reference", &model, &part(from, 2_000), &[], &plan);
        }
        for set in &sets {
            alone("of one kind, without a reference", &model, &natural, std::slice::from_ref(set), &plan);
        }
        if let Some(path) = std::env::var_os("RINGFENCE_OUT") {
            let mut out = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            let rows = statistics(&model, &records, Some(&reference), &plan).unwrap();
            let sets = std::iter::once(("natural", natural.count()))
                .chain(sets.iter().map(|(name, set)| (*name, set.count())));
            let sets = sets.flat_map(|(set, count)| std::iter::repeat_n(set, count));
            writeln!(out, "model,set,{}", Statistic::ALL.map(Statistic::name).join(",")).unwrap();
            for (set, row) in sets.zip(rows) {
                writeln!(out, "{name},{set},{}", row.map(|value| value.to_string()).join(",")).unwrap();
            }
        }
    }
}
