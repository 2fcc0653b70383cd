//! `glass …`: doing without the approval of others, here or on a server.

use ringfence_engine::{
    EngineError, ExitClass,
    reach::server::{Patience, segment},
    schema::Timestamp,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    args::request::GlassAction,
    command::{people::Desk, request::read},
    output::{Printer, Style, table},
};

/// One breaking of the glass, as both ways give it.
#[derive(Deserialize)]
struct Glass {
    id: String,
    person: String,
    reason: String,
    until: Timestamp,
    open: bool,
    review: Option<Review>,
}

#[derive(Deserialize)]
struct Review {
    by: String,
    reason: String,
}

/// `glass …`.
pub(crate) fn glass(desk: &Desk<'_, '_>, printer: Printer, action: &GlassAction) -> Result<ExitClass, EngineError> {
    match action {
        GlassAction::Ls => list(printer, &desk.glasses()?)?,
        GlassAction::Break { reason } => {
            let answer = desk.break_glass(reason)?;
            one(printer, "broken", &answer)?;
            printer.say("everybody who gets alerts hears of it now, and another person reviews what you do");
        }
        GlassAction::End { id } => one(printer, "ended", &desk.end_glass(id)?)?,
        GlassAction::Review { id, reason } => one(printer, "reviewed", &desk.review_glass(id, reason)?)?,
    }
    Ok(ExitClass::Done)
}

impl Desk<'_, '_> {
    fn glasses(&self) -> Result<Value, EngineError> {
        match self {
            Self::Here(vault) => Ok(json!({"glasses": vault.glasses()?})),
            Self::There(remote) => remote.read("/api/v1/break-glass"),
        }
    }

    fn break_glass(&self, reason: &str) -> Result<Value, EngineError> {
        match self {
            Self::Here(vault) => Ok(json!({"glass": vault.break_glass(reason)?})),
            Self::There(remote) => remote.act("/api/v1/break-glass", Some(&json!({"reason": reason})), Patience::Brief),
        }
    }

    fn end_glass(&self, id: &str) -> Result<Value, EngineError> {
        match self {
            Self::Here(vault) => Ok(json!({"glass": vault.end_break_glass(id)?})),
            Self::There(remote) => {
                remote.act(&format!("/api/v1/break-glass/{}/end", segment(id)), None, Patience::Brief)
            }
        }
    }

    fn review_glass(&self, id: &str, reason: &str) -> Result<Value, EngineError> {
        match self {
            Self::Here(vault) => Ok(json!({"glass": vault.review_break_glass(id, reason)?})),
            Self::There(remote) => {
                let path = format!("/api/v1/break-glass/{}/review", segment(id));
                remote.act(&path, Some(&json!({"reason": reason})), Patience::Brief)
            }
        }
    }
}

fn one(printer: Printer, word: &str, answer: &Value) -> Result<(), EngineError> {
    if !printer.for_people() {
        return printer.document("ringfence.glass/1", answer);
    }
    let glass: Glass = read(answer.get("glass"))?;
    let until = if glass.open { format!(", until {}", glass.until) } else { String::new() };
    printer.line(format!("{}  {}{until}: {}", printer.strong(word, Style::Good), glass.id, glass.reason))
}

fn list(printer: Printer, answer: &Value) -> Result<(), EngineError> {
    if !printer.for_people() {
        return printer.document("ringfence.glasses/1", answer);
    }
    let glasses: Vec<Glass> = read(answer.get("glasses"))?;
    if glasses.is_empty() {
        printer.say("nobody has broken the glass");
        return Ok(());
    }
    let mut rows = vec![["glass", "by", "until", "why", "review"].map(str::to_owned).to_vec()];
    rows.extend(glasses.into_iter().map(|glass| {
        let review = match glass.review {
            Some(review) => format!("{}: {}", review.by, review.reason),
            None if glass.open => "goes on".to_owned(),
            None => "needs another person's look".to_owned(),
        };
        vec![glass.id, glass.person, glass.until.to_string(), glass.reason, review]
    }));
    printer.raw(table(&rows).as_bytes())
}
