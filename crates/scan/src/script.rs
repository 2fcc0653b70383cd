//! TorchScript source, as far as it names operators that leave the graph.
//!
//! The language is a part of Python (`torch/csrc/jit/serialization/python_print.cpp` writes it): operators of torch stand
//! as `torch.NAME(…)`, all others as `ops.NAMESPACE.NAME(…)`, Python functions as `^NAME(…)(…)`, classes of native
//! libraries as `__torch__.torch.classes.NAMESPACE.NAME`. [`names`] reads names as a parser does, past texts and
//! comments, so that a model's own function `load_from_file` is none of torch's.

use std::collections::HashSet;

/// Most names that are told.
const NAMES_MAX: usize = 200;

/// What a name does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Files, Python or other machines.
    Outside,
    /// A well-known native library beside torch.
    Companion,
    /// A native library that nobody knows.
    Custom,
}

/// Operators that read or write files, call Python or other machines. `aten` operators stand under `torch` as well.
const OUTSIDE: [&str; 16] = [
    "from_file",
    "save",
    "load",
    "_save_parameters",
    "open",
    "PythonOp",
    "rpc_sync",
    "rpc_async",
    "rpc_remote",
    "load_library",
    "to_dlpack_file",
    "_load_for_lite_interpreter",
    "_jit_pass_custom_pattern",
    "UntypedStorage.from_file",
    "read_file",
    "write_file",
];
/// Namespaces of operators that come with torch.
const NAMESPACES: [&str; 18] = [
    "aten",
    "prim",
    "prims",
    "quantized",
    "sparse",
    "mkldnn",
    "mkldnn_prepacked",
    "cuda",
    "xnnpack",
    "metal",
    "static",
    "inductor",
    "_quantized",
    "c10d_functional",
    "_c10d_functional",
    "profiler",
    "prepacked",
    "onednn",
];

/// Namespaces of libraries that many models need and that are installed beside torch.
const COMPANIONS: [&str; 26] = [
    "torchvision",
    "image",
    "video_reader",
    "torchaudio",
    "torchtext",
    "torchao",
    "torchcodec",
    "torch_scatter",
    "torch_sparse",
    "torch_cluster",
    "torch_spline_conv",
    "pyg",
    "fbgemm",
    "detectron2",
    "mmcv",
    "mmdeploy",
    "torch_ipex",
    "ipex_prepack",
    "rnnt",
    "sox_io",
    "sox_effects",
    "dnnlowp",
    "fb",
    "caffe2",
    "_caffe2",
    "_test",
];
/// Modules of Python that a path through torch could lead to.
const REACHING: [&str; 10] =
    ["os", "sys", "subprocess", "builtins", "importlib", "shutil", "pickle", "ctypes", "socket", "hub"];

/// A namespace of operators or classes.
fn of_space(space: &str) -> Option<Use> {
    if NAMESPACES.contains(&space) {
        None
    } else if COMPANIONS.contains(&space) {
        Some(Use::Companion)
    } else {
        Some(Use::Custom)
    }
}

/// Names in `source` that matter, each once, with their places.
pub(crate) fn names(source: &[u8]) -> Vec<(String, usize, Use)> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut at = 0;
    while let Some(byte) = source.get(at) {
        let next = match byte {
            b'#' => at + memchr::memchr(b'\n', rest(source, at)).unwrap_or(source.len() - at),
            b'"' | b'\'' => behind_text(source, at),
            b'^' => {
                let end = name_end(source, at + 1);
                if end > at + 1 {
                    add(&mut found, &mut seen, source, at, end, Use::Outside);
                }
                end.max(at + 1)
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let end = name_end(source, at);
                let name = String::from_utf8_lossy(source.get(at..end).unwrap_or_default());
                if let Some(use_of) = judge(&name) {
                    add(&mut found, &mut seen, source, at, end, use_of);
                }
                end
            }
            b'0'..=b'9' | b'.' => name_end(source, at),
            _ => at + 1,
        };
        at = next.max(at + 1);
        if found.len() >= NAMES_MAX {
            break;
        }
    }
    found
}

/// `SPACE.NAME`, as it stands behind `torch.ops.`.
pub(crate) fn of_operator(operator: &str) -> Option<Use> {
    let (space, _) = operator.split_once('.')?;
    // Higher-order operators take graphs as arguments.
    if space == "higher_order" { None } else { of_space(space) }
}

