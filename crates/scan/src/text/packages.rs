//! Lists of packages (`requirements.txt`, `pyproject.toml`, conda's `environment.yml`) and settings of TorchServe.
//!
//! A list is known by all of its lines. [`line`] judges one requirement: an ordinary name is nothing; another index, a
//! repository or a file is told, and is suspicious unless the place is one that everybody uses.
//!
//! Grammar: PEP 508, and pip's "Requirements File Format".

use super::links;
use crate::{
    audit::Audit,
    rules::{Rule, id},
};

/// Most lines of a list.
const LINES_MAX: usize = 100_000;
/// Longest line, in bytes.
const LINE_BYTES_MAX: usize = 4 << 10;
/// Most findings of one list.
const FOUND_MAX: usize = 20;

/// Options of pip that may stand in a list.
const OPTIONS: [&str; 16] = [
    "-r",
    "--requirement",
    "-c",
    "--constraint",
    "-e",
    "--editable",
    "-i",
    "--index-url",
    "--extra-index-url",
    "--no-index",
    "-f",
    "--find-links",
    "--trusted-host",
    "--pre",
    "--prefer-binary",
    "--only-binary",
];
/// TorchServe's keys, and values that open the server; an empty value: any.
const SETTINGS: [(&str, &str); 7] = [
    ("install_py_dep_per_model", "true"),
    ("allowed_urls", ".*"),
    ("management_address", "0.0.0.0"),
    ("enable_envvars_config", "true"),
    ("disable_token_authorization", "true"),
    ("plugins_path", ""),
    ("enable_model_api", "true"),
];

impl Audit<'_> {
    /// `None`: the text is no list of requirements.
    pub(crate) fn requirements(&mut self, text: &str) -> Option<&'static str> {
        let mut offset = 0_u64;
        let mut lines = Vec::new();
        // pip joins lines at a backslash before it reads them.
        let joined = text.replace("\\\r\n", "").replace("\\\n", "");
        for raw in joined.split('\n').take(LINES_MAX) {
            let without_comment =
                if raw.trim_start().starts_with('#') { "" } else { raw.split(" #").next().unwrap_or(raw) };
            let line = without_comment.trim().trim_end_matches('\\').trim();
            if !line.is_empty() {
                if line.len() > LINE_BYTES_MAX || !is_requirement(line) {
                    return None;
                }
                lines.push((offset, line));
            }
            offset += raw.len() as u64 + 1;
        }
        // One bare word is a word, not a list.
        let is_telling =
            |line: &str| line.starts_with('-') || line.contains(['=', '>', '<', '@', '[']) || line.contains("://");
        if lines.len() < 2 && !lines.iter().any(|(_, line)| is_telling(line))
            || !lines.iter().any(|(_, line)| is_telling(line))
        {
            return None;
        }
        if lines.iter().all(|(_, line)| is_plain_address(line)) {
            // Places of data, of checksums or of nothing in particular. Who calls it a list of packages gets what is there.
            for (at, line) in lines.iter().take(FOUND_MAX) {
                if let Some(what) = links::doubtful(line) {
                    self.note(id::REQ_SOURCE, &format!("the line holds {what}"), Some(*at));
                }
            }
            return None;
        }
        let found = lines.iter().filter_map(|(at, text)| Some((*at, line(text)?)));
        for (at, (rule, message)) in found.take(FOUND_MAX) {
            self.note(rule, &message, Some(at));
        }
        Some("requirements")
    }

    /// `None`: the text is no `pyproject.toml`, `Pipfile` or the like.
    pub(crate) fn project(&mut self, text: &str) -> Option<&'static str> {
        let heads = [
            "[project",
            "[build-system]",
            "[tool.",
            "[[source]]",
            "[packages]",
            "[options]",
            "[metadata]",
            "[[package]]",
        ];
        let is_head = |line: &str| heads.iter().any(|head| line.starts_with(head));
        if !text.lines().take(2_000).any(is_head) {
            return None;
        }
        let mut offset = 0_u64;
        let mut found = 0;
        let mut section = String::new();
        for raw in text.split('\n').take(LINES_MAX) {
            let line = raw.trim();
            if line.starts_with('[') && line.ends_with(']') {
                line.clone_into(&mut section);
            }
            if !line.starts_with('#') && found < FOUND_MAX {
                // `setup.cfg` lists requirements without quotes.
                let plain = line.contains(" @ ") && !line.contains(['"', '\'']);
                let unquoted = if plain && section.starts_with("[options") { self::line(line) } else { None };
                for (rule, message) in setting(&section, line).into_iter().chain(unquoted) {
                    found += 1;
                    self.note(rule, &message, Some(offset));
                }
            }
            offset += raw.len() as u64 + 1;
        }
        Some("toml")
    }

    /// `None`: the text is no settings file of TorchServe.
    pub(crate) fn properties(&mut self, text: &str) -> Option<&'static str> {
        let pairs: Vec<(&str, &str)> = text
            .lines()
            .take(LINES_MAX)
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| line.split_once('=').map(|(key, value)| (key.trim(), value.trim())))
            .collect::<Option<_>>()?;
        let is_server = |key: &str| {
            matches!(
                key,
                "inference_address"
                    | "management_address"
                    | "model_store"
                    | "load_models"
                    | "default_workers_per_model"
            ) || SETTINGS.iter().any(|(known, _)| *known == key)
        };
        if !pairs.iter().any(|(key, _)| is_server(key)) {
            return None;
        }
        for (key, value) in pairs {
            let opens = |(known, open): &(&str, &str)| *known == key && value.contains(open);
            if SETTINGS.iter().any(opens) {
                self.note(id::CFG_SETTING, &format!("`{key}` is `{value}`"), None);
            }
            let is_foreign = value.contains("://") && !links::is_known_forge(value);
            if key == "load_models" && is_foreign {
                self.note(id::CFG_TYPE, &format!("models are loaded from `{value}`"), None);
            }
        }
        Some("properties")
    }
}

