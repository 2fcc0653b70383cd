//! Maps that some framework knows by their fields, judged when they end.

use super::{
    CELL_BYTES_MAX, CELLS_MAX, Cell, Config, Field, Frame,
    names::{Harm, judge, leaves_folder},
};
use crate::{rules::id, script, template::words};

/// Libraries whose classes a diffusers pipeline may name without bringing code along.
const PIPELINE_LIBRARIES: [&str; 9] = [
    "diffusers",
    "transformers",
    "onnxruntime",
    "flax",
    "optimum",
    "k_diffusion",
    "invisible_watermark",
    "peft",
    "sentencepiece",
];
/// Handlers that TorchServe brings along.
const HANDLERS: [&str; 6] =
    ["image_classifier", "image_segmenter", "object_detector", "text_classifier", "base_handler", "vision_handler"];
/// Nodes of skops whose class is the kind of value and not something to import.
const VALUE_NODES: [&str; 22] = [
    "FunctionNode",
    "TypeNode",
    "PartialNode",
    "JsonNode",
    "ListNode",
    "DictNode",
    "TupleNode",
    "SetNode",
    "BytesNode",
    "BytearrayNode",
    "SliceNode",
    "NdArrayNode",
    "MaskedArrayNode",
    "RandomStateNode",
    "RandomGeneratorNode",
    "SparseMatrixNode",
    "DefaultDictNode",
    "OrderedDictNode",
    "DatetimeTimedeltaNode",
    "TreeNode",
    "LossNode",
    "CachedNode",
];
/// Longest added token that is ordinary, in characters.
const TOKEN_CHARS_MAX: usize = 96;

impl Frame {
    fn field(&self, key: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.key == key)
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.field(key).map(|field| field.value.as_str())
    }
}

impl Config {
    /// A map is over.
    pub(super) fn judge(&mut self, frame: &Frame, at: u64) {
        if frame.fields.is_empty() && frame.pairs.is_empty() {
            return;
        }
        self.skops(frame, at);
        self.keras(frame);
        self.sentence_module(frame);
        self.pipeline(frame, at);
        self.token(frame);
        self.handler(frame);
        self.flavor(frame);
        self.hydra(frame);
        self.cell(frame);
    }

    /// skops: `__loader__` says how, `__module__` and `__class__` what (skops.io, "persistence").
    fn skops(&mut self, frame: &Frame, at: u64) {
        if frame.key == "content"
            && let (Some(module), Some(name)) = (frame.value("module_path"), frame.value("function"))
        {
            self.made(module, name, at, "function");
        }
        let (Some(module), Some(name)) = (frame.value("__module__"), frame.value("__class__")) else { return };
        let Some(loader) = frame.value("__loader__") else {
            // The content of a TypeNode.
            if frame.key == "content" {
                self.made(module, name, at, "type");
            }
            return;
        };
        if let Some(file) = frame.field("file").filter(|file| leaves_folder(&file.value)) {
            self.note(id::CFG_PATH, format!("the node `{loader}` reads `{}`", file.value), file.at);
        }
        if matches!(loader, "OperatorFuncNode" | "MethodNode" | "MethodcallerNode") {
            self.note(id::CFG_TYPE, format!("the node `{loader}` calls `{module}.{name}`"), at);
        }
        let is_value = VALUE_NODES.contains(&loader)
            && (module == "builtins" || module == "numpy" || judge(module, name) <= Harm::Unknown);
        if !is_value || judge(module, name) == Harm::Runs && module != "builtins" {
            self.made(module, name, at, loader);
        }
    }

    fn made(&mut self, module: &str, name: &str, at: u64, what: &str) {
        let is_value = module == "builtins"
            && matches!(name, "function" | "type" | "method" | "builtin_function_or_method" | "NoneType" | "module");
        match judge(module, name) {
            _ if is_value => {}
            Harm::Runs => self.note(id::CFG_CALL, format!("{what} makes `{module}.{name}`"), at),
            Harm::Reaches => self.note(id::TXT_CODE, format!("{what} makes `{module}.{name}`"), at),
            Harm::Unknown => self.note(id::CFG_TYPE, format!("{what} makes `{module}.{name}`"), at),
            Harm::None => {}
        }
    }

