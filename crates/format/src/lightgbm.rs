//! LightGBM's text models (`GBDT::SaveModelToString`, `Tree::ToString`): a head of `key=value` lines, trees, importances, parameters.
//!
//! [`check`] reads the whole text and returns what its loader would trip over: children outside of a tree or before their parent, lists of
//! the wrong length, features that do not exist, text behind the last section.

#![deny(clippy::indexing_slicing)]

/// First line of every file.
pub const MAGIC: &[u8] = b"tree\nversion=v";
/// Flaws that are kept.
pub const FLAWS_MAX: usize = 200;
/// Most nodes of a tree.
pub const LEAVES_MAX: usize = 1 << 24;

/// Something that a loader trips over or does not look at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// A number that is none, or is missing.
    Number {
        /// Its key.
        key: &'static str,
        /// Byte of its tree.
        offset: usize,
    },
    /// A list with more or fewer items than the tree has nodes or leaves.
    Length {
        /// Its key.
        key: &'static str,
        /// Byte of its tree.
        offset: usize,
    },
    /// A child that is no node of the tree, or comes before its parent.
    Child {
        /// The value.
        value: i64,
        /// Byte of its tree.
        offset: usize,
    },
    /// A feature that the model does not have.
    Feature {
        /// The value.
        value: i64,
        /// Byte of its tree.
        offset: usize,
    },
    /// The model ends before its end mark.
    NoEnd,
    /// Bytes behind the last section.
    Trailing {
        /// First byte.
        offset: usize,
        /// How many.
        bytes: usize,
    },
}

/// What the loader would trip over in `bytes`.
pub fn check(bytes: &[u8]) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut features = None;
    let mut at = 0;
    let mut tree: Option<Tree> = None;
    let mut last = None;
    let mut has_end = false;
    while at < bytes.len() && flaws.len() < FLAWS_MAX {
        let rest = bytes.get(at..).unwrap_or_default();
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest.get(..length).unwrap_or_default().trim_ascii_end();
        let next = at + length + 1;
        let (key, value) = split(line);
        match key {
            b"Tree" if !has_end => {
                finish(tree.replace(Tree::new(at)), features, &mut flaws);
            }
            b"end of trees" => {
                finish(tree.take(), features, &mut flaws);
                has_end = true;
            }
            b"max_feature_idx" => features = number(value),
            b"pandas_categorical" => last = Some(next.min(bytes.len())),
            _ => {
                if let Some(tree) = &mut tree {
                    tree.line(key, value);
                }
            }
        }
        if last.is_some() {
            break;
        }
        at = next;
    }
    finish(tree, features, &mut flaws);
    if !has_end {
        flaws.push(Flaw::NoEnd);
    }
    if let Some(last) = last {
        let rest = bytes.get(last..).unwrap_or_default();
        if rest.iter().any(|byte| !byte.is_ascii_whitespace()) {
            flaws.push(Flaw::Trailing { offset: last, bytes: rest.len() });
        }
    }
    flaws
}

/// The lists of a tree that its predictor uses as indexes.
struct Tree {
    offset: usize,
    leaves: Option<i64>,
    left: Vec<i64>,
    right: Vec<i64>,
    features: Vec<i64>,
    thresholds: usize,
    values: usize,
    is_broken: Option<&'static str>,
}

impl Tree {
    fn new(offset: usize) -> Self {
        Self {
            offset,
            leaves: None,
            left: Vec::new(),
            right: Vec::new(),
            features: Vec::new(),
            thresholds: 0,
            values: 0,
            is_broken: None,
        }
    }

    fn line(&mut self, key: &[u8], value: &[u8]) {
        let name = match key {
            b"num_leaves" => {
                self.leaves = number(value);
                return;
            }
            b"threshold" => {
                self.thresholds = words(value).count();
                return;
            }
            b"leaf_value" => {
                self.values = words(value).count();
                return;
            }
            b"left_child" => "left_child",
            b"right_child" => "right_child",
            b"split_feature" => "split_feature",
            _ => return,
        };
        match words(value).take(LEAVES_MAX).map(number).collect::<Option<Vec<i64>>>() {
            Some(list) => {
                *(match name {
                    "left_child" => &mut self.left,
                    "right_child" => &mut self.right,
                    _ => &mut self.features,
                }) = list;
            }
            None => self.is_broken = Some(name),
        }
    }
}

fn finish(tree: Option<Tree>, features: Option<i64>, flaws: &mut Vec<Flaw>) {
    let Some(tree) = tree else { return };
    let offset = tree.offset;
    if let Some(key) = tree.is_broken {
        flaws.push(Flaw::Number { key, offset });
        return;
    }
    let Some(leaves) =
        tree.leaves.and_then(|leaves| usize::try_from(leaves).ok()).filter(|leaves| (1..=LEAVES_MAX).contains(leaves))
    else {
        flaws.push(Flaw::Number { key: "num_leaves", offset });
        return;
    };
    let nodes = leaves - 1;
    let lists = [
        ("left_child", tree.left.len()),
        ("right_child", tree.right.len()),
        ("split_feature", tree.features.len()),
        ("threshold", tree.thresholds),
    ];
    for (key, _) in lists.iter().filter(|(_, count)| *count != nodes) {
        flaws.push(Flaw::Length { key, offset });
    }
    if tree.values != leaves {
        flaws.push(Flaw::Length { key: "leaf_value", offset });
    }
    let (nodes, leaves) = (i64::try_from(nodes).unwrap_or(0), i64::try_from(leaves).unwrap_or(0));
    for side in [&tree.left, &tree.right] {
        for (parent, child) in (0_i64..).zip(side) {
            // Leaves are the complements of their numbers; inner nodes come after their parents.
            let fits = if *child < 0 { !*child < leaves } else { *child < nodes && *child > parent };
            if !fits {
                flaws.push(Flaw::Child { value: *child, offset });
                return;
            }
        }
    }
    if let Some(value) = tree.features.iter().find(|value| **value < 0 || features.is_some_and(|most| **value > most)) {
        flaws.push(Flaw::Feature { value: *value, offset });
    }
}

fn split(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr2(b'=', b':', line) {
        Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default()),
        None => (line, &[]),
    }
}

fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn number(word: &[u8]) -> Option<i64> {
    std::str::from_utf8(word).ok()?.trim().parse().ok()
}
