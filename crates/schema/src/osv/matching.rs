//! Which packages and models an advisory affects (OSV schema, "Evaluation").

use std::{cmp::Ordering, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Advisory, Affected, Range, version};
use crate::{digest::Digest, finding::Severity};

/// Ecosystem of models on the Hugging Face Hub in our advisories.
const MODEL_ECOSYSTEM: &str = "Hugging Face";
/// How the package URL of such a model begins.
const MODEL_PURL: &str = "pkg:huggingface/";
/// Most digests of one affected model that are looked at.
const DIGESTS_MAX: usize = 100_000;

/// A package of a recorded environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Such as `PyPI`.
    pub ecosystem: String,
    /// Its name there.
    pub name: String,
    /// Its version there.
    pub version: String,
}

/// A model that is held: where it came from, if that is known, and what its files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// What it is called here, such as `model/base@1`.
    pub name: String,
    /// `ORG/NAME` on the Hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// The commit that was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// SHA-256 of its files.
    pub files: Vec<Digest>,
}

/// How sure a match is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// The name fits, but whether the version does cannot be decided here. Somebody has to look.
    Possible,
    /// Name and version, or a digest, fit.
    Certain,
}

/// What made the match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// The version is listed.
    Listed,
    /// The version lies in a range.
    InRange,
    /// Every version is affected.
    Every,
    /// A file has this digest.
    File(Digest),
    /// A range whose order is not known here.
    Undecided,
}

/// What is affected: an index into what was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matched {
    /// Index into the packages.
    Package(usize),
    /// Index into the models.
    Model(usize),
}

/// One advisory affects one thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// The advisory's id.
    pub advisory: String,
    /// What it affects.
    pub matched: Matched,
    /// How sure that is.
    pub certainty: Certainty,
    /// Why.
    pub because: Because,
    /// How bad it is.
    pub severity: Severity,
    /// CVSS base score, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// First versions without the problem, for the remedy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixed: Vec<String>,
}

/// Every match of `advisories` with `packages` and `models`: at most one for each pair, the surest; sorted by advisory and thing.
/// Withdrawn advisories match nothing.
pub fn matches(advisories: &[Advisory], packages: &[Package], models: &[Model]) -> Vec<Match> {
    let mut by_name: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    for (index, package) in packages.iter().enumerate() {
        by_name.entry(key(&package.ecosystem, &package.name)).or_default().push(index);
    }
    let mut found: BTreeMap<(String, Matched), Match> = BTreeMap::new();
    for advisory in advisories.iter().filter(|advisory| advisory.withdrawn.is_none()) {
        for affected in &advisory.affected {
            let name = affected.package.as_ref().map(|package| key(&package.ecosystem, &package.name));
            let named = name.and_then(|name| by_name.get(&name)).map(Vec::as_slice).unwrap_or_default();
            let of_packages = named.iter().filter_map(|index| {
                let package = packages.get(*index)?;
                Some((Matched::Package(*index), decide(affected, &package.ecosystem, Some(&package.version))?))
            });
            let of_models = models
                .iter()
                .enumerate()
                .filter_map(|(index, model)| Some((Matched::Model(index), decide_model(affected, model)?)));
            for (matched, (certainty, because)) in of_packages.chain(of_models) {
                let entry = found.entry((advisory.id.clone(), matched));
                let new = Match {
                    advisory: advisory.id.clone(),
                    matched,
                    certainty,
                    because,
                    severity: advisory.severity(&affected.severity),
                    score: advisory.score(&affected.severity),
                    fixed: fixed(affected),
                };
                entry
                    .and_modify(|old| {
                        if old.certainty < new.certainty {
                            *old = new.clone();
                        }
                    })
                    .or_insert(new);
            }
        }
    }
    found.into_values().collect()
}

/// What packages are looked up by: the ecosystem without its release, and the name in one spelling.
fn key(ecosystem: &str, name: &str) -> (String, String) {
    let ecosystem = ecosystem.split(':').next().unwrap_or_default().to_owned();
    let name = if ecosystem == "PyPI" { version::normalise_python_name(name) } else { name.to_owned() };
    (ecosystem, name)
}

