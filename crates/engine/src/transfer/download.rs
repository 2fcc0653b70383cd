//! What somebody takes out, an artifact or the bundle of a release: decided once, then read in ranges.

use std::{
    io::{Seek as _, SeekFrom},
    ops::{ControlFlow, Range},
    sync::Arc,
};

use ringfence_access::{Action, Facts};
use ringfence_schema::{Digest, Reference, Timestamp, Tree, tree::TreeEntry};
use ringfence_store::Manifest;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::TransferId;
use crate::{
    act::{Act, Effect, Reach},
    admit::resource,
    error::EngineError,
    record::Version,
    release::{
        bundle_leaves,
        bundled::{Bundled, Place},
    },
    vault::{Core, Vault, store_error},
};

/// How long a download may be resumed, in milliseconds.
pub const DOWNLOAD_LIFE_MS: u64 = 12 * 60 * 60 * 1_000;
/// Most downloads under way.
pub const DOWNLOADS_MAX: usize = 64;
/// Most of one person; the oldest gives way.
pub const OWN_DOWNLOADS_MAX: usize = 8;

/// A download, as its person sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadView {
    /// Its name.
    pub id: TransferId,
    /// `kind/name@version`.
    pub artifact: String,
    /// Identity of the files.
    pub tree: Digest,
    /// The files, in the order of their paths.
    pub files: Vec<TreeEntry>,
    /// Until when it may be read.
    pub until: Timestamp,
}

/// A download.
pub(crate) struct Download {
    person: String,
    version: Reference,
    tree: Digest,
    /// `None`: what goes out is the artifact's own files.
    bundle: Option<Arc<Bundled>>,
    until: Timestamp,
}

impl Download {
    pub(super) fn until(&self) -> Timestamp {
        self.until
    }
}

/// A file that may be read now.
pub struct Served {
    file: TreeEntry,
    content: Content,
}

enum Content {
    Stored { core: Arc<Core>, manifest: Manifest },
    Held(Arc<[u8]>),
}

impl Served {
    /// `file` of `manifest`.
    pub(crate) fn new(core: Arc<Core>, manifest: Manifest, file: TreeEntry) -> Self {
        Self { file, content: Content::Stored { core, manifest } }
    }

    /// Its path, size and SHA-256.
    pub fn file(&self) -> &TreeEntry {
        &self.file
    }

    /// Reads `range` chunk by chunk, as they were cut (at most 1 MiB); every byte was authenticated before it is given out.
    /// `take` gets each whole, with the part of it that is wanted, and gives its buffer back through `spare` if it likes. Ends
    /// early where `take` wants no more.
    ///
    /// # Errors
    /// [`EngineError::Tampered`] for what is not what the manifest says.
    pub fn read(
        &self,
        range: Range<u64>,
        spare: &mut dyn FnMut() -> Vec<u8>,
        take: &mut dyn FnMut(Vec<u8>, Range<usize>) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let path = &self.file.path;
        let (core, manifest) = match &self.content {
            Content::Stored { core, manifest } => (core, manifest),
            Content::Held(bytes) => {
                let inside = |byte: u64| usize::try_from(byte).map_or(bytes.len(), |byte| byte.min(bytes.len()));
                let end = inside(range.end);
                let _ = take(bytes.to_vec(), inside(range.start).min(end)..end);
                return Ok(());
            }
        };
        let mut reader = core.store.read(manifest, path).map_err(|error| store_error(&error))?;
        reader.seek(SeekFrom::Start(range.start)).map_err(|error| EngineError::tampered(path, error))?;
        let mut left = range.end.min(self.file.size).saturating_sub(range.start);
        while left > 0 {
            let chunk = reader.take_chunk(spare()).map_err(|error| store_error(&error))?;
            let missing = || EngineError::tampered(path, "it is shorter than its manifest says");
            let (chunk, from) = chunk.ok_or_else(missing)?;
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len() - from);
            if take(chunk, from..from + count).is_break() {
                return Ok(());
            }
            left -= count as u64;
        }
        Ok(())
    }
}

/// The files that are given out, and where they are unless they are the artifact's own.
type Contents<'a> = dyn Fn(&Manifest) -> Result<(Tree, Option<Arc<Bundled>>), EngineError> + 'a;

