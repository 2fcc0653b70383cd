//! Who can reach the server at all.
//!
//! An [`Exposure`] is the proof that a listener may be where it is: on loopback, or beyond with TLS and after somebody said
//! that the vault is ready for strangers (there is an administrator with a second factor).

use std::net::{IpAddr, SocketAddr};

use super::tls::Tls;

/// What is spoken on a connection.
#[derive(Debug, Clone)]
pub enum Channel {
    /// HTTP as it is. On loopback alone.
    Plain,
    /// HTTP in TLS.
    Tls(Tls),
}

/// Why the server does not listen there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExposureError {
    /// Others could read along.
    #[error("`{address}` is beyond this machine, and there is no TLS")]
    NoTls {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// Others could come before the administrator.
    #[error("`{address}` is beyond this machine: {why}")]
    NotReady {
        /// Where it was to listen.
        address: SocketAddr,
        /// What is missing.
        why: String,
    },
}

/// An address to listen on, and what is spoken there.
#[derive(Debug)]
pub struct Exposure {
    pub(super) address: SocketAddr,
    pub(super) channel: Channel,
}

impl Exposure {
    /// `address` with `channel`, if that may be. `may_leave_loopback` is asked only for an address beyond this machine.
    pub fn of(
        address: SocketAddr,
        channel: Channel,
        may_leave_loopback: impl FnOnce() -> Result<(), String>,
    ) -> Result<Self, ExposureError> {
        if !is_loopback(address.ip()) {
            if matches!(channel, Channel::Plain) {
                return Err(ExposureError::NoTls { address });
            }
            may_leave_loopback().map_err(|why| ExposureError::NotReady { address, why })?;
        }
        Ok(Self { address, channel })
    }
}

/// Loopback in every spelling; the unspecified address is not.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
