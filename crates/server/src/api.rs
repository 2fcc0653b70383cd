//! The API, version 1: JSON in, JSON out, each route with its permission in the table.
//!
//! * `sign_in`: ways in: invitation, passkey, password and code, a device's code.
//! * `account`: one's own sessions, tokens and factors, and the step up.
//! * `people`: who is here, and with which roles.

pub mod account;
pub mod people;
pub mod sign_in;

use ringfence_engine::team::Caller;

use crate::{app::App, routes::Routes};

/// Every route of the API.
pub fn routes() -> Routes<App, Caller> {
    Routes::default().and(sign_in::routes()).and(account::routes()).and(people::routes())
}
