//! Time that a measurement took. Linux only.

use std::{error::Error, fs, time::Instant};

/// A moment in wall time and in CPU time of the whole process.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    wall: Instant,
    cpu: f64,
}

impl Clock {
    /// Reads both; `/proc/self/stat` counts user and system time in hundredths of a second (proc(5), fields 14 and 15).
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        let (_, fields) = stat.rsplit_once(") ").ok_or("unknown form of /proc/self/stat")?;
        let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        Ok(Self { wall: Instant::now(), cpu: f64::from(ticks) / 100.0 })
    }

    /// Seconds since an earlier moment: wall, CPU.
    pub(crate) fn since(&self, earlier: &Self) -> (f64, f64) {
        (self.wall.duration_since(earlier.wall).as_secs_f64(), self.cpu - earlier.cpu)
    }
}
