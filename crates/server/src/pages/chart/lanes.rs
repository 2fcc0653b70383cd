//! Many signals over one time axis, a lane each, with what happened marked across all of them.
//!
//! Lanes carry what the script needs to append to them (`data-` attributes), so that a live page and a still one are the
//! same picture.

use maud::{Markup, html};

use super::{super::parts::words, Figure, number, path, px};

/// One stretch of a signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// Milliseconds since the beginning.
    pub at_ms: u64,
    /// Least value in it.
    pub low: f64,
    /// Greatest value in it.
    pub high: f64,
    /// Last value in it.
    pub last: f64,
}

/// One signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// Names it in live updates.
    pub key: String,
    /// What it is called.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Whether it is only what the job says; drawn dashed and in another colour.
    pub claimed: bool,
    /// The values by time.
    pub stretches: Vec<Stretch>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// Milliseconds since the beginning.
    pub at_ms: u64,
    /// `phase`, `checkpoint`, `refusal`, `limit` or `alert`.
    pub class: &'static str,
    /// What.
    pub text: String,
}

/// The picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Lanes<'a> {
    /// Unique on the page.
    pub id: &'a str,
    /// What it shows.
    pub title: &'a str,
    /// The signals; the first [`LANES_MAX`] are drawn.
    pub lanes: Vec<Lane>,
    /// What happened; the first [`FLAGS_MAX`] are drawn.
    pub flags: Vec<Flag>,
    /// End of the time axis in milliseconds.
    pub span_ms: u64,
}

/// Lanes in one picture.
pub const LANES_MAX: usize = 24;
/// Stretches of one lane.
pub const STRETCHES_MAX: usize = 110;
/// Marks in one picture.
pub const FLAGS_MAX: usize = 80;
const TABLE_ROWS: usize = 16;
const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 12.0;
const LANE: f64 = 58.0;
const GAP: f64 = 6.0;
const AXIS: f64 = 26.0;
const TOP: f64 = 14.0;

impl Lanes<'_> {
    /// The picture.
    pub fn draw(&self) -> Markup {
        let lanes: Vec<&Lane> = self.lanes.iter().take(LANES_MAX).collect();
        let height = TOP + lanes.len() as f64 * LANE + AXIS;
        let span = self.span_ms.max(1_000) as f64;
        let x_at = |at_ms: u64| LEFT + (at_ms as f64 / span).min(1.0) * (WIDTH - LEFT - RIGHT);
        let drawing = html! {
            g class="lanes" data-lanes data-span=(px(span)) data-left=(LEFT) data-right=(WIDTH - RIGHT) data-bottom=(px(height - AXIS)) {
                @for (place, lane) in lanes.iter().enumerate() { (drawn(lane, TOP + place as f64 * LANE, &x_at)) }
                g data-marks {
                    @for flag in self.flags.iter().take(FLAGS_MAX) {
                        @let x = px(x_at(flag.at_ms));
                        line class=(format!("mark {}", flag.class)) x1=(x) x2=(x) y1=(TOP - 4.0) y2=(px(height - AXIS)) {}
                        text class=(format!("sign {}", flag.class)) x=(x) y="10" text-anchor="middle" { (sign(flag.class)) title { (clock(flag.at_ms)) " " (words(&flag.text, 120)) } }
                    }
                }
                @for step in 0..=6_u8 {
                    @let share = f64::from(step) / 6.0;
                    text class="tick" data-share=(format!("{share:.4}")) x=(px(LEFT + share * (WIDTH - LEFT - RIGHT))) y=(px(height - 8.0))
                        text-anchor=(if step == 6 { "end" } else { "middle" }) { (clock(millis(span * share))) }
                }
            }
        };
        let parts = lanes.iter().take(8).map(|lane| {
            let last = lane.stretches.last().map_or(f64::NAN, |stretch| stretch.last);
            format!("{} {} {}", words(&lane.name, 40), number(last), lane.unit)
        });
        let description = format!(
            "{} signals over {}; {} marks. At last: {}.",
            lanes.len(),
            clock(self.span_ms),
            self.flags.len(),
            parts.collect::<Vec<_>>().join(", ")
        );
        let legend = html! {
            span class="key" { svg viewBox="0 0 28 8" aria-hidden="true" { line class="line fact" x1="0" x2="28" y1="4" y2="4" {} } "fact: what the kernel told" }
            span class="key" { svg viewBox="0 0 28 8" aria-hidden="true" { line class="line claim" x1="0" x2="28" y1="4" y2="4" {} } "claim: what the job said, unchecked" }
            @for (class, word) in [("checkpoint", "file written"), ("refusal", "refused"), ("limit", "limit"), ("alert", "alert")] {
                span class="key" { svg viewBox="0 0 14 14" class="swatch" aria-hidden="true" { text class=(format!("sign {class}")) x="7" y="11" text-anchor="middle" { (sign(class)) } } (word) }
            }
        };
        let table = self.table(&lanes);
        Figure {
            id: self.id,
            role: "img",
            title: self.title,
            description,
            size: (WIDTH, height),
            drawing,
            legend,
            table,
        }
        .draw()
    }

    fn table(&self, lanes: &[&Lane]) -> Markup {
        html! {
            p class="quiet" { "Least to greatest value in each of " (TABLE_ROWS) " equal stretches of time." }
            div class="scroll" tabindex="0" role="group" aria-label=(format!("Figures: {}", self.title)) {
                table {
                    thead { tr { th scope="col" { "from" } @for lane in lanes { th scope="col" { bdi { (words(&lane.name, 40)) } " " (lane.unit) } } } }
                    tbody { @for row in 0..TABLE_ROWS as u64 {
                        @let from = self.span_ms / TABLE_ROWS as u64 * row;
                        @let to = self.span_ms / TABLE_ROWS as u64 * (row + 1);
                        tr { th scope="row" { (clock(from)) } @for lane in lanes { td { (between(lane, from, to)) } } }
                    } }
                }
            }
        }
    }
}

