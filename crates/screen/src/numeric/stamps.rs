//! Rare pixel values that occur only together: stamps, whatever the label says.
//!
//! Natural strokes vary; three or more pixels that take their rare values in exactly the same records do not occur in
//! them. Items (pixel, value) with nearly equal sets of carriers are found by min-wise hashing (Broder 1997), verified
//! exactly, and joined. Copies of one picture count once. Data whose pixels repeat each other everywhere (grey pictures
//! stored in colour, enlarged ones) would be full of such sets; there the detector says that it cannot run.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    Labelled,
    relabelled::{Codes, Trigger},
    space::Image,
};
use crate::{calibrate, dataset::UNLABELLED};

/// Finds stamps, strongest first.
pub(crate) fn mine(
    codes: &Codes,
    labelled: &Labelled,
    twins: &[u32],
    image: Option<&Image>,
) -> Result<Vec<Trigger>, &'static str> {
    let mut seen = HashSet::new();
    let distinct: Vec<usize> = (0..labelled.y.len()).filter(|record| seen.insert(twins[*record])).collect();
    let most = distinct.len() / RARE_SHARE;
    let counts = codes.count(distinct.iter().copied());
    let rare = |at: usize| (CARRIERS_MIN..=most).contains(&(counts[at] as usize));
    let buckets = similar_items(codes, &distinct, &rare);
    let wanted: HashSet<usize> = buckets.iter().flatten().copied().collect();
    if wanted.len() > ITEMS_MAX {
        return Err("pixels repeat each other nearly everywhere");
    }
    let carriers = carriers_of(codes, &distinct, &wanted);
    let groups = join(&buckets, &carriers);
    let position = |item: usize| image.map_or((item / codes.levels, 0), |image| image.position(item / codes.levels));
    let mut stamps = Vec::new();
    for group in groups {
        let places: HashSet<_> = group.iter().map(|item| position(*item)).collect();
        if places.len() < PIXELS_MIN {
            continue;
        }
        stamps.push(judge(codes, labelled, &group, &carriers));
    }
    if stamps.len() > STAMPS_MAX {
        return Err("too many sets of pixels go together for any of them to mean something");
    }
    stamps.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(stamps)
}

/// Groups of items whose carriers have equal minima under some pair of hashes.
fn similar_items(codes: &Codes, records: &[usize], rare: &dyn Fn(usize) -> bool) -> Vec<Vec<usize>> {
    let size = codes.columns * codes.levels;
    let mut minima = vec![[u32::MAX; HASHES]; size];
    for record in records {
        let mut state = (*record as u64).wrapping_mul(0x2545_f491_4f6c_dd1d);
        let hashes: [u32; HASHES] =
            std::array::from_fn(|_| u32::try_from(calibrate::splitmix(&mut state) >> 32).unwrap_or(u32::MAX));
        for (column, code) in codes.row(*record).iter().enumerate() {
            let least = &mut minima[column * codes.levels + usize::from(*code)];
            for (least, hash) in least.iter_mut().zip(hashes) {
                *least = (*least).min(hash);
            }
        }
    }
    let mut buckets: BTreeMap<(usize, u32, u32), Vec<usize>> = BTreeMap::new();
    for (item, least) in minima.iter().enumerate().filter(|(item, _)| rare(*item)) {
        for (band, pair) in least.chunks_exact(2).enumerate() {
            buckets.entry((band, pair[0], pair[1])).or_default().push(item);
        }
    }
    buckets.into_values().filter(|items| items.len() > 1).collect()
}

fn carriers_of(codes: &Codes, records: &[usize], wanted: &HashSet<usize>) -> HashMap<usize, Vec<u32>> {
    let mut columns: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for item in wanted {
        columns.entry(item / codes.levels).or_default().push(u8::try_from(item % codes.levels).unwrap_or(u8::MAX));
    }
    let mut carriers: HashMap<usize, Vec<u32>> = HashMap::new();
    for record in records {
        let row = codes.row(*record);
        for (column, wanted) in &columns {
            if wanted.contains(&row[*column]) {
                let item = column * codes.levels + usize::from(row[*column]);
                carriers.entry(item).or_default().push(u32::try_from(*record).unwrap_or(u32::MAX));
            }
        }
    }
    carriers
}

