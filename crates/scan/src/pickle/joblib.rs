//! joblib's arrays: raw bytes in the middle of the stream.
//!
//! After the BUILD of a `NumpyArrayWrapper`, joblib's unpickler reads the array from the file itself
//! (`joblib/numpy_pickle.py`, `NumpyArrayWrapper.read_array`): a padding length and padding where the wrapper knows an
//! alignment, then the items; or a whole pickle where the items are objects.

use super::{
    Arrays, Seen,
    heap::{ItemType, Value},
    machine::{Halt, Machine, Role, Step},
};
use crate::rules::id;

const UNCLEAR: Halt = Halt::Limit(&"an array wrapper whose size is unclear");

impl Machine<'_> {
    pub(super) fn is_array_wrapper(&self, number: u32) -> bool {
        self.names.get(number as usize).is_some_and(|name| name.role == Role::ArrayWrapper)
    }

    /// Whether this is what joblib before 0.10 wrote for an array in a file of its own.
    pub(super) fn is_file_wrapper(&self, number: u32) -> bool {
        self.names.get(number as usize).is_some_and(|name| name.role == Role::FileWrapper)
    }

    /// Whether such a wrapper's state names a file beside the pickle: joblib reads whatever it names
    /// (`joblib/numpy_pickle_compat.py`, `NDArrayWrapper.read`).
    pub(super) fn names_plain_file(&mut self, state: Value) -> bool {
        let Value::Dict(container) = state else { return false };
        let Some(entries) = self.heap.items(container) else { return false };
        let mut is_named = false;
        for pair in entries.chunks_exact(2) {
            let [Value::Text(key), value] = pair else { return false };
            if self.text_at(*key).as_deref() != Some("filename") {
                continue;
            }
            let Value::Text(name) = *value else { return false };
            let is_plain = |name: &String| !name.contains(['/', '\\', ':', '\0']) && !name.is_empty() && name != "..";
            is_named = self.text_at(name).as_ref().is_some_and(is_plain);
            if !is_named {
                return false;
            }
        }
        is_named
    }

    /// Steps over the array that follows the wrapper with this state.
    pub(super) fn array_wrapper(&mut self, state: Value) -> Step {
        self.seen = self.seen.max(Seen::Numbers);
        if self.arrays == Arrays::Opcodes {
            return Ok(());
        }
        if !self.leave_frame() {
            // Python's unpickler has the whole frame in memory: the array would be read from behind it.
            self.frames_matter = true;
            self.draft(id::PKL_DIVERGENCE, "array", "an array begins inside a frame".to_owned());
        }
        self.leave_frame_at_once();
        let Value::Dict(container) = state else { return Err(UNCLEAR) };
        let entries = self.heap.items(container).ok_or(UNCLEAR)?;
        let (mut shape, mut item, mut alignment) = (None, None, false);
        for pair in entries.chunks_exact(2) {
            let [Value::Text(key), value] = pair else { continue };
            match self.text_at(*key).as_deref() {
                Some("shape") => shape = Some(*value),
                Some("dtype") => item = Some(*value),
                Some("numpy_array_alignment_bytes") => alignment = *value != Value::None,
                _ => {}
            }
        }
        match item {
            Some(Value::Dtype(ItemType::Object)) => {
                self.seen = Seen::Objects;
                self.run_inner()
            }
            Some(Value::Dtype(ItemType::Bytes(item))) => {
                let count = shape.and_then(|shape| self.elements(shape)).ok_or(UNCLEAR)?;
                let bytes = count.checked_mul(u64::from(item)).ok_or(UNCLEAR)?;
                if alignment {
                    let padding = self.input.byte().ok_or(Halt::Broken(&"the stream ends inside an array"))?;
                    self.step_over(u64::from(padding))?;
                }
                self.step_over(bytes)
            }
            _ => Err(UNCLEAR),
        }
    }

    fn elements(&self, shape: Value) -> Option<u64> {
        let Value::Tuple(container) = shape else { return None };
        self.heap.items(container)?.iter().try_fold(1_u64, |product, item| match item {
            Value::Int(number) => product.checked_mul(number.number()),
            _ => None,
        })
    }

    fn step_over(&mut self, bytes: u64) -> Step {
        if self.input.skip(bytes) { Ok(()) } else { Err(Halt::Broken(&"the stream ends inside an array")) }
    }
}
