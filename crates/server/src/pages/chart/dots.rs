//! Values with their intervals, a row each: what is sure and what is not shows at a glance.

use maud::{Markup, html};

use super::{super::parts::words, Figure, LABEL_CHARS_MAX, Scale, number, px};

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What it is of.
    pub label: String,
    /// The value.
    pub value: f64,
    /// Low and high end of its 95 % interval.
    pub interval: (f64, f64),
    /// The value that it is held against, such as that of the base model.
    pub base: Option<f64>,
}

/// Rows over one axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Dots<'a> {
    /// Unique on the page.
    pub id: &'a str,
    /// What it shows.
    pub title: &'a str,
    /// Name and unit of the axis.
    pub axis: &'a str,
    /// Its range; from the data if absent.
    pub range: Option<(f64, f64)>,
    /// The rows; the first [`ROWS_MAX`] are drawn.
    pub rows: Vec<Row>,
}

/// Rows in one picture.
pub const ROWS_MAX: usize = 40;
const WIDTH: f64 = 640.0;
const LEFT: f64 = 220.0;
const RIGHT: f64 = 20.0;
const LINE: f64 = 26.0;
const BOTTOM: f64 = 44.0;

impl Dots<'_> {
    /// The chart.
    pub fn draw(&self) -> Markup {
        let rows = || self.rows.iter().take(ROWS_MAX);
        let height = rows().count() as f64 * LINE + BOTTOM;
        let values = rows().flat_map(|row| [row.value, row.interval.0, row.interval.1, row.base.unwrap_or(row.value)]);
        let x = Scale::new(values, self.range, (LEFT, WIDTH - RIGHT), false);
        let drawing = html! {
            @for tick in x.ticks() {
                line class="grid" x1=(px(x.at(tick))) x2=(px(x.at(tick))) y1="0" y2=(px(height - BOTTOM)) {}
                text class="tick" x=(px(x.at(tick))) y=(px(height - BOTTOM + 16.0)) text-anchor="middle" { (number(tick)) }
            }
            text class="axis" x=(px(f64::midpoint(LEFT, WIDTH - RIGHT))) y=(px(height - 6.0)) text-anchor="middle" { (words(self.axis, LABEL_CHARS_MAX)) }
            @for (place, row) in rows().enumerate() {
                @let y = px(place as f64 * LINE + LINE / 2.0);
                text class="label" x=(LEFT - 10.0) y=(px(place as f64 * LINE + LINE / 2.0 + 4.0)) text-anchor="end" { (words(&row.label, 30)) }
                @if row.interval.0.is_finite() && row.interval.1.is_finite() {
                    line class="whisker" x1=(px(x.at(row.interval.0))) x2=(px(x.at(row.interval.1))) y1=(y) y2=(y) {}
                }
                @if let Some(base) = row.base.filter(|base| base.is_finite()) {
                    rect class="base" x=(px(x.at(base) - 4.0)) y=(px(place as f64 * LINE + LINE / 2.0 - 4.0)) width="8" height="8" { title { "before: " (number(base)) } }
                }
                @if row.value.is_finite() { circle class="dot s0" cx=(px(x.at(row.value))) cy=(y) r="4.5" { title { (number(row.value)) } } }
            }
        };
        let parts = rows().take(6).map(|row| {
            let (low, high) = row.interval;
            format!(
                "{}: {} ({} to {})",
                words(&row.label, LABEL_CHARS_MAX),
                number(row.value),
                number(low),
                number(high)
            )
        });
        let description = format!("{}. {}.", self.axis, parts.collect::<Vec<_>>().join("; "));
        let based = rows().any(|row| row.base.is_some());
        let legend = html! {
            span class="key" { svg viewBox="0 0 28 10" aria-hidden="true" { line class="whisker" x1="0" x2="28" y1="5" y2="5" {} circle class="dot s0" cx="14" cy="5" r="4" {} } "value with 95 % interval" }
            @if based { span class="key" { svg viewBox="0 0 12 12" class="swatch" aria-hidden="true" { rect class="base" x="2" y="2" width="8" height="8" {} } "before" } }
        };
        let table = html! {
            div class="scroll" tabindex="0" role="group" aria-label=(format!("Figures: {}", self.title)) {
                table {
                    thead { tr { th scope="col" { "row" } th scope="col" { "value" } th scope="col" { "95 % interval" } th scope="col" { "before" } } }
                    tbody { @for row in &self.rows { tr {
                        th scope="row" { bdi { (words(&row.label, LABEL_CHARS_MAX)) } } td { (number(row.value)) }
                        td { (number(row.interval.0)) " – " (number(row.interval.1)) } td { @if let Some(base) = row.base { (number(base)) } }
                    } } }
                }
            }
        };
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
}
