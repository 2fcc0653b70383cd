//! What a record's neighbours say of its label: in full view, and with each part of the picture hidden.
//!
//! A trigger holds up a wrong label only while it is in sight. The grid of [`GRID`]² cells gives views that each hide a
//! window of 2 × 2 cells (every patch of up to one cell lies inside one of them) and one that shows the middle only. A view
//! counts by how often it agrees with the labels at all: hiding the digit itself proves nothing.

use rayon::prelude::*;

use super::{
    Labelled,
    neighbours::Neighbours,
    space::{GRID, Space},
};
use crate::{
    calibrate::{Contradictions, Strengths},
    dataset::UNLABELLED,
    options::Meter,
};

/// The answers.
pub(crate) struct Votes {
    /// By all views together.
    pub(crate) consensus: Contradictions,
    /// By the view that contradicts most.
    pub(crate) hidden: Contradictions,
    /// The class that the consensus prefers.
    pub(crate) top: Vec<u32>,
    /// The class that the most contradicting view prefers, how strongly, and which view.
    pub(crate) hidden_top: Vec<u32>,
    pub(crate) strength: Vec<f32>,
    hidden_view: Vec<u8>,
    /// The nearest records in full view.
    pub(crate) witnesses: Vec<Vec<u32>>,
    pub(crate) neighbours: usize,
    pub(crate) views: usize,
}

impl Votes {
    pub(crate) fn hidden_view_name(&self, record: usize) -> String {
        match usize::from(self.hidden_view[record]) {
            0 => "nothing".to_owned(),
            MIDDLE_VIEW => "the border".to_owned(),
            window => {
                let (row, column) = ((window - 1) / (GRID - 1), (window - 1) % (GRID - 1));
                format!("fifths {}–{} of the height and {}–{} of the width", row + 1, row + 2, column + 1, column + 2)
            }
        }
    }
}

/// All ballots, kept so that only those are asked again whose voters changed.
pub(crate) struct Poll<'a> {
    booth: Booth<'a>,
    trust: Vec<f32>,
    stride: usize,
    voters: Vec<bool>,
    ballots: Vec<Ballot>,
}

impl<'a> Poll<'a> {
    /// Asks the neighbours of every record.
    pub(crate) fn open(space: &'a Space, labelled: &'a Labelled, near: &'a Neighbours, meter: &mut Meter<'_>) -> Self {
        let views = if space.image.is_some() { VIEWS } else { 1 };
        let neighbours = if space.image.is_some() { IMAGE_NEIGHBOURS } else { TABLE_NEIGHBOURS };
        let booth = Booth { space, labelled, near, views, neighbours };
        let voters = vec![true; space.rows];
        let stride = (space.rows * labelled.classes).div_ceil(POSSIBLE_MAX).max(1);
        let trust = booth.trust(&voters);
        let mut ballots = Vec::with_capacity(space.rows);
        while ballots.len() < space.rows {
            meter.at("votes", ballots.len(), space.rows);
            let end = (ballots.len() + WAVE).min(space.rows);
            let wave: Vec<Ballot> =
                (ballots.len()..end).into_par_iter().map(|r| booth.ballot(r, &trust, stride, &voters)).collect();
            ballots.extend(wave);
        }
        meter.at("votes", space.rows, space.rows);
        Self { booth, trust, stride, voters, ballots }
    }

    /// Takes the vote from these records and asks again where they had one. Says whether anything changed.
    pub(crate) fn exclude(&mut self, records: impl Iterator<Item = usize>) -> bool {
        let mut changed = vec![false; self.voters.len()];
        for record in records.filter(|record| self.voters[*record]).collect::<Vec<_>>() {
            self.voters[record] = false;
            changed[record] = true;
        }
        let (booth, trust, stride, voters) = (&self.booth, &self.trust, self.stride, &self.voters);
        self.ballots.par_iter_mut().enumerate().for_each(|(record, ballot)| {
            if booth.near.of(record).any(|id| changed[id as usize]) {
                *ballot = booth.ballot(record, trust, stride, voters);
            }
        });
        changed.contains(&true)
    }

