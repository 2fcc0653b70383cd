//! Plots with intervals, logarithmic axes and bars as inline SVG; [`crate::chart`] has the plain lines.
//!
//! Each has a title and a description for those who cannot see it, and its figures stand in a table below. Lines differ by dash as
//! well as by colour. What is not finite is left out; what a logarithmic axis cannot show lies on its lower edge.

use maud::{Markup, html};

use crate::chart::number;

/// How values lie along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Evenly.
    Linear,
    /// By powers of ten.
    Log,
}

/// One axis.
pub(crate) struct Axis<'a> {
    /// Name and unit.
    pub(crate) name: &'a str,
    /// How values lie.
    pub(crate) scale: Scale,
    /// From where to where; by the data if absent.
    pub(crate) range: Option<(f64, f64)>,
}

/// A point with its interval.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// Along the horizontal axis.
    pub(crate) x: f64,
    /// Along the vertical one.
    pub(crate) y: f64,
    /// 95 % interval of `y`.
    pub(crate) interval: Option<[f64; 2]>,
}

/// One line.
pub(crate) struct Line {
    /// What it shows.
    pub(crate) name: String,
    /// Its points by rising x.
    pub(crate) marks: Vec<Mark>,
    /// Whether each point is a measurement of its own, drawn with a dot and its interval.
    pub(crate) dotted: bool,
}

/// Lines over the same axes.
pub(crate) struct Plot<'a> {
    /// A name for this plot that no other on the page has: small letters.
    pub(crate) id: &'a str,
    /// What it shows.
    pub(crate) title: &'a str,
    /// The horizontal axis.
    pub(crate) x: Axis<'a>,
    /// The vertical axis.
    pub(crate) y: Axis<'a>,
    /// The lines; four can be told apart.
    pub(crate) lines: Vec<Line>,
}

/// One bar.
pub(crate) struct Bar<'a> {
    /// What it shows.
    pub(crate) name: &'a str,
    /// 0..1.
    pub(crate) share: f64,
    /// 95 % interval.
    pub(crate) interval: [f64; 2],
    /// Whether it is the one that counts.
    pub(crate) chief: bool,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 44.0;
const DASHES: [&str; 4] = ["none", "6 4", "2 3", "10 3 2 3"];
/// Least value of a logarithmic axis, as a share of its greatest.
const LOG_SPAN_MAX: f64 = 1e-9;
const BAR: f64 = 26.0;
const NAMES: f64 = 190.0;

/// An axis with its ends.
struct Ruler {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Ruler {
    fn new(axis: &Axis<'_>, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = axis.range.unwrap_or_else(|| {
            let fits = |value: &f64| value.is_finite() && (axis.scale == Scale::Linear || *value > 0.0);
            let ends = (f64::INFINITY, f64::NEG_INFINITY);
            values.filter(fits).fold(ends, |(low, high), value| (low.min(value), high.max(value)))
        });
        let (low, high) = match (low.is_finite() && high.is_finite(), axis.scale) {
            (false, Scale::Linear) => (0.0, 1.0),
            (false, Scale::Log) => (0.1, 1.0),
            (true, Scale::Linear) if high > low => (low, high),
            (true, Scale::Linear) => (low - 0.5, low + 0.5),
            (true, Scale::Log) => {
                let high = high.max(f64::MIN_POSITIVE);
                let low = low.clamp(high * LOG_SPAN_MAX, high);
                (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()).max(low * 10.0))
            }
        };
        Self { scale: axis.scale, low, high }
    }

    /// Where a value lies, 0..1.
    fn at(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => (0..=4).map(|step| self.low + (self.high - self.low) * f64::from(step) / 4.0).collect(),
            Scale::Log => {
                let powers = (self.high / self.low).log10().round().max(1.0);
                let apart = (powers / 6.0).ceil().max(1.0);
                let power = |step: i32| self.low * 10_f64.powf(f64::from(step) * apart);
                (0..=6).map(power).take_while(|tick| *tick <= self.high * 1.001).collect()
            }
        }
    }
}

impl Plot<'_> {
    /// The plot with its legend and its figures.
    pub(crate) fn draw(&self) -> Markup {
        let marks = || self.lines.iter().flat_map(|line| &line.marks);
        let (across, up) =
            (Ruler::new(&self.x, marks().map(|mark| mark.x)), Ruler::new(&self.y, marks().map(|mark| mark.y)));
        let x_at = |x: f64| LEFT + across.at(x) * (WIDTH - LEFT - RIGHT);
        let y_at = |y: f64| HEIGHT - BOTTOM - up.at(y) * (HEIGHT - TOP - BOTTOM);
        let about = self.lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>().join(", ");
        html! {
            figure {
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby=(format!("{0}-title {0}-about", self.id)) {
                    title id=(format!("{}-title", self.id)) { (self.title) }
                    desc id=(format!("{}-about", self.id)) { (self.y.name) " against " (self.x.name) ": " (about) ". The figures are in the table below." }
                    @for tick in up.ticks() {
                        line class="grid" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(y_at(tick))) y2=(px(y_at(tick))) {}
                        text class="tick" x=(LEFT - 6.0) y=(px(y_at(tick) + 4.0)) text-anchor="end" { (short(tick, self.y.scale)) }
                    }
                    @for tick in across.ticks() {
                        line class="grid" x1=(px(x_at(tick))) x2=(px(x_at(tick))) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
                        text class="tick" x=(px(x_at(tick))) y=(HEIGHT - BOTTOM + 16.0) text-anchor="middle" { (short(tick, self.x.scale)) }
                    }
                    text class="axis" x=((LEFT + WIDTH - RIGHT) / 2.0) y=(HEIGHT - 6.0) text-anchor="middle" { (self.x.name) }
                    text class="axis" x="12" y=(HEIGHT / 2.0) text-anchor="middle" transform=(format!("rotate(-90 12 {})", HEIGHT / 2.0)) { (self.y.name) }
                    @for (place, line) in self.lines.iter().enumerate() { (drawn(line, place % DASHES.len(), &x_at, &y_at)) }
                }
                figcaption {
                    @for (place, line) in self.lines.iter().enumerate() {
                        span class="key" {
                            svg viewBox="0 0 28 8" aria-hidden="true" {
                                line class=(format!("line s{}", place % 4)) stroke-dasharray=(dash(place)) x1="0" x2="28" y1="4" y2="4" {}
                            }
                            (line.name)
                        }
                    }
                    (self.table())
                }
            }
        }
    }

    fn table(&self) -> Markup {
        html! {
            details {
                summary { "figures" }
                table {
                    caption { (self.title) }
                    thead { tr { th scope="col" { "line" } th scope="col" { (self.x.name) } th scope="col" { (self.y.name) } th scope="col" { "95 % interval" } } }
                    tbody { @for line in &self.lines { @for mark in seen(line) {
                        tr {
                            th scope="row" { (line.name) }
                            td { (short(mark.x, self.x.scale)) } td { (short(mark.y, self.y.scale)) }
                            td { @if let Some([low, high]) = mark.interval { (number(low)) " – " (number(high)) } }
                        }
                    } } }
                }
            }
        }
    }
}

