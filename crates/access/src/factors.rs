//! Which factors a person has, how strong a login they make, and what follows from it.
//!
//! [`Factors`] is what a person has, a [`Proof`] is one factor shown at a login, [`strength`] is what the proofs of one
//! login amount to. [`strictest`] joins the demands of a vault and of roles. [`mfa_age_ms`] measures the window in which
//! a proof opens dangerous acts.
//!
//! What must stay true: a human without a second factor may enrol one and do nothing else ([`Standing`]), and nobody can
//! fall back into that state by removing factors. There is no switch that turns this off.
//!
//! Absent on purpose: secrets and their checks (`trust::factor`), clocks, sessions.

use std::fmt;

use ringfence_schema::Timestamp;
use serde::{Deserialize, Serialize};

/// How long after a proof of a second factor dangerous acts are open, in milliseconds. The built-in policies say the same.
pub const STEP_UP_WINDOW_MS: u64 = 10 * 60 * 1_000;
/// Most passkeys that one person may have.
pub const PASSKEYS_MAX: u32 = 16;

/// How strongly somebody has logged in. The order is that of strength.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoginStrength {
    /// One factor, or it is not known.
    #[default]
    Any,
    /// Two factors.
    Mfa,
    /// A passkey that verified its user: two factors in one, which cannot be phished.
    Passkey,
}

impl LoginStrength {
    /// Every strength, weakest first.
    pub const ALL: [Self; 3] = [Self::Any, Self::Mfa, Self::Passkey];

    /// The name in policies and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Mfa => "mfa",
            Self::Passkey => "passkey",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub(crate) fn is_any(&self) -> bool {
        *self == Self::Any
    }
}

impl fmt::Display for LoginStrength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The strictest of `demands`; never below [`LoginStrength::Mfa`], whatever they say.
pub fn strictest(demands: impl IntoIterator<Item = LoginStrength>) -> LoginStrength {
    demands.into_iter().fold(LoginStrength::Mfa, LoginStrength::max)
}

/// One factor, shown and checked at a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The password.
    Password,
    /// A code of an authenticator app (RFC 6238).
    Totp,
    /// A recovery code, used up by this.
    RecoveryCode,
    /// A passkey that verified its user by biometrics or a code.
    PasskeyVerified,
    /// A passkey or security key that only showed that it was present.
    PasskeyPresent,
    /// Another provider's word for a login with one factor.
    FederatedAny,
    /// Another provider's word for a login with several.
    FederatedMfa,
}

impl Proof {
    /// Every kind of proof.
    pub const ALL: [Self; 7] = [
        Self::Password,
        Self::Totp,
        Self::RecoveryCode,
        Self::PasskeyVerified,
        Self::PasskeyPresent,
        Self::FederatedAny,
        Self::FederatedMfa,
    ];
}

/// What the proofs of one login amount to; `None`: they do not say who it is.
///
/// A code alone logs nobody in, however many there are. What another provider vouches for is at most
/// [`LoginStrength::Mfa`], because this side has not seen the key.
pub fn strength(proofs: &[Proof]) -> Option<LoginStrength> {
    let has = |proof| proofs.contains(&proof);
    if has(Proof::PasskeyVerified) {
        return Some(LoginStrength::Passkey);
    }
    if has(Proof::FederatedMfa) {
        return Some(LoginStrength::Mfa);
    }
    let known = has(Proof::Password) || has(Proof::FederatedAny);
    let second = has(Proof::Totp) || has(Proof::RecoveryCode) || has(Proof::PasskeyPresent);
    match (known, second) {
        (true, true) => Some(LoginStrength::Mfa),
        (true, false) => Some(LoginStrength::Any),
        (false, _) => has(Proof::PasskeyPresent).then_some(LoginStrength::Any),
    }
}

/// One kind of factor that a person can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// A password.
    Password,
    /// An authenticator app.
    Totp,
    /// One passkey.
    Passkey,
}

