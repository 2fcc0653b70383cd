//! Any bytes as what a job says to its doors: questions, TLS, HTTP, dropped packets. What goes on is what came, and how it was cut
//! changes nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringfence_sandbox::run::egress::read_foreign_bytes(data));
