//! Records that a sink refused for good: counted while they hold up its queue, then set aside so that the rest goes on.
//!
//! What is set aside stays listed ([`View::set_aside`]) until it is queued again ([`Tx::take_back`]); the alert itself is in
//! the trail. How often is often enough is the caller's choice.

use ringfence_schema::Timestamp;

use super::ALERT_BYTES_MAX;
use crate::{
    error::CatalogError,
    tx::{Tx, limit},
    view::{View, sql_number},
};

/// Most records of one sink that are listed as set aside; the oldest give way. Their alerts are in the trail all the same.
pub const ASIDE_MAX: u64 = 4_096;

/// How often a sink has refused the record that it is to take next, and what it was spared before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The record that was refused last.
    pub seq: u64,
    /// How often, in a row.
    pub count: u32,
    /// When it was refused first.
    pub since: Timestamp,
    /// How many records were ever set aside.
    pub passed: u64,
    /// The newest of those, 0 if there is none.
    pub passed_seq: u64,
}

/// A record that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// Its number in the sink's queue.
    pub seq: u64,
    /// The entry of the trail that holds its alert; of a record that stands for several, the first.
    pub first: u64,
    /// The last entry.
    pub last: u64,
    /// How often it was refused.
    pub count: u32,
    /// When it was set aside.
    pub at: Timestamp,
    /// What the sink said, sealed.
    pub said: Vec<u8>,
}

impl Tx<'_> {
    /// The sink refused record `seq` for good at the moment `at`; how often in a row it has done so, and since when.
    pub fn refused(&mut self, sink: &str, seq: u64, at: Timestamp) -> Result<Refused, CatalogError> {
        if self.view().sink(sink)?.is_none() {
            return Err(CatalogError::SinkUnknown { name: sink.to_owned() });
        }
        let sql = "INSERT INTO refused (sink, seq, count, since_ms, passed, passed_seq) VALUES (?1, ?2, 1, ?3, 0, 0) \
                   ON CONFLICT (sink) DO UPDATE SET \
                   since_ms = CASE WHEN seq = ?2 AND count > 0 THEN since_ms ELSE ?3 END, \
                   count = CASE WHEN seq = ?2 THEN min(count + 1, 1000000) ELSE 1 END, seq = ?2";
        self.execute(sql, (sink, sql_number(seq), sql_number(at.millis())))?;
        Ok(self.view().refused(sink)?.unwrap_or(Refused { seq, count: 1, since: at, passed: 0, passed_seq: 0 }))
    }

    /// Sets the next record of a queue aside: the cursor moves over it, and the sink's failures are forgotten.
    ///
    /// # Errors
    /// [`CatalogError::Cursor`] unless the record is the one after the cursor.
    pub fn set_aside(&mut self, sink: &str, aside: &Aside) -> Result<(), CatalogError> {
        limit("refusal of a sink", aside.said.len(), ALERT_BYTES_MAX)?;
        let row = self.view().sink(sink)?;
        let row = row.ok_or_else(|| CatalogError::SinkUnknown { name: sink.to_owned() })?;
        if aside.seq != row.delivered + 1 {
            return Err(CatalogError::Cursor { name: row.name, up_to: aside.seq, last: row.last });
        }
        self.delivered(sink, aside.seq)?;
        let [seq, first, last, at] = [aside.seq, aside.first, aside.last, aside.at.millis()].map(sql_number);
        let sql = "INSERT INTO aside (sink, seq, first, last, count, at_ms, said) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.execute(sql, (sink, seq, first, last, i64::from(aside.count), at, &aside.said))?;
        let sql = "INSERT INTO refused (sink, seq, count, since_ms, passed, passed_seq) VALUES (?1, 0, 0, 0, 1, ?2) \
                   ON CONFLICT (sink) DO UPDATE SET \
                   seq = 0, count = 0, since_ms = 0, passed = passed + 1, passed_seq = ?2";
        self.execute(sql, (sink, seq))?;
        let sql = "DELETE FROM aside WHERE sink = ?1 AND seq <= \
                   coalesce((SELECT seq FROM aside WHERE sink = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2), 0)";
        self.execute(sql, (sink, sql_number(ASIDE_MAX)))?;
        Ok(())
    }

    /// What was set aside for `sink` of entries `first` to `last` is queued again by the caller, and listed no longer; how
    /// many records that were.
    pub fn take_back(&mut self, sink: &str, first: u64, last: u64) -> Result<u64, CatalogError> {
        let sql = "DELETE FROM aside WHERE sink = ?1 AND first >= ?2 AND last <= ?3";
        Ok(self.execute(sql, (sink, sql_number(first), sql_number(last)))? as u64)
    }
}

impl View<'_> {
    /// How often a sink has refused what it is to take next; nothing where it never refused anything for good.
    pub fn refused(&self, sink: &str) -> Result<Option<Refused>, CatalogError> {
        let sql = "SELECT seq, count, since_ms, passed, passed_seq FROM refused WHERE sink = ?1";
        let row = self
            .one(sql, [sink], |row| Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?]))?;
        let Some([seq, count, since, passed, passed_seq]) = row else { return Ok(None) };
        Ok(Some(Refused {
            seq: self.counted(seq)?,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            since: Timestamp::from_millis(self.counted(since)?),
            passed: self.counted(passed)?,
            passed_seq: self.counted(passed_seq)?,
        }))
    }

    /// What was set aside for `sink`, oldest first; at most [`ASIDE_MAX`] records.
    pub fn set_aside(&self, sink: &str) -> Result<Vec<Aside>, CatalogError> {
        let sql = "SELECT seq, first, last, count, at_ms, said FROM aside WHERE sink = ?1 ORDER BY seq LIMIT ?2";
        let rows = self.many(sql, (sink, sql_number(ASIDE_MAX)), |row| {
            let numbers: [i64; 5] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
            Ok((numbers, row.get::<_, Vec<u8>>(5)?))
        })?;
        let aside = |([seq, first, last, count, at], said): ([i64; 5], Vec<u8>)| {
            Ok(Aside {
                seq: self.counted(seq)?,
                first: self.counted(first)?,
                last: self.counted(last)?,
                count: u32::try_from(count).unwrap_or(u32::MAX),
                at: Timestamp::from_millis(self.counted(at)?),
                said,
            })
        };
        rows.into_iter().map(aside).collect()
    }
}