/// Whether an operator of torch reads or writes files, or calls Python.
pub(crate) fn is_outside(operator: &str) -> bool {
    OUTSIDE.contains(&operator.rsplit("::").next().unwrap_or(operator))
}

fn judge(name: &str) -> Option<Use> {
    let (outer, operator) = name.split_once('.')?;
    let outside = |operator: &str| OUTSIDE.contains(&operator);
    match outer {
        "torch" => match operator.strip_prefix("classes.").or_else(|| operator.strip_prefix("ops.")) {
            Some(inner) => of_space(inner.split('.').next().unwrap_or_default()),
            None if outside(operator) => Some(Use::Outside),
            // Operators of torch itself have one name; a path beyond its own modules leads elsewhere.
            None => {
                let (module, _) = operator.split_once('.')?;
                REACHING.contains(&module).then_some(Use::Outside)
            }
        },
        "ops" | "aten" | "prim" => {
            let (space, operator) =
                if outer == "ops" { operator.split_once('.').unwrap_or((operator, "")) } else { (outer, operator) };
            if outside(operator) { Some(Use::Outside) } else { of_space(space) }
        }
        "__torch__" => of_space(operator.strip_prefix("torch.classes.")?.split('.').next().unwrap_or_default()),
        _ => None,
    }
}

fn add(
    found: &mut Vec<(String, usize, Use)>,
    seen: &mut HashSet<String>,
    source: &[u8],
    from: usize,
    to: usize,
    use_of: Use,
) {
    let name = String::from_utf8_lossy(source.get(from..to).unwrap_or_default()).into_owned();
    if seen.insert(name.clone()) {
        found.push((name, from, use_of));
    }
}

fn rest(source: &[u8], at: usize) -> &[u8] {
    source.get(at..).unwrap_or_default()
}

/// Behind a dotted name that begins at `at`.
fn name_end(source: &[u8], at: usize) -> usize {
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'_' | b'.');
    at + rest(source, at).iter().take_while(is_part).count()
}

/// Behind a text in one or three quotes that begins at `at`.
fn behind_text(source: &[u8], at: usize) -> usize {
    let Some(quote) = source.get(at).copied() else { return at + 1 };
    let triple = [quote; 3];
    let close: &[u8] = if rest(source, at).starts_with(&triple) { &triple } else { &triple[..1] };
    let mut inside = at + close.len();
    while let Some(byte) = source.get(inside) {
        if *byte == b'\\' {
            inside += 2;
        } else if rest(source, inside).starts_with(close) {
            return inside + close.len();
        } else if *byte == b'\n' && close.len() == 1 {
            return inside;
        } else {
            inside += 1;
        }
    }
    source.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<(String, Use)> {
        names(source.as_bytes()).into_iter().map(|(name, _, use_of)| (name, use_of)).collect()
    }

    #[test]
    fn operators_are_read_as_names() {
        let evil =
            "def f(self) -> Tensor:\n  x = torch.from_file(\"/etc/passwd\", False, 10)\n  torch.save(x, \"y\")\n";
        assert_eq!(found(evil), [("torch.from_file".into(), Use::Outside), ("torch.save".into(), Use::Outside)]);
        assert_eq!(found("y = ops.aten.from_file(\"a\")"), [("ops.aten.from_file".into(), Use::Outside)]);
        assert_eq!(found("y = ^Evil(1)(x)"), [("^Evil".into(), Use::Outside)]);
        assert_eq!(found("y = ops.torchvision.nms(x)"), [("ops.torchvision.nms".into(), Use::Companion)]);
        assert_eq!(found("y = ops.evil.run(x)"), [("ops.evil.run".into(), Use::Custom)]);
        assert_eq!(found("y = torch.os.system(x)"), [("torch.os.system".into(), Use::Outside)]);
    }

    #[test]
    fn texts_comments_and_own_names_are_not() {
        let plain =
            "# torch.save\nx = \"torch.from_file\"\ny = self.load_from_file(torch.add(x, y))\nz = torch.saved(x)\n";
        assert_eq!(found(plain), []);
        assert_eq!(found("a = \"unfinished"), []);
    }
}