/// One line of `pyproject.toml`: texts in quotes that are requirements, and indexes.
fn setting(section: &str, text: &str) -> Vec<(&'static Rule, String)> {
    let (key, value) = text.split_once('=').map_or(("", text), |(key, value)| (key.trim(), value));
    let is_index = section.contains("source")
        || section.contains("index")
        || key.contains("index-url")
        || key.contains("index_url");
    let quoted = value.split(['"', '\'']).skip(1).step_by(2);
    let judged = quoted.filter_map(|text| {
        if is_index && (key == "url" || key.contains("index")) && text.contains("://") {
            return Some(index("an index", text));
        }
        // Addresses of home pages and the like are no requirements.
        let is_requirement = text.contains(" @ ") || text.starts_with("git+") || text.starts_with('-');
        let is_source = matches!(key, "git" | "url") || value.contains("git =") || value.contains("url =");
        let in_sources = section.contains("dependencies") || section.contains("sources");
        if is_requirement || is_source && in_sources && text.contains("://") { line(text) } else { None }
    });
    judged.collect()
}

/// What is to be said of one requirement.
pub(crate) fn line(text: &str) -> Option<(&'static Rule, String)> {
    let option = |names: &[&str]| {
        names.iter().find_map(|name| {
            let rest = text.strip_prefix(name)?;
            rest.starts_with([' ', '=', '\t']).then(|| rest.trim_start_matches([' ', '=', '\t']))
        })
    };
    if let Some(host) = option(&["--trusted-host"]) {
        return Some((id::REQ_SOURCE, format!("the certificate of `{host}` is not checked")));
    }
    if let Some(address) = option(&["--index-url", "--extra-index-url", "-i"]) {
        return Some(index("an index", address));
    }
    if let Some(place) = option(&["--find-links", "-f"]) {
        if place.contains("://") {
            return Some(index("a page of links", place));
        }
        return Some((id::REQ_KNOWN, format!("packages come from the folder `{place}`")));
    }
    if let Some(file) = option(&["-r", "--requirement", "-c", "--constraint"]) {
        return file.contains("://").then(|| (id::REQ_SOURCE, format!("another list comes from `{file}`")));
    }
    let text = option(&["-e", "--editable"]).unwrap_or(text);
    if text.contains("://") {
        let address = text.split_once(" @ ").map_or(text, |(_, address)| address);
        if links::is_known_forge(address) {
            return Some((id::REQ_KNOWN, format!("a package comes from `{address}`")));
        }
        let is_file = address.starts_with("file:");
        let rule = if is_file { id::REQ_KNOWN } else { id::REQ_SOURCE };
        return Some((rule, format!("a package comes from `{address}`")));
    }
    None
}

