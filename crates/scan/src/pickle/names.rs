//! What a name in a pickle means: allowed with an effect, a known gadget, or unknown.
//!
//! The knowledge stands in `data/allowed.txt`, `data/allowed.generated.txt` (made by `cargo xtask callables`) and
//! `data/gadgets.txt`, whose grammars are in their first lines; it is compiled in, so a verdict never depends on what is installed beside the scanner. [`Names::standing`] is the one
//! question. A test reads both files line by line, so that a typing error there cannot go unseen.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

/// The allow-list, as text.
pub(crate) const ALLOWED: &str = include_str!("../../data/allowed.txt");
/// What the frameworks' own sources say, as text; the allow-list wins.
pub(crate) const GENERATED: &str = include_str!("../../data/allowed.generated.txt");
/// The gadgets, as text.
pub(crate) const GADGETS: &str = include_str!("../../data/gadgets.txt");

/// What an allowed name may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// May be named, never called.
    Value,
    /// Makes a fresh value from data.
    Make,
    /// May be instantiated without its initialiser.
    Class,
    /// May be called with certain arguments.
    Shape(Shape),
}

/// Which arguments a callable may take; the checks are in `call`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Reconstructor,
    NewObject,
    Latin1,
    Partial,
    Single,
    Dtype,
    Ufunc,
    FromType,
    TorchBytes,
    ZoneInfo,
    RebuiltArray,
    TypeName,
    Buffer,
    ArrowArray,
}

/// How a gadget harms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Technique {
    Exec,
    Code,
    Native,
    Import,
    Attribute,
    Load,
    File,
    Network,
    State,
}

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Allowed(Effect),
    Gadget(Technique),
    /// A part of the dotted name is a double-underscore attribute.
    Dunder,
    /// The name is a path through attributes.
    Dotted,
    /// No Python identifier, or look-alike letters.
    Odd,
    Unknown,
}

/// Python 2 names that unpicklers turn into new ones (`_compat_pickle`), and platform aliases of `os`.
const MODULE_ALIASES: [(&str, &str); 22] = [
    ("__builtin__", "builtins"),
    ("__builtins__", "builtins"),
    ("_builtins", "builtins"),
    ("exceptions", "builtins"),
    ("copy_reg", "copyreg"),
    ("cPickle", "pickle"),
    ("cStringIO", "io"),
    ("StringIO", "io"),
    ("UserDict", "collections"),
    ("UserList", "collections"),
    ("UserString", "collections"),
    ("_collections", "collections"),
    ("posix", "os"),
    ("nt", "os"),
    ("posixpath", "os.path"),
    ("ntpath", "os.path"),
    ("macpath", "os.path"),
    ("genericpath", "os.path"),
    ("_subprocess", "subprocess"),
    ("thread", "_thread"),
    ("dummy_thread", "_thread"),
    ("Queue", "queue"),
];

/// Modules that hand out everything when reached as an attribute of another module.
const POWERFUL_MODULES: [&str; 22] = [
    "os",
    "sys",
    "subprocess",
    "builtins",
    "importlib",
    "posix",
    "nt",
    "shutil",
    "socket",
    "ctypes",
    "pickle",
    "runpy",
    "code",
    "marshal",
    "pty",
    "threading",
    "multiprocessing",
    "io",
    "types",
    "inspect",
    "imp",
    "operator",
];

type NameMap<T> = HashMap<&'static str, T>;

/// Both tables, ready for look-up.
#[derive(Debug, Default)]
pub(crate) struct Names {
    exact: HashMap<&'static str, NameMap<Effect>>,
    patterns: HashMap<&'static str, Vec<(bool, &'static str, Effect)>>,
    gadgets: HashMap<&'static str, Vec<(bool, &'static str, Technique)>>,
    /// Classes that no pattern allows.
    risky: HashMap<&'static str, HashSet<&'static str>>,
}

/// The tables that are compiled in.
pub(crate) static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let mut names = Names::default();
    for line in ALLOWED.lines().chain(GENERATED.lines()) {
        let _ = names.add_allowed(line);
    }
    for line in GADGETS.lines() {
        let _ = names.add_gadget(line);
    }
    names
});

