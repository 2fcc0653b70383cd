//! R's saved objects: expressions that wait to be evaluated, calls that start programs, names that R runs by itself.
//!
//! Data frames and fitted models hold calls and functions as a matter of course; those are only told. Absent on purpose:
//! what functions do beyond the names that they call.

use std::io;

use ringfence_format::rdata::{self, End, Fact};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    rules::id,
    source::{Source, bytes_at, length},
};

/// Functions of R that start programs, load native code, fetch, or run source text (R's base and utils).
const RUNNING: [&str; 16] = [
    "system",
    "system2",
    "shell",
    "shell.exec",
    "pipe",
    "dyn.load",
    "library.dynam",
    "socketConnection",
    "download.file",
    "source",
    "sys.source",
    "str2lang",
    "str2expression",
    "mcparallel",
    "install.packages",
    "setHook",
];
/// Names of a workspace that R calls when it starts, ends or draws its prompt.
const CALLED_BY_R: [&str; 5] = [".First", ".Last", ".First.sys", ".First.lib", ".Last.lib"];
/// The same, as they stand in a stream that cannot be walked.
const RUNNING_TEXT: [&[u8]; 8] = [
    b"system(",
    b"system2(",
    b"eval(parse",
    b"shell(",
    b"dyn.load(",
    b"download.file(",
    b"source(\"http",
    b"socketConnection(",
];
/// Facts of one kind that are told.
const TOLD_MAX: usize = 50;

impl Audit<'_> {
    pub(crate) fn r_data(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let whole = length(source)?;
        let most = self.limits.model_bytes_max;
        let bytes = bytes_at(source, 0, most)?;
        let contents = rdata::read(&bytes);
        if contents.functions > 0 {
            self.note(id::R_FUNCTION, &format!("holds {} functions", contents.functions), None);
        }
        let mut told = 0;
        for fact in &contents.facts {
            let (rule, message, at) = match fact {
                Fact::Promise { at } => {
                    (id::R_PROMISE, "an expression is evaluated when the object is looked at".to_owned(), *at)
                }
                Fact::ActiveBinding { name, at } => {
                    (id::R_PROMISE, format!("reading `{}` calls a function", printable(name, 80)), *at)
                }
                Fact::Call { name, at } if RUNNING.contains(&name.as_str()) => {
                    (id::R_CALL, format!("an expression calls `{}`", printable(name, 80)), *at)
                }
                Fact::Binding { name, at } if CALLED_BY_R.contains(&name.as_str()) => {
                    (id::R_CALL, format!("R calls `{}` by itself", printable(name, 80)), *at)
                }
                _ => continue,
            };
            told += 1;
            if told <= TOLD_MAX {
                self.note(rule, &message, Some(at as u64));
            }
        }
        match contents.end {
            End::Whole(end) => {
                if whole > end as u64 {
                    self.note(
                        id::R_BROKEN,
                        &format!("{} bytes follow the object", whole - end as u64),
                        Some(end as u64),
                    );
                    self.inspect_rest(source, end as u64)?;
                }
            }
            End::Broken(at) | End::Limit(at) => {
                let message =
                    if contents.end == End::Broken(at) { "the object breaks off" } else { "larger than is read" };
                self.note(id::R_BROKEN, message, Some(at as u64));
                for text in RUNNING_TEXT {
                    if let Some(at) = memchr::memmem::find(&bytes, text) {
                        let message = format!("holds `{}`", String::from_utf8_lossy(text));
                        self.note(id::R_CALL, &message, Some(at as u64));
                    }
                }
                self.carve(source)?;
            }
        }
        Ok("r-data")
    }
}
