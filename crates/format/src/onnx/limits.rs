//! How much of anything a model may hold before it is refused.

/// Messages (nodes, attributes, tensors, types …) in a whole model. The largest exported language models have some 10^5.
pub const MESSAGES_MAX: usize = 1 << 20;

/// Texts in a whole model: names of values, keys, operator types.
pub const TEXTS_MAX: usize = 1 << 22;

/// Numbers in attributes and shapes in a whole model. Exported tree ensembles hold some 10^6.
pub const NUMBERS_MAX: usize = 1 << 24;

/// Notes that are kept; more are counted only.
pub const NOTES_MAX: usize = 256;
