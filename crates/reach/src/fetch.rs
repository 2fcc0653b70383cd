//! A whole file, hashed on its way and compared with what its source says; a connection that breaks is taken up again where
//! it broke.

use std::io::{Read, Write};

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use ringfence_schema::{Digest, Hasher};

use crate::{
    Reach,
    client::Answer,
    error::ReachError,
    listing::{GitBlob, Place, RemoteFile},
    local, s3,
    trusted::HashRule,
};

/// Bytes copied and hashed at a time.
const COPY_BYTES: usize = 256 << 10;
/// Most connections for one file, however much each of them brings.
const CONNECTIONS_MAX: u32 = 256;

/// What a connection must bring to count as progress.
const PROGRESS_BYTES: u64 = 64 << 10;

/// Where to begin.
pub enum Resume<'a> {
    /// With nothing.
    Start,
    /// After these bytes, which the receiver holds already; they are read once, to be hashed.
    After(&'a mut dyn Read),
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes of the whole file.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: Digest,
    /// What they were compared with.
    pub checked: Checked,
    /// Bytes that came over the network this time.
    pub received: u64,
    /// Connections that were made.
    pub connections: u32,
}

/// What a file's bytes were compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// The SHA-256 that the source gives, or that stood beside the link.
    Sha256,
    /// The name that git gives the content: a SHA-1, which resists accidents better than attackers.
    GitBlob,
    /// Nothing: the policy accepts that.
    Nothing,
}

/// The running hashes of one file.
struct Sums {
    sha256: Hasher,
    git: Option<Context>,
}

impl Sums {
    fn new(file: &RemoteFile) -> Self {
        let git = file.git_blob.zip(file.size).map(|(_, size)| {
            let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
            context.update(format!("blob {size}\0").as_bytes());
            context
        });
        Self { sha256: Hasher::new(), git }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(git) = &mut self.git {
            git.update(bytes);
        }
    }

    /// Compares with what is expected.
    fn check(self, file: &RemoteFile, expected: Option<Digest>) -> Result<(Digest, Checked), ReachError> {
        let mismatch = |algorithm, expected: String, found: String| {
            Err(ReachError::HashMismatch { path: file.path.clone(), algorithm, expected, found })
        };
        let sha256 = self.sha256.finish();
        if let Some(expected) = expected {
            return if sha256 == expected {
                Ok((sha256, Checked::Sha256))
            } else {
                mismatch("SHA-256", expected.hex(), sha256.hex())
            };
        }
        let found = self.git.and_then(|git| GitBlob::from_digest(git.finish().as_ref()));
        match (file.git_blob, found) {
            (Some(expected), Some(found)) if expected == found => Ok((sha256, Checked::GitBlob)),
            (Some(expected), found) => mismatch(
                "git blob SHA-1",
                expected.to_string(),
                found.map(|found| found.to_string()).unwrap_or_default(),
            ),
            (None, _) => Ok((sha256, Checked::Nothing)),
        }
    }
}

/// One file on its way.
struct Transfer<'a> {
    reach: &'a Reach,
    file: &'a RemoteFile,
    sums: Sums,
    /// Bytes that the receiver holds.
    done: u64,
    received: u64,
    connections: u32,
    size: Option<u64>,
    expected: Option<Digest>,
    /// The strong entity tag of the first answer.
    tag: Option<String>,
}

