//! `user …` and `token …`: who is in a vault and with what they come, here or on a server.
//!
//! Both ways give the same documents, so that there is one way to print them.

use std::collections::BTreeSet;

use ringfence_engine::{
    EngineError, ExitClass, Vault,
    access::{Decision, PersonKind, Role},
    reach::server::{Method, Patience, segment},
    schema::Timestamp,
    team::{Assumed, Invitation, Invite, PersonId, TokenTerms},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    args::people::{CanArgs, MakeArgs, RoleName, TokenAction, UserAction},
    command::remote::Remote,
    output::{Printer, Style, table},
};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Where it is asked.
pub(crate) enum Desk<'d, 's> {
    /// The vault on this machine.
    Here(&'d Vault<'s>),
    /// Another machine's.
    There(&'d Remote<'s>),
}

/// Somebody, as lists show them.
#[derive(Deserialize)]
struct Somebody {
    id: String,
    name: String,
    display: String,
    kind: String,
    status: String,
    roles: Vec<String>,
    factors: Vec<Factor>,
}

#[derive(Deserialize)]
struct Factor {
    kind: String,
}

#[derive(Deserialize)]
struct Token {
    id: String,
    label: String,
    until: Timestamp,
    scope: Vec<String>,
    networks: Vec<String>,
}

/// `user …`.
pub(crate) fn user(desk: &Desk<'_, '_>, printer: Printer, action: &UserAction) -> Result<ExitClass, EngineError> {
    match action {
        UserAction::Can(args) => print_can(printer, args, &desk.can(args)?),
        other => change(desk, printer, other).map(|()| ExitClass::Done),
    }
}

fn change(desk: &Desk<'_, '_>, printer: Printer, action: &UserAction) -> Result<(), EngineError> {
    let (done, answer) = match action {
        UserAction::Ls | UserAction::Can(_) => return print_people(printer, &desk.people()?),
        UserAction::Add(args) => {
            let invite = Invite {
                name: args.name.clone(),
                display: args.display.clone().unwrap_or_else(|| args.name.clone()),
                kind: if args.program { PersonKind::Service } else { PersonKind::Human },
                roles: roles(&args.roles),
            };
            return print_invitation(printer, "invited", &desk.invite(&invite)?);
        }
        UserAction::Reset(args) => {
            return print_invitation(printer, "reset", &desk.reset(&args.who, &args.reason)?);
        }
        UserAction::Roles { who, roles: given } => ("changed", desk.set_roles(who, &roles(given))?),
        UserAction::Disable(args) => ("disabled", desk.disable(&args.who, &args.reason)?),
        UserAction::Enable { who } => ("enabled", desk.enable(who)?),
        UserAction::Erase(args) => ("erased", desk.erase(&args.who, &args.reason)?),
    };
    if !printer.for_people() {
        return printer.document("ringfence.user/1", &answer);
    }
    let person: Somebody = read(answer.get("person"))?;
    printer.line(format!("{done}  {} ({}): {}", person.name, person.status, words(&person.roles, "no roles")))
}

/// `token …`.
pub(crate) fn token(desk: &Desk<'_, '_>, printer: Printer, action: &TokenAction) -> Result<(), EngineError> {
    match action {
        TokenAction::Make(args) => {
            let answer = desk.make_token(args)?;
            if !printer.for_people() {
                return printer.document("ringfence.token/1", &answer);
            }
            let made: Token = read(answer.get("token"))?;
            printer.say(format!(
                "token {} for {}, until {}; it is shown once, and `ringfence login --token FILE` takes it",
                made.id,
                made.scope.join(", "),
                made.until
            ));
            printer.line(answer.get("secret").and_then(Value::as_str).unwrap_or_default())
        }
        TokenAction::Ls => print_tokens(printer, &desk.tokens()?),
        TokenAction::Revoke { id } => {
            desk.revoke(id)?;
            if printer.for_people() {
                printer.line(format!("revoked  {id}"))
            } else {
                printer.document("ringfence.token-revoked/1", &json!({"token": id}))
            }
        }
    }
}

impl Desk<'_, '_> {
    fn people(&self) -> Result<Value, EngineError> {
        match self {
            Self::Here(vault) => Ok(json!({"shared": vault.is_shared(), "people": vault.people()?})),
            Self::There(remote) => {
                let mut answer: Value = remote.read("/api/v1/people")?;
                if let Some(fields) = answer.as_object_mut() {
                    fields.insert("shared".to_owned(), true.into());
                }
                Ok(answer)
            }
        }
    }

