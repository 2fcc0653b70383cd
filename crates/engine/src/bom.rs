//! Bills of materials: an artifact with its files, and for what a run made, everything that went into it (CycloneDX).

use std::collections::BTreeMap;

use ringfence_schema::{
    ArtifactKind, Reference,
    cyclonedx::{Bom, Card, Exposure, Inventory, Item, ItemKind, Link, LinkKind, Metric, Run},
    evidence::EvidenceKind,
    osv::{Match, Matched, Package, matches},
    report::AttackReport,
};
use ringfence_trust::feed::Feed;

use crate::{error::EngineError, reaudit::model_of, record::Version, vault::Vault};

impl Vault<'_> {
    /// The bill of materials of a version; with a feed, also which advisories affect what is in it.
    pub fn bill(&self, version: &Version, feed: Option<&Feed>) -> Result<Bom, EngineError> {
        let subject = self.item(version)?;
        let mut items: BTreeMap<String, Item> = BTreeMap::new();
        let (mut bases, mut datasets) = (Vec::new(), Vec::new());
        for input in version.run.iter().flat_map(|run| &run.inputs) {
            let reference: Reference = input
                .artifact
                .parse()
                .map_err(|error| EngineError::tampered(version.reference().to_string(), error))?;
            let item = self.item(&self.find(&reference)?)?;
            match item.kind {
                ItemKind::Model => bases.push(item.reference.clone()),
                ItemKind::Dataset => datasets.push(item.reference.clone()),
                _ => {}
            }
            items.insert(item.reference.clone(), item);
        }
        bases.dedup();
        datasets.dedup();
        let inputs: Vec<String> = items.keys().cloned().collect();
        let packages = self.packages_of(version)?;
        for package in &packages {
            let purl = package_url(package);
            let item = Item {
                version: Some(package.version.clone()),
                purl: Some(purl.clone()),
                ..Item::new(purl.clone(), ItemKind::Package, package.name.clone())
            };
            items.insert(purl, item);
        }
        let run = version.run.as_ref().map(|run| Run {
            id: run.id.clone(),
            name: version.reference().to_string(),
            command: None,
            inputs,
            outputs: vec![subject.reference.clone()],
            started: None,
            ended: None,
        });
        let exposures = match feed {
            Some(feed) => exposures(version, &subject, &packages, feed),
            None => Vec::new(),
        };
        let is_model = subject.kind == ItemKind::Model;
        let inventory = Inventory {
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            made: (self.settings.now)(),
            card: if is_model {
                Some(Card { datasets, metrics: self.metrics(version)?, ..Card::default() })
            } else {
                None
            },
            subject,
            bases,
            items: items.into_values().collect(),
            run,
            exposures,
        };
        inventory.to_bom().map_err(|error| EngineError::incomplete("bill of materials", error))
    }

    fn item(&self, version: &Version) -> Result<Item, EngineError> {
        let kind = match version.artifact.kind() {
            ArtifactKind::Model | ArtifactKind::Checkpoint => ItemKind::Model,
            ArtifactKind::Dataset => ItemKind::Dataset,
            ArtifactKind::Code => ItemKind::Code,
        };
        let manifest = self.manifest(version)?;
        let mut item = Item::new(version.reference().to_string(), kind, version.artifact.to_string());
        item.version = Some(version.version.to_string());
        item.tree = Some(version.tree);
        item.files = manifest.tree().files().to_vec();
        item.facts = vec![("ringfence:state".to_owned(), version.state.name().to_owned())];
        if let Some(origin) = &version.origin {
            item.facts.push(("ringfence:origin".to_owned(), origin.pinned.clone()));
            item.facts.push(("ringfence:revision".to_owned(), origin.revision.clone()));
            item.purl = purl(&origin.pinned, &origin.revision);
        }
        item.links = version
            .evidence
            .iter()
            .map(|row| Link {
                kind: LinkKind::Attestation,
                url: format!("urn:ringfence:{}:{}", row.kind.name(), row.index),
                digest: Some(row.envelope),
                comment: Some(row.kind.name().to_owned()),
            })
            .collect();
        Ok(item)
    }

    /// The figures of the newest robustness card.
    fn metrics(&self, version: &Version) -> Result<Vec<Metric>, EngineError> {
        let Some(row) = version.newest(EvidenceKind::Robustness) else { return Ok(Vec::new()) };
        let Some(digest) = row.report else { return Ok(Vec::new()) };
        let report: AttackReport = serde_json::from_slice(&self.blob("report", digest)?)
            .map_err(|error| EngineError::tampered("robustness report", error))?;
        let clean = report.clean_accuracy.map(|value| Metric {
            name: "accuracy".into(),
            value,
            slice: Some("test data, unchanged".into()),
            interval: None,
        });
        let mut metrics = Vec::from_iter(clean);
        metrics.extend(report.results.iter().map(|result| Metric {
            name: format!("accuracy under {} {} {}", result.attack, result.norm, result.eps),
            value: result.accuracy,
            slice: Some("test data, attacked".into()),
            interval: Some(result.ci95),
        }));
        Ok(metrics)
    }
}

/// Which advisories of the feed affect the subject and its packages.
fn exposures(version: &Version, subject: &Item, packages: &[Package], feed: &Feed) -> Vec<Exposure> {
    let models = [model_of(version, subject.files.iter().map(|file| file.sha256).collect())];
    let exposure = |matched: Match| {
        let advisory = feed.advisories.iter().find(|advisory| advisory.id == matched.advisory)?.clone();
        let affects = match matched.matched {
            Matched::Model(_) => subject.reference.clone(),
            Matched::Package(index) => package_url(packages.get(index)?),
        };
        Some(Exposure { affects, advisory, matched, waived: None })
    };
    matches(&feed.advisories, packages, &models).into_iter().filter_map(exposure).collect()
}

/// The package URL of an installed Python package.
fn package_url(package: &Package) -> String {
    format!("pkg:pypi/{}@{}", package.name.to_lowercase().replace('_', "-"), package.version)
}

/// The package URL of what came from the Hub.
fn purl(pinned: &str, revision: &str) -> Option<String> {
    let id = pinned.strip_prefix("hf://")?.split('@').next()?;
    (!id.starts_with("datasets/")).then(|| format!("pkg:huggingface/{id}@{revision}"))
}
