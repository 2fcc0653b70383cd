//! Gradient boosting: XGBoost's UBJSON, JSON and old binary models, LightGBM's texts, CatBoost's tables.
//!
//! Their loaders index arrays with numbers from the file and trust its lengths; none of them calls Python. What is looked at beyond the
//! structure are the texts that ride along: attributes, feature names, parameters.

use std::io::{self, Cursor};

use ringfence_format::{
    catboost::{self, CatBoostError},
    json::{self, Json},
    lightgbm,
    ubjson::{self, Flaw},
};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    rules::{Rule, id},
    source::{Source, Window, bytes_at, length},
};

/// Longest text model that is read, in bytes.
const TEXT_BYTES_MAX: u64 = 256 << 20;
/// Longest list of children that is checked, in bytes.
const CHILDREN_BYTES_MAX: u64 = 64 << 20;
/// How much of a part that is not understood is searched, in bytes.
const PART_BYTES_MAX: u64 = 64 << 20;
/// Flaws that are reported one by one.
const FLAWS_SHOWN_MAX: usize = 50;
/// Keys whose numbers are indexes of nodes.
const CHILDREN: [&str; 2] = ["left_children", "right_children"];

impl Audit<'_> {
    /// Universal Binary JSON; XGBoost's where its keys say so.
    pub(crate) fn ubjson(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let document = ubjson::read(source)?;
        let is_xgboost = document.keys.iter().any(|key| key == "learner");
        for flaw in document.flaws.iter().take(FLAWS_SHOWN_MAX) {
            let (rule, message, offset) = describe(flaw);
            self.note(rule, &message, offset);
            if let Flaw::Trailing { offset, .. } = flaw {
                self.inspect_rest(source, *offset)?;
            }
        }
        for text in &document.texts {
            self.within(&text.path, |audit| audit.free_bytes(&text.bytes));
        }
        for run in &document.runs {
            let is_children = CHILDREN.iter().any(|key| run.path.ends_with(key));
            let most = if is_children { CHILDREN_BYTES_MAX } else { 512 };
            let bytes = bytes_at(source, run.offset, run.bytes.min(most))?;
            if is_children {
                let numbers: Vec<i64> = run.numbers(&bytes).collect();
                self.children(&numbers, &run.path, Some(run.offset));
            } else if matches!(run.kind, b'i' | b'U') {
                self.payload_head(&bytes, id::XGB_PAYLOAD);
                let mut window = Window::new(source, run.offset, run.bytes)?;
                self.within(&run.path, |audit| audit.carve_bytes(&bytes, &mut window));
            }
        }
        let is_cut = document.flaws.iter().any(|flaw| !matches!(flaw, Flaw::Duplicate { .. } | Flaw::Trailing { .. }));
        if is_cut {
            self.within("unread", |audit| {
                let mut rest = Window::new(source, document.stop, PART_BYTES_MAX)?;
                audit.carve(&mut rest)
            })?;
        }
        Ok(if is_xgboost { "xgboost-ubjson" } else { "ubjson" })
    }

    /// Judges the trees of `bytes` if they are XGBoost's JSON; whether they are.
    pub(crate) fn xgboost_json(&mut self, bytes: &[u8]) -> bool {
        let is_likely = ["\"learner\"", "\"gradient_booster\""]
            .iter()
            .all(|key| memchr::memmem::find(bytes, key.as_bytes()).is_some());
        let Some(Ok(document)) = is_likely.then(|| json::text_of(bytes).map(|text| json::parse(&text))).flatten()
        else {
            return false;
        };
        let mut open = vec![&document];
        while let Some(value) = open.pop() {
            if let Some(object) = value.object() {
                for key in CHILDREN {
                    for list in object.all(key) {
                        let numbers: Option<Vec<i64>> = list.children().map(whole).collect();
                        let offset = Some(object.offset as u64);
                        match numbers {
                            Some(numbers) => self.children(&numbers, key, offset),
                            None => self.note(
                                id::XGB_TREE,
                                &format!("`{key}` holds something else than whole numbers"),
                                offset,
                            ),
                        }
                    }
                }
                if let Some(key) = object.repeated() {
                    let message = format!("`{}` stands twice in one object", printable(key, 80));
                    self.note(id::XGB_STRUCTURE, &message, Some(object.offset as u64));
                }
                for (key, text) in object.entries.iter().filter_map(|(key, value)| Some((key, value.text()?))) {
                    self.within(&printable(key, 80), |audit| audit.free_text(text.as_bytes()));
                }
            }
            open.extend(value.children());
        }
        true
    }

    /// Children are nodes of the same tree, or -1.
    fn children(&mut self, children: &[i64], path: &str, offset: Option<u64>) {
        let count = i64::try_from(children.len()).unwrap_or(i64::MAX);
        let odd = (0_i64..).zip(children).find(|(parent, child)| **child < -1 || **child >= count || *child == parent);
        if let Some((parent, child)) = odd {
            let message = format!("`{}`: node {parent} of {count} has the child {child}", printable(path, 120));
            self.note(id::XGB_TREE, &message, offset);
        }
    }

    /// The binary format of XGBoost before 3.1: recognised by its mark, its parts searched, its trees not read.
    pub(crate) fn xgboost_binary(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        self.note(id::GEN_UNSUPPORTED, "XGBoost's old binary format is not read", Some(0));
        self.carve(source)?;
        Ok("xgboost-binary")
    }

    pub(crate) fn lightgbm(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let bytes = bytes_at(source, 0, TEXT_BYTES_MAX)?;
        for flaw in lightgbm::check(&bytes).iter().take(FLAWS_SHOWN_MAX) {
            self.lightgbm_flaw(flaw);
            if let lightgbm::Flaw::Trailing { offset, .. } = flaw {
                self.inspect_rest(source, *offset as u64)?;
            }
        }
        if length(source)? > TEXT_BYTES_MAX {
            self.note(id::LGB_BROKEN, "longer than what is read", Some(TEXT_BYTES_MAX));
        }
        // Everything that is no number stands before the first tree or behind the last.
        let start = memchr::memmem::find(&bytes, b"\nTree=").unwrap_or(bytes.len());
        let end = memchr::memmem::find(&bytes, b"end of trees").unwrap_or(bytes.len());
        for part in [bytes.get(..start), bytes.get(end..)].into_iter().flatten() {
            self.free_text(part);
        }
        if bytes.iter().any(|byte| *byte < 9) {
            self.carve_bytes(&bytes, &mut Cursor::new(&bytes));
            self.note(id::LGB_STRUCTURE, "the text holds control characters", None);
        }
        Ok("lightgbm")
    }

    fn lightgbm_flaw(&mut self, flaw: &lightgbm::Flaw) {
        use lightgbm::Flaw;
        let (rule, message, offset) = match flaw {
            Flaw::Number { key, offset } => (id::LGB_STRUCTURE, format!("`{key}` is no proper number"), Some(*offset)),
            Flaw::Length { key, offset } => {
                (id::LGB_STRUCTURE, format!("`{key}` is longer or shorter than the tree"), Some(*offset))
            }
            Flaw::Child { value, offset } => {
                (id::LGB_STRUCTURE, format!("a tree has the child {value}"), Some(*offset))
            }
            Flaw::Feature { value, offset } => {
                (id::LGB_STRUCTURE, format!("a tree splits by feature {value}, which does not exist"), Some(*offset))
            }
            Flaw::NoEnd => (id::LGB_BROKEN, "the model ends before its last tree does".to_owned(), None),
            Flaw::Trailing { offset, bytes } => {
                (id::LGB_STRUCTURE, format!("{bytes} bytes follow the model"), Some(*offset))
            }
            _ => (id::LGB_BROKEN, format!("{flaw:?}"), None),
        };
        self.note(rule, &message, offset.map(|offset| offset as u64));
    }

    pub(crate) fn catboost(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let model = match catboost::read(source) {
            Ok(model) => model,
            Err(CatBoostError::Io(error)) => return Err(error),
            Err(error) => {
                let rule =
                    if matches!(error, CatBoostError::TooLarge { .. }) { id::CBM_BROKEN } else { id::CBM_STRUCTURE };
                self.note(rule, &error.to_string(), Some(4));
                self.carve(source)?;
                return Ok("catboost");
            }
        };
        for (name, text) in &model.notes {
            self.within(&printable(name, 80), |audit| audit.free_bytes(text));
        }
        let rest = model.length.saturating_sub(model.stop);
        if rest > 0 {
            let known = ["static_provider_v1", "text_processing_v1", "embedding_processing_v1"];
            let names = printable(&model.parts.join(", "), 120);
            let has_more = model.parts.iter().any(|part| !known.starts_with(&[part.as_str()]));
            if model.parts.is_empty() || !has_more {
                self.note(id::CBM_HIDDEN, &format!("{rest} bytes belong to no part"), Some(model.stop));
            } else {
                self.note(
                    id::CBM_BROKEN,
                    &format!("{rest} bytes of the parts `{names}` are not read"),
                    Some(model.stop),
                );
            }
            self.inspect_rest(source, model.stop)?;
        }
        Ok("catboost")
    }
}