    fn can(&self, args: &CanArgs) -> Result<Value, EngineError> {
        let assumed = Assumed { login: args.login.into(), stepped_up: args.stepped_up };
        match self {
            Self::Here(vault) => {
                let explained = vault.can(&args.who, args.action, &args.what, assumed)?;
                Ok(json!(explained))
            }
            Self::There(remote) => {
                let path = format!("/api/v1/people/{}/can", segment(&args.who));
                let body = json!({"action": args.action, "what": args.what, "login": assumed.login,
                    "stepped_up": assumed.stepped_up});
                remote.act(&path, Some(&body), Patience::Brief)
            }
        }
    }

    /// The id of whoever is named by id or login name.
    fn id(&self, who: &str) -> Result<PersonId, EngineError> {
        match self {
            Self::Here(vault) => Ok(vault.person(who)?.id),
            Self::There(remote) => {
                let answer: Value = remote.read(&format!("/api/v1/people/{}", segment(who)))?;
                Ok(PersonId::from(read::<Somebody>(answer.get("person"))?.id.as_str()))
            }
        }
    }

    fn invite(&self, invite: &Invite) -> Result<Value, EngineError> {
        match self {
            Self::Here(vault) => Ok(invitation(&vault.invite(invite)?)),
            Self::There(remote) => {
                let Invite { name, display, kind, roles } = invite;
                let body = json!({"name": name, "display": display, "kind": kind, "roles": roles});
                remote.act("/api/v1/people", Some(&body), Patience::Brief)
            }
        }
    }

    fn set_roles(&self, who: &str, roles: &BTreeSet<Role>) -> Result<Value, EngineError> {
        let id = self.id(who)?;
        match self {
            Self::Here(vault) => Ok(json!({"person": vault.set_roles(&id, roles)?})),
            Self::There(remote) => remote.change(Method::Put, &person(&id, "/roles"), Some(&json!({"roles": roles}))),
        }
    }

    fn disable(&self, who: &str, reason: &str) -> Result<Value, EngineError> {
        let id = self.id(who)?;
        match self {
            Self::Here(vault) => Ok(json!({"person": vault.disable(&id, reason)?})),
            Self::There(remote) => {
                remote.act(&person(&id, "/disable"), Some(&json!({"reason": reason})), Patience::Brief)
            }
        }
    }

    fn erase(&self, who: &str, reason: &str) -> Result<Value, EngineError> {
        let id = self.id(who)?;
        match self {
            Self::Here(vault) => Ok(json!(vault.erase_person(&id, reason)?)),
            Self::There(remote) => remote.act(&person(&id, "/erase"), Some(&json!({"reason": reason})), Patience::Long),
        }
    }

    fn enable(&self, who: &str) -> Result<Value, EngineError> {
        let id = self.id(who)?;
        match self {
            Self::Here(vault) => Ok(json!({"person": vault.enable(&id)?})),
            Self::There(remote) => remote.act(&person(&id, "/enable"), None, Patience::Brief),
        }
    }

    fn reset(&self, who: &str, reason: &str) -> Result<Value, EngineError> {
        let id = self.id(who)?;
        match self {
            Self::Here(vault) => Ok(invitation(&vault.reset_factors(&id, reason)?)),
            Self::There(remote) => {
                remote.act(&person(&id, "/reset"), Some(&json!({"reason": reason})), Patience::Brief)
            }
        }
    }

    fn make_token(&self, args: &MakeArgs) -> Result<Value, EngineError> {
        let scope: BTreeSet<_> = args.scope.iter().copied().collect();
        let service = args.program.as_deref().map(|who| self.id(who)).transpose()?;
        match self {
            Self::Here(vault) => {
                let terms = TokenTerms {
                    label: args.label.clone(),
                    service,
                    life_ms: u64::from(args.days) * DAY_MS,
                    scope,
                    networks: args.networks.clone(),
                };
                let (view, secret) = vault.make_token(&terms)?;
                Ok(json!({"token": view, "secret": *secret}))
            }
            Self::There(remote) => {
                let body = json!({"label": args.label, "service": service, "days": args.days, "scope": scope,
                    "networks": args.networks});
                remote.act("/api/v1/tokens", Some(&body), Patience::Brief)
            }
        }
    }

    fn tokens(&self) -> Result<Value, EngineError> {
        match self {
            Self::Here(vault) => Ok(json!({"tokens": vault.own_tokens()?})),
            Self::There(remote) => remote.read("/api/v1/tokens"),
        }
    }

    fn revoke(&self, id: &str) -> Result<(), EngineError> {
        match self {
            Self::Here(vault) => vault.end_own(id),
            Self::There(remote) => {
                let path = format!("/api/v1/sessions/{}", segment(id));
                remote.change::<Value>(Method::Delete, &path, None).map(drop)
            }
        }
    }
}

