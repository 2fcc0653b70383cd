//! The Numenta Anomaly Benchmark: its files, and its standard score, written afresh from Lavin and Ahmad, "Evaluating real-time
//! anomaly detection algorithms", 2015. 0 is never alerting, 100 is perfect.

use std::{collections::BTreeMap, fs::File, io::BufReader, path::PathBuf};

use ringfence_watch::{replay::Rows, series::Detector};

/// One labelled stream; windows are places of their first and last points.
pub struct Recorded {
    pub category: String,
    pub name: String,
    pub points: Vec<(f64, f64)>,
    pub windows: Vec<(usize, usize)>,
}

/// What alerts were worth: from minus the windows to plus the windows.
#[derive(Debug, Default, Clone, Copy)]
pub struct Worth {
    pub total: f64,
    pub windows: usize,
    pub hits: usize,
    pub false_alerts: usize,
}

impl Worth {
    pub fn add(&mut self, other: Self) {
        self.total += other.total;
        self.windows += other.windows;
        self.hits += other.hits;
        self.false_alerts += other.false_alerts;
    }

    /// NAB's scale; not a number without windows.
    pub fn score(&self) -> f64 {
        100.0 * (self.total + self.windows as f64) / (2.0 * self.windows as f64)
    }
}

/// The files under `shared/data/nab`, if they are at hand (`RINGFENCE_SHARED`, or `shared` beside the repository).
pub fn files() -> Option<Vec<Recorded>> {
    let given = std::env::var_os("RINGFENCE_SHARED").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = given.into_iter().chain([beside]).map(|folder| folder.join("data/nab")).find(|it| it.is_dir())?;
    let labels = std::fs::read(folder.join("combined_windows.json")).unwrap();
    let labels: BTreeMap<String, Vec<[String; 2]>> = serde_json::from_slice(&labels).unwrap();
    let mut files = Vec::new();
    for (path, windows) in labels {
        let rows = Rows::new(BufReader::new(File::open(folder.join(&path)).unwrap()));
        let rows: Vec<_> = rows.map(Result::unwrap).collect();
        let (category, name) = path.split_once('/').unwrap();
        let windows = windows.iter().map(|[first, last]| {
            let first = rows.iter().position(|row| first.starts_with(row.timestamp.as_str()));
            let last = rows.iter().rposition(|row| last.starts_with(row.timestamp.as_str()));
            (first.unwrap(), last.unwrap())
        });
        files.push(Recorded {
            category: category.into(),
            name: name.into(),
            windows: windows.collect(),
            points: rows.iter().map(|row| (row.at_s, row.value)).collect(),
        });
    }
    Some(files)
}

pub fn detect(file: &Recorded) -> Vec<f64> {
    let mut detector = Detector::new();
    file.points.iter().map(|(at_s, value)| detector.push(*at_s, *value)).collect()
}

/// What alerting at `threshold` and above is worth on `file`.
pub fn worth(file: &Recorded, scores: &[f64], threshold: f64) -> Worth {
    let mut parts = vec![-1.0_f64; file.windows.len()];
    let mut worth = Worth { windows: file.windows.len(), ..Worth::default() };
    for (place, _) in scores.iter().enumerate().filter(|(_, score)| **score >= threshold) {
        match value(file, place) {
            None => {}
            Some((Some(window), value)) => parts[window] = parts[window].max(value),
            Some((None, value)) => {
                worth.total += value;
                worth.false_alerts += 1;
            }
        }
    }
    worth.hits = parts.iter().filter(|part| **part > -1.0).count();
    worth.total += parts.iter().sum::<f64>();
    worth
}

/// The threshold that is worth most on all of `files` together.
pub fn best(files: &[(&Recorded, &[f64])]) -> f64 {
    struct Point {
        score: f64,
        value: f64,
        window: Option<(usize, usize)>,
    }
    let mut points = Vec::new();
    let mut parts = BTreeMap::new();
    for (number, (file, scores)) in files.iter().enumerate() {
        parts.extend((0..file.windows.len()).map(|window| ((number, window), -1.0)));
        points.extend(scores.iter().enumerate().filter_map(|(place, score)| {
            let (window, value) = value(file, place)?;
            Some(Point { score: *score, value, window: window.map(|window| (number, window)) })
        }));
    }
    points.sort_by(|left, right| right.score.total_cmp(&left.score));
    let mut total = -(parts.len() as f64);
    let mut top = (total, f64::INFINITY);
    let mut points = points.iter().peekable();
    while let Some(point) = points.next() {
        match point.window.and_then(|window| parts.get_mut(&window)) {
            None => total += point.value,
            Some(part) if point.value > *part => {
                total += point.value - *part;
                *part = point.value;
            }
            Some(_) => {}
        }
        let last = points.peek().is_none_or(|next| next.score < point.score);
        if last && total > top.0 {
            top = (total, point.score);
        }
    }
    top.1
}

/// The window that a point lies in and what an alert there is worth; `None` while the detector may still learn.
fn value(file: &Recorded, place: usize) -> Option<(Option<usize>, f64)> {
    if place < (0.15 * file.points.len().min(5000) as f64) as usize {
        return None;
    }
    let within = file.windows.iter().position(|(first, last)| (*first..=*last).contains(&place));
    if let Some(window) = within {
        let (first, last) = file.windows[window];
        let left = (last - place + 1) as f64 / (last - first + 1) as f64;
        return Some((Some(window), sigmoid(-left) / sigmoid(-1.0)));
    }
    let past = file.windows.iter().rfind(|(_, last)| *last < place);
    let value = past.map_or(-1.0, |(first, last)| sigmoid((place - last) as f64 / (last - first) as f64));
    Some((None, FALSE_ALERT * value))
}

fn sigmoid(widths: f64) -> f64 {
    if widths > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * widths).exp()) - 1.0 }
}

/// The standard profile's cost of a false alert.
const FALSE_ALERT: f64 = 0.11;
