//! Records as points.
//!
//! Images keep their pixels, scaled alike to 0..1 and sorted by a 5 × 5 grid of cells, so that the distance without any
//! part of the picture is a difference of sums. Tables get robust scales: median and interquartile range for numbers,
//! clipped; one column a word for categories; each weighted by how much it tells about the label.

use rayon::prelude::*;

use crate::dataset::{Dataset, UNLABELLED};

/// Points in row-major order, and their coarse copy for searching.
pub(crate) struct Space {
    pub(crate) rows: usize,
    pub(crate) dims: usize,
    pub(crate) points: Vec<f32>,
    /// Ends of the cells in a point; one cell for tables.
    pub(crate) cells: Vec<usize>,
    pub(crate) image: Option<Image>,
}

/// How the pixels of a record lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// `[height, width, channels]` instead of `[channels, height, width]`.
    pub(crate) interleaved: bool,
}

impl Image {
    /// Row and column of a pixel, whatever its channel.
    pub(crate) fn position(&self, pixel: usize) -> (usize, usize) {
        let flat = if self.interleaved { pixel / self.channels } else { pixel % (self.height * self.width) };
        (flat / self.width, flat % self.width)
    }

    pub(crate) fn place(&self, pixel: usize) -> String {
        let (row, column) = self.position(pixel);
        if self.channels == 1 {
            return format!("({row},{column})");
        }
        let channel = if self.interleaved { pixel % self.channels } else { pixel / (self.height * self.width) };
        format!("({row},{column},{channel})")
    }

    fn of_shape(shape: &[usize], columns: usize) -> Option<Self> {
        let image = match *shape {
            [height, width] => Self { channels: 1, height, width, interleaved: false },
            [channels @ 1..=4, height, width] => Self { channels, height, width, interleaved: false },
            [height, width, channels @ 1..=4] => Self { channels, height, width, interleaved: true },
            _ => return None,
        };
        let pixels = image.channels.checked_mul(image.height)?.checked_mul(image.width)?;
        (pixels == columns && image.height >= SIDE_MIN && image.width >= SIDE_MIN).then_some(image)
    }
}

impl Space {
    /// Places the records of `data`; says in words why it cannot.
    pub(crate) fn of(data: &Dataset, shape: Option<&[usize]>) -> Result<Self, String> {
        if data.numbers.columns == 0 && data.categorical.is_empty() {
            return Err(if data.numeric.is_empty() {
                "no numeric or categorical columns".to_owned()
            } else {
                "too many numbers for one machine's memory".to_owned()
            });
        }
        match find_image(data, shape)? {
            Some(image) => Ok(Self::of_images(data, image)),
            None => Self::of_table(data),
        }
    }

    pub(crate) fn point(&self, record: usize) -> &[f32] {
        &self.points[record * self.dims..(record + 1) * self.dims]
    }

    pub(crate) fn describe(&self) -> String {
        match &self.image {
            Some(image) => format!("images of {} × {} × {}", image.channels, image.height, image.width),
            None => format!("tables of {} scaled features", self.dims),
        }
    }

    fn of_images(data: &Dataset, image: Image) -> Self {
        let dims = data.numbers.columns;
        let (low, high) = extremes(&data.numbers.data);
        let scale = if high > low { 1.0 / (high - low) } else { 1.0 };
        let cell_of = |pixel: &usize| {
            let (row, column) = image.position(*pixel);
            row * GRID / image.height * GRID + column * GRID / image.width
        };
        let mut order: Vec<usize> = (0..dims).collect();
        order.sort_by_key(cell_of);
        let cells = (0..GRID * GRID).map(|cell| order.partition_point(|pixel| cell_of(pixel) <= cell)).collect();
        let mut points = vec![0.0_f32; data.len() * dims];
        points.par_chunks_mut(dims).enumerate().for_each(|(record, point)| {
            let row = data.numbers.row(record);
            for (value, pixel) in point.iter_mut().zip(&order) {
                let raw = row[*pixel];
                *value = if raw.is_nan() { 0.0 } else { (raw - low) * scale };
            }
        });
        Self { rows: data.len(), dims, points, cells, image: Some(image) }
    }

    fn of_table(data: &Dataset) -> Result<Self, String> {
        let rows = data.len();
        let mut columns: Vec<Vec<f32>> = Vec::new();
        for column in 0..data.numbers.columns {
            let values: Vec<f32> = (0..rows).map(|record| data.numbers.row(record)[column]).collect();
            let mut scaled = robust(&values);
            let weight = relevance(&scaled, data);
            for value in &mut scaled {
                *value *= weight;
            }
            columns.push(scaled);
        }
        for words in &data.categories {
            let most = words.iter().copied().max().unwrap_or(0);
            for word in 0..=most {
                let mut column: Vec<f32> = words.iter().map(|w| if *w == word { 1.0 } else { 0.0 }).collect();
                let weight = relevance(&column, data);
                for value in &mut column {
                    *value *= weight;
                }
                if weight > 0.0 {
                    columns.push(column);
                }
            }
        }
        columns.retain(|column| column.iter().any(|value| value.total_cmp(&column[0]).is_ne()));
        let dims = columns.len();
        if dims == 0 || dims > TABLE_DIMS_MAX {
            return Err(format!("{dims} features, 1 to {TABLE_DIMS_MAX} are worked on"));
        }
        let mut points = vec![0.0_f32; rows * dims];
        points.par_chunks_mut(dims).enumerate().for_each(|(record, point)| {
            point.iter_mut().zip(&columns).for_each(|(value, column)| *value = column[record]);
        });
        Ok(Self { rows, dims, points, cells: vec![dims], image: None })
    }
}

