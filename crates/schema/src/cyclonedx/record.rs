//! The records of CycloneDX 1.6 (ECMA-424) that are written here, field by field as its JSON schema names them.

use serde::Serialize;

/// A bill of materials, ready to be written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bom {
    #[serde(rename = "$schema")]
    pub(super) schema: &'static str,
    #[serde(rename = "bomFormat")]
    pub(super) format: &'static str,
    pub(super) spec_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) serial_number: Option<String>,
    pub(super) version: u32,
    pub(super) metadata: Metadata,
    pub(super) components: Vec<Component>,
    pub(super) dependencies: Vec<Dependency>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) vulnerabilities: Vec<Vulnerability>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) formulation: Vec<Formula>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Metadata {
    pub(super) timestamp: String,
    pub(super) tools: Tools,
    pub(super) component: Component,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Tools {
    pub(super) components: Vec<Component>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Component {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "Option::is_none")]
    pub(super) bom_ref: Option<String>,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) licenses: Vec<LicenceChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) purl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pedigree: Option<Pedigree>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) external_references: Vec<ExternalReference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) components: Vec<Component>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model_card: Option<ModelCard>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) data: Vec<ComponentData>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) properties: Vec<Property>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Hash {
    pub(super) alg: &'static str,
    pub(super) content: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LicenceChoice {
    License(Licence),
    #[serde(untagged)]
    Expression {
        expression: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Licence {
    Id(&'static str),
    Name(String),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Pedigree {
    pub(super) ancestors: Vec<Component>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ExternalReference {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) url: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comment: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ComponentData {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) name: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Property {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModelCard {
    pub(super) model_parameters: ModelParameters,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quantitative_analysis: Option<QuantitativeAnalysis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) considerations: Option<Considerations>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModelParameters {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) approach: Option<Approach>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) architecture_family: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model_architecture: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) datasets: Vec<Reference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) inputs: Vec<InputOutput>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) outputs: Vec<InputOutput>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Approach {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Reference {
    #[serde(rename = "ref")]
    pub(super) target: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct InputOutput {
    pub(super) format: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QuantitativeAnalysis {
    pub(super) performance_metrics: Vec<PerformanceMetric>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PerformanceMetric {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slice: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) confidence_interval: Option<ConfidenceInterval>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConfidenceInterval {
    pub(super) lower_bound: String,
    pub(super) upper_bound: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Considerations {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) users: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) use_cases: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) technical_limitations: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dependency {
    #[serde(rename = "ref")]
    pub(super) target: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) depends_on: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Vulnerability {
    #[serde(rename = "bom-ref")]
    pub(super) bom_ref: String,
    pub(super) id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ratings: Vec<Rating>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recommendation: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) advisories: Vec<AdvisoryLink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) published: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) updated: Option<String>,
    pub(super) analysis: Analysis,
    pub(super) affects: Vec<Reference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) properties: Vec<Property>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Rating {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) score: Option<f64>,
    pub(super) severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vector: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct AdvisoryLink {
    pub(super) url: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Analysis {
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) response: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Formula {
    #[serde(rename = "bom-ref")]
    pub(super) bom_ref: String,
    pub(super) workflows: Vec<Workflow>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Workflow {
    #[serde(rename = "bom-ref")]
    pub(super) bom_ref: String,
    pub(super) uid: String,
    pub(super) name: String,
    pub(super) task_types: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) steps: Vec<Step>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) inputs: Vec<Input>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) outputs: Vec<Output>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time_start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time_end: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) commands: Vec<Command>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Command {
    pub(super) executed: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Input {
    pub(super) resource: Reference,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Output {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) resource: Reference,
}
