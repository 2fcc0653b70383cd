//! Bills of materials for models and runs: CycloneDX 1.6 (ECMA-424) with `machine-learning-model` and `data` components.
//!
//! The caller fills an [`Inventory`] with plain facts, [`Inventory::to_bom`] checks that every reference leads somewhere and
//! yields a [`Bom`] to be written as JSON. The serial number follows from the content, so the same facts are the same bytes.
//! An advisory that nobody waived is `in_triage`; a waived one is `exploitable` with `will_not_fix` and the waiver's words: a
//! waiver accepts a risk, it does not deny it. Absent on purpose: services, and reading bills of others.

mod record;

use std::collections::BTreeSet;

pub use record::Bom;
use record::{
    AdvisoryLink, Analysis, Approach, Command, Component, ComponentData, ConfidenceInterval, Considerations,
    Dependency, ExternalReference, Formula, Hash, Input, InputOutput, Licence, LicenceChoice, Metadata, ModelCard,
    ModelParameters, Output, Pedigree, PerformanceMetric, Property, QuantitativeAnalysis, Rating, Reference, Step,
    Tools, Vulnerability, Workflow,
};

use crate::{
    digest::Digest,
    finding::{Severity, printable},
    osv::{Advisory, Because, Certainty, Match},
    time::Timestamp,
    tree::TreeEntry,
    waiver::WaiverRef,
};

/// Most files that are listed one by one below a component.
pub const FILES_LISTED_MAX: usize = 10_000;
/// Longest text that is taken over, in characters.
const TEXT_CHARS_MAX: usize = 10_000;

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// A trained model or checkpoint.
    Model,
    /// A dataset.
    Dataset,
    /// Code that ran.
    Code,
    /// A package of the environment.
    Package,
    /// The environment's operating system.
    System,
}

/// One component.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its name within the bill, such as `model/net@3`; once, and not beginning with `urn:cdx:`.
    pub reference: String,
    /// What it is.
    pub kind: ItemKind,
    /// Name.
    pub name: String,
    /// Version.
    pub version: Option<String>,
    /// What it is good for.
    pub description: Option<String>,
    /// Identity of its tree of files (`ringfence.tree/1`).
    pub tree: Option<Digest>,
    /// Its files.
    pub files: Vec<TreeEntry>,
    /// SPDX expression, or any name of a licence.
    pub licence: Option<String>,
    /// Package URL.
    pub purl: Option<String>,
    /// Where it came from, and documents about it.
    pub links: Vec<Link>,
    /// Other facts: name and value.
    pub facts: Vec<(String, String)>,
}

impl Item {
    /// An item with nothing but a name.
    pub fn new(reference: impl Into<String>, kind: ItemKind, name: impl Into<String>) -> Self {
        Self {
            reference: reference.into(),
            kind,
            name: name.into(),
            version: None,
            description: None,
            tree: None,
            files: Vec::new(),
            licence: None,
            purl: None,
            links: Vec::new(),
            facts: Vec::new(),
        }
    }
}

/// What a link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// Where the bytes came from.
    Distribution,
    /// A signed statement.
    Attestation,
    /// A detached signature.
    Signature,
    /// A model card.
    ModelCard,
    /// A report.
    Report,
    /// A page.
    Website,
}

/// A link to something outside the bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it leads to.
    pub kind: LinkKind,
    /// URL, or path inside a bundle.
    pub url: String,
    /// SHA-256 of what lies there.
    pub digest: Option<Digest>,
    /// A remark, such as the kind of a statement.
    pub comment: Option<String>,
}

/// What is told of a model beyond its files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Card {
    /// `supervised`, `unsupervised`, `reinforcement-learning`, `semi-supervised` or `self-supervised`; others are left out.
    pub approach: Option<String>,
    /// Such as `image classification`.
    pub task: Option<String>,
    /// Such as `convolutional neural network`.
    pub family: Option<String>,
    /// Such as `ResNet-18`.
    pub architecture: Option<String>,
    /// References of the datasets it was made with.
    pub datasets: Vec<String>,
    /// Formats of its inputs.
    pub inputs: Vec<String>,
    /// Formats of its outputs.
    pub outputs: Vec<String>,
    /// Measured figures.
    pub metrics: Vec<Metric>,
    /// For whom.
    pub users: Vec<String>,
    /// For what.
    pub use_cases: Vec<String>,
    /// What it cannot do.
    pub limitations: Vec<String>,
}

