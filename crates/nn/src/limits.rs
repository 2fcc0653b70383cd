//! How much a model may ask for before it is refused.

/// Bytes that one forward or backward pass may take for activations, gradients and index tables, unless
/// [`Model::set_memory_limit`](crate::Model::set_memory_limit) says otherwise: 4 GiB.
pub const MEMORY_BYTES_DEFAULT: usize = 4 << 30;

/// The highest rank of a tensor. ONNX has no limit; real models stay below 8.
pub const RANK_MAX: usize = 16;

/// Elements of one tensor of shape arithmetic (integers), which is computed while planning.
pub const SHAPE_ELEMENTS_MAX: usize = 1 << 16;

/// Elements of one tensor; index tables hold 32 bits.
pub const ELEMENTS_MAX: usize = 0x7fff_ffff;

/// The oldest and the newest version of the standard operators that is read.
pub const OPSETS: std::ops::RangeInclusive<i64> = 7..=22;

/// Nodes of a model, those in branches, bodies and called functions included.
pub const NODES_MAX: usize = 1 << 18;

/// How deep functions of the file may call each other.
pub const FUNCTION_DEPTH_MAX: usize = 16;

/// Steps that a plan may have: loops are unrolled, and each round has steps of its own.
pub const STEPS_MAX: usize = 1 << 18;

/// Rounds of one loop.
pub const LOOP_ROUNDS_MAX: usize = 1 << 12;

/// Elements of a constant that is computed while planning; larger ones are computed in every pass.
pub const FOLD_ELEMENTS_MAX: usize = 1 << 22;

/// Classes of a support-vector machine that gives probabilities: their gradient takes time with the fourth power of it.
pub const COUPLED_CLASSES_MAX: usize = 64;

/// The largest integer up to which `f32` holds every one: integers that depend on the input are computed in it.
pub const INTEGER_MAX: f64 = 16_777_216.0;

/// Plans that a model keeps, one for each input shape and purpose seen.
pub(crate) const PLANS_KEPT: usize = 16;

/// Sums of parameter gradients that are made side by side; fixed, so that the order of additions is fixed too.
pub(crate) const GROUPS: usize = 16;

/// Examples in a chunk, at least and at most, where the model leaves the batch free.
pub(crate) const CHUNK_MIN: usize = 16;
pub(crate) const CHUNK_MAX: usize = 64;

/// A chunk's buffers should stay within this many bytes: few enough for the caches where examples are small, enough examples
/// to use each weight several times where they are large.
pub(crate) const CHUNK_BYTES: usize = 32 << 20;

/// A borrowed library gets a session for each core while the model's file, once for each, stays within this many bytes.
pub(crate) const LIBRARY_SESSIONS_BYTES: usize = 1 << 30;