    fn keras(&mut self, frame: &Frame) {
        let module = frame.field("module");
        if let Some(field) =
            frame.field("class_name").filter(|field| field.value == "Lambda" || field.value == "__lambda__")
        {
            self.note(id::TXT_CODE, "a Keras Lambda layer carries code".to_owned(), field.at);
        }
        let (Some(module), Some(class)) = (module, frame.value("class_name")) else { return };
        if judge(&module.value, class) >= Harm::Reaches && !module.value.starts_with("keras") {
            self.note(id::TXT_CODE, format!("`module` names `{}.{class}`", module.value), module.at);
        }
    }

    /// An element of sentence-transformers' `modules.json`.
    fn sentence_module(&mut self, frame: &Frame) {
        let (Some(kind), Some(_), Some(_)) =
            (frame.field("type"), frame.field("path"), frame.field("idx").or(frame.field("name")))
        else {
            return;
        };
        let in_outer_list = matches!(self.frames.as_slice(), [list] if !list.is_map);
        if let Some(path) = frame.field("path").filter(|path| in_outer_list && leaves_folder(&path.value)) {
            self.note(id::CFG_PATH, format!("a module is read from `{}`", path.value), path.at);
        }
        let Some((module, name)) = kind.value.rsplit_once('.').filter(|_| in_outer_list) else { return };
        if module.starts_with("sentence_transformers") {
            return;
        }
        let (rule, does) = match judge(module, name) {
            Harm::Runs => (id::CFG_CALL, "calls"),
            Harm::Reaches => (id::TXT_CODE, "names"),
            _ => (id::TXT_REMOTE_CODE, "imports"),
        };
        self.note(rule, format!("a module's type {does} `{}`", kind.value), kind.at);
    }

    /// diffusers' `model_index.json`: each part is a pair of library and class.
    fn pipeline(&mut self, frame: &Frame, at: u64) {
        let is_index = frame.field("_diffusers_version").is_some()
            || frame.value("_class_name").is_some_and(|name| name.ends_with("Pipeline"));
        let custom = frame.pairs.iter().find(|(key, ..)| key == "_class_name");
        if let Some((_, [file, class], at)) = custom {
            self.note(id::TXT_REMOTE_CODE, format!("the pipeline is the code `{file}.{class}`"), *at);
        }
        if !is_index && custom.is_none() {
            return;
        }
        for (key, [library, class], _) in frame.pairs.iter().filter(|(key, ..)| !key.starts_with('_')) {
            // A part is read from the folder of its name.
            if leaves_folder(key) {
                self.note(id::CFG_PATH, format!("a part is read from `{key}`"), at);
            }
            let root = library.split('.').next().unwrap_or_default();
            if PIPELINE_LIBRARIES.contains(&root) || judge(library, class) == Harm::None || is_pipeline_folder(library)
            {
                continue;
            }
            match judge(library, class) {
                Harm::Runs => self.note(id::CFG_CALL, format!("`{key}` calls `{library}.{class}`"), at),
                Harm::Reaches => self.note(id::TXT_CODE, format!("`{key}` names `{library}.{class}`"), at),
                _ => self.note(id::TXT_REMOTE_CODE, format!("`{key}` is the code `{library}.{class}`"), at),
            }
        }
    }

