//! The file that describes an endpoint, and how a question is written from it.
//!
//! Strict: unknown keys are refused, and a description that exists has been checked. It holds no secret, so it may be sent to a
//! keyless process and be digested.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use ringfence_schema::{Digest, canon::to_canonical, finding::printable};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{policy::Network, url::Url};

/// Most inputs of one question.
pub const BATCH_MAX: usize = 4_096;
/// Most classes of an answer.
pub const CLASSES_MAX: usize = 100_000;
/// Most values of one input.
pub const VALUES_MAX: usize = 16 << 20;
/// Longest template in bytes.
const TEMPLATE_BYTES_MAX: usize = 64 << 10;
/// Most headers.
const HEADERS_MAX: usize = 32;
/// Longest header value in the file, in bytes.
const HEADER_BYTES_MAX: usize = 1_024;
/// Largest answer that may be allowed, in bytes.
const ANSWER_BYTES_LIMIT: u64 = 256 << 20;
/// Longest time that may be allowed for one answer, in milliseconds: an hour.
const TIMEOUT_MS_LIMIT: u64 = 3_600_000;
/// Most attempts at one question that may be allowed.
const ATTEMPTS_LIMIT: u32 = 20;
/// Longest text that is sent as an input, in bytes.
pub const TEXT_BYTES_MAX: usize = 256 << 10;
/// Most texts of one question.
const TEXTS_MAX: usize = 256;
/// Most values of one question.
const QUESTION_VALUES_MAX: usize = 64 << 20;
/// Stands in a template for the list of inputs.
const INPUTS: &str = "$inputs";
/// Stands in a template for one input.
const INPUT: &str = "$input";

/// A checked description of an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Description {
    written: Written,
    url: Url,
    template: Template,
}

/// The file as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    url: String,
    /// Inputs that may be sent in all.
    budget: u64,
    /// The body of a request: JSON in which `"$inputs"` stands for a list of inputs, or `"$input"` for one.
    template: String,
    #[serde(default)]
    network: Network,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    roots: Option<PathBuf>,
    #[serde(default = "one")]
    batch: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requests_per_s: Option<f64>,
    #[serde(default = "timeout_ms")]
    timeout_ms: u64,
    #[serde(default = "answer_bytes_max")]
    answer_bytes_max: u64,
    #[serde(default = "attempts")]
    attempts: u32,
    #[serde(default = "backoff_ms")]
    backoff_ms: u64,
    #[serde(default = "wait_ms_max")]
    wait_ms_max: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, HeaderSource>,
    input: Input,
    output: Output,
}

const fn one() -> usize {
    1
}

const fn timeout_ms() -> u64 {
    30_000
}

const fn answer_bytes_max() -> u64 {
    16 << 20
}

const fn attempts() -> u32 {
    5
}

const fn backoff_ms() -> u64 {
    500
}

const fn wait_ms_max() -> u64 {
    60_000
}

/// Where the value of a header comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeaderSource {
    /// The file says it: nothing secret.
    Value(String),
    /// The environment variable of this name.
    Environment(String),
    /// The same, with `Bearer ` in front.
    Bearer(String),
    /// The first line of a file.
    File(PathBuf),
}

/// How an input is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Input {
    /// Whether an input is a text, and no numbers.
    #[serde(default, skip_serializing_if = "is_false")]
    pub text: bool,
    /// Shape of one input of numbers, without the batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shape: Vec<usize>,
    /// Whether it is one list of numbers rather than lists within lists as the shape says.
    #[serde(default)]
    pub flat: bool,
    /// What is sent is the value times this …
    #[serde(default = "unit")]
    pub scale: f64,
    /// … and this.
    #[serde(default)]
    pub offset: f64,
    /// Whether what is sent is rounded to whole numbers.
    #[serde(default)]
    pub whole: bool,
}

const fn unit() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Where in an answer the scores stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Output {
    /// What stands there.
    pub kind: OutputKind,
    /// JSON pointer (RFC 6901) to the list with an entry for each input, or to the one answer where a question has one input.
    #[serde(default)]
    pub pointer: String,
    /// JSON pointer within each entry to its scores or its label.
    #[serde(default)]
    pub within: String,
    /// Classes.
    pub classes: usize,
    /// Their names in order, where an entry is an object of scores by name, a list of objects that name their class, or a label that is a
    /// name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Where the scores of an entry are a list of objects, in any order: under which keys each has its class's name and its score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<Objects>,
}