/// The least item that `item` was joined to.
fn root(parent: &BTreeMap<usize, usize>, mut item: usize) -> usize {
    while let Some(up) = parent.get(&item).filter(|up| **up != item) {
        item = *up;
    }
    item
}

/// Joins the items of each bucket whose carriers agree, transitively.
fn join(buckets: &[Vec<usize>], carriers: &HashMap<usize, Vec<u32>>) -> Vec<Vec<usize>> {
    let mut parent: BTreeMap<usize, usize> = BTreeMap::new();
    for bucket in buckets {
        for pair in bucket.windows(2) {
            let (a, b) = (&carriers[&pair[0]], &carriers[&pair[1]]);
            if overlap(a, b) >= AGREEMENT_MIN {
                let (a, b) = (root(&parent, pair[0]), root(&parent, pair[1]));
                parent.insert(a.max(b), a.min(b));
                parent.entry(a.min(b)).or_insert(a.min(b));
            }
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for item in parent.keys() {
        groups.entry(root(&parent, *item)).or_default().push(*item);
    }
    groups.into_values().collect()
}

fn judge(codes: &Codes, labelled: &Labelled, group: &[usize], carriers: &HashMap<usize, Vec<u32>>) -> Trigger {
    let items: Vec<(usize, u8)> =
        group.iter().map(|item| (item / codes.levels, u8::try_from(item % codes.levels).unwrap_or(u8::MAX))).collect();
    let needed = (items.len() * 4).div_ceil(5);
    let all: Vec<u32> = (0_u32..)
        .take(labelled.y.len())
        .filter(|record| {
            let row = codes.row(*record as usize);
            items.iter().filter(|(column, code)| row[*column] == *code).count() >= needed
        })
        .collect();
    let mut by_class: BTreeMap<u32, usize> = BTreeMap::new();
    for record in &all {
        *by_class.entry(labelled.y[*record as usize]).or_default() += 1;
    }
    by_class.remove(&UNLABELLED);
    let (class, inside) = by_class
        .iter()
        .max_by_key(|(class, count)| (**count, std::cmp::Reverse(**class)))
        .map_or((0, 0), |(c, n)| (*c, *n));
    let share = labelled.sizes.get(class as usize).map_or(0.0, |size| *size as f64 / labelled.y.len() as f64);
    let score = -calibrate::tail(inside, all.len(), share);
    let one_class = inside * 20 >= all.len() * 19;
    let mut agreements: Vec<f64> =
        group.windows(2).map(|pair| overlap(&carriers[&pair[0]], &carriers[&pair[1]])).collect();
    agreements.sort_by(f64::total_cmp);
    let agreement = agreements.get(agreements.len() / 2).copied().unwrap_or(0.0);
    Trigger {
        items: items.iter().map(|(column, code)| codes.item(*column, *code)).collect(),
        class: one_class.then_some(class),
        evidence: format!(
            "{} pixels take these values in the same records (agreement {agreement:.2}); {inside} of {} carriers have one label",
            items.len(),
            all.len(),
        ),
        score: score.max(0.0),
        certain: one_class
            && all.len() >= CERTAIN_CARRIERS_MIN
            && agreement >= CERTAIN_AGREEMENT
            && score >= CERTAIN_SCORE,
        carriers: all,
        relabelled: false,
        doubtful: Vec::new(),
    }
}

/// Shared over all, of two sorted lists.
fn overlap(a: &[u32], b: &[u32]) -> f64 {
    let shared = a.iter().filter(|id| b.binary_search(id).is_ok()).count();
    shared as f64 / (a.len() + b.len() - shared).max(1) as f64
}

const HASHES: usize = 8;
/// A value is rare when at most one in so many records has it.
const RARE_SHARE: usize = 8;
const CARRIERS_MIN: usize = 8;
const PIXELS_MIN: usize = 3;
const ITEMS_MAX: usize = 20_000;
const STAMPS_MAX: usize = 20;
/// Least share of common carriers (Jaccard) of items that belong together.
const AGREEMENT_MIN: f64 = 0.75;
const CERTAIN_AGREEMENT: f64 = 0.85;
const CERTAIN_CARRIERS_MIN: usize = 12;
/// Minus the natural logarithm of one in a billion.
const CERTAIN_SCORE: f64 = 20.7;
