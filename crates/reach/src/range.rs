//! Looking into a file at its source without fetching it.
//!
//! [`RangeReader`] is `Read` and `Seek` over blocks that are asked for as they are needed, so that a scanner can read an
//! archive's directory and its pickles and leave gigabytes of weights where they are. Blocks are kept while they are in
//! use; reading on in order asks for more at a time; the bytes that came are counted and bounded.
//!
//! What is read this way is *not* covered by the file's hash: a server may show one thing to whoever looks and another to
//! whoever fetches. What is fetched is hashed, and has to be scanned again.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use crate::{
    Reach,
    client::{Answer, Ask, Credential},
    error::ReachError,
    listing::{Place, RemoteFile},
    local,
    url::Url,
};

/// Bytes of one block.
pub const BLOCK_BYTES: u64 = 64 << 10;
/// Most blocks asked for at once when reading in order.
const RUN_BLOCKS_MAX: u64 = 32;
/// Most blocks that are kept: 16 MiB.
const KEPT_BLOCKS_MAX: usize = 256;

/// A file at its source, readable anywhere.
pub struct RangeReader<'a> {
    reach: &'a Reach,
    file: &'a RemoteFile,
    size: u64,
    position: u64,
    local: Option<File>,
    /// Most recently used last.
    blocks: VecDeque<(u64, Vec<u8>)>,
    /// The block after the last one that came, and how many came with it.
    following: (u64, u64),
    tag: Option<String>,
    /// Where the source redirected to, so that each block does not ask it again.
    storage: Option<Url>,
    fetched: u64,
    fetched_max: u64,
    requests: u64,
}

impl<'a> RangeReader<'a> {
    pub(crate) fn new(reach: &'a Reach, file: &'a RemoteFile) -> Result<Self, ReachError> {
        let local = match &file.place {
            Place::Local(path) => Some(local::open(path)?),
            _ => None,
        };
        let unknown = || ReachError::NoRanges { host: file.url().map(Url::authority).unwrap_or_default() };
        let limit = reach.client.limits().file_bytes_max;
        if file.size.is_some_and(|size| size > limit) {
            return Err(ReachError::TooLarge { what: file.path.clone(), limit });
        }
        Ok(Self {
            reach,
            file,
            size: file.size.ok_or_else(unknown)?,
            position: 0,
            local,
            blocks: VecDeque::new(),
            following: (u64::MAX, 0),
            tag: None,
            storage: None,
            fetched: 0,
            fetched_max: reach.client.limits().range_bytes_max,
            requests: 0,
        })
    }

    /// Lets so many bytes come, where the settings allow fewer: for whoever means to read all of a file.
    #[must_use]
    pub const fn allowing(mut self, bytes: u64) -> Self {
        if bytes > self.fetched_max {
            self.fetched_max = bytes;
        }
        self
    }

    /// Bytes of the file.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that came over the network so far.
    pub const fn fetched(&self) -> u64 {
        self.fetched
    }

