//! What people and programs prove who they are with: passkeys, codes, recovery codes, passwords, tokens.
//!
//! * [`passkey`]: Web Authentication, and a passkey in a file for the command line.
//! * [`agent`]: keys in an SSH agent, which approve what others ask for and log nobody in.
//! * [`totp`]: codes of authenticator apps (RFC 6238); a step is never accepted twice.
//! * [`recovery`]: ten codes for the day on which the phone is lost; each is good once.
//! * [`password`]: Argon2id, with the same work for a person who does not exist.
//! * [`token`]: sessions and API tokens that secret scanners recognise; their SHA-256 alone is stored.
//!
//! What must stay true: what is compared with a secret is compared in constant time; what is stored cannot be used to log
//! in, except the key of a [`totp::TotpSecret`], which is stored sealed or not at all; everything typed is bounded first.
//!
//! Absent on purpose: clocks, rows, and lockouts (`access::lockout`).

pub mod agent;
mod base32;
pub mod passkey;
pub mod password;
pub mod recovery;
pub mod token;
pub mod totp;