/// The shape of the records where they are images: given, told by IDX, or inferred.
fn find_image(data: &Dataset, shape: Option<&[usize]>) -> Result<Option<Image>, String> {
    let columns = data.numbers.columns;
    if let Some(shape) = shape {
        return match Image::of_shape(shape, columns) {
            Some(image) => Ok(Some(image)),
            None => {
                Err(format!("shape {shape:?} does not fit {columns} numeric columns, or a side is below {SIDE_MIN}"))
            }
        };
    }
    if !data.table.item_dims.is_empty() {
        return Ok(Image::of_shape(&data.table.item_dims, columns));
    }
    if !data.categorical.is_empty() || columns == 0 {
        return Ok(None);
    }
    let square = |pixels: usize| Some(pixels.isqrt()).filter(|side| side * side == pixels && *side >= SIDE_MIN);
    let candidates = [
        square(columns).map(|side| Image { channels: 1, height: side, width: side, interleaved: false }),
        columns.is_multiple_of(3).then(|| square(columns / 3)).flatten().map(|side| Image {
            channels: 3,
            height: side,
            width: side,
            interleaved: false,
        }),
    ];
    Ok(candidates.into_iter().flatten().find(|image| is_smooth(data, image)))
}

/// Pixels lie on one scale and resemble the pixel below more than a pixel elsewhere; columns of a table do not.
fn is_smooth(data: &Dataset, image: &Image) -> bool {
    let columns = data.numbers.columns;
    let stride = (data.len() / SMOOTH_RECORDS).max(1);
    let records: Vec<usize> = (0..data.len()).step_by(stride).collect();
    let (low, high) = extremes(&data.numbers.data);
    if low < 0.0 && high - low > 2.5 || high <= low {
        return false;
    }
    let (mut near, mut far) = (0.0_f64, 0.0_f64);
    for record in &records {
        let row = data.numbers.row(*record);
        for pixel in (0..columns - image.width).step_by((columns / 512).max(1)) {
            // A fixed far partner: half a picture and half a line away.
            let other = (pixel + columns / 2 + image.width / 2) % columns;
            let value = row[pixel];
            near += f64::from((value - row[pixel + image.width]).abs()).min(f64::from(high - low));
            far += f64::from((value - row[other]).abs()).min(f64::from(high - low));
        }
    }
    near < SMOOTH_RATIO * far
}

/// Median 0, interquartile range 1.35 (one standard deviation of a normal distribution), clipped; missing is the median.
fn robust(values: &[f32]) -> Vec<f32> {
    let mut sorted: Vec<f32> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f32::total_cmp);
    let at = |share: usize| sorted.get(sorted.len() * share / 100).copied().unwrap_or(0.0);
    let median = at(50);
    let range = (at(75) - at(25)) / 1.35;
    // Mostly constant columns have no interquartile range; their wider quantiles or extremes tell the scale.
    let wide = (at(95) - at(5)) / 3.29;
    let full = (sorted.last().copied().unwrap_or(0.0) - sorted.first().copied().unwrap_or(0.0)) / 6.0;
    let scale = [range, wide, full].into_iter().find(|scale| *scale > 0.0).unwrap_or(1.0);
    values
        .iter()
        .map(|value| if value.is_nan() { 0.0 } else { ((value - median) / scale).clamp(-CLIP, CLIP) })
        .collect()
}

/// How much a scaled column tells about the label: the square root of the correlation ratio η, with a floor.
fn relevance(values: &[f32], data: &Dataset) -> f32 {
    let mut sums = vec![(0.0_f64, 0.0_f64); data.classes.len()];
    let (mut total, mut square, mut count) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (value, class) in values.iter().zip(&data.y) {
        if *class != UNLABELLED {
            let value = f64::from(*value);
            let sum = &mut sums[*class as usize];
            *sum = (sum.0 + value, sum.1 + 1.0);
            total += value;
            square += value * value;
            count += 1.0;
        }
    }
    let mean = total / f64::max(count, 1.0);
    let variance = square - count * mean * mean;
    if variance <= 0.0 {
        return 0.0;
    }
    let between: f64 = sums.iter().filter(|sum| sum.1 > 0.0).map(|sum| sum.1 * (sum.0 / sum.1 - mean).powi(2)).sum();
    #[expect(clippy::cast_possible_truncation, reason = "a weight between 0 and 1")]
    let weight = (between / variance).clamp(0.0, 1.0).sqrt().sqrt() as f32;
    weight.max(RELEVANCE_MIN)
}

fn extremes(values: &[f32]) -> (f32, f32) {
    values
        .iter()
        .filter(|value| !value.is_nan())
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
}

/// Cells on a side of the grid that parts of an image are hidden by.
pub(crate) const GRID: usize = 5;
const SIDE_MIN: usize = 6;
const TABLE_DIMS_MAX: usize = 4096;
const SMOOTH_RECORDS: usize = 500;
const SMOOTH_RATIO: f64 = 0.8;
const CLIP: f32 = 3.0;
const RELEVANCE_MIN: f32 = 0.1;