/// The keys of objects such as `{"label": "seven", "score": 0.93}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Objects {
    /// The key of the class's name.
    #[serde(default = "label_key")]
    pub label: String,
    /// The key of its score.
    #[serde(default = "score_key")]
    pub score: String,
}

fn label_key() -> String {
    "label".to_owned()
}

fn score_key() -> String {
    "score".to_owned()
}

/// What an endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputKind {
    /// Scores before the softmax.
    Logits,
    /// Logarithms of probabilities.
    LogProbabilities,
    /// Probabilities.
    Probabilities,
    /// The class alone: its place from 0, or its name.
    Label,
}

/// Why a file describes no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` of the endpoint cannot be used: {why}")]
pub struct NotADescription {
    /// Which key.
    pub key: String,
    /// What is wrong, and what is possible.
    pub why: String,
}

fn wrong(key: &str, why: impl Into<String>) -> NotADescription {
    NotADescription { key: key.to_owned(), why: why.into() }
}

/// What stands before and behind the inputs.
#[derive(Debug, Clone)]
struct Template {
    before: String,
    after: String,
    /// Whether one input stands there and not a list.
    single: bool,
}

impl TryFrom<Written> for Description {
    type Error = NotADescription;

    fn try_from(written: Written) -> Result<Self, NotADescription> {
        let url = Url::parse(&written.url).map_err(|error| wrong("url", error.to_string()))?;
        let template = Template::parse(&written.template)?;
        written.check_sizes(&template)?;
        written.input.check()?;
        written.output.check()?;
        check_headers(&written.headers)?;
        Ok(Self { written, url, template })
    }
}

impl From<Description> for Written {
    fn from(description: Description) -> Self {
        description.written
    }
}

impl Written {
    fn check_sizes(&self, template: &Template) -> Result<(), NotADescription> {
        let between = |key: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(wrong(key, format!("{value}, it must be {least} to {most}")))
            }
        };
        between("budget", self.budget, 1, u64::MAX / 2)?;
        between("batch", self.batch as u64, 1, BATCH_MAX as u64)?;
        between("timeout-ms", self.timeout_ms, 1, TIMEOUT_MS_LIMIT)?;
        between("answer-bytes-max", self.answer_bytes_max, 1, ANSWER_BYTES_LIMIT)?;
        between("attempts", self.attempts.into(), 1, ATTEMPTS_LIMIT.into())?;
        between("backoff-ms", self.backoff_ms, 0, TIMEOUT_MS_LIMIT)?;
        between("wait-ms-max", self.wait_ms_max, 0, TIMEOUT_MS_LIMIT)?;
        if template.single && self.batch != 1 {
            return Err(wrong(
                "batch",
                format!("{}, but the template holds one input; write `\"$inputs\"`", self.batch),
            ));
        }
        if self.input.text && self.batch > TEXTS_MAX {
            return Err(wrong("batch", format!("{}, at most {TEXTS_MAX} texts go into one question", self.batch)));
        }
        let values = self.input.shape.iter().try_fold(self.batch, |all, side| all.checked_mul(*side));
        if values.is_none_or(|values| values > QUESTION_VALUES_MAX) {
            return Err(wrong("batch", format!("a question would have more than {QUESTION_VALUES_MAX} values")));
        }
        match self.requests_per_s {
            Some(rate) if !(rate.is_finite() && (1e-4..=1e6).contains(&rate)) => {
                Err(wrong("requests-per-s", format!("{rate}, it must be 0.0001 to 1000000")))
            }
            _ => Ok(()),
        }
    }
}

impl Input {
    fn check(&self) -> Result<(), NotADescription> {
        if self.text {
            let numbers = Self { text: true, shape: Vec::new(), flat: false, scale: 1.0, offset: 0.0, whole: false };
            let why = "a text has no shape, and is neither flat, scaled, moved nor rounded";
            return if *self == numbers { Ok(()) } else { Err(wrong("input.text", why)) };
        }
        let values = self.shape.iter().try_fold(1_usize, |all, side| all.checked_mul(*side));
        if self.shape.is_empty()
            || self.shape.len() > 8
            || !values.is_some_and(|values| (1..=VALUES_MAX).contains(&values))
        {
            return Err(wrong("input.shape", format!("one to eight sides, together 1 to {VALUES_MAX} values")));
        }
        let fits = self.scale.is_finite() && self.scale != 0.0 && self.offset.is_finite();
        if fits { Ok(()) } else { Err(wrong("input.scale", "scale and offset must be finite, and scale not 0")) }
    }

