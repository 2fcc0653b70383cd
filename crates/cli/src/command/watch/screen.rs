//! The terminal view of a run: a plot per signal, and what happened below.
//!
//! Nothing here decides anything: `s`, `f` and `t` give the orders that `ringfence stop` gives, and stopping asks again.

use std::{
    io,
    sync::mpsc::{self, Receiver, TryRecvError},
    thread,
    time::Duration,
};

use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    symbols::Marker,
    text::{Line, Span},
    widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph},
};
use ringfence_engine::{
    EngineError, Follow, Order,
    history::clock,
    schema::alert::{Basis, TelemetryLine},
    watch::record::{Mark, MarkKind, Record, Signal},
};

use super::short_whose;

/// Gives the run an order: decided, and recorded.
type Obeys<'a> = dyn Fn(Order) -> Result<(), EngineError> + 'a;

/// Shows run `run` until the user leaves: `record`, and what `lines` adds to it.
pub(super) fn show(obeys: &Obeys<'_>, run: &str, record: Record, lines: Option<Follow>) -> Result<(), EngineError> {
    let (sender, receiver) = mpsc::sync_channel(LINES_WAITING_MAX);
    if let Some(lines) = lines {
        // It ends with the run, or with this process.
        thread::spawn(move || {
            for line in lines {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
    } else {
        drop(sender);
    }
    let mut screen = View { obeys, run, record, receiver, live: true, first: 0, asking: false, note: String::new() };
    let mut terminal = ratatui::try_init().map_err(EngineError::io("terminal"))?;
    let shown = screen.work(&mut terminal);
    ratatui::restore();
    shown.map_err(EngineError::io("terminal"))
}

struct View<'a> {
    obeys: &'a Obeys<'a>,
    run: &'a str,
    record: Record,
    receiver: Receiver<Result<TelemetryLine, EngineError>>,
    live: bool,
    /// The first signal that is shown.
    first: usize,
    /// Whether the next `y` stops the run.
    asking: bool,
    note: String,
}

impl View<'_> {
    fn work(&mut self, terminal: &mut DefaultTerminal) -> io::Result<()> {
        loop {
            self.take_lines();
            terminal.draw(|frame| self.draw(frame))?;
            if event::poll(REDRAW)?
                && let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                let interrupted = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if interrupted || self.key(key.code) == Next::Leave {
                    return Ok(());
                }
            }
        }
    }

    fn take_lines(&mut self) {
        for _ in 0..LINES_WAITING_MAX {
            match self.receiver.try_recv() {
                Ok(Ok(line)) => self.record.take(&line),
                Ok(Err(error)) => self.note = error.to_string(),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.live = false;
                    return;
                }
            }
        }
    }

    fn key(&mut self, key: KeyCode) -> Next {
        let asked = std::mem::take(&mut self.asking);
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Next::Leave,
            KeyCode::Down | KeyCode::Char('j') => {
                self.first = (self.first + 2).min(self.record.signals().count().saturating_sub(1));
            }
            KeyCode::Up | KeyCode::Char('k') => self.first = self.first.saturating_sub(2),
            KeyCode::Char('s') if self.live => {
                self.asking = true;
                "stop this run? y / n".clone_into(&mut self.note);
            }
            KeyCode::Char('y') if asked => self.order(Order::Stop),
            KeyCode::Char('f') if self.live => self.order(Order::Freeze),
            KeyCode::Char('t') if self.live => self.order(Order::Thaw),
            _ if asked => self.note.clear(),
            _ => {}
        }
        Next::Stay
    }

    fn order(&mut self, what: Order) {
        self.note = match (self.obeys)(what) {
            Ok(()) => format!("told it to {}", what.name()),
            Err(error) => error.to_string(),
        };
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let marks = MARKS_SHOWN.min(frame.area().height / 3);
        let areas = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(4),
            Constraint::Length(marks),
            Constraint::Length(1),
        ]);
        let [head, plots, happened, foot] = areas.areas(frame.area());
        frame.render_widget(self.headline(), head);
        self.plots(frame, plots);
        self.happened(frame, happened);
        let keys = "q leave  ↑↓ signals  s stop  f freeze  t thaw";
        let text = if self.note.is_empty() { keys } else { &self.note };
        frame.render_widget(Paragraph::new(text).style(Style::new().add_modifier(Modifier::DIM)), foot);
    }

    fn headline(&self) -> Paragraph<'_> {
        let alerts = self.record.marks().iter().filter(|mark| matches!(mark.kind, MarkKind::Alert(_))).count();
        let state = match (self.record.has_ended(), self.live) {
            (true, _) => "ended",
            (false, true) => "running",
            (false, false) => "no more news",
        };
        let style = if alerts > 0 { Style::new().fg(Color::Red) } else { Style::new().fg(Color::Green) };
        Paragraph::new(Line::from(vec![
            Span::styled(format!(" {} ", self.run), Style::new().add_modifier(Modifier::BOLD)),
            Span::raw(format!("{state}  {}  ", clock(self.record.last_ms()))),
            Span::styled(format!("{alerts} alerts"), style.add_modifier(Modifier::BOLD)),
        ]))
    }

    /// Two columns of plots, as many rows as fit.
    fn plots(&self, frame: &mut Frame<'_>, area: Rect) {
        let rows = (area.height / PLOT_ROWS).max(1);
        let signals: Vec<Signal<'_>> = self.record.signals().collect();
        let mut shown = signals.iter().skip(self.first);
        for row in Layout::vertical((0..rows).map(|_| Constraint::Fill(1))).split(area).iter() {
            for cell in Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).split(*row).iter() {
                let Some(signal) = shown.next() else { return };
                plot(frame, *cell, signal, self.record.last_ms());
            }
        }
    }

    fn happened(&self, frame: &mut Frame<'_>, area: Rect) {
        let room = usize::from(area.height.saturating_sub(1));
        let marks = self.record.marks();
        let lines: Vec<Line<'_>> = marks.iter().skip(marks.len().saturating_sub(room)).map(line_of).collect();
        let title = format!(" what happened ({}) ", marks.len() as u64 + self.record.unlisted_marks());
        let block = Block::new().borders(ratatui::widgets::Borders::TOP).title(title);
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    Stay,
    Leave,
}