/// One measured figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Such as `accuracy under pgd-40 linf 0.3`.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// On which part of the data.
    pub slice: Option<String>,
    /// 95 % interval.
    pub interval: Option<[f64; 2]>,
}

/// The run that made the subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its id; also its reference.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The command; the caller keeps secrets out.
    pub command: Option<String>,
    /// References of what went in.
    pub inputs: Vec<String>,
    /// References of what came out.
    pub outputs: Vec<String>,
    /// Begin.
    pub started: Option<Timestamp>,
    /// End.
    pub ended: Option<Timestamp>,
}

/// An advisory that affects a component.
#[derive(Debug, Clone, PartialEq)]
pub struct Exposure {
    /// Reference of the component.
    pub affects: String,
    /// The advisory.
    pub advisory: Advisory,
    /// How it was matched.
    pub matched: Match,
    /// Who accepted it, if somebody did.
    pub waived: Option<WaiverRef>,
}

/// Everything that goes into one bill.
#[derive(Debug, Clone, PartialEq)]
pub struct Inventory {
    /// Version of this program.
    pub tool_version: String,
    /// When the bill is made.
    pub made: Timestamp,
    /// What the bill is of.
    pub subject: Item,
    /// What is told of the subject if it is a model.
    pub card: Option<Card>,
    /// References of the models that the subject was made from.
    pub bases: Vec<String>,
    /// Everything else: bases, datasets, code, packages.
    pub items: Vec<Item>,
    /// The run that made it.
    pub run: Option<Run>,
    /// Advisories.
    pub exposures: Vec<Exposure>,
}

/// Why there is no bill.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BomError {
    /// Two components with one reference, or one that begins like a link to another bill.
    #[error("bill of materials: reference `{reference}` is taken or reserved")]
    Reference {
        /// The reference, fit to print.
        reference: String,
    },
    /// A reference to no component.
    #[error("bill of materials: nothing is called `{reference}`")]
    Dangling {
        /// The reference, fit to print.
        reference: String,
    },
}

impl Inventory {
    /// The bill of materials.
    pub fn to_bom(&self) -> Result<Bom, BomError> {
        self.check_references()?;
        let mut subject = component(&self.subject);
        subject.model_card = self.card.as_ref().filter(|_| self.subject.kind == ItemKind::Model).map(model_card);
        let ancestors: Vec<Component> = self
            .bases
            .iter()
            .filter_map(|base| self.items.iter().find(|item| item.reference == *base))
            .map(|item| Component { bom_ref: None, components: Vec::new(), ..component(item) })
            .collect();
        subject.pedigree = (!ancestors.is_empty()).then_some(Pedigree { ancestors });
        let tool = Component {
            kind: "application",
            name: "ringfence".to_owned(),
            version: Some(self.tool_version.clone()),
            ..Component::default()
        };
        let mut dependencies = vec![Dependency {
            target: self.subject.reference.clone(),
            depends_on: self.items.iter().map(|item| item.reference.clone()).collect(),
        }];
        let alone = |item: &Item| Dependency { target: item.reference.clone(), depends_on: Vec::new() };
        dependencies.extend(self.items.iter().map(alone));
        let mut bom = Bom {
            schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
            format: "CycloneDX",
            spec_version: "1.6",
            serial_number: None,
            version: 1,
            metadata: Metadata {
                timestamp: self.made.to_string(),
                tools: Tools { components: vec![tool] },
                component: subject,
            },
            components: self.items.iter().map(component).collect(),
            dependencies,
            vulnerabilities: self.exposures.iter().enumerate().map(vulnerability).collect(),
            formulation: self.run.iter().map(formula).collect(),
        };
        // Plain records always have a JSON form.
        let content = serde_json::to_vec(&bom).unwrap_or_default();
        bom.serial_number = Some(serial_number(&Digest::of(&content)));
        Ok(bom)
    }

