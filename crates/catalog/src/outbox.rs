//! Alerts on their way to sinks: an index of those in the trail, and for each sink a queue with a cursor.
//!
//! An alert is filed ([`Tx::file_alert`]) and queued ([`Tx::enqueue`]) in the transaction that appends its entry, so there is
//! no moment at which it is in the trail and not on its way. A sink's queue is numbered without gaps; the cursor moves
//! ([`Tx::delivered`]) only over what the sink took. What a queue holds is sealed by the caller, who binds it to its number.
//!
//! A queue is bounded by [`QUEUE_MAX`]. Once it is full the oldest stay and new ones are counted; when it has drained to
//! [`QUEUE_RESUME`], one record in their place says how many there were and between which entries of the trail, where all
//! of them still are.
//!
//! What a sink refuses for good is set aside (`aside`), so that one record does not hold up the rest.
//!
//! Absent on purpose: clocks, and any idea of what a sink is.

mod aside;

use ringfence_schema::Timestamp;
use rusqlite::Row;

use crate::{
    error::CatalogError,
    tx::{NAME_BYTES_MAX, Tx, limit},
    view::{View, sql_number},
};

pub use aside::{ASIDE_MAX, Aside, Refused};

/// Most records that wait for one sink.
pub const QUEUE_MAX: u64 = 65_536;
/// A queue that was full takes alerts again once no more than so many records wait in it.
pub const QUEUE_RESUME: u64 = QUEUE_MAX / 4 * 3;
/// Largest sealed alert in bytes.
pub const ALERT_BYTES_MAX: usize = 64 << 10;
/// Most sinks that have a queue.
pub const SINKS_MAX: usize = 64;
/// Most records that one call returns.
pub const PENDING_MAX: u64 = 1_024;

/// What begins the names of commitments to alerts; each of them has a row in the index.
pub const ALERT_COMMIT: &str = "alert-";

/// An alert of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRow {
    /// Opaque key; one for each alert.
    pub key: Vec<u8>,
    /// The entry that commits to it.
    pub entry: u64,
    /// The name of that commitment.
    pub name: String,
}

/// How it stands with a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkRow {
    /// Its name.
    pub name: String,
    /// The number of the newest record, 0 if there never was one.
    pub last: u64,
    /// The number of the newest record that it took, or that was set aside.
    pub delivered: u64,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// Before this moment nothing is tried.
    pub due: Timestamp,
    /// What the last failure was, sealed.
    pub said: Option<Vec<u8>>,
    /// What was not queued since the queue became full.
    pub lost: Option<Lost>,
}

impl SinkRow {
    /// How many records wait.
    pub fn pending(&self) -> u64 {
        self.last.saturating_sub(self.delivered)
    }
}

/// Alerts that were not queued because the queue was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// The entry of the first one.
    pub first: u64,
    /// The entry of the last one.
    pub last: u64,
}

/// One record of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its number within the sink's queue, from 1, without gaps.
    pub seq: u64,
    /// What it is.
    pub content: QueuedContent,
}

/// What a record of a queue is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueuedContent {
    /// An alert.
    Alert {
        /// Its opaque key.
        key: Vec<u8>,
        /// Its sealed bytes.
        bytes: Vec<u8>,
    },
    /// Stands for alerts that were not queued.
    Lost(Lost),
}