fn drawn(lane: &Lane, top: f64, x_at: &dyn Fn(u64) -> f64) -> Markup {
    let points = fewer(&lane.stretches);
    let low = points.iter().map(|point| point.low).fold(f64::INFINITY, f64::min);
    let high = points.iter().map(|point| point.high).fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
    let room = if high > low { high - low } else { 1.0 };
    let y_at = |value: f64| {
        let share = (value - low) / room;
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        top + LANE - GAP - share * (LANE - 2.0 * GAP)
    };
    let spread = points.iter().any(|point| y_at(point.low) - y_at(point.high) > 1.0);
    let above = points.iter().map(|point| (x_at(point.at_ms).round(), y_at(point.high)));
    let below = points.iter().rev().map(|point| (x_at(point.at_ms).round(), y_at(point.low)));
    let latest = points.last().map_or(f64::NAN, |point| point.last);
    html! {
        g class=(if lane.claimed { "claim" } else { "fact" }) data-lane=(words(&lane.key, 80)) data-low=(low) data-high=(high)
            data-top=(px(top + GAP)) data-floor=(px(top + LANE - GAP)) {
            text class="label" x="0" y=(px(top + 22.0)) { (words(&lane.name, 22)) }
            text class="tick" x="0" y=(px(top + 38.0)) { tspan data-latest { (number(latest)) } " " (lane.unit) " · " (if lane.claimed { "claim" } else { "fact" }) }
            text class="tick" data-high-label x=(LEFT - 6.0) y=(px(top + GAP + 9.0)) text-anchor="end" { (number(high)) }
            text class="tick" data-low-label x=(LEFT - 6.0) y=(px(top + LANE - GAP)) text-anchor="end" { (number(low)) }
            line class="grid" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(top + LANE - 1.0)) y2=(px(top + LANE - 1.0)) {}
            @if spread { polygon class="band" points=(path(above.chain(below))) {} }
            polyline class="line" points=(path(points.iter().map(|point| (x_at(point.at_ms).round(), y_at(point.last))))) {}
        }
    }
}

/// At most [`STRETCHES_MAX`] stretches, extremes kept.
pub fn fewer(stretches: &[Stretch]) -> Vec<Stretch> {
    let whole = |stretch: &&Stretch| stretch.low.is_finite() && stretch.high.is_finite() && stretch.last.is_finite();
    let finite: Vec<Stretch> = stretches.iter().filter(whole).copied().collect();
    let joined = |part: &[Stretch]| {
        let (first, last) = (part.first()?, part.last()?);
        let low = part.iter().map(|stretch| stretch.low).fold(f64::INFINITY, f64::min);
        let high = part.iter().map(|stretch| stretch.high).fold(f64::NEG_INFINITY, f64::max);
        Some(Stretch { at_ms: first.at_ms, low, high, last: last.last })
    };
    finite.chunks(finite.len().div_ceil(STRETCHES_MAX).max(1)).filter_map(joined).collect()
}

fn between(lane: &Lane, from: u64, to: u64) -> String {
    let inside = || lane.stretches.iter().filter(|stretch| (from..to).contains(&stretch.at_ms));
    let low = inside().map(|stretch| stretch.low).filter(|value| value.is_finite()).fold(f64::INFINITY, f64::min);
    let high = inside().map(|stretch| stretch.high).filter(|value| value.is_finite()).fold(f64::NEG_INFINITY, f64::max);
    if low.is_finite() && high > low { format!("{} to {}", number(low), number(high)) } else { number(low) }
}

/// The sign of a kind of mark; signs differ in shape, not only in colour.
pub fn sign(class: &str) -> &'static str {
    match class {
        "checkpoint" => "◆",
        "refusal" => "✘",
        "limit" => "▲",
        "alert" => "⚠",
        _ => "•",
    }
}

/// `m:ss`, or `h:mm:ss`.
pub fn clock(millis: u64) -> String {
    ringfence_engine::history::clock(millis)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and far below 2^53")]
fn millis(value: f64) -> u64 {
    value as u64
}
