//! What the watch sees, and what it must not see.

mod chance;
mod data;
mod jobs;
mod office;
mod people;
mod route;
mod rules;
mod run;
