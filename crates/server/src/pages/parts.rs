//! The small things that pages are made of: names, badges, times, sizes, forms.
//!
//! Whatever a stranger can have written (names, findings, reasons, evidence) goes through [`name`], [`words`] or
//! [`passage`]: hidden characters become visible, lengths are cut, and the whole text stays reachable. `maud` escapes the
//! rest.

use maud::{Markup, html};
use ringfence_engine::{
    access::{NamespaceState, Role},
    schema::{Digest, Severity, Timestamp, finding::printable},
};

/// Characters of a name that are shown; the rest is a hover and a fold away.
pub const NAME_CHARS_MAX: usize = 80;
/// Characters of a passage that are shown before it is folded.
pub const PASSAGE_CHARS_MAX: usize = 280;
/// Characters of a text that are sent at all.
pub const TEXT_CHARS_MAX: usize = 4_096;
/// Most rows of any table on a page; beyond it, a line says how many more there are.
pub const ROWS_MAX: usize = 100;

/// A stranger's text on one line, fit to print, of at most `chars_max` characters.
pub fn words(text: &str, chars_max: usize) -> String {
    printable(text, chars_max)
}

/// A name: cut to [`NAME_CHARS_MAX`], with the whole of it as a tip, set apart from the writing direction around it.
pub fn name(text: &str) -> Markup {
    let shown = printable(text, NAME_CHARS_MAX);
    let cut = text.chars().count() > NAME_CHARS_MAX;
    html! { bdi class="name" title=[cut.then(|| printable(text, TEXT_CHARS_MAX))] { (shown) } }
}

/// A longer text: whole if it is short, else its beginning with the rest folded away.
pub fn passage(text: &str) -> Markup {
    let whole = printable(text, TEXT_CHARS_MAX);
    html! {
        @if text.chars().count() > PASSAGE_CHARS_MAX {
            details class="passage" {
                summary { bdi { (printable(text, PASSAGE_CHARS_MAX)) } }
                bdi { (whole) }
            }
        } @else { bdi class="passage" { (whole) } }
    }
}

/// A stranger's text, letter by letter, as a block.
pub fn verbatim(label: &str, lines: &[String]) -> Markup {
    html! {
        @if !lines.is_empty() {
            pre tabindex="0" role="group" aria-label=(label) {
                @for line in lines.iter().take(ROWS_MAX) { bdi { (printable(line, TEXT_CHARS_MAX)) } "\n" }
                @if lines.len() > ROWS_MAX { "… and " (lines.len() - ROWS_MAX) " lines more\n" }
            }
        }
    }
}

/// How a badge looks. The word says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing to do.
    Good,
    /// Worth a look.
    Warn,
    /// Something is wrong.
    Bad,
    /// Neither.
    Plain,
}

impl Tone {
    /// Its class in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "badge good",
            Self::Warn => "badge warn",
            Self::Bad => "badge bad",
            Self::Plain => "badge",
        }
    }
}

/// A word with a tone; the style sheet sets a sign before it, which is not read out, because the word says it.
pub fn badge(tone: Tone, word: &str) -> Markup {
    html! { span class=(tone.class()) { (words(word, NAME_CHARS_MAX)) } }
}

/// How bad, as a badge.
pub fn severity(severity: Severity) -> Markup {
    let tone = match severity {
        Severity::Critical | Severity::High => Tone::Bad,
        Severity::Medium => Tone::Warn,
        Severity::Low | Severity::Info => Tone::Plain,
    };
    badge(tone, &severity.to_string())
}

/// How far an artifact has come, as a badge.
pub fn state(state: NamespaceState) -> Markup {
    let tone = match state {
        NamespaceState::Released => Tone::Good,
        NamespaceState::Quarantined => Tone::Warn,
        NamespaceState::Admitted | NamespaceState::Candidate => Tone::Plain,
    };
    badge(tone, state.name())
}

/// A role in words.
pub fn role(role: Role) -> String {
    role.name().replace('_', " ")
}

/// A moment; the script shows it in the reader's own zone.
pub fn moment(at: Timestamp) -> Markup {
    let text = at.to_string();
    let short = text.get(..16).map_or(text.clone(), |start| format!("{} UTC", start.replace('T', " ")));
    html! { time datetime=(text) data-local { (short) } }
}

/// How long before or after `now` something is: `3 min ago`, `in 2 d`.
pub fn age(at: Timestamp, now: Timestamp) -> String {
    let (past, span) = (at <= now, at.millis().abs_diff(now.millis()));
    let span = duration(span);
    if past { format!("{span} ago") } else { format!("in {span}") }
}

