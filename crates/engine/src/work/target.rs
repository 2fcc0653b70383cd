//! What a child attacks: a model that it reads, or one that it asks the parent about.

use std::fs::File;

use ringfence_attack::{Answers, AttackError, Endpoint, Examples, Predict, TextCallback, Unanswered};
use ringfence_nn::{Model, OutputKind, Tensor};
use ringfence_reach::endpoint::{AskError, Asker, Description, OutputKind as Told};

use super::Files;

/// What is attacked.
pub(super) enum Target {
    /// A model whose file is here.
    Here(Box<Model>),
    /// One that can only be asked.
    Asked(Box<Endpoint<'static>>),
}

impl Target {
    /// The model or the way to it is the next descriptor.
    pub(super) fn next(files: &mut Files, endpoint: Option<Description>) -> Result<Self, String> {
        Ok(match endpoint {
            None => Self::Here(Box::new(files.model()?)),
            Some(description) if description.is_text() => {
                return Err("the endpoint is described as one for texts: `ringfence attack text --endpoint`".into());
            }
            Some(description) => Self::Asked(Box::new(asked(files.next()?, description))),
        })
    }

    /// Whatever it is, it predicts.
    pub(super) fn source(&self) -> &dyn Predict {
        match self {
            Self::Here(model) => model.as_ref(),
            Self::Asked(endpoint) => endpoint.as_ref(),
        }
    }

    /// Whether labels are all that it answers.
    pub(super) fn is_labels(&self) -> bool {
        self.source().capability() == ringfence_attack::Capability::Labels
    }

    /// Refuses an endpoint that answers the same question differently; files are computed here. For what makes no such check of
    /// its own.
    pub(super) fn repeats_itself(&self, examples: &Examples) -> Result<(), AttackError> {
        let Self::Asked(endpoint) = self else { return Ok(()) };
        let shape = std::iter::once(1).chain(examples.inputs().shape.iter().skip(1).copied()).collect();
        let data = examples.row(0).iter().copied().map(f64::from).collect();
        endpoint.repeats_itself(&Tensor { shape, data })
    }
}

fn asked(socket: File, description: Description) -> Endpoint<'static> {
    let shape = std::iter::once(None).chain(description.input().shape.iter().copied().map(Some)).collect();
    let (answers, classes) = (answers(&description), description.output().classes);
    let (origin, digest) = (description.origin(), description.digest());
    let asker = Asker::new(socket, description);
    Endpoint::new(origin, shape, digest, answers, move |x| {
        let data = asker.ask(&x.data).map_err(unanswered)?;
        Ok(Tensor { shape: vec![x.shape.first().copied().unwrap_or(0), classes], data })
    })
}

/// A classifier of texts that can only be asked; the way to it is the next descriptor.
pub(super) fn asked_text(files: &mut Files, description: Description) -> Result<TextCallback<'static>, String> {
    if !description.is_text() {
        return Err("the endpoint is described as one for numbers: say `text = true` under `[input]`".into());
    }
    let (answers, classes) = (answers(&description), description.output().classes);
    let (origin, digest) = (description.origin(), description.digest());
    let asker = Asker::new(files.next()?, description);
    Ok(TextCallback::asked(origin, digest, answers, move |texts| {
        let scores = asker.ask_texts(texts).map_err(unanswered)?;
        #[expect(clippy::cast_possible_truncation, reason = "scores are compared, and moved by far more than rounding")]
        let row = |row: &[f64]| row.iter().map(|score| *score as f32).collect();
        Ok(scores.chunks(classes).map(row).collect())
    }))
}

fn answers(description: &Description) -> Answers {
    match description.output().kind {
        Told::Logits => Answers::Scores(OutputKind::Logits),
        Told::LogProbabilities => Answers::Scores(OutputKind::LogProbabilities),
        Told::Probabilities => Answers::Scores(OutputKind::Probabilities),
        Told::Label => Answers::Labels,
    }
}

fn unanswered(error: AskError) -> Unanswered {
    match error {
        AskError::Spent { budget } => Unanswered::Spent { budget },
        error => Unanswered::Failed { problem: error.to_string() },
    }
}
