//! Lines over an axis: robustness curves, training curves, ROC curves.

use maud::{Markup, html};

use super::{super::parts::words, Figure, LABEL_CHARS_MAX, Scale, number, path, px, series_class, thin::thinned};

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What it shows.
    pub name: String,
    /// Points by rising x.
    pub points: Vec<(f64, f64)>,
    /// Around the points, where known: x, low, high.
    pub band: Vec<(f64, f64, f64)>,
}

/// One axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis<'a> {
    /// Name and unit.
    pub label: &'a str,
    /// From the data if absent.
    pub range: Option<(f64, f64)>,
    /// Powers of ten at equal distances; what is not above zero stands at the edge.
    pub log: bool,
}

/// Several lines over the same axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart<'a> {
    /// Unique on the page.
    pub id: &'a str,
    /// What it shows.
    pub title: &'a str,
    /// The horizontal axis.
    pub x: Axis<'a>,
    /// The vertical axis.
    pub y: Axis<'a>,
    /// The lines, at most [`SERIES_MAX`].
    pub series: Vec<Series>,
    /// Whether x = y is drawn: what guessing gives in a ROC curve.
    pub diagonal: bool,
}

/// Lines in one picture; more are left to the table.
pub const SERIES_MAX: usize = 8;
/// Points of one line.
pub const POINTS_MAX: usize = 200;
const ROWS_MAX: usize = 60;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 48.0;

impl Chart<'_> {
    /// The chart.
    pub fn draw(&self) -> Markup {
        let shown = || self.series.iter().take(SERIES_MAX);
        let x = Scale::new(
            shown().flat_map(|series| series.points.iter().map(|point| point.0)),
            self.x.range,
            (LEFT, WIDTH - RIGHT),
            self.x.log,
        );
        let bands = shown().flat_map(|series| series.band.iter().flat_map(|(_, low, high)| [*low, *high]));
        let y = Scale::new(
            shown().flat_map(|series| series.points.iter().map(|point| point.1)).chain(bands),
            self.y.range,
            (HEIGHT - BOTTOM, TOP),
            self.y.log,
        );
        let drawing = html! {
            (self.axes(&x, &y))
            @if self.diagonal {
                polyline class="guess" points=(path(diagonal(&x).into_iter().map(|value| (x.at(value), y.at(value))))) {}
            }
            @for (place, series) in shown().enumerate() {
                @if !series.band.is_empty() {
                    polygon class=(format!("band {}", series_class(place))) points=(band(series, &x, &y)) {}
                }
                @let points = thinned(&series.points, POINTS_MAX);
                polyline class=(format!("line {}", series_class(place)))
                    points=(path(points.iter().map(|point| (x.at(point.0), y.at(point.1))))) {}
                @if points.len() <= 40 {
                    @for point in &points {
                        circle class=(format!("dot {}", series_class(place))) cx=(px(x.at(point.0))) cy=(px(y.at(point.1))) r="3" {
                            title { (words(&series.name, LABEL_CHARS_MAX)) ": " (number(point.0)) ", " (number(point.1)) }
                        }
                    }
                }
            }
        };
        let figure = Figure {
            id: self.id,
            role: "img",
            title: self.title,
            description: self.describe(),
            size: (WIDTH, HEIGHT),
            drawing,
            legend: self.legend(),
            table: self.table(),
        };
        figure.draw()
    }

    fn axes(&self, x: &Scale, y: &Scale) -> Markup {
        let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
        html! {
            @for tick in y.ticks() {
                line class="grid" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(y.at(tick))) y2=(px(y.at(tick))) {}
                text class="tick" x=(LEFT - 6.0) y=(px(y.at(tick) + 4.0)) text-anchor="end" { (number(tick)) }
            }
            @for tick in x.ticks() {
                text class="tick" x=(px(x.at(tick))) y=(HEIGHT - BOTTOM + 18.0) text-anchor="middle" { (number(tick)) }
            }
            text class="axis" x=(px(f64::midpoint(LEFT, WIDTH - RIGHT))) y=(HEIGHT - 8.0) text-anchor="middle" { (words(self.x.label, LABEL_CHARS_MAX)) }
            text class="axis" x="14" y=(px(middle)) text-anchor="middle" transform=(format!("rotate(-90 14 {})", px(middle))) { (words(self.y.label, LABEL_CHARS_MAX)) }
        }
    }

    fn describe(&self) -> String {
        let mut parts = vec![format!("{} against {}.", self.y.label, self.x.label)];
        for series in self.series.iter().take(SERIES_MAX) {
            let finite = || series.points.iter().filter(|point| point.0.is_finite() && point.1.is_finite());
            if let (Some(first), Some(last)) = (finite().next(), finite().next_back()) {
                parts.push(format!(
                    "{}: from {} at {} to {} at {}.",
                    words(&series.name, LABEL_CHARS_MAX),
                    number(first.1),
                    number(first.0),
                    number(last.1),
                    number(last.0)
                ));
            }
        }
        parts.join(" ")
    }

    fn legend(&self) -> Markup {
        html! {
            @for (place, series) in self.series.iter().take(SERIES_MAX).enumerate() {
                span class="key" {
                    svg viewBox="0 0 28 8" aria-hidden="true" { line class=(format!("line {}", series_class(place))) x1="0" x2="28" y1="4" y2="4" {} }
                    bdi { (words(&series.name, LABEL_CHARS_MAX)) }
                }
            }
            @if self.diagonal { span class="key" { svg viewBox="0 0 28 8" aria-hidden="true" { line class="guess" x1="0" x2="28" y1="4" y2="4" {} } "guessing" } }
            @if self.series.len() > SERIES_MAX { span class="key" { (self.series.len() - SERIES_MAX) " more only in the table" } }
        }
    }

    fn table(&self) -> Markup {
        html! {
            div class="scroll" tabindex="0" role="group" aria-label=(format!("Figures: {}", self.title)) {
                table {
                    thead { tr { th scope="col" { "line" } th scope="col" { (words(self.x.label, LABEL_CHARS_MAX)) } th scope="col" { (words(self.y.label, LABEL_CHARS_MAX)) } th scope="col" { "interval" } } }
                    tbody {
                        @for series in &self.series {
                            @for point in thinned(&series.points, ROWS_MAX) {
                                tr {
                                    th scope="row" { bdi { (words(&series.name, LABEL_CHARS_MAX)) } }
                                    td { (number(point.0)) } td { (number(point.1)) }
                                    td { @if let Some((_, low, high)) = series.band.iter().find(|band| (band.0 - point.0).abs() < 1e-12) {
                                        (number(*low)) " – " (number(*high)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn band(series: &Series, x: &Scale, y: &Scale) -> String {
    let finite = || {
        let whole = |(at, low, high): &&(f64, f64, f64)| at.is_finite() && low.is_finite() && high.is_finite();
        series.band.iter().filter(whole).take(POINTS_MAX)
    };
    let above = finite().map(|(at, _, high)| (x.at(*at), y.at(*high)));
    let below: Vec<(f64, f64)> = finite().map(|(at, low, _)| (x.at(*at), y.at(*low))).collect();
    path(above.chain(below.into_iter().rev()))
}

/// Enough points that x = y is a curve where only one axis is logarithmic.
fn diagonal(x: &Scale) -> Vec<f64> {
    (0..=32_u8)
        .map(|step| {
            let share = f64::from(step) / 32.0;
            if x.log {
                (x.low.ln() + (x.high.ln() - x.low.ln()) * share).exp()
            } else {
                x.low + (x.high - x.low) * share
            }
        })
        .collect()
}
