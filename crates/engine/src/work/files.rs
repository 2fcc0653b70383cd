//! The files of a request, as models, datasets and examples. A child reads them: whatever they hold, the answer is an error
//! at most.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use ringfence_attack::{Examples, Labels};
use ringfence_format::npz;
use ringfence_nn::{Model, Tensor, architecture::ARCHITECTURE_BYTES_MAX};
use ringfence_schema::{Digest, report::HardenReport, watermark::EmbedReport};
use ringfence_screen::{ExampleOptions, Label, Options, Scale};
use serde::{Deserialize, Serialize};

use crate::{model::needs_description, record::Reading};

/// The descriptors of a request, in order.
pub(super) struct Files {
    rest: std::vec::IntoIter<File>,
    /// Where a model was of weights alone: what its two files are known by.
    described: Option<Described>,
}

/// Weights and the description of their architecture, by digest.
#[derive(Debug, Clone, Copy)]
struct Described {
    weights: Digest,
    architecture: Digest,
}

/// What a model is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// The graph with its weights.
    Onnx,
    /// The weights alone.
    Safetensors,
}

impl Form {
    /// As the name of a file says.
    pub(crate) fn of(path: &Path) -> Self {
        let is_weights = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"));
        if is_weights { Self::Safetensors } else { Self::Onnx }
    }
}

/// Files that are written in the end, and what a model is written as to each.
pub(super) struct Places(Vec<(Form, File)>);

impl Places {
    /// Writes the model to each; answers the digests of what was written. `notes` say where the weights come from.
    pub(super) fn write(self, model: &Model, notes: &[(&str, String)]) -> Result<Vec<(Form, Digest)>, String> {
        let mut written = Vec::new();
        for (form, mut file) in self.0 {
            let bytes = match form {
                Form::Onnx => model.to_onnx().map_err(|error| error.to_string())?,
                Form::Safetensors => model.to_safetensors(notes),
            };
            file.write_all(&bytes).map_err(|error| error.to_string())?;
            written.push((form, Digest::of(&bytes)));
        }
        Ok(written)
    }
}

impl Files {
    pub(super) fn new(files: Vec<File>) -> Self {
        Self { rest: files.into_iter(), described: None }
    }

    pub(super) fn next(&mut self) -> Result<File, String> {
        self.rest.next().ok_or_else(|| "a descriptor is missing".to_owned())
    }

    /// The next descriptors as places for a model, one for each form.
    pub(super) fn places(&mut self, forms: &[Form]) -> Result<Places, String> {
        forms.iter().map(|form| Ok((*form, self.next()?))).collect::<Result<_, String>>().map(Places)
    }

    /// Completes the report of a training: a model of weights alone goes by its files' digests, and what was written by its own.
    pub(super) fn complete(&self, report: &mut HardenReport, model: &Model, places: Places) -> Result<(), String> {
        if let Some(Described { weights, architecture }) = self.described {
            (report.base, report.architecture) = (weights, Some(architecture));
        }
        let written = places.write(model, &lineage(report.base, report.architecture, report.mode.as_deref()))?;
        if let Some((_, digest)) = written.first() {
            report.model = *digest;
        }
        let beside = written.iter().skip(1).find(|(form, _)| *form == Form::Safetensors);
        report.safetensors = beside.map(|(_, digest)| *digest);
        Ok(())
    }

    /// The same for a model that was marked: its base and itself.
    pub(super) fn complete_mark(&self, report: &mut EmbedReport, model: &Model, places: Places) -> Result<(), String> {
        let architecture = self.described.map(|described| described.architecture);
        report.base = self.described.map_or(report.base, |described| described.weights);
        let written = places.write(model, &lineage(report.base, architecture, Some("watermark")))?;
        report.model = written.first().map_or(report.model, |(_, digest)| *digest);
        Ok(())
    }

    /// The next descriptor as a model; where it holds weights alone, the one behind it describes their architecture.
    pub(super) fn model(&mut self) -> Result<Model, String> {
        let mut file = self.next()?;
        let described = needs_description(&mut file).map_err(|error| error.to_string())?;
        let bytes = read_whole(&mut file, MODEL_BYTES_MAX)?;
        if !described {
            return Model::parse(&bytes).map_err(|error| error.to_string());
        }
        let architecture = read_whole(&mut self.next()?, ARCHITECTURE_BYTES_MAX as u64)?;
        self.described = Some(Described { weights: Digest::of(&bytes), architecture: Digest::of(&architecture) });
        Model::described(&architecture, &bytes).map_err(|error| error.to_string())
    }

    pub(super) fn dataset(&mut self, reading: &Reading) -> Result<(File, Options), String> {
        let data = self.next()?;
        let labels = match reading.labels {
            Some(_) => Some(read_whole(&mut self.next()?, LABEL_BYTES_MAX)?),
            None => None,
        };
        Ok((data, options(reading, labels)))
    }

    pub(super) fn loaded(&mut self, reading: &Reading) -> Result<ringfence_screen::Examples, String> {
        self.loaded_with(reading, Labels::Given).map(|(loaded, _)| loaded)
    }