/// A span of milliseconds in its greatest unit.
pub fn duration(millis: u64) -> String {
    match millis / 1_000 {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// Bytes in binary units.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1_024.0, "KiB");
    for next in UNITS.into_iter().skip(1) {
        if value < 1_024.0 {
            break;
        }
        (value, unit) = (value / 1_024.0, next);
    }
    format!("{value:.1} {unit}")
}

/// A digest: its beginning, with all of it as a tip.
pub fn digest(digest: &Digest) -> Markup {
    html! { code class="digest" title=(digest) { (digest.short()) } }
}

/// A share in per cent, or a dash where there is none.
pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1} %", share * 100.0) } else { "–".to_owned() }
}

/// A command to copy.
pub fn command(label: &str, text: &str) -> Markup {
    let text = printable(text, TEXT_CHARS_MAX);
    html! {
        div class="command" {
            pre tabindex="0" role="group" aria-label=(label) { code { (text) } }
            button type="button" class="plain" data-copy=(text) hidden aria-label=(format!("Copy: {label}")) { "Copy" }
        }
    }
}

/// A table that scrolls by itself on narrow screens; `caption` names it for those who cannot see it.
pub fn table(caption: &str, heads: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        div class="scroll" tabindex="0" role="group" aria-label=(caption) {
            table {
                caption class="hidden" { (caption) }
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody {
                    @for row in rows.iter().take(ROWS_MAX) {
                        tr { @for (place, cell) in row.iter().enumerate() {
                            @if place == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                        } }
                    }
                }
            }
        }
        @if rows.len() > ROWS_MAX { p class="quiet" { "… and " (rows.len() - ROWS_MAX) " more." } }
    }
}

/// Names and values.
pub fn facts(pairs: &[(&str, Markup)]) -> Markup {
    html! { dl class="facts" { @for (term, value) in pairs { div { dt { (term) } dd { (value) } } } } }
}

/// A field of a form with its label.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// Its `id`, unique on the page.
    pub id: &'a str,
    /// Its name in the form.
    pub name: &'a str,
    /// Its label.
    pub label: &'a str,
    /// `text`, `password`, `date`, …
    pub kind: &'a str,
    /// What stands in it.
    pub value: &'a str,
    /// What browsers may fill in.
    pub autocomplete: &'a str,
    /// Whether it may not be empty.
    pub required: bool,
}

impl<'a> Field<'a> {
    /// A required field of this kind.
    pub fn new(id: &'a str, name: &'a str, label: &'a str, kind: &'a str) -> Self {
        Self { id, name, label, kind, value: "", autocomplete: "off", required: true }
    }

    /// What browsers may fill in.
    #[must_use]
    pub fn fills(self, autocomplete: &'a str) -> Self {
        Self { autocomplete, ..self }
    }

    /// With this in it, and allowed to be empty.
    #[must_use]
    pub fn optional(self, value: &'a str) -> Self {
        Self { value, required: false, ..self }
    }

    /// The field.
    pub fn draw(self) -> Markup {
        html! {
            p class="field" {
                label for=(self.id) { (self.label) }
                input id=(self.id) name=(self.name) type=(self.kind) value=[(!self.value.is_empty()).then(|| words(self.value, TEXT_CHARS_MAX))]
                    autocomplete=(self.autocomplete) maxlength="1000" required[self.required] autocapitalize="none" spellcheck="false";
            }
        }
    }
}

/// A reason to be typed; a section of the page has its own `id`.
pub fn reason(id: &str) -> Markup {
    html! {
        p class="field" {
            label for=(id) { "Reason (stays in the trail)" }
            textarea id=(id) name="reason" rows="2" maxlength="1000" required {}
        }
    }
}

/// A hidden field. Ids and digests have no hidden characters; a value that has some names nothing, here or there.
pub fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(words(value, TEXT_CHARS_MAX)); }
}

/// Whether all of a text can be seen: line ends and tabs are the only control characters, and nothing turns the direction.
pub fn is_plain(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.replace('\t', " ");
        printable(&line, usize::MAX) == line
    })
}

#[cfg(test)]
mod tests {
    use super::{age, duration, name, size};
    use ringfence_engine::schema::Timestamp;

    #[test]
    fn hidden_characters_show_and_long_names_are_cut_with_the_whole_in_reach() {
        let shown = name("invoice\u{202e}gpj.exe\u{0}").into_string();
        assert_eq!(shown, r#"<bdi class="name">invoice\u{202e}gpj.exe\u{0}</bdi>"#);
        let shown = name(&"x".repeat(200)).into_string();
        assert!(shown.contains(&format!("title=\"{}\"", "x".repeat(200))) && shown.contains("x…</bdi>"), "{shown}");
    }

    #[test]
    fn sizes_and_ages() {
        for (bytes, text) in [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (1 << 40, "1.0 TiB")] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(u64::MAX), "16384.0 PiB");
        let now = Timestamp::from_millis(1_000_000_000);
        assert_eq!(age(Timestamp::from_millis(999_910_000), now), "1 min ago");
        assert_eq!(age(Timestamp::from_millis(1_000_030_000), now), "in 30 s");
        assert_eq!(duration(172_800_000), "2 d");
    }
}
