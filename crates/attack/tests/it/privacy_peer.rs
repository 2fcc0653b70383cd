//! LiRA and RMIA beside a reference in Python, on its models and on our own.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use ringfence_attack::{Examples, PrivacyPlan, Reference, ReferencePlan, privacy, wilson95};
use ringfence_nn::{Model, Tensor};
use ringfence_schema::privacy::MembershipTest;
use serde_json::{Value, json};

/// Images of which one half are members, and references, as `xtask/peers/privacy.py` has them.
const POOL: usize = 20_000;
const REFERENCES: usize = 8;

#[test]
#[ignore = "trains 8 networks here and 9 in Python: minutes; `PYTHON` names an interpreter that has torch, MNIST lies in ../shared"]
fn figures_equal_those_of_the_reference() {
    let Some((folder, peer)) = reference() else { return };
    assert!(peer["skipped"].is_null(), "{peer}");

    let (members, others) = halves(&folder);
    let models: Vec<Model> = (0..=REFERENCES).map(|place| model(&folder, place)).collect();
    let masks = fs::read(folder.join("masks.u8")).unwrap();
    let given: Vec<Reference<'_>> = models[1..]
        .iter()
        .zip(masks.chunks_exact(POOL))
        .map(|(model, mask)| Reference { model, contains: Some(mask.iter().map(|bit| *bit == 1).collect()) })
        .collect();
    let (report, _) = privacy(&models[0], &members, &others, &given, &PrivacyPlan::default(), &mut |_| {}).unwrap();
    let mut table = json!({ "reference": peer["figures"].clone(), "accuracy": peer["accuracy"].clone() });
    for test in &report.membership {
        let figures = &peer["figures"][&test.attack];
        table["same models"][&test.attack] = summary(test);
        if figures.is_null() {
            continue;
        }
        let number = |pointer: &str| figures.pointer(pointer).and_then(Value::as_f64).unwrap();
        // On the very same models nothing but rounding may differ.
        assert!((test.auc.unwrap() - number("/auc")).abs() < 1e-4, "{}: {test:?}, {figures}", test.attack);
        let [low, high] = test.auc_ci95.unwrap();
        assert!(((high - low) / 2.0 / 1.959_964 - number("/deviation")).abs() < 1e-4, "{}", test.attack);
        for (rate, name) in test.tpr_at_fpr.iter().zip(["/tpr/0.01", "/tpr/0.001"]) {
            assert!((rate.tpr.unwrap() - number(name)).abs() < 1e-3, "{}: {rate:?}, {figures}", test.attack);
        }
    }

    // Models of our own, of the same recipe on the same pool.
    let recipe = ReferencePlan { models: REFERENCES, epochs: 20, batch: 128, rate: 2e-3, ..ReferencePlan::default() };
    let plan = PrivacyPlan { references: recipe, ..PrivacyPlan::default() };
    let (report, _) = privacy(&models[0], &members, &others, &[], &plan, &mut |_| {}).unwrap();
    for test in &report.membership {
        table["own references"][&test.attack] = summary(test);
        let figures = &peer["figures"][&test.attack];
        let Some(expected) = figures["auc"].as_f64() else { continue };
        let [low, high] = test.auc_ci95.unwrap();
        assert!((low..=high).contains(&expected), "{}: {low}..{high}, the reference has {expected}", test.attack);
        for (rate, name) in test.tpr_at_fpr.iter().zip(["0.01", "0.001"]) {
            // Both rates are measured: the intervals must meet.
            let expected = figures["tpr"][name].as_f64().unwrap();
            let other = wilson95(hits(expected), POOL / 2);
            let [low, high] = rate.ci95.unwrap();
            assert!(low <= other[1] && other[0] <= high, "{}: {rate:?}, the reference has {expected}", test.attack);
        }
    }
    table["own references"]["facts"] = json!(report.references);
    writeln!(std::io::stdout(), "{table:#}").unwrap();
}

/// How many members a share of them is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small number")]
fn hits(share: f64) -> usize {
    (share * (POOL / 2) as f64).round() as usize
}

/// The folder of the reference's models, and its figures; `None` where the data is not there.
fn reference() -> Option<(PathBuf, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if let Some(folder) = env::var_os("PRIVACY_MODELS").map(PathBuf::from) {
        let figures = serde_json::from_slice(&fs::read(folder.join("figures.json")).unwrap()).unwrap();
        return Some((folder, figures));
    }
    let mnist = env::var_os("MNIST").map_or(root.join("../shared/data/mnist"), Into::into);
    if !mnist.is_dir() {
        eprintln!("SKIPPED: {} is not there; `MNIST` names another place", mnist.display());
        return None;
    }
    let folder = env::temp_dir().join(format!("ringfence-privacy-{}", std::process::id()));
    let python = env::var("PYTHON").unwrap_or("python3".into());
    let run = Command::new(python).arg(root.join("xtask/peers/privacy.py")).arg(&mnist).arg(&folder).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Some((folder, serde_json::from_slice(&run.stdout).unwrap()))
}

fn summary(test: &MembershipTest) -> Value {
    json!({ "auc": test.auc, "ci95": test.auc_ci95, "tpr": test.tpr_at_fpr })
}

fn model(folder: &Path, place: usize) -> Model {
    Model::parse(&fs::read(folder.join(format!("model-{place}.onnx"))).unwrap()).unwrap()
}

fn halves(folder: &Path) -> (Examples, Examples) {
    let x: Vec<f32> = fs::read(folder.join("x.f32"))
        .unwrap()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    let y: Vec<usize> = fs::read(folder.join("y.u8")).unwrap().into_iter().map(usize::from).collect();
    let half = |from: usize, to: usize| {
        let x = Tensor { shape: vec![to - from, 784], data: x[from * 784..to * 784].to_vec() };
        Examples::new(x, y[from..to].to_vec()).unwrap()
    };
    (half(0, POOL / 2), half(POOL / 2, POOL))
}