    /// Added tokens and rewriting rules of tokenizers.
    fn token(&mut self, frame: &Frame) {
        let Some(content) = frame.field("content") else { return };
        let is_token =
            frame.field("special").is_some() || frame.field("single_word").is_some() || frame.field("lstrip").is_some();
        if is_token {
            let what = words::instruction(&content.value);
            let is_long = content.value.chars().count() > TOKEN_CHARS_MAX && words::is_sentence(&content.value);
            if let Some(what) = what.or(is_long.then_some("is a sentence")) {
                self.note(id::CFG_TOKEN, format!("the added token `{}` {what}", content.value), content.at);
            }
        }
        if frame.value("type") == Some("Replace") {
            let letters = content.value.chars().filter(|c| c.is_alphabetic() && *c != '▁').count();
            if letters >= 4 || words::has_link(&content.value) {
                self.note(id::CFG_TOKEN, format!("texts are rewritten to `{}`", content.value), content.at);
            }
        }
    }

    /// TorchServe's `MANIFEST.json`.
    fn handler(&mut self, frame: &Frame) {
        let is_manifest =
            frame.key == "model" && (frame.field("modelName").is_some() || frame.field("serializedFile").is_some());
        let Some(handler) = frame.field("handler").filter(|_| is_manifest) else { return };
        if !HANDLERS.contains(&handler.value.as_str()) {
            self.note(id::TXT_REMOTE_CODE, format!("the handler is the code `{}`", handler.value), handler.at);
        }
        if leaves_folder(&handler.value) {
            self.note(id::CFG_PATH, format!("the handler is `{}`", handler.value), handler.at);
        }
    }

    /// MLflow's `MLmodel`.
    fn flavor(&mut self, frame: &Frame) {
        if frame.field("loader_module").is_none() {
            return;
        }
        for field in ["data", "model_path"].into_iter().filter_map(|key| frame.field(key)) {
            if leaves_folder(&field.value) {
                self.note(id::CFG_PATH, format!("`{}` names `{}`", field.key, field.value), field.at);
            }
        }
        if let Some(code) = frame.field("model_code_path").filter(|code| !code.value.is_empty()) {
            self.note(id::TXT_REMOTE_CODE, format!("the model is the code `{}`", code.value), code.at);
        }
        let Some(code) = frame.field("code") else { return };
        if leaves_folder(&code.value) {
            self.note(id::CFG_PATH, format!("`code` names `{}`", code.value), code.at);
        } else if !code.value.is_empty() {
            self.note(
                id::CFG_NAMES,
                format!("the folder `{}` with code is put on the search path", code.value),
                code.at,
            );
        }
    }

    /// `hydra.utils.get_method(path=…)`, and `target` with its parameters.
    fn hydra(&mut self, frame: &Frame) {
        let path =
            frame.field("path").filter(|_| frame.value("_target_").is_some_and(|target| target.starts_with("hydra.")));
        // A node of an exported graph calls `torch.ops.SPACE.NAME.OVERLOAD`.
        let target = frame.field("target").filter(|_| frame.key == "nodes");
        if let Some(target) = target
            && let Some(operator) = target.value.strip_prefix("torch.ops.")
            && script::of_operator(operator) == Some(script::Use::Custom)
        {
            self.note(id::TCH_CUSTOM, format!("a node calls `{}`", target.value), target.at);
        }
        for field in path.into_iter().chain(frame.field("target")) {
            let Some((module, name)) = field.value.rsplit_once('.') else { continue };
            match judge(module, name) {
                Harm::Runs => self.note(id::CFG_CALL, format!("`{}` calls `{}`", field.key, field.value), field.at),
                Harm::Reaches if field.key == "path" => {
                    self.note(id::TXT_CODE, format!("`{}` names `{}`", field.key, field.value), field.at);
                }
                // A node of an exported graph.
                Harm::Reaches if field.key == "target" && frame.key == "nodes" => {
                    self.note(id::TXT_CODE, format!("a node calls `{}`", field.value), field.at);
                }
                _ => {}
            }
        }
    }