impl Names {
    fn add_allowed(&mut self, line: &'static str) -> Result<(), &'static str> {
        let Some((effect, module, words)) = split(line) else { return Ok(()) };
        if effect == "risky" {
            self.risky.entry(module).or_default().extend(words);
            return Ok(());
        }
        let effect = effect_of(effect).ok_or(effect)?;
        let (package, below) = package_of(module);
        for name in words {
            if below || name.contains('*') || name.starts_with('[') {
                self.patterns.entry(package).or_default().push((below, name, effect));
            } else {
                self.exact.entry(module).or_default().entry(name).or_insert(effect);
            }
        }
        Ok(())
    }

    fn add_gadget(&mut self, line: &'static str) -> Result<(), &'static str> {
        let Some((technique, module, words)) = split(line) else { return Ok(()) };
        let technique = technique_of(technique).ok_or(technique)?;
        let (package, below) = package_of(module);
        let entries = self.gadgets.entry(package).or_default();
        entries.extend(words.map(|name| (below, name, technique)));
        Ok(())
    }

    /// What is known of `module` and `name` as they stand in the stream.
    pub(crate) fn standing(&self, module: &str, name: &str) -> Standing {
        if !is_plain_path(module) || !is_plain_path(name) {
            return Standing::Odd;
        }
        let (module, name) = canonical(module, name);
        if let Some(effect) = self.allowed_exactly(&module, &name) {
            return Standing::Allowed(effect);
        }
        // An attribute path may leave its module: `random` + `_os.system`. Whatever powerful module lies on it counts.
        if let Some(technique) = self.gadget_on_path(&module, &name) {
            return Standing::Gadget(technique);
        }
        if let Some(effect) = self.allowed_by_pattern(&module, &name) {
            return Standing::Allowed(effect);
        }
        if name.split('.').any(is_dunder) || module.split('.').any(|part| is_dunder(part) && !is_known_dunder(part)) {
            return Standing::Dunder;
        }
        if name.contains('.') { Standing::Dotted } else { Standing::Unknown }
    }

    fn allowed_exactly(&self, module: &str, name: &str) -> Option<Effect> {
        self.exact.get(module)?.get(name).copied()
    }

    fn allowed_by_pattern(&self, module: &str, name: &str) -> Option<Effect> {
        if self.risky.get(module).is_some_and(|names| names.contains(name)) {
            return None;
        }
        ancestors(module).find_map(|package| {
            let entries = self.patterns.get(package)?;
            let fits = |below: bool, pattern: &str| (below || package == module) && matches_pattern(pattern, name);
            entries.iter().find(|(below, pattern, _)| fits(*below, pattern)).map(|(_, _, effect)| *effect)
        })
    }

    fn gadget_on_path(&self, module: &str, name: &str) -> Option<Technique> {
        if let Some(technique) = self.gadget(module, name) {
            return Some(technique);
        }
        let parts: Vec<&str> = name.split('.').collect();
        // `numpy` + `f2py.crackfortran.myeval` is `numpy.f2py.crackfortran` + `myeval`.
        for cut in 1..parts.len() {
            let (path, rest) = (parts.get(..cut)?.join("."), parts.get(cut..)?.join("."));
            if let Some(technique) = self.gadget(&format!("{module}.{path}"), &rest) {
                return Some(technique);
            }
            let reached = parts.get(cut - 1)?.trim_start_matches('_');
            if POWERFUL_MODULES.contains(&reached) {
                let (target, attribute) = canonical(reached, &rest);
                return Some(self.gadget(&target, &attribute).unwrap_or(Technique::Attribute));
            }
        }
        // The module object itself, handed out by another module.
        let last = parts.last()?.trim_start_matches('_');
        let is_module = POWERFUL_MODULES.contains(&last) && !matches!(last, "code" | "types" | "operator" | "io");
        is_module.then_some(Technique::Import)
    }

    fn gadget(&self, module: &str, name: &str) -> Option<Technique> {
        let in_package = |package: &str| {
            let entries = self.gadgets.get(package)?;
            let first_part = name.split('.').next().unwrap_or(name);
            let fits =
                |below: bool, wanted: &str| (below || package == module) && (wanted == name || wanted == first_part);
            let any = |below: bool, wanted: &str| (below || package == module) && wanted == "*";
            let exact = entries.iter().find(|(below, wanted, _)| fits(*below, wanted));
            exact.or_else(|| entries.iter().find(|(below, wanted, _)| any(*below, wanted))).map(|entry| entry.2)
        };
        ancestors(module).find_map(in_package)
    }
}

/// Every entry that cannot be read, for the test of the data files.
#[cfg(test)]
pub(crate) fn unreadable_lines() -> Vec<&'static str> {
    let mut names = Names::default();
    let lines = ALLOWED.lines().chain(GENERATED.lines());
    let allowed = lines.filter(|line| names.add_allowed(line).is_err()).collect::<Vec<_>>();
    allowed.into_iter().chain(GADGETS.lines().filter(|line| names.add_gadget(line).is_err())).collect()
}

/// Effect or technique, module, names.
fn split(line: &'static str) -> Option<(&'static str, &'static str, impl Iterator<Item = &'static str>)> {
    let line = line.split('#').next().unwrap_or_default();
    let mut words = line.split_whitespace();
    Some((words.next()?, words.next()?, words))
}

fn package_of(module: &'static str) -> (&'static str, bool) {
    module.strip_suffix(".**").map_or((module, false), |package| (package, true))
}

fn effect_of(word: &str) -> Option<Effect> {
    Some(match word {
        "value" => Effect::Value,
        "make" => Effect::Make,
        "class" => Effect::Class,
        _ => Effect::Shape(match word.strip_prefix("shape:")? {
            "reconstructor" => Shape::Reconstructor,
            "newobj" => Shape::NewObject,
            "latin1" => Shape::Latin1,
            "partial" => Shape::Partial,
            "single" => Shape::Single,
            "dtype" => Shape::Dtype,
            "ufunc" => Shape::Ufunc,
            "from_type" => Shape::FromType,
            "torch_bytes" => Shape::TorchBytes,
            "zoneinfo" => Shape::ZoneInfo,
            "rebuilt_array" => Shape::RebuiltArray,
            "type_name" => Shape::TypeName,
            "buffer" => Shape::Buffer,
            "arrow_array" => Shape::ArrowArray,
            _ => return None,
        }),
    })
}

fn technique_of(word: &str) -> Option<Technique> {
    Some(match word {
        "exec" => Technique::Exec,
        "code" => Technique::Code,
        "native" => Technique::Native,
        "import" => Technique::Import,
        "attribute" => Technique::Attribute,
        "load" => Technique::Load,
        "file" => Technique::File,
        "network" => Technique::Network,
        "state" => Technique::State,
        _ => return None,
    })
}

/// `a.b.c`, `a.b`, `a`.
fn ancestors(module: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(module), |module| module.rsplit_once('.').map(|(parent, _)| parent))
}

