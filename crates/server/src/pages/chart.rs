//! Pictures of figures as inline SVG: one look, a text alternative, the same figures as a table.
//!
//! [`line`]: series over an axis, linear or logarithmic, ROC curves too; [`lanes`]: many signals over one time axis; [`bars`]:
//! stacked by day; [`calendar`]: activity; [`dots`]: values with their intervals; [`dag`]: what came from what. [`thin`] keeps
//! every picture small.
//!
//! What must stay true: values that are not finite are left out, never drawn; no picture has more than a bounded number of
//! points; nothing is said by colour alone; looks are classes of the style sheet, because the content security policy
//! allows no inline style.

pub mod bars;
pub mod calendar;
pub mod dag;
pub mod dots;
pub mod lanes;
pub mod line;
pub mod thin;

use maud::{Markup, html};

use super::parts::words;

/// Characters of a label in a picture.
pub(crate) const LABEL_CHARS_MAX: usize = 48;

/// A picture with its text alternative and, folded away, its figures.
#[derive(Debug)]
pub(crate) struct Figure<'a> {
    /// Unique on the page.
    pub(crate) id: &'a str,
    /// What it shows.
    pub(crate) title: &'a str,
    /// What can be read from it, in a sentence or two.
    pub(crate) description: String,
    /// `img`, or `group` where parts of it are links.
    pub(crate) role: &'static str,
    /// Width and height of its coordinates.
    pub(crate) size: (f64, f64),
    /// What is drawn.
    pub(crate) drawing: Markup,
    /// What the lines are called.
    pub(crate) legend: Markup,
    /// The same as a table.
    pub(crate) table: Markup,
}

impl Figure<'_> {
    /// The figure. Pictures keep their size on narrow screens and scroll, so that labels stay readable.
    pub(crate) fn draw(self) -> Markup {
        let (title, description) = (format!("{}-title", self.id), format!("{}-desc", self.id));
        let (width, height) = self.size;
        html! {
            figure id=(self.id) {
                div class="scroll" tabindex="0" role="group" aria-label=(self.title) {
                    svg viewBox=(format!("0 0 {width} {height}")) role=(self.role) aria-labelledby=(title) aria-describedby=(description) {
                        title id=(title) { (words(self.title, 200)) }
                        desc id=(description) { (words(&self.description, 600)) }
                        (self.drawing)
                    }
                }
                figcaption {
                    (self.legend)
                    details { summary { "Figures as a table" } (self.table) }
                }
            }
        }
    }
}

/// From values to places on an axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// An axis from `from` to `to` that holds all finite `values`, or the fixed `range`.
    pub(crate) fn new(
        values: impl Iterator<Item = f64>,
        range: Option<(f64, f64)>,
        (from, to): (f64, f64),
        log: bool,
    ) -> Self {
        let usable = |value: &f64| value.is_finite() && (!log || *value > 0.0);
        let found = values
            .filter(usable)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = range.unwrap_or(found);
        let (low, high) = match (low.is_finite() && high.is_finite(), high > low) {
            (true, true) => (low, high),
            (true, false) if log => (low / 2.0, low * 2.0),
            (true, false) => (low - 0.5, low + 0.5),
            (false, _) if log => (1e-3, 1.0),
            (false, _) => (0.0, 1.0),
        };
        Self { low, high, from, to, log }
    }

    /// Where `value` is; outside values stand at the edge.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low).ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        self.from + share * (self.to - self.from)
    }

    /// Values to label: five, or the powers of ten.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        if self.log {
            #[expect(clippy::cast_possible_truncation, reason = "exponents of finite doubles are below 400")]
            let (first, last) = (self.low.log10().ceil() as i32, self.high.log10().floor() as i32);
            return (first..=last).take(TICKS_MAX).map(|power| 10_f64.powi(power)).collect();
        }
        (0..=4_u8).map(|step| self.low + (self.high - self.low) * f64::from(step) / 4.0).collect()
    }
}

const TICKS_MAX: usize = 12;

/// A coordinate with at most one decimal.
pub(crate) fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// `x,y x,y …`
pub(crate) fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    points.map(|(x, y)| format!("{},{}", px(x), px(y))).collect::<Vec<_>>().join(" ")
}

/// A number with four significant digits at most; a dash for what is none.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let size = value.abs();
    if size >= 1e7 || (size > 0.0 && size < 1e-3) {
        return format!("{value:.2e}");
    }
    let text = match size {
        1_000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Class of the n-th series; looks repeat after four.
pub(crate) fn series_class(place: usize) -> &'static str {
    ["s0", "s1", "s2", "s3"].get(place % 4).copied().unwrap_or("s0")
}

#[cfg(test)]
mod tests {
    use super::{Scale, number};

    #[test]
    fn numbers_for_people() {
        for (value, text) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (0.000_012, "1.20e-5"),
            (123_456.0, "123456"),
            (123.45, "123.5"),
            (f64::NAN, "–"),
            (f64::INFINITY, "–"),
            (-2.25, "-2.25"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn scales_survive_what_is_no_number() {
        for values in [vec![], vec![f64::NAN], vec![f64::INFINITY], vec![1.0], vec![f64::MIN, f64::MAX]] {
            for log in [false, true] {
                let scale = Scale::new(values.iter().copied(), None, (0.0, 100.0), log);
                for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, 1e308] {
                    let at = scale.at(value);
                    assert!((0.0..=100.0).contains(&at), "{values:?} {log} {value} {at}");
                }
                assert!(scale.ticks().len() <= super::TICKS_MAX);
            }
        }
    }
}
