//! Alerts, what people say about them, the rules they come from and the sinks they go to.

use ringfence_engine::{
    EngineError, ExitClass, Settings, Vault,
    alerts::{Acknowledgement, AlertFilter, AlertState, SetAside, ShownAlert, SinkPassEnd, SinkStatus},
    schema::{Digest, Severity, alert::Alert},
    watch::route::Routed,
    watch_rules,
};
use serde_json::json;

use crate::{
    args::watch::AlertsArgs,
    output::{Printer, Style, table},
};

/// Most lines about what one sink refused.
const ASIDE_SHOWN: usize = 10;

/// `watch alerts`.
pub(super) fn list(settings: &Settings<'_>, printer: Printer, args: &AlertsArgs) -> Result<ExitClass, EngineError> {
    let filter = AlertFilter {
        state: args.open.then_some(AlertState::Open),
        min_severity: args.min_severity.map(crate::args::FailOn::severity),
        limit: Some(args.last),
        ..AlertFilter::default()
    };
    print_alerts(printer, &Vault::open(settings)?.alerts(&filter)?)?;
    Ok(ExitClass::Done)
}

/// Lists alerts as they are given.
pub(crate) fn print_alerts(printer: Printer, alerts: &[ShownAlert]) -> Result<(), EngineError> {
    if !printer.for_people() {
        return printer.document("ringfence.alerts/1", &json!({"alerts": alerts}));
    }
    if alerts.is_empty() {
        printer.say("no alerts");
    }
    for shown in alerts {
        let alert = &shown.alert;
        let state = if shown.state == AlertState::Open { "open" } else { "acknowledged" };
        head(printer, alert, state)?;
        if let Some(said) = &shown.acknowledged {
            let until = said.until.map(|until| format!(" until {until}")).unwrap_or_default();
            printer.line(format!("   = acknowledged by {}{until}: {}", said.by, said.reason))?;
        } else {
            printer.line(format!("   = {}", alert.why))?;
            printer.line(format!("   = fix: {}", alert.remedy))?;
        }
    }
    Ok(())
}

/// What became of alerts, the gravest first, then the surest.
pub(super) fn print_ranked(printer: Printer, mut raised: Vec<Routed>) -> Result<ExitClass, EngineError> {
    let key = |routed: &Routed| (routed.alert.severity, routed.alert.confidence);
    raised.sort_by(|a, b| key(b).partial_cmp(&key(a)).unwrap_or(std::cmp::Ordering::Equal));
    if !printer.for_people() {
        printer.document("ringfence.people/1", &json!({"alerts": raised}))?;
        return Ok(ExitClass::Done);
    }
    if raised.is_empty() {
        printer.say("nothing unusual");
    }
    raised.iter().try_for_each(|routed| print_routed(printer, routed))?;
    Ok(ExitClass::Done)
}

/// An alert with what became of it: a line of JSON for programs.
pub(super) fn print_routed(printer: Printer, routed: &Routed) -> Result<(), EngineError> {
    if !printer.for_people() {
        let text = serde_json::to_string(routed).map_err(|error| EngineError::incomplete("standard output", error))?;
        return printer.line(text);
    }
    let state = format!("{:?}", routed.state).to_lowercase();
    head(printer, &routed.alert, &state)
}

/// The first lines of an alert.
fn head(printer: Printer, alert: &Alert, state: &str) -> Result<(), EngineError> {
    let style = match alert.severity {
        Severity::Info | Severity::Low => Style::Quiet,
        Severity::Medium => Style::Warn,
        Severity::High | Severity::Critical => Style::Bad,
    };
    let severity = printer.strong(&alert.severity.to_string(), style);
    let (subject, kind) = (&alert.subject.name, alert.subject.kind.name());
    printer.line(format!("{severity} {} {}  {kind} {subject}: {} ({state})", alert.rule, alert.kind, alert.message))?;
    printer.line(format!("   |  {}  raised {}, since {}", alert.id.short(), alert.at, alert.since))?;
    printer.line(format!("   |  {}: expected {}; seen {}", alert.signal, alert.expected, alert.seen))?;
    let whose = ringfence_engine::history::whose(alert.basis);
    printer.line(format!("   |  by the word of {whose}, confidence {:.4}", alert.confidence))
}

