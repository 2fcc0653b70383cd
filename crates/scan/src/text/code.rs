//! Python source beside a model: what it runs, opens and hides; and lines that run at every start of Python (`.pth`).
//!
//! [`Reader`] takes logical lines and resolves names through imports, assignments, `getattr` and `__import__`, so that `o.system`,
//! `getattr(os, 'sys' + 'tem')` and `𝓮𝔁𝓮𝓬` are what they are to Python. Comments and texts are no code and raise nothing.
//!
//! What holds: nothing is compiled; a text counts as Python only if nearly all of it could be. Absent on purpose: data flow
//! beyond names, so ordinary code that starts processes is told too; whoever trusts it waives the finding.

use std::collections::{BTreeSet, HashMap};

use ringfence_format::python::{self, Ending, Kind, Line, Token};

use super::{hidden, links};
use crate::{
    audit::Audit,
    rules::{Rule, id},
};

mod harm;

use harm::Harm;

/// Most findings of one source.
const FOUND_MAX: usize = 40;
/// Most names that are followed.
const ALIASES_MAX: usize = 20_000;
/// Longest dotted path, in bytes, and deepest `getattr` in a `getattr`.
const PATH_BYTES_MAX: usize = 512;
const PATH_DEPTH_MAX: u32 = 16;
/// Most modules of which everything is imported.
const STARS_MAX: usize = 64;
/// Most tokens of one call's arguments that are looked at.
const ARGUMENTS_MAX: usize = 4_096;
/// Deepest source in a text of a source.
const NESTED_MAX: u32 = 3;
/// Bytes that tell whether the rest is read as Python.
const HEAD_BYTES: usize = 64 << 10;

/// One thing that was found.
struct Found {
    rule: &'static Rule,
    message: String,
    at: usize,
}

/// Reads lines of Python.
#[derive(Default)]
struct Reader {
    aliases: HashMap<String, String>,
    /// Modules of which everything was imported.
    stars: Vec<String>,
    found: Vec<Found>,
    plausible: usize,
    /// Lines that only Python has: imports, definitions, calls.
    telling: usize,
    depth: u32,
    executes: Option<usize>,
    network: Option<(usize, String)>,
    opens_socket: Option<usize>,
    facts: BTreeSet<Fact>,
}

/// What else a source does, for conclusions from several lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    Decodes,
    TakesEnvironment,
    NamesSecrets,
    Connects,
    DefinesModel,
    Imports,
}

impl Audit<'_> {
    /// `None`: the text is no Python.
    pub(crate) fn source_code(&mut self, text: &str) -> Option<&'static str> {
        let head = text.get(..text.floor_char_boundary(HEAD_BYTES.min(text.len()))).unwrap_or_default();
        if head.len() < text.len() {
            let (reader, ending) = read(head, 0);
            let is_prose = ending.flaws > 8 && ending.flaws * 20 > ending.lines;
            if is_prose || ending.lines > 20 && !is_python(&reader, ending, 1) {
                return None;
            }
        }
        let (mut reader, ending) = read(text, 0);
        if !is_python(&reader, ending, 0) {
            return None;
        }
        reader.conclude(ending);
        if let Some(at) = disguised_line(text) {
            reader.note(
                id::HID_TEXT,
                at,
                "a line of code turns its direction or holds invisible characters".to_owned(),
            );
        }
        if reader.has(Fact::DefinesModel)
            && reader.has(Fact::Imports)
            && reader.found.iter().all(|found| found.rule != id::PYS_CALL && found.rule != id::PYS_HIDDEN)
        {
            self.note(id::PYS_MODEL, "defines classes of a model", Some(0));
        }
        for found in &reader.found {
            self.note(found.rule, &found.message, Some(found.at as u64));
        }
        Some("python")
    }

    /// Lines of a `.pth` file: paths, and lines that begin with `import`, which `site` executes.
    pub(crate) fn startup_lines(&mut self, text: &str) -> bool {
        let lines = || text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let is_import = |line: &str| line.starts_with("import ") || line.starts_with("import\t");
        let is_path =
            |line: &str| !line.contains([' ', '(', '=']) || line.starts_with(['/', '.']) && !line.contains('(');
        if lines().take(1_000).any(|line| !is_import(line) && !is_path(line)) || !lines().any(is_import) {
            return false;
        }
        let mut at = 0;
        for line in text.split_inclusive('\n').take(1_000) {
            // `site` takes the file by its name; elsewhere a bare import is a module that imports.
            if is_import(line) && self.is_named(".pth") && !is_installed(line) {
                let line = line.trim_end();
                self.note(id::TXT_IMPORT, &format!("`{line}` runs at every start of Python"), Some(at));
            }
            if is_import(line) && line.contains([';', '(']) {
                let (mut reader, ending) = read(line, 0);
                reader.conclude(ending);
                let harm = reader.found.iter().find(|found| found.rule == id::PYS_CALL || found.rule == id::PYS_HIDDEN);
                let network = reader.network.as_ref().map(|(_, path)| format!("uses `{path}`"));
                if let Some(message) = harm.map(|found| found.message.clone()).or(network) {
                    self.note(id::TXT_STARTUP, &format!("a line that begins with `import` {message}"), Some(at));
                }
            }
            at += line.len() as u64;
        }
        true
    }
}

