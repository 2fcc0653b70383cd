//! Recorded streams: good rows, bad rows, and hostile bytes.

use std::io::{BufReader, Read};

use proptest::prelude::*;
use ringfence_watch::replay::{LINE_BYTES_MAX, Row, RowError, Rows, parse_time};

/// Each row or error as one line.
fn told(bytes: &[u8]) -> Vec<String> {
    Rows::new(bytes)
        .map(|row| match row {
            Ok(Row { line, timestamp, at_s, value }) => format!("{line}: {timestamp} = {at_s} s, {value}"),
            Err(error) => error.to_string(),
        })
        .collect()
}

#[test]
fn rows_and_errors_name_their_lines() {
    let text = "\u{feff}host,Timestamp,\"value\"\r\n\
        a,2014-04-01 00:00:00,20.5\r\n\
        \r\n\
        \"b, c\",2014-04-01T02:00:00.25+02:00,-1e3\n\
        a,1396310400,\n\
        a,yesterday,1\n\
        a,2014-02-30 00:00:00,1\n\
        a,2014-04-01 00:00:00,much\n\
        a\n\
        \"a,2014-04-01 00:00:00,1\n\
        a,2014-04-01 00:05:00,NaN";
    insta::assert_snapshot!(told(text.as_bytes()).join("\n"), @r"
    2: 2014-04-01 00:00:00 = 1396310400 s, 20.5
    4: 2014-04-01T02:00:00.25+02:00 = 1396310400.25 s, -1000
    5: 1396310400 = 1396310400 s, NaN
    line 6: `yesterday` is not a timestamp
    line 7: `2014-02-30 00:00:00` is not a timestamp
    line 8: `much` is not a number
    line 9 has no field for `timestamp`
    line 10 is not a CSV record
    11: 2014-04-01 00:05:00 = 1396310700 s, NaN
    ");
}

#[test]
fn a_header_is_needed() {
    assert_eq!(told(b"time,value\n1,2\n"), ["the first line has no column `timestamp`"]);
    assert_eq!(told(b"timestamp\n1\n"), ["the first line has no column `value`"]);
    assert_eq!(told(b""), ["the first line has no column `timestamp`"]);
}

#[test]
fn a_long_line_is_passed_over_without_being_kept() {
    let head = std::io::Cursor::new(&b"timestamp,value\n1,"[..]);
    let long = std::io::repeat(b'7').take(10 * LINE_BYTES_MAX as u64);
    let tail = std::io::Cursor::new(&b"\n2,3\n"[..]);
    let rows: Vec<_> = Rows::new(BufReader::new(head.chain(long).chain(tail))).collect();
    assert!(matches!(rows[0], Err(RowError::LineTooLong { line: 2 })), "{rows:?}");
    assert!(matches!(&rows[1], Ok(row) if row.line == 3 && row.value == 3.0), "{rows:?}");
    assert_eq!(rows.len(), 2);
}

#[test]
fn a_failing_reader_ends_the_rows() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("gone"))
        }
    }
    let rows: Vec<_> = Rows::new(BufReader::new(b"timestamp,value\n1,2\n".chain(Broken))).collect();
    assert!(matches!(rows.last(), Some(Err(RowError::Read { line: 2, .. }))), "{rows:?}");
    assert_eq!(rows.len(), 2);
}

#[test]
fn times_are_those_of_the_calendar() {
    for (text, seconds) in [
        ("1970-01-01 00:00:00", Some(0.0)),
        ("2000-02-29T12:00:00Z", Some(951_825_600.0)),
        ("2014-04-01 00:00:00.500", Some(1_396_310_400.5)),
        ("1969-12-31 23:59:59", Some(-1.0)),
        ("2026-11-20T01:30:00-05:30", Some(1_795_158_000.0)),
        ("0000-01-01 00:00:00", Some(-62_167_219_200.0)),
        ("12.5", Some(12.5)),
        ("inf", None),
        ("1900-02-29 00:00:00", None),
        ("2014-04-01 24:00:00", None),
        ("2014-04-01 00:00:00.", None),
        ("2014-04-01 00:00:00.+1", None),
        ("2014-4-1 00:00:00", None),
        ("00:00:00", None),
        ("2014-04-01 00:00:00+2", None),
    ] {
        assert_eq!(parse_time(text), seconds, "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let with_header = [b"timestamp,value\n", &bytes[..]].concat();
        for row in Rows::new(&with_header[..]).flatten() {
            prop_assert!(row.at_s.is_finite());
        }
    }
}
