//! Forms that decide something: on what is held, on what others ask, on people, on the policy.

use std::collections::BTreeSet;

use axum::extract::State;
use ringfence_engine::{
    EngineError, Vault, Version,
    access::{Action, PersonKind, Role},
    schema::{Digest, Reference},
    team::{Asked, Caller, Invitation, Invite, PersonId, RequestId, Wanted},
};

use super::{Fields, Script, frame, go, look, next, page};
use crate::{
    api::sign_in::assertion,
    app::App,
    guard::json::Json,
    pages::{
        load,
        parts::words,
        paths,
        people::{MadeInvitation, people},
        policy::policy,
    },
    problem::{Answer, Kind, Problem},
    routes::{Intake, Route, Verb::Post, seat::Seat},
};

/// Longest time for which an acknowledgement holds, unless it is for good, in days.
const ACKNOWLEDGED_DAYS_MAX: u64 = 366;
/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;
/// Characters of an id that is none, as a problem repeats it.
const ID_CHARS_MAX: usize = 40;

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    use Action::{Acknowledge, Admit, Appoint, Ask, Configure, Release, Review, Schedule};
    vec![
        Route::acting(Acknowledge, Post, paths::ALERT_ACKNOWLEDGE, "says that an alert was seen", acknowledge)
            .takes(Intake::Form),
        Route::acting(Review, Post, paths::REVIEW_APPROVE, "lets a held version in", approve)
            .takes(Intake::Form)
            .streaming(),
        Route::acting(Admit, Post, paths::REVIEW_RESUME, "goes on with an admission that was cut off", resume)
            .takes(Intake::Form)
            .streaming(),
        Route::acting(Review, Post, paths::REVIEW_REFUSE, "refuses a held version for good", refuse)
            .takes(Intake::Form),
        Route::acting(
            Release,
            Post,
            paths::ARTIFACT_RELEASE,
            "releases a candidate, or asks others to approve that",
            release,
        )
        .takes(Intake::Form)
        .streaming(),
        Route::signed_in(Post, paths::REQUEST_APPROVE_BEGIN, "what an approval signs", request_begin)
            .takes(Intake::Json)
            .unrecorded(),
        Route::signed_in(Post, paths::REQUEST_APPROVE_FINISH, "approves a request", request_finish).takes(Intake::Json),
        Route::signed_in(Post, paths::REQUEST_REFUSE, "refuses a request", request_refuse).takes(Intake::Form),
        Route::acting(Ask, Post, paths::REQUEST_MAKE, "asks others for something", request_make)
            .takes(Intake::Form)
            .streaming(),
        Route::signed_in(Post, paths::REQUEST_WITHDRAW, "takes one's own request back", request_withdraw)
            .takes(Intake::Form),
        Route::signed_in(Post, paths::REQUEST_CARRY_OUT, "does what was approved", request_carry_out)
            .takes(Intake::Form)
            .streaming(),
        Route::acting(Schedule, Post, paths::SCHEDULE_ADD, "has something done by itself", schedule)
            .takes(Intake::Form),
        Route::acting(Schedule, Post, paths::SCHEDULE_REMOVE, "has it done no more", unschedule).takes(Intake::Form),
        Route::acting(Appoint, Post, paths::PEOPLE_INVITE, "invites somebody", invite).takes(Intake::Form),
        Route::acting(Appoint, Post, paths::PEOPLE_ROLES, "gives and takes roles", roles).takes(Intake::Form),
        Route::acting(Appoint, Post, paths::PEOPLE_DISABLE, "disables somebody", disable).takes(Intake::Form),
        Route::acting(Appoint, Post, paths::PEOPLE_ENABLE, "enables somebody again", enable).takes(Intake::Form),
        Route::acting(Appoint, Post, paths::PEOPLE_RESET, "resets somebody's factors", reset).takes(Intake::Form),
        Route::acting(Action::Read, Post, paths::POLICY_COMPARE, "shows what a policy would change", compare)
            .takes(Intake::Form)
            .streaming(),
        Route::acting(Configure, Post, paths::POLICY_PROPOSE, "asks for a policy to take effect", propose)
            .takes(Intake::Form)
            .streaming(),
    ]
}

/// Carries a form out and goes on.
pub(super) async fn done<T: Send + 'static>(
    seat: Seat<Caller>,
    app: App,
    fields: Fields,
    on: &str,
    work: impl FnOnce(&Vault<'_>, &Fields) -> Result<T, EngineError> + Send + 'static,
) -> Answer {
    fields.check(&app, seat.principal())?;
    app.work(seat.into_principal(), move |vault, _| work(vault, &fields)).await?;
    go(on)
}