fn decide_model(affected: &Affected, model: &Model) -> Option<(Certainty, Because)> {
    if let Some(digest) = digests(affected).find(|digest| model.files.contains(digest)) {
        return Some((Certainty::Certain, Because::File(digest)));
    }
    let package = affected.package.as_ref()?;
    let purl = package.purl.as_deref().and_then(|purl| purl.strip_prefix(MODEL_PURL));
    let (purl_name, purl_revision) =
        purl.map_or((None, None), |purl| purl.split_once('@').map_or((Some(purl), None), |(n, r)| (Some(n), Some(r))));
    // A Hub's names differ by case only in how they are shown.
    let hub = model.hub.as_deref()?;
    let named = package.ecosystem == MODEL_ECOSYSTEM && package.name.eq_ignore_ascii_case(hub);
    if !named && !purl_name.is_some_and(|name| name.eq_ignore_ascii_case(hub)) {
        return None;
    }
    if let Some(revision) = purl_revision {
        return match model.revision.as_deref() {
            Some(held) => held.eq_ignore_ascii_case(revision).then_some((Certainty::Certain, Because::Listed)),
            None => Some((Certainty::Possible, Because::Undecided)),
        };
    }
    // An advisory that names digests of bad files is about these files.
    if affected.ranges.is_empty() && affected.versions.is_empty() && digests(affected).next().is_some() {
        return None;
    }
    decide(affected, MODEL_ECOSYSTEM, model.revision.as_deref())
}

fn digests(affected: &Affected) -> impl Iterator<Item = Digest> {
    let lists = [&affected.ecosystem_specific, &affected.database_specific];
    let listed = lists.into_iter().filter_map(|value| value.get("sha256").and_then(Value::as_array)).flatten();
    listed.take(DIGESTS_MAX).filter_map(|value| format!("sha256:{}", value.as_str()?).parse().ok())
}

/// Whether `version` is affected; `None` if not. Without a version only a statement about every version is certain.
fn decide(affected: &Affected, ecosystem: &str, version: Option<&str>) -> Option<(Certainty, Because)> {
    if affected.ranges.is_empty() && affected.versions.is_empty() {
        return Some((Certainty::Certain, Because::Every));
    }
    let Some(version) = version else { return Some((Certainty::Possible, Because::Undecided)) };
    let same =
        |listed: &String| listed == version || version::compare(ecosystem, listed, version) == Some(Ordering::Equal);
    if affected.versions.iter().any(same) {
        return Some((Certainty::Certain, Because::Listed));
    }
    let mut undecided = false;
    for range in &affected.ranges {
        // Commits of a package's repository say nothing about its released versions.
        if range.kind == "GIT" && ecosystem != MODEL_ECOSYSTEM {
            continue;
        }
        let order = if range.kind == "SEMVER" { "SEMVER" } else { ecosystem };
        match in_range(range, order, version) {
            Some(true) => return Some((Certainty::Certain, Because::InRange)),
            Some(false) => {}
            None => undecided = true,
        }
    }
    undecided.then_some((Certainty::Possible, Because::Undecided))
}

/// Whether `version` lies in `range`; `None` where an edge cannot be compared with it.
fn in_range(range: &Range, ecosystem: &str, version: &str) -> Option<bool> {
    let order = |edge: &str| {
        if edge == "0" {
            return Some(Ordering::Greater);
        }
        if edge == version { Some(Ordering::Equal) } else { version::compare(ecosystem, version, edge) }
    };
    let is_edge = |edge: Option<&String>, wanted: fn(Ordering) -> bool| edge.map(|edge| order(edge).map(wanted));
    let (mut affected, mut limits, mut below_limit) = (false, false, false);
    let mut edges = Vec::new();
    for event in &range.events {
        let reached = is_edge(event.introduced.as_ref(), Ordering::is_ge);
        if let Some(reached) = reached {
            edges.push((event.introduced.as_deref().unwrap_or_default(), true, reached?));
        }
        if let Some(passed) = is_edge(event.fixed.as_ref(), Ordering::is_ge) {
            edges.push((event.fixed.as_deref().unwrap_or_default(), false, passed?));
        }
        if let Some(passed) = is_edge(event.last_affected.as_ref(), Ordering::is_gt) {
            edges.push((event.last_affected.as_deref().unwrap_or_default(), false, passed?));
        }
        if let Some(limit) = &event.limit {
            limits = true;
            below_limit |= limit == "*" || order(limit)?.is_lt();
        }
    }
    // Of the edges at or before the version the last one decides; where a begin and an end coincide, the end.
    let mut last: Option<&str> = None;
    for (edge, begins, reached) in edges {
        if !reached {
            continue;
        }
        let later = match last {
            None | Some("0") => true,
            Some(_) if edge == "0" => false,
            Some(last) => {
                let order = version::compare(ecosystem, edge, last)?;
                order.is_gt() || (order.is_eq() && !begins)
            }
        };
        if later {
            (last, affected) = (Some(edge), begins);
        }
    }
    Some(affected && (!limits || below_limit))
}

fn fixed(affected: &Affected) -> Vec<String> {
    let events = affected.ranges.iter().filter(|range| range.kind != "GIT").flat_map(|range| &range.events);
    let mut fixed: Vec<String> = events.filter_map(|event| event.fixed.clone()).take(100).collect();
    fixed.dedup();
    fixed
}
