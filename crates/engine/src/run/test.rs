//! The attacks on a candidate, and the robustness card that they make.

use std::collections::BTreeMap;

use ringfence_access::{Action, Facts};
use ringfence_schema::{
    Digest, Verdict,
    evidence::{EvidenceKind, EvidenceVerdict},
    report::{AttackReport, Soundness},
};
use serde_json::{Value, json};

use super::{Inputs, MODEL_FILE};
use crate::{
    act::{Act, Blob, Effect, Reach},
    admit::{Made, data_file, fill_index, resource},
    bundle::canonical,
    error::EngineError,
    page::worst,
    plan::{Plan, TestBattery, TestTable},
    record::Version,
    stage::{Candidate, Tested},
    vault::Vault,
    work::{AttackJob, Desk, Job},
};

impl Vault<'_> {
    /// Scans what the run produced, like any stranger's file.
    pub(super) fn scan_candidate(&self, candidate: Candidate) -> Result<(Candidate, Option<String>), EngineError> {
        let Candidate { version, training, observed } = candidate;
        let inspected = self.inspect(crate::stage::Untrusted { version })?;
        let refusal = inspected
            .found
            .scan
            .as_ref()
            .filter(|scan| scan.verdict != Verdict::Clean)
            .map(|scan| format!("scanned    {}  {}", inspected.version.reference(), scan.verdict));
        Ok((Candidate { version: inspected.version, training, observed }, refusal))
    }

    /// Attacks the candidate, and the base for comparison.
    pub(super) fn test(
        &self,
        plan: &Plan,
        test: &TestTable,
        inputs: &Inputs,
        candidate: Candidate,
    ) -> Result<Tested, EngineError> {
        let version = candidate.version;
        let data = inputs.data.get("test").ok_or_else(|| EngineError::Plan {
            file: plan.file.clone(),
            what: "`[test]` needs `[data.test]`".into(),
        })?;
        let act = Act {
            action: Action::Attack,
            resources: vec![resource(&version)],
            facts: Facts::default(),
            request: json!({"eps": test.eps, "steps": test.steps, "restarts": test.restarts, "seed": test.seed}),
            subject: version.reference().to_string(),
            reach: Reach::Inside,
        };
        let train = inputs.data.get("train").map(|admitted| &admitted.version);
        let base = inputs.models.get("base").map(|admitted| &admitted.version);
        let (mut tested, index) = self.act(act, || {
            let file = test.model.clone().unwrap_or_else(|| MODEL_FILE.to_owned());
            let before = match base {
                Some(base) => {
                    let manifest = self.manifest(base)?;
                    let file = manifest.tree().files().first().map(|file| file.path.clone()).unwrap_or_default();
                    Some(self.attack_version(base, &file, &data.version, None, test)?)
                }
                None => None,
            };
            let after = self.attack_version(&version, &file, &data.version, train, test)?;
            self.card(test, &version, base, &data.version, before, after)
        })?;
        fill_index(&mut tested.version, index);
        let summary = worst(&tested.after)
            .iter()
            .map(|(eps, accuracy)| format!("{:.1} % at {eps}", accuracy * 100.0))
            .collect::<Vec<_>>();
        self.settings.progress.note(&format!(
            "attacked   {}  clean {:.1} %, worst case {}",
            tested.version.reference(),
            tested.after.clean_accuracy.unwrap_or(0.0) * 100.0,
            summary.join(", ")
        ));
        Ok(tested)
    }

    fn attack_version(
        &self,
        model: &Version,
        file: &str,
        data: &Version,
        members: Option<&Version>,
        test: &TestTable,
    ) -> Result<AttackReport, EngineError> {
        let manifest = self.manifest(model)?;
        if !manifest.tree().files().iter().any(|entry| entry.path == file) {
            return Err(EngineError::incomplete(
                model.reference().to_string(),
                format!("there is no `{file}` to attack; `test.model` names another output"),
            ));
        }
        let mut descriptors = self.model_descriptors(&manifest, file)?;
        let mut readings = Vec::new();
        for dataset in std::iter::once(data).chain(members) {
            let manifest = self.manifest(dataset)?;
            let reading = dataset.reading.clone().unwrap_or_default();
            let data = data_file(&manifest, &reading)?;
            descriptors.extend(self.dataset_descriptors(&manifest, &data, &reading)?);
            readings.push(reading);
        }
        let mut readings = readings.into_iter();
        let job = Job::Attack {
            endpoint: None,
            plan: Box::new(AttackJob {
                eps: test.eps.clone(),
                at: Some(test.at()),
                steps: test.steps,
                restarts: test.restarts,
                examples: test.examples,
                range: test.range,
                seed: test.seed,
                norm: test.norm.clone(),
                standard: test.battery == TestBattery::Standard,
                attacks: test.attacks.clone(),
                levels: test.levels,
                corruptions: test.corruptions,
                ..AttackJob::default()
            }),
            reading: readings.next().unwrap_or_default(),
            members: readings.next(),
            forward: false,
        };
        Desk::new(self.settings).ask(&model.reference().to_string(), &job, descriptors)
    }

    /// The robustness card as evidence; it passes if it is sound and reaches what the plan requires.
    fn card(
        &self,
        test: &TestTable,
        version: &Version,
        base: Option<&Version>,
        data: &Version,
        before: Option<AttackReport>,
        after: AttackReport,
    ) -> Result<Effect<Tested>, EngineError> {
        let at = test.at();
        let clean = after.clean_accuracy.unwrap_or(0.0);
        let robust = worst_at(&after, at);
        let drop = before.as_ref().and_then(|card| card.clean_accuracy).map(|base| base - clean);
        let gain = before.as_ref().map(|card| robust - worst_at(card, at));
        let mut missed = Vec::new();
        let mut require = |name: &str, holds: Option<bool>, detail: String| {
            if holds == Some(false) {
                missed.push(format!("{name}: {detail}"));
            }
        };
        let need = &test.require;
        require(
            "max-clean-drop",
            need.max_clean_drop.zip(drop).map(|(most, drop)| drop <= most + ROUNDING),
            format!("{:.3} lost", drop.unwrap_or(0.0)),
        );
        require(
            "min-robust-gain",
            need.min_robust_gain.zip(gain).map(|(least, gain)| gain + ROUNDING >= least),
            format!("{:.3} gained", gain.unwrap_or(0.0)),
        );
        require("min-robust", need.min_robust.map(|least| robust + ROUNDING >= least), format!("{robust:.3} reached"));
        let verdict = if after.verdict == Soundness::Sound && missed.is_empty() {
            EvidenceVerdict::Pass
        } else {
            EvidenceVerdict::Block
        };
        let permille = |share: f64| (share * 1_000.0).round();
        let mut summary = BTreeMap::from([
            ("clean_permille".to_owned(), json!(permille(clean))),
            ("worst_permille".to_owned(), json!(permille(robust))),
            ("at".to_owned(), json!(at.to_string())),
            ("sound".to_owned(), json!(after.verdict == Soundness::Sound)),
            ("missed".to_owned(), json!(missed)),
        ]);
        if let Some(drop) = drop {
            summary.insert("clean_drop_permille".to_owned(), json!(permille(drop)));
        }
        if let Some(gain) = gain {
            summary.insert("robust_gain_permille".to_owned(), json!(permille(gain)));
        }
        let mut inputs = BTreeMap::from([("test".to_owned(), data.tree)]);
        if let Some(base) = base {
            inputs.insert("base".to_owned(), base.tree);
        }
        let made = self.evidence(&Made {
            kind: EvidenceKind::Robustness,
            name: version.reference().to_string(),
            subject: version.tree,
            rules: Digest::of(format!("ringfence-attack {}", env!("CARGO_PKG_VERSION")).as_bytes()),
            config: json!({"eps": test.eps, "steps": test.steps, "restarts": test.restarts, "seed": test.seed}),
            inputs,
            coverage: BTreeMap::from([("examples".to_owned(), after.examples)]),
            verdict,
            report: canonical(&after)?,
            summary: summary.into_iter().map(|(name, value)| (name, whole(value))).collect(),
        })?;
        let mut version = version.clone();
        let mut effect = Effect::of(());
        made.into_effect(&mut version, &mut effect);
        if let Some(before) = &before {
            effect.blobs.push(Blob::new("report", canonical(before)?));
        }
        Ok(effect.replace(Tested { version, before, after }))
    }
}

/// Worst accuracy over all attacks at radius `at`.
fn worst_at(card: &AttackReport, at: f64) -> f64 {
    worst(card).into_iter().find(|(eps, _)| (eps - at).abs() < 1e-9).map_or(0.0, |(_, accuracy)| accuracy)
}

/// Whole numbers as integers, which RFC 8785 and readers of any language spell the same.
fn whole(value: Value) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "permille of shares are small")]
    match value.as_f64() {
        Some(number) if !value.is_i64() && number.fract() == 0.0 && number.abs() < 1e9 => json!(number as i64),
        _ => value,
    }
}

/// Slack for figures that are thousandths.
const ROUNDING: f64 = 1e-9;