pub(crate) fn fetch(
    reach: &Reach,
    file: &RemoteFile,
    out: &mut dyn Write,
    resume: Resume<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Fetched, ReachError> {
    let mut transfer = Transfer {
        reach,
        file,
        sums: Sums::new(file),
        done: 0,
        received: 0,
        connections: 0,
        size: file.size,
        expected: file.sha256,
        tag: None,
    };
    transfer.within_limits()?;
    if let Resume::After(before) = resume {
        transfer.take_up(before)?;
        progress(transfer.done);
    }
    if let Place::Local(path) = &file.place {
        transfer.local(path, out, progress)?;
    } else {
        transfer.remote(out, progress)?;
    }
    out.flush().map_err(|error| ReachError::Io { what: file.path.clone(), error })?;
    let Transfer { sums, done, received, connections, expected, .. } = transfer;
    let (sha256, checked) = sums.check(file, expected)?;
    let foreign = !matches!(file.place, Place::Local(_));
    if checked == Checked::Nothing && foreign && reach.settings.trusted.hash == HashRule::Required {
        return Err(ReachError::Unhashed { path: file.path.clone(), found: Some(sha256) });
    }
    Ok(Fetched { bytes: done, sha256, checked, received, connections })
}

impl Transfer<'_> {
    /// Hashes what the receiver holds already.
    fn take_up(&mut self, before: &mut dyn Read) -> Result<(), ReachError> {
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let bytes =
                before.read(&mut buffer).map_err(|error| ReachError::Io { what: self.file.path.clone(), error })?;
            let Some(piece) = buffer.get(..bytes).filter(|piece| !piece.is_empty()) else { return Ok(()) };
            self.sums.update(piece);
            self.done += piece.len() as u64;
            self.within_limits()?;
        }
    }

    /// Refuses more bytes than the source promised or the policy allows.
    fn within_limits(&self) -> Result<(), ReachError> {
        let limit = self.reach.client.limits().file_bytes_max;
        if self.done > limit || self.size.is_some_and(|size| size > limit) {
            return Err(ReachError::TooLarge { what: self.file.path.clone(), limit });
        }
        match self.size {
            Some(size) if self.done > size => {
                let what = format!("it has more than the {size} bytes that were listed");
                Err(ReachError::Changed { path: self.file.path.clone(), what })
            }
            _ => Ok(()),
        }
    }

    fn local(
        &mut self,
        path: &std::path::Path,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), ReachError> {
        use std::io::{Seek as _, SeekFrom};
        let failed = |error| ReachError::Io { what: path.display().to_string(), error };
        let mut source = local::open(path)?;
        source.seek(SeekFrom::Start(self.done)).map_err(failed)?;
        self.copy(&mut source, 0, out, progress)?.map_err(failed)?;
        match self.size {
            Some(size) if size != self.done => {
                let what = format!("it has {} bytes instead of {size}", self.done);
                Err(ReachError::Changed { path: self.file.path.clone(), what })
            }
            _ => Ok(()),
        }
    }

    /// Asks, copies, and asks for the rest until all is there.
    fn remote(&mut self, out: &mut dyn Write, progress: &mut dyn FnMut(u64)) -> Result<(), ReachError> {
        let attempts_max = self.reach.client.limits().attempts;
        let mut without_progress = 0;
        while self.size != Some(self.done) || (self.connections == 0 && self.done == 0) {
            let range = (self.done > 0).then_some((self.done, None));
            let mut answer = self.reach.ask(self.file, range, self.tag.as_deref())?;
            self.connections += 1;
            let skip = self.begin(&answer)?;
            let before = self.done;
            let url = answer.url.clone();
            let error = match self.copy(&mut answer.body, skip, out, progress)? {
                // Where nobody knows the size, the end of a well-formed answer is the end of the file.
                Ok(()) if self.size.is_none() => return Ok(()),
                Ok(()) => None,
                Err(error) => Some(ReachError::from_io(error, &url)),
            };
            if self.size == Some(self.done) {
                return Ok(());
            }
            without_progress = if self.done - before >= PROGRESS_BYTES { 0 } else { without_progress + 1 };
            if without_progress >= attempts_max || self.connections >= CONNECTIONS_MAX || self.size.is_none() {
                return Err(match (error, self.size) {
                    (Some(slow @ ReachError::Slow { .. }), _) => slow,
                    (_, size) => ReachError::Truncated {
                        path: self.file.path.clone(),
                        bytes: self.done,
                        size: size.unwrap_or(self.done),
                        attempts: self.connections,
                    },
                });
            }
            let cut = error.unwrap_or_else(|| ReachError::Slow { host: url.authority(), stage: "it ended early" });
            self.reach.client.wait(without_progress + 1, &cut)?;
        }
        Ok(())
    }

    /// Judges an answer's head; says how many of its first bytes are there already.
    fn begin(&mut self, answer: &Answer) -> Result<u64, ReachError> {
        let changed = |what: String| ReachError::Changed { path: self.file.path.clone(), what };
        let tag = answer.etag().filter(|tag| !tag.starts_with("W/"));
        match (&self.tag, &tag) {
            (Some(old), Some(new)) if old != new => return Err(changed("its entity tag is another".into())),
            (None, Some(_)) => self.tag = tag,
            _ => {}
        }
        if matches!(self.file.place, Place::S3(_)) && self.expected.is_none() {
            self.expected = s3::sha256(answer);
        }
        let hashed = self.expected.is_some() || self.file.git_blob.is_some();
        if !hashed && self.reach.settings.trusted.hash == HashRule::Required {
            return Err(ReachError::Unhashed { path: self.file.path.clone(), found: None });
        }
        let (first, total) = if answer.status == 206 {
            let range = answer
                .range()
                .filter(|range| range.first == self.done && range.last + 1 == range.total)
                .ok_or_else(|| ReachError::malformed(&answer.url, "it sends another range than was asked for"))?;
            (range.first, Some(range.total))
        } else {
            (0, answer.length())
        };
        match (self.size, total) {
            (Some(size), Some(total)) if size != total => {
                return Err(changed(format!("it has {total} bytes instead of {size}")));
            }
            (None, Some(total)) => {
                self.size = Some(total);
                self.within_limits()?;
            }
            _ => {}
        }
        Ok(self.done - first)
    }

    /// Copies a body behind its first `skip` bytes. The inner result is the reader's; the outer one everything else's.
    fn copy(
        &mut self,
        body: &mut dyn Read,
        mut skip: u64,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<std::io::Result<()>, ReachError> {
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let bytes = match body.read(&mut buffer) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Err(error)),
            };
            let Some(piece) = buffer.get(..bytes).filter(|piece| !piece.is_empty()) else { return Ok(Ok(())) };
            self.received += piece.len() as u64;
            let known = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
            skip -= known as u64;
            let piece = piece.get(known..).unwrap_or_default();
            self.done += piece.len() as u64;
            self.within_limits()?;
            self.sums.update(piece);
            out.write_all(piece).map_err(|error| ReachError::Io { what: self.file.path.clone(), error })?;
            progress(self.done);
        }
    }
}