    /// Requests that were made so far.
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Copies from block `index` what `buffer` takes from `offset` on.
    fn copy_block(&mut self, index: u64, offset: usize, buffer: &mut [u8]) -> Result<usize, ReachError> {
        if let Some(at) = self.blocks.iter().position(|(kept, _)| *kept == index) {
            if let Some(block) = self.blocks.remove(at) {
                self.blocks.push_back(block);
            }
        } else {
            self.load(index)?;
        }
        let kept = self.blocks.iter().rev().find(|(kept, _)| *kept == index);
        let available = kept.and_then(|(_, block)| block.get(offset..)).unwrap_or_default();
        let bytes = available.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..bytes), available.get(..bytes)) {
            to.copy_from_slice(from);
        }
        Ok(bytes)
    }

    /// Asks for block `index`, and for more behind it when reading goes on in order.
    fn load(&mut self, index: u64) -> Result<(), ReachError> {
        let (next, came) = self.following;
        let run = if index == next { (came * 2).min(RUN_BLOCKS_MAX) } else { 1 };
        let first = index * BLOCK_BYTES;
        let last = first.saturating_add(run * BLOCK_BYTES).min(self.size) - 1;
        let bytes = self.ask(first, last)?;
        let came = (bytes.len() as u64).div_ceil(BLOCK_BYTES);
        let block_bytes = usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX);
        // The block that was asked for goes in last, so that it is not the first to be forgotten.
        let pieces: Vec<&[u8]> = bytes.chunks(block_bytes).collect();
        for (offset, piece) in pieces.into_iter().enumerate().rev() {
            let index = index + offset as u64;
            if !self.blocks.iter().any(|(kept, _)| *kept == index) {
                self.blocks.push_back((index, piece.to_vec()));
            }
        }
        while self.blocks.len() > KEPT_BLOCKS_MAX {
            self.blocks.pop_front();
        }
        self.following = (index + came, came);
        Ok(())
    }

    /// The bytes from `first` to `last`, all of them.
    fn ask(&mut self, first: u64, last: u64) -> Result<Vec<u8>, ReachError> {
        let limits = self.reach.client.limits();
        let mut attempt = 0;
        loop {
            if self.fetched.saturating_add(last - first + 1) > self.fetched_max {
                return Err(ReachError::RangeBudget { path: self.file.path.clone(), limit: self.fetched_max });
            }
            let error = match self.answer(first, last).and_then(|answer| self.take(answer, first, last)) {
                Ok(bytes) => return Ok(bytes),
                Err(error) => error,
            };
            attempt += 1;
            // A signed link to storage expires: the source gives a new one.
            let expired = matches!(error, ReachError::Status { status: 400 | 401 | 403 | 404 | 410, .. });
            let again = error.is_passing() || (expired && self.storage.is_some());
            self.storage = None;
            if !again || attempt >= limits.attempts {
                return Err(error);
            }
            self.reach.client.wait(attempt, &error)?;
        }
    }

    fn answer(&mut self, first: u64, last: u64) -> Result<Answer, ReachError> {
        self.requests += 1;
        let range = Some((first, Some(last)));
        if let Some(url) = &self.storage {
            let ask = Ask { range, unless_changed: self.tag.as_deref(), ..Ask::whole(url) };
            return self.reach.client.open(&Ask { credential: Credential::Anonymous, ..ask });
        }
        let answer = self.reach.ask(self.file, range, self.tag.as_deref())?;
        let redirected = self.file.url().is_some_and(|url| *url != answer.url);
        self.storage = redirected.then(|| answer.url.clone());
        Ok(answer)
    }

    /// Checks that an answer is the part that was asked for, and reads it.
    fn take(&mut self, answer: Answer, first: u64, last: u64) -> Result<Vec<u8>, ReachError> {
        let wanted = last - first + 1;
        let whole = answer.status == 200 && first == 0 && answer.length() == Some(self.size) && wanted == self.size;
        if answer.status != 206 && !whole {
            let changed = self.tag.is_some() && answer.etag() != self.tag;
            return Err(if changed {
                ReachError::Changed { path: self.file.path.clone(), what: "its entity tag is another".into() }
            } else {
                ReachError::NoRanges { host: answer.url.authority() }
            });
        }
        let right = answer.range().is_some_and(|range| (range.first, range.last) == (first, last));
        if !whole && !right {
            return Err(ReachError::malformed(&answer.url, "it sends another range than was asked for"));
        }
        if !whole && answer.range().is_some_and(|range| range.total != self.size) {
            let what = format!("it no longer has {} bytes", self.size);
            return Err(ReachError::Changed { path: self.file.path.clone(), what });
        }
        let tag = answer.etag().filter(|tag| !tag.starts_with("W/"));
        if let (Some(old), Some(new)) = (&self.tag, &tag)
            && old != new
        {
            return Err(ReachError::Changed { path: self.file.path.clone(), what: "its entity tag is another".into() });
        }
        self.tag = self.tag.take().or(tag);
        let url = answer.url.clone();
        let mut bytes = Vec::new();
        let outcome = answer.body.take(wanted).read_to_end(&mut bytes);
        self.fetched += bytes.len() as u64;
        outcome.map_err(|error| ReachError::from_io(error, &url))?;
        if bytes.len() as u64 != wanted {
            return Err(ReachError::Slow { host: url.authority(), stage: "it ended early" });
        }
        Ok(bytes)
    }
}

impl Read for RangeReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.position >= self.size {
            return Ok(0);
        }
        let bytes = if let Some(file) = &mut self.local {
            file.seek(SeekFrom::Start(self.position))?;
            file.read(buffer)?
        } else {
            let offset = usize::try_from(self.position % BLOCK_BYTES).unwrap_or_default();
            self.copy_block(self.position / BLOCK_BYTES, offset, buffer).map_err(io::Error::other)?
        };
        self.position += bytes as u64;
        Ok(bytes)
    }
}

impl Seek for RangeReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}