    /// Writes one input.
    fn write(&self, values: &[f64], text: &mut String) {
        if self.flat {
            self.list(values, text);
        } else {
            self.nested(&self.shape, values, text);
        }
    }

    fn nested(&self, shape: &[usize], values: &[f64], text: &mut String) {
        match shape {
            [] | [_] => self.list(values, text),
            [count, rest @ ..] => {
                text.push('[');
                for (place, part) in values.chunks((values.len() / count).max(1)).enumerate() {
                    if place > 0 {
                        text.push(',');
                    }
                    self.nested(rest, part, text);
                }
                text.push(']');
            }
        }
    }

    fn list(&self, values: &[f64], text: &mut String) {
        text.push('[');
        for (place, value) in values.iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            let sent = value * self.scale + self.offset;
            if self.whole {
                text.push_str(&format!("{:.0}", sent.round() + 0.0));
            } else {
                // The shortest text that reads back as the same number; what is not finite has none.
                text.push_str(
                    &serde_json::Number::from_f64(sent).map_or_else(|| "null".into(), |sent| sent.to_string()),
                );
            }
        }
        text.push(']');
    }
}

impl Output {
    fn check(&self) -> Result<(), NotADescription> {
        for (key, pointer) in [("output.pointer", &self.pointer), ("output.within", &self.within)] {
            if !(pointer.is_empty() || pointer.starts_with('/')) || pointer.len() > HEADER_BYTES_MAX {
                return Err(wrong(key, "a JSON pointer is empty or begins with `/`, and has at most 1,024 bytes"));
            }
        }
        if !(2..=CLASSES_MAX).contains(&self.classes) {
            return Err(wrong("output.classes", format!("{}, it must be 2 to {CLASSES_MAX}", self.classes)));
        }
        let distinct = self.names.iter().collect::<BTreeSet<_>>().len();
        if !self.names.is_empty() && (self.names.len() != self.classes || distinct != self.classes) {
            return Err(wrong("output.names", format!("{distinct} different names for {} classes", self.classes)));
        }
        if let Some(objects) = &self.objects {
            if self.kind == OutputKind::Label {
                return Err(wrong("output.objects", "scores stand in objects; a label alone has `within`"));
            }
            if self.names.is_empty() {
                return Err(wrong("output.names", "objects name their classes, so the names must be known, in order"));
            }
            if objects.label == objects.score {
                return Err(wrong("output.objects", "label and score stand under different keys"));
            }
        }
        Ok(())
    }
}

fn check_headers(headers: &BTreeMap<String, HeaderSource>) -> Result<(), NotADescription> {
    if headers.len() > HEADERS_MAX {
        return Err(wrong("headers", format!("{} of them, at most {HEADERS_MAX} are possible", headers.len())));
    }
    for (name, source) in headers {
        let key = format!("headers.{}", printable(name, 64));
        let token = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(token) {
            return Err(wrong(&key, "a name has 1 to 64 small letters, digits and hyphens"));
        }
        if OURS.contains(&name.as_str()) {
            return Err(wrong(&key, "this header is written by Ringfence itself"));
        }
        if let HeaderSource::Value(value) = source {
            if SECRET.iter().any(|part| name.contains(part)) {
                return Err(wrong(&key, "a secret does not stand in the file: say `environment`, `bearer` or `file`"));
            }
            let plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
            if value.len() > HEADER_BYTES_MAX || !value.bytes().all(plain) {
                return Err(wrong(&key, "a value has at most 1,024 visible ASCII characters"));
            }
        }
    }
    Ok(())
}

/// Headers that say how a request is to be read.
const OURS: [&str; 11] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What the names of headers contain that carry secrets.
const SECRET: [&str; 6] = ["auth", "cookie", "key", "password", "secret", "token"];

