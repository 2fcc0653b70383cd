//! Single values: what the key above them makes of a text.

use super::{
    COMMAND_BYTES_MAX, Config, FIELD_BYTES_MAX, REFERENCES_MAX, TEMPLATE_BYTES_MAX, TEMPLATES_MAX, TEXTS_MAX,
    keys::{CALLED, FILES, KERNEL_PUBLISHERS, KERNELS, PROMPTS},
    names::{Harm, is_library, judge, leaves_folder, resolved_code},
};
use crate::{
    rules::id,
    template::words,
    text::{hash, hidden, links, packages},
};

impl Config {
    pub(super) fn in_list(&mut self, text: &str, at: u64) {
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

    pub(super) fn hidden_value(&mut self, text: &str, at: u64) {
        if hidden::is_hidden_token(text) && text.chars().count() <= 16 {
            self.hidden_token(text, at);
        } else if let Some(what) = text.lines().find_map(hidden::in_line) {
            self.note(id::HID_TEXT, format!("a text holds {what}"), at);
        }
    }

    /// Templates, and values that are evaluated.
    pub(super) fn braces(&mut self, text: &str, at: u64) {
        let is_template = self.key.ends_with("chat_template")
            || self.is_under("chat_template")
            || self.key == "template" && self.is_under("additional_chat_templates");
        let has_blocks = text.contains("{%") || text.contains("{{");
        if has_blocks && (is_template || self.cells.is_empty()) {
            let is_named = is_template;
            let known = self.known_templates.insert(hash(text));
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
    pub(super) fn named(&mut self, text: &str, at: u64) {
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
                let (rule, message) = packages::index("an index", text);
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
    pub(super) fn command(&mut self, key: &str, text: &str, at: u64) {
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
    pub(super) fn by_place(&mut self, key: &str, text: &str, at: u64) {
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

    pub(super) fn reference(&mut self, key: &str, text: &str, at: u64) {
        let (module, name) = text.rsplit_once('.').unwrap_or(("builtins", text));
        match judge(module, name) {
            Harm::Runs => self.note(id::CFG_CALL, format!("`{key}` calls `{text}`"), at),
            _ if key == "py/object" || key == "py/reduce" && text.contains('.') => {
                self.note(id::TXT_OBJECT, format!("`{key}` makes `{text}`"), at);
            }
            _ => {}
        }
    }

    pub(super) fn called(&mut self, key: &str, path: &str, at: u64) {
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

    pub(super) fn dependency(&mut self, key: &str, text: &str, at: u64) {
        if let Some((rule, message)) = packages::line(text).filter(|_| key != "channels") {
            self.note(rule, message, at);
        }
        if key == "channels" && text.contains("://") && !links::is_known_index(text) {
            self.note(id::REQ_SOURCE, format!("packages come from the channel `{text}`"), at);
        }
    }
}
