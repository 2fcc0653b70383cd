//! What somebody brings: declared, sealed as it comes, then received as a whole.

use std::sync::{
    Arc, Mutex, TryLockError,
    atomic::{AtomicU64, Ordering},
};

use ringfence_access::{Action, Exemptions, Facts, NamespaceState, Resource};
use ringfence_schema::{ArtifactKind, ArtifactName, Digest, Reference, Timestamp, Tree, tree::TreeEntry};
use ringfence_store::Writer;
use ringfence_trust::keys::Namespace;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{TransferDesk, TransferId, held};
use crate::{
    act::{Act, Effect, Reach},
    admit::{FILE_BYTES_MAX, Intake, Origin},
    error::EngineError,
    record::{Reading, Version},
    stage::{Found, Inspected, Untrusted},
    vault::{Vault, store_error},
};

/// Most files of one upload.
pub const UPLOAD_FILES_MAX: usize = 1_000;
/// Most bytes of one upload.
pub const UPLOAD_BYTES_MAX: u64 = 256 << 30;
/// Most bytes of all uploads that are under way.
pub const STAGED_BYTES_MAX: u64 = 512 << 30;
/// Most uploads under way; each holds some 8 MiB of memory.
pub const UPLOADS_MAX: usize = 8;
/// Most of one person.
pub const OWN_UPLOADS_MAX: usize = 4;
/// Most uploads that are listed, those among them that have ended and are still told of.
const LISTED_MAX: usize = 64;
/// How long an upload may stand still, and how long what came of it is told, in milliseconds.
pub const UPLOAD_IDLE_MS: u64 = 60 * 60 * 1_000;

/// What is to come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// Its name in the vault.
    pub name: ArtifactName,
    /// Its files, each with size and SHA-256; they come in the order of their paths.
    pub files: Vec<TreeEntry>,
    /// How a dataset is read; `labels` names one of the files.
    #[serde(default)]
    pub reading: Reading,
    /// Controls to leave out.
    #[serde(default)]
    pub exempt: Exemptions,
}

/// How an upload stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum UploadState {
    /// Bytes are missing.
    Open,
    /// Everything is there, and is what was declared.
    Whole,
    /// It is being received, inspected and admitted.
    Admitting {
        /// Its row, once it is in quarantine: from then on it stays, whatever becomes of the server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Box<Version>>,
    },
    /// It is in.
    Admitted {
        /// Its row.
        version: Box<Version>,
    },
    /// It waits in quarantine.
    Refused {
        /// Its row.
        version: Box<Version>,
        /// Which gate said no.
        gate: String,
        /// Why, in plain words.
        reasons: Vec<String>,
    },
    /// It did not get as far as a gate.
    Failed {
        /// What is to be said of it to whoever brought it.
        why: String,
    },
}

/// An upload, as its person sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UploadView {
    /// Its name.
    pub id: TransferId,
    /// Identity of the content.
    pub tree: Digest,
    /// Bytes of all files.
    pub bytes: u64,
    /// Which file comes next, counted from 0 in the order of their paths.
    pub file: usize,
    /// How much of it is there, in bytes.
    pub offset: u64,
    /// When it is given up if nothing comes.
    pub until: Timestamp,
    /// How it stands.
    #[serde(flatten)]
    pub state: UploadState,
}

/// An upload.
pub(crate) struct Upload {
    person: String,
    declaration: Declaration,
    tree: Tree,
    digest: Digest,
    touched: AtomicU64,
    progress: Mutex<Progress>,
}

struct Progress {
    stage: Stage,
    file: usize,
    offset: u64,
}

enum Stage {
    /// Bytes are missing, or nobody has said that it is to be received.
    Staged(Box<Writer>),
    /// It is on its way into quarantine.
    Receiving,
    /// It is there, and nobody has looked into it yet.
    Received(Box<Untrusted>),
    /// It is being looked into.
    Admitting(Box<Version>),
    Ended(UploadState),
    /// Given up.
    Gone,
}

impl Upload {
    fn touch(&self, now: Timestamp) {
        self.touched.store(now.millis(), Ordering::Relaxed);
    }

