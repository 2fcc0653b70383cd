//! Keys, sealing, signatures, DSSE and in-toto, the Merkle tree: the only crate that names a cipher.
//!
//! * [`entropy`]: where random bytes come from; [`Passphrase`]: what a person typed.
//! * [`keys`]: the hierarchy of keys and how they are wrapped; [`VaultId`] and [`keys::KeyId`]: random names.
//! * [`seal`]: packs in 64 KiB segments, blobs in one piece; [`ident`]: keyed names of chunks.
//! * [`sign`], [`dsse`], [`statement`]: signatures, envelopes, in-toto statements.
//! * [`root`]: who may sign what, for how long; [`pins`]: the roots and checkpoints that this user holds.
//! * [`merkle`], [`checkpoint`], [`tiles`]: the trail's tree, its proofs, its signed heads, and its layout as static files.
//! * [`note`], [`vkey`], [`witness`]: checkpoints that others cosigned, their keys, and who cosigns and asks for it.
//! * [`waiver`], [`feed`]: signed waivers and advisory feeds.
//! * [`factor`]: passkeys, codes, recovery codes, passwords and tokens, by which people and programs say who they are.
//! * [`oidc`]: ID tokens and key sets of login providers.
//! * [`detached`]: signatures of others over whole folders: [`oms`] (OpenSSF Model Signing), [`minisign`], [`sums`]
//!   (`SHA256SUMS`); with [`ecdsa`] keys, X.509 [`certificate`]s and hashed [`content`].
//!
//! `docs/format.md` specifies every byte that is written here. What must stay true: one nonce is used once under one key;
//! a file that is changed anywhere is refused; secrets zeroise, print `[redacted]`, and are neither cloned nor written.
//! Absent on purpose: clocks, network, databases, and any decision about who may do what.

#![forbid(unsafe_code)]

mod base64url;
pub mod certificate;
pub mod checkpoint;
pub mod content;
pub mod detached;
pub mod dsse;
mod durable;
pub mod ecdsa;
pub mod entropy;
pub mod factor;
pub mod feed;
mod foreign_key;
mod id;
pub mod ident;
pub mod keys;
pub mod merkle;
pub mod minisign;
pub mod note;
pub mod oidc;
pub mod oms;
pub mod pins;
pub mod root;
pub mod seal;
mod secret;
pub mod sign;
pub mod statement;
pub mod sums;
pub mod tiles;
pub mod vkey;
pub mod waiver;
pub mod witness;

pub use id::VaultId;
pub use secret::{Passphrase, PassphraseError};