    /// A cell of a notebook, or an output in it.
    fn cell(&mut self, frame: &Frame) {
        let keep = |config: &mut Self, text: &str, is_code: bool| {
            if config.cells.len() < CELLS_MAX && config.cell_bytes + text.len() <= CELL_BYTES_MAX {
                config.cell_bytes += text.len();
                config.cells.push(Cell { index: config.cell_count, text: text.to_owned(), is_code });
            }
        };
        for key in ["text/html", "application/javascript", "image/svg+xml"] {
            if let Some(text) = frame.value(key).filter(|_| frame.key == "data") {
                keep(self, text, false);
            }
        }
        let Some(kind) = frame.value("cell_type") else { return };
        // Version 3 of the format called it `input`.
        if let Some(source) = frame.value("source").or(frame.value("input")).filter(|_| kind == "code") {
            keep(self, source, true);
        }
        let is_active =
            |text: &&str| ["<script", "javascript:", "onerror=", "onload="].iter().any(|mark| text.contains(mark));
        if let Some(source) = frame.value("source").filter(is_active).filter(|_| kind == "markdown") {
            keep(self, source, false);
        }
        self.cell_count += 1;
    }
}

/// A part that a pipeline of diffusers brings along itself: `["stable_diffusion", "StableDiffusionSafetyChecker"]`.
fn is_pipeline_folder(library: &str) -> bool {
    const FOLDERS: [&str; 118] = [
        "ace_step",
        "allegro",
        "alt_diffusion",
        "amused",
        "animatediff",
        "anyflow",
        "audio_diffusion",
        "audioldm",
        "audioldm2",
        "aura_flow",
        "blip_diffusion",
        "bria",
        "bria_fibo",
        "bria_fibo2",
        "chroma",
        "chronoedit",
        "cogvideo",
        "cogview3",
        "cogview4",
        "consisid",
        "consistency_models",
        "controlnet",
        "controlnet_hunyuandit",
        "controlnet_sd3",
        "controlnet_xs",
        "cosmos",
        "dance_diffusion",
        "ddim",
        "ddpm",
        "deepfloyd_if",
        "diffusion_gemma",
        "dit",
        "dreamlite",
        "easyanimate",
        "ernie_image",
        "flux",
        "flux2",
        "glm_image",
        "helios",
        "hidream_image",
        "hunyuan_image",
        "hunyuan_video",
        "hunyuan_video1_5",
        "hunyuandit",
        "i2vgen_xl",
        "ideogram4",
        "joyimage",
        "kandinsky",
        "kandinsky2_2",
        "kandinsky3",
        "kandinsky5",
        "kandinsky6",
        "kolors",
        "krea2",
        "latent_consistency_models",
        "latent_diffusion",
        "latent_diffusion_uncond",
        "latte",
        "ledits_pp",
        "llada2",
        "longcat_audio_dit",
        "longcat_image",
        "ltx",
        "ltx2",
        "lucy",
        "lumina",
        "lumina2",
        "marigold",
        "mochi",
        "motif_video",
        "musicldm",
        "nucleusmoe_image",
        "omnigen",
        "ovis_image",
        "pag",
        "paint_by_example",
        "pia",
        "pixart_alpha",
        "pndm",
        "prx",
        "qwenimage",
        "qwenimage21",
        "repaint",
        "rfd4_proteina",
        "sana",
        "sana_video",
        "sana_wm",
        "score_sde_ve",
        "semantic_stable_diffusion",
        "shap_e",
        "skyreels_v2",
        "spectrogram_diffusion",
        "stable_audio",
        "stable_audio_3",
        "stable_cascade",
        "stable_diffusion",
        "stable_diffusion_3",
        "stable_diffusion_attend_and_excite",
        "stable_diffusion_diffedit",
        "stable_diffusion_gligen",
        "stable_diffusion_ldm3d",
        "stable_diffusion_panorama",
        "stable_diffusion_safe",
        "stable_diffusion_sag",
        "stable_diffusion_variants",
        "stable_diffusion_xl",
        "stable_video_diffusion",
        "stochastic_karras_ve",
        "t2i_adapter",
        "text_to_video_synthesis",
        "unclip",
        "unidiffuser",
        "versatile_diffusion",
        "visualcloze",
        "vq_diffusion",
        "wan",
        "wuerstchen",
        "z_image",
    ];
    FOLDERS.contains(&library)
}
