//! What a configuration says, read from its events: the keys that frameworks import, call, open or evaluate.
//!
//! [`Config`] is a [`Sink`] for JSON and YAML alike. It keeps the few fields of each open map that rules look at, judges a map
//! when it ends (`schema`), and gathers what other readers take over: templates and cells of notebooks.
//!
//! What holds: memory is bounded by the depth of the document and by named constants; a map is judged however late its
//! fields come, and by the first and the last of two equal keys.

use std::collections::{HashMap, HashSet};

use ringfence_format::document::{Event, Sink};

use super::{hidden, links};
use crate::{
    audit::Audit,
    pickle::names::{NAMES, Standing, Technique},
    rules::{Rule, id},
    template::words,
};

mod schema;

/// Most findings of one document, and of one rule in it.
const DRAFTS_MAX: usize = 200;
const DRAFTS_OF_RULE_MAX: usize = 12;
/// Most fields of one map that are kept, and pairs, and texts of a list.
const FIELDS_MAX: usize = 64;
const PAIRS_MAX: usize = 256;
const TEXTS_MAX: usize = 3;
/// Longest value of a field that is kept, in bytes.
const FIELD_BYTES_MAX: usize = 4 << 10;
/// Longest key that is kept, in bytes.
const KEY_BYTES_MAX: usize = 256;
/// Most templates and texts with braces, and their bytes together.
const TEMPLATES_MAX: usize = 256;
const TEMPLATE_BYTES_MAX: usize = 16 << 20;
/// Most cells of a notebook, and bytes of all cells and outputs together.
const CELLS_MAX: usize = 4_000;
const CELL_BYTES_MAX: usize = 16 << 20;

/// Most texts that are decoded, and how encoded pickles begin: with the bytes that every pickler writes first.
const ENCODED_MAX: usize = 64;
const ENCODED_STARTS: [&str; 9] = ["gASV", "gAWV", "gAR9", "gARj", "gANj", "gAN9", "gAJj", "gAJ9", "800495"];

/// Keys whose texts are kept until their map ends.
const KEPT: [&str; 44] = [
    "__class__",
    "__loader__",
    "__module__",
    "_class_name",
    "_diffusers_version",
    "_target_",
    "base_class",
    "cell_type",
    "class_name",
    "class_path",
    "code",
    "config",
    "data",
    "file",
    "model_code_path",
    "model_path",
    "content",
    "func",
    "function",
    "handler",
    "idx",
    "lstrip",
    "loader_module",
    "module",
    "module_path",
    "modelName",
    "name",
    "parent_library",
    "path",
    "pattern",
    "python_model",
    "registered_name",
    "serializedFile",
    "single_word",
    "source",
    "special",
    "target",
    "text/html",
    "type",
    "output_type",
    "method",
    "application/javascript",
    "image/svg+xml",
    "input",
];
/// Keys whose value is the name of something that is called or imported.
const CALLED: [&str; 14] = [
    "_target_",
    "loader_module",
    "parent_library",
    "base_class",
    "custom_class",
    "class_path",
    "()",
    "python_class",
    "activation_fn",
    "activation_function",
    "custom_objects",
    "_recursive_target_",
    "megatron_core",
    // Orbax's handlers.
    "restore_fn",
];
/// Keys that decide what is loaded: twice the same is an ambiguity that matters.
const DECIDING: [&str; 10] = [
    "auto_map",
    "chat_template",
    "_target_",
    "loader_module",
    "parent_library",
    "__loader__",
    "__class__",
    "__module__",
    "custom_pipelines",
    "trust_remote_code",
];
/// Words of sums over numbers.
const SUM_WORDS: [&str; 12] = ["int", "float", "round", "range", "for", "in", "x", "i", "min", "max", "list", "len"];
/// Keys whose value is a file beside the document.
const FILES: [&str; 15] = [
    "filename",
    "weight_map",
    "vocab_file",
    "custom_ops_library",
    "serializedFile",
    "python_model",
    "model_file",
    "adapter_filename",
    // PEFT unpickles what it kept of a model's activations.
    "cache_file",
    "covariance_file",
    // MLflow's parts of a model.
    "model_data",
    "pickled_model",
    "state_dict",
    "pickle_module_info",
    "saved_model_dir",
];

