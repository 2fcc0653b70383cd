//! The pool, models and figures of `xtask/peers/privacy.py`, for LiRA and RMIA to be held against.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use ringfence_attack::{Examples, PrivacyPlan, Reference, ReferencePlan};
use ringfence_nn::{Model, Tensor};
use serde_json::Value;

/// Images of which one half are members, and reference models, as the script has them.
pub(crate) const POOL: usize = 20_000;
const REFERENCES: usize = 8;
const WIDTH: usize = 784;

/// What the script made, read.
pub(crate) struct Pool {
    /// The model under test, then the references.
    models: Vec<Model>,
    masks: Vec<u8>,
    pub(crate) members: Examples,
    pub(crate) others: Examples,
    /// What the script printed.
    pub(crate) peer: Value,
}

impl Pool {
    /// Runs the script by `$PYTHON` for the figures of `sets` sets of references, or reads the folder `$PRIVACY_MODELS`; `None`,
    /// loudly, where MNIST is absent. Panics without torch.
    pub(crate) fn made(sets: usize) -> Option<Self> {
        if let Some(folder) = env::var_os("PRIVACY_MODELS").map(PathBuf::from) {
            let peer = serde_json::from_slice(&fs::read(folder.join("figures.json")).unwrap()).unwrap();
            return Some(Self::read(&folder, peer));
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mnist = env::var_os("MNIST").map_or(root.join("../shared/data/mnist"), Into::into);
        if !mnist.is_dir() {
            eprintln!("SKIPPED: {} is not there; `MNIST` names another place", mnist.display());
            return None;
        }
        let folder = env::temp_dir().join(format!("ringfence-privacy-{}", std::process::id()));
        let script = root.join("xtask/peers/privacy.py");
        let python = env::var("PYTHON").unwrap_or("python3".into());
        let run =
            Command::new(python).arg(script).arg(&mnist).arg(&folder).env("SETS", sets.to_string()).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let peer: Value = serde_json::from_slice(&run.stdout).unwrap();
        assert!(peer["skipped"].is_null(), "{peer}; `PYTHON` names an interpreter that has them");
        let pool = Self::read(&folder, peer);
        fs::remove_dir_all(folder).unwrap();
        Some(pool)
    }

    fn read(folder: &Path, peer: Value) -> Self {
        let model = |place| Model::parse(&fs::read(folder.join(format!("model-{place}.onnx"))).unwrap()).unwrap();
        let bytes = fs::read(folder.join("x.f32")).unwrap();
        let x: Vec<f32> = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        let y: Vec<usize> = fs::read(folder.join("y.u8")).unwrap().into_iter().map(usize::from).collect();
        let half = |from: usize, to: usize| {
            let x = Tensor { shape: vec![to - from, WIDTH], data: x[from * WIDTH..to * WIDTH].to_vec() };
            Examples::new(x, y[from..to].to_vec()).unwrap()
        };
        Self {
            models: (0..=REFERENCES).map(model).collect(),
            masks: fs::read(folder.join("masks.u8")).unwrap(),
            members: half(0, POOL / 2),
            others: half(POOL / 2, POOL),
            peer,
        }
    }

    /// The model under test.
    pub(crate) fn target(&self) -> &Model {
        &self.models[0]
    }

    /// The script's references.
    pub(crate) fn references(&self) -> Vec<Reference<'_>> {
        let contains = |mask: &[u8]| Some(mask.iter().map(|bit| *bit == 1).collect());
        let masks = self.masks.chunks_exact(POOL);
        self.models[1..].iter().zip(masks).map(|(model, mask)| Reference { model, contains: contains(mask) }).collect()
    }

    /// As many references of our own, by the script's recipe; another `seed` draws other halves and other first weights.
    pub(crate) fn plan(seed: u64) -> PrivacyPlan {
        let recipe =
            ReferencePlan { models: REFERENCES, epochs: 20, batch: 128, rate: 2e-3, ..ReferencePlan::default() };
        PrivacyPlan { references: recipe, seed, ..PrivacyPlan::default() }
    }
}