impl Audit<'_> {
    /// A text that may be Python and should be none: what it runs is told, the rest is prose.
    pub(crate) fn harmful_code(&mut self, text: &str) {
        for (rule, message) in
            piece(text).into_iter().filter(|(rule, _)| [id::PYS_CALL.id, id::PYS_HIDDEN.id].contains(&rule.id))
        {
            self.note(rule, &message, None);
        }
    }
}

/// Judges a piece of Python that is known to be such: a notebook's cell.
pub(super) fn piece(text: &str) -> Vec<(&'static Rule, String)> {
    let (mut reader, ending) = read(text, 0);
    reader.conclude(ending);
    reader.found.into_iter().map(|found| (found.rule, found.message)).collect()
}

/// Whether a text that says it is Python only holds comments, texts and constants: it runs nothing.
pub(crate) fn is_idle(text: &str) -> bool {
    let (mut reader, ending) = read(text, 0);
    reader.conclude(ending);
    reader.telling == 0 && reader.plausible == ending.lines && ending.flaws == 0 && reader.found.is_empty()
}

/// Whether the beginning of a text is comments and open texts only, behind which anything may stand.
pub(super) fn is_only_padding(text: &str) -> bool {
    let head = text.get(..text.floor_char_boundary(HEAD_BYTES.min(text.len()))).unwrap_or_default();
    read(head, 0).1.lines == 0
}

/// Whether a line imports only what comes with Python or with the tools that make environments; what else it does is
/// judged by itself.
fn is_installed(line: &str) -> bool {
    const MODULES: [&str; 12] = [
        "os",
        "sys",
        "types",
        "site",
        "importlib",
        "warnings",
        "pathlib",
        "_virtualenv",
        "_distutils_hack",
        "coverage",
        "__editable__",
        "_editable_impl",
    ];
    let names = line.trim_start_matches("import").split(';').next().unwrap_or_default().split(',');
    let mut roots = names.map(|name| name.trim().split(['.', ' ']).next().unwrap_or_default());
    roots.all(|root| MODULES.contains(&root) || root.starts_with("__editable__") || root.starts_with("_editable_impl"))
}

fn read(text: &str, depth: u32) -> (Reader, Ending) {
    let mut reader = Reader { depth, ..Reader::default() };
    let ending = python::read(text, &mut |line| reader.line(line));
    (reader, ending)
}

fn is_python(reader: &Reader, ending: Ending, cut: usize) -> bool {
    let is_mostly =
        reader.plausible * 10 >= ending.lines * 9 || ending.lines > 40 && reader.plausible * 10 >= ending.lines * 8;
    ending.lines > 0 && reader.telling > 0 && is_mostly && ending.flaws.saturating_sub(cut * 2) * 20 <= ending.lines
}

