//! Screening as its callers see it: formats, filtering, examples, and what seeded attacks leave behind.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small counts and shares")]
#![expect(unreachable_pub, reason = "one crate, several files")]

mod attacks;
mod files;
mod poison;
mod texts;

use std::io::Cursor;

use ringfence_schema::report::ScreenReport;
use ringfence_screen::{Options, ScreenError, screen};

/// Screens bytes without listening to progress.
fn screened(bytes: impl AsRef<[u8]>, options: &Options) -> Result<ScreenReport, ScreenError> {
    screen(&mut Cursor::new(bytes.as_ref()), options, &mut |_| {})
}
