//! Break-glass and the queue of runs: two pages with forms, over the engine's own calls.

use axum::extract::State;
use ringfence_engine::{
    EngineError, Vault,
    access::{Action, Role},
    queue::{QueueState, QueueView},
    team::{Caller, GlassView, PersonView},
    told::End,
};

use super::{
    Fields,
    decide::done,
    look::{called, may_appoint, show},
};
use crate::{
    app::App,
    pages::{
        glass::{GlassLine, GlassPage, glass},
        paths,
        queue::{QueueLine, QueuePage, Standing, queue},
    },
    problem::Answer,
    routes::{
        Intake, Route,
        Verb::{Get, Post},
        seat::Seat,
    },
};

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    use Action::{BreakGlass, Read, Review, Stop};
    vec![
        Route::acting(Read, Get, paths::GLASS, "who does without the approval of others", glass_page),
        Route::acting(BreakGlass, Post, paths::GLASS_BREAK, "does without the approval of others", break_glass)
            .takes(Intake::Form),
        Route::acting(BreakGlass, Post, paths::GLASS_END, "ends it before its time", end_glass).takes(Intake::Form),
        Route::acting(Review, Post, paths::GLASS_REVIEW, "says what was found", review_glass).takes(Intake::Form),
        Route::acting(Read, Get, paths::QUEUE, "runs that wait for a machine", queue_page),
        Route::acting(Stop, Post, paths::QUEUE_REMOVE, "takes a run out of the queue", remove).takes(Intake::Form),
    ]
}

async fn glass_page(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let read = |vault: &Vault<'_>, frame| {
        let (people, caller) = (vault.people()?, vault.caller());
        let me = &caller.person.id;
        let lines = vault.glasses()?.into_iter().map(|view| glass_line(view, &people, me)).collect();
        Ok(GlassPage { frame, lines, may_break: may_appoint(caller) })
    };
    show(seat, app, "break-glass", read, glass).await
}

fn glass_line(view: GlassView, people: &[PersonView], me: &str) -> GlassLine {
    GlassLine {
        by: called(people, view.person.as_str()),
        own: view.person.as_str() == me,
        review: view.review.map(|review| (called(people, review.by.as_str()), review.at, review.reason)),
        id: view.id,
        reason: view.reason,
        since: view.since,
        until: view.until,
        open: view.open,
    }
}

async fn break_glass(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    app.fresh(seat.principal())?;
    let work = |vault: &Vault<'_>, fields: &Fields| vault.break_glass(fields.text("reason"));
    done(seat, app, fields, paths::GLASS, work).await
}

async fn end_glass(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    app.fresh(seat.principal())?;
    let work = |vault: &Vault<'_>, fields: &Fields| vault.end_break_glass(fields.text("glass"));
    done(seat, app, fields, paths::GLASS, work).await
}

async fn review_glass(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    let work =
        |vault: &Vault<'_>, fields: &Fields| vault.review_break_glass(fields.text("glass"), fields.text("reason"));
    done(seat, app, fields, paths::GLASS, work).await
}

async fn queue_page(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let read = |vault: &Vault<'_>, frame| {
        let people = vault.people()?;
        let mut queued = vault.queued_runs()?;
        // What waits or goes on comes first, what is over behind it, newest first.
        queued.sort_by_key(|view| match view.state {
            QueueState::Over { at, .. } => (true, u64::MAX - at.millis()),
            _ => (false, view.since.millis()),
        });
        let caller = vault.caller();
        let may_stop = may_appoint(caller) || caller.person.roles.contains(&Role::Researcher);
        Ok(QueuePage { frame, lines: queued.into_iter().map(|view| queue_line(view, &people)).collect(), may_stop })
    };
    show(seat, app, "the queue", read, queue).await
}

fn queue_line(view: QueueView, people: &[PersonView]) -> QueueLine {
    let standing = match view.state {
        QueueState::Waiting => Standing::Waiting,
        QueueState::Taken { run, taker, at } => Standing::Taken { run, taker: called(people, taker.as_str()), at },
        QueueState::Over { end, at } => {
            let (good, says) = in_words(end);
            Standing::Over { good, says, at }
        }
    };
    QueueLine {
        by: called(people, view.by.as_str()),
        id: view.id,
        makes: view.name,
        plan: view.plan,
        inputs: view.inputs.into_iter().collect(),
        since: view.since,
        attempts: view.attempts,
        standing,
    }
}

fn in_words(end: End) -> (bool, String) {
    match end {
        End::Released { artifact, .. } => (true, format!("released {artifact}")),
        End::Kept { artifact, .. } => (true, format!("kept {artifact} as a candidate")),
        End::Refused { artifact, reasons, .. } => {
            (false, format!("the release of {artifact} was refused: {}", reasons.join("; ")))
        }
        End::Failed { why } => (false, why),
    }
}

async fn remove(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    let work = |vault: &Vault<'_>, fields: &Fields| -> Result<QueueView, EngineError> {
        vault.unqueue_run(fields.text("queued"))
    };
    done(seat, app, fields, paths::QUEUE, work).await
}
