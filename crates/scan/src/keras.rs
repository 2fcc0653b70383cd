//! Keras configurations: what `deserialize_keras_object` and the loaders before it would import, call, unmarshal or open.
//!
//! One judge for the `config.json` of `.keras` archives, the attributes of h5 files and plain JSON. It walks the whole document, so that a
//! gadget counts wherever it is nested, and looks at every value of a repeated key. `code` looks into marshalled functions.
//!
//! Sources: Keras 3 `saving/serialization_lib.py`; Keras 2 `saving/legacy/serialization.py`; CVE-2024-3660, CVE-2025-1550,
//! CVE-2025-8747, CVE-2025-9906, CVE-2025-12058, CVE-2025-12060, CVE-2025-49655.

use std::{collections::HashSet, sync::LazyLock};

use ringfence_format::json::{self, Json, JsonError, Object};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    paths::escapes,
    pickle::{
        Encoding,
        names::{NAMES, Standing},
        nested,
    },
    rules::id,
};

mod code;

/// What Keras restores by its name alone, one name a line.
pub(crate) const NAMES_TABLE: &str = include_str!("../data/keras_names.txt");

static KERAS: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| NAMES_TABLE.lines().filter(|line| !line.starts_with('#')).collect());

/// Packages of registered names whose code is Keras's own family's.
const PACKAGES: [&str; 7] = ["keras", "keras_hub", "keras_nlp", "keras_cv", "keras_core", "Addons", "builtins"];

/// How a loader comes by the classes that a configuration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restored {
    /// By their names: what Keras does not have comes from elsewhere.
    ByName,
    /// From the graph that is saved beside the configuration.
    FromGraph,
}

/// Packages whose modules hold Keras's own layers.
const FRAMEWORKS: [&str; 7] = ["keras", "tf_keras", "keras_core", "keras_hub", "keras_cv", "keras_nlp", "tensorflow"];
/// Parts of a framework's module path that a model's configuration needs. What is missing here (utilities, saving, configuration,
/// data sets, callbacks) does things to files, the network and the process.
const AREAS: [&str; 34] = [
    "activations",
    "applications",
    "backend",
    "base_layer",
    "common",
    "constraints",
    "core",
    "distillation",
    "dtype_policies",
    "engine",
    "feature_column",
    "functional",
    "initializers",
    "layers",
    "legacy",
    "legacy_tf_layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "ops",
    "optimizer_experimental",
    "optimizer_v2",
    "optimizers",
    "premade_models",
    "quantizers",
    "random",
    "regularizers",
    "sequential",
    "trainers",
    "training",
    "tokenizers",
    "samplers",
    "_legacy",
];
/// Functions of Keras that reach outside of a model; serialised configurations name them to have them called.
const GADGETS: [&str; 31] = [
    "get_file",
    "enable_unsafe_deserialization",
    "load_model",
    "load_weights",
    "save_model",
    "save_weights",
    "model_from_json",
    "model_from_yaml",
    "model_from_config",
    "load_img",
    "save_img",
    "load_data",
    "image_dataset_from_directory",
    "text_dataset_from_directory",
    "audio_dataset_from_directory",
    "timeseries_dataset_from_array",
    "func_load",
    "func_dump",
    "extract_archive",
    "_extract_archive",
    "deserialize_keras_object",
    "clear_session",
    "import_module",
    "load_op_library",
    "load_library",
    "py_function",
    "numpy_function",
    "py_func",
    "pop_custom_objects",
    "register_keras_serializable",
    "set_backend",
];
/// First parts of TensorFlow names that an operator layer may call; single words (`cast`, `reshape`) may be called too.
const OPERATOR_AREAS: [&str; 15] = [
    "math",
    "nn",
    "linalg",
    "strings",
    "image",
    "signal",
    "random",
    "sparse",
    "ragged",
    "sets",
    "bitwise",
    "dtypes",
    "quantization",
    "__operators__",
    "experimental",
];
/// Single TensorFlow names that reach outside.
const OPERATOR_GADGETS: [&str; 8] =
    ["py_function", "numpy_function", "py_func", "load_library", "load_op_library", "print", "Assert", "function"];
