//! Egress: a run reaches the hosts that its policy names, by name, and nothing else.
//!
//! Three places, each able to do less than it looks:
//! 1. the keeper, inside the run's network namespace and before the job exists, makes `lo` the end of every address
//!    (`net`, over `netlink`) and opens the `doors`;
//! 2. the supervisor, outside, serves them (`serve`): it answers questions with addresses that mean something to it alone
//!    (`dns`, `names`), looks at the first bytes of every connection (`inspect`, `hello`, `http`), dials out by name
//!    (`dial`) and carries bytes (`relay`), all in threads beside its loop;
//! 3. the `ledger` counts, bounds and tells.
//!
//! What must stay true: there is no interface but `lo`, so whatever a job does inside its namespace leads to a door or
//! nowhere; nothing is dialled that the policy does not name; no byte goes on before it has said whom it is for; every
//! attempt is told, alone or in a sum.
//!
//! What is not defended: an allowed host is a way out, bounded by the budget. What travels inside TLS is not seen: a server
//! that answers there for another name (by its `Host` field, or after a renegotiation) can be reached through an allowed one.
//!
//! Absent on purpose: proxy variables, interception of TLS, UDP and with it HTTP/3.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    sync::{Arc, Mutex},
    time::Instant,
};

use ringfence_schema::event::Observed;

use super::outbox::Outbox;

mod dial;
mod dns;
mod doors;
mod dropped;
mod hello;
mod http;
mod inspect;
mod ledger;
mod names;
mod net;
mod netlink;
mod policy;
mod relay;
mod serve;

pub(super) use doors::Doors;
pub use policy::{ALLOWED_MAX, Allowed, EgressPolicy, HostPattern, Network, PolicyFault, SENT_BYTES_DEFAULT};

use self::{doors::Mechanism, ledger::Ledger, names::Names};

/// Opens the doors, in the keeper. What travels to the supervisor, and its descriptors.
pub(super) fn open(policy: &EgressPolicy) -> io::Result<(Doors, Vec<OwnedFd>)> {
    doors::open(policy)
}

/// What all threads of one run's egress share.
struct Shared {
    policy: EgressPolicy,
    mechanism: Mechanism,
    has_v6: bool,
    names: Mutex<Names>,
    ledger: Ledger,
}

/// The egress of one run, from the supervisor's side; nothing at all where the policy is empty.
#[derive(Default)]
pub(super) struct Egress {
    shared: Option<Arc<Shared>>,
    measures: Vec<String>,
}

impl Egress {
    /// Serves the doors that the keeper has opened.
    pub(super) fn start(policy: &EgressPolicy, doors: Option<(Doors, Vec<OwnedFd>)>) -> io::Result<Self> {
        let Some((doors, sockets)) = doors else { return Ok(Self::default()) };
        let shared = Arc::new(Shared {
            policy: policy.clone(),
            mechanism: doors.mechanism,
            has_v6: doors.has_v6,
            names: Mutex::default(),
            ledger: Ledger::new(policy.sent_bytes_max, Instant::now())?,
        });
        serve::start(Arc::clone(&shared), &doors.kinds, sockets)?;
        Ok(Self { shared: Some(shared), measures: doors.measures(policy) })
    }

    /// For the record: what holds the network of this run.
    pub(super) fn measures(&self) -> &[String] {
        &self.measures
    }

    /// Ready when there is something to [`Egress::tell`].
    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.shared.as_ref().map(|shared| shared.ledger.bell())
    }

    /// Bytes sent and received so far.
    pub(super) fn bytes(&self) -> (u64, u64) {
        self.shared.as_ref().map_or((0, 0), |shared| shared.ledger.bytes())
    }

    /// Makes events of what happened since.
    pub(super) fn tell(&self, outbox: &mut Outbox) -> io::Result<()> {
        let Some(shared) = &self.shared else { return Ok(()) };
        tell(shared.ledger.due(Instant::now()), outbox)
    }

    /// The job is dead: cuts what is left and makes events of it.
    pub(super) fn end(&mut self, outbox: &mut Outbox) -> io::Result<()> {
        let Some(shared) = &self.shared else { return Ok(()) };
        tell(shared.ledger.end(), outbox)
    }
}

fn tell(
    (attempts, spent): (Vec<ringfence_schema::event::Egress>, Option<String>),
    outbox: &mut Outbox,
) -> io::Result<()> {
    attempts.into_iter().try_for_each(|attempt| outbox.observe(Observed::Egress(attempt)))?;
    spent.map_or(Ok(()), |detail| outbox.observe(Observed::Limit { detail }))
}

/// Reads `bytes` as everything that a job, a kernel or a server may send here: for the fuzz target.
///
/// # Panics
/// Where what passes is not what came, or where the way in which bytes are cut changes what is said about them.
#[doc(hidden)]
pub fn read_foreign_bytes(bytes: &[u8]) {
    let _ = dropped::parse(bytes);
    let _ = hello::wants_another(bytes);
    if let Some(question) = dns::parse(bytes) {
        let _ = dns::answer(&question, dns::Answer::NoName);
    }
    let look = |size: usize| {
        let mut inspector = inspect::Inspector::new("hub.example.org", 443);
        let mut pass = Vec::new();
        let outcome = bytes.chunks(size).try_for_each(|piece| inspector.hear_job(piece, &mut pass));
        assert!(bytes.starts_with(&pass), "what goes on is what came");
        outcome
    };
    assert_eq!(look(bytes.len().max(1)), look(1), "pieces change nothing");
}