impl Template {
    fn parse(text: &str) -> Result<Self, NotADescription> {
        let wrong = |why: String| wrong("template", why);
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(wrong(format!("it has {} bytes, at most {TEMPLATE_BYTES_MAX} are possible", text.len())));
        }
        let value = ringfence_schema::strict::value(text.as_bytes(), TEMPLATE_BYTES_MAX)
            .map_err(|error| wrong(error.to_string()))?;
        let (many, one) = (count(&value, INPUTS), count(&value, INPUT));
        if many + one != 1 {
            return Err(wrong(format!(
                "`\"{INPUTS}\"` or `\"{INPUT}\"` must stand in it as one value, {} do",
                many + one
            )));
        }
        let marker = format!("\"{}\"", if one == 1 { INPUT } else { INPUTS });
        let text = value.to_string();
        // A key may be called the same; it is followed by a colon.
        let mut places = text.match_indices(&marker).filter(|(at, found)| !text[at + found.len()..].starts_with(':'));
        match (places.next(), places.next()) {
            (Some((at, found)), None) => Ok(Self {
                before: text.get(..at).unwrap_or_default().to_owned(),
                after: text.get(at + found.len()..).unwrap_or_default().to_owned(),
                single: one == 1,
            }),
            _ => Err(wrong("the place of the inputs is not clear".into())),
        }
    }
}

/// How often `text` stands in `value` as a value.
fn count(value: &Value, text: &str) -> usize {
    match value {
        Value::String(found) => usize::from(found == text),
        Value::Array(parts) => parts.iter().map(|part| count(part, text)).sum(),
        Value::Object(parts) => parts.values().map(|part| count(part, text)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

impl Description {
    /// SHA-256 of the canonical description. Where secrets are to be found is part of it, they themselves are not.
    pub fn digest(&self) -> Digest {
        // A description is text, whole numbers and finite ones.
        Digest::of(&to_canonical(&self.written).unwrap_or_default())
    }

    /// Scheme, host and port, for messages.
    pub fn origin(&self) -> String {
        self.url.origin()
    }

    /// How inputs are written.
    pub const fn input(&self) -> &Input {
        &self.written.input
    }

    /// How answers are read.
    pub const fn output(&self) -> &Output {
        &self.written.output
    }

    /// Whether inputs are texts.
    pub const fn is_text(&self) -> bool {
        self.written.input.text
    }

    /// Values of one input; at least 1.
    pub fn width(&self) -> usize {
        self.written.input.shape.iter().product::<usize>().max(1)
    }

    /// Most inputs of one question.
    pub const fn batch(&self) -> usize {
        self.written.batch
    }

    /// Inputs that may be sent in all.
    pub const fn budget(&self) -> u64 {
        self.written.budget
    }

    /// The body of a question about inputs after one another, each [`Self::width`] values long.
    pub fn question(&self, values: &[f64]) -> Vec<u8> {
        self.around(values.chunks(self.width()), |input, text| self.written.input.write(input, text))
    }

    /// The body of a question about texts.
    pub fn question_of_texts(&self, texts: &[String]) -> Vec<u8> {
        self.around(texts.iter(), |input, text| text.push_str(&Value::from(input.as_str()).to_string()))
    }

    /// What `write` writes of each input, in the template's place.
    fn around<T>(&self, inputs: impl Iterator<Item = T>, write: impl Fn(T, &mut String)) -> Vec<u8> {
        let mut text = self.template.before.clone();
        if !self.template.single {
            text.push('[');
        }
        for (place, input) in inputs.enumerate() {
            if place > 0 {
                text.push(',');
            }
            write(input, &mut text);
        }
        if !self.template.single {
            text.push(']');
        }
        text.push_str(&self.template.after);
        text.into_bytes()
    }

    /// Whether a question has one input and its answer is one answer.
    pub(crate) const fn is_single(&self) -> bool {
        self.template.single
    }

    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) const fn network(&self) -> Network {
        self.written.network
    }

    pub(crate) fn roots(&self) -> Option<&Path> {
        self.written.roots.as_deref()
    }

    pub(crate) const fn timeout_ms(&self) -> u64 {
        self.written.timeout_ms
    }

    pub(crate) const fn answer_bytes_max(&self) -> u64 {
        self.written.answer_bytes_max
    }

    pub(crate) const fn attempts(&self) -> u32 {
        self.written.attempts
    }

    pub(crate) const fn backoff_ms(&self) -> u64 {
        self.written.backoff_ms
    }

    pub(crate) const fn wait_ms_max(&self) -> u64 {
        self.written.wait_ms_max
    }

    pub(crate) const fn headers(&self) -> &BTreeMap<String, HeaderSource> {
        &self.written.headers
    }

    /// Time between the beginnings of two requests.
    pub(crate) fn apart(&self) -> Duration {
        self.written.requests_per_s.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate))
    }
}