/// Keys that matter for everything below them.
const ABOVE: [&str; 13] = [
    "auto_map",
    "custom_pipelines",
    "py/reduce",
    "py/newargs",
    "scripts",
    "entry_points",
    "chat_template",
    "additional_chat_templates",
    "weight_map",
    "flavors",
    "artifacts",
    "custom_imports",
    "kernel_config",
];
/// Keys under which a model's orders stand, which are no data.
const PROMPTS: [&str; 6] = [
    "system_prompt",
    "default_system_prompt",
    "system_message",
    "system_instruction",
    "system_instructions",
    "preprompt",
];
/// Keys that choose how attention and experts are computed. A repository's name there is fetched and its native code
/// loaded, whether or not remote code is trusted (transformers, "Loading kernels").
const KERNELS: [&str; 6] = [
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "_attn_implementation_autoset",
    "experts_implementation",
    "_experts_implementation",
];
/// Publishers of kernels that transformers itself names.
const KERNEL_PUBLISHERS: [&str; 3] = ["kernels-community/", "kernels-staging/", "huggingface/"];
/// Longest value that can be a command, in bytes.
const COMMAND_BYTES_MAX: usize = 1 << 10;
/// Most values that references may name, and most references to them.
const SCALARS_MAX: usize = 4_096;
const REFERENCES_MAX: usize = 256;

/// One finding before it is told.
pub(crate) struct Draft {
    pub(super) rule: &'static Rule,
    pub(super) message: String,
    pub(super) at: u64,
}

/// A field of a map.
struct Field {
    key: String,
    value: String,
    at: u64,
}

/// An open map or list.
#[derive(Default)]
struct Frame {
    /// The key under which it stands; of a list's elements, the list's key.
    key: String,
    is_map: bool,
    fields: Vec<Field>,
    /// Lists of exactly two texts: key, texts.
    pairs: Vec<(String, [String; 2], u64)>,
    /// First texts of a list, and how many elements it has.
    texts: Vec<String>,
    elements: usize,
    /// All texts of a list that are lines of one text.
    joined: Option<String>,
    /// Deciding keys seen.
    seen: u32,
    /// Which of [`ABOVE`] it stands under, itself included.
    under: u32,
}

/// A cell of a notebook or one of its outputs.
pub(super) struct Cell {
    pub(super) index: usize,
    pub(super) text: String,
    pub(super) is_code: bool,
}

/// Reads a document's events.
#[derive(Default)]
pub(crate) struct Config {
    frames: Vec<Frame>,
    key: String,
    /// A tag that evaluates the text that comes next, and where it stands.
    evaluates: Option<u64>,
    pub(super) drafts: Vec<Draft>,
    pub(super) templates: Vec<(String, String, bool)>,
    template_bytes: usize,
    known_templates: HashSet<u64>,
    pub(super) cells: Vec<Cell>,
    /// Texts that begin like an encoded pickle, and where they stand.
    encoded: Vec<(String, u64)>,
    cell_bytes: usize,
    cell_count: usize,
    /// Values by their path from the root, and values of called keys that refer to them: key, value, place.
    scalars: HashMap<String, String>,
    references: Vec<(String, String, u64)>,
}

impl Sink for Config {
    fn event(&mut self, event: Event<'_>, at: u64) {
        match event {
            Event::Text { text, .. } => self.evaluated(Some(text)),
            Event::ListStart | Event::Plain(_) => {}
            _ => self.evaluated(None),
        }
        match event {
            Event::MapStart | Event::ListStart => self.start(event == Event::MapStart, at),
            Event::MapEnd | Event::ListEnd => self.end(at),
            Event::Key(key) => self.key(key, at),
            Event::Text { text, cut } => {
                self.element();
                if cut && (self.key.ends_with("chat_template") || self.is_under("chat_template")) {
                    self.note(id::TPL_BROKEN, "the template is longer than what is read".to_owned(), at);
                }
                self.text(text, at);
            }
            Event::Plain(plain) => {
                self.element();
                self.plain(plain, at);
            }
            Event::Tag(tag) => self.tagged(tag, at),
            Event::Alias => self.element(),
            Event::Next => self.frames.clear(),
            _ => {}
        }
    }
}

