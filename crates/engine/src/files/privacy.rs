//! Privacy tests and private training on plain files.

use std::path::{Path, PathBuf};

use ringfence_attack::{DpPlan, PrivacyPlan};
use ringfence_reach::endpoint::Description;
use ringfence_schema::{privacy::PrivacyReport, report::HardenReport};
use ringfence_trust::entropy::{Entropy as _, SystemEntropy};

use super::{Dataset, Fresh, ModelData, descriptor, through_pipes};
use crate::{
    asked::Target,
    error::EngineError,
    model::ModelFile,
    settings::Settings,
    work::{Audited, Desk, Form, Job, NoiseKey, PrivacyAnswer},
};

/// Whose privacy is tested, and with what.
#[derive(Debug, Clone)]
pub struct PrivacyInput {
    /// What it was trained on.
    pub members: Dataset,
    /// Data of the same source that it was not trained on.
    pub non_members: Dataset,
    /// Reference models that were trained elsewhere.
    pub references: Vec<ModelFile>,
    /// An NPZ whose array `masks` says which of members and then non-members each of them was trained on.
    pub masks: Option<PathBuf>,
    /// Least and greatest input.
    pub range: [f32; 2],
}

/// A picture of what a model gives away.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// File name.
    pub name: String,
    /// A PNG.
    pub bytes: Vec<u8>,
}

/// Tests what a model gives away of its training data.
pub fn privacy(
    settings: &Settings<'_>,
    target: &Target<'_>,
    input: &PrivacyInput,
    plan: &PrivacyPlan,
) -> Result<(PrivacyReport, Vec<Drawn>), EngineError> {
    let mut descriptors = input.members.descriptors()?;
    descriptors.extend(input.non_members.descriptors()?);
    for reference in &input.references {
        descriptors.extend(reference.descriptors()?);
    }
    if let Some(masks) = &input.masks {
        descriptors.push(descriptor(masks)?);
    }
    let audited = Audited {
        members: input.members.reading.clone(),
        non_members: input.non_members.reading.clone(),
        references: input.references.len(),
        masks: input.masks.is_some(),
    };
    let job = |endpoint: Option<Description>| Job::Privacy {
        endpoint: endpoint.map(Box::new),
        plan: plan.clone(),
        range: input.range,
        audited,
    };
    let what = target.file().display().to_string();
    let (PrivacyAnswer { report, pictures }, ledger) = target.attacked(settings, job, descriptors)?;
    let report = PrivacyReport { ledger, ..report };
    let drawn = pictures.into_iter().map(|(name, bytes)| Drawn { name, bytes }).collect::<Vec<_>>();
    // The child read foreign bytes: what it calls a file must be one, and in no other folder.
    match drawn.iter().find(|picture| !is_picture_name(&picture.name)) {
        Some(picture) => Err(EngineError::incomplete(what, format!("a picture is called `{:?}`", picture.name))),
        None => Ok((report, drawn)),
    }
}

fn is_picture_name(name: &str) -> bool {
    let class = name.strip_prefix("class-").and_then(|rest| rest.strip_suffix(".png"));
    class.is_some_and(|class| (1..=9).contains(&class.len()) && class.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Tests what a language model remembers word for word of `plan`, a JSON file of canaries and sequences.
pub fn privacy_of_language(
    settings: &Settings<'_>,
    model: &ModelFile,
    plan: &Path,
    seed: u64,
) -> Result<PrivacyReport, EngineError> {
    let mut descriptors = model.descriptors()?;
    descriptors.push(descriptor(plan)?);
    let answer: PrivacyAnswer = Desk::new(settings).ask(&model.name(), &Job::LanguagePrivacy { seed }, descriptors)?;
    Ok(answer.report)
}

/// Trains a model with differential privacy and writes it to each of `outs`, as safetensors where a name ends so, otherwise as ONNX. Sampling and noise come from the system's generator.
pub fn harden_private(
    settings: &Settings<'_>,
    input: &ModelData,
    plan: &DpPlan,
    outs: &[PathBuf],
) -> Result<HardenReport, EngineError> {
    let fresh = outs.iter().map(|out| Fresh::create(out)).collect::<Result<Vec<_>, _>>()?;
    let mut descriptors = input.model.descriptors()?;
    descriptors.extend(input.data.descriptors()?);
    let mut key = NoiseKey([0; 32]);
    SystemEntropy::new().fill(&mut key.0);
    let forms = outs.iter().map(|out| Form::of(out)).collect();
    let job = Job::HardenPrivate { plan: plan.clone(), key, reading: input.data.reading.clone(), forms };
    let report = through_pipes(&fresh.iter().collect::<Vec<_>>(), |pipes| {
        descriptors.extend(pipes);
        Desk::new(settings).ask(&input.model.name(), &job, descriptors)
    })?;
    fresh.into_iter().try_for_each(Fresh::keep)?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::is_picture_name;

    #[test]
    fn pictures_are_called_after_classes_and_lie_in_no_folder() {
        assert!(is_picture_name("class-0.png") && is_picture_name("class-999.png"));
        for name in [
            "",
            "class-.png",
            "class-1.svg",
            "class-../1.png",
            "../class-1.png",
            "class-1/2.png",
            "class-1234567890.png",
        ] {
            assert!(!is_picture_name(name), "{name}");
        }
    }
}
