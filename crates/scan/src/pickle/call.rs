//! What imports, calls and changes mean: the machine's judgement.
//!
//! A name is judged when it is imported, and again when it is called: a gadget that is only imported is malicious too
//! (nothing in a model needs it), and an allowed callable is still reported when its arguments are not of the shape
//! that libraries write. Results of allowed calls are [`Value::Made`]; results of anything else are
//! [`Value::Unknown`], and using those as callables has its own rule.

use super::{
    Encoding, Nested, PushBounded as _, Storage,
    heap::{ItemType, Value, Wide},
    machine::{Halt, Machine, Role, Step},
    names::{Effect, NAMES, Shape, Standing, Technique},
};
use crate::rules::{Rule, id};

/// How something is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Reduce,
    /// INST, OBJ.
    Instance,
    /// NEWOBJ, NEWOBJ_EX: no initialiser runs.
    New,
}

/// Special names under which a callable runs without being called openly.
const SPECIAL_KEYS: [&str; 17] = [
    "__setstate__",
    "__reduce__",
    "__reduce_ex__",
    "__class__",
    "__getattr__",
    "__getattribute__",
    "__call__",
    "__del__",
    "__init__",
    "__new__",
    "__globals__",
    "__builtins__",
    "__code__",
    "__wrapped__",
    "__getstate__",
    "__import__",
    "__dict__",
];

/// Item sizes of torch's storage types.
const STORAGE_TYPES: [(&str, u64); 19] = [
    ("DoubleStorage", 8),
    ("FloatStorage", 4),
    ("HalfStorage", 2),
    ("BFloat16Storage", 2),
    ("LongStorage", 8),
    ("IntStorage", 4),
    ("ShortStorage", 2),
    ("CharStorage", 1),
    ("ByteStorage", 1),
    ("BoolStorage", 1),
    ("ComplexDoubleStorage", 16),
    ("ComplexFloatStorage", 8),
    ("QUInt8Storage", 1),
    ("QInt8Storage", 1),
    ("QInt32Storage", 4),
    ("QUInt4x2Storage", 1),
    ("QUInt2x4Storage", 1),
    ("UntypedStorage", 1),
    ("_UntypedStorage", 1),
];

/// Most bytes that a call may ask for before it is called an attack on the memory.
const ALLOCATION_BYTES_MAX: u64 = 64 << 20;

/// Three definitions that take names with plain defaults and return them.
fn is_argument_template(text: &str) -> bool {
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_ ,='".contains(&byte));
    text.lines().filter(|line| !line.trim().is_empty()).all(|line| {
        let definition = ["_parse_args(", "_parse_args_rvs(", "_parse_args_stats("]
            .iter()
            .find_map(|name| line.strip_prefix("def ")?.strip_prefix(name)?.strip_suffix("):"));
        let returned = line.strip_prefix("    return ").map(|rest| rest.replace("self._argcheck_rvs", ""));
        let returned = returned.map(|rest| rest.replace(['(', ')'], ""));
        definition.is_some_and(is_plain) || returned.is_some_and(|rest| is_plain(&rest))
    })
}

/// A plain name that is no special one; `_private` is as good as any.
fn is_harmless_attribute(name: &str) -> bool {
    !name.starts_with("__")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

pub(super) fn rule_of(technique: Technique) -> &'static Rule {
    match technique {
        Technique::Exec => id::PKL_EXEC,
        Technique::Code => id::PKL_CODE,
        Technique::Native => id::PKL_NATIVE,
        Technique::Import => id::PKL_IMPORT,
        Technique::Attribute => id::PKL_ATTRIBUTE,
        Technique::Load => id::PKL_LOAD,
        Technique::File => id::PKL_FILE,
        Technique::Network => id::PKL_NETWORK,
        Technique::State => id::PKL_STATE,
    }
}