/// `watch ack`.
pub(super) fn acknowledge(
    settings: &Settings<'_>,
    printer: Printer,
    id: &str,
    reason: &str,
    days: Option<u32>,
) -> Result<ExitClass, EngineError> {
    let vault = Vault::open(settings)?;
    let id = full_id(id, &mut || {
        Ok(vault.alerts(&AlertFilter::default())?.into_iter().map(|shown| shown.alert.id).collect())
    })?;
    let until = days.map(|days| (settings.now)().plus_millis(u64::from(days) * DAY_MS));
    let said = vault.acknowledge(id, reason, until)?;
    print_acknowledged(printer, id, &said)?;
    Ok(ExitClass::Done)
}

/// Says that somebody deals with an alert.
pub(crate) fn print_acknowledged(printer: Printer, id: Digest, said: &Acknowledgement) -> Result<(), EngineError> {
    if printer.for_people() {
        printer.line(format!("{}  {id}", printer.strong("acknowledged", Style::Good)))
    } else {
        printer.document("ringfence.acknowledgement/1", said)
    }
}

/// The one alert whose id begins like this; `ids` are those that there are.
pub(crate) fn full_id(
    beginning: &str,
    ids: &mut dyn FnMut() -> Result<Vec<Digest>, EngineError>,
) -> Result<Digest, EngineError> {
    if let Ok(id) = beginning.parse() {
        return Ok(id);
    }
    let bare = beginning.strip_prefix("sha256:").unwrap_or(beginning);
    let fits = |id: &Digest| bare.len() >= ID_CHARS_MIN && id.hex().starts_with(bare);
    let mut found: Vec<Digest> = ids()?.into_iter().filter(fits).collect();
    found.dedup();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(EngineError::NotFound { what: "alert", name: beginning.to_owned() }),
        _ => Err(EngineError::Usage { what: format!("several alerts begin with `{beginning}`; give more of the id") }),
    }
}

/// `watch rules`.
pub(super) fn rules(settings: &Settings<'_>, printer: Printer) -> Result<ExitClass, EngineError> {
    let rules = watch_rules(&settings.config)?;
    if !printer.for_people() {
        let all: Vec<_> = rules.iter().collect();
        printer.document("ringfence.rules/1", &json!({"rules": all}))?;
        return Ok(ExitClass::Done);
    }
    let rows: Vec<Vec<String>> = rules
        .iter()
        .map(|rule| {
            let actions: Vec<String> = rule.actions.iter().map(|action| format!("{action:?}").to_lowercase()).collect();
            let state = if rule.enabled { actions.join(", ") } else { "off".to_owned() };
            vec![rule.id.clone(), rule.kind.clone(), rule.severity.to_string(), state, rule.title.clone()]
        })
        .collect();
    printer.line(table(&rows).trim_end())?;
    Ok(ExitClass::Done)
}

/// `watch sinks`.
pub(super) fn sinks(settings: &Settings<'_>, printer: Printer) -> Result<ExitClass, EngineError> {
    let sinks = Vault::open(settings)?.sinks()?;
    if !printer.for_people() {
        printer.document("ringfence.sinks/1", &json!({"sinks": sinks}))?;
        return Ok(ExitClass::Done);
    }
    if sinks.is_empty() {
        printer.say("no sinks: name them in sinks.toml in your configuration folder");
        return Ok(ExitClass::Done);
    }
    let row = |sink: SinkStatus| {
        let kind = sink.kind.map_or_else(|| "not configured any more".to_owned(), ToString::to_string);
        let failure = sink.last_failure.map(|said| format!("failed {} times: {said}", sink.failures));
        vec![
            sink.name,
            kind,
            format!("{} wait", sink.pending),
            format!("{} delivered", sink.delivered),
            failure.unwrap_or_default(),
        ]
    };
    let aside: Vec<String> = sinks.iter().flat_map(set_aside).collect();
    let rows: Vec<Vec<String>> = sinks.into_iter().map(row).collect();
    printer.line(table(&rows).trim_end())?;
    aside.into_iter().try_for_each(|line| printer.line(line))?;
    Ok(ExitClass::Done)
}

