//! A plan's inputs, as the vault behind a server knows them: those that it has are named, the others are brought first.

use std::{collections::BTreeMap, path::Path};

use ringfence_access::{Action, Exemptions, NamespaceState};
use ringfence_reach::server::Server;
use ringfence_schema::{ArtifactKind, ArtifactName, Reference, Tree};
use serde::Deserialize;

use crate::{
    carry::{Load, declared, up_declared},
    error::EngineError,
    plan::{Plan, Whence},
    record::{Reading, Version},
    run::job::CODE,
    settings::Settings,
    transfer::{Declaration, UploadState},
};

#[derive(Deserialize)]
struct Versions {
    artifacts: Vec<Version>,
}

/// What the vault behind `server` has for each input of `plan`: `data.ROLE`, `model.ROLE` or `code` to
/// `kind/name@version`. Files that it does not have are brought, inspected and admitted first.
///
/// # Errors
/// As [`crate::carry::up`]; [`EngineError::Refused`] where its gate holds one back.
pub fn named(
    settings: &Settings<'_>,
    server: &Server,
    plan: &Plan,
    exempt: Exemptions,
) -> Result<BTreeMap<String, String>, EngineError> {
    let Versions { artifacts } = server.read("/api/v1/artifacts")?;
    let desk = Desk { settings, server, known: artifacts, exempt };
    let mut named = BTreeMap::new();
    for (role, data) in &plan.content.data {
        let reference = match data.whence(role).map_err(|what| plan.wrong(what))? {
            Whence::Vault(wanted) => desk.known(&wanted)?,
            Whence::Files(path) => {
                let labels = data.labels.as_ref().map(|path| plan.resolve(path));
                let name = plan.name_of(ArtifactKind::Dataset, data.name.as_deref(), role)?;
                desk.brought(&plan.resolve(&path), labels.as_deref(), name, data.reading(role))?
            }
        };
        named.insert(format!("data.{role}"), reference);
    }
    for (role, model) in &plan.content.model {
        let reference = match model.whence(role).map_err(|what| plan.wrong(what))? {
            Whence::Vault(wanted) => desk.known(&wanted)?,
            Whence::Files(path) => {
                let name = plan.name_of(ArtifactKind::Model, model.name.as_deref(), role)?;
                desk.brought(&plan.resolve(&path), None, name, Reading::default())?
            }
        };
        named.insert(format!("model.{role}"), reference);
    }
    if let Some(code) = &plan.content.run.code {
        let name = plan.name_of(ArtifactKind::Code, None, CODE)?;
        named.insert(CODE.to_owned(), desk.brought(&plan.resolve(code), None, name, Reading::default())?);
    }
    Ok(named)
}

struct Desk<'d> {
    settings: &'d Settings<'d>,
    server: &'d Server,
    known: Vec<Version>,
    exempt: Exemptions,
}

impl Desk<'_> {
    /// The very version that `wanted` stands for now.
    fn known(&self, wanted: &Reference) -> Result<String, EngineError> {
        use ringfence_schema::Selector;
        let mut of_name = self.known.iter().filter(|version| version.artifact == wanted.artifact);
        let found = match &wanted.selector {
            Selector::Latest => of_name.rfind(|version| version.state != NamespaceState::Quarantined),
            Selector::Version(number) => of_name.find(|version| version.version == *number),
            Selector::Label(label) => of_name.find(|version| version.labels.contains(label)),
            Selector::Digest(digest) => of_name.rfind(|version| version.tree == *digest),
        };
        let missing = || EngineError::NotFound { what: "artifact", name: wanted.to_string() };
        found.map(|version| version.reference().to_string()).ok_or_else(missing)
    }

    /// The version that came from exactly these files, read in this way, brought now if there is none.
    fn brought(
        &self,
        path: &Path,
        labels: Option<&Path>,
        name: ArtifactName,
        reading: Reading,
    ) -> Result<String, EngineError> {
        let progress = self.settings.progress;
        let load = Load { path, labels, name, reading, exempt: self.exempt, wait: true };
        let (declaration, places) = declared(progress, &load)?;
        let tree =
            Tree::new(declaration.files.clone()).map_err(|error| EngineError::Usage { what: error.to_string() })?;
        let is_same = |version: &&Version| {
            version.source == tree.digest() && is_usable(version) && is_read_alike(version, &declaration)
        };
        if let Some(known) = self.known.iter().rfind(is_same) {
            progress.note(&format!("known      {}", known.reference()));
            return Ok(known.reference().to_string());
        }
        match up_declared(self.server, progress, &declaration, &places, load.wait)? {
            UploadState::Admitted { version } => {
                progress.note(&format!("admitted   {}", version.reference()));
                Ok(version.reference().to_string())
            }
            UploadState::Refused { version, gate, reasons } => {
                let gate = Action::ALL.into_iter().map(Action::name).find(|name| *name == gate).unwrap_or("admit");
                Err(EngineError::Refused { gate, subject: version.reference().to_string(), reasons })
            }
            UploadState::Failed { why } => Err(EngineError::incomplete(declaration.name.to_string(), why)),
            _ => Err(EngineError::incomplete(declaration.name.to_string(), "the server does not say how it ended")),
        }
    }
}

fn is_usable(version: &Version) -> bool {
    let is_in = matches!(version.state, NamespaceState::Admitted | NamespaceState::Released);
    is_in && version.revoked.is_none() && version.refused.is_none()
}

fn is_read_alike(version: &Version, declaration: &Declaration) -> bool {
    let reading = (declaration.name.kind() == ArtifactKind::Dataset).then_some(&declaration.reading);
    version.artifact == declaration.name && version.reading.as_ref() == reading && version.exempt == declaration.exempt
}