impl Machine<'_> {
    // --- imports -----------------------------------------------------------------------------------------------

    /// Resolves a name and reports it if it is not allowed.
    pub(super) fn import(&mut self, module: &str, name: &str) -> Value {
        if let Some(number) = self.known_number(module, name) {
            return Value::Global(number);
        }
        let standing = self.standing(module, name);
        let Some(number) = self.number_of(module, name, standing) else {
            self.draft(id::PKL_LIMIT, "names", "more names than are kept".to_owned());
            return Value::Unknown;
        };
        let shown = self.shown(number);
        let rule = match standing {
            Standing::Allowed(_) => return Value::Global(number),
            Standing::Gadget(technique) => rule_of(technique),
            Standing::Dunder => id::PKL_DUNDER,
            Standing::Dotted => id::PKL_DOTTED,
            Standing::Odd => id::PKL_ODD_NAME,
            Standing::Unknown => id::PKL_UNKNOWN_NAME,
        };
        self.draft(rule, &shown, format!("imports `{shown}`"));
        Value::Global(number)
    }

    fn standing(&self, module: &str, name: &str) -> Standing {
        // A TorchScript archive brings the classes below `__torch__` itself, and no Python module has that name.
        let own = self.script && (module == "__torch__" || module.starts_with("__torch__."));
        if own { Standing::Allowed(Effect::Class) } else { NAMES.standing(module, name) }
    }

    pub(super) fn global(&mut self) -> Step {
        let (module, name, is_whole) = self.name_lines()?;
        let standing = self.standing(&module, &name);
        if is_whole || matches!(standing, Standing::Gadget(_)) {
            let global = self.import(&module, &name);
            return self.push(global);
        }
        // The name of a file that was cut here; it is resolved, but nothing can be done with it.
        let number = self.number_of(&module, &name, standing);
        self.push(number.map_or(Value::Unknown, Value::Global))
    }

    /// The two lines of GLOBAL and INST, and whether both end. The C unpickler refuses empty ones. Where the stream ends
    /// inside one, the Python unpickler drops the last byte for the line end that is not there, resolves what is left,
    /// and INST even calls it.
    fn name_lines(&mut self) -> Step<(String, String, bool)> {
        let (module, first) = self.name_line()?;
        let (name, second) = self.name_line()?;
        if first && second && (module.is_empty() || name.is_empty()) {
            let message = "an empty name, which only one of Python's two unpicklers resolves".to_owned();
            self.draft(id::PKL_DIVERGENCE, "empty", message);
        }
        Ok((module, name, first && second))
    }

    fn name_line(&mut self) -> Step<(String, bool)> {
        let Some(line) = self.input.line() else { return Ok((String::new(), false)) };
        let length = if line.whole { line.length } else { line.length.saturating_sub(1) };
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(super::NAME_BYTES_MAX);
        match String::from_utf8(self.input.read_at(line.start, length)) {
            Ok(text) => Ok((text, line.whole)),
            Err(_) => Err(Halt::Broken(&"a name that is not UTF-8")),
        }
    }

    pub(super) fn extension(&mut self, code: u32) -> Step {
        self.draft(id::PKL_EXTENSION, "extension", format!("extension code {code}"));
        let registered = self.extensions.get(&code).copied();
        self.unresolved |= registered.is_none();
        self.push(registered.map_or(Value::Unknown, Value::Global))
    }

    // --- persistent ids ----------------------------------------------------------------------------------------

    pub(super) fn persistent_line(&mut self) -> Step {
        self.whole_line()?;
        self.push(Value::Persistent)
    }

    /// torch writes `('storage', type, key, location, numel[, view])` and, long ago, `('module', class, file, text)`.
    pub(super) fn persistent(&mut self, pid: Value) -> Step {
        let items = match pid {
            Value::Tuple(container) => self.heap.items(container).unwrap_or_default(),
            _ => Vec::new(),
        };
        let usual = match items.as_slice() {
            [Value::Text(kind), Value::Global(class), Value::Text(key), location, numel, ..]
                if self.text_at(*kind).as_deref() == Some("storage") =>
            {
                self.note_storage(*class, *key, *numel);
                matches!(location, Value::Text(_) | Value::None)
            }
            // torch.package numbers its storages.
            [Value::Text(kind), Value::Global(class), Value::Int(_), Value::Text(_), Value::Int(_)]
                if self.text_at(*kind).as_deref() == Some("storage") =>
            {
                self.is_allowed(*class)
            }
            // The loader hands out the class and compares the source with its own, for a warning only.
            [Value::Text(kind), Value::Global(class), rest @ ..]
                if self.text_at(*kind).as_deref() == Some("module")
                    && rest.iter().all(|item| matches!(item, Value::Text(_) | Value::None)) =>
            {
                return self.push(Value::Global(*class));
            }
            // Other loaders number their objects or name them.
            [] => matches!(pid, Value::Text(_) | Value::Int(_)),
            _ => false,
        };
        if !usual {
            let message = format!("persistent id {}", self.describe(pid));
            self.draft(id::PKL_PERSISTENT, "persistent", message);
        }
        self.push(Value::Persistent)
    }

    fn note_storage(&mut self, class: u32, key: Wide, numel: Value) {
        let class_name = self.names.get(class as usize).map(|name| name.attribute.clone()).unwrap_or_default();
        let item_bytes = STORAGE_TYPES.iter().find(|(name, _)| *name == class_name).map(|(_, bytes)| *bytes);
        let bytes = match (item_bytes, numel) {
            (Some(item), Value::Int(numel)) => numel.number().checked_mul(item),
            _ => None,
        };
        if self.storages.len() < super::STORAGES_MAX
            && let Some(key) = self.text_at(key)
        {
            self.storages.insert(key, Storage { bytes });
        }
    }

    // --- calls -------------------------------------------------------------------------------------------------

    pub(super) fn reduce(&mut self) -> Step {
        let arguments = self.pop()?;
        let callable = self.pop()?;
        let result = self.call(How::Reduce, callable, arguments);
        self.push(result)
    }

    pub(super) fn newobj(&mut self) -> Step {
        let arguments = self.pop()?;
        let class = self.pop()?;
        let result = self.call(How::New, class, arguments);
        self.push(result)
    }

    pub(super) fn newobj_ex(&mut self) -> Step {
        self.pop()?;
        self.newobj()
    }

    pub(super) fn inst(&mut self) -> Step {
        let (module, name, is_whole) = self.name_lines()?;
        if !is_whole {
            let message = "a call at the very end that only one of Python's two unpicklers makes".to_owned();
            self.draft(id::PKL_DIVERGENCE, "line", message);
        }
        let class = self.import(&module, &name);
        let from = self.pop_mark()?;
        let arguments = self.arguments_from(from);
        self.stack.truncate(from);
        let result = self.call(How::Instance, class, arguments);
        self.push(result)
    }

    pub(super) fn obj(&mut self) -> Step {
        let from = self.pop_mark()?;
        let class =
            self.stack.from(from).first().copied().map(Value::from).ok_or(Halt::Broken(&"the stack is empty"))?;
        let arguments = self.arguments_from(from + 1);
        self.stack.truncate(from);
        let result = self.call(How::Instance, class, arguments);
        self.push(result)
    }

    fn arguments_from(&mut self, from: usize) -> Value {
        let container = self.heap.make();
        self.heap.extend(container, self.stack.from(from));
        Value::Tuple(container)
    }

    fn call(&mut self, how: How, callable: Value, arguments: Value) -> Value {
        self.calls += 1;
        let Value::Global(number) = callable else {
            let message = format!("calls {} with {}", self.describe(callable), self.describe(arguments));
            self.draft(id::PKL_COMPUTED_CALL, "computed", message);
            return Value::Unknown;
        };
        let Some(standing) = self.names.get(number as usize).map(|name| name.standing) else { return Value::Unknown };
        let rule = match standing {
            Standing::Allowed(effect) => return self.allowed_call(how, number, effect, arguments),
            Standing::Gadget(technique) => rule_of(technique),
            Standing::Dunder => id::PKL_DUNDER,
            Standing::Dotted => id::PKL_DOTTED,
            Standing::Odd => id::PKL_ODD_NAME,
            Standing::Unknown => id::PKL_UNKNOWN_CALL,
        };
        if let Some(made) = self.class_attribute(number, arguments) {
            return made;
        }
        let shown = self.shown(number);
        let message = format!("calls `{shown}` with {}", self.describe(arguments));
        if rule.id == id::PKL_UNKNOWN_CALL.id {
            self.forget(id::PKL_UNKNOWN_NAME, &shown);
        }
        self.draft_again(rule, &shown, message);
        self.evaluated(number, arguments).unwrap_or(Value::Unknown)
    }

    fn evaluated(&mut self, number: u32, arguments: Value) -> Option<Value> {
        let is_known = self.names.get(number as usize).is_some_and(|name| name.role == Role::Evaluated);
        let Value::Tuple(container) = arguments else { return None };
        let items = if is_known { self.heap.items(container)? } else { return None };
        self.evaluate(number, &items)
    }

    /// `getattr(Class, "name")` is how protocols below 4 write `Class.name`; it is fine where the table allows that.
    fn class_attribute(&mut self, number: u32, arguments: Value) -> Option<Value> {
        let Value::Tuple(container) = arguments else { return None };
        let [object, Value::Text(attribute)] = *self.heap.items(container)?.as_slice() else { return None };
        if !self.names.get(number as usize)?.attribute.eq("getattr") {
            return None;
        }
        let class = match object {
            Value::Global(class) => class,
            // Picklers write a bound method so. Calling it has its own rule; only keeping it does nothing.
            Value::Made(_) if is_harmless_attribute(&self.text_at(attribute)?) => {
                let shown = self.shown(number);
                self.forget_import(id::PKL_ATTRIBUTE, &shown);
                return Some(Value::Unknown);
            }
            _ => return None,
        };
        let class = self.names.get(class as usize)?.clone();
        let path = format!("{}.{}", class.attribute, self.text_at(attribute)?);
        let standing = NAMES.standing(&class.module, &path);
        if !matches!(standing, Standing::Allowed(_)) {
            return None;
        }
        // Only the import was reported so far, if nothing worse was done with it.
        let shown = self.shown(number);
        self.forget_import(id::PKL_ATTRIBUTE, &shown);
        self.number_of(&class.module, &path, standing).map(Value::Global)
    }

    fn allowed_call(&mut self, how: How, number: u32, effect: Effect, arguments: Value) -> Value {
        // REDUCE with something that is no tuple fails in CPython, or iterates over what it is.
        let items = |machine: &Self| match arguments {
            Value::Tuple(container) => machine.heap.items(container),
            _ => None,
        };
        let is_empty = |machine: &Self| match arguments {
            Value::Tuple(container) => machine.heap.count(container) == Some(0),
            _ => false,
        };
        let fits = match effect {
            Effect::Make => {
                self.note_allocation(number, arguments);
                true
            }
            Effect::Value => false,
            // INST and OBJ without arguments run no initialiser either.
            Effect::Class => how == How::New || how == How::Instance && is_empty(self),
            Effect::Shape(shape) => match items(self).and_then(|items| self.shaped_call(shape, number, &items)) {
                Some(Value::Opaque) => return self.evaluated(number, arguments).unwrap_or(Value::Opaque),
                Some(result) => return result,
                None => false,
            },
        };
        if !fits {
            let shown = self.shown(number);
            let message = format!("calls `{shown}` with {}", self.describe(arguments));
            self.draft(id::PKL_ARGUMENTS, &shown, message);
            return self.evaluated(number, arguments).unwrap_or(Value::Unknown);
        }
        self.evaluated(number, arguments).unwrap_or(Value::Made(number))
    }

    /// The result of a call whose arguments fit `shape`.
    fn shaped_call(&mut self, shape: Shape, number: u32, items: &[Value]) -> Option<Value> {
        match (shape, items) {
            // copyreg._reconstructor(class, base, state): base.__new__(class, state), then base.__init__ for real bases.
            (Shape::Reconstructor, [Value::Global(class), Value::Global(base), _]) => {
                (self.is_class(*class) && self.is_class(*base)).then_some(Value::Made(*class))
            }
            (Shape::NewObject, [Value::Global(class), ..]) => self.is_class(*class).then_some(Value::Made(*class)),
            (Shape::Latin1, [Value::Text(_)]) => Some(Value::Opaque),
            (Shape::Latin1, [Value::Text(_), Value::Text(codec), ..]) => {
                let codec = self.text_at(*codec)?.to_ascii_lowercase().replace('_', "-");
                matches!(codec.as_str(), "latin1" | "latin-1" | "iso-8859-1" | "utf-8" | "utf8" | "ascii")
                    .then_some(Value::Opaque)
            }
            (Shape::Partial, [Value::Global(function), ..]) => {
                self.is_allowed(*function).then_some(Value::Made(number))
            }
            // type(None) and the like; iter(list).
            (Shape::Single, [Value::Global(_) | Value::Unknown | Value::Persistent]) => None,
            (Shape::Single, [_])
            | (Shape::ZoneInfo, [Value::Text(_), _])
            | (Shape::Buffer, [Value::Bytes(_) | Value::Opaque]) => Some(Value::Made(number)),
            (Shape::Dtype, [code, ..]) => self.dtype(*code),
            (Shape::Ufunc, [Value::Text(module), Value::Text(name)]) => {
                let (module, name) = (self.text_at(*module)?, self.text_at(*name)?);
                matches!(NAMES.standing(&module, &name), Standing::Allowed(_)).then_some(Value::Made(number))
            }
            // torch._tensor._rebuild_from_type_v2(function, type, args, state): calls function(*args).
            (Shape::FromType, [Value::Global(function), Value::Global(class), arguments, ..]) => {
                if !self.is_allowed(*class) {
                    return None;
                }
                match self.call(How::Reduce, Value::Global(*function), *arguments) {
                    Value::Unknown => None,
                    made => Some(made),
                }
            }
            // torch.storage._load_from_bytes(bytes): torch.load of the bytes, which are scanned as a file of their own.
            (Shape::TorchBytes, [Value::Bytes(bytes)]) => {
                let (offset, length) = self.extent_at(*bytes)?;
                self.nested.push_bounded(Nested { offset, length, encoding: Encoding::Loaded });
                Some(Value::Made(number))
            }
            // function(*args), then the state, as BUILD would give it: NumPy's own two steps.
            (Shape::RebuiltArray, [Value::Global(function), Value::Tuple(arguments), Value::Tuple(_), ..]) => {
                let is_numpy = self.names.get(*function as usize)?.attribute == "_reconstruct";
                if !is_numpy || !self.is_allowed(*function) {
                    return None;
                }
                match self.call(How::Reduce, Value::Global(*function), Value::Tuple(*arguments)) {
                    Value::Unknown => None,
                    made => Some(made),
                }
            }
            // dill's names for the types of the language, those that make code among them.
            (Shape::TypeName, [Value::Text(name)]) => {
                let name = self.text_at(*name)?;
                let is_builtin = matches!(NAMES.standing("builtins", &name), Standing::Allowed(_));
                Some(self.import(if is_builtin { "builtins" } else { "types" }, &name))
            }
            (Shape::Buffer, [Value::Made(made)]) => {
                self.names.get(*made as usize)?.attribute.eq("bytearray").then_some(Value::Made(number))
            }
            (Shape::ArrowArray, [Value::Tuple(parts)]) => {
                let parts = self.heap.items(*parts)?;
                self.is_arrow_array(&parts).then_some(Value::Made(number))
            }
            _ => None,
        }
    }

    /// pyarrow's parts of an array: type, length, null count, offset, buffers, children, dictionary.
    fn is_arrow_array(&self, parts: &[Value]) -> bool {
        let is_count = |value: &Value| matches!(value, Value::Int(_) | Value::Number);
        let is_part = |value: &Value| matches!(value, Value::Made(_) | Value::Tuple(_) | Value::None);
        match parts {
            [Value::Made(_), counts @ .., Value::List(buffers), Value::List(children), dictionary] => {
                let both = [self.heap.first_items(*buffers), self.heap.first_items(*children)];
                counts.len() == 3
                    && counts.iter().all(is_count)
                    && both.iter().flatten().all(is_part)
                    && is_part(dictionary)
            }
            _ => false,
        }
    }

    /// `bytes(n)` and `bytearray(n)` take n bytes of memory at once; picklers give them their contents.
    fn note_allocation(&mut self, number: u32, arguments: Value) {
        let is_buffer = self
            .names
            .get(number as usize)
            .is_some_and(|name| name.role == Role::Evaluated && matches!(&*name.attribute, "bytes" | "bytearray"));
        let Value::Tuple(container) = arguments else { return };
        let items = if is_buffer { self.heap.items(container) } else { None };
        let is_large = match items.as_deref() {
            Some([Value::Int(count)]) => count.number() > ALLOCATION_BYTES_MAX,
            Some([Value::Number]) => true,
            _ => false,
        };
        if is_large {
            let message = format!("calls `{}` with {}", self.shown(number), self.describe(arguments));
            self.draft(id::PKL_RESOURCE, "allocation", message);
        }
    }

    fn dtype(&mut self, code: Value) -> Option<Value> {
        Some(Value::Dtype(match code {
            Value::Text(code) => {
                let code = self.text_at(code)?;
                if code.contains('O') {
                    ItemType::Object
                } else {
                    let bytes = ringfence_format::npy::code_bytes(&code).and_then(|bytes| u16::try_from(bytes).ok());
                    bytes.map_or(ItemType::Unclear, ItemType::Bytes)
                }
            }
            Value::Global(class) if self.is_allowed(class) => ItemType::Unclear,
            Value::List(_) | Value::Tuple(_) | Value::Dict(_) | Value::Dtype(_) => ItemType::Unclear,
            _ => return None,
        }))
    }

    fn is_allowed(&self, number: u32) -> bool {
        self.names.get(number as usize).is_some_and(|name| matches!(name.standing, Standing::Allowed(_)))
    }

    fn is_class(&self, number: u32) -> bool {
        let standing = self.names.get(number as usize).map(|name| name.standing);
        matches!(standing, Some(Standing::Allowed(Effect::Class | Effect::Make)))
    }

    // --- changes -----------------------------------------------------------------------------------------------

    pub(super) fn build(&mut self) -> Step {
        let state = self.pop()?;
        let target = self.pop()?;
        self.push(target)?;
        match target {
            Value::Global(_) | Value::Unknown | Value::Persistent => self.mutated(target, "sets the state of"),
            Value::Made(number) => {
                if let Value::Made(made) = state
                    && self.is_dictionary(made)
                {
                    let message = format!("the state of `{}` is itself made by a call", self.shown(number));
                    self.draft(id::PKL_IRREGULAR, "state", message);
                }
                if self.is_array_wrapper(number) {
                    return self.array_wrapper(state);
                }
                if self.is_file_wrapper(number) && !self.names_plain_file(state) {
                    let message = format!("makes `{}` read a file elsewhere", self.shown(number));
                    self.draft(id::PKL_ARGUMENTS, "file wrapper", message);
                }
                let is_distribution =
                    self.names.get(number as usize).is_some_and(|name| name.role == Role::Distribution);
                if is_distribution && !self.is_plain_distribution(state) {
                    let message = format!("gives `{}` a state that it executes", self.shown(number));
                    self.draft(id::PKL_ARGUMENTS, "distribution", message);
                }
            }
            // The Python unpickler lets an empty state pass, the C one looks for a dictionary to update.
            plain if plain.is_plain() => {
                self.draft(id::PKL_DIVERGENCE, "plain state", "sets the state of a plain value".to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    /// SciPy's distributions execute the text `_parse_arg_template` of their state (`scipy/stats/_distn_infrastructure.py`,
    /// `rv_generic.__setstate__`); only what SciPy itself writes there does nothing.
    fn is_plain_distribution(&mut self, state: Value) -> bool {
        let Value::Dict(container) = state else { return false };
        let Some(items) = self.heap.items(container) else { return false };
        items.chunks_exact(2).all(|pair| {
            let [key, value] = pair else { return false };
            let Value::Text(key) = *key else { return false };
            match (self.text_at(key).as_deref(), *value) {
                (Some("_parse_arg_template"), Value::Text(text)) => {
                    self.text_at(text).is_some_and(|text| is_argument_template(&text))
                }
                (Some("_parse_arg_template") | None, _) => false,
                _ => true,
            }
        })
    }

    fn is_dictionary(&self, number: u32) -> bool {
        let name = self.names.get(number as usize).map(|name| name.attribute.as_str());
        matches!(name, Some("dict" | "OrderedDict" | "defaultdict" | "Counter"))
    }

    /// Reports a change of something that is not a fresh value.
    pub(super) fn mutated(&mut self, target: Value, what: &str) {
        let shown = self.describe(target);
        match target {
            Value::Global(_) => self.draft(id::PKL_MUTATION, &shown, format!("{what} the imported {shown}")),
            Value::Persistent => self.draft(id::PKL_PERSISTENT, "changed", format!("{what} a persistent object")),
            // What an unknown call made is reported at the call; the change makes it no better.
            _ => {}
        }
    }

    /// Looks at keys and values from `from` for callables under special names.
    pub(super) fn check_keys(&mut self, from: usize) {
        let mut at = from;
        while let Some([key, value]) = self.stack.from(at).first_chunk().copied() {
            let (key, value) = (Value::from(key), Value::from(value));
            at += 2;
            let callable = match value {
                Value::Global(_) | Value::Unknown => true,
                Value::Made(number) => self.names.get(number as usize).is_some_and(|name| name.attribute == "partial"),
                _ => false,
            };
            let (true, Value::Text(key)) = (callable, key) else { continue };
            if let Some(text) = self.text_at(key).filter(|text| SPECIAL_KEYS.contains(&text.as_str())) {
                let message = format!("sets `{text}` to {}", self.describe(value));
                self.draft(id::PKL_SPECIAL_KEY, &text, message);
            }
        }
    }
}