fn disguised_line(text: &str) -> Option<usize> {
    if text.is_ascii() {
        return None;
    }
    let mut at = 0;
    text.split_inclusive('\n').find_map(|line| {
        let here = at;
        at += line.len();
        hidden::in_code(line).map(|_| here)
    })
}

impl Reader {
    fn note(&mut self, rule: &'static Rule, at: usize, message: String) {
        if self.found.len() < FOUND_MAX && !self.found.iter().any(|found| found.rule == rule && found.at == at) {
            self.found.push(Found { rule, message, at });
        }
    }

    fn fact(&mut self, fact: Fact, holds: bool) {
        if holds {
            self.facts.insert(fact);
        }
    }

    fn has(&self, fact: Fact) -> bool {
        self.facts.contains(&fact)
    }

    fn line(&mut self, line: &Line) {
        let tokens = line.tokens.as_slice();
        if !line.is_inner {
            self.plausible += usize::from(is_plausible(line));
            self.telling += usize::from(is_telling(tokens));
        }
        self.fact(Fact::Imports, matches!(word(tokens, 0), Some("import" | "from")));
        match word(tokens, 0) {
            Some("import") => return self.import(tokens),
            Some("from") if tokens.iter().any(|token| is(token, "import")) => return self.import_from(tokens),
            Some("class") => {
                const BASES: [&str; 9] = [
                    "PreTrainedModel",
                    "PretrainedConfig",
                    "PreTrainedConfig",
                    "PreTrainedTokenizer",
                    "PreTrainedTokenizerFast",
                    "Module",
                    "DiffusionPipeline",
                    "Pipeline",
                    "ModelMixin",
                ];
                self.fact(
                    Fact::DefinesModel,
                    tokens
                        .iter()
                        .skip(2)
                        .any(|token| matches!(&token.kind, Kind::Name(name) if BASES.contains(&name.as_str()))),
                );
            }
            _ => {}
        }
        self.assign(tokens);
        let is_text = tokens.iter().all(|token| matches!(token.kind, Kind::Text(_)));
        for (index, token) in tokens.iter().enumerate() {
            match &token.kind {
                Kind::Text(text) if !is_text => self.constant(text),
                Kind::Name(_) if !is_sign(tokens, index.wrapping_sub(1), ".") => self.name(tokens, index),
                Kind::Name(name) if name == "connect" && is_sign(tokens, index + 1, "(") => {
                    self.fact(Fact::Connects, true);
                }
                Kind::Name(name) if name == "b64decode" || name == "decompress" || name == "fromhex" => {
                    self.fact(Fact::Decodes, true);
                }
                _ => {}
            }
        }
    }

    fn import(&mut self, tokens: &[Token]) {
        for part in tokens.get(1..).unwrap_or_default().split(|token| is(token, ",")) {
            let (path, end) = dotted(part, 0);
            let Some(root) = path.split('.').next().filter(|root| !root.is_empty()) else { continue };
            match (word(part, end), word(part, end + 1)) {
                (Some("as"), Some(alias)) => self.alias(alias, &path),
                _ => self.alias(root, root),
            }
        }
    }

    fn import_from(&mut self, tokens: &[Token]) {
        let (module, end) = dotted(tokens, 1);
        for part in tokens.get(end + 1..).unwrap_or_default().split(|token| is(token, ",")) {
            let part: Vec<&str> = part
                .iter()
                .filter_map(|token| match &token.kind {
                    Kind::Name(name) => Some(name.as_str()),
                    Kind::Sign("*") => Some("*"),
                    _ => None,
                })
                .collect();
            match part.as_slice() {
                ["*"] if self.stars.len() < STARS_MAX => self.stars.push(module.clone()),
                [name] => self.alias(name, &format!("{module}.{name}")),
                [name, "as", alias] => self.alias(alias, &format!("{module}.{name}")),
                _ => {}
            }
        }
    }

    fn alias(&mut self, name: &str, path: &str) {
        if self.aliases.len() < ALIASES_MAX {
            self.aliases.insert(name.to_owned(), path.to_owned());
        }
    }

