//! Artifacts that come and go piece by piece, over a network, with pauses and cuts.
//!
//! * `upload`: declared with names, sizes and digests ([`Declaration`]), brought in order ([`Vault::append_upload`]),
//!   then received, inspected and admitted as [`Vault::add`] does ([`Vault::finish_upload`]).
//! * `download`: decided and recorded once as an export ([`Vault::begin_download`], and [`Vault::begin_bundle`] for the bundle
//!   of a release), then read in ranges ([`Served`]).
//!
//! What must stay true: pieces of an upload are sealed in quarantine as they come, so that no plain text lies on the disk,
//! and nothing committed names them before the whole is there and is what was declared. A transfer is its person's alone.
//! How many there are, how large they may be and how long they may stand still is bounded; whatever is given up is removed.
//!
//! Absent on purpose: transfers that outlive the process. After a restart an upload begins anew; its packs are garbage that
//! the start sweeps. What was received is a version by then: [`Vault::resume`] goes on with it. A download's approval is used
//! up when it begins, as with every other export.

mod download;
mod upload;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ringfence_schema::digest::hex;
use ringfence_trust::entropy::{self, SystemEntropy};
use serde::{Deserialize, Serialize};

use self::download::Download;
pub(crate) use self::upload::Upload;
use crate::{error::EngineError, vault::Vault};

pub use self::{
    download::{DOWNLOAD_LIFE_MS, DOWNLOADS_MAX, DownloadView, OWN_DOWNLOADS_MAX, Served},
    upload::{
        Declaration, OWN_UPLOADS_MAX, STAGED_BYTES_MAX, UPLOAD_BYTES_MAX, UPLOAD_FILES_MAX, UPLOAD_IDLE_MS,
        UPLOADS_MAX, UploadState, UploadView,
    },
};

/// Names a transfer: `u-` or `d-` and 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransferId(String);

impl TransferId {
    fn random(kind: &str) -> Self {
        let bytes: [u8; 16] = entropy::bytes(&mut SystemEntropy::new());
        Self(format!("{kind}-{}", hex(&bytes)))
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for TransferId {
    /// Whatever stands there; an id that nothing has is found nowhere.
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// The transfers under way in this process.
#[derive(Default)]
pub(crate) struct TransferDesk {
    uploads: Mutex<BTreeMap<TransferId, Arc<Upload>>>,
    downloads: Mutex<BTreeMap<TransferId, Download>>,
    /// Whose turn it is to go on with an admission that was cut off.
    resuming: Mutex<()>,
}

impl TransferDesk {
    fn uploads(&self) -> MutexGuard<'_, BTreeMap<TransferId, Arc<Upload>>> {
        held(&self.uploads)
    }

    fn downloads(&self) -> MutexGuard<'_, BTreeMap<TransferId, Download>> {
        held(&self.downloads)
    }
}

/// What it guards is whole between any two statements, so a thread that died with it broke nothing.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Vault<'_> {
    /// Removes what was given up or has come to its end.
    pub(crate) fn sweep_transfers(&self) {
        let now = (self.settings.now)();
        upload::sweep(&self.transfers, now);
        self.transfers.downloads().retain(|_, download| now < download.until());
    }

    /// What is said of a transfer that is not there, or is somebody else's: to those only who may see what is here.
    fn no_transfer<T>(&self, what: &'static str, id: &TransferId) -> Result<T, EngineError> {
        self.look(what)?;
        Err(EngineError::NotFound { what, name: id.to_string() })
    }
}
