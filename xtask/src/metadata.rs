//! What `cargo metadata` says of this workspace, as far as chores need it.
//!
//! Its own few structures and not the crate of that name: that one switches on a feature of `serde_json`, with which
//! everything above it would be built a second time.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};
use serde::Deserialize;

use crate::tidy::root;

/// The packages, and the graph where it was asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) resolve: Option<Resolve>,
    pub(crate) target_directory: PathBuf,
}

/// A package of the workspace or of the graph.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

/// A line of a manifest.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `dev`, `build`, or nothing.
    pub(crate) kind: Option<String>,
}

/// The graph.
#[derive(Debug, Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

/// A package in the graph.
#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) deps: Vec<Edge>,
}

/// That a package is used.
#[derive(Debug, Deserialize)]
pub(crate) struct Edge {
    pub(crate) pkg: String,
    pub(crate) dep_kinds: Vec<Kind>,
}

/// In which way.
#[derive(Debug, Deserialize)]
pub(crate) struct Kind {
    pub(crate) kind: Option<String>,
}

impl Edge {
    /// Whether what uses it is linked with it.
    pub(crate) fn is_linked(&self) -> bool {
        self.dep_kinds.iter().any(|kind| kind.kind.is_none())
    }
}

/// Asks cargo; `more` are further arguments, such as `--no-deps`.
pub(crate) fn read(more: &[&str]) -> Result<Metadata> {
    let arguments = ["metadata", "--format-version", "1", "--locked"];
    let said = Command::new(env!("CARGO")).args(arguments).args(more).current_dir(root()).output()?;
    if !said.status.success() {
        bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&said.stderr).trim());
    }
    Ok(serde_json::from_slice(&said.stdout)?)
}