    fn until(&self) -> Timestamp {
        Timestamp::from_millis(self.touched.load(Ordering::Relaxed)).plus_millis(UPLOAD_IDLE_MS)
    }

    fn view(&self, id: &TransferId, progress: &Progress) -> UploadView {
        let state = match &progress.stage {
            Stage::Staged(_) if progress.file == self.tree.files().len() => UploadState::Whole,
            Stage::Staged(_) => UploadState::Open,
            Stage::Receiving => UploadState::Admitting { version: None },
            Stage::Received(received) => UploadState::Admitting { version: Some(Box::new(received.version.clone())) },
            Stage::Admitting(version) => UploadState::Admitting { version: Some(version.clone()) },
            Stage::Ended(state) => state.clone(),
            Stage::Gone => UploadState::Failed { why: "it was given up".to_owned() },
        };
        let Progress { file, offset, .. } = *progress;
        let (tree, bytes, until) = (self.digest, self.tree.size(), self.until());
        UploadView { id: id.clone(), tree, bytes, file, offset, until, state }
    }

    /// The outputs of run `run`, to come into `writer`.
    pub(crate) fn of_run(run: &str, tree: Tree, writer: Writer, now: Timestamp) -> Result<Self, EngineError> {
        let name = ArtifactName::new(ArtifactKind::Checkpoint, run)
            .map_err(|error| EngineError::Usage { what: error.to_string() })?;
        let declaration =
            Declaration { name, files: Vec::new(), reading: Reading::default(), exempt: Exemptions::default() };
        let mut progress = Progress { stage: Stage::Staged(Box::new(writer)), file: 0, offset: 0 };
        progress.open_next(&tree)?;
        Ok(Self {
            person: String::new(),
            declaration,
            digest: tree.digest(),
            tree,
            touched: AtomicU64::new(now.millis()),
            progress: Mutex::new(progress),
        })
    }

    /// How it stands.
    pub(crate) fn standing(&self, id: &TransferId) -> UploadView {
        self.view(id, &held(&self.progress))
    }

    /// Whether more may come.
    pub(crate) fn is_staged(&self) -> bool {
        matches!(held(&self.progress).stage, Stage::Staged(_))
    }

    /// What has come, if that is all of it.
    pub(crate) fn take_whole(&self) -> Option<Writer> {
        let mut progress = held(&self.progress);
        let missing = progress.file < self.tree.files().len();
        match std::mem::replace(&mut progress.stage, Stage::Gone) {
            Stage::Staged(writer) if !missing => Some(*writer),
            other => {
                progress.stage = other;
                None
            }
        }
    }

    /// Takes the next bytes; see [`Vault::append_upload`]. Whatever is wrong with them beyond their place ends it.
    pub(crate) fn append(
        &self,
        id: &TransferId,
        now: Timestamp,
        file: usize,
        offset: u64,
        bytes: &[u8],
    ) -> Result<UploadView, EngineError> {
        self.touch(now);
        let mut progress = held(&self.progress);
        let entry = self.tree.files().get(file);
        let (Some(entry), Stage::Staged(_)) = (entry, &progress.stage) else {
            return Err(EngineError::Elsewhere { file: progress.file, offset: progress.offset });
        };
        if (progress.file, progress.offset) != (file, offset) {
            return Err(EngineError::Elsewhere { file: progress.file, offset: progress.offset });
        }
        if bytes.len() as u64 > entry.size - offset {
            return Err(EngineError::Usage {
                what: format!("`{}` was declared with {} bytes", entry.path, entry.size),
            });
        }
        if let Err(error) = progress.append(&self.tree, entry, bytes) {
            drop(progress);
            self.give_up();
            return Err(error);
        }
        Ok(self.view(id, &progress))
    }

    /// What was received, for whoever looks into it first.
    fn take_received(&self) -> Option<Untrusted> {
        let mut progress = held(&self.progress);
        match std::mem::replace(&mut progress.stage, Stage::Gone) {
            Stage::Received(untrusted) => {
                progress.stage = Stage::Admitting(Box::new(untrusted.version.clone()));
                Some(*untrusted)
            }
            other => {
                progress.stage = other;
                None
            }
        }
    }

