//! Names are looked up here and nowhere else, and what they stand for is judged before anything is connected to.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    sync::{Arc, mpsc},
    thread,
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
        let found = look_up(host, port, timeout)?;
        let mut admitted = self.empty();
        let mut denied: Option<Denied> = None;
        let mut count = 0;
        for address in found {
            match url.as_ref().map(|url| self.egress.admit_address(url, address.ip())) {
                None | Some(Ok(())) if count < ADDRESSES_MAX => {
                    admitted.push(address);
                    count += 1;
                }
                None | Some(Ok(())) => {}
                Some(Err(error)) => denied = Some(error),
            }
        }
        // One address out of bounds condemns the name: a stranger who mixes them is waiting for a fallback.
        match denied {
            Some(denied) => Err(refuse(denied.into())),
            None if count == 0 => Err(ureq::Error::HostNotFound),
            None => Ok(admitted),
        }
    }
}

/// The system's resolver cannot be interrupted, so it runs beside us and is left behind when it takes too long.
fn look_up(host: String, port: u16, timeout: NextTimeout) -> Result<Vec<SocketAddr>, ureq::Error> {
    if let Some(address) = crate::url::host_address(&host) {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (tell, told) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let _ = tell.send((host.as_str(), port).to_socket_addrs().map(|found| found.take(64).collect::<Vec<_>>()));
    });
    match told.recv_timeout(*timeout.after) {
        // Whatever the system calls it, the name stands for nothing that could be connected to.
        Ok(found) => found.map_err(|_| ureq::Error::HostNotFound),
        Err(_) => Err(ureq::Error::Timeout(timeout.reason)),
    }
}
