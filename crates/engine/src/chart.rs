//! Line charts as inline SVG: one look, readable without colour, with a text alternative.
//!
//! Series differ by dash and marker as well as by colour. Numbers are formatted once, so that the same data give the same
//! bytes.

use maud::{Markup, html};

/// One line of a chart.
pub(crate) struct Series {
    /// What it shows.
    pub(crate) name: String,
    /// Points by rising x; values that are not finite are left out.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A chart of several lines over the same axes.
pub(crate) struct Chart<'a> {
    /// What the chart shows, for those who cannot see it.
    pub(crate) title: &'a str,
    /// Name and unit of the horizontal axis.
    pub(crate) x: &'a str,
    /// Name and unit of the vertical axis.
    pub(crate) y: &'a str,
    /// Range of the vertical axis; from the data if absent.
    pub(crate) range: Option<(f64, f64)>,
    /// The lines.
    pub(crate) series: Vec<Series>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 44.0;
const DASHES: [&str; 4] = ["none", "6 4", "2 3", "10 3 2 3"];

impl Chart<'_> {
    /// The chart with its legend and, folded away, its figures as a table.
    pub(crate) fn draw(&self) -> Markup {
        let points = || self.series.iter().flat_map(|series| &series.points).filter(|(x, y)| (x + y).is_finite());
        let (x_low, x_high) = span(points().map(|point| point.0), None);
        let (y_low, y_high) = span(points().map(|point| point.1), self.range);
        let x_at = |x: f64| LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT);
        let y_at = |y: f64| HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM);
        let ticks = |low: f64, high: f64| (0..=4).map(move |step| low + (high - low) * f64::from(step) / 4.0);
        html! {
            figure {
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.title) {
                    @for tick in ticks(y_low, y_high) {
                        line class="grid" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(y_at(tick))) y2=(px(y_at(tick))) {}
                        text class="tick" x=(LEFT - 6.0) y=(px(y_at(tick) + 4.0)) text-anchor="end" { (number(tick)) }
                    }
                    @for tick in ticks(x_low, x_high) {
                        text class="tick" x=(px(x_at(tick))) y=(HEIGHT - BOTTOM + 16.0) text-anchor="middle" { (number(tick)) }
                    }
                    text class="axis" x=((LEFT + WIDTH - RIGHT) / 2.0) y=(HEIGHT - 6.0) text-anchor="middle" { (self.x) }
                    text class="axis" x="12" y=(HEIGHT / 2.0) text-anchor="middle"
                        transform=(format!("rotate(-90 12 {})", HEIGHT / 2.0)) { (self.y) }
                    @for (place, series) in self.series.iter().enumerate() {
                        polyline class=(format!("line s{}", place % 4)) stroke-dasharray=(DASHES[place % 4])
                            points=(series.points.iter().filter(|(x, y)| (x + y).is_finite())
                                .map(|(x, y)| format!("{},{}", px(x_at(*x)), px(y_at(*y)))).collect::<Vec<_>>().join(" ")) {}
                        @for (x, y) in series.points.iter().filter(|(x, y)| (x + y).is_finite()) {
                            circle class=(format!("dot s{}", place % 4)) cx=(px(x_at(*x))) cy=(px(y_at(*y))) r="2.5" {
                                title { (series.name) ": " (number(*x)) ", " (number(*y)) }
                            }
                        }
                    }
                }
                figcaption {
                    @for (place, series) in self.series.iter().enumerate() {
                        span class="key" {
                            svg viewBox="0 0 28 8" aria-hidden="true" {
                                line class=(format!("line s{}", place % 4)) stroke-dasharray=(DASHES[place % 4]) x1="0" x2="28" y1="4" y2="4" {}
                            }
                            (series.name)
                        }
                    }
                    details { summary { "figures" } (self.table()) }
                }
            }
        }
    }

    fn table(&self) -> Markup {
        html! {
            table {
                tr { th { (self.x) } @for series in &self.series { th { (series.name) } } }
                @for (row, x) in self.series.first().map(|first| &first.points).into_iter().flatten().enumerate() {
                    tr {
                        td { (number(x.0)) }
                        @for series in &self.series {
                            td { @if let Some(point) = series.points.get(row) { (number(point.1)) } }
                        }
                    }
                }
            }
        }
    }
}

/// Least and greatest of `values`, never the same.
fn span(values: impl Iterator<Item = f64>, fixed: Option<(f64, f64)>) -> (f64, f64) {
    let (low, high) = fixed.unwrap_or_else(|| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    });
    match (low.is_finite() && high.is_finite(), high > low) {
        (true, true) => (low, high),
        (true, false) => (low - 0.5, low + 0.5),
        (false, _) => (0.0, 1.0),
    }
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

/// At most four significant digits, without a useless tail.
pub(crate) fn number(value: f64) -> String {
    let text = if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
