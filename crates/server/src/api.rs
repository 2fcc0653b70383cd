//! The API, version 1: JSON in, JSON out, each route with its permission in the table.
//!
//! * `sign_in`: ways in: invitation, passkey, password and code, a device's code.
//! * `federated`: in through another provider.
//! * `account`: one's own sessions, tokens and factors, and the step up.
//! * `people`: who is here, and with which roles. `requests`: what needs other people, and doing without them.
//! * `transfers`: artifacts that come and go piece by piece.
//! * `description`: all of this as OpenAPI.
//! * `artifacts`: what is here, what is known of it, what people decide on it. `records`: trail, runs, alerts, posture.
//!   `schedules`: what the server does by itself. `runs`: commands that run on other machines, under tokens of their own;
//!   `queue`: those that wait for one.

pub mod account;
pub mod artifacts;
pub mod description;
pub mod federated;
pub mod people;
pub mod queue;
pub mod records;
pub mod requests;
pub mod runs;
pub mod schedules;
pub mod sign_in;
pub mod transfers;

use ringfence_engine::team::Caller;

use crate::{app::App, routes::Routes};

/// Every route of the API, with its description.
pub fn routes() -> Routes<App, Caller> {
    let routes = Routes::default()
        .and(sign_in::routes())
        .and(federated::routes())
        .and(account::routes())
        .and(people::routes())
        .and(requests::routes())
        .and(artifacts::routes())
        .and(transfers::routes())
        .and(records::routes())
        .and(runs::routes())
        .and(queue::routes())
        .and(schedules::routes());
    let description = description::route(&routes);
    routes.with(description)
}