    /// `run = os.system` gives the function another name.
    fn assign(&mut self, tokens: &[Token]) {
        let (Some(name), true) = (word(tokens, 0), is_sign(tokens, 1, "=")) else { return };
        let (path, end) = self.path(tokens, 2);
        if let Some(path) = path
            && end == tokens.len()
            && path != name
        {
            self.alias(name, &path);
        }
    }

    fn resolved(&self, name: &str) -> String {
        if let Some(path) = self.aliases.get(name) {
            return path.clone();
        }
        let starred = self.stars.iter().map(|module| format!("{module}.{name}")).find(|path| harm::of(path).is_some());
        starred.unwrap_or_else(|| name.to_owned())
    }

    /// The dotted path that begins at `start`, resolved, and where it ends. `None`: it is computed.
    fn path(&self, tokens: &[Token], start: usize) -> (Option<String>, usize) {
        self.path_within(tokens, start, 0)
    }

    fn path_within(&self, tokens: &[Token], start: usize, depth: u32) -> (Option<String>, usize) {
        let Some(first) = word(tokens, start) else { return (None, start) };
        let mut path = self.resolved(first);
        let mut at = start + 1;
        loop {
            if path.len() < PATH_BYTES_MAX
                && is_sign(tokens, at, ".")
                && let Some(name) = word(tokens, at + 1)
            {
                path = format!("{path}.{name}");
                at += 2;
                continue;
            }
            let opens = is_sign(tokens, at, "(");
            let imports = matches!(
                path.as_str(),
                "__import__" | "importlib.import_module" | "importlib.__import__" | "builtins.__import__"
            );
            if opens && imports {
                let (text, end) = constant(tokens, at + 1);
                let Some(text) = text else { return (None, at) };
                // `__import__('a.b')` returns `a`, unless it is asked for names in `b`.
                let is_root = path.ends_with("__import__") && !is_sign(tokens, end, ",");
                path = if is_root { text.split('.').next().unwrap_or_default().to_owned() } else { text };
                at = closing(tokens, at) + 1;
                continue;
            }
            if opens && depth < PATH_DEPTH_MAX && matches!(path.as_str(), "getattr" | "builtins.getattr") {
                let (Some(base), end) = self.path_within(tokens, at + 1, depth + 1) else { return (Some(path), at) };
                if !is_sign(tokens, end, ",") {
                    return (Some(path), at);
                }
                let (text, _) = constant(tokens, end + 1);
                let Some(text) = text else { return (Some(format!("getattr:{base}")), at) };
                path = format!("{base}.{text}");
                at = closing(tokens, at) + 1;
                continue;
            }
            // Look-ups in name spaces: `globals()['x']`, `sys.modules['os']`, `__builtins__['exec']`.
            let is_space = matches!(path.as_str(), "globals" | "locals" | "vars") && opens;
            let after = if is_space { closing(tokens, at) + 1 } else { at };
            let is_table =
                is_space || path.ends_with("__dict__") || matches!(path.as_str(), "sys.modules" | "__builtins__");
            if is_table && is_sign(tokens, after, "[") {
                let (text, end) = constant(tokens, after + 1);
                let Some(text) = text.filter(|_| is_sign(tokens, end, "]")) else {
                    return (Some(format!("getattr:{path}")), at);
                };
                path = match path.strip_suffix(".__dict__") {
                    Some(base) => format!("{base}.{text}"),
                    None => text,
                };
                at = end + 1;
                continue;
            }
            let path = path.strip_prefix("__builtins__.").or_else(|| path.strip_prefix("builtins.")).unwrap_or(&path);
            return (Some(path.to_owned()), at);
        }
    }

