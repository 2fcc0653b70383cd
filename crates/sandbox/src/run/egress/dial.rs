//! The way out: a name is looked up, every address that it stands for is judged, and one that may be is connected to.
//!
//! Looking up and connecting block; they happen in the thread of the connection that needs them, and hold up no other.

use std::{
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use super::policy::EgressPolicy;

/// Connects to `name` at `port`. The error says why there is no connection, fit for the record.
pub(super) fn dial(policy: &EgressPolicy, name: &str, port: u16) -> Result<TcpStream, String> {
    let deadline = Instant::now() + CONNECT_TIME;
    let mut refusal = None;
    for address in resolve(policy, name, port)? {
        if let Some(reason) = policy.refuse_address(address) {
            refusal.get_or_insert(reason);
            continue;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&SocketAddr::new(address, port), left) {
            Ok(stream) if is_this_machine(&stream) && !policy.networks.iter().any(|open| open.contains(address)) => {
                refusal.get_or_insert(format!("{address} is this machine"));
            }
            Ok(stream) => return Ok(stream),
            Err(error) => {
                refusal.get_or_insert(format!("not reached: {address}: {error}"));
            }
        }
    }
    Err(refusal.unwrap_or_else(|| "not reached: no address answered in time".to_owned()))
}

fn resolve(policy: &EgressPolicy, name: &str, port: u16) -> Result<Vec<IpAddr>, String> {
    let pinned = policy.pinned(name);
    if !pinned.is_empty() {
        return Ok(pinned.into_iter().take(ADDRESSES_MAX).collect());
    }
    // As every program of this host would, with its own list of hosts first.
    let found = (name, port).to_socket_addrs();
    let found = found.map_err(|error| format!("not reached: {error}"))?;
    Ok(found.map(|found| found.ip()).take(ADDRESSES_MAX).collect())
}

/// A connection that begins and ends at the same address has never left.
fn is_this_machine(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(ours), Ok(theirs)) if ours.ip() == theirs.ip())
}

/// How long connecting may take, over all addresses of a name.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