    /// The outcome.
    pub(crate) fn count(&self) -> Votes {
        let rows = self.ballots.len();
        let mut votes = Votes {
            consensus: Contradictions { scale: self.stride, ..Contradictions::default() },
            hidden: Contradictions { scale: self.stride, strengths: Strengths::Greatest, ..Contradictions::default() },
            top: Vec::with_capacity(rows),
            hidden_top: Vec::with_capacity(rows),
            strength: Vec::with_capacity(rows),
            hidden_view: Vec::with_capacity(rows),
            witnesses: Vec::with_capacity(rows),
            neighbours: self.booth.neighbours,
            views: self.booth.views,
        };
        for (record, ballot) in (0_u32..).zip(&self.ballots) {
            if ballot.consensus > 0.0 {
                votes.consensus.observed.push((record, ballot.consensus));
            }
            if ballot.hidden > 0.0 {
                votes.hidden.observed.push((record, ballot.hidden));
            }
            votes.consensus.possible.extend(ballot.possible.iter().map(|pair| pair.0));
            votes.hidden.possible.extend(ballot.possible.iter().map(|pair| pair.1));
            votes.top.push(ballot.top);
            votes.hidden_top.push(ballot.hidden_top);
            votes.strength.push(ballot.hidden.max(ballot.consensus));
            votes.hidden_view.push(ballot.hidden_view);
            votes.witnesses.push(ballot.witnesses.clone());
        }
        votes
    }
}

struct Booth<'a> {
    space: &'a Space,
    labelled: &'a Labelled,
    near: &'a Neighbours,
    views: usize,
    neighbours: usize,
}

struct Ballot {
    top: u32,
    consensus: f32,
    hidden: f32,
    hidden_top: u32,
    hidden_view: u8,
    /// Strength against each other class, by consensus and by the most contradicting view.
    possible: Vec<(f32, f32)>,
    witnesses: Vec<u32>,
}

/// One voter as a record sees it.
struct Voter {
    id: u32,
    class: usize,
    /// Squared distance in each cell.
    cells: [f32; GRID * GRID],
    total: f32,
}

/// What one view says: a share of the vote for each class, and how near each class comes.
struct View {
    shares: Vec<f32>,
    nearest: Vec<f32>,
    top: usize,
}

impl View {
    /// How strongly this view contradicts `class`.
    fn against(&self, class: usize) -> f32 {
        if class == self.top {
            return 0.0;
        }
        let margin = self.shares[self.top] - self.shares[class];
        let ratio = 1.0 - (self.nearest[self.top] / self.nearest[class].max(f32::MIN_POSITIVE)).min(1.0).sqrt();
        margin + RATIO_WEIGHT * ratio
    }
}