    /// A name in a line, with the path behind it.
    fn name(&mut self, tokens: &[Token], index: usize) {
        let before = index.checked_sub(1).and_then(|before| word(tokens, before));
        if matches!(before, Some("def" | "class" | "as" | "import" | "global" | "nonlocal" | "del" | "for")) {
            return;
        }
        let at = tokens.get(index).map_or(0, |token| token.at);
        let (path, end) = self.path(tokens, index);
        let Some(path) = path else {
            let text = arguments(tokens, index + 1);
            if text.iter().any(|token| {
                is(token, "+") || is(token, "chr") || is(token, "join") || is(token, "b64decode") || is(token, "decode")
            }) {
                self.note(id::PYS_HIDDEN, at, "imports a module by a computed name".to_owned());
            }
            return;
        };
        if let Some(base) = path.strip_prefix("getattr:") {
            if matches!(base, "os" | "subprocess" | "builtins" | "__builtins__" | "sys" | "importlib" | "ctypes") {
                let is_plain =
                    arguments(tokens, end).len() <= 3 && !arguments(tokens, end).iter().any(|token| is(token, "+"));
                let rule = if is_plain && base == "sys" { return } else { id::PYS_HIDDEN };
                self.note(rule, at, format!("reaches a function of `{base}` by a computed name"));
            }
            return;
        }
        let Some(harm) = harm::of(&path) else { return self.foreign(&path, tokens, end, at) };
        let is_called = is_sign(tokens, end, "(");
        let is_passed = end >= tokens.len() || [",", ")", "]"].iter().any(|sign| is_sign(tokens, end, sign));
        let follows = index.checked_sub(1).is_none_or(|before| {
            ["(", ",", "=", "@", "[", ":", "return"]
                .iter()
                .any(|sign| tokens.get(before).is_some_and(|token| is(token, sign)))
        });
        if self.found.len() < FOUND_MAX && (is_called || is_passed && follows) {
            self.harm(harm, &path, tokens, end, at, is_called);
        }
    }

    /// R looks like Python for a few lines; `system("…")` is not Python's.
    fn foreign(&mut self, path: &str, tokens: &[Token], end: usize, at: usize) {
        if !is_sign(tokens, end, "(") || !matches!(path, "system" | "system2" | "shell") {
            return;
        }
        let (text, _) = constant(tokens, end + 1);
        if text.is_some_and(|text| links::harmful_command(&text).is_some()) {
            self.note(id::PYS_CALL, at, format!("starts programs by `{path}`"));
        }
    }

    fn harm(&mut self, harm: Harm, path: &str, tokens: &[Token], end: usize, at: usize, is_called: bool) {
        let given = if is_called { arguments(tokens, end) } else { &[] };
        let decodes = given.iter().any(|token| harm::DECODING.iter().any(|name| is(token, name)));
        match harm {
            Harm::Evaluates => self.evaluates(path, given, decodes, at, is_called),
            Harm::Runs => {
                if !is_called || !harm::is_ordinary_command(given) {
                    self.executes.get_or_insert(at);
                    let rule = if decodes { id::PYS_HIDDEN } else { id::PYS_CALL };
                    self.note(rule, at, format!("calls `{path}`"));
                }
            }
            Harm::Native => self.note(id::PYS_CALL, at, format!("loads native code by `{path}`")),
            Harm::Code => self.note(id::PYS_HIDDEN, at, format!("makes code by `{path}`")),
            Harm::Unpickles => {
                let is_constant = given.iter().any(|token| matches!(token.kind, Kind::Text(_)));
                if decodes || is_constant && path.ends_with("loads") {
                    self.note(id::PYS_HIDDEN, at, format!("unpickles encoded data by `{path}`"));
                }
            }
            Harm::Socket => drop(self.opens_socket.get_or_insert(at)),
            Harm::Connects => self.note(id::PYS_CALL, at, format!("opens a connection by `{path}`")),
            Harm::Network => drop(self.network.get_or_insert((at, path.to_owned()))),
            Harm::Deletes => {
                let is_far =
                    given.iter().any(|token| matches!(&token.kind, Kind::Text(text) if text.starts_with(['/', '~'])));
                if is_far {
                    self.note(id::PYS_CALL, at, format!("deletes files by `{path}`"));
                }
            }
            Harm::Environment => self.fact(Fact::TakesEnvironment, !is_called),
        }
    }

