//! Gives the memory behind whoever passes through a long file back to the system, where new memory is dear.
//!
//! Whatever is read or written goes through the page cache. On most machines a page for it costs next to nothing, and stays
//! there for whoever reads the file next. On virtual machines whose host hands out memory only as it is touched, each new
//! page may cost ten times the copying of what goes into it: a write of 1 GiB took 2.5 to 3.9 s of a processor on one, and .4 s where
//! pages that were written out already could be used again. [`Behind`] finds out which it is, by the processor's time that
//! reading or writing takes; only on the second kind it says that what lies behind is not needed (`POSIX_FADV_DONTNEED`), which begins to
//! write out what is not on the disk yet and drops what is. Nobody waits for the disk.

use std::{
    fs::File,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use nix::{
    fcntl::{PosixFadviseAdvice, posix_fadvise},
    time::{ClockId, clock_gettime},
};

/// What is looked at, and given back, at once.
const WINDOW_BYTES: u64 = 4 << 20;
/// Whoever writes comes back to so many windows, for the disk may not have been done with them before.
const WINDOWS_BACK: u64 = 4;
/// From here on memory is dear: copying 1 MiB takes a fifth of it on slow machines.
const DEAR_PER_MIB: Duration = Duration::from_millis(1);

/// Whether writing has found it dear: the next file, whose first pages may be used ones, need not find out again.
static DEAR_TO_WRITE: AtomicBool = AtomicBool::new(false);

/// See the module. One for each file and each who passes through it.
#[derive(Debug)]
pub struct Behind {
    writes: bool,
    dear: bool,
    /// What was passed through since the last window ended.
    window: Range<u64>,
    spent: Duration,
}

impl Behind {
    /// For a file that is read.
    pub fn reader() -> Self {
        Self { writes: false, dear: false, window: 0..0, spent: Duration::ZERO }
    }

    /// For a file that is written.
    pub fn writer() -> Self {
        Self { writes: true, dear: DEAR_TO_WRITE.load(Ordering::Relaxed), ..Self::reader() }
    }

    /// Runs `act`, which reads or writes `bytes` bytes of `file` from `offset` on.
    pub fn pass<T>(&mut self, file: &File, offset: u64, bytes: usize, act: impl FnOnce() -> T) -> T {
        let (done, spent) = timed(act);
        self.passed(file, offset, bytes, spent);
        done
    }

    /// The same where the reading is done already, and took `spent` of a processor.
    pub(crate) fn passed(&mut self, file: &File, offset: u64, bytes: usize, spent: Duration) {
        if offset != self.window.end {
            (self.window, self.spent) = (offset..offset, Duration::ZERO);
        }
        self.window.end += bytes as u64;
        self.spent += spent;
        let length = self.window.end - self.window.start;
        if length < WINDOW_BYTES {
            return;
        }
        if !self.dear && self.spent.as_nanos() << 20 > DEAR_PER_MIB.as_nanos() * u128::from(length) {
            self.dear = true;
            if self.writes {
                DEAR_TO_WRITE.store(true, Ordering::Relaxed);
            }
        }
        if self.dear {
            let back = if self.writes { WINDOW_BYTES * WINDOWS_BACK } else { 0 };
            give_back(file, self.window.start.saturating_sub(back)..self.window.end);
        }
        (self.window, self.spent) = (self.window.end..self.window.end, Duration::ZERO);
    }

    /// The file is whole, and on the disk.
    pub fn end(&self, file: &File) {
        if self.dear {
            give_back(file, 0..self.window.end);
        }
    }
}

/// What `act` gives, and what it took of a processor.
pub(crate) fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default();
    let before = now();
    let done = act();
    (done, now().saturating_sub(before))
}

/// It is advice: where a file system does not take it, nothing is lost.
fn give_back(file: &File, range: Range<u64>) {
    if let (Ok(from), Ok(length)) = (range.start.try_into(), (range.end - range.start).try_into()) {
        let _ = posix_fadvise(file, from, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::fs::FileExt as _};

    use super::*;

    const MIB: usize = 1 << 20;

    /// Passes 1 MiB at a time, each at the cost that is given.
    fn pass(behind: &mut Behind, file: &File, from: u64, costs: &[Duration]) {
        for (number, cost) in (from..).zip(costs) {
            behind.passed(file, number << 20, MIB, *cost);
        }
    }

    #[test]
    fn only_where_memory_is_dear_is_it_given_back() {
        let (cheap, dear) = (Duration::from_micros(400), Duration::from_micros(2_500));
        let file = tempfile::tempfile().unwrap();
        let mut reader = Behind::reader();
        pass(&mut reader, &file, 0, &[cheap; 8]);
        assert!(!reader.dear);
        pass(&mut reader, &file, 8, &[cheap, dear, dear]);
        assert!(!reader.dear, "the window is not full");
        // Elsewhere a window begins anew.
        pass(&mut reader, &file, 40, &[cheap; 4]);
        assert!(!reader.dear);
        pass(&mut reader, &file, 44, &[dear; 4]);
        assert!(reader.dear);
        pass(&mut reader, &file, 48, &[cheap; 4]);
        assert!(reader.dear, "pages that came back are cheap, and would be used up");
    }

    #[test]
    fn whatever_is_given_back_is_still_in_the_file() {
        let mut file = tempfile::tempfile().unwrap();
        let mut behind = Behind { dear: true, ..Behind::writer() };
        let pieces: Vec<Vec<u8>> = (0..24).map(|number| vec![number; MIB]).collect();
        for (number, piece) in (0..).zip(&pieces) {
            behind.pass(&file, number << 20, MIB, || (&file).write_all(piece)).unwrap();
        }
        file.flush().unwrap();
        behind.end(&file);
        let mut reader = Behind { dear: true, ..Behind::reader() };
        let mut read = vec![0; MIB];
        for (number, piece) in (0..).zip(&pieces) {
            reader.pass(&file, number << 20, MIB, || file.read_exact_at(&mut read, number << 20)).unwrap();
            assert!(read == *piece, "MiB {number}");
        }
    }
}