/// What a person has. The default is a person who was just invited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factors {
    /// Passkeys that verify their user; at most [`PASSKEYS_MAX`].
    pub passkeys: u32,
    /// There is a password.
    pub password: bool,
    /// There is an authenticator app.
    pub totp: bool,
    /// Another provider vouches for this person, with several factors.
    pub federated_mfa: bool,
    /// Recovery codes that are left. They stand in for a factor and are none themselves.
    pub recovery_codes: u32,
}

/// What a person's factors let them do at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Enrol a second factor, and nothing else.
    EnrolOnly,
    /// What their roles allow.
    Full,
}

impl Factors {
    /// The strongest login that these factors can make; recovery codes do not count.
    pub fn strongest(&self) -> LoginStrength {
        if self.passkeys > 0 {
            LoginStrength::Passkey
        } else if self.federated_mfa || (self.password && self.totp) {
            LoginStrength::Mfa
        } else {
            LoginStrength::Any
        }
    }

    /// Whether this person may do more than enrol.
    pub fn standing(&self) -> Standing {
        if self.strongest() >= LoginStrength::Mfa { Standing::Full } else { Standing::EnrolOnly }
    }

    /// These factors and one more.
    ///
    /// # Errors
    /// [`FactorError::Full`] for the passkey after [`PASSKEYS_MAX`], [`FactorError::Present`] for a second password or
    /// app, which would replace the first: that is a removal, and is to be asked for as one.
    pub fn with(mut self, factor: Factor) -> Result<Self, FactorError> {
        let slot = match factor {
            Factor::Passkey if self.passkeys >= PASSKEYS_MAX => return Err(FactorError::Full),
            Factor::Passkey => {
                self.passkeys += 1;
                return Ok(self);
            }
            Factor::Password => &mut self.password,
            Factor::Totp => &mut self.totp,
        };
        if *slot {
            return Err(FactorError::Present { factor });
        }
        *slot = true;
        Ok(self)
    }

    /// These factors without one.
    ///
    /// # Errors
    /// [`FactorError::Absent`], and [`FactorError::Last`] where a person who had a second factor would be left without.
    pub fn without(mut self, factor: Factor) -> Result<Self, FactorError> {
        let before = self.standing();
        let had = match factor {
            Factor::Passkey => self.passkeys.checked_sub(1).map(|left| self.passkeys = left).is_some(),
            Factor::Password => std::mem::take(&mut self.password),
            Factor::Totp => std::mem::take(&mut self.totp),
        };
        if !had {
            return Err(FactorError::Absent { factor });
        }
        if before == Standing::Full && self.standing() == Standing::EnrolOnly {
            return Err(FactorError::Last { factor });
        }
        Ok(self)
    }
}

/// Why factors cannot be changed so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FactorError {
    /// Too many passkeys.
    #[error("there are {PASSKEYS_MAX} passkeys already")]
    Full,
    /// There is one already.
    #[error("there is a `{factor}` already")]
    Present {
        /// Which.
        factor: Factor,
    },
    /// There is none.
    #[error("there is no `{factor}`")]
    Absent {
        /// Which.
        factor: Factor,
    },
    /// Without it there would be no second factor.
    #[error("without this `{factor}` there would be no second factor")]
    Last {
        /// Which.
        factor: Factor,
    },
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password => "password",
            Self::Totp => "totp",
            Self::Passkey => "passkey",
        })
    }
}

/// Milliseconds since `proven`, for [`Facts::mfa_age_ms`](crate::Facts::mfa_age_ms). `None`, which refuses, where nothing
/// was proven or where the proof is dated after `now`: a clock that went back must not keep a window open.
pub fn mfa_age_ms(proven: Option<Timestamp>, now: Timestamp) -> Option<u64> {
    now.millis().checked_sub(proven?.millis())
}

/// Whether a proof at `proven` still opens dangerous acts at `now`.
pub fn step_up_holds(proven: Option<Timestamp>, now: Timestamp) -> bool {
    mfa_age_ms(proven, now).is_some_and(|age| age < STEP_UP_WINDOW_MS)
}
