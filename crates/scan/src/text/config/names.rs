//! What the names and paths in a value lead to.

use crate::pickle::names::{NAMES, Standing, Technique};

/// What calling something by its name would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::text) enum Harm {
    /// It is known to be harmless.
    None,
    /// Nothing is known of it.
    Unknown,
    /// It loads, reads, writes or reaches further.
    Reaches,
    /// It runs commands or code.
    Runs,
}

impl Harm {
    pub(super) fn worse(self, other: Self) -> Self {
        self.max(other)
    }
}

/// Packages whose readers of data are ordinary parts of configurations.
const DATA_LIBRARIES: [&str; 14] = [
    "pandas",
    "datasets",
    "transformers",
    "diffusers",
    "sklearn",
    "scipy",
    "numpy",
    "huggingface_hub",
    "logging",
    "pyarrow",
    "PIL",
    "torch",
    "keras",
    "tensorflow",
];
/// Modules that run what they are given.
const RUNNING: [&str; 22] = [
    "os",
    "posix",
    "nt",
    "subprocess",
    "builtins",
    "__builtin__",
    "pty",
    "commands",
    "runpy",
    "code",
    "marshal",
    "ctypes",
    "importlib",
    "sys",
    "socket",
    "types",
    "pickle",
    "_pickle",
    "cloudpickle",
    "dill",
    "timeit",
    "shutil",
];

/// What a call of `module.name` from a configuration means, by the tables that pickles are judged by.
pub(in crate::text) fn judge(module: &str, name: &str) -> Harm {
    let root = module.split(['.', ':']).next().unwrap_or_default();
    let is_framework =
        matches!(root, "keras" | "tf_keras" | "mlflow" | "hydra" | "lightning" | "pytorch_lightning" | "nemo");
    match NAMES.standing(module, name) {
        Standing::Gadget(_) if RUNNING.contains(&root) => Harm::Runs,
        Standing::Gadget(_) if name.split('.').any(|part| RUNNING.contains(&part.trim_start_matches('_'))) => {
            Harm::Runs
        }
        Standing::Gadget(Technique::Load) if is_framework && name == "load_model" => Harm::Reaches,
        Standing::Gadget(_) if is_framework => Harm::Unknown,
        Standing::Gadget(Technique::Load | Technique::File | Technique::Network) if DATA_LIBRARIES.contains(&root) => {
            let from_hub = root == "torch" && module.contains("hub") || name == "load_url";
            if from_hub || matches!(name, "load" | "read_pickle" | "load_state_dict_from_url") {
                Harm::Reaches
            } else {
                Harm::Unknown
            }
        }
        Standing::Gadget(_) | Standing::Dunder => Harm::Reaches,
        Standing::Odd if !module.is_ascii() || !name.is_ascii() => Harm::Reaches,
        Standing::Allowed(_) => Harm::None,
        _ => Harm::Unknown,
    }
}

pub(super) fn is_library(path: &str) -> bool {
    const LIBRARIES: [&str; 12] = [
        "transformers",
        "sentence_transformers",
        "torch",
        "diffusers",
        "peft",
        "timm",
        "tokenizers",
        "optimum",
        "onnxruntime",
        "accelerate",
        "flax",
        "setfit",
    ];
    LIBRARIES.contains(&path.split('.').next().unwrap_or_default())
}

/// The language whose readers make an object for `tag`: SnakeYAML takes any class by its full name, Psych what it marshals.
pub(super) fn foreign_object(tag: &str) -> Option<&'static str> {
    const MADE: [&str; 6] = ["object", "struct", "exception", "hash", "array", "string"];
    let name = tag.trim_start_matches("tag:yaml.org,2002:").trim_start_matches('!');
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.' | '[' | ']');
    if let Some(ruby) = name.strip_prefix("ruby/") {
        let (kind, class) = ruby.split_once(':')?;
        return (MADE.contains(&kind) && !class.is_empty()).then_some("Ruby");
    }
    let is_core = tag.starts_with("tag:yaml.org,2002:") || tag.starts_with("!!");
    (is_core && name.contains('.') && name.chars().all(is_word)).then_some("Java")
}

/// Absolute, upwards, or an address.
pub(in crate::text) fn leaves_folder(path: &str) -> bool {
    let bytes = path.as_bytes();
    path.starts_with(['/', '\\', '~'])
        || path.split(['/', '\\']).any(|part| part == "..")
        || path.contains("://")
        || matches!(bytes, [drive, b':', b'/' | b'\\', ..] if drive.is_ascii_alphabetic())
}

/// Code in a value that a resolver of OmegaConf or the like would run.
pub(super) fn resolved_code(text: &str) -> Option<&'static str> {
    let inside = text.get(text.find("${")?..)?;
    let running =
        ["__import__(", "os.system(", "os.popen(", "subprocess.", "exec(", "eval(", "__globals__", "builtins"];
    let is_resolver = ["${eval:", "${python", "${exec:", "${py:", "${lambda:", "${shell:", "${cmd:"]
        .iter()
        .any(|start| inside.contains(start));
    running
        .into_iter()
        .find(|running| inside.contains(running))
        .filter(|_| is_resolver || inside.contains("__import__("))
}
