//! 7z archives: every member by its content, and what of the archive stays in the dark.

use std::io::{self, Cursor, Read as _};

use ringfence_format::sevenz::{self, SevenzError};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    rules::id,
    source::{Source, length},
    tar::leaves_folder,
};

/// Expansion at which an archive is called a bomb, if it is large as well.
const BOMB_RATIO: u64 = 200;
/// Size from which the ratio counts, in bytes.
const BOMB_BYTES: u64 = 64 << 20;

impl Audit<'_> {
    pub(crate) fn sevenz(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let packed = length(source)?;
        let (mut stated, mut full) = (0_u64, false);
        let mut reader = &mut *source;
        let walked = sevenz::walk(&mut reader, &mut |member, content| {
            let shown = printable(&member.name, 160);
            if leaves_folder(&member.name) {
                self.note(id::ZIP_PATH, &format!("member `{shown}` leaves the folder"), None);
            }
            if member.unix_mode.is_some_and(|mode| mode & 0o170_000 == 0o120_000) {
                self.note(id::ZIP_PATH, &format!("member `{shown}` is a symbolic link"), None);
            }
            stated = stated.saturating_add(member.size);
            if member.is_directory {
                return true;
            }
            let room = self.room();
            let mut bytes = Vec::new();
            let read = content.take(room).read_to_end(&mut bytes);
            self.inflated = self.inflated.saturating_add(bytes.len() as u64);
            self.within(&member.name, |audit| {
                match read {
                    Ok(_) if (bytes.len() as u64) < member.size && bytes.len() as u64 >= room => {
                        audit.note(id::ZIP_LIMIT, &format!("only the first {room} bytes were unpacked"), None);
                        full = true;
                    }
                    Ok(_) => {}
                    Err(error) => {
                        let message = format!("the member cannot be unpacked: {error}");
                        audit.note(id::SVZ_BROKEN, &message, Some(bytes.len() as u64));
                    }
                }
                audit.inspect(&mut Cursor::new(bytes));
            });
            !full
        });
        if stated > BOMB_BYTES && stated / packed.max(1) > BOMB_RATIO {
            self.note(id::ZIP_BOMB, &format!("{packed} bytes expand to {stated}"), None);
        }
        match walked {
            Ok(summary) => {
                if summary.encrypted > 0 {
                    self.note(id::SVZ_ENCRYPTED, &format!("{} members are encrypted", summary.encrypted), None);
                }
                for failure in &summary.failures {
                    self.note(id::SVZ_BROKEN, failure, None);
                }
                if summary.end < packed {
                    let message = format!("{} bytes follow the archive", packed - summary.end);
                    self.note(id::ZIP_OUTSIDE, &message, Some(summary.end));
                    self.inspect_rest(source, summary.end)?;
                }
            }
            Err(error) => {
                let rule = match &error {
                    SevenzError::Encrypted => id::SVZ_ENCRYPTED,
                    SevenzError::TooLarge { .. } => id::ZIP_LIMIT,
                    _ => id::SVZ_BROKEN,
                };
                self.note(rule, &error.to_string(), None);
                self.carve(source)?;
                self.unread(source)?;
            }
        }
        Ok("7z")
    }
}