/// What a sink refused for good, a line each, the newest [`ASIDE_SHOWN`] of them.
fn set_aside(sink: &SinkStatus) -> Vec<String> {
    let name = &sink.name;
    let shown = sink.set_aside.iter().skip(sink.set_aside.len().saturating_sub(ASIDE_SHOWN));
    let line = |aside: &SetAside| {
        let SetAside { first, last, refused, why, .. } = aside;
        let entries = if first == last { format!("entry {first}") } else { format!("entries {first} to {last}") };
        format!("set aside  {entries} for {name}, refused {refused} times: {why}")
    };
    let mut lines: Vec<String> = shown.map(line).collect();
    if let (Some(oldest), Some(newest)) = (sink.set_aside.first(), sink.set_aside.last()) {
        let count = sink.set_aside.len();
        let [from, to] = [oldest.first, newest.last];
        lines.push(format!(
            "{count} set aside for {name}; `watch sinks --resend {name} {from} {to}` queues alerts again"
        ));
    }
    lines
}

/// `watch sinks --test`.
pub(super) fn test(settings: &Settings<'_>, printer: Printer, name: &str) -> Result<ExitClass, EngineError> {
    Vault::open(settings)?.test_sink(name, (settings.now)())?;
    if printer.for_people() {
        printer.line(format!("{}  {name} took a test alert", printer.strong("sent", Style::Good)))?;
    } else {
        printer.document("ringfence.sink-test/1", &json!({"sink": name, "sent": true}))?;
    }
    Ok(ExitClass::Done)
}

/// `watch sinks --resend` and `--forget`.
pub(super) fn requeue(
    settings: &Settings<'_>,
    printer: Printer,
    resend: &[String],
    forget: Option<&str>,
) -> Result<ExitClass, EngineError> {
    if resend.is_empty() && forget.is_none() {
        return sinks(settings, printer);
    }
    let vault = Vault::open(settings)?;
    let number = |text: &String| {
        text.parse::<u64>().map_err(|_| EngineError::Usage { what: format!("`{text}` is not an index of the trail") })
    };
    let (name, count, what) = match (resend, forget) {
        ([name, first, last], _) => (name.as_str(), vault.resend(name, number(first)?, number(last)?)?, "queued again"),
        (_, Some(name)) => (name, vault.forget_sink(name)?, "given up"),
        _ => return Err(EngineError::Usage { what: "`--resend` takes a sink and two indexes of the trail".into() }),
    };
    if printer.for_people() {
        printer.line(format!("{count} {what} for {name}"))?;
    } else {
        printer.document("ringfence.sink-queue/1", &json!({"sink": name, "alerts": count, "what": what}))?;
    }
    Ok(ExitClass::Done)
}

/// `watch deliver`.
pub(super) fn deliver(settings: &Settings<'_>, printer: Printer) -> Result<ExitClass, EngineError> {
    let now = (settings.now)();
    let delivered = Vault::open(settings)?.deliver(now, now.millis())?;
    if printer.for_people() {
        for pass in &delivered.sinks {
            let end = match &pass.end {
                SinkPassEnd::Empty => String::new(),
                SinkPassEnd::TimeOver => "more to come".to_owned(),
                SinkPassEnd::Waits(until) => format!("failed before; tried again at {until}"),
                SinkPassEnd::Busy => "another process delivers to it".to_owned(),
                SinkPassEnd::Failed { why, next_attempt } => format!("{why}; tried again at {next_attempt}"),
                SinkPassEnd::NotDone { why } => why.clone(),
            };
            printer.line(format!("{}  {} taken, {} wait  {end}", pass.name, pass.taken, pass.pending))?;
        }
    } else {
        printer.document("ringfence.delivery/1", &delivered)?;
    }
    Ok(if delivered.is_complete() { ExitClass::Done } else { ExitClass::Incomplete })
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Fewest characters that stand for an id.
const ID_CHARS_MIN: usize = 6;