/// The version that a form decides on, if its bytes are still those that were shown.
fn shown(vault: &Vault<'_>, fields: &Fields) -> Result<Version, EngineError> {
    let named = fields.text("reference");
    let gone = || EngineError::NotFound { what: "artifact", name: named.to_owned() };
    let reference: Reference = named.parse().map_err(|_| gone())?;
    // That it exists is told only to those who may see what is here.
    vault.look(&reference.to_string())?;
    let version = vault.find(&reference)?;
    if version.tree.to_string() == fields.text("tree") { Ok(version) } else { Err(gone()) }
}

async fn approve(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    let work = |vault: &Vault<'_>, fields: &Fields| vault.approve(&shown(vault, fields)?, fields.text("reason"));
    done(seat, app, fields, paths::REVIEW, work).await
}

async fn resume(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    let work = |vault: &Vault<'_>, fields: &Fields| vault.resume(&shown(vault, fields)?.reference());
    done(seat, app, fields, paths::REVIEW, work).await
}

async fn refuse(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    let work = |vault: &Vault<'_>, fields: &Fields| vault.refuse(&shown(vault, fields)?, fields.text("reason"));
    done(seat, app, fields, paths::REVIEW, work).await
}

async fn release(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    fields.check(&app, seat.principal())?;
    let asked = app.work(seat.into_principal(), move |vault, _| {
        let candidate = shown(vault, &fields)?;
        vault.ask_or_use(|vault| vault.release_candidate(&candidate))
    });
    match asked.await? {
        Asked::Done(released) => go(&paths::reference(&released.version().reference().to_string())),
        Asked::Waiting(_) => go(paths::REVIEW),
    }
}

async fn acknowledge(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    let now = app.now();
    let work = move |vault: &Vault<'_>, fields: &Fields| {
        let named = fields.text("alert");
        let id: Digest =
            named.parse().map_err(|_| EngineError::NotFound { what: "alert", name: words(named, ID_CHARS_MAX) })?;
        let until = match fields.given("days") {
            None => None,
            Some(days) => {
                let days: u64 =
                    days.parse().ok().filter(|days| (1..=ACKNOWLEDGED_DAYS_MAX).contains(days)).ok_or_else(|| {
                        EngineError::Usage { what: format!("the number of days is 1 to {ACKNOWLEDGED_DAYS_MAX}") }
                    })?;
                Some(now.plus_millis(days * DAY_MS))
            }
        };
        vault.acknowledge(id, fields.text("reason"), until)
    };
    done(seat, app, fields, paths::OVERVIEW, work).await
}

async fn schedule(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    let work = |vault: &Vault<'_>, fields: &Fields| {
        vault.plan(fields.text("job"), fields.text("every"), fields.given("at").as_deref())
    };
    done(seat, app, fields, paths::SECURITY, work).await
}

async fn unschedule(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    let work = |vault: &Vault<'_>, fields: &Fields| vault.remove_schedule(fields.text("schedule"));
    done(seat, app, fields, paths::SECURITY, work).await
}

async fn request_begin(seat: Seat<Caller>, State(app): State<App>, Json(asked): Json<Script>) -> Answer {
    let fields = asked.fields();
    fields.check(&app, seat.principal())?;
    let begun = app.work(seat.into_principal(), move |vault, party| {
        let begun = vault.begin_approve(party, &RequestId::from(fields.text("request")))?;
        if begun.request.digest.to_string() != fields.text("digest") {
            return Err(EngineError::Usage {
                what: "the request is not the one that was shown; load the page again".into(),
            });
        }
        Ok(begun.options)
    });
    // The challenge is the request's digest, so there is no ceremony to name.
    let body = serde_json::json!({"ceremony": "", "options": begun.await?});
    Ok(axum::response::IntoResponse::into_response(Json(body)))
}

async fn request_finish(seat: Seat<Caller>, State(app): State<App>, Json(done): Json<Script>) -> Answer {
    let fields = done.fields();
    fields.check(&app, seat.principal())?;
    let (on, assertion) = (fields.next(), assertion(&done.credential)?);
    let approved = app.work(seat.into_principal(), move |vault, party| {
        vault.approve_request(party, &RequestId::from(fields.text("request")), &assertion)
    });
    approved.await.map_err(|found| match found.kind() {
        Kind::SignIn => Problem::about(Kind::Denied, "the passkey's answer does not count"),
        _ => found,
    })?;
    Ok(next(&on))
}

async fn request_refuse(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    let work = |vault: &Vault<'_>, fields: &Fields| {
        vault.refuse_request(&RequestId::from(fields.text("request")), fields.text("reason"))
    };
    done(seat, app, fields, paths::REVIEW, work).await
}