fn line_of(mark: &Mark) -> Line<'_> {
    let (word, colour) = match mark.kind {
        MarkKind::Phase => ("•", Color::Reset),
        MarkKind::Checkpoint => ("◆", Color::Green),
        MarkKind::Refusal => ("✘", Color::Yellow),
        MarkKind::Limit => ("▲", Color::Red),
        MarkKind::Alert(_) => ("⚠", Color::Red),
    };
    Line::from(vec![
        Span::raw(format!("{:>8} ", clock(mark.at_ms))),
        Span::styled(format!("{word} "), Style::new().fg(colour)),
        Span::raw(mark.text.as_str()),
    ])
}

fn plot(frame: &mut Frame<'_>, area: Rect, signal: &Signal<'_>, end_ms: u64) {
    let points: Vec<(f64, f64)> = signal
        .points
        .iter()
        .flat_map(|point| [point.high, point.last].map(|value| (point.at_ms as f64, value)))
        .collect();
    let low = signal.points.iter().map(|point| point.low).fold(f64::INFINITY, f64::min);
    let high = signal.points.iter().map(|point| point.high).fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
    // A claim is drawn in dots: colour alone would not say whose word it is.
    let (graph, colour) = match signal.basis {
        Basis::Observed => (GraphType::Line, Color::Cyan),
        Basis::Claimed | Basis::Both => (GraphType::Scatter, Color::Yellow),
    };
    let latest = signal.latest().map(short).unwrap_or_default();
    let title = format!(" {} {latest} {} ({}) ", signal.name, signal.unit, short_whose(signal.basis));
    let data =
        Dataset::default().marker(Marker::Braille).graph_type(graph).style(Style::new().fg(colour)).data(&points);
    let chart = Chart::new(vec![data])
        .block(Block::new().title(title))
        .x_axis(Axis::default().bounds([0.0, end_ms.max(1) as f64]))
        .y_axis(Axis::default().bounds([low, high]).labels([short(low), short(high)]));
    frame.render_widget(chart, area);
}

/// A number in at most seven characters or so.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e6).contains(&size) => format!("{value:.1e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.3}"),
    }
}

/// Rows that a plot gets at least.
const PLOT_ROWS: u16 = 7;
/// Rows for what happened, at most.
const MARKS_SHOWN: u16 = 10;
/// How often the view is drawn again where no key is pressed.
const REDRAW: Duration = Duration::from_millis(250);
/// Lines that may wait between two looks.
const LINES_WAITING_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};
    use ringfence_engine::schema::event::{Claimed, Observed, Progress, RunEvent, Source, Usage};

    use super::*;

    #[test]
    fn a_run_is_drawn_with_facts_and_claims_told_apart() {
        let mut record = Record::new();
        let mut take = |at_ms, source| record.take(&TelemetryLine::Event(RunEvent { at_ms, source }));
        take(0, Source::Observed(Observed::Started { level: "full".into(), measures: Vec::new() }));
        for second in 0..60 {
            let usage = Usage { cpu_ms: second * 900, memory_bytes: (50 + second) << 20, ..Usage::default() };
            take(second * 1_000, Source::Observed(Observed::Sample(usage)));
            let progress = Progress { loss: Some(2.0 / (second + 1) as f64), ..Progress::default() };
            take(second * 1_000 + 1, Source::Claimed(Claimed::Progress(progress)));
        }
        take(59_000, Source::Observed(Observed::Refused { detail: "mount".into() }));
        let (_, receiver) = mpsc::sync_channel(1);
        let obeys = |_| Ok(());
        let view = View {
            obeys: &obeys,
            run: "r-1",
            record,
            receiver,
            live: false,
            first: 0,
            asking: false,
            note: String::new(),
        };
        let mut terminal = Terminal::new(TestBackend::new(100, 90)).expect("a terminal");
        terminal.draw(|frame| view.draw(frame)).expect("drawn");
        let drawn = terminal.backend().to_string();
        for part in ["r-1", "cpu 0.900 cores (kernel)", "memory 109 MiB (kernel)", "loss 0.033  (claim)", "✘ mount"] {
            assert!(drawn.contains(part), "`{part}` is missing in\n{drawn}");
        }
    }
}
