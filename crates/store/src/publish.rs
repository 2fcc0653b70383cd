//! Makes packs that are full durable, beside the thread that fills the next one.
//!
//! A pack's fsync waits for the disk while cutting, naming and sealing want the processor. [`Publisher::hand_over`] gives a
//! pack to a thread of its own; [`Publisher::finish`] waits until all of them have their names. At most
//! [`WAITING_PACKS`] wait, so a slow disk slows the writer down instead of filling the page cache.
//!
//! What must stay true: packs are published in the order in which they were handed over, the first failure is the last
//! thing that is tried, and nothing that names a pack is written before [`Publisher::finish`] has returned it.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use crate::{error::StoreError, group::Group, index::PackTable, pack::PackWriter};

/// Most packs that wait for the one that is being made durable.
const WAITING_PACKS: usize = 1;

/// A pack that is durable under its name, and its size in bytes.
pub(crate) type Published = (PackTable, u64);

/// See the module.
pub(crate) struct Publisher {
    group: Arc<Group>,
    /// Started with the first pack.
    thread: Option<Thread>,
}

struct Thread {
    packs: SyncSender<PackWriter>,
    ended: JoinHandle<Result<Vec<Published>, StoreError>>,
}

impl Publisher {
    pub(crate) fn new(group: Arc<Group>) -> Self {
        Self { group, thread: None }
    }

    /// Publishes `pack` later. Waits where too many wait already.
    pub(crate) fn hand_over(&mut self, pack: PackWriter) -> Result<(), StoreError> {
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => Thread::start(self.group.clone())?,
        };
        if thread.packs.send(pack).is_err() {
            // It has ended before its time: it says why.
            return thread.join().and(Err(StoreError::WriterStopped));
        }
        self.thread = Some(thread);
        Ok(())
    }

    /// Publishes `last` too, and gives all packs in the order in which they came.
    pub(crate) fn finish(mut self, last: Option<PackWriter>) -> Result<Vec<Published>, StoreError> {
        let mut published = self.thread.take().map_or(Ok(Vec::new()), Thread::join)?;
        if let Some(pack) = last {
            published.push(publish(&self.group, pack)?);
        }
        Ok(published)
    }
}

impl Thread {
    fn start(group: Arc<Group>) -> Result<Self, StoreError> {
        let (packs, coming) = sync_channel(WAITING_PACKS);
        let ended = thread::Builder::new()
            .name("store-publisher".to_owned())
            .spawn(move || publish_all(&group, &coming))
            .map_err(StoreError::Thread)?;
        Ok(Self { packs, ended })
    }

    fn join(self) -> Result<Vec<Published>, StoreError> {
        drop(self.packs);
        self.ended.join().unwrap_or(Err(StoreError::WriterStopped))
    }
}

fn publish_all(group: &Group, coming: &Receiver<PackWriter>) -> Result<Vec<Published>, StoreError> {
    coming.iter().map(|pack| publish(group, pack)).collect()
}

fn publish(group: &Group, pack: PackWriter) -> Result<Published, StoreError> {
    let mask = group.mask(&pack.id());
    pack.publish(&mask)
}
