//! What the watch sees, and what it must not see.

mod chance;
mod jobs;
mod run;