    fn evaluates(&mut self, path: &str, given: &[Token], decodes: bool, at: usize, is_called: bool) {
        self.executes.get_or_insert(at);
        let texts: Vec<&str> = given
            .iter()
            .filter_map(|token| if let Kind::Text(text) = &token.kind { Some(text.as_str()) } else { None })
            .collect();
        let is_constant = !given.is_empty() && texts.len() == given.len();
        if is_constant && self.depth < NESTED_MAX {
            let (mut inner, ending) = read(&texts.concat(), self.depth + 1);
            inner.conclude(ending);
            for found in inner.found {
                self.note(found.rule, at, format!("in a text that `{path}` runs: {}", found.message));
            }
            return;
        }
        // The usual way to read a version out of a file of the same package.
        let reads = given.iter().any(|token| is(token, "read")) && !decodes;
        let is_foreign = texts.iter().any(|text| text.contains('.') && !text.ends_with("py") || text.contains("://"));
        if is_called && path != "eval" && reads && !is_foreign {
            return;
        }
        let rule = if decodes { id::PYS_HIDDEN } else { id::PYS_CALL };
        self.note(rule, at, format!("runs what it computes by `{path}`"));
    }

    /// A text that is no documentation.
    fn constant(&mut self, text: &str) {
        const SECRETS: [&str; 10] = [
            ".ssh/",
            ".aws/credentials",
            "/etc/passwd",
            "/etc/shadow",
            ".netrc",
            ".git-credentials",
            ".docker/config",
            "id_rsa",
            "huggingface/token",
            ".kube/config",
        ];
        self.fact(Fact::NamesSecrets, text.len() < 200 && SECRETS.iter().any(|secret| text.contains(secret)));
    }

    /// What several lines amount to together.
    fn conclude(&mut self, ending: Ending) {
        if ending.disguised > 0 {
            let harms = self.executes.is_some();
            let rule = if harms { id::PYS_HIDDEN } else { id::HID_TOKEN };
            self.note(rule, 0, "names are written in look-alike letters".to_owned());
        }
        if let Some(at) = self.executes.filter(|_| self.has(Fact::Decodes))
            && self.found.iter().any(|found| found.rule == id::PYS_CALL)
        {
            self.note(id::PYS_HIDDEN, at, "decodes data and runs code".to_owned());
        }
        if let Some(at) = self.opens_socket.filter(|_| self.has(Fact::Connects)) {
            self.note(id::PYS_CALL, at, "opens a socket and connects it".to_owned());
        }
        if let Some((at, path)) = self.network.clone() {
            if self.has(Fact::TakesEnvironment) || self.has(Fact::NamesSecrets) {
                self.note(id::PYS_HIDDEN, at, format!("reads secrets of the machine and uses `{path}`"));
            } else {
                self.note(id::PYS_NETWORK, at, format!("uses `{path}`"));
            }
        }
    }
}

fn is(token: &Token, text: &str) -> bool {
    match &token.kind {
        Kind::Name(name) => name == text,
        Kind::Sign(sign) => *sign == text,
        _ => false,
    }
}

fn is_sign(tokens: &[Token], at: usize, sign: &str) -> bool {
    matches!(tokens.get(at).map(|token| &token.kind), Some(Kind::Sign(found)) if *found == sign)
}

fn word(tokens: &[Token], at: usize) -> Option<&str> {
    match tokens.get(at).map(|token| &token.kind) {
        Some(Kind::Name(name)) => Some(name),
        _ => None,
    }
}

/// Names with dots from `start`.
fn dotted(tokens: &[Token], start: usize) -> (String, usize) {
    let mut path = String::new();
    let mut at = start;
    while let Some(token) = tokens.get(at) {
        match &token.kind {
            Kind::Name(name) if path.is_empty() || path.ends_with('.') => path.push_str(name),
            Kind::Sign("." | "...") => path.push('.'),
            _ => break,
        }
        at += 1;
    }
    (path, at)
}