impl Config {
    pub(super) fn note(&mut self, rule: &'static Rule, message: String, at: u64) {
        let same = self.drafts.iter().filter(|draft| draft.rule == rule).count();
        // The worst rules are never crowded out by the mild ones.
        if same < DRAFTS_OF_RULE_MAX && self.drafts.len() < DRAFTS_MAX {
            self.drafts.push(Draft { rule, message, at });
        }
    }

    /// Behind a tag that evaluates: sums and lists of numbers, as some vision libraries write them, are no commands.
    fn evaluated(&mut self, text: Option<&str>) {
        let Some(at) = self.evaluates.take() else { return };
        let is_sum = text.is_some_and(|text| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
            text.is_ascii()
                && text
                    .split(|c| !is_part(c))
                    .all(|word| word.is_empty() || SUM_WORDS.contains(&word) || word.parse::<f64>().is_ok())
        });
        let rule = if is_sum { id::TXT_OBJECT } else { id::CFG_CALL };
        self.note(rule, "the tag `python/object/apply` calls `eval`".to_owned(), at);
    }

    fn element(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.elements += 1;
        }
    }

    fn start(&mut self, is_map: bool, _at: u64) {
        self.element();
        let in_list = self.frames.last().is_some_and(|frame| !frame.is_map);
        if in_list && let Some(frame) = self.frames.last() {
            let key = frame.key.clone();
            self.key.clone_from(&key);
        }
        let key = std::mem::take(&mut self.key);
        let joins = !is_map
            && matches!(
                key.as_str(),
                "source"
                    | "input"
                    | "text/html"
                    | "application/javascript"
                    | "image/svg+xml"
                    | "template"
                    | "chat_template"
            );
        let above = self.frames.last().map_or(0, |frame| frame.under);
        let under = above | ABOVE.iter().position(|name| *name == key).map_or(0, |bit| 1 << bit);
        self.frames.push(Frame { key, is_map, joined: joins.then(String::new), under, ..Frame::default() });
    }

    fn end(&mut self, at: u64) {
        let Some(frame) = self.frames.pop() else { return };
        if frame.is_map {
            self.judge(&frame, at);
            return;
        }
        if !self.in_map() {
            return;
        }
        if let Some(joined) = frame.joined {
            if frame.key.ends_with("template") {
                // Lines of one template.
                self.key = frame.key;
                self.braces(&joined, at);
            } else if let Some(parent) = self.frames.last_mut().filter(|parent| parent.fields.len() < FIELDS_MAX)
                && KEPT.contains(&frame.key.as_str())
            {
                parent.fields.push(Field { key: frame.key, value: joined, at });
            }
        } else if let (2, [first, second]) = (frame.elements, frame.texts.as_slice())
            && let Some(parent) = self.frames.last_mut().filter(|parent| parent.pairs.len() < PAIRS_MAX)
        {
            parent.pairs.push((frame.key, [first.clone(), second.clone()], at));
        }
    }

    fn key(&mut self, key: &str, at: u64) {
        let kept = key.floor_char_boundary(KEY_BYTES_MAX.min(key.len()));
        self.key.clear();
        self.key.push_str(key.get(..kept).unwrap_or_default());
        if !key.is_ascii() && hidden::is_hidden_token(key) {
            self.hidden_token(key, at);
        }
        if let Some(bit) = DECIDING.iter().position(|deciding| *deciding == key)
            && let Some(frame) = self.frames.last_mut()
        {
            let is_double = frame.seen & 1 << bit != 0;
            frame.seen |= 1 << bit;
            if is_double {
                self.note(id::CFG_KEY, format!("the key `{key}` stands twice in one map"), at);
            }
        }
    }

    fn hidden_token(&mut self, text: &str, at: u64) {
        match hidden::in_line(text) {
            Some(what) => self.note(id::HID_TEXT, format!("a text holds {what}"), at),
            None if text.chars().count() <= 16 => {
                self.note(id::HID_TOKEN, "a token of invisible or turning characters".to_owned(), at);
            }
            None => {}
        }
    }

    fn tagged(&mut self, tag: &str, at: u64) {
        if let Some(kind) = foreign_object(tag) {
            self.note(id::TXT_OBJECT, format!("the tag `{tag}` makes an object of {kind}"), at);
        }
        let python = tag.find("python/").map(|start| tag.get(start + 7..).unwrap_or_default());
        let Some(rest) = python else { return };
        let Some((kind, name)) = rest.split_once(':') else { return };
        // `!!python/tuple` and the plain types make values; the others import or call.
        let (module, attribute) = name.rsplit_once('.').unwrap_or(("builtins", name));
        let is_module = kind == "module";
        let (module, attribute) = if is_module { (name, "*") } else { (module, attribute) };
        // Settings of documentation tools name the functions of these plug-ins so.
        let is_plugin =
            ["materialx.", "material.extensions.", "pymdownx."].iter().any(|plugin| name.starts_with(plugin));
        match judge(module, attribute) {
            Harm::Runs if name == "eval" && kind == "object/apply" => self.evaluates = Some(at),
            Harm::Runs => self.note(id::CFG_CALL, format!("the tag `python/{kind}` calls `{name}`"), at),
            _ if kind == "name" && is_plugin => {
                self.note(id::CFG_NAMES, format!("the tag `python/{kind}` names `{name}`"), at);
            }
            _ => self.note(id::TXT_OBJECT, format!("the tag `python/{kind}` makes `{name}`"), at),
        }
    }

    fn plain(&mut self, plain: &str, at: u64) {
        if self.key == "trust_remote_code" && plain.eq_ignore_ascii_case("true") && self.in_map() {
            self.note(id::TXT_REMOTE_CODE, "`trust_remote_code` is switched on".to_owned(), at);
        }
        if matches!(self.key.as_str(), "special" | "single_word" | "lstrip" | "idx") {
            self.keep(plain, at);
        }
    }

    fn in_map(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.is_map)
    }

    /// Whether one of the maps or lists around stands under `key`, one of [`ABOVE`].
    fn is_under(&self, key: &str) -> bool {
        let bit = ABOVE.iter().position(|above| *above == key);
        bit.zip(self.frames.last()).is_some_and(|(bit, frame)| frame.under & 1 << bit != 0)
    }

    fn keep(&mut self, text: &str, at: u64) {
        let Some(frame) = self.frames.last_mut() else { return };
        if !frame.is_map || !KEPT.contains(&self.key.as_str()) || frame.fields.len() >= FIELDS_MAX {
            return;
        }
        let most = if matches!(self.key.as_str(), "source" | "input" | "text/html" | "content") {
            1 << 20
        } else {
            FIELD_BYTES_MAX
        };
        let end = text.floor_char_boundary(most.min(text.len()));
        frame.fields.push(Field { key: self.key.clone(), value: text.get(..end).unwrap_or_default().to_owned(), at });
    }

    fn text(&mut self, text: &str, at: u64) {
        if !text.is_ascii() {
            self.hidden_value(text, at);
        }
        if self.encoded.len() < ENCODED_MAX && ENCODED_STARTS.iter().any(|start| text.starts_with(start)) {
            self.encoded.push((text.to_owned(), at));
        }
        let is_line = self.frames.last().is_some_and(|frame| frame.joined.is_some());
        if !is_line && memchr::memchr(b'{', text.as_bytes()).is_some() {
            self.braces(text, at);
        }
        let Some(frame) = self.frames.last_mut() else { return };
        if !frame.is_map {
            self.in_list(text, at);
            return;
        }
        self.keep(text, at);
        self.scalar(text);
        self.named(text, at);
    }

    /// Remembers a value that `${a.b}` elsewhere may stand for.
    fn scalar(&mut self, text: &str) {
        let is_name =
            |text: &str| !text.is_empty() && text.len() <= KEY_BYTES_MAX && !text.contains(char::is_whitespace);
        if self.scalars.len() >= SCALARS_MAX || !is_name(text) || self.frames.iter().any(|frame| !frame.is_map) {
            return;
        }
        let mut path: Vec<&str> = self.frames.iter().skip(1).map(|frame| frame.key.as_str()).collect();
        path.push(&self.key);
        self.scalars.insert(path.join("."), text.to_owned());
    }

    /// What called keys name once their references are put in (OmegaConf, "Variable interpolation"; one step).
    pub(super) fn resolve(&mut self) {
        for (key, text, at) in std::mem::take(&mut self.references) {
            let mut resolved = String::new();
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once("${") {
                let Some((name, behind)) = after.split_once('}') else { break };
                resolved.push_str(before);
                resolved.push_str(self.scalars.get(name.trim_start_matches('.')).map_or("", String::as_str));
                rest = behind;
            }
            resolved.push_str(rest);
            self.called(&key, &resolved, at);
        }
    }

    fn in_list(&mut self, text: &str, at: u64) {
        let Some(frame) = self.frames.last_mut() else { return };
        if let Some(joined) = &mut frame.joined {
            if joined.len() + text.len() <= 1 << 20 {
                joined.push_str(text);
            }
            return;
        }
        if frame.texts.len() < TEXTS_MAX && text.len() <= FIELD_BYTES_MAX {
            frame.texts.push(text.to_owned());
        }
        let key = frame.key.clone();
        self.by_place(&key, text, at);
        if matches!(
            key.as_str(),
            "dependencies"
                | "build_dependencies"
                | "python_packages"
                | "pip"
                | "pip_dependencies"
                | "pip_packages"
                | "requirements"
                | "packages"
                | "channels"
        ) {
            self.dependency(&key, text, at);
        }
    }

    fn hidden_value(&mut self, text: &str, at: u64) {
        if hidden::is_hidden_token(text) && text.chars().count() <= 16 {
            self.hidden_token(text, at);
        } else if let Some(what) = text.lines().find_map(hidden::in_line) {
            self.note(id::HID_TEXT, format!("a text holds {what}"), at);
        }
    }

    /// Templates, and values that are evaluated.
    fn braces(&mut self, text: &str, at: u64) {
        let is_template = self.key.ends_with("chat_template")
            || self.is_under("chat_template")
            || self.key == "template" && self.is_under("additional_chat_templates");
        let has_blocks = text.contains("{%") || text.contains("{{");
        if has_blocks && (is_template || self.cells.is_empty()) {
            let is_named = is_template;
            let known = self.known_templates.insert(super::hash(text));
            let fits = self.template_bytes + text.len() <= TEMPLATE_BYTES_MAX;
            // Templates by name come first: data with braces must not crowd them out.
            if known && fits && (is_named || self.templates.len() < TEMPLATES_MAX) {
                self.template_bytes += text.len();
                let place = if self.key.is_empty() { "template".to_owned() } else { self.key.clone() };
                self.templates.push((place, text.to_owned(), is_named));
            }
        }
        if let Some(what) = resolved_code(text) {
            self.note(id::CFG_VALUE, format!("a value holds `{what}`"), at);
        }
    }

    /// Values of keys that name something to call, import or open.
    fn named(&mut self, text: &str, at: u64) {
        let key = std::mem::take(&mut self.key);
        if CALLED.contains(&key.as_str()) {
            self.called(&key, text, at);
        }
        if key == "trust_remote_code" && text.eq_ignore_ascii_case("true") {
            self.note(id::TXT_REMOTE_CODE, "`trust_remote_code` is switched on".to_owned(), at);
        }
        match key.as_str() {
            "py/object" | "py/reduce" | "py/function" | "py/type" | "py/repr" | "py/newobj" | "py/newargs"
            | "py/state" => {
                self.reference(&key, text, at);
            }
            "custom_pipeline" | "pipeline_file" => {
                self.note(id::TXT_REMOTE_CODE, format!("`{key}` names the code `{text}`"), at);
            }
            "base_model_name_or_path" if text.contains("://") => {
                self.note(id::CFG_LINK, format!("the base model is an address: `{text}`"), at);
            }
            "postCreateCommand" | "preinstall" | "postinstall" | "prepare" => {
                if let Some(what) = links::harmful_command(text) {
                    self.note(id::CFG_CALL, format!("`{key}` {what}"), at);
                }
            }
            "index_url" | "extra_index_url" | "index-url" | "extra-index-url" if text.contains("://") => {
                let (rule, message) = super::packages::index("an index", text);
                self.note(rule, message, at);
            }
            // Paddle's programs as JSON: an operator's name behind its dialect.
            "#" if text.rsplit('.').next().is_some_and(|name| matches!(name, "py_func" | "py_layer")) => {
                self.note(id::GRF_PYTHON, format!("the operator `{text}` calls Python"), at);
            }
            key if KERNELS.contains(&key) || self.is_under("kernel_config") => {
                let is_repository = text.split('/').count() == 2 && !text.contains([' ', '\n']);
                if is_repository && !KERNEL_PUBLISHERS.iter().any(|publisher| text.starts_with(publisher)) {
                    self.note(id::TXT_REMOTE_CODE, format!("`{key}` fetches native code from `{text}`"), at);
                }
            }
            key if PROMPTS.contains(&key) => {
                if let Some(what) = words::instruction(text) {
                    self.note(id::CFG_PROMPT, format!("`{key}` {what}"), at);
                }
            }
            _ => {}
        }
        self.command(&key, text, at);
        self.by_place(&key, text, at);
        let is_part = self.is_under("flavors") && matches!(key.as_str(), "path" | "data" | "model_path");
        let is_weight_file = self.is_under("weight_map");
        if (FILES.contains(&key.as_str()) || is_weight_file || is_part) && leaves_folder(text) {
            self.note(id::CFG_PATH, format!("`{key}` names `{text}`"), at);
        }
        if key == "custom_ops_library" {
            self.note(id::TXT_REMOTE_CODE, format!("loads the native library `{text}`"), at);
        }
        if let Some(host) = links::relay(text) {
            self.note(id::CFG_RELAY, format!("`{key}` sends to `{host}`, which passes on to anybody"), at);
        } else if let Some(what) = links::doubtful(text) {
            self.note(id::CFG_LINK, format!("`{key}` holds {what}"), at);
        }
        self.key = key;
    }

    /// A value that is a command, or one expression of Python that runs something: whoever reads such a key, runs it.
    fn command(&mut self, key: &str, text: &str, at: u64) {
        if text.len() > COMMAND_BYTES_MAX {
            return;
        }
        let is_command_key = ["command", "cmd", "hook", "shell", "exec"].iter().any(|end| key.ends_with(end));
        if let Some(what) = links::harmful_command(text).filter(|_| is_command_key) {
            self.note(id::CFG_VALUE, format!("`{key}` {what}"), at);
        }
        let is_call = ["__import__(", "exec(", "eval(", "os.system(", "os.popen(", "subprocess."]
            .iter()
            .any(|start| text.starts_with(start));
        // Data sets hold code as a matter of course, in lists and under such keys.
        let is_data = self.frames.iter().any(|frame| !frame.is_map)
            || ["text", "code", "content", "source", "prompt", "input", "output", "completion", "example", "solution"]
                .iter()
                .any(|data| key.ends_with(data));
        if is_call && !is_data && text.trim_end().ends_with(')') && !text.contains('\n') {
            self.note(id::CFG_VALUE, format!("`{key}` is the expression `{text}`"), at);
        }
    }

    /// Values that matter for the keys above them.
    fn by_place(&mut self, key: &str, text: &str, at: u64) {
        if key == "auto_map" || self.is_under("auto_map") {
            let origin =
                if text.contains("--") { "code of another repository" } else { "code that comes with the model" };
            self.note(id::TXT_REMOTE_CODE, format!("`auto_map` names {origin}: `{text}`"), at);
        } else if self.is_under("custom_pipelines") && matches!(key, "impl" | "custom_pipelines") {
            self.note(
                id::TXT_REMOTE_CODE,
                format!("`custom_pipelines` names code that comes with the model: `{text}`"),
                at,
            );
        } else if self.is_under("custom_imports") && key == "imports" {
            self.note(id::TXT_REMOTE_CODE, format!("`custom_imports` imports `{text}`"), at);
        } else if self.is_under("py/reduce") || self.is_under("py/newargs") {
            self.reference("py/reduce", text, at);
        } else if (self.is_under("scripts") || key == "command" && self.is_under("entry_points"))
            && links::harmful_command(text).is_some()
        {
            self.note(id::CFG_CALL, format!("the script `{key}` runs `{text}`"), at);
        }
    }

    fn reference(&mut self, key: &str, text: &str, at: u64) {
        let (module, name) = text.rsplit_once('.').unwrap_or(("builtins", text));
        match judge(module, name) {
            Harm::Runs => self.note(id::CFG_CALL, format!("`{key}` calls `{text}`"), at),
            _ if key == "py/object" || key == "py/reduce" && text.contains('.') => {
                self.note(id::TXT_OBJECT, format!("`{key}` makes `{text}`"), at);
            }
            _ => {}
        }
    }

    fn called(&mut self, key: &str, path: &str, at: u64) {
        if path.contains("${") && self.references.len() < REFERENCES_MAX {
            self.references.push((key.to_owned(), path.to_owned(), at));
        }
        if key.starts_with("activation") && !path.contains('.') || path.contains("${") || path.is_empty() {
            return;
        }
        let (module, name) = path.rsplit_once([':', '.']).unwrap_or((path, "*"));
        let whole = judge(path, "*");
        let whole =
            if matches!(key, "loader_module" | "parent_library" | "megatron_core") { whole } else { Harm::None };
        match judge(module, name).worse(whole) {
            Harm::Runs => self.note(id::CFG_CALL, format!("`{key}` calls `{path}`"), at),
            Harm::Reaches => self.note(id::TXT_CODE, format!("`{key}` names `{path}`"), at),
            Harm::Unknown if key == "parent_library" && !is_library(path) => {
                self.note(id::TXT_REMOTE_CODE, format!("`{key}` imports `{path}`"), at);
            }
            Harm::Unknown if key == "megatron_core" && path != "megatron.core" => {
                self.note(id::TXT_REMOTE_CODE, format!("`{key}` imports `{path}`"), at);
            }
            Harm::Unknown if key == "loader_module" && !path.starts_with("mlflow.") => {
                self.note(id::TXT_REMOTE_CODE, format!("`{key}` imports `{path}`"), at);
            }
            Harm::Unknown if key.starts_with("activation") && !is_library(path) => {
                self.note(id::TXT_REMOTE_CODE, format!("`{key}` imports `{path}`"), at);
            }
            Harm::Unknown if key == "_target_" || key == "class_path" => {
                self.note(id::CFG_NAMES, format!("`{key}` names `{path}`"), at);
            }
            _ => {}
        }
    }

    fn dependency(&mut self, key: &str, text: &str, at: u64) {
        if let Some((rule, message)) = super::packages::line(text).filter(|_| key != "channels") {
            self.note(rule, message, at);
        }
        if key == "channels" && text.contains("://") && !links::is_known_index(text) {
            self.note(id::REQ_SOURCE, format!("packages come from the channel `{text}`"), at);
        }
    }
}

