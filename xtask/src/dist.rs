//! `cargo xtask dist`: the release binary with its bill of materials and checksums, in `target/dist`.
//!
//! The bill is CycloneDX 1.6 JSON of exactly the crates that are linked into the binary, from `Cargo.lock` with hashes.

#![expect(clippy::print_stdout, reason = "a chore says what it did")]

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::{
    metadata::{self, Metadata},
    tidy::root,
};

/// Builds, describes and sums up.
pub(crate) fn run() -> Result<()> {
    let root = root();
    let status = Command::new(env!("CARGO")).args(["build", "--release", "--locked"]).current_dir(&root).status()?;
    if !status.success() {
        bail!("the release build failed");
    }
    let metadata = metadata::read(&[])?;
    let folder = metadata.target_directory.join("dist");
    fs::create_dir_all(&folder)?;
    let binary = folder.join("ringfence");
    fs::copy(metadata.target_directory.join("release/ringfence"), &binary)?;
    let bill = folder.join("ringfence.cdx.json");
    fs::write(&bill, serde_json::to_string_pretty(&sbom(&metadata)?)? + "\n")?;
    let sums = Command::new("sha256sum").args(["ringfence", "ringfence.cdx.json"]).current_dir(&folder).output()?;
    if !sums.status.success() {
        bail!("`sha256sum` failed");
    }
    fs::write(folder.join("SHA256SUMS"), sums.stdout)?;
    println!("{}: ringfence, ringfence.cdx.json, SHA256SUMS", folder.display());
    Ok(())
}

fn sbom(metadata: &Metadata) -> Result<Value> {
    let resolve = metadata.resolve.as_ref().context("no dependency graph")?;
    let nodes: BTreeMap<&String, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let packages: BTreeMap<&String, _> = metadata.packages.iter().map(|package| (&package.id, package)).collect();
    let cli = metadata.packages.iter().find(|package| package.name == "ringfence-cli").context("no ringfence-cli")?;
    let checksums = checksums()?;
    let (mut waiting, mut linked) = (vec![&cli.id], BTreeMap::new());
    while let Some(id) = waiting.pop() {
        let node = nodes.get(id).context("a crate is missing from the graph")?;
        let used: Vec<&String> = node.deps.iter().filter(|edge| edge.is_linked()).map(|edge| &edge.pkg).collect();
        if linked.insert(id, used.clone()).is_none() {
            waiting.extend(used.into_iter().filter(|id| !linked.contains_key(id)));
        }
    }
    let reference = |id: &String| {
        packages.get(id).map(|package| format!("pkg:cargo/{}@{}", package.name, package.version)).unwrap_or_default()
    };
    let components: Vec<Value> = linked
        .keys()
        .filter(|id| **id != &cli.id)
        .filter_map(|id| packages.get(*id))
        .map(|package| {
            let version = &package.version;
            let mut component = json!({
                "type": "library",
                "bom-ref": reference(&package.id),
                "purl": reference(&package.id),
                "name": package.name,
                "version": version,
            });
            if let Some(licence) = &package.license {
                component["licenses"] = json!([{"expression": licence.replace('/', " OR ")}]);
            }
            if let Some(sum) = checksums.get(&(package.name.clone(), version.clone())) {
                component["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
            }
            component
        })
        .collect();
    let dependencies: Vec<Value> = linked
        .iter()
        .map(|(id, used)| {
            let mut on: Vec<String> = used.iter().map(|id| reference(id)).collect();
            on.sort();
            on.dedup();
            json!({"ref": reference(id), "dependsOn": on})
        })
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {
            "type": "application",
            "bom-ref": reference(&cli.id),
            "name": "ringfence",
            "version": cli.version,
        }},
        "components": components,
        "dependencies": dependencies,
    }))
}

/// Checksums of crates by name and version, as `Cargo.lock` pins them.
fn checksums() -> Result<BTreeMap<(String, String), String>> {
    let lock = fs::read_to_string(root().join("Cargo.lock"))?;
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
        Some(line.trim_matches('"').to_owned())
    };
    Ok(lock
        .split("[[package]]")
        .filter_map(|block| Some(((value(block, "name")?, value(block, "version")?), value(block, "checksum")?)))
        .collect())
}