    /// Brings it to the stage that `act` says, or to the end that an error is; a panic is one, too.
    fn through(&self, act: impl FnOnce() -> Result<Stage, EngineError>) -> Result<(), EngineError> {
        let mut ending = Ending { upload: self, stage: None };
        let (stage, result) = match act() {
            Ok(stage) => (stage, Ok(())),
            Err(error) => (Stage::Ended(UploadState::Failed { why: told(&error) }), Err(error)),
        };
        ending.stage = Some(stage);
        result
    }

    /// Whether all of it came, and it is not in yet.
    fn is_worked_on(&self) -> bool {
        matches!(held(&self.progress).stage, Stage::Receiving | Stage::Received(_) | Stage::Admitting(_))
    }

    /// Whether `version` came of it, and is on its way in.
    fn is_about(&self, version: &Reference) -> bool {
        match &held(&self.progress).stage {
            Stage::Received(received) => received.version.reference() == *version,
            Stage::Admitting(row) => row.reference() == *version,
            _ => false,
        }
    }

    /// Whether it takes up room, or work is done on it.
    fn is_under_way(&self) -> bool {
        !matches!(held(&self.progress).stage, Stage::Ended(_) | Stage::Gone)
    }

    /// Removes what is there of it.
    pub(crate) fn give_up(&self) {
        if let Stage::Staged(writer) = std::mem::replace(&mut held(&self.progress).stage, Stage::Gone) {
            writer.discard();
        }
    }
}

impl Progress {
    /// Begins the next file that is not empty; empty ones are there as soon as it is their turn.
    fn open_next(&mut self, tree: &Tree) -> Result<(), EngineError> {
        let Stage::Staged(writer) = &mut self.stage else { return Ok(()) };
        while let Some(file) = tree.files().get(self.file) {
            writer.begin(&file.path).map_err(|error| store_error(&error))?;
            if file.size > 0 {
                break;
            }
            close(writer, file)?;
            self.file += 1;
        }
        Ok(())
    }

    /// The next bytes. Whatever goes wrong, nothing more can come after it.
    fn append(&mut self, tree: &Tree, file: &TreeEntry, bytes: &[u8]) -> Result<(), EngineError> {
        let Stage::Staged(writer) = &mut self.stage else { return Ok(()) };
        writer.append(bytes).map_err(|error| store_error(&error))?;
        self.offset += bytes.len() as u64;
        if self.offset == file.size {
            close(writer, file)?;
            (self.file, self.offset) = (self.file + 1, 0);
            self.open_next(tree)?;
        }
        Ok(())
    }
}

fn close(writer: &mut Writer, file: &TreeEntry) -> Result<(), EngineError> {
    let record = writer.end().map_err(|error| store_error(&error))?;
    if record.sha256 == file.sha256 && record.size == file.size {
        return Ok(());
    }
    let what = format!("`{}` is not what was declared: what came has the SHA-256 {}", file.path, record.sha256);
    Err(EngineError::Usage { what })
}

/// Removes uploads that nothing has come of for too long.
pub(super) fn sweep(desk: &TransferDesk, now: Timestamp) {
    let mut given_up = Vec::new();
    desk.uploads().retain(|_, upload| {
        let over = upload.until() <= now && !upload.is_worked_on();
        if over {
            given_up.push(upload.clone());
        }
        !over
    });
    for upload in given_up {
        upload.give_up();
    }
}