    fn check_references(&self) -> Result<(), BomError> {
        let mut known = BTreeSet::new();
        let own = [&self.subject].into_iter().chain(&self.items).map(|item| &item.reference);
        for reference in own.chain(self.run.iter().map(|run| &run.id)) {
            if reference.is_empty() || reference.starts_with("urn:cdx:") || !known.insert(reference) {
                return Err(BomError::Reference { reference: printable(reference, 120) });
            }
        }
        let used = self.bases.iter();
        let used = used.chain(self.card.iter().flat_map(|card| &card.datasets));
        let used = used.chain(self.run.iter().flat_map(|run| run.inputs.iter().chain(&run.outputs)));
        let mut used = used.chain(self.exposures.iter().map(|exposure| &exposure.affects));
        match used.find(|reference| !known.contains(reference)) {
            Some(reference) => Err(BomError::Dangling { reference: printable(reference, 120) }),
            None => Ok(()),
        }
    }
}

/// UUID version 8 (RFC 9562 §5.8) of a digest's first 16 bytes.
fn serial_number(digest: &Digest) -> String {
    let mut bytes: [u8; 16] = digest.as_bytes().first_chunk().copied().unwrap_or_default();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = crate::digest::hex(&bytes);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    format!("urn:uuid:{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

fn component(item: &Item) -> Component {
    let mut properties = Vec::new();
    let mut property = |name: &str, value: String| properties.push(Property { name: name.to_owned(), value });
    if let Some(tree) = &item.tree {
        property("ringfence:tree", tree.to_string());
    }
    if !item.files.is_empty() {
        property("ringfence:files", item.files.len().to_string());
    }
    for (name, value) in &item.facts {
        property(name, text(value));
    }
    let file = |file: &TreeEntry| Component {
        kind: "file",
        name: file.path.clone(),
        hashes: vec![sha256(&file.sha256)],
        properties: vec![Property { name: "ringfence:bytes".to_owned(), value: file.size.to_string() }],
        ..Component::default()
    };
    let single = match item.files.as_slice() {
        [only] => vec![sha256(&only.sha256)],
        _ => Vec::new(),
    };
    let data = (item.kind == ItemKind::Dataset).then(|| ComponentData { kind: "dataset", name: item.name.clone() });
    Component {
        kind: match item.kind {
            ItemKind::Model => "machine-learning-model",
            ItemKind::Dataset => "data",
            ItemKind::Code => "application",
            ItemKind::Package => "library",
            ItemKind::System => "operating-system",
        },
        bom_ref: Some(item.reference.clone()),
        name: text(&item.name),
        version: item.version.as_deref().map(text),
        description: item.description.as_deref().map(text),
        hashes: single,
        licenses: item.licence.iter().map(|licence| licence_choice(licence)).collect(),
        purl: item.purl.clone(),
        external_references: item.links.iter().map(external_reference).collect(),
        components: item.files.iter().take(FILES_LISTED_MAX).map(file).collect(),
        data: data.into_iter().collect(),
        properties,
        ..Component::default()
    }
}

fn text(text: &str) -> String {
    printable(text, TEXT_CHARS_MAX)
}

fn sha256(digest: &Digest) -> Hash {
    Hash { alg: "SHA-256", content: digest.hex() }
}

fn external_reference(link: &Link) -> ExternalReference {
    ExternalReference {
        kind: match link.kind {
            LinkKind::Distribution => "distribution",
            LinkKind::Attestation => "attestation",
            LinkKind::Signature => "digital-signature",
            LinkKind::ModelCard => "model-card",
            LinkKind::Report => "static-analysis-report",
            LinkKind::Website => "website",
        },
        url: link.url.clone(),
        hashes: link.digest.iter().map(sha256).collect(),
        comment: link.comment.as_deref().map(text),
    }
}

/// Licences of models, datasets and packages that are common, by their SPDX ids.
const LICENCES: &[&str] = &[
    "0BSD",
    "AFL-3.0",
    "AGPL-3.0-only",
    "AGPL-3.0-or-later",
    "Apache-2.0",
    "Artistic-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-NC-2.0",
    "CC-BY-NC-3.0",
    "CC-BY-NC-4.0",
    "CC-BY-NC-ND-4.0",
    "CC-BY-NC-SA-4.0",
    "CC-BY-ND-4.0",
    "CC-BY-SA-3.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "CDLA-Sharing-1.0",
    "ECL-2.0",
    "EPL-2.0",
    "EUPL-1.2",
    "GPL-2.0-only",
    "GPL-2.0-or-later",
    "GPL-3.0-only",
    "GPL-3.0-or-later",
    "HPND",
    "ISC",
    "LGPL-2.1-only",
    "LGPL-3.0-only",
    "LGPL-3.0-or-later",
    "LPPL-1.3c",
    "MIT",
    "MPL-2.0",
    "MS-PL",
    "NCSA",
    "ODC-By-1.0",
    "ODbL-1.0",
    "OFL-1.1",
    "OSL-3.0",
    "PDDL-1.0",
    "PSF-2.0",
    "Unlicense",
    "WTFPL",
    "Zlib",
];

/// A known id, an expression of known ids, or a name as it was given.
fn licence_choice(licence: &str) -> LicenceChoice {
    let known = |word: &str| LICENCES.iter().find(|id| id.eq_ignore_ascii_case(word)).copied();
    if let Some(id) = known(licence.trim()) {
        return LicenceChoice::License(Licence::Id(id));
    }
    let spaced = licence.replace('(', " ( ").replace(')', " ) ");
    let words: Option<Vec<&str>> = spaced
        .split_whitespace()
        .map(|word| match word {
            "(" | ")" => Some(word),
            "AND" | "and" => Some("AND"),
            "OR" | "or" => Some("OR"),
            id => known(id),
        })
        .collect();
    match words.filter(|words| is_expression(words)) {
        Some(words) => LicenceChoice::Expression { expression: words.join(" ").replace("( ", "(").replace(" )", ")") },
        None => LicenceChoice::License(Licence::Name(text(licence))),
    }
}

/// Operands and operators take turns, and every parenthesis is closed.
fn is_expression(words: &[&str]) -> bool {
    let (mut depth, mut wants_operand) = (0_u32, true);
    for word in words {
        match (*word, wants_operand) {
            ("(", true) => depth += 1,
            (")", false) if depth > 0 => depth -= 1,
            ("AND" | "OR", false) => wants_operand = true,
            ("(" | ")" | "AND" | "OR", _) | (_, false) => return false,
            (_, true) => wants_operand = false,
        }
    }
    depth == 0 && !wants_operand
}

fn model_card(card: &Card) -> ModelCard {
    const APPROACHES: [&str; 5] =
        ["supervised", "unsupervised", "reinforcement-learning", "semi-supervised", "self-supervised"];
    let approach = card.approach.as_deref().and_then(|wanted| APPROACHES.into_iter().find(|known| *known == wanted));
    let formats = |formats: &[String]| formats.iter().map(|format| InputOutput { format: text(format) }).collect();
    let metric = |metric: &Metric| PerformanceMetric {
        kind: text(&metric.name),
        value: metric.value.to_string(),
        slice: metric.slice.as_deref().map(text),
        confidence_interval: metric.interval.map(|[lower, upper]| ConfidenceInterval {
            lower_bound: lower.to_string(),
            upper_bound: upper.to_string(),
        }),
    };
    let texts = |list: &[String]| list.iter().map(|each| text(each)).collect::<Vec<_>>();
    let considerations = Considerations {
        users: texts(&card.users),
        use_cases: texts(&card.use_cases),
        technical_limitations: texts(&card.limitations),
    };
    let told = !(card.users.is_empty() && card.use_cases.is_empty() && card.limitations.is_empty());
    let metrics: Vec<PerformanceMetric> = card.metrics.iter().map(metric).collect();
    ModelCard {
        model_parameters: ModelParameters {
            approach: approach.map(|kind| Approach { kind }),
            task: card.task.as_deref().map(text),
            architecture_family: card.family.as_deref().map(text),
            model_architecture: card.architecture.as_deref().map(text),
            datasets: card.datasets.iter().map(|dataset| reference(dataset)).collect(),
            inputs: formats(&card.inputs),
            outputs: formats(&card.outputs),
        },
        quantitative_analysis: (!metrics.is_empty()).then_some(QuantitativeAnalysis { performance_metrics: metrics }),
        considerations: told.then_some(considerations),
    }
}

fn reference(target: &str) -> Reference {
    Reference { target: target.to_owned() }
}

fn formula(run: &Run) -> Formula {
    let step = |command: &String| Step { name: "run".to_owned(), commands: vec![Command { executed: text(command) }] };
    Formula {
        bom_ref: format!("formula:{}", run.id),
        workflows: vec![Workflow {
            bom_ref: run.id.clone(),
            uid: run.id.clone(),
            name: text(&run.name),
            task_types: vec!["build"],
            steps: run.command.iter().map(step).collect(),
            inputs: run.inputs.iter().map(|input| Input { resource: reference(input) }).collect(),
            outputs: run
                .outputs
                .iter()
                .map(|output| Output { kind: "artifact", resource: reference(output) })
                .collect(),
            time_start: run.started.map(|time| time.to_string()),
            time_end: run.ended.map(|time| time.to_string()),
        }],
    }
}

fn vulnerability((index, exposure): (usize, &Exposure)) -> Vulnerability {
    let (advisory, matched) = (&exposure.advisory, &exposure.matched);
    let vectors = advisory.affected.iter().flat_map(|affected| &affected.severity).chain(&advisory.severity);
    let vector = vectors.filter(|rating| rating.score().is_some()).map(|rating| rating.score.clone()).next();
    let method = vector.as_deref().map(|vector| match vector.split('/').next() {
        Some("CVSS:3.0") => "CVSSv3",
        Some("CVSS:3.1") => "CVSSv31",
        Some("CVSS:4.0") => "CVSSv4",
        _ => "other",
    });
    let severity = match matched.severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    };
    let analysis = match &exposure.waived {
        Some(waived) => Analysis {
            state: "exploitable",
            response: vec!["will_not_fix"],
            detail: Some(text(&format!("waived by {} until {}: {}", waived.by, waived.expires_ms, waived.reason))),
        },
        None => Analysis { state: "in_triage", response: Vec::new(), detail: None },
    };
    let because = match (&matched.because, matched.certainty) {
        (_, Certainty::Possible) => "possible: the version cannot be compared here".to_owned(),
        (Because::File(digest), _) => format!("a file is {digest}"),
        (Because::Every, _) => "every version".to_owned(),
        _ => "its version".to_owned(),
    };
    let fixed = (!matched.fixed.is_empty()).then(|| text(&format!("update to {}", matched.fixed.join(" or "))));
    let links = advisory.references.iter().filter(|link| link.kind == "ADVISORY" && !link.url.is_empty());
    Vulnerability {
        bom_ref: format!("advisory:{index}:{}", advisory.id),
        id: advisory.id.clone(),
        ratings: vec![Rating { score: matched.score, severity, method, vector }],
        description: Some(text(&advisory.summary)).filter(|summary| !summary.is_empty()),
        recommendation: fixed,
        advisories: links.map(|link| AdvisoryLink { url: link.url.clone() }).collect(),
        published: advisory.published.clone().filter(|time| is_moment(time)),
        updated: Some(advisory.modified.clone()).filter(|time| is_moment(time)),
        analysis,
        affects: vec![reference(&exposure.affects)],
        properties: vec![Property { name: "ringfence:because".to_owned(), value: because }],
    }
}

/// Whether a foreign text has the outline of an RFC 3339 moment.
fn is_moment(text: &str) -> bool {
    let outline: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).take(40).collect();
    outline.starts_with("0000-00-00T00:00:00")
        && outline.len() <= 35
        && (outline.ends_with('Z') || outline.contains(":00"))
}
