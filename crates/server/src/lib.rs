//! The team's control plane: the engine behind TLS.
//!
//! Every rule is the engine's; what is here is the way to it. The async world begins and ends in this crate.
//!
//! * [`serve`]: connections. TLS 1.3 with the post-quantum group first, an authority of our own, limits, a graceful stop.
//! * [`guard`]: what every request passes: host, path, origin, rates; what every answer carries.
//! * [`app`], [`api`]: the engine behind the routes; [`run`]: all of it together.
//! * [`routes`]: the table of routes, each with its permission; who calls ([`routes::seat`]).
//! * [`scim`]: people and groups from a directory.
//! * [`witness`]: cosigning the trails of others.
//! * [`pages`]: what people see; [`web`]: the way there. [`problem`]: errors as documents. [`health`]: whether it lives, and can work.
//!
//! A server is put together in this order: [`serve::tls::Tls`], [`serve::Exposure`], [`serve::Listener`] (now the port is
//! known), [`guard::hosts::Hosts`], [`guard::Guard`], [`routes::Routes::service`], [`serve::Listener::serve`].

#![forbid(unsafe_code)]

pub mod api;
pub mod app;
pub mod guard;
pub mod health;
pub mod pages;
pub mod problem;
pub mod routes;
pub mod run;
pub mod scim;
pub mod serve;
pub mod web;
pub mod witness;
