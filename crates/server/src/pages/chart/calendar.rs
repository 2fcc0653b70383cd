//! Activity by day: a column a week, a row a weekday, darker for more.

use maud::{Markup, html};

use super::{super::parts::words, Figure, px};

/// One day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// The day, `2026-11-21`.
    pub day: String,
    /// 0: Monday, 6: Sunday.
    pub weekday: u8,
    /// What happened.
    pub count: u64,
    /// What of it was denied.
    pub denied: u64,
}

/// A calendar of activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar<'a> {
    /// Unique on the page.
    pub id: &'a str,
    /// What it shows.
    pub title: &'a str,
    /// Days without gaps, oldest first; the last [`DAYS_MAX`] are shown.
    pub days: Vec<Day>,
}

/// Days in one calendar: 26 weeks.
pub const DAYS_MAX: usize = 182;
const CELL: f64 = 18.0;
const LEFT: f64 = 36.0;
const TOP: f64 = 20.0;
const LEVELS: u64 = 4;

impl Calendar<'_> {
    /// The calendar.
    pub fn draw(&self) -> Markup {
        let days = self.days.get(self.days.len().saturating_sub(DAYS_MAX)..).unwrap_or_default();
        let first = usize::from(days.first().map_or(0, |day| day.weekday.min(6)));
        let most = days.iter().map(|day| day.count).max().unwrap_or(0).max(1);
        let weeks = (first + days.len()).div_ceil(7).max(26);
        let size = (LEFT + weeks as f64 * CELL, TOP + 7.0 * CELL + 4.0);
        let at = |place: usize| {
            let (week, weekday) = ((first + place) / 7, (first + place) % 7);
            (LEFT + week as f64 * CELL, TOP + weekday as f64 * CELL)
        };
        let drawing = html! {
            @for (row, weekday) in ["Mon", "", "Wed", "", "Fri", "", "Sun"].into_iter().enumerate() {
                text class="tick" x="0" y=(px(TOP + row as f64 * CELL + 13.0)) { (weekday) }
            }
            @for (place, day) in days.iter().enumerate() {
                @let (x, y) = at(place);
                rect class=(format!("day l{}", level(day.count, most))) x=(px(x)) y=(px(y)) {
                    title { (words(&day.day, 20)) ": " (day.count) @if day.denied > 0 { ", " (day.denied) " denied" } }
                }
                @if day.denied > 0 { circle class="denied" cx=(px(x + 7.5)) cy=(px(y + 7.5)) r="2.5" {} }
                @if day.day.ends_with("-01") { text class="tick" x=(px(x)) y="12" { (words(day.day.get(..7).unwrap_or(""), 8)) } }
            }
        };
        let sum = |of: fn(&Day) -> u64| days.iter().map(of).fold(0_u64, u64::saturating_add);
        let description = format!(
            "{} entries on {} days, {} of them denied.",
            sum(|day| day.count),
            days.len(),
            sum(|day| day.denied)
        );
        let legend = html! {
            span class="key" { "fewer" @for level in 0..=LEVELS { svg viewBox="0 0 12 12" class="swatch" aria-hidden="true" { rect class=(format!("day l{level}")) width="12" height="12" {} } } "more" }
            span class="key" { svg viewBox="0 0 12 12" class="swatch" aria-hidden="true" { circle class="denied" cx="6" cy="6" r="3" {} } "with denials" }
        };
        let table = html! {
            div class="scroll" tabindex="0" role="group" aria-label=(format!("Figures: {}", self.title)) {
                table {
                    thead { tr { th scope="col" { "day" } th scope="col" { "entries" } th scope="col" { "denied" } } }
                    tbody { @for day in days.iter().rev().filter(|day| day.count > 0) { tr { th scope="row" { (words(&day.day, 20)) } td { (day.count) } td { (day.denied) } } } }
                }
            }
        };
        Figure { id: self.id, role: "img", title: self.title, description, size, drawing, legend, table }.draw()
    }
}

/// 0 for nothing, else 1 to [`LEVELS`].
fn level(count: u64, most: u64) -> u64 {
    if count == 0 { 0 } else { 1 + (count - 1).saturating_mul(LEVELS) / most.max(1) }.min(LEVELS)
}