    /// The same, where labels may be absent if `least` says so.
    pub(super) fn loaded_with(
        &mut self,
        reading: &Reading,
        least: Labels,
    ) -> Result<(ringfence_screen::Examples, Labels), String> {
        let (mut data, Options { label, header, shape, idx_labels }) = self.dataset(reading)?;
        #[expect(clippy::float_cmp, reason = "exactly 1 means: leave the values as they are")]
        let scale =
            if reading.scale == 1.0 { Scale::Raw } else { Scale::Range { low: 0.0, high: 1.0 / reading.scale } };
        let mut options = ExampleOptions { label, header, shape, scale, classes: None, idx_labels };
        let text = |error: ringfence_screen::ScreenError| error.to_string();
        match ringfence_screen::examples(&mut data, &options) {
            Err(ringfence_screen::ScreenError::NoLabel) if least == Labels::Absent => {
                options.label = Label::Absent;
                data.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
                let mut loaded = ringfence_screen::examples(&mut data, &options).map_err(text)?;
                let width = loaded.shape.iter().product::<usize>().max(1);
                loaded.y = vec![0; loaded.x.len() / width];
                Ok((loaded, Labels::Absent))
            }
            answer => Ok((answer.map_err(text)?, Labels::Given)),
        }
    }

    pub(super) fn examples(&mut self, reading: &Reading) -> Result<Examples, String> {
        self.records(reading, Labels::Given).map(|(examples, _)| examples)
    }

    /// Examples whose labels may be absent if `least` says so; they are all 0 then.
    pub(super) fn records(&mut self, reading: &Reading, least: Labels) -> Result<(Examples, Labels), String> {
        let mut first = self.next()?;
        let mut magic = [0; 4];
        let is_zip = first.read(&mut magic).map_err(|error| error.to_string())? == 4 && magic == *b"PK\x03\x04";
        first.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
        if is_zip {
            return npz_records(&mut first, least);
        }
        let rest = std::mem::take(&mut self.rest);
        self.rest = std::iter::once(first).chain(rest).collect::<Vec<_>>().into_iter();
        let (loaded, labels) = self.loaded_with(reading, least)?;
        let rows = loaded.y.len();
        let shape = std::iter::once(rows).chain(loaded.shape).collect();
        let examples = Examples::new(Tensor { shape, data: loaded.x }, loaded.y).map_err(|error| error.to_string())?;
        Ok((examples, labels))
    }
}

/// Examples from the arrays `x` and `y` of an NPZ.
pub(super) fn npz_examples(file: &mut File) -> Result<Examples, String> {
    npz_records(file, Labels::Given).map(|(examples, _)| examples)
}

/// The same, where `y` may be absent if `least` says so; the labels are all 0 then.
fn npz_records(file: &mut File, least: Labels) -> Result<(Examples, Labels), String> {
    let arrays = npz::read(file).map_err(|error| error.to_string())?;
    let find =
        |name: &str| arrays.iter().find(|array| array.name == name).ok_or(format!("the NPZ has no array `{name}`"));
    let x = find("x")?;
    let label = |value: &f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be a small whole number"
        )]
        let label = *value as usize;
        let whole = value.fract() == 0.0 && (0.0..1e6).contains(value);
        if whole { Ok(label) } else { Err(format!("label `{value}` is not a class index")) }
    };
    let (y, labels) = match (find("y"), least) {
        // No more rows than values: the shape of an array without any may say what it likes.
        (Err(_), Labels::Absent) => {
            let rows = x.shape.first().map_or(0, |rows| x.values.len().min(*rows));
            (vec![0; rows], Labels::Absent)
        }
        (found, _) => (found?.values.iter().map(label).collect::<Result<Vec<usize>, String>>()?, Labels::Given),
    };
    #[expect(clippy::cast_possible_truncation, reason = "models compute in f32")]
    let data = x.values.iter().map(|value| *value as f32).collect();
    let examples = Examples::new(Tensor { shape: x.shape.clone(), data }, y).map_err(|error| error.to_string())?;
    Ok((examples, labels))
}

pub(super) fn options(reading: &Reading, labels: Option<Vec<u8>>) -> Options {
    Options {
        label: reading.label.clone().map_or(Label::Guess, Label::Column),
        shape: (!reading.shape.is_empty()).then(|| reading.shape.clone()),
        idx_labels: labels,
        ..Options::default()
    }
}

pub(super) fn read_whole(file: &mut File, bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > bytes_max { Err(format!("larger than {bytes_max} bytes")) } else { Ok(bytes) }
}

/// Where weights come from, for a loader to read in their file.
fn lineage(base: Digest, architecture: Option<Digest>, mode: Option<&str>) -> Vec<(&'static str, String)> {
    let architecture = architecture.map(|digest| ("ringfence.architecture", digest.to_string()));
    let mode = mode.map(|mode| ("ringfence.mode", mode.to_owned()));
    std::iter::once(("ringfence.base", base.to_string())).chain(architecture).chain(mode).collect()
}

/// Largest model that is run, in bytes (protobuf's own limit).
const MODEL_BYTES_MAX: u64 = 2 << 30;
/// Largest file of labels, in bytes.
const LABEL_BYTES_MAX: u64 = 1 << 30;
