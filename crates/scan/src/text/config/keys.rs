//! The keys that frameworks act on, by what they do with the value.

/// Keys whose texts are kept until their map ends.
pub(super) const KEPT: [&str; 44] = [
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
pub(super) const CALLED: [&str; 14] = [
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
pub(super) const DECIDING: [&str; 10] = [
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
pub(super) const SUM_WORDS: [&str; 12] =
    ["int", "float", "round", "range", "for", "in", "x", "i", "min", "max", "list", "len"];
/// Keys whose value is a file beside the document.
pub(super) const FILES: [&str; 15] = [
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
pub(super) const ABOVE: [&str; 13] = [
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
pub(super) const PROMPTS: [&str; 6] = [
    "system_prompt",
    "default_system_prompt",
    "system_message",
    "system_instruction",
    "system_instructions",
    "preprompt",
];
/// Keys that choose how attention and experts are computed. A repository's name there is fetched and its native code
/// loaded, whether or not remote code is trusted (transformers, "Loading kernels").
pub(super) const KERNELS: [&str; 6] = [
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "_attn_implementation_autoset",
    "experts_implementation",
    "_experts_implementation",
];
/// Publishers of kernels that transformers itself names.
pub(super) const KERNEL_PUBLISHERS: [&str; 3] = ["kernels-community/", "kernels-staging/", "huggingface/"];
