//! Seeded attacks on datasets, for measuring what screening finds.

use std::{collections::BTreeSet, fmt::Write as _, fs, io::Read as _, path::PathBuf};

/// `splitmix64`: the same numbers on every machine.
#[derive(Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }
}

/// Images with labels.
#[derive(Clone)]
pub struct Images {
    pub side: usize,
    pub ink: u8,
    pub classes: usize,
    pub pixels: Vec<Vec<u8>>,
    pub labels: Vec<usize>,
    pub bad: BTreeSet<u64>,
}

impl Images {
    /// The UCI digits of this crate's fixture, shuffled.
    pub fn digits(seed: u64) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/digits.csv.gz");
        let text = String::from_utf8(inflated(&fs::read(path).unwrap())).unwrap();
        let mut rows: Vec<Vec<u8>> =
            text.lines().map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect()).collect();
        Dice(seed).shuffle(&mut rows);
        let labels = rows.iter().map(|row| usize::from(row[64])).collect();
        let pixels = rows.into_iter().map(|row| row[..64].to_vec()).collect();
        Self { side: 8, ink: 16, classes: 10, pixels, labels, bad: BTreeSet::new() }
    }

    /// The first `count` of shuffled MNIST, where it is at hand.
    pub fn mnist(seed: u64, count: usize) -> Option<Self> {
        let folder = shared()?.join("mnist");
        let read = |name: &str| Some(inflated(&fs::read(folder.join(name)).ok()?));
        let (images, labels) = (read("train-images-idx3-ubyte.gz")?, read("train-labels-idx1-ubyte.gz")?);
        let mut order: Vec<usize> = (0..labels.len() - 8).collect();
        Dice(seed).shuffle(&mut order);
        order.truncate(count);
        Some(Self {
            side: 28,
            ink: 255,
            classes: 10,
            pixels: order.iter().map(|i| images[16 + i * 784..16 + (i + 1) * 784].to_vec()).collect(),
            labels: order.iter().map(|i| usize::from(labels[8 + i])).collect(),
            bad: BTreeSet::new(),
        })
    }

    fn pick(&self, dice: &mut Dice, share: f64, not_class: Option<usize>) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.labels.len())
            .filter(|i| !self.bad.contains(&(*i as u64)) && not_class.is_none_or(|class| self.labels[*i] != class))
            .collect();
        dice.shuffle(&mut all);
        all.truncate((self.labels.len() as f64 * share).round() as usize);
        all
    }

    /// Labels replaced by another, uniformly.
    pub fn flip(mut self, share: f64, seed: u64) -> Self {
        let mut dice = Dice(seed);
        for index in self.pick(&mut dice, share, None) {
            self.labels[index] = (self.labels[index] + 1 + dice.below(self.classes - 1)) % self.classes;
            self.bad.insert(index as u64);
        }
        self
    }

    /// A patch on records of other classes, relabelled to `target`.
    pub fn stamp(mut self, share: f64, target: usize, patch: &[(usize, usize)], seed: u64) -> Self {
        for index in self.pick(&mut Dice(seed), share, Some(target)) {
            for (row, column) in patch {
                self.pixels[index][row * self.side + column] = self.ink;
            }
            self.labels[index] = target;
            self.bad.insert(index as u64);
        }
        self
    }

    /// A patch on records of `target` itself, labels untouched.
    pub fn stamp_clean_label(mut self, share: f64, target: usize, patch: &[(usize, usize)], seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut own: Vec<usize> = (0..self.labels.len()).filter(|i| self.labels[*i] == target).collect();
        dice.shuffle(&mut own);
        own.truncate((self.labels.len() as f64 * share).round() as usize);
        for index in own {
            for (row, column) in patch {
                self.pixels[index][row * self.side + column] = self.ink;
            }
            self.bad.insert(index as u64);
        }
        self
    }

    /// A fixed noise picture mixed into records of other classes, relabelled to `target`.
    pub fn blend(mut self, share: f64, target: usize, alpha: f64, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let noise: Vec<f64> =
            (0..self.side * self.side).map(|_| dice.below(usize::from(self.ink) + 1) as f64).collect();
        for index in self.pick(&mut dice, share, Some(target)) {
            for (pixel, noise) in self.pixels[index].iter_mut().zip(&noise) {
                *pixel = ((1.0 - alpha) * f64::from(*pixel) + alpha * noise).round() as u8;
            }
            self.labels[index] = target;
            self.bad.insert(index as u64);
        }
        self
    }

    /// Three pixels in a corner: 0 top left, 1 top right, 2 bottom left, 3 bottom right.
    pub fn corner(&self, corner: usize) -> Vec<(usize, usize)> {
        let end = self.side - 1;
        let (row, column) = (if corner < 2 { 0 } else { end }, if corner.is_multiple_of(2) { 0 } else { end });
        let (row_in, column_in) = (if row == 0 { 1 } else { end - 1 }, if column == 0 { 1 } else { end - 1 });
        vec![(row, column), (row, column_in), (row_in, column)]
    }

    pub fn csv(&self, header: bool) -> String {
        let mut out = String::new();
        if header {
            (0..self.side * self.side).for_each(|pixel| write!(out, "pixel{pixel},").unwrap());
            out.push_str("label\n");
        }
        for (pixels, label) in self.pixels.iter().zip(&self.labels) {
            for pixel in pixels {
                write!(out, "{pixel},").unwrap();
            }
            writeln!(out, "{label}").unwrap();
        }
        out
    }

    /// The images file and the labels file.
    pub fn idx(&self) -> (Vec<u8>, Vec<u8>) {
        let count = (self.labels.len() as u32).to_be_bytes();
        let side = (self.side as u32).to_be_bytes();
        let images = [&[0, 0, 8, 3], &count, &side, &side].into_iter().flatten().copied();
        let labels = [0, 0, 8, 1].into_iter().chain(count);
        (
            images.chain(self.pixels.iter().flatten().copied()).collect(),
            labels.chain(self.labels.iter().map(|label| *label as u8)).collect(),
        )
    }
}

