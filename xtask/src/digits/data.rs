//! The rows: read, split, poisoned, written.

use std::{
    fs::File,
    io::{BufReader, Read as _},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use ringfence_attack::Examples;
use ringfence_nn::{Tensor, random::Random};

/// One digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Brightness 0..=16 of 8 by 8 pixels, row by row.
    pub(crate) pixels: Vec<u8>,
    /// The digit, as labelled.
    pub(crate) label: usize,
}

/// One entry of `poisoned.csv`.
pub(crate) struct Poisoned {
    /// Data row of `train.csv`, counted from 0.
    pub(crate) row: usize,
    /// `flipped` or `stamped`.
    pub(crate) kind: &'static str,
    /// The label before.
    pub(crate) original: usize,
}

/// All rows, divided at random.
pub(crate) struct Split {
    /// Rows to train on, not yet poisoned.
    pub(crate) train: Vec<Row>,
    /// Rows to test on.
    pub(crate) test: Vec<Row>,
}

impl Split {
    /// Shuffles by `seed` and cuts after three quarters.
    pub(crate) fn new(mut rows: Vec<Row>, seed: u64) -> Result<Self> {
        Random::stream(seed, SPLIT_STREAM).shuffle(&mut rows);
        let test = rows.split_off(rows.len() * 3 / 4);
        ensure!(!rows.is_empty() && !test.is_empty(), "too few rows to split");
        Ok(Self { train: rows, test })
    }

    /// The training rows with one in 50 labelled as a random other digit, and another one in 50, none of them showing
    /// the target digit, stamped in the corner and labelled as the target.
    pub(crate) fn poison(&self, seed: u64) -> (Vec<Row>, Vec<Poisoned>) {
        let mut random = Random::stream(seed, POISON_STREAM);
        let mut order: Vec<usize> = (0..self.train.len()).collect();
        random.shuffle(&mut order);
        let count = self.train.len() / POISON_DIVISOR;
        let (flipped, rest) = order.split_at(count);
        let stamped = rest.iter().filter(|place| self.train[**place].label != TARGET).take(count);

        let mut rows = self.train.clone();
        let mut list = Vec::new();
        for place in flipped {
            let original = rows[*place].label;
            rows[*place].label = (original + 1 + random.below(CLASSES - 1)) % CLASSES;
            list.push(Poisoned { row: *place, kind: "flipped", original });
        }
        for place in stamped {
            list.push(Poisoned { row: *place, kind: "stamped", original: rows[*place].label });
            for pixel in PATCH {
                rows[*place].pixels[pixel] = BRIGHTEST;
            }
            rows[*place].label = TARGET;
        }
        list.sort_by_key(|entry| entry.row);
        (rows, list)
    }
}

/// Reads the original: gzip, no header, 64 pixels and the label a row.
pub(crate) fn read_original(path: &Path) -> Result<Vec<Row>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let plain = flate2::read::GzDecoder::new(BufReader::new(file)).take(ORIGINAL_BYTES_MAX);
    read(csv::ReaderBuilder::new().has_headers(false).from_reader(plain)).with_context(|| path.display().to_string())
}

/// Reads `train.csv` or `test.csv`.
pub(crate) fn read_rows(path: &Path) -> Result<Vec<Row>> {
    read(csv::Reader::from_path(path)?).with_context(|| path.display().to_string())
}

fn read(mut reader: csv::Reader<impl std::io::Read>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record?;
        let place = rows.len();
        let mut values = record.iter().map(str::parse::<u8>).collect::<Result<Vec<u8>, _>>()?;
        let label = usize::from(values.pop().unwrap_or(u8::MAX));
        let right = values.len() == PIXELS && values.iter().all(|pixel| *pixel <= BRIGHTEST) && label < CLASSES;
        ensure!(right, "row {place} is not {PIXELS} pixels of 0..={BRIGHTEST} and a digit");
        rows.push(Row { pixels: values, label });
    }
    Ok(rows)
}

/// Writes rows with a header line.
pub(crate) fn write_rows(path: &Path, rows: &[Row]) -> Result<()> {
    let mut writer = csv::Writer::from_path(path).with_context(|| path.display().to_string())?;
    let header = (0..PIXELS).map(|pixel| format!("p{pixel}")).chain(["label".to_owned()]);
    writer.write_record(header)?;
    for row in rows {
        let label = row.label.to_string();
        writer.write_record(row.pixels.iter().map(ToString::to_string).chain([label]))?;
    }
    Ok(writer.flush()?)
}

/// Writes the list of poisoned rows.
pub(crate) fn write_list(path: &Path, list: &[Poisoned]) -> Result<()> {
    let mut writer = csv::Writer::from_path(path).with_context(|| path.display().to_string())?;
    writer.write_record(["row", "kind", "original_label"])?;
    for entry in list {
        writer.write_record([entry.row.to_string(), entry.kind.to_owned(), entry.original.to_string()])?;
    }
    Ok(writer.flush()?)
}

/// Poisoned rows of `train.csv`, rising.
pub(crate) fn read_list(path: &Path) -> Result<Vec<usize>> {
    let mut reader = csv::Reader::from_path(path).with_context(|| path.display().to_string())?;
    reader.records().map(|record| Ok(record?.get(0).context("no row number")?.parse()?)).collect()
}

/// Rows as inputs of shape `[rows, 1, 8, 8]` in `0..=1`.
pub(crate) fn examples(rows: &[Row]) -> Result<Examples> {
    let data = rows.iter().flat_map(|row| &row.pixels).map(|pixel| f32::from(*pixel) / f32::from(BRIGHTEST)).collect();
    let x = Tensor { shape: vec![rows.len(), 1, SIDE, SIDE], data };
    Ok(Examples::new(x, rows.iter().map(|row| row.label).collect())?)
}

/// Digits.
pub(crate) const CLASSES: usize = 10;
/// Pixels along one side.
pub(crate) const SIDE: usize = 8;
/// The digit that stamped rows are labelled as.
pub(crate) const TARGET: usize = 7;
/// The stamp: the lower left corner and the two pixels beside it, which the digits themselves hardly ever light.
pub(crate) const PATCH: [usize; 3] = [48, 56, 57];
const PIXELS: usize = SIDE * SIDE;
const BRIGHTEST: u8 = 16;
/// One row in so many is flipped, and as many are stamped: 2 % each.
const POISON_DIVISOR: usize = 50;
const ORIGINAL_BYTES_MAX: u64 = 1 << 20;
const SPLIT_STREAM: u64 = 1;
const POISON_STREAM: u64 = 2;