pub(super) fn index(what: &str, address: &str) -> (&'static Rule, String) {
    let rule = if links::is_known_index(address) || address.contains("${") { id::REQ_KNOWN } else { id::REQ_SOURCE };
    (rule, format!("packages come from {what}, `{address}`"))
}

/// An address in the web that pip would not take for a package by its name, or of which other columns follow.
fn is_plain_address(line: &str) -> bool {
    const ARCHIVES: [&str; 11] =
        [".whl", ".zip", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tlz", ".tar.lzma"];
    let path = line.split(['#', '?']).next().unwrap_or_default();
    (line.starts_with("http://") || line.starts_with("https://") || line.starts_with("ftp://"))
        && (line.contains('\t') || !ARCHIVES.iter().any(|ending| path.ends_with(ending)))
        && !line.contains("#egg=")
}

/// Whether `line` may stand in a list of requirements.
fn is_requirement(line: &str) -> bool {
    let first = line.split([' ', '=', '\t']).next().unwrap_or_default();
    if first.starts_with('-') {
        return OPTIONS.contains(&first)
            || first.starts_with("--hash")
            || first.starts_with("--no-")
            || first.starts_with("--use-");
    }
    // Markdown's links and pictures begin like this, and no package does.
    if line.starts_with(['[', '!', '<', '(']) {
        return false;
    }
    if line.contains("://") {
        return !line.contains(' ') || line.contains(" @ ") || line.contains(" ;") || line.contains("; ");
    }
    if line.starts_with("./") || line.ends_with("whl") || line.ends_with("tar.gz") {
        return !line.contains(' ');
    }
    // Name, extras, versions, marker, hashes.
    let requirement = line.split(';').next().unwrap_or_default().split("--hash").next().unwrap_or_default().trim();
    let name = requirement
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
        .unwrap_or(requirement.len());
    let (name, rest) = requirement.split_at(name);
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(extras) => extras.split_once(']').map_or("?", |(_, rest)| rest.trim_start()),
        None => rest,
    };
    let is_version =
        rest.is_empty() || rest.starts_with(['=', '<', '>', '~', '!', '(', '@']) && !rest.starts_with("=>");
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && is_version
        && (rest.len() < 200)
        && (!rest.starts_with('=') || rest.starts_with("==") || rest.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for text in
            ["torch", "torch==2.1.0", "numpy>=1.2,<3 ; python_version<'3.9'", "a[b,c]~=1.0", "-r base.txt", "-e ."]
        {
            assert!(is_requirement(text) && line(text).is_none(), "{text}");
        }
        let suspicious = [
            "--index-url http://evil.example/simple",
            "--trusted-host evil.example",
            "git+http://x.example/y.git",
            "x @ https://203.0.113.5/x.whl",
            "--find-links https://evil.example/",
        ];
        for text in suspicious {
            assert_eq!(line(text).map(|(rule, _)| rule.id), Some("RF-REQ-001"), "{text}");
        }
        for text in [
            "--extra-index-url https://download.pytorch.org/whl/cu118",
            "git+https://github.com/huggingface/transformers.git",
        ] {
            assert_eq!(line(text).map(|(rule, _)| rule.id), Some("RF-REQ-002"), "{text}");
        }
        for text in ["This is prose", "a, b, c", "key: value", "x = 3"] {
            assert!(!is_requirement(text), "{text}");
        }
    }
}