impl Vault<'_> {
    /// Lets the caller take a copy of a version, as [`Vault::get`] does, over as many requests as that needs.
    pub fn begin_download(&self, version: &Version) -> Result<DownloadView, EngineError> {
        version.still_there()?;
        let act = Act {
            action: Action::Export,
            resources: vec![resource(version)],
            facts: Facts::default(),
            request: json!({"tree": version.tree, "what": "copy"}),
            subject: version.reference().to_string(),
            reach: Reach::Outside,
        };
        self.offer(act, version, &|manifest| Ok((manifest.tree().clone(), None)))
    }

    /// Lets the caller take the signed bundle of a released version, as [`Vault::release_again`] writes it, over as many
    /// requests as that needs.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for a version that was not released, where policies do not refuse it before.
    pub fn begin_bundle(&self, version: &Version) -> Result<DownloadView, EngineError> {
        self.offer(bundle_leaves(version), version, &|manifest| {
            let bundled = self.bundled(version, manifest)?;
            Ok((bundled.tree.clone(), Some(Arc::new(bundled))))
        })
    }

    /// Carries out `act`, which gives out what `content` makes of the version's manifest.
    fn offer(&self, act: Act, version: &Version, content: &Contents<'_>) -> Result<DownloadView, EngineError> {
        let (view, _) = self.act(act, || {
            let manifest = self.manifest(version)?;
            let (tree, bundle) = content(&manifest)?;
            let until = (self.settings.now)().plus_millis(DOWNLOAD_LIFE_MS);
            let id = TransferId::random("d");
            let download = Download {
                person: self.caller.person.id.clone(),
                version: version.reference(),
                tree: version.tree,
                bundle,
                until,
            };
            self.list_download(&id, download)?;
            let (artifact, digest) = (version.reference().to_string(), tree.digest());
            let view = DownloadView { id, artifact, tree: digest, files: tree.files().to_vec(), until };
            let mut effect = Effect::of(());
            effect.openings.insert("result".into(), json!({"download": view.id, "until": until}));
            Ok(effect.replace(view))
        })?;
        Ok(view)
    }

    /// Ends every download of a version that is gone.
    pub(crate) fn end_downloads_of(&self, gone: &Reference) {
        self.transfers.downloads().retain(|_, download| download.version != *gone);
    }

    fn list_download(&self, id: &TransferId, download: Download) -> Result<(), EngineError> {
        self.sweep_transfers();
        let mut downloads = self.transfers.downloads();
        let own = downloads.iter().filter(|(_, other)| other.person == download.person);
        if own.clone().count() >= OWN_DOWNLOADS_MAX {
            let oldest = own.min_by_key(|(_, other)| other.until).map(|(id, _)| id.clone());
            oldest.and_then(|oldest| downloads.remove(&oldest));
        }
        if downloads.len() >= DOWNLOADS_MAX {
            return Err(EngineError::Busy { what: "too many downloads are under way" });
        }
        downloads.insert(id.clone(), download);
        Ok(())
    }

    /// Opens file number `file` of one's own download, to be read from byte `from` on; that it is read is recorded.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for what is not there or is somebody else's; [`EngineError::NotPermitted`] where the version
    /// was revoked or refused since.
    pub fn open_download(&self, id: &TransferId, file: usize, from: u64) -> Result<Served, EngineError> {
        let now = (self.settings.now)();
        let me = &self.caller.person.id;
        let found = {
            let downloads = self.transfers.downloads();
            let own = downloads.get(id).filter(|download| download.person == *me && now < download.until);
            own.map(|download| (download.version.clone(), download.tree, download.bundle.clone()))
        };
        let Some((wanted, tree, bundle)) = found else { return self.no_transfer("download", id) };
        self.look(&format!("file {file} of {wanted} from byte {from} ({id})"))?;
        let version = self.find(&wanted)?;
        if let Some(why) = version.revoked.as_ref().or(version.refused.as_ref()) {
            return Err(EngineError::NotPermitted { what: format!("{wanted} is not given out any more: {why}") });
        }
        if version.tree != tree {
            return Err(EngineError::tampered(wanted.to_string(), "it is not what the download began with"));
        }
        let manifest = self.manifest(&version)?;
        let files = bundle.as_ref().map_or(manifest.tree(), |bundle| &bundle.tree).files();
        let missing = || EngineError::NotFound { what: "file", name: file.to_string() };
        let file = files.get(file).cloned().ok_or_else(missing)?;
        let place = bundle.and_then(|bundle| bundle.places.get(&file.path).cloned());
        let content = match place {
            Some(Place::Blob(kind)) => Content::Held(self.blob(kind, file.sha256)?.into()),
            Some(Place::Made(bytes)) => Content::Held(bytes),
            Some(Place::Artifact) | None => Content::Stored { core: self.core().clone(), manifest },
        };
        Ok(Served { file, content })
    }

    /// Ends one's own download: it is read no more.
    pub fn end_download(&self, id: &TransferId) -> Result<(), EngineError> {
        let what = {
            let downloads = self.transfers.downloads();
            let own = downloads.get(id).filter(|download| download.person == self.caller.person.id);
            own.map(|download| format!("the end of the download of {} ({id})", download.version))
        };
        let Some(what) = what else { return self.no_transfer("download", id) };
        self.look(&what)?;
        self.transfers.downloads().remove(id);
        Ok(())
    }
}
