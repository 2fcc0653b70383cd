//! Writes every page with sample data into a folder, to be looked at in a browser: `render_pages FOLDER`.

#![expect(clippy::unwrap_used, reason = "a tool for developers, whose sample data come from the tests")]

use std::{env, error::Error, fs, path::PathBuf};

#[path = "../tests/it/pages/sample.rs"]
mod sample;

use ringfence_server::pages::assets;

fn main() -> Result<(), Box<dyn Error>> {
    let folder: PathBuf = env::args_os().nth(1).ok_or("name a folder")?.into();
    fs::create_dir_all(folder.join("assets"))?;
    fs::write(folder.join("assets/app.css"), assets::STYLE)?;
    fs::write(folder.join("assets/app.js"), assets::SCRIPT)?;
    for (name, page) in sample::pages(&str::to_owned, 6) {
        fs::write(folder.join(format!("{name}.html")), page.into_string())?;
    }
    for (name, page) in sample::empty_pages() {
        fs::write(folder.join(format!("empty-{name}.html")), page.into_string())?;
    }
    Ok(())
}