/// What an artifact's page offers to ask others for.
fn wanted(fields: &Fields) -> Result<Wanted, EngineError> {
    let (what, reason) = (fields.text("reference").to_owned(), fields.given("reason"));
    let why = reason.clone().ok_or_else(|| EngineError::Usage { what: "say why".to_owned() })?;
    match fields.text("action") {
        "restore" => Ok(Wanted::Restore { what, reason }),
        "export" => Ok(Wanted::Export { what, reason }),
        "destroy" => Ok(Wanted::Destroy { what: vec![what], reason: why }),
        _ => Err(EngineError::Usage { what: "others are asked to restore, export or destroy a version".to_owned() }),
    }
}

async fn request_make(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    fields.check(&app, seat.principal())?;
    app.fresh(seat.principal())?;
    let asked = app.work(seat.into_principal(), move |vault, _| {
        // That it exists is told only to those who may see what is here.
        vault.look(fields.text("reference"))?;
        vault.make_request(&wanted(&fields)?)
    });
    match asked.await? {
        Asked::Done(_) => go(paths::ARTIFACTS),
        Asked::Waiting(_) => go(paths::REVIEW),
    }
}

async fn request_withdraw(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    let work = |vault: &Vault<'_>, fields: &Fields| vault.withdraw_request(&RequestId::from(fields.text("request")));
    done(seat, app, fields, paths::REVIEW, work).await
}

async fn request_carry_out(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    app.fresh(seat.principal())?;
    let work = |vault: &Vault<'_>, fields: &Fields| vault.carry_out_request(&RequestId::from(fields.text("request")));
    done(seat, app, fields, paths::REVIEW, work).await
}

fn ticked(fields: &Fields) -> BTreeSet<Role> {
    let known = |name: &str| Role::ALL.into_iter().find(|role| role.name() == name);
    fields.every("role").filter_map(known).collect()
}

fn person(fields: &Fields) -> PersonId {
    PersonId::from(fields.text("person"))
}

async fn invite(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    let kind = if fields.text("kind") == "service" { PersonKind::Service } else { PersonKind::Human };
    let name = fields.text("name").to_owned();
    let display = fields.given("display").unwrap_or_else(|| name.clone());
    let invite = Invite { name, display, kind, roles: ticked(&fields) };
    invited(seat, app, fields, move |vault, _| vault.invite(&invite)).await
}

async fn reset(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    invited(seat, app, fields, |vault, fields| vault.reset_factors(&person(fields), fields.text("reason"))).await
}

/// Carries a form out that makes an invitation, which is shown once.
async fn invited(
    seat: Seat<Caller>,
    app: App,
    fields: Fields,
    work: impl FnOnce(&Vault<'_>, &Fields) -> Result<Invitation, EngineError> + Send + 'static,
) -> Answer {
    fields.check(&app, seat.principal())?;
    let shared = app.clone();
    let view = app.work(seat.into_principal(), move |vault, party| {
        let invitation = work(vault, &fields)?;
        let caller = vault.caller();
        let mut view = load::people(vault, frame(&shared, vault)?, &caller.person.id, look::may_appoint(caller))?;
        let here = party.origins().first().map_or("", String::as_str);
        view.made = invitation.token.as_ref().zip(invitation.until).map(|(token, until)| MadeInvitation {
            display: invitation.person.display.clone(),
            link: format!("{here}{}#{}", paths::INVITATION, token.as_str()),
            until,
        });
        Ok(view)
    });
    Ok(page(people(&view.await?)))
}

async fn roles(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    let work = |vault: &Vault<'_>, fields: &Fields| vault.set_roles(&person(fields), &ticked(fields));
    done(seat, app, fields, paths::PEOPLE, work).await
}

async fn disable(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    let work = |vault: &Vault<'_>, fields: &Fields| vault.disable(&person(fields), fields.text("reason"));
    done(seat, app, fields, paths::PEOPLE, work).await
}

async fn enable(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    done(seat, app, fields, paths::PEOPLE, |vault, fields| vault.enable(&person(fields))).await
}

async fn compare(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    fields.check(&app, seat.principal())?;
    let shared = app.clone();
    let view = app.look(seat.into_principal(), "what a policy would change", move |vault| {
        let (text, proposed) = (look::current_policy(vault)?, fields.text("document").to_owned());
        load::policy(vault, frame(&shared, vault)?, text, Some(proposed), look::may_appoint(vault.caller()))
    });
    Ok(page(policy(&view.await?)))
}

async fn propose(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    fields.check(&app, seat.principal())?;
    let asked = app.work(seat.into_principal(), move |vault, _| {
        vault.ask_because(fields.given("reason").as_deref(), |vault| vault.set_policy(fields.text("document")))
    });
    match asked.await? {
        Asked::Done(_) => go(paths::POLICY),
        Asked::Waiting(_) => go(paths::REVIEW),
    }
}