/// A constant text from `start` (joined, perhaps reversed), and where it ends.
fn constant(tokens: &[Token], start: usize) -> (Option<String>, usize) {
    let mut text: Option<String> = None;
    let mut at = start;
    loop {
        match tokens.get(at).map(|token| &token.kind) {
            Some(Kind::Text(part)) => text.get_or_insert_default().push_str(part),
            Some(Kind::Sign("+"))
                if text.is_some() && matches!(tokens.get(at + 1).map(|token| &token.kind), Some(Kind::Text(_))) => {}
            _ => break,
        }
        at += 1;
    }
    let is_reversed = is_sign(tokens, at, "[")
        && is_sign(tokens, at + 1, ":")
        && is_sign(tokens, at + 2, ":")
        && is_sign(tokens, at + 3, "-");
    if is_reversed {
        at += 6;
        text = text.map(|text| text.chars().rev().collect());
    }
    let ends = at >= tokens.len() || [")", ",", "]"].iter().any(|sign| is_sign(tokens, at, sign));
    (text.filter(|_| ends), at)
}

/// Where the bracket at `open` is closed.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open).take(ARGUMENTS_MAX) {
        match token.kind {
            Kind::Sign("(" | "[" | "{") => depth += 1,
            Kind::Sign(")" | "]" | "}") => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index;
                }
            }
            _ => {}
        }
    }
    tokens.len().min(open + ARGUMENTS_MAX)
}

/// What stands in the brackets at `open`.
fn arguments(tokens: &[Token], open: usize) -> &[Token] {
    if !is_sign(tokens, open, "(") {
        return &[];
    }
    tokens.get(open + 1..closing(tokens, open)).unwrap_or_default()
}

const KEYWORDS: [&str; 35] = [
    "import", "from", "def", "class", "if", "for", "while", "try", "with", "return", "raise", "assert", "pass", "del",
    "global", "else", "elif", "except", "finally", "async", "await", "yield", "lambda", "break", "continue",
    "nonlocal", "match", "case", "print", "type", "not", "and", "or", "in", "is",
];

/// Whether Python could have written this line: no two names in a row but for keywords, a colon only where one belongs.
fn is_plausible(line: &Line) -> bool {
    let tokens = line.tokens.as_slice();
    let is_keyword = |name: &str| KEYWORDS.contains(&name) || matches!(name, "as" | "None" | "True" | "False" | "exec");
    let clash = tokens.windows(2).any(|pair| match pair {
        [Token { kind: Kind::Name(left), .. }, Token { kind: Kind::Name(right), .. }] => {
            !is_keyword(left) && !is_keyword(right)
        }
        [Token { kind: Kind::Name(left), .. }, Token { kind: Kind::Text(_) | Kind::Number, .. }] => !is_keyword(left),
        [Token { kind: Kind::Number, .. }, Token { kind: Kind::Name(right), .. }] => !is_keyword(right),
        _ => false,
    });
    let is_template = is_sign(tokens, 0, "{") && (is_sign(tokens, 1, "%") || is_sign(tokens, 1, "{"));
    if clash || is_template {
        return false;
    }
    match word(tokens, 0) {
        Some("import") => {
            tokens.iter().skip(1).all(|token| matches!(token.kind, Kind::Name(_) | Kind::Sign("." | ",")))
        }
        Some("from") => tokens.iter().any(|token| is(token, "import")),
        Some(name) if KEYWORDS.contains(&name) => true,
        Some(_) if is_sign(tokens, 1, ":") => line.indent > 0 || tokens.iter().any(|token| is(token, "=")),
        _ => !is_sign(tokens, 0, "-") && !is_sign(tokens, 0, "<") && !is_sign(tokens, 0, ":"),
    }
}

/// Imports, definitions and calls.
fn is_telling(tokens: &[Token]) -> bool {
    match word(tokens, 0) {
        Some("import") => word(tokens, 1).is_some(),
        Some("from") => tokens.iter().any(|token| is(token, "import")),
        Some("def") => is_sign(tokens, 2, "("),
        Some("class") => word(tokens, 1).is_some() && tokens.iter().any(|token| is(token, ":")),
        Some(_) => tokens.windows(2).any(|pair| matches!(pair, [Token { kind: Kind::Name(_), at }, Token { kind: Kind::Sign("("), at: open }] if *open > *at)) && !is_sign(tokens, 1, ":"),
        None => false,
    }
}