fn whole(value: &Json) -> Option<i64> {
    if let Json::Integer(number) = value { Some(*number) } else { None }
}

fn describe(flaw: &Flaw) -> (&'static Rule, String, Option<u64>) {
    match flaw {
        Flaw::Negative { offset, value } => (id::XGB_STRUCTURE, format!("the negative length {value}"), Some(*offset)),
        Flaw::Claim { claimed, left, offset } => {
            (id::XGB_STRUCTURE, format!("claims {claimed} bytes or items where {left} bytes are left"), Some(*offset))
        }
        Flaw::Truncated { offset } => (id::XGB_BROKEN, "the document breaks off".to_owned(), Some(*offset)),
        Flaw::Depth { offset } => (id::XGB_STRUCTURE, "nested deeper than any model".to_owned(), Some(*offset)),
        Flaw::Marker { offset, marker } => {
            (id::XGB_STRUCTURE, format!("the byte {marker:#04x} begins no value"), Some(*offset))
        }
        Flaw::Duplicate { path } => (id::XGB_STRUCTURE, format!("`{}` stands twice", printable(path, 120)), None),
        Flaw::Limit { offset } => (id::XGB_BROKEN, "more than is followed".to_owned(), Some(*offset)),
        Flaw::Trailing { offset, bytes } => {
            (id::XGB_STRUCTURE, format!("{bytes} bytes follow the document"), Some(*offset))
        }
        _ => (id::XGB_BROKEN, format!("{flaw:?}"), None),
    }
}