fn seen(line: &Line) -> impl Iterator<Item = &Mark> {
    line.marks.iter().filter(|mark| mark.x.is_finite() && mark.y.is_finite())
}

fn dash(place: usize) -> &'static str {
    DASHES.get(place % DASHES.len()).copied().unwrap_or("none")
}

fn drawn(line: &Line, place: usize, x_at: &dyn Fn(f64) -> f64, y_at: &dyn Fn(f64) -> f64) -> Markup {
    let points: Vec<String> = seen(line).map(|mark| format!("{},{}", px(x_at(mark.x)), px(y_at(mark.y)))).collect();
    html! {
        polyline class=(format!("line s{place}")) stroke-dasharray=(dash(place)) points=(points.join(" ")) {}
        @if line.dotted { @for mark in seen(line) {
            @if let Some([low, high]) = mark.interval.filter(|ends| ends.iter().all(|end| end.is_finite())) {
                line class=(format!("whisker s{place}")) x1=(px(x_at(mark.x))) x2=(px(x_at(mark.x))) y1=(px(y_at(low))) y2=(px(y_at(high))) {}
            }
            circle class=(format!("dot s{place}")) cx=(px(x_at(mark.x))) cy=(px(y_at(mark.y))) r="3" {
                title { (line.name) ": " (number(mark.x)) ", " (number(mark.y)) }
            }
        } }
    }
}

/// Horizontal bars of shares.
pub(crate) fn bars(id: &str, title: &str, bars: &[Bar<'_>]) -> Markup {
    let height = bars.len() as f64 * BAR + 24.0;
    let x_at = |share: f64| {
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        NAMES + share * (WIDTH - NAMES - RIGHT - 40.0)
    };
    html! {
        figure {
            svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-labelledby=(format!("{id}-title {id}-about")) {
                title id=(format!("{id}-title")) { (title) }
                desc id=(format!("{id}-about")) { @for bar in bars { (bar.name) " " (percent(bar.share)) "; " } }
                @for step in 0..=4_u8 {
                    @let share = f64::from(step) / 4.0;
                    line class="grid" x1=(px(x_at(share))) x2=(px(x_at(share))) y1="0" y2=(px(height - 20.0)) {}
                    text class="tick" x=(px(x_at(share))) y=(px(height - 6.0)) text-anchor="middle" { (percent(share)) }
                }
                @for (place, bar) in bars.iter().enumerate() {
                    @let top = place as f64 * BAR;
                    text class=(if bar.chief { "name chief" } else { "name" }) x=(NAMES - 8.0) y=(px(top + 17.0)) text-anchor="end" { (cut(bar.name)) }
                    rect class=(if bar.chief { "bar chief" } else { "bar" }) x=(NAMES) y=(px(top + 5.0)) width=(px(x_at(bar.share) - NAMES)) height=(px(BAR - 10.0)) {}
                    line class="whisker" x1=(px(x_at(bar.interval[0]))) x2=(px(x_at(bar.interval[1]))) y1=(px(top + BAR / 2.0)) y2=(px(top + BAR / 2.0)) {}
                    text class="tick" x=(px(x_at(bar.interval[1].max(bar.share)) + 6.0)) y=(px(top + 17.0)) { (percent(bar.share)) }
                }
            }
        }
    }
}

/// What fits beside a bar.
fn cut(name: &str) -> String {
    if name.chars().count() <= NAME_CHARS_MAX {
        name.to_owned()
    } else {
        name.chars().take(NAME_CHARS_MAX - 1).chain(['…']).collect()
    }
}

const NAME_CHARS_MAX: usize = 26;

fn px(value: f64) -> String {
    format!("{value:.1}")
}

/// A share, to be read.
pub(crate) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1} %", share * 100.0) } else { "–".into() }
}

/// A number along an axis.
fn short(value: f64, scale: Scale) -> String {
    match scale {
        Scale::Log if value < 0.001 => format!("{value:.0e}"),
        Scale::Log if value >= 10_000.0 => format!("{value:.3e}").replace(".000", ""),
        Scale::Log | Scale::Linear => number(value),
    }
}
