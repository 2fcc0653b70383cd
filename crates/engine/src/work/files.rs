//! The files of a request, as models, datasets and examples. A child reads them: whatever they hold, the answer is an error
//! at most.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
};

use ringfence_attack::{Examples, Labels};
use ringfence_format::npz;
use ringfence_nn::{Model, Tensor};
use ringfence_screen::{ExampleOptions, Label, Options, Scale};

use crate::record::Reading;

/// The descriptors of a request, in order.
pub(super) struct Files(std::vec::IntoIter<File>);

impl Files {
    pub(super) fn new(files: Vec<File>) -> Self {
        Self(files.into_iter())
    }

    pub(super) fn next(&mut self) -> Result<File, String> {
        self.0.next().ok_or_else(|| "a descriptor is missing".to_owned())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.next()?.write_all(bytes).map_err(|error| error.to_string())
    }

    pub(super) fn model(&mut self) -> Result<Model, String> {
        Model::parse(&read_whole(&mut self.next()?, MODEL_BYTES_MAX)?).map_err(|error| error.to_string())
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
        let rest = std::mem::take(&mut self.0);
        self.0 = std::iter::once(first).chain(rest).collect::<Vec<_>>().into_iter();
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

/// Largest model that is run, in bytes (protobuf's own limit).
const MODEL_BYTES_MAX: u64 = 2 << 30;
/// Largest file of labels, in bytes.
const LABEL_BYTES_MAX: u64 = 1 << 30;
