//! Names are looked up here and nowhere else, and what they stand for is judged before anything is connected to.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use ureq::{
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};

use crate::{
    error::ReachError,
    policy::{Denied, EgressPolicy},
    url::Url,
};

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Resolves with the system and keeps only what the policy admits.
#[derive(Debug)]
pub(crate) struct CheckedResolver {
    egress: Arc<EgressPolicy>,
    /// Host and port of the configured proxy: whoever configured it has admitted it.
    proxy: Option<(String, u16)>,
}

impl CheckedResolver {
    pub(crate) const fn new(egress: Arc<EgressPolicy>, proxy: Option<(String, u16)>) -> Self {
        Self { egress, proxy }
    }
}

impl Resolver for CheckedResolver {
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let refuse = |error: Box<dyn std::error::Error + Send + Sync>| ureq::Error::Other(error);
        let is_proxy = self.proxy.as_ref().is_some_and(|(host, port)| {
            uri.host().is_some_and(|asked| asked.eq_ignore_ascii_case(host)) && uri.port_u16().unwrap_or(80) == *port
        });
        let (host, port, url) = if is_proxy {
            (uri.host().unwrap_or_default().to_owned(), uri.port_u16().unwrap_or(80), None)
        } else {
            let url = Url::parse(&uri.to_string()).map_err(|error| refuse(error.into()))?;
            (url.host().to_owned(), url.port(), Some(url))
        };
        let found = look_up(host, port, *timeout.after).map_err(|error| match error {
            LookUp::Unknown => ureq::Error::HostNotFound,
            LookUp::Slow => ureq::Error::Timeout(timeout.reason),
        })?;
        if let Some(url) = &url {
            judge(&self.egress, url, &found).map_err(|denied| refuse(denied.into()))?;
        }
        if found.is_empty() {
            return Err(ureq::Error::HostNotFound);
        }
        let mut admitted = self.empty();
        found.into_iter().take(ADDRESSES_MAX).for_each(|address| admitted.push(address));
        Ok(admitted)
    }
}

/// The addresses of a host that the policy admits, for what speaks another protocol than HTTP.
pub(crate) fn addresses(egress: &EgressPolicy, url: &Url, wait: Duration) -> Result<Vec<SocketAddr>, ReachError> {
    egress.admit(url)?;
    let host = url.authority();
    let mut found = look_up(url.host().to_owned(), url.port(), wait).map_err(|error| match error {
        LookUp::Unknown => ReachError::Unresolved { host: host.clone() },
        LookUp::Slow => ReachError::Slow { host: host.clone(), stage: "its name was not resolved" },
    })?;
    judge(egress, url, &found)?;
    found.truncate(ADDRESSES_MAX);
    if found.is_empty() { Err(ReachError::Unresolved { host }) } else { Ok(found) }
}

/// One address out of bounds condemns the name: a stranger who mixes them is waiting for a fallback.
fn judge(egress: &EgressPolicy, url: &Url, found: &[SocketAddr]) -> Result<(), Denied> {
    found.iter().try_for_each(|address| egress.admit_address(url, address.ip()))
}

/// Why there is no address.
enum LookUp {
    Unknown,
    Slow,
}

/// The system's resolver cannot be interrupted, so it runs beside us and is left behind when it takes too long.
fn look_up(host: String, port: u16, wait: Duration) -> Result<Vec<SocketAddr>, LookUp> {
    if let Some(address) = crate::url::host_address(&host) {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (tell, told) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let _ = tell.send((host.as_str(), port).to_socket_addrs().map(|found| found.take(64).collect::<Vec<_>>()));
    });
    match told.recv_timeout(wait) {
        // Whatever the system calls it, the name stands for nothing that could be connected to.
        Ok(found) => found.map_err(|_| LookUp::Unknown),
        Err(_) => Err(LookUp::Slow),
    }
}