/// Keys of a layer whose text is a file that the layer opens.
const FILE_KEYS: [&str; 7] = ["vocabulary", "idf_weights", "merges", "filepath", "file_path", "fname", "cache_dir"];
/// Keys whose text is an address that is fetched.
const ADDRESS_KEYS: [&str; 3] = ["origin", "url", "uri"];
/// Shortest text that is looked into.
const TEXT_BYTES_MIN: usize = 8;
/// Custom objects of one document that are told.
const STRANGERS_MAX: usize = 100;
/// Longest dotted name, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Texts of a document that are looked into.
const TEXTS_MAX: usize = 20_000;
/// Findings of one document that are made.
const NODES_SHOWN_MAX: usize = 2_000;

impl Audit<'_> {
    /// Judges a configuration that stands inside another format, at `place`.
    pub(crate) fn keras_config(&mut self, json: &str, place: &str) {
        self.within(place, |audit| {
            if !audit.keras_restored(json.as_bytes(), Restored::FromGraph) {
                audit.text_rules(json.as_bytes());
            }
        });
    }

    /// Judges `bytes` if they are a JSON document that configures Keras objects; whether they are.
    pub(crate) fn keras_json(&mut self, bytes: &[u8]) -> bool {
        self.keras_restored(bytes, Restored::ByName)
    }

    fn keras_restored(&mut self, bytes: &[u8], restored: Restored) -> bool {
        let Some(text) = json::text_of(bytes) else { return false };
        let text = text.trim_end_matches('\0');
        // An escaped key needs a `\u`; documents with neither spelling configure nothing.
        let names = text.contains("class_name");
        if !names && !text.contains("\\u") {
            return false;
        }
        match json::parse(text) {
            Ok(document) => self.keras_document(&document, restored),
            Err(JsonError::TooDeep { offset }) if names => {
                self.note(id::KRS_NESTING, "nested deeper than any model", Some(offset as u64));
                true
            }
            Err(error @ (JsonError::TooLong { .. } | JsonError::TooMany)) if names => {
                self.note(id::KRS_LIMIT, &error.to_string(), None);
                true
            }
            Err(_) => false,
        }
    }

    fn keras_document(&mut self, document: &Json, restored: Restored) -> bool {
        let mut objects = Vec::new();
        let mut texts = Vec::new();
        let mut open = vec![(document, 0)];
        while let Some((value, around)) = open.pop() {
            let around = value.object().map_or(around, |object| object.offset);
            match value {
                Json::Object(object) => objects.push(object),
                Json::Text(text) if text.len() >= TEXT_BYTES_MIN => texts.push((text.as_str(), around)),
                _ => {}
            }
            open.extend(value.children().map(|child| (child, around)));
        }
        let is_config = |object: &&Object| {
            object.last("class_name").is_some() && has_any(object, &["config", "module", "registered_name"])
        };
        if !objects.iter().any(&is_config) {
            return false;
        }
        objects.sort_by_key(|object| object.offset);
        for object in objects.iter().take(NODES_SHOWN_MAX * 100) {
            self.keras_files(object);
            if is_config(object) {
                self.keras_object(object);
            }
            if let Some(key) = object.repeated() {
                let message = format!("`{}` stands twice in one object", printable(key, 80));
                self.note(id::KRS_DUPLICATE, &message, Some(object.offset as u64));
            }
        }
        if restored == Restored::ByName {
            self.keras_strangers(&objects, is_config);
        }
        let is_lambda = |object: &&Object| {
            object.all("class_name").filter_map(Json::text).any(|name| name.ends_with("ambda") || name == "__lambda__")
        };
        let is_told = objects.iter().any(is_lambda);
        for (text, around) in texts.into_iter().take(TEXTS_MAX) {
            self.keras_text(text, Some(around as u64), is_told);
        }
        true
    }

    /// Names without a module that Keras does not have: `custom_objects` or a registry must bring their code.
    fn keras_strangers(&mut self, objects: &[&Object], is_config: impl Fn(&&Object) -> bool) {
        let short = |name: &str| name.rsplit(['>', '.']).next().unwrap_or_default().to_owned();
        let is_known = |name: &str| {
            KERAS.contains(name)
                || KERAS.contains(short(name).as_str()) && !name.contains('>')
                || name.starts_with("__")
        };
        let classes =
            |object: &Object| object.all("class_name").filter_map(Json::text).map(str::to_owned).collect::<Vec<_>>();
        // Other frameworks write `class_name` and `config` as well.
        if !objects.iter().copied().filter(&is_config).flat_map(classes).any(|name| KERAS.contains(name.as_str())) {
            return;
        }
        let mut told = HashSet::new();
        for object in objects.iter().copied() {
            let has_module = object.all("module").filter_map(Json::text).any(|module| !module.is_empty());
            for name in classes(object).into_iter().filter(|_| is_config(&object)) {
                let package = name.split_once('>').map_or("", |(package, _)| package);
                let is_stranger = !has_module && !is_known(&name) && !PACKAGES.contains(&package);
                if is_stranger && told.len() < STRANGERS_MAX && told.insert(name.clone()) {
                    let message = format!("needs the custom object `{}`", printable(&name, 120));
                    self.note(id::KRS_CUSTOM, &message, Some(object.offset as u64));
                }
            }
            // A model's loss stands as a name where it was compiled with one.
            for loss in object.all("loss").filter_map(Json::text) {
                if object.last("optimizer_config").or(object.last("optimizer")).is_some()
                    && !is_known(loss)
                    && told.len() < STRANGERS_MAX
                    && told.insert(loss.to_owned())
                {
                    let message = format!("needs the custom loss `{}`", printable(loss, 120));
                    self.note(id::KRS_CUSTOM, &message, Some(object.offset as u64));
                }
            }
        }
    }

    /// Marshalled code, a configuration inside a text, a pickle, or another thing that a text can hold.
    fn keras_text(&mut self, text: &str, around: Option<u64>, is_told: bool) {
        // Old loaders resolve an activation's or initialiser's name by its path.
        if let Some((module, name)) = text.rsplit_once('.').filter(|_| text.len() < NAME_BYTES_MAX)
            && matches!(module, "os" | "posix" | "nt" | "subprocess" | "builtins" | "runpy" | "pty" | "importlib")
            && matches!(NAMES.standing(module, name), Standing::Gadget(_))
        {
            self.note(id::KRS_GADGET, &format!("names `{}`", printable(text, 120)), around);
        }
        if code::is_marshalled(text) {
            if !is_told {
                self.note(id::KRS_LAMBDA, "carries a marshalled Python function", around);
            }
            self.keras_code(text, around);
        } else if !(text.trim_start().starts_with(['{', '[']) && self.keras_json(text.as_bytes())) {
            self.free_text(text.as_bytes());
        }
    }

    fn keras_code(&mut self, text: &str, offset: Option<u64>) {
        let names = code::harmful_names(text);
        if !names.is_empty() {
            let message = format!("the function names `{}`", printable(&names.join("`, `"), 160));
            self.note(id::KRS_CODE, &message, offset);
        }
    }

    /// An object with a class name: what its loader looks up and calls.
    fn keras_object(&mut self, object: &Object) {
        let offset = Some(object.offset as u64);
        for class in object.all("class_name").filter_map(Json::text) {
            let short = class.rsplit(['>', '.']).next().unwrap_or(class);
            match short {
                "Lambda" => {
                    self.note(id::KRS_LAMBDA, "a Lambda layer calls a function that comes with the model", offset);
                }
                "__lambda__" => self.keras_lambda(object),
                "TorchModuleWrapper" => self.keras_torch(object),
                "TFSMLayer" => self.note(id::KRS_FILE, "a TFSMLayer loads another model from a path", offset),
                "TFOpLambda" | "SlicingOpLambda" | "ClassMethod" | "InstanceMethod" | "InstanceProperty"
                | "TensorFlowOpLayer" => {
                    self.keras_operator(object, short);
                }
                _ => {}
            }
            let names: Vec<&str> = if class == "function" {
                object.all("config").chain(object.all("registered_name")).filter_map(Json::text).collect()
            } else {
                vec![class]
            };
            let mut modules = object.all("module").filter_map(Json::text).peekable();
            if modules.peek().is_none() {
                for name in &names {
                    self.keras_name("", name, class == "function", offset);
                }
            }
            for module in modules {
                for name in &names {
                    self.keras_name(module, name, class == "function", offset);
                }
            }
        }
    }

    /// A name that the loader looks up in `module`, or among what is registered where `module` is empty.
    fn keras_name(&mut self, module: &str, name: &str, is_function: bool, offset: Option<u64>) {
        let shown = printable(&if module.is_empty() { name.to_owned() } else { format!("{module}.{name}") }, 160);
        let short = name.rsplit(['>', '.', ':']).next().unwrap_or(name);
        if GADGETS.contains(&short) {
            self.note(id::KRS_GADGET, &format!("calls `{shown}`"), offset);
            return;
        }
        let root = module.split('.').next().unwrap_or_default();
        let harms =
            !module.is_empty() && matches!(NAMES.standing(module, name), Standing::Gadget(_) | Standing::Dunder);
        match root {
            "" | "__main__" => {
                let (path, last) = name.rsplit_once('.').unwrap_or(("builtins", name));
                if matches!(NAMES.standing(path, last), Standing::Gadget(_)) {
                    self.note(id::KRS_GADGET, &format!("names `{shown}`"), offset);
                } else if name.split_once('>').is_some_and(|(package, _)| !PACKAGES.contains(&package))
                    || root == "__main__"
                {
                    self.note(id::KRS_CUSTOM, &format!("needs the custom object `{shown}`"), offset);
                }
            }
            // Functions of Keras, `ops.map` among them, are saved with this module; the loader looks them up in Keras.
            "builtins" if !harms || is_function && name == "map" => {}
            root if FRAMEWORKS.contains(&root) => self.keras_framework(module, short, is_function, offset),
            _ if harms => self.note(id::KRS_GADGET, &format!("imports and calls `{shown}`"), offset),
            _ => self.note(id::KRS_MODULE, &format!("imports `{shown}`"), offset),
        }
    }

    /// A name of Keras itself: a class or function of an area that models need, not a utility.
    fn keras_framework(&mut self, module: &str, name: &str, is_function: bool, offset: Option<u64>) {
        let shown = printable(&format!("{module}.{name}"), 160);
        let mut areas = module.split('.').skip(1).filter(|part| {
            !matches!(*part, "src" | "python" | "keras" | "api" | "_v2" | "_tf_keras" | "v2" | "compat")
        });
        let area = areas.next().unwrap_or_default();
        let is_tensorflow = module.starts_with("tensorflow") && !module.split('.').any(|part| part == "keras");
        let is_class = name.trim_start_matches('_').starts_with(|first: char| first.is_ascii_uppercase());
        if is_tensorflow {
            // Type specifications stand here; everything else of TensorFlow is wider than any list.
            let is_spec = name.ends_with("Spec") || name == "DType" || name == "TensorShape";
            if !is_spec {
                let rule = if matches!(NAMES.standing(module, name), Standing::Gadget(_)) {
                    id::KRS_GADGET
                } else {
                    id::KRS_MODULE
                };
                self.note(rule, &format!("imports `{shown}`"), offset);
            }
        } else if !area.is_empty() && !AREAS.contains(&area) && !is_extension(module) {
            self.note(id::KRS_MODULE, &format!("names `{shown}`, which is no part of a model"), offset);
        } else if !is_class && !is_function && !is_policy(area, name) {
            self.note(id::KRS_MODULE, &format!("names the function `{shown}` as a class"), offset);
        }
    }

    /// `__lambda__`: a function as marshalled bytes, defaults and closure.
    fn keras_lambda(&mut self, object: &Object) {
        let offset = Some(object.offset as u64);
        self.note(id::KRS_LAMBDA, "carries a Python function", offset);
        for config in object.all("config").filter_map(Json::object) {
            // Marshalled texts are judged wherever they stand; here it may also be plain source.
            let plain = config.all("code").chain(config.all("value")).filter_map(Json::text);
            plain.filter(|text| !code::is_marshalled(text)).for_each(|text| self.keras_code(text, offset));
        }
    }

    /// A torch module, pickled inside the configuration.
    fn keras_torch(&mut self, object: &Object) {
        self.note(id::KRS_PICKLE, "a TorchModuleWrapper unpickles a module", Some(object.offset as u64));
        let mut open: Vec<&Json> = object.all("config").collect();
        while let Some(value) = open.pop() {
            if let Some(text) = value.text().filter(|text| text.len() >= TEXT_BYTES_MIN) {
                for encoding in [Encoding::Base64, Encoding::Latin1] {
                    let bytes = nested::decode(text.as_bytes(), encoding);
                    if nested::is_start(&bytes) || bytes.starts_with(b"PK\x03\x04") {
                        self.within("module", |audit| audit.inspect(&mut std::io::Cursor::new(&bytes)));
                    }
                }
            }
            open.extend(value.children());
        }
    }

    /// A layer that calls a TensorFlow function by its public name.
    fn keras_operator(&mut self, object: &Object, class: &str) {
        let offset = Some(object.offset as u64);
        for config in object.all("config").filter_map(Json::object) {
            let named = ["function", "symbol", "cls_ref", "method_name"].into_iter().flat_map(|key| config.all(key));
            for name in named.filter_map(Json::text) {
                let shown = printable(name, 120);
                let (area, rest) = name.split_once('.').map_or((name, None), |(area, rest)| (area, Some(rest)));
                let last = name.rsplit('.').next().unwrap_or(name);
                if OPERATOR_GADGETS.contains(&last)
                    || GADGETS.contains(&last)
                    || matches!(area, "io" | "raw_ops" | "saved_model" | "data")
                {
                    self.note(id::KRS_GADGET, &format!("a {class} calls `tf.{shown}`"), offset);
                } else if rest.is_some() && !OPERATOR_AREAS.contains(&area) && area != "compat" && area != "keras" {
                    self.note(id::KRS_MODULE, &format!("a {class} calls `tf.{shown}`"), offset);
                }
            }
            for definition in config.all("node_def").filter_map(Json::text) {
                self.graph_operators(definition.as_bytes());
                self.graph_operators(&nested::decode(definition.as_bytes(), Encoding::Base64));
            }
        }
    }

    /// Texts under keys that loaders open or fetch.
    fn keras_files(&mut self, object: &Object) {
        let offset = Some(object.offset as u64);
        for (key, value) in &object.entries {
            let Some(text) = value.text().filter(|text| !text.is_empty()) else { continue };
            let shown = printable(text, 120);
            let is_remote = text.contains("://");
            if FILE_KEYS.contains(&key.as_str()) {
                let rule = if escapes(text) { id::KRS_PATH } else { id::KRS_FILE };
                self.note(rule, &format!("`{key}` is the file `{shown}`"), offset);
            } else if ADDRESS_KEYS.contains(&key.as_str()) && (is_remote || escapes(text)) {
                self.note(id::KRS_PATH, &format!("`{key}` is `{shown}`"), offset);
            }
        }
    }
}

fn has_any(object: &Object, keys: &[&str]) -> bool {
    keys.iter().any(|key| object.last(key).is_some())
}

/// KerasHub and its predecessors keep a package per model.
fn is_extension(module: &str) -> bool {
    ["keras_hub", "keras_cv", "keras_nlp"].iter().any(|root| {
        module.strip_prefix(root).is_some_and(|rest| {
            rest.is_empty()
                || [".models", ".src.models", ".layers", ".src.layers"].iter().any(|area| rest.starts_with(area))
        })
    })
}

/// Old configurations name functions of these areas as classes (`"class_name": "relu"`).
fn is_policy(area: &str, name: &str) -> bool {
    matches!(area, "activations" | "losses" | "metrics" | "regularizers" | "initializers" | "constraints" | "ops")
        || name.starts_with("__")
}
