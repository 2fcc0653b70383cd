//! Syslog over TLS (RFC 5425), TCP (RFC 6587) or UDP (RFC 5426).
//!
//! Syslog acknowledges nothing. Over a connection the nearest thing is its closure: a receiver answers it after it has read
//! everything before it. So each call makes a connection of its own, and its messages count as taken once that answer is there.

use std::{io::Write as _, time::Instant};

use ringfence_schema::Timestamp;

use super::{
    Parcel, Sent, Sink, SyslogSettings, SyslogTransport,
    dial::{Dialler, Wire},
    encode::syslog,
    settings::server,
};
use crate::{error::ReachError, url::Url};

/// Most messages of one connection: that many come again if its closure is not answered.
const MESSAGES_MAX: usize = 256;
/// Most bytes of a datagram: 65,535 less the headers of IPv4 and UDP.
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// A receiver of syslog.
pub(super) struct Forwarder {
    dialler: Dialler,
    url: Url,
    settings: SyslogSettings,
}

impl Forwarder {
    pub(super) fn open(dialler: Dialler, settings: &SyslogSettings) -> Result<Self, ReachError> {
        let url = server(&settings.server, settings.transport.scheme())?;
        dialler.admit(&url)?;
        Ok(Self { dialler, url, settings: settings.clone() })
    }

    fn message(&self, parcel: &Parcel<'_>) -> String {
        syslog(parcel, self.settings.facility, self.settings.hostname.as_deref())
    }

    fn stream(&self, parcels: &[Parcel<'_>], deadline: Instant) -> Result<(), ReachError> {
        let mut wire: Wire = match self.settings.transport {
            SyslogTransport::Tls => self.dialler.connect_tls(&self.url, deadline)?,
            SyslogTransport::Tcp | SyslogTransport::Udp => self.dialler.connect(&self.url, deadline)?,
        };
        for parcel in parcels {
            let message = self.message(parcel);
            let frame = format!("{} {message}", message.len());
            wire.write_all(frame.as_bytes()).map_err(|error| wire.trouble(&error, "it did not read on"))?;
        }
        wire.flush().map_err(|error| wire.trouble(&error, "it did not read on"))?;
        match wire.close() {
            Err(ReachError::Slow { .. } | ReachError::Connection { .. }) if !self.settings.await_closure => Ok(()),
            other => other,
        }
    }

    fn datagrams(&self, parcels: &[Parcel<'_>], deadline: Instant) -> Sent {
        let socket = match self.dialler.datagrams(&self.url, deadline) {
            Ok(socket) => socket,
            Err(error) => return Sent::stopped(0, error),
        };
        for (taken, parcel) in parcels.iter().enumerate() {
            if Instant::now() >= deadline {
                return Sent { taken, failure: None };
            }
            let message = self.message(parcel);
            if message.len() > DATAGRAM_BYTES_MAX {
                let what = format!("a datagram for {}", self.url.authority());
                return Sent::stopped(taken, ReachError::TooLarge { what, limit: DATAGRAM_BYTES_MAX as u64 });
            }
            if let Err(error) = socket.send(message.as_bytes()) {
                let reason = error.to_string();
                return Sent::stopped(taken, ReachError::Connection { host: self.url.authority(), reason });
            }
        }
        Sent { taken: parcels.len(), failure: None }
    }
}

impl Sink for Forwarder {
    fn send(&mut self, parcels: &[Parcel<'_>], _: Timestamp, deadline: Instant) -> Sent {
        if self.settings.transport == SyslogTransport::Udp {
            return self.datagrams(parcels, deadline);
        }
        let mut taken = 0;
        for some in parcels.chunks(MESSAGES_MAX) {
            if taken > 0 && Instant::now() >= deadline {
                break;
            }
            if let Err(error) = self.stream(some, deadline) {
                return Sent::stopped(taken, error);
            }
            taken += some.len();
        }
        Sent { taken, failure: None }
    }
}