impl Vault<'_> {
    /// Declares an upload; the same declared again by the same person goes on where it is.
    ///
    /// # Errors
    /// [`EngineError::Usage`] for what is over a limit or is no artifact, [`EngineError::Busy`] where too many are under
    /// way, [`EngineError::Io`] where the disk has no room for it, and whatever the gate says.
    pub fn begin_upload(&self, declaration: &Declaration) -> Result<UploadView, EngineError> {
        let tree = checked(declaration)?;
        let known = self.known_upload(declaration);
        let request = json!({"what": "upload", "files": tree.files().len(), "bytes": tree.size(), "tree": tree.digest(),
            "reading": declaration.reading, "exempt": declaration.exempt});
        let act = receipt(declaration, request, declaration.name.to_string());
        let ((id, upload), _) = self.act(act, || {
            let found = match known {
                Some(known) => known,
                None => self.stage(declaration, tree)?,
            };
            let mut effect = Effect::of(());
            effect.openings.insert("result".into(), json!({"upload": found.0}));
            Ok(effect.replace(found))
        })?;
        let now = (self.settings.now)();
        upload.touch(now);
        let view = upload.view(&id, &held(&upload.progress));
        Ok(view)
    }

    fn known_upload(&self, declaration: &Declaration) -> Option<(TransferId, Arc<Upload>)> {
        let me = &self.caller.person.id;
        let goes_on = |upload: &Upload| !matches!(held(&upload.progress).stage, Stage::Ended(_) | Stage::Gone);
        let uploads = self.transfers.uploads();
        let same = |upload: &Upload| upload.person == *me && upload.declaration == *declaration && goes_on(upload);
        uploads.iter().find(|(_, upload)| same(upload)).map(|(id, upload)| (id.clone(), upload.clone()))
    }

    fn stage(&self, declaration: &Declaration, tree: Tree) -> Result<(TransferId, Arc<Upload>), EngineError> {
        self.sweep_transfers();
        let now = (self.settings.now)();
        let person = self.caller.person.id.clone();
        let writer = Box::new(self.writer(Namespace::Quarantine)?);
        let mut progress = Progress { stage: Stage::Staged(writer), file: 0, offset: 0 };
        progress.open_next(&tree)?;
        let upload = Arc::new(Upload {
            person,
            declaration: declaration.clone(),
            digest: tree.digest(),
            tree,
            touched: AtomicU64::new(now.millis()),
            progress: Mutex::new(progress),
        });
        let id = TransferId::random("u");
        let free = self.free_bytes()?;
        let mut uploads = self.transfers.uploads();
        let under_way: Vec<&Arc<Upload>> = uploads.values().filter(|other| other.is_under_way()).collect();
        let staged = under_way.iter().map(|other| other.tree.size()).fold(0, u64::saturating_add);
        let after = staged.saturating_add(upload.tree.size());
        let own = under_way.iter().filter(|other| other.person == upload.person).count();
        let refused = if own >= OWN_UPLOADS_MAX {
            Some(EngineError::Busy { what: "too many uploads of yours are under way: go on with one, or give one up" })
        } else if under_way.len() >= UPLOADS_MAX {
            Some(EngineError::Busy { what: "too many uploads are under way" })
        } else if after > STAGED_BYTES_MAX {
            Some(EngineError::Busy { what: "the uploads under way take all the room that there is for them" })
        } else if u128::from(after) > free {
            let source = std::io::ErrorKind::StorageFull.into();
            Some(EngineError::Io { path: self.settings.vault.clone(), source })
        } else {
            None
        };
        if let Some(refused) = refused {
            drop(uploads);
            upload.give_up();
            return Err(refused);
        }
        if uploads.len() >= LISTED_MAX {
            let over = uploads.iter().filter(|(_, other)| !other.is_under_way());
            let oldest = over.min_by_key(|(_, other)| other.until()).map(|(id, _)| id.clone());
            oldest.and_then(|oldest| uploads.remove(&oldest));
        }
        uploads.insert(id.clone(), upload.clone());
        Ok((id, upload))
    }

    /// One's own upload.
    pub fn upload(&self, id: &TransferId) -> Result<UploadView, EngineError> {
        let upload = self.own_upload(id)?;
        let view = upload.view(id, &held(&upload.progress));
        Ok(view)
    }

    fn own_upload(&self, id: &TransferId) -> Result<Arc<Upload>, EngineError> {
        let found = self.transfers.uploads().get(id).cloned();
        match found.filter(|upload| upload.person == self.caller.person.id) {
            Some(upload) => Ok(upload),
            None => self.no_transfer("upload", id),
        }
    }

    /// Takes the next bytes of file number `file`, which begin at `offset`. They are sealed before this returns, and durable
    /// when the upload has become a version.
    ///
    /// # Errors
    /// [`EngineError::Elsewhere`] where the upload goes on at another place; [`EngineError::Usage`] for more bytes than were
    /// declared and, with a file's last byte, where it is not what was declared: the upload is given up then.
    pub fn append_upload(
        &self,
        id: &TransferId,
        file: usize,
        offset: u64,
        bytes: &[u8],
    ) -> Result<UploadView, EngineError> {
        let upload = self.own_upload(id)?;
        let taken = upload.append(id, (self.settings.now)(), file, offset, bytes);
        if taken.is_err() && matches!(held(&upload.progress).stage, Stage::Gone) {
            self.transfers.uploads().remove(id);
        }
        taken
    }

    /// Gives an upload up: what has come of it is removed.
    pub fn abandon_upload(&self, id: &TransferId) -> Result<(), EngineError> {
        let upload = self.own_upload(id)?;
        if upload.is_worked_on() {
            return Err(EngineError::Busy { what: "it is being admitted" });
        }
        let request = json!({"what": "give an upload up", "upload": id});
        let act = receipt(&upload.declaration, request, upload.declaration.name.to_string());
        self.act(act, || {
            self.forget_upload(id, &upload);
            Ok(Effect::of(()))
        })?;
        Ok(())
    }

    fn forget_upload(&self, id: &TransferId, upload: &Upload) {
        self.transfers.uploads().remove(id);
        upload.give_up();
    }

    /// Receives, inspects and admits an upload that is whole. Asked again, it tells how that went, or that it goes on.
    ///
    /// # Errors
    /// Those of [`Vault::receive_upload`] and [`Vault::admit_upload`].
    pub fn finish_upload(&self, id: &TransferId) -> Result<UploadView, EngineError> {
        self.receive_upload(id)?;
        self.admit_upload(id)
    }

    /// Receives an upload that is whole: it is a version in quarantine then, recorded and on the disk, and
    /// [`Vault::admit_upload`] is to follow. Asked again, it tells how it stands.
    ///
    /// # Errors
    /// [`EngineError::Usage`] while bytes are missing, and whatever stops the receipt.
    pub fn receive_upload(&self, id: &TransferId) -> Result<UploadView, EngineError> {
        let upload = self.own_upload(id)?;
        upload.touch((self.settings.now)());
        let writer = {
            let mut progress = held(&upload.progress);
            let missing = progress.file < upload.tree.files().len();
            match std::mem::replace(&mut progress.stage, Stage::Receiving) {
                Stage::Staged(writer) if !missing => writer,
                other => {
                    progress.stage = other;
                    let view = upload.view(id, &progress);
                    let open = view.state == UploadState::Open;
                    let what = format!("the upload goes on at byte {} of file {}", view.offset, view.file);
                    return if open { Err(EngineError::Usage { what }) } else { Ok(view) };
                }
            }
        };
        upload.through(|| Ok(Stage::Received(Box::new(self.received(&upload, *writer)?))))?;
        Ok(upload.standing(id))
    }

    /// Inspects and admits what was received. Asked again, it tells how that went, or that it goes on.
    ///
    /// # Errors
    /// Whatever stops it before it comes to a gate; what a gate refuses is [`UploadState::Refused`].
    pub fn admit_upload(&self, id: &TransferId) -> Result<UploadView, EngineError> {
        let upload = self.own_upload(id)?;
        let Some(untrusted) = upload.take_received() else { return Ok(upload.standing(id)) };
        let done = upload.through(|| Ok(Stage::Ended(self.let_in(untrusted)?)));
        upload.touch((self.settings.now)());
        done?;
        Ok(upload.standing(id))
    }

    /// Goes on with an admission that was cut off between receipt and gate, as by a restart: inspects what nobody has looked
    /// into, and asks the gate.
    ///
    /// # Errors
    /// [`EngineError::Usage`] for what is not in quarantine, [`EngineError::Busy`] while it is on its way in, and whatever
    /// stops it before it comes to a gate.
    pub fn resume(&self, which: &Reference) -> Result<UploadState, EngineError> {
        let busy = EngineError::Busy {
            what: "it is on its way in, or another one is being looked into: try again when that has ended",
        };
        // One at a time: whoever comes second finds it admitted.
        let _turn = match self.transfers.resuming.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(left)) => left.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(busy),
        };
        let version = self.find(which)?;
        let reference = version.reference();
        if version.state != NamespaceState::Quarantined {
            return Err(EngineError::Usage { what: format!("`{reference}` is not held") });
        }
        let uploads = self.transfers.uploads();
        if uploads.values().any(|upload| upload.is_about(&reference)) {
            return Err(busy);
        }
        drop(uploads);
        self.let_in(Untrusted { version })
    }

    fn received(&self, upload: &Upload, writer: Writer) -> Result<Untrusted, EngineError> {
        let Declaration { name, reading, exempt, .. } = upload.declaration.clone();
        // Where it came from is not looked at any more: it is all in the writer.
        let from = Origin::Files(std::path::Path::new(""));
        let intake = Intake { from, name, reading: reading.clone(), labels: None, exempt };
        let request = json!({"files": upload.tree.files().len(), "reading": reading, "exempt": exempt,
            "from": "upload", "tree": upload.tree.digest()});
        self.receive_sealed(&intake, reading, request, || Ok((self.finish(writer)?, None)))
    }

    fn let_in(&self, untrusted: Untrusted) -> Result<UploadState, EngineError> {
        let received = untrusted.version.clone();
        let inspected = if received.is_looked_into() {
            Ok(Inspected { version: untrusted.version, found: Found::default() })
        } else {
            self.inspect(untrusted)
        };
        let admitted = inspected.and_then(|inspected| self.admit(inspected));
        match admitted {
            Ok(admitted) => {
                self.watch_version(&admitted.version)?;
                Ok(UploadState::Admitted { version: Box::new(admitted.version) })
            }
            Err(EngineError::Refused { gate, reasons, .. }) => {
                let version = self.find(&received.reference())?;
                Ok(UploadState::Refused { version: Box::new(version), gate: gate.to_owned(), reasons })
            }
            Err(error) => Err(error),
        }
    }
}

