//! Sources of models under one egress policy, against servers on loopback.

mod bucket;
mod faults;
mod hub;
mod names;
mod policy;
mod properties;
mod python;
mod ranges;
mod secrets;
mod web;
mod world;
