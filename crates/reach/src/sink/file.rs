//! Files that collectors read: OCSF as JSON lines, and figures for node_exporter.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Instant,
};

use ringfence_schema::Timestamp;

use super::{
    FileSettings, Gauge, Parcel, PrometheusSettings, Sent, Sink,
    encode::{ocsf, prometheus},
    metrics::Metrics,
};
use crate::error::ReachError;

/// Readable for the collector's group.
const MODE: u32 = 0o640;
/// Readable for all: figures, no names of data.
const MODE_FIGURES: u32 = 0o644;
/// Most moved files that stay.
const KEEP_MAX: u8 = 99;
/// Longest line that a crash can have left unfinished, in bytes.
const LINE_BYTES_MAX: u64 = 256 << 10;

/// One JSON object a line.
pub(super) struct Lines {
    path: PathBuf,
    max_bytes: u64,
    keep: u8,
}

impl Lines {
    pub(super) fn new(settings: &FileSettings) -> Self {
        let FileSettings { path, max_bytes, keep } = settings;
        Self { path: path.clone(), max_bytes: (*max_bytes).max(LINE_BYTES_MAX), keep: (*keep).min(KEEP_MAX) }
    }

    /// Opens the file for appending. A line that a crash left unfinished was never taken, and is cut off.
    fn writer(&self) -> io::Result<File> {
        refuse_others(&self.path)?;
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(&self.path)?;
        let size = file.metadata()?.len();
        let tail = size.min(LINE_BYTES_MAX);
        file.seek(SeekFrom::Start(size - tail))?;
        let mut bytes = Vec::new();
        (&file).take(tail).read_to_end(&mut bytes)?;
        if let Some(unfinished) = bytes.iter().rev().position(|byte| *byte == b'\n').or(Some(bytes.len()))
            && unfinished > 0
        {
            file.set_len(size - unfinished as u64)?;
        }
        Ok(file)
    }

    /// Appends as many lines as fit into the file, all of them on disk; how many.
    fn append(&self, parcels: &[Parcel<'_>]) -> io::Result<usize> {
        let mut file = self.writer()?;
        let size = file.metadata()?.len();
        let mut lines = Vec::new();
        let mut taken = 0;
        for parcel in parcels {
            if taken > 0 && size + lines.len() as u64 >= self.max_bytes {
                break;
            }
            lines.extend(ocsf(parcel).to_string().into_bytes());
            lines.push(b'\n');
            taken += 1;
        }
        file.write_all(&lines)?;
        file.sync_data()?;
        if size == 0 {
            sync_folder(&self.path)?;
        }
        if size + lines.len() as u64 >= self.max_bytes {
            self.rotate()?;
        }
        Ok(taken)
    }

    /// `PATH` becomes `PATH.1`, that becomes `PATH.2`, and so on; the last one goes.
    fn rotate(&self) -> io::Result<()> {
        if self.keep == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.keep).rev() {
            match fs::rename(self.moved(number), self.moved(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.moved(1))?;
        sync_folder(&self.path)
    }

    fn moved(&self, number: u8) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

impl Sink for Lines {
    fn send(&mut self, parcels: &[Parcel<'_>], _: Timestamp, deadline: Instant) -> Sent {
        let mut taken = 0;
        while let Some(rest) = parcels.get(taken..).filter(|rest| !rest.is_empty()) {
            if taken > 0 && Instant::now() >= deadline {
                break;
            }
            match self.append(rest) {
                Ok(count) => taken += count,
                Err(error) => return Sent::stopped(taken, io_error(&self.path, error)),
            }
        }
        Sent { taken, failure: None }
    }
}

/// Figures, replaced as a whole.
pub(super) struct Textfile {
    path: PathBuf,
}

impl Textfile {
    pub(super) fn new(settings: &PrometheusSettings) -> Self {
        Self { path: settings.path.clone() }
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        refuse_others(&self.path)?;
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // The collector reads `*.prom` only, so it never sees this one.
        let part = self.path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE_FIGURES).open(&part)?;
            file.write_all(text.as_bytes())?;
            file.sync_data()?;
            fs::rename(&part, &self.path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        written
    }
}

impl Gauge for Textfile {
    fn show(&mut self, metrics: &Metrics) -> Result<(), ReachError> {
        self.replace(&prometheus(metrics)).map_err(|error| io_error(&self.path, error))
    }
}

/// A link, device or pipe in our place is somebody else's.
fn refuse_others(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.nlink() == 1 => Ok(()),
        Ok(_) => Err(io::Error::other("it is not a plain file of its own")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn io_error(path: &Path, error: io::Error) -> ReachError {
    ReachError::Io { what: path.display().to_string(), error }
}