/// Says what an upload came to, however it did.
struct Ending<'u> {
    upload: &'u Upload,
    stage: Option<Stage>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let failed = || Stage::Ended(UploadState::Failed { why: "its thread ended".to_owned() });
        held(&self.upload.progress).stage = self.stage.take().unwrap_or_else(failed);
    }
}

/// What is said of a failure to whoever is not the operator: nothing of paths.
fn told(error: &EngineError) -> String {
    match error {
        EngineError::Refused { .. }
        | EngineError::Usage { .. }
        | EngineError::NotFound { .. }
        | EngineError::NotPermitted { .. } => error.to_string(),
        _ => "it could not be finished; the trail has why".to_owned(),
    }
}

/// Bringing something in, as policies see it.
fn receipt(declaration: &Declaration, request: serde_json::Value, subject: String) -> Act {
    let name = declaration.name.clone();
    Act {
        action: Action::Receive,
        resources: vec![Resource::Artifact { name, state: NamespaceState::Quarantined }],
        facts: Facts { exempt: declaration.exempt, ..Facts::default() },
        request,
        subject,
        reach: Reach::Inside,
    }
}

fn checked(declaration: &Declaration) -> Result<Tree, EngineError> {
    let wrong = |what: String| EngineError::Usage { what };
    let files = &declaration.files;
    if files.is_empty() || files.len() > UPLOAD_FILES_MAX {
        return Err(wrong(format!("an upload of {} files; it has 1 to {UPLOAD_FILES_MAX}", files.len())));
    }
    if let Some(file) = files.iter().find(|file| file.size > FILE_BYTES_MAX) {
        return Err(wrong(format!("a file of {} bytes, limit is {FILE_BYTES_MAX}", file.size)));
    }
    let tree = Tree::new(files.clone()).map_err(|error| wrong(error.to_string()))?;
    if tree.size() > UPLOAD_BYTES_MAX {
        return Err(wrong(format!("an upload of {} bytes, limit is {UPLOAD_BYTES_MAX}", tree.size())));
    }
    let named = |labels: &String| files.iter().any(|file| file.path == *labels);
    if !declaration.reading.labels.as_ref().is_none_or(named) {
        return Err(wrong("the labels file is none of the files".to_owned()));
    }
    // A name that no reference could be made of would be found by nobody.
    let reference = format!("{}@1", declaration.name);
    reference.parse::<Reference>().map_err(|error| wrong(error.to_string()))?;
    Ok(tree)
}
