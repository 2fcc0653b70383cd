//! One's own account: factors, sessions, tokens, recovery codes.

use std::collections::BTreeSet;

use axum::{extract::State, http::HeaderMap, response::Response};
use ringfence_engine::{
    EngineError, Vault,
    access::Action,
    team::{Caller, Enrollee, PersonId, TokenTerms},
};

use super::{Fields, Script, frame, go, next, page};
use crate::{
    api::sign_in::{offered, registration},
    app::{App, origin},
    guard::json::Json,
    pages::{
        account::{AccountView, account},
        enrol::{RecoveryView, recovery},
        paths,
    },
    problem::{Answer, Kind, Problem},
    routes::{Intake, Route, Verb, seat::Seat},
};

const DAY_MS: u64 = 86_400_000;

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    use Verb::{Get, Post};
    let form = |path, summary| (Post, path, summary);
    let (verb, path, says) = form(paths::ACCOUNT_FACTOR_REMOVE, "takes a factor away");
    let remove = Route::signed_in(verb, path, says, remove_factor).takes(Intake::Form);
    let (verb, path, says) = form(paths::ACCOUNT_RECOVERY, "new recovery codes, shown once");
    let codes = Route::signed_in(verb, path, says, recovery_codes).takes(Intake::Form);
    let (verb, path, says) = form(paths::ACCOUNT_SESSION_END, "ends a session");
    let end = Route::signed_in(verb, path, says, end_session).takes(Intake::Form);
    let (verb, path, says) = form(paths::ACCOUNT_TOKEN, "makes a token, shown once");
    let make = Route::signed_in(verb, path, says, make_token).takes(Intake::Form);
    let (verb, path, says) = form(paths::ACCOUNT_TOKEN_REVOKE, "revokes a token");
    let revoke = Route::signed_in(verb, path, says, revoke_token).takes(Intake::Form);
    let (verb, path, says) = form(paths::ACCOUNT_PASSKEY_BEGIN, "what another passkey is asked");
    let begin = Route::signed_in(verb, path, says, passkey_begin).takes(Intake::Json).unrecorded();
    let (verb, path, says) = form(paths::ACCOUNT_PASSKEY_FINISH, "enrols another passkey");
    let finish = Route::signed_in(verb, path, says, passkey_finish).takes(Intake::Json);
    let own = Route::signed_in(Get, paths::ACCOUNT, "one's own account", account_page).unrecorded();
    let (verb, path, says) = form(paths::PEOPLE_TOKEN, "makes a program's token, shown once");
    let program = Route::acting(Action::Appoint, verb, path, says, make_program_token).takes(Intake::Form);
    vec![own, remove, codes, end, make, revoke, begin, finish, program]
}

fn view(app: &App, vault: &Vault<'_>, made: Option<String>) -> Result<AccountView, EngineError> {
    Ok(AccountView {
        frame: frame(app, vault)?,
        person: vault.person(&vault.caller().person.id)?,
        sessions: vault.own_sessions()?,
        tokens: vault.own_tokens()?,
        made,
    })
}

async fn account_page(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let shared = app.clone();
    let view = app.work(seat.into_principal(), move |vault, _| view(&shared, vault, None)).await?;
    Ok(page(account(&view)))
}

/// Carries a form out and goes back to the account.
async fn done<T: Send + 'static>(
    seat: Seat<Caller>,
    app: App,
    fields: Fields,
    work: impl FnOnce(&Vault<'_>, &Fields) -> Result<T, EngineError> + Send + 'static,
) -> Answer {
    fields.check(&app, seat.principal())?;
    app.work(seat.into_principal(), move |vault, _| work(vault, &fields)).await?;
    go(paths::ACCOUNT)
}

async fn remove_factor(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    done(seat, app, fields, |vault, fields| vault.remove_factor(fields.text("factor"))).await
}

async fn end_session(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    done(seat, app, fields, |vault, fields| vault.end_own(fields.text("session"))).await
}

async fn revoke_token(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    done(seat, app, fields, |vault, fields| vault.end_own(fields.text("token"))).await
}

async fn recovery_codes(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    fields.check(&app, seat.principal())?;
    let shared = app.clone();
    let view = app.work(seat.into_principal(), move |vault, _| {
        let codes = vault.new_recovery_codes()?.iter().map(|code| code.to_string()).collect();
        Ok(RecoveryView { frame: frame(&shared, vault)?, codes, next: paths::ACCOUNT.to_owned() })
    });
    Ok(page(recovery(&view.await?)))
}

async fn make_token(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    made(seat, app, fields, None).await
}

async fn make_program_token(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    let program = PersonId::from(fields.text("person"));
    made(seat, app, fields, Some(program)).await
}

async fn made(seat: Seat<Caller>, app: App, fields: Fields, service: Option<PersonId>) -> Answer {
    fields.check(&app, seat.principal())?;
    let days: u64 = fields.text("days").trim().parse().map_err(|_| unreadable("the number of days"))?;
    let known = |name: &str| Action::ALL.into_iter().find(|action| action.name() == name);
    let scope: Option<BTreeSet<Action>> = fields.every("scope").map(known).collect();
    let networks =
        fields.text("networks").split([',', ' ']).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let terms = TokenTerms {
        label: fields.text("label").to_owned(),
        service,
        life_ms: days.saturating_mul(DAY_MS),
        scope: scope.ok_or_else(|| unreadable("what it is good for"))?,
        networks,
    };
    let shared = app.clone();
    let view = app.work(seat.into_principal(), move |vault, _| {
        let (_, secret) = vault.make_token(&terms)?;
        view(&shared, vault, Some(secret.to_string()))
    });
    Ok(page(account(&view.await?)))
}

async fn passkey_begin(seat: Seat<Caller>, State(app): State<App>, Json(asked): Json<Script>) -> Answer {
    asked.fields().check(&app, seat.principal())?;
    let offer = app.work(seat.into_principal(), |vault, party| vault.begin_enrol(party, Enrollee::Caller)).await?;
    Ok(offered(&offer))
}

async fn passkey_finish(
    seat: Seat<Caller>,
    State(app): State<App>,
    headers: HeaderMap,
    Json(done): Json<Script>,
) -> Answer {
    let fields = done.fields();
    fields.check(&app, seat.principal())?;
    let from = origin(seat.address(), &headers);
    let registration = registration(&done.credential)?;
    let enrolled = app.work(seat.into_principal(), move |vault, party| {
        let label = fields.text("label").to_owned();
        vault.finish_enrol(party, Enrollee::Caller, &done.ceremony, &registration, &label, &from)
    });
    enrolled.await?;
    let on: Response = next(paths::ACCOUNT);
    Ok(on)
}

fn unreadable(what: &str) -> Problem {
    Problem::about(Kind::Unprocessable, format!("{what} cannot be read"))
}
