//! The pages: functions from what is known to HTML, and the thin layer that finds out what is known.
//!
//! * [`entry`], [`enrol`], [`account`]: coming in, and one's own things.
//! * [`overview`], [`artifacts`], [`artifact`], [`review`], [`run`], [`queue`], [`attacks`], [`trail`]: the work.
//! * [`security`] with [`schedules`], [`people`], [`policy`]: who may what, and how safe things stand; [`glass`]: doing without
//!   others. [`problem`]: what went wrong.
//! * [`frame`]: what every page stands in; [`parts`], [`findings`], [`chart`]: what they are made of; [`assets`]: style and
//!   script; [`paths`]: where everything is.
//! * [`load`]: views from the engine, in the caller's hands and synchronous.
//!
//! A page is a pure function `fn(&View) -> Markup`: the same view gives the same bytes, and a test needs no server. All but
//! passkeys and the live view works without script.
//!
//! What must stay true: what a stranger wrote reaches a page as text alone ([`parts::name`], [`parts::words`],
//! [`parts::passage`]); no page has an inline style, an inline script or a foreign address; every form that changes
//! something is a `POST` with the session's token; every list has an end.

pub mod account;
pub mod artifact;
pub mod artifacts;
pub mod assets;
pub mod attacks;
pub mod chart;
pub mod enrol;
pub mod entry;
pub mod findings;
pub mod frame;
pub mod glass;
pub mod load;
pub mod overview;
pub mod parts;
pub mod paths;
pub mod people;
pub mod policy;
pub mod problem;
pub mod queue;
pub mod review;
pub mod run;
pub mod schedules;
pub mod security;
pub mod trail;
