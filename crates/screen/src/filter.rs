//! Writes a dataset without some of its records.

use std::{
    collections::BTreeSet,
    io::{Read, Seek, Write},
};

use ringfence_format::idx::Header;

use crate::{
    error::ScreenError,
    options::Options,
    table::{Format, Table},
};

/// Writes the dataset in `reader` to `out` without the records in `dropped` (in any order).
///
/// Every other byte stays as it is: header, quoting, line ends, blank lines, byte order mark. An IDX file gets a new count,
/// and bytes behind its last item, which no reader sees, are left out; the labels file of an IDX file of images is filtered by
/// a second call with the same `dropped`. What was gzip stays gzip, recompressed without a time stamp.
///
/// # Errors
/// As [`crate::screen`], and [`ScreenError::NoSuchRecord`] for a record beyond the end.
pub fn filter(
    reader: &mut (impl Read + Seek),
    options: &Options,
    dropped: &[u64],
    out: &mut dyn Write,
) -> Result<(), ScreenError> {
    let table = Table::read(reader, &Options { idx_labels: None, ..options.clone() })?;
    let records = table.len() as u64;
    let dropped: BTreeSet<u64> = dropped.iter().copied().collect();
    if let Some(record) = dropped.last().copied().filter(|last| *last >= records) {
        return Err(ScreenError::NoSuchRecord { record, records });
    }
    if table.compressed {
        let mut gzip = flate2::write::GzEncoder::new(out, flate2::Compression::default());
        write(&table, &dropped, &mut gzip)?;
        gzip.finish()?.flush()?;
    } else {
        write(&table, &dropped, out)?;
        out.flush()?;
    }
    Ok(())
}

fn write(table: &Table, dropped: &BTreeSet<u64>, out: &mut dyn Write) -> Result<(), ScreenError> {
    let mut at = 0;
    let mut end = table.bytes.len();
    if table.format == Format::Idx {
        let mut header = Header::parse(&table.bytes)?;
        at = header.bytes();
        end = table.records.last().map_or(at, |last| last.end);
        let gone = u32::try_from(dropped.len()).unwrap_or(u32::MAX);
        if let Some(items) = header.dims.first_mut() {
            *items = items.saturating_sub(gone);
        }
        out.write_all(&header.encode())?;
    }
    for record in dropped {
        let Some(range) = usize::try_from(*record).ok().and_then(|record| table.records.get(record)) else { continue };
        out.write_all(table.bytes.get(at..range.start).unwrap_or(&[]))?;
        at = range.end;
    }
    out.write_all(table.bytes.get(at..end).unwrap_or(&[]))?;
    Ok(())
}