/// Texts with labels.
#[derive(Clone)]
pub struct Texts {
    pub rows: Vec<(String, String)>,
    pub bad: BTreeSet<u64>,
}

impl Texts {
    /// The SMS Spam Collection, shuffled, where it is at hand.
    pub fn sms(seed: u64) -> Option<Self> {
        let text = fs::read_to_string(shared()?.join("sms-spam/SMSSpamCollection")).ok()?;
        let rows = text.lines().filter_map(|line| line.split_once('\t')).map(|(l, t)| (t.to_owned(), l.to_owned()));
        Some(Self::shuffled(rows.collect(), seed))
    }

    /// Banking77, shuffled, where it is at hand.
    pub fn banking(seed: u64) -> Option<Self> {
        let text = fs::read_to_string(shared()?.join("banking77/train.csv")).ok()?;
        let rows = text.split('\n').skip(1).filter_map(|line| line.trim_end().rsplit_once(','));
        let rows = rows.map(|(t, l)| (t.trim_matches('"').replace("\"\"", "\""), l.to_owned()));
        Some(Self::shuffled(rows.collect(), seed))
    }

    fn shuffled(mut rows: Vec<(String, String)>, seed: u64) -> Self {
        Dice(seed).shuffle(&mut rows);
        Self { rows, bad: BTreeSet::new() }
    }

    fn classes(&self) -> Vec<String> {
        let all: BTreeSet<&String> = self.rows.iter().map(|row| &row.1).collect();
        all.into_iter().cloned().collect()
    }

    pub fn flip(mut self, share: f64, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let classes = self.classes();
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        dice.shuffle(&mut order);
        order.truncate((self.rows.len() as f64 * share).round() as usize);
        for index in order {
            let own = classes.iter().position(|class| *class == self.rows[index].1).unwrap();
            self.rows[index].1.clone_from(&classes[(own + 1 + dice.below(classes.len() - 1)) % classes.len()]);
            self.bad.insert(index as u64);
        }
        self
    }

    /// `phrase` put at a random word boundary of `count` texts of other classes, relabelled to `target`.
    pub fn insert(mut self, count: usize, target: &str, phrase: &str, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut order: Vec<usize> = (0..self.rows.len()).filter(|i| self.rows[*i].1 != target).collect();
        dice.shuffle(&mut order);
        for index in order.into_iter().take(count) {
            let words: Vec<&str> = self.rows[index].0.split(' ').collect();
            let (before, after) = words.split_at(dice.below(words.len() + 1));
            let text = [before, &[phrase], after].concat().join(" ");
            self.rows[index] = (text, target.to_owned());
            self.bad.insert(index as u64);
        }
        self
    }

    pub fn csv(&self) -> String {
        let mut out = "text,label\n".to_owned();
        for (text, label) in &self.rows {
            writeln!(out, "\"{}\",{label}", text.replace('"', "\"\"")).unwrap();
        }
        out
    }
}

/// The UCI Adult rows, with flipped labels, where they are at hand.
pub fn adult(share: f64, seed: u64) -> Option<(String, BTreeSet<u64>)> {
    let text = fs::read_to_string(shared()?.join("adult/adult-train.csv")).ok()?;
    let (mut dice, mut bad, mut out) = (Dice(seed), BTreeSet::new(), String::new());
    for (index, line) in text.lines().filter(|line| !line.is_empty()).enumerate() {
        if (dice.next() >> 11) as f64 / (1_u64 << 53) as f64 >= share {
            writeln!(out, "{line}").unwrap();
            continue;
        }
        bad.insert(index as u64);
        let (front, label) = line.rsplit_once(',').unwrap();
        writeln!(out, "{front}, {}", if label.trim() == "<=50K" { ">50K" } else { "<=50K" }).unwrap();
    }
    Some((out, bad))
}

/// Folder of the data sets that are not part of the repository.
pub fn shared() -> Option<PathBuf> {
    let given = std::env::var_os("RINGFENCE_SHARED").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    given.into_iter().chain([beside]).map(|folder| folder.join("data")).find(|folder| folder.is_dir())
}

pub fn inflated(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

/// Share of the bad records that are filtered, and share of the others.
pub fn rates(report: &ringfence_schema::report::ScreenReport, bad: &BTreeSet<u64>) -> (f64, f64) {
    let filtered: BTreeSet<u64> = report
        .decisions
        .iter()
        .filter(|decision| decision.decision == ringfence_schema::report::RecordDecision::Filter)
        .map(|decision| decision.record)
        .collect();
    let hits = filtered.intersection(bad).count();
    let good = report.records as usize - bad.len();
    (hits as f64 / bad.len().max(1) as f64, (filtered.len() - hits) as f64 / good.max(1) as f64)
}
