//! `cargo xtask hub FOLDER [PORT]`: the test Hub over folders, for trying clients by hand.
//!
//! `FOLDER/ORG/NAME` is the model `ORG/NAME`, `FOLDER/datasets/ORG/NAME` a dataset. Standard output names the endpoint for
//! `HF_ENDPOINT`; the server ends with its standard input.

#![expect(clippy::print_stdout, reason = "the endpoint is what the person asked for")]

use std::{fs, io, path::Path};

use anyhow::{Context as _, Result, bail};
use ringfence_reach::testing::TestHub;

/// Serves until standard input ends.
pub(crate) fn run(folder: &Path, rest: &[&str]) -> Result<()> {
    let port = match rest {
        [] => 0,
        [port] => port.parse().context("the port is not a number")?,
        _ => bail!("usage: cargo xtask hub FOLDER [PORT]"),
    };
    let hub = TestHub::start(port)?;
    let mut repositories = 0;
    for organisation in folders(folder)? {
        if organisation == "datasets" {
            for inner in folders(&folder.join("datasets"))? {
                repositories += put(&hub, &folder.join("datasets"), "datasets", &inner)?;
            }
        } else {
            repositories += put(&hub, folder, "models", &organisation)?;
        }
    }
    if repositories == 0 {
        bail!("`{}` holds no `ORG/NAME`", folder.display());
    }
    println!("{}", hub.endpoint());
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// All repositories of one organisation.
fn put(hub: &TestHub, root: &Path, kind: &str, organisation: &str) -> Result<usize> {
    let names = folders(&root.join(organisation))?;
    for name in &names {
        let place = root.join(organisation).join(name);
        hub.put_folder(&format!("{kind}/{organisation}/{name}"), &place)
            .with_context(|| place.display().to_string())?;
    }
    Ok(names.len())
}

/// The names of the folders in `place`, sorted.
fn folders(place: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for found in fs::read_dir(place).with_context(|| place.display().to_string())? {
        let found = found?;
        if found.file_type()?.is_dir() {
            names.extend(found.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}