impl Booth<'_> {
    /// How far each view agrees with the labels, squared, on a sample.
    fn trust(&self, voters: &[bool]) -> Vec<f32> {
        if self.views == 1 {
            return vec![1.0];
        }
        let stride = (self.space.rows / TRUST_RECORDS).max(1);
        let agreed: Vec<Vec<bool>> = (0..self.space.rows)
            .into_par_iter()
            .step_by(stride)
            .filter_map(|record| {
                let class = self.labelled.class(record)?;
                let voters = self.voters_of(record, voters);
                Some((0..self.views).map(|view| self.view(&voters, view).top == class).collect())
            })
            .collect();
        (0..self.views)
            .map(|view| {
                let share = agreed.iter().filter(|row| row[view]).count() as f32 / agreed.len().max(1) as f32;
                share * share
            })
            .collect()
    }

    fn ballot(&self, record: usize, trust: &[f32], stride: usize, voters: &[bool]) -> Ballot {
        let mut ballot = Ballot {
            top: UNLABELLED,
            consensus: 0.0,
            hidden: 0.0,
            hidden_top: UNLABELLED,
            hidden_view: 0,
            possible: Vec::new(),
            witnesses: Vec::new(),
        };
        let voters = self.voters_of(record, voters);
        let Some(label) = self.labelled.class(record).filter(|_| !voters.is_empty()) else { return ballot };
        let views: Vec<View> = (0..self.views).map(|view| self.view(&voters, view)).collect();
        let consensus = blend(&views, trust);
        ballot.top = u32::try_from(consensus.top).unwrap_or(UNLABELLED);
        ballot.consensus = consensus.against(label);
        for (index, (view, trust)) in views.iter().zip(trust).enumerate() {
            let against = view.against(label) * trust;
            if against > ballot.hidden {
                ballot.hidden = against;
                ballot.hidden_top = u32::try_from(view.top).unwrap_or(UNLABELLED);
                ballot.hidden_view = u8::try_from(index).unwrap_or(0);
            }
        }
        if record.is_multiple_of(stride) {
            ballot.possible = (0..self.labelled.classes)
                .filter(|class| *class != consensus.top)
                .map(|class| {
                    let hidden =
                        views.iter().zip(trust).map(|(view, trust)| view.against(class) * trust).fold(0.0, f32::max);
                    (consensus.against(class), hidden)
                })
                .collect();
        }
        let mut order: Vec<&Voter> = voters.iter().collect();
        order.sort_by(|a, b| a.total.total_cmp(&b.total).then(a.id.cmp(&b.id)));
        ballot.witnesses = order.iter().take(WITNESSES).map(|voter| voter.id).collect();
        ballot
    }

    fn voters_of(&self, record: usize, voters: &[bool]) -> Vec<Voter> {
        let point = self.space.point(record);
        self.near
            .of(record)
            .filter(|id| voters[*id as usize])
            .filter_map(|id| {
                let class = self.labelled.class(id as usize)?;
                let other = self.space.point(id as usize);
                let mut cells = [0.0; GRID * GRID];
                let mut start = 0;
                for (cell, end) in cells.iter_mut().zip(&self.space.cells) {
                    *cell = squared_distance(&point[start..*end], &other[start..*end]);
                    start = *end;
                }
                Some(Voter { id, class, total: cells.iter().sum(), cells })
            })
            .collect()
    }

    fn view(&self, voters: &[Voter], view: usize) -> View {
        let classes = self.labelled.classes;
        let mut seen: Vec<(f32, u32, usize)> =
            voters.iter().map(|voter| (distance_in(voter, view), voter.id, voter.class)).collect();
        let mut nearest = vec![f32::INFINITY; classes];
        for (distance, _, class) in &seen {
            nearest[*class] = nearest[*class].min(*distance);
        }
        let take = self.neighbours.min(seen.len());
        if take < seen.len() {
            seen.select_nth_unstable_by(take - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            seen.truncate(take);
        }
        // Sums of floats depend on their order, so that order is fixed.
        seen.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let soft = seen.last().map_or(0.0, |last| last.0) * SOFTENING + f32::MIN_POSITIVE;
        let mut shares = vec![0.0; classes];
        let mut total = 0.0;
        for (distance, _, class) in &seen {
            let weight = soft / (distance.max(0.0) + soft);
            shares[*class] += weight;
            total += weight;
        }
        for share in &mut shares {
            *share /= f32::max(total, f32::MIN_POSITIVE);
        }
        let top = argmax(&shares);
        View { shares, nearest, top }
    }
}

/// Half the full view, half all views by their trust.
fn blend(views: &[View], trust: &[f32]) -> View {
    let full = &views[0];
    let sum: f32 = trust.iter().sum::<f32>().max(f32::MIN_POSITIVE);
    let shares: Vec<f32> = (0..full.shares.len())
        .map(|class| {
            let all: f32 = views.iter().zip(trust).map(|(view, trust)| view.shares[class] * trust).sum();
            0.5 * full.shares[class] + 0.5 * all / sum
        })
        .collect();
    View { top: argmax(&shares), shares, nearest: full.nearest.clone() }
}

fn distance_in(voter: &Voter, view: usize) -> f32 {
    if view == 0 {
        return voter.total;
    }
    let cell = |row: usize, column: usize| voter.cells[row * GRID + column];
    if view == MIDDLE_VIEW {
        return (1..GRID - 1).flat_map(|row| (1..GRID - 1).map(move |column| cell(row, column))).sum();
    }
    let (row, column) = ((view - 1) / (GRID - 1), (view - 1) % (GRID - 1));
    let hidden = cell(row, column) + cell(row + 1, column) + cell(row, column + 1) + cell(row + 1, column + 1);
    (voter.total - hidden).max(0.0)
}

fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            let difference = a[lane] - b[lane];
            sums[lane] += difference * difference;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum();
    sums.iter().sum::<f32>() + rest
}

const MIDDLE_VIEW: usize = (GRID - 1) * (GRID - 1) + 1;
const VIEWS: usize = MIDDLE_VIEW + 1;
const IMAGE_NEIGHBOURS: usize = 10;
const TABLE_NEIGHBOURS: usize = 25;
const WITNESSES: usize = 3;
const WAVE: usize = 4096;
const TRUST_RECORDS: usize = 2000;
const POSSIBLE_MAX: usize = 1 << 24;
const SOFTENING: f32 = 0.3;
const RATIO_WEIGHT: f32 = 0.5;