fn person(id: &PersonId, rest: &str) -> String {
    format!("/api/v1/people/{}{rest}", segment(id.as_str()))
}

fn roles(names: &[RoleName]) -> BTreeSet<Role> {
    names.iter().copied().map(Role::from).collect()
}

fn invitation(invitation: &Invitation) -> Value {
    let token = invitation.token.as_ref().map(|token| token.as_str());
    json!({"person": invitation.person, "invitation": token, "until": invitation.until})
}

fn print_people(printer: Printer, answer: &Value) -> Result<(), EngineError> {
    if !printer.for_people() {
        return printer.document("ringfence.people/1", answer);
    }
    if answer.get("shared") == Some(&Value::Bool(false)) {
        return printer.line("owner  this vault is one person's: `ringfence serve` lets others in");
    }
    let people: Vec<Somebody> = read(answer.get("people"))?;
    let mut rows = vec![["name", "", "status", "roles", "factors", "id"].map(str::to_owned).to_vec()];
    rows.extend(people.into_iter().map(|person| {
        let factors: Vec<String> = person.factors.into_iter().map(|factor| factor.kind).collect();
        let who = if person.kind == "service" { "program".to_owned() } else { person.display };
        let (roles, factors) = (words(&person.roles, "none"), words(&factors, "none"));
        vec![person.name, who, person.status, roles, factors, person.id]
    }));
    printer.raw(table(&rows).as_bytes())
}

/// Exit code 0 where they may, 1 where they may not.
fn print_can(printer: Printer, args: &CanArgs, answer: &Value) -> Result<ExitClass, EngineError> {
    let decision: Decision = read(answer.get("decision"))?;
    let class = if decision.allow { ExitClass::Done } else { ExitClass::No };
    if !printer.for_people() {
        printer.document("ringfence.can/1", answer)?;
        return Ok(class);
    }
    let what = answer.get("what").and_then(Value::as_str).unwrap_or(&args.what);
    let (word, style) = if decision.allow { ("may", Style::Good) } else { ("may not", Style::Bad) };
    printer.line(format!("{} {} {} {what}", args.who, printer.strong(word, style), args.action))?;
    if args.why {
        for line in decision.explained().lines().skip(1) {
            printer.line(line)?;
        }
    } else if !decision.allow {
        decision.reasons.iter().try_for_each(|reason| printer.line(format!("  {}", reason.says)))?;
    }
    let needed: Option<u32> = read(answer.get("approvals_needed"))?;
    if let Some(needed) = needed {
        printer.line(format!("  nothing but the approval of {needed} other people is missing"))?;
    }
    Ok(class)
}

fn print_tokens(printer: Printer, answer: &Value) -> Result<(), EngineError> {
    if !printer.for_people() {
        return printer.document("ringfence.tokens/1", answer);
    }
    let tokens: Vec<Token> = read(answer.get("tokens"))?;
    if tokens.is_empty() {
        printer.say("no tokens");
        return Ok(());
    }
    let mut rows = vec![["token", "for", "until", "scope", "networks"].map(str::to_owned).to_vec()];
    rows.extend(tokens.into_iter().map(|token| {
        let (until, scope) = (token.until.to_string(), token.scope.join(","));
        vec![token.id, token.label, until, scope, words(&token.networks, "any")]
    }));
    printer.raw(table(&rows).as_bytes())
}

fn print_invitation(printer: Printer, done: &str, answer: &Value) -> Result<(), EngineError> {
    if !printer.for_people() {
        return printer.document("ringfence.invitation/1", answer);
    }
    let person: Somebody = read(answer.get("person"))?;
    let (word, roles) = (printer.strong(done, Style::Good), words(&person.roles, "no roles"));
    let Some(token) = answer.get("invitation").and_then(Value::as_str) else {
        return printer.line(format!("{word}  {}: {roles}; `ringfence token make --for {0}` lets it in", person.name));
    };
    let until: Option<Timestamp> = read(answer.get("until"))?;
    let until = until.map_or_else(String::new, |until| format!(", until {until}"));
    printer.say(format!(
        "{word}  {}: {roles}; hand this over by a way that you trust: it is good once{until}",
        person.name
    ));
    printer.line(token)
}

fn words(words: &[String], none: &str) -> String {
    if words.is_empty() { none.to_owned() } else { words.join(", ") }
}

fn read<T: serde::de::DeserializeOwned>(value: Option<&Value>) -> Result<T, EngineError> {
    serde_json::from_value(value.cloned().unwrap_or_default())
        .map_err(|error| EngineError::incomplete("the server's answer", error))
}
