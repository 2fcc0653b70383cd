//! Who is in the vault, and who may do what.

use ringfence_engine::{
    EngineError, ExitClass, Settings, Vault,
    team::{Assumed, Explained, Status},
};
use serde_json::json;

use crate::{
    args::user::{CanArgs, UserAction},
    output::{Printer, Style, table},
};

/// `user …`.
pub(crate) fn user(settings: &Settings<'_>, printer: Printer, action: &UserAction) -> Result<ExitClass, EngineError> {
    match action {
        UserAction::Ls => ls(&Vault::open(settings)?, printer),
        UserAction::Can(args) => can(&Vault::open(settings)?, printer, args),
    }
}

/// `user ls`.
fn ls(vault: &Vault<'_>, printer: Printer) -> Result<ExitClass, EngineError> {
    let people = vault.people()?;
    if !printer.for_people() {
        printer.document("ringfence.people/1", &json!({"shared": vault.is_shared(), "people": people}))?;
        return Ok(ExitClass::Done);
    }
    if !vault.is_shared() {
        printer.line("owner  this vault is one person's")?;
        return Ok(ExitClass::Done);
    }
    let row = |person: &ringfence_engine::team::PersonView| {
        let roles: Vec<&str> = person.roles.iter().map(|role| role.name()).collect();
        let status = match person.status {
            Status::Invited => "invited",
            Status::Active => "active",
            Status::Disabled => "disabled",
        };
        let mut factors: Vec<&str> = person.factors.iter().map(|factor| factor.kind).collect();
        factors.dedup();
        let fields = [person.name.as_str(), status, &roles.join(","), &factors.join("+"), person.id.as_str()];
        fields.map(str::to_owned).to_vec()
    };
    let rows: Vec<Vec<String>> = people.iter().map(row).collect();
    printer.raw(table(&rows).as_bytes())?;
    Ok(ExitClass::Done)
}

/// `user can`: exit code 0 where they may, 1 where they may not.
fn can(vault: &Vault<'_>, printer: Printer, args: &CanArgs) -> Result<ExitClass, EngineError> {
    let assumed = Assumed { login: args.login.into(), stepped_up: args.stepped_up };
    let Explained { person, action, what, decision, approvals_needed, .. } =
        &vault.can(&args.who, args.action, &args.what, assumed)?;
    let class = if decision.allow { ExitClass::Done } else { ExitClass::No };
    if !printer.for_people() {
        let body = json!({"person": person, "action": action, "what": what, "assumed": assumed,
            "decision": decision, "approvals_needed": approvals_needed});
        printer.document("ringfence.can/1", &body)?;
        return Ok(class);
    }
    let (word, style) = if decision.allow { ("may", Style::Good) } else { ("may not", Style::Bad) };
    printer.line(format!("{} {} {action} {what}", args.who, printer.strong(word, style)))?;
    if args.why {
        for line in decision.explained().lines().skip(1) {
            printer.line(line)?;
        }
    } else if !decision.allow {
        decision.reasons.iter().try_for_each(|reason| printer.line(format!("  {}", reason.says)))?;
    }
    if let Some(needed) = approvals_needed {
        printer.line(format!("  nothing but the approval of {needed} other people is missing"))?;
    }
    Ok(class)
}