/// What calling something by its name would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Harm {
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
    fn worse(self, other: Self) -> Self {
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
pub(super) fn judge(module: &str, name: &str) -> Harm {
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

fn is_library(path: &str) -> bool {
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
fn foreign_object(tag: &str) -> Option<&'static str> {
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
pub(super) fn leaves_folder(path: &str) -> bool {
    let bytes = path.as_bytes();
    path.starts_with(['/', '\\', '~'])
        || path.split(['/', '\\']).any(|part| part == "..")
        || path.contains("://")
        || matches!(bytes, [drive, b':', b'/' | b'\\', ..] if drive.is_ascii_alphabetic())
}

/// Code in a value that a resolver of OmegaConf or the like would run.
fn resolved_code(text: &str) -> Option<&'static str> {
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

impl Audit<'_> {
    /// Tells what `config` found, and judges the templates and cells in it.
    pub(crate) fn configuration(&mut self, mut config: Config) {
        config.evaluated(None);
        config.resolve();
        for draft in &config.drafts {
            self.note(draft.rule, &draft.message, Some(draft.at));
        }
        for (place, text, is_named) in &config.templates {
            if *is_named {
                self.template(text, place);
            } else {
                self.within(place, |audit| audit.blocks(text));
            }
        }
        for (text, at) in &config.encoded {
            self.within(&format!("text@{at:#x}"), |audit| audit.encoded(text.as_bytes()));
        }
        self.cells(&config.cells);
    }
}
