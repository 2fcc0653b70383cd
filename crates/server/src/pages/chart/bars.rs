//! Stacked bars: one a day, or one a label.

use maud::{Markup, html};

use super::{super::parts::words, Figure, Scale, number, px};

/// What one bar is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// What it stands for, such as the day `2026-11-21`.
    pub label: String,
    /// How many of each kind, in the order of [`Bars::kinds`].
    pub counts: Vec<u64>,
}

/// Stacked bars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bars<'a> {
    /// Unique on the page.
    pub id: &'a str,
    /// What it shows.
    pub title: &'a str,
    /// What is stacked, lowest first, with the class of each: `good`, `warn`, `bad`.
    pub kinds: Vec<(&'a str, &'a str)>,
    /// The bars, such as days, oldest first; the last [`BARS_MAX`] are shown.
    pub bars: Vec<Bar>,
}

/// Bars in one picture.
pub const BARS_MAX: usize = 60;
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 30.0;

impl Bars<'_> {
    /// The chart.
    pub fn draw(&self) -> Markup {
        let bars = self.bars.get(self.bars.len().saturating_sub(BARS_MAX)..).unwrap_or_default();
        let total = |bar: &Bar| bar.counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
        let most = bars.iter().map(total).max().unwrap_or(0).max(1);
        let y = Scale::new(std::iter::empty(), Some((0.0, most as f64)), (HEIGHT - BOTTOM, TOP), false);
        let step = (WIDTH - LEFT - RIGHT) / bars.len().max(1) as f64;
        let labels = bars.len().div_ceil(6).max(1);
        let drawing = html! {
            @for tick in [0, most.div_ceil(2), most] {
                line class="grid" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(y.at(tick as f64))) y2=(px(y.at(tick as f64))) {}
                text class="tick" x=(LEFT - 6.0) y=(px(y.at(tick as f64) + 4.0)) text-anchor="end" { (tick) }
            }
            @for (place, bar) in bars.iter().enumerate() {
                @let left = LEFT + place as f64 * step;
                @for (class, below, count) in stack(&self.kinds, bar) {
                    rect class=(class) x=(px(left + step * 0.1)) width=(px((step * 0.8).max(1.0))) y=(px(y.at((below + count) as f64)))
                        height=(px((y.at(below as f64) - y.at((below + count) as f64)).max(0.5))) { title { (words(&bar.label, 20)) ": " (count) } }
                }
                @if place % labels == 0 { text class="tick" x=(px(left)) y=(HEIGHT - 10.0) { (words(short(&bar.label), 12)) } }
            }
        };
        let sums = self.kinds.iter().enumerate().map(|(place, (name, _))| {
            let sum = bars
                .iter()
                .filter_map(|bar| bar.counts.get(place))
                .fold(0_u64, |sum, count| sum.saturating_add(*count));
            format!("{sum} {name}")
        });
        let description = format!("{} bars: {}.", bars.len(), sums.collect::<Vec<_>>().join(", "));
        let legend = html! {
            @for (name, class) in &self.kinds {
                span class="key" { svg viewBox="0 0 12 12" class="swatch" aria-hidden="true" { rect class=(format!("bar {class}")) width="12" height="12" {} } (name) }
            }
        };
        Figure {
            id: self.id,
            role: "img",
            title: self.title,
            description,
            size: (WIDTH, HEIGHT),
            drawing,
            legend,
            table: self.table(bars),
        }
        .draw()
    }

    fn table(&self, bars: &[Bar]) -> Markup {
        html! {
            div class="scroll" tabindex="0" role="group" aria-label=(format!("Figures: {}", self.title)) {
                table {
                    thead { tr { th scope="col" { "of" } @for (name, _) in &self.kinds { th scope="col" { (name) } } } }
                    tbody { @for bar in bars { tr {
                        th scope="row" { (words(&bar.label, 20)) }
                        @for count in &bar.counts { td { (number(*count as f64)) } }
                    } } }
                }
            }
        }
    }
}

/// Class, what lies below, and count of each part of a bar that is there.
fn stack(kinds: &[(&str, &str)], bar: &Bar) -> Vec<(String, u64, u64)> {
    let mut below = 0_u64;
    let mut parts = Vec::new();
    for ((_, class), count) in kinds.iter().zip(&bar.counts) {
        if *count > 0 {
            parts.push((format!("bar {class}"), below, *count));
        }
        below = below.saturating_add(*count);
    }
    parts
}

/// A day without its year.
fn short(label: &str) -> &str {
    let day = label.len() == 10 && label.as_bytes().get(4) == Some(&b'-');
    if day { label.get(5..).unwrap_or(label) } else { label }
}
