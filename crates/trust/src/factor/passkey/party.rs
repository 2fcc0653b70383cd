//! Who asks for passkeys: a domain, and the origins of the pages that may ask in its name.

#![deny(clippy::indexing_slicing)]

use ringfence_schema::Digest;

/// Longest relying party id in bytes: that of a domain name.
const ID_BYTES_MAX: usize = 253;
/// Longest label of a domain name in bytes.
const LABEL_BYTES_MAX: usize = 63;
/// Most origins of one relying party.
const ORIGINS_MAX: usize = 16;

/// What an authenticator has to find out about whoever touches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserVerification {
    /// Who it is, by a code or biometrics: the passkey is two factors in one.
    Required,
    /// That somebody is there: for a security key beside a password. Verification is asked for, and reported if it was done.
    Preferred,
}

/// A relying party (§4): its id, a domain name, and the origins of its pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelyingParty {
    id: String,
    origins: Vec<String>,
    verification: UserVerification,
}

/// Why there is no such relying party.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelyingPartyError {
    /// Not a domain name in lower-case ASCII; an address is none.
    #[error("`{id}` is not a domain name in lower case; passkeys need one, or `localhost`")]
    Id {
        /// The id.
        id: String,
    },
    /// Not `https://` and a host at or under the id, with at most a port; `http://localhost` is allowed for `localhost`.
    #[error("`{origin}` is not an origin of `{id}`")]
    Origin {
        /// The origin.
        origin: String,
        /// The relying party's id.
        id: String,
    },
    /// None, or over the limit.
    #[error("{count} origins, needed are 1 to {ORIGINS_MAX}")]
    Count {
        /// How many.
        count: usize,
    },
}

impl RelyingParty {
    /// The relying party `id`, whose pages have these `origins`, each `https://host` or `https://host:port`. Users have to be
    /// verified.
    pub fn new<S: AsRef<str>>(id: &str, origins: &[S]) -> Result<Self, RelyingPartyError> {
        if !is_domain(id) {
            return Err(RelyingPartyError::Id { id: id.chars().take(ID_BYTES_MAX).collect() });
        }
        if !(1..=ORIGINS_MAX).contains(&origins.len()) {
            return Err(RelyingPartyError::Count { count: origins.len() });
        }
        let origins: Vec<String> = origins.iter().map(|origin| origin.as_ref().to_owned()).collect();
        if let Some(origin) = origins.iter().find(|origin| !is_origin_of(id, origin)) {
            return Err(RelyingPartyError::Origin { origin: origin.clone(), id: id.to_owned() });
        }
        Ok(Self { id: id.to_owned(), origins, verification: UserVerification::Required })
    }

    /// The same with another demand on users.
    #[must_use]
    pub fn with_verification(self, verification: UserVerification) -> Self {
        Self { verification, ..self }
    }

    /// Its domain name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The origins of its pages.
    pub fn origins(&self) -> &[String] {
        &self.origins
    }

    /// What it demands of users.
    pub fn verification(&self) -> UserVerification {
        self.verification
    }

    /// What authenticators call it: SHA-256 of its id.
    pub(super) fn id_hash(&self) -> Digest {
        Digest::of(self.id.as_bytes())
    }
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    // A last label of digits makes an IPv4 address, which browsers refuse.
    let address = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= ID_BYTES_MAX && text.split('.').all(label) && !address
}

pub(super) fn is_origin_of(id: &str, origin: &str) -> bool {
    let (secure, authority) = match origin.split_once("://") {
        Some(("https", authority)) => (true, authority),
        Some(("http", authority)) => (false, authority),
        _ => return false,
    };
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    // Browsers write a port without leading zeros, and never the scheme's own.
    let port_fits = port.is_none_or(|port| {
        port.parse::<u16>().is_ok_and(|number| number.to_string() == port && number != if secure { 443 } else { 80 })
    });
    let below = host.strip_suffix(id).is_some_and(|front| front.is_empty() || front.ends_with('.'));
    is_domain(host) && below && port_fits && (secure || host == "localhost" || host.ends_with(".localhost"))
}

#[cfg(test)]
mod tests {
    use super::{RelyingParty, RelyingPartyError};

    #[test]
    fn origins_belong_to_their_domain() {
        for (id, origin) in [
            ("example.org", "https://example.org"),
            ("example.org", "https://lab.example.org:8443"),
            ("localhost", "http://localhost:8080"),
            ("localhost", "https://localhost"),
        ] {
            assert!(RelyingParty::new(id, &[origin]).is_ok(), "{origin}");
        }
        for (id, origin) in [
            ("example.org", "http://example.org"),
            ("example.org", "https://example.org/"),
            ("example.org", "https://example.org:443"),
            ("example.org", "https://example.org:08443"),
            ("example.org", "https://example.org:+8443"),
            ("example.org", "https://badexample.org"),
            ("example.org", "https://example.org.evil.net"),
            ("example.org", "https://user@example.org"),
            ("example.org", "https://EXAMPLE.org"),
            ("example.org", "example.org"),
            ("example.org", "null"),
        ] {
            let refused = RelyingParty::new(id, &[origin]);
            assert!(matches!(refused, Err(RelyingPartyError::Origin { .. })), "{origin}");
        }
        for id in ["", "Example.org", "192.168.0.1", "[::1]", "a..b", "-a.org", "exämple.org", &"a.".repeat(200)] {
            assert!(matches!(RelyingParty::new(id, &["https://a"]), Err(RelyingPartyError::Id { .. })), "{id}");
        }
        let none: [&str; 0] = [];
        assert!(matches!(RelyingParty::new("a.org", &none), Err(RelyingPartyError::Count { count: 0 })));
    }
}
