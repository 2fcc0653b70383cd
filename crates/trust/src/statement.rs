//! Signed in-toto statements: `schema`'s records in DSSE envelopes, checked against a trust root.

#![deny(clippy::indexing_slicing)]

use ringfence_schema::{
    canon::{self, CanonError},
    evidence::{STATEMENT_TYPE, Statement},
};

use crate::{
    dsse::{self, DsseError, Envelope, PayloadType},
    root::{SignerRefusal, TrustRoot},
    sign::{SigningKey, VerifyingKey},
};

/// Why a statement was not signed or does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// Not a valid envelope, or a signature does not hold.
    #[error("statement: {0}")]
    Envelope(#[from] DsseError),
    /// Not the canonical JSON of a statement.
    #[error("statement: {0}")]
    Canon(#[from] CanonError),
    /// Not in-toto Statement v1, or without a subject named by its SHA-256.
    #[error("statement: {what}")]
    Invalid {
        /// What is wrong.
        what: &'static str,
    },
    /// A signer may not issue it.
    #[error("statement signed by `{key}`: {refusal}")]
    Signer {
        /// The signer.
        key: VerifyingKey,
        /// Why not.
        refusal: SignerRefusal,
    },
}

/// A statement all of whose signers may issue it.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedStatement {
    statement: Statement,
    signers: Vec<VerifyingKey>,
}

impl SignedStatement {
    /// What it says.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Who signed it.
    pub fn signers(&self) -> &[VerifyingKey] {
        &self.signers
    }
}

/// Signs a statement and yields the file.
pub fn seal(statement: &Statement, keys: &[&SigningKey]) -> Result<Vec<u8>, StatementError> {
    check(statement)?;
    Ok(dsse::seal(PayloadType::InToto, &canon::to_canonical(statement)?, keys)?)
}

/// Checks a file that is recorded at trail index `index`: form, signatures, and that `root` lets every signer issue such
/// a statement there.
pub fn open(file: &[u8], root: &TrustRoot, index: u64) -> Result<SignedStatement, StatementError> {
    let known: Vec<_> = root.document().keys.iter().map(|entry| entry.key).collect();
    let opened = Envelope::parse(file)?.verify(PayloadType::InToto, &known)?;
    let statement: Statement = canon::from_canonical(opened.payload())?;
    check(&statement)?;
    for key in opened.signers() {
        root.may_sign(key, &statement.predicate_type, index)
            .map_err(|refusal| StatementError::Signer { key: *key, refusal })?;
    }
    Ok(SignedStatement { statement, signers: opened.signers().to_vec() })
}

fn check(statement: &Statement) -> Result<(), StatementError> {
    let invalid = |what| Err(StatementError::Invalid { what });
    if statement.statement_type != STATEMENT_TYPE {
        return invalid("not of type in-toto Statement v1");
    }
    if statement.subject.is_empty() || statement.subject.iter().any(|subject| subject.sha256().is_none()) {
        return invalid("every statement has a subject, and every subject a SHA-256");
    }
    Ok(())
}
