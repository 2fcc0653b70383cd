//! Each text's nearest ones, by the cosine of weighted features, exactly, through an inverted index.

use rayon::prelude::*;

use super::terms::Corpus;
use crate::{numeric::Labelled, options::Meter};

/// Neighbours of every text with their likeness, nearest first. `left_out` texts are nobody's neighbours; texts of equal
/// content (`twins`) are not each other's.
pub(crate) fn search(
    corpus: &Corpus,
    labelled: &Labelled,
    twins: &[u32],
    left_out: &[bool],
    meter: &mut Meter<'_>,
) -> Vec<Vec<(u32, f32)>> {
    meter.at("neighbours", 0, corpus.len());
    let features = corpus.features();
    let most = features.iter().flatten().map(|(feature, _)| *feature as usize + 1).max().unwrap_or(0);
    let mut index: Vec<Vec<(u32, f32)>> = vec![Vec::new(); most];
    for (record, features) in (0_u32..).zip(&features) {
        if labelled.class(record as usize).is_some() && !left_out[record as usize] {
            for (feature, weight) in features {
                index[*feature as usize].push((record, *weight));
            }
        }
    }
    // Features of very many texts tell little and cost most.
    let common = (corpus.len() / COMMON_SHARE).max(COMMON_MIN);
    let mut near = Vec::with_capacity(corpus.len());
    while near.len() < corpus.len() {
        let end = (near.len() + WAVE).min(corpus.len());
        let wave: Vec<Vec<(u32, f32)>> = (near.len()..end)
            .into_par_iter()
            .map_init(
                || vec![0.0_f32; corpus.len()],
                |likeness, record| {
                    let mut touched = Vec::new();
                    for (feature, weight) in &features[record] {
                        let texts = &index[*feature as usize];
                        if texts.len() > common {
                            continue;
                        }
                        for (other, other_weight) in texts {
                            let sum = &mut likeness[*other as usize];
                            if *sum == 0.0 {
                                touched.push(*other);
                            }
                            *sum += weight * other_weight;
                        }
                    }
                    let mut found: Vec<(u32, f32)> = touched
                        .iter()
                        .filter(|other| twins[**other as usize] != twins[record])
                        .map(|other| (*other, likeness[*other as usize]))
                        .collect();
                    for other in &touched {
                        likeness[*other as usize] = 0.0;
                    }
                    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
                    if found.len() > NEIGHBOURS {
                        found.select_nth_unstable_by(NEIGHBOURS - 1, order);
                        found.truncate(NEIGHBOURS);
                    }
                    found.sort_by(order);
                    found
                },
            )
            .collect();
        near.extend(wave);
        meter.at("neighbours", near.len(), corpus.len());
    }
    near
}

/// Neighbours that vote.
pub(crate) const NEIGHBOURS: usize = 12;
const COMMON_SHARE: usize = 10;
const COMMON_MIN: usize = 1000;
const WAVE: usize = 2048;