impl Tx<'_> {
    /// Lists an alert that entry `entry` commits to under `name`.
    ///
    /// # Errors
    /// [`CatalogError::AlertExists`] if its key is listed already.
    pub fn file_alert(&mut self, key: &[u8], entry: u64, name: &str) -> Result<(), CatalogError> {
        limit("key of an alert", key.len(), NAME_BYTES_MAX)?;
        limit("name of an alert", name.len(), NAME_BYTES_MAX)?;
        let sql = "INSERT INTO alert (key, entry, name) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO NOTHING";
        match self.execute(sql, (key, sql_number(entry), name))? {
            0 => Err(CatalogError::AlertExists),
            _ => Ok(()),
        }
    }

    /// Queues an alert for `sink`, whose queue is made with its first alert. `seal` is told its number. Whether it was
    /// queued; if not, it was counted.
    pub fn enqueue<E: From<CatalogError>>(
        &mut self,
        sink: &str,
        key: &[u8],
        entry: u64,
        seal: impl FnOnce(u64) -> Result<Vec<u8>, E>,
    ) -> Result<bool, E> {
        let row = self.open_queue(sink)?;
        if row.lost.is_some() || row.pending() >= QUEUE_MAX - 1 {
            let sql = "UPDATE sink SET lost = lost + 1, lost_last = ?2, \
                       lost_first = CASE WHEN lost = 0 THEN ?2 ELSE lost_first END WHERE name = ?1";
            self.execute(sql, (sink, sql_number(entry)))?;
            return Ok(false);
        }
        let seq = row.last + 1;
        let bytes = seal(seq)?;
        limit("alert", bytes.len(), ALERT_BYTES_MAX)?;
        let sql =
            "INSERT INTO outbox (sink, seq, key, bytes, lost, lost_first, lost_last) VALUES (?1, ?2, ?3, ?4, 0, 0, 0)";
        self.execute(sql, (sink, sql_number(seq), key, bytes))?;
        self.execute("UPDATE sink SET last = ?2 WHERE name = ?1", (sink, sql_number(seq)))?;
        Ok(true)
    }

    fn open_queue(&mut self, sink: &str) -> Result<SinkRow, CatalogError> {
        if let Some(row) = self.view().sink(sink)? {
            return Ok(row);
        }
        limit("name of a sink", sink.len(), NAME_BYTES_MAX)?;
        limit("list of sinks", self.view().sinks()?.len() + 1, SINKS_MAX)?;
        let sql = "INSERT INTO sink (name, last, delivered, failures, due_ms, lost, lost_first, lost_last) \
                   VALUES (?1, 0, 0, 0, 0, 0, 0, 0)";
        self.execute(sql, [sink])?;
        let lost = None;
        Ok(SinkRow {
            name: sink.to_owned(),
            last: 0,
            delivered: 0,
            failures: 0,
            due: Timestamp::from_millis(0),
            said: None,
            lost,
        })
    }

    /// The sink took every record up to number `up_to`: they leave the queue, and its failures are forgotten. A queue that
    /// was full and has drained gets the record that stands for what was not queued.
    ///
    /// # Errors
    /// [`CatalogError::Cursor`] for a number that was not given yet. One that was passed already changes nothing.
    pub fn delivered(&mut self, sink: &str, up_to: u64) -> Result<(), CatalogError> {
        let Some(row) = self.view().sink(sink)? else {
            return Err(CatalogError::SinkUnknown { name: sink.to_owned() });
        };
        if up_to > row.last {
            return Err(CatalogError::Cursor { name: sink.to_owned(), up_to, last: row.last });
        }
        let delivered = row.delivered.max(up_to);
        self.execute("DELETE FROM outbox WHERE sink = ?1 AND seq <= ?2", (sink, sql_number(delivered)))?;
        let sql = "UPDATE sink SET delivered = ?2, failures = 0, due_ms = 0, said = NULL WHERE name = ?1";
        self.execute(sql, (sink, sql_number(delivered)))?;
        match row.lost {
            Some(lost) if row.last - delivered <= QUEUE_RESUME => self.tell_lost(sink, row.last + 1, lost),
            _ => Ok(()),
        }
    }

    fn tell_lost(&mut self, sink: &str, seq: u64, lost: Lost) -> Result<(), CatalogError> {
        let [count, first, last] = [lost.count, lost.first, lost.last].map(sql_number);
        let sql = "INSERT INTO outbox (sink, seq, lost, lost_first, lost_last) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.execute(sql, (sink, sql_number(seq), count, first, last))?;
        let sql = "UPDATE sink SET last = ?2, lost = 0, lost_first = 0, lost_last = 0 WHERE name = ?1";
        self.execute(sql, (sink, sql_number(seq)))?;
        Ok(())
    }

    /// The sink failed; nothing is tried before `due`. `said` is what it was, sealed.
    pub fn failed(&mut self, sink: &str, due: Timestamp, said: &[u8]) -> Result<(), CatalogError> {
        limit("failure of a sink", said.len(), ALERT_BYTES_MAX)?;
        let sql = "UPDATE sink SET failures = min(failures + 1, 1000000), due_ms = ?2, said = ?3 WHERE name = ?1";
        match self.execute(sql, (sink, sql_number(due.millis()), said))? {
            0 => Err(CatalogError::SinkUnknown { name: sink.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Gives up a sink with all that waits for it; how many records that were. They stay in the trail.
    pub fn forget_sink(&mut self, sink: &str) -> Result<u64, CatalogError> {
        let waiting = self.execute("DELETE FROM outbox WHERE sink = ?1", [sink])?;
        self.execute("DELETE FROM aside WHERE sink = ?1", [sink])?;
        self.execute("DELETE FROM refused WHERE sink = ?1", [sink])?;
        self.execute("DELETE FROM sink WHERE name = ?1", [sink])?;
        Ok(waiting as u64)
    }
}

impl View<'_> {
    /// The alert with this key.
    pub fn alert(&self, key: &[u8]) -> Result<Option<AlertRow>, CatalogError> {
        let sql = "SELECT key, entry, name FROM alert WHERE key = ?1";
        self.one(sql, [key], alert_row)?.map(|row| self.alert_of(row)).transpose()
    }

    /// At most `limit` alerts of entries below `below`, newest first; whole entries only, so that the next call can go on
    /// below the last one's entry.
    pub fn alerts(&self, below: u64, limit: usize) -> Result<Vec<AlertRow>, CatalogError> {
        let sql = "SELECT key, entry, name FROM alert WHERE entry < ?1 AND entry >= \
                   coalesce((SELECT entry FROM alert WHERE entry < ?1 ORDER BY entry DESC LIMIT 1 OFFSET ?2), 0) \
                   ORDER BY entry DESC, name DESC";
        let rows = self.many(sql, [sql_number(below), sql_number(limit.saturating_sub(1) as u64)], alert_row)?;
        rows.into_iter().map(|row| self.alert_of(row)).collect()
    }

    /// The alerts of entries `first` to `last`, oldest first, at most [`PENDING_MAX`] of them.
    pub fn alerts_between(&self, first: u64, last: u64) -> Result<Vec<AlertRow>, CatalogError> {
        let sql = "SELECT key, entry, name FROM alert WHERE entry BETWEEN ?1 AND ?2 ORDER BY entry, name LIMIT ?3";
        let rows = self.many(sql, [first, last, PENDING_MAX].map(sql_number), alert_row)?;
        rows.into_iter().map(|row| self.alert_of(row)).collect()
    }

    /// How many alerts there are.
    pub fn alert_count(&self) -> Result<u64, CatalogError> {
        let count: Option<i64> = self.one("SELECT count(*) FROM alert", [], |row| row.get(0))?;
        Ok(u64::try_from(count.unwrap_or_default()).unwrap_or(0))
    }

    fn alert_of(&self, (key, entry, name): (Vec<u8>, i64, String)) -> Result<AlertRow, CatalogError> {
        Ok(AlertRow { key, entry: self.counted(entry)?, name })
    }

    /// A sink that has a queue.
    pub fn sink(&self, name: &str) -> Result<Option<SinkRow>, CatalogError> {
        self.one(&format!("{SINK} WHERE name = ?1"), [name], sink_row)?.map(|row| self.sink_of(row)).transpose()
    }

    /// The sinks that have a queue, by name.
    pub fn sinks(&self) -> Result<Vec<SinkRow>, CatalogError> {
        let rows = self.many(&format!("{SINK} ORDER BY name"), [], sink_row)?;
        rows.into_iter().map(|row| self.sink_of(row)).collect()
    }

    fn sink_of(&self, (name, numbers, said): SinkColumns) -> Result<SinkRow, CatalogError> {
        let [last, delivered, failures, due, lost, lost_first, lost_last] = numbers;
        Ok(SinkRow {
            name,
            last: self.counted(last)?,
            delivered: self.counted(delivered)?,
            failures: u32::try_from(failures).unwrap_or(u32::MAX),
            due: Timestamp::from_millis(self.counted(due)?),
            said,
            lost: self.lost(lost, lost_first, lost_last)?,
        })
    }

    fn lost(&self, count: i64, first: i64, last: i64) -> Result<Option<Lost>, CatalogError> {
        let lost = Lost { count: self.counted(count)?, first: self.counted(first)?, last: self.counted(last)? };
        Ok((lost.count > 0).then_some(lost))
    }

    /// The oldest records that wait for `sink`, in order, at most `limit` and [`PENDING_MAX`] of them. Records whose
    /// numbers do not follow the cursor without a gap are an error: somebody took one out.
    pub fn pending(&self, sink: &str, limit: u64) -> Result<Vec<Queued>, CatalogError> {
        let Some(state) = self.sink(sink)? else { return Ok(Vec::new()) };
        let sql = "SELECT seq, key, bytes, lost, lost_first, lost_last FROM outbox \
                   WHERE sink = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
        let wanted = limit.min(PENDING_MAX);
        let rows = self.many(sql, (sink, sql_number(state.delivered), sql_number(wanted)), |row| {
            let numbers: [i64; 3] = [row.get(3)?, row.get(4)?, row.get(5)?];
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<Vec<u8>>>(1)?, row.get::<_, Option<Vec<u8>>>(2)?, numbers))
        })?;
        let mut queued = Vec::with_capacity(rows.len());
        for (expected, (seq, key, bytes, [lost, first, last])) in (state.delivered + 1..).zip(rows) {
            let seq = self.counted(seq)?;
            let content = match (key, bytes, self.lost(lost, first, last)?) {
                (Some(key), Some(bytes), None) => QueuedContent::Alert { key, bytes },
                (None, None, Some(lost)) => QueuedContent::Lost(lost),
                _ => return Err(self.damaged(format!("record {seq} of the queue for `{sink}` is unreadable"))),
            };
            if seq != expected {
                return Err(self.damaged(format!("record {expected} of the queue for `{sink}` is missing")));
            }
            queued.push(Queued { seq, content });
        }
        if (queued.len() as u64) < wanted.min(state.pending()) {
            let expected = state.delivered + 1 + queued.len() as u64;
            return Err(self.damaged(format!("record {expected} of the queue for `{sink}` is missing")));
        }
        Ok(queued)
    }

    fn counted(&self, number: i64) -> Result<u64, CatalogError> {
        u64::try_from(number).map_err(|_| self.damaged("a number of the outbox is below 0"))
    }
}

/// The index of alerts as `verify` compares it: entry and name of the commitment.
pub(crate) fn stored_alerts(view: &View<'_>) -> Result<Vec<(u64, String)>, CatalogError> {
    let sql = "SELECT entry, name FROM alert ORDER BY entry, name";
    view.many(sql, [], |row| Ok((u64::try_from(row.get::<_, i64>(0)?).unwrap_or(u64::MAX), row.get(1)?)))
}

const SINK: &str = "SELECT name, last, delivered, failures, due_ms, lost, lost_first, lost_last, said FROM sink";

type SinkColumns = (String, [i64; 7], Option<Vec<u8>>);

fn sink_row(row: &Row<'_>) -> rusqlite::Result<SinkColumns> {
    let numbers = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?];
    Ok((row.get(0)?, numbers, row.get(8)?))
}

fn alert_row(row: &Row<'_>) -> rusqlite::Result<(Vec<u8>, i64, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}