/// New spelling of module and name.
fn canonical(module: &str, name: &str) -> (String, String) {
    let (head, tail) = module.split_once('.').map_or((module, None), |(head, tail)| (head, Some(tail)));
    let head = MODULE_ALIASES.iter().find(|(old, _)| *old == head).map_or(head, |(_, new)| new);
    let mut module = tail.map_or_else(|| head.to_owned(), |tail| format!("{head}.{tail}"));
    if let Some(rest) = module.strip_prefix("sklearn.externals.joblib")
        && (rest.is_empty() || rest.starts_with('.'))
    {
        module = format!("joblib{rest}");
    } else if let Some(rest) = module.strip_prefix("numpy._core") {
        module = format!("numpy.core{rest}");
    }
    (module, name.to_owned())
}

/// Dotted identifiers in ASCII: what every library of the ML world uses.
fn is_plain_path(path: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !path.is_empty()
        && path
            .split('.')
            .all(|part| part.bytes().all(is_word) && part.bytes().next().is_some_and(|first| !first.is_ascii_digit()))
}

fn is_dunder(part: &str) -> bool {
    part.len() > 4 && part.starts_with("__") && part.ends_with("__")
}

/// Modules whose very name has double underscores.
fn is_known_dunder(part: &str) -> bool {
    matches!(part, "__main__" | "__torch__" | "__mp_main__")
}

fn matches_pattern(pattern: &str, name: &str) -> bool {
    if pattern == "[Class]" {
        return name.trim_start_matches('_').as_bytes().first().is_some_and(u8::is_ascii_uppercase)
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    }
    if name.contains('.') {
        return false;
    }
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(suffix), _) => name.ends_with(suffix),
        (_, Some(prefix)) => name.starts_with(prefix),
        _ => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_tables_is_read() {
        assert_eq!(unreadable_lines(), Vec::<&str>::new());
    }

    #[test]
    fn standings() {
        let cases = [
            ("posix", "system", Standing::Gadget(Technique::Exec)),
            ("random", "_os.system", Standing::Gadget(Technique::Exec)),
            ("numpy", "f2py.crackfortran.myeval", Standing::Gadget(Technique::Exec)),
            ("__builtin__", "eval", Standing::Gadget(Technique::Exec)),
            ("torch.serialization", "os", Standing::Gadget(Technique::Load)),
            ("numpy._core.multiarray", "_reconstruct", Standing::Allowed(Effect::Make)),
            ("sklearn.svm._classes", "SVC", Standing::Allowed(Effect::Class)),
            ("sklearn.svm._classes", "SVC.fit", Standing::Dotted),
            ("collections", "OrderedDict.__class__", Standing::Dunder),
            ("mylib", "thing", Standing::Unknown),
            ("оs", "system", Standing::Odd),
        ];
        for (module, name, expected) in cases {
            assert_eq!(NAMES.standing(module, name), expected, "{module} {name}");
        }
    }
}
