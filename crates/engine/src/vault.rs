//! A vault: made, opened, locked, recovered.
//!
//! On disk: `vault.json` (which key opens it; written last, so that a half-made vault is none), `root.json` (the trust
//! root), `catalog.sqlite` (rows, trail, key ledger), `store/` (sealed files), `lock`, `outbox-NAME.lock` for each sink.
//! Outside, in the user's configuration: the pinned root, the last checkpoint seen, the key file of a vault without a
//! passphrase, and `policy.toml` and `sinks.toml`, if there are any.
//!
//! Every process holds `lock` shared. One that can have it alone first puts right what a crash left: open intents,
//! orphaned files, plaintext of runs that were killed.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use ringfence_access::{Custody, NamespaceState, Policies, VaultFacts, VaultPolicy};
use ringfence_catalog::{Catalog, CatalogError, Table};
use ringfence_schema::{Digest, Timestamp, canon, evidence::EvidenceKind};
use ringfence_store::{GroupKeys, Store, StoreKeys, disk::Disk};
use ringfence_trust::{
    VaultId, checkpoint,
    entropy::SystemEntropy,
    keys::{
        ChunkIdKey, CutKey, DetailKey, KdfParams, Kek, KeyError, KeyFileError, KeyRole, ManifestKey, Namespace,
        NamespaceKey, Purpose, ShredGroup, WrappedKey,
    },
    pins::{PinError, Pins},
    root::{RoleKey, RootDocument, TrustRoot},
    sign::SigningKey,
};
use serde::{Deserialize, Serialize};

use crate::{
    alerts::Desk,
    bundle::{canonical, sync_folder, write_synced},
    error::EngineError,
    held::Held,
    numbers::Numbers,
    reading::Listed,
    run::elsewhere::RunDesk,
    settings::{Asked, Settings},
    team::{Caller, TeamDesk},
    transfer::TransferDesk,
};

/// An open vault, in the hands of somebody who acts: [`Vault::acting`] puts it into other hands.
pub struct Vault<'s> {
    pub(crate) settings: &'s Settings<'s>,
    pub(crate) root: Arc<TrustRoot>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) caller: Caller,
    /// The vault's policies from which `policies` were made, and a project's forbids on top of them.
    base: Arc<Policies>,
    forbids: Vec<String>,
    pub(crate) core: Arc<Core>,
}

/// What everybody who acts in a vault has in common.
pub struct Core {
    pub(crate) pins: Pins,
    pub(crate) catalog: Catalog,
    pub(crate) store: Store,
    pub(crate) keys: Keys,
    pub(crate) desk: Desk,
    pub(crate) held: Held,
    pub(crate) team: TeamDesk,
    pub(crate) transfers: TransferDesk,
    pub(crate) numbers: Numbers,
    pub(crate) listed: Listed,
    pub(crate) courses: RunDesk,
    /// The newest epoch of the trust root, and the policies that hold now.
    current: RwLock<Current>,
    /// Signs the epoch that makes a solo vault a shared one.
    root_key: Mutex<Option<SigningKey>>,
    lock: fs::File,
    /// One at a time has the vault to itself.
    turn: Mutex<()>,
}

#[derive(Clone)]
struct Current {
    root: Arc<TrustRoot>,
    policies: Arc<Policies>,
    /// SHA-256 of the document that they were made from, where it is a row.
    document: Option<Digest>,
}

impl std::ops::Deref for Vault<'_> {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

/// The keys that the engine itself uses; the log key is with the catalog, pack keys are with the store.
pub(crate) struct Keys {
    pub(crate) detail: DetailKey,
    pub(crate) names: ChunkIdKey,
    pub(crate) reference: SigningKey,
    pub(crate) evidence: SigningKey,
    pub(crate) release: SigningKey,
}

/// What protects a new vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// A key file of mode 0600 in the user's configuration.
    KeyFile,
    /// A passphrase.
    Passphrase,
}

/// `vault.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultFile {
    schema: VaultSchema,
    vault: VaultId,
    lock: Lock,
}

#[derive(Debug, Serialize, Deserialize)]
enum VaultSchema {
    #[serde(rename = "ringfence.vault/1")]
    One,
}

/// How the key-encryption key is had.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Lock {
    KeyFile,
    Passphrase(KdfParams),
}

const VAULT_FILE: &str = "vault.json";
const ROOT_FILE: &str = "root.json";
const CATALOG_FILE: &str = "catalog.sqlite";
const STORE_FOLDER: &str = "store";
const LOCK_FILE: &str = "lock";
const POLICY_FILE: &str = "policy.toml";
/// Below so many free bytes a server takes no more work, so that what is under way can still be recorded.
const FREE_BYTES_MIN: u128 = 64 << 20;
/// Largest small file of the vault, in bytes.
const SMALL_FILE_BYTES_MAX: u64 = 1 << 20;

impl<'s> Vault<'s> {
    /// Makes a vault in `settings.vault` and opens it.
    pub fn init(settings: &'s Settings<'s>, protection: Protection) -> Result<Self, EngineError> {
        let folder = &settings.vault;
        if folder.join(VAULT_FILE).exists() {
            return Err(EngineError::VaultExists { path: folder.clone() });
        }
        make_private_folder(folder)?;
        make_private_folder(&settings.config)?;
        let lock = lock_file(folder)?;
        lock.lock().map_err(EngineError::io(folder.join(LOCK_FILE)))?;
        if folder.join(VAULT_FILE).exists() {
            return Err(EngineError::VaultExists { path: folder.clone() });
        }
        clear_unfinished(folder)?;
        let entropy = &mut SystemEntropy::new();
        let id = VaultId::random(entropy);
        let (kek, lock_kind) = match protection {
            Protection::KeyFile => {
                let path = key_file(settings, &id);
                (Kek::create_key_file(&path, entropy).map_err(|error| key_file_error(&path, &error))?, Lock::KeyFile)
            }
            Protection::Passphrase => {
                let passphrase = (settings.passphrase)(Asked::Create).map_err(EngineError::io("passphrase"))?;
                let params = KdfParams::unseal(entropy);
                let kek = Kek::from_passphrase(&passphrase, &params)
                    .map_err(|error| EngineError::incomplete("passphrase", error))?;
                (kek, Lock::Passphrase(params))
            }
        };
        let born = Birth::new(id, &kek, settings, entropy)?;
        write_synced(&folder.join(ROOT_FILE), born.root.file())?;
        let root = born.write_catalog(settings, &folder.join(CATALOG_FILE))?;
        let pins = open_pins(settings)?;
        pins.save(&root).map_err(|error| pin_error(&error))?;
        let file = VaultFile { schema: VaultSchema::One, vault: id, lock: lock_kind };
        write_synced(&folder.join(".vault.json"), &canonical(&file)?)?;
        fs::rename(folder.join(".vault.json"), folder.join(VAULT_FILE)).map_err(EngineError::io(folder))?;
        sync_folder(folder)?;
        drop(lock);
        Self::open(settings)
    }

    /// Opens the vault in `settings.vault`.
    pub fn open(settings: &'s Settings<'s>) -> Result<Self, EngineError> {
        let folder = &settings.vault;
        let file = read_vault_file(folder)?;
        let root = read_root(folder, &file.vault)?;
        let lock = lock_file(folder)?;
        let lock_path = folder.join(LOCK_FILE);
        let alone = match lock.try_lock() {
            Ok(()) => true,
            Err(fs::TryLockError::WouldBlock) => {
                lock.lock_shared().map_err(EngineError::io(&lock_path))?;
                false
            }
            Err(fs::TryLockError::Error(error)) => return Err(EngineError::io(lock_path)(error)),
        };
        let kek = unlock(settings, &file)?;
        let catalog_path = folder.join(CATALOG_FILE);
        let opened = open_keys(settings, &file.vault, &kek, &catalog_path)?;
        check_pin(settings, &root, &opened.root_key)?;
        // While one person holds the vault, the root's key waits for the day on which it is shared; afterwards no process
        // that merely opens the vault keeps it.
        let root_key = root.document().solo.then_some(opened.root_key);
        let signer_vault = file.vault;
        let log = opened.log;
        let signer = move |size: u64, digest: ringfence_schema::Digest| {
            checkpoint::sign(&checkpoint::Checkpoint::new(&signer_vault, size, digest), &[&log]).map_err(Into::into)
        };
        let catalog = Catalog::open(&catalog_path, Box::new(signer)).map_err(|error| catalog_error(&error))?;
        let store = Store::open(&folder.join(STORE_FOLDER), disk(), opened.store, opened.packs)
            .map_err(|error| store_error(&error))?;
        let root = Arc::new(newest_root(settings, &catalog, root)?);
        // In a shared vault the policy is a row; what somebody has in their own configuration does not count there.
        let solo = root.document().solo;
        let policies = Arc::new(if solo { policies(settings)? } else { builtin_policies()? });
        // Whoever opens a solo vault is its owner; in a shared one nobody is anybody before they have logged in.
        let caller = if solo { Caller::owner() } else { Caller::console() };
        let core = Core {
            pins: open_pins(settings)?,
            catalog,
            store,
            keys: opened.keys,
            desk: Desk::default(),
            held: Held::default(),
            team: TeamDesk::default(),
            transfers: TransferDesk::default(),
            numbers: Numbers::default(),
            listed: Listed::default(),
            courses: RunDesk::default(),
            current: RwLock::new(Current { root: root.clone(), policies: policies.clone(), document: None }),
            root_key: Mutex::new(root_key),
            lock,
            turn: Mutex::default(),
        };
        let base = policies.clone();
        let mut vault = Self { settings, root, policies, caller, base, forbids: Vec::new(), core: Arc::new(core) };
        vault.check_held()?;
        if vault.is_shared() {
            vault.follow_policy(vault.current_policy()?.as_ref())?;
            vault = vault.acting(vault.caller.clone());
        }
        if alone {
            vault.recover()?;
            vault.lock.lock_shared().map_err(EngineError::io(&lock_path))?;
        }
        Ok(vault)
    }

    /// Opens the vault, or makes a solo vault where there is none and says in one line what that protects.
    pub fn open_or_init(settings: &'s Settings<'s>, protection: Protection) -> Result<Self, EngineError> {
        match Self::open(settings) {
            Err(EngineError::NoVault { .. }) => {
                let vault = Self::init(settings, protection)?;
                let against = match protection {
                    Protection::KeyFile => {
                        "its key file lies in your configuration folder: this guards against a copied vault, not against \
                         somebody with your account"
                    }
                    Protection::Passphrase => "its passphrase guards a copied disk; whoever types it has everything",
                };
                settings.progress.note(&format!("made a solo vault at {}; {against}", settings.vault.display()));
                Ok(vault)
            }
            other => other,
        }
    }

    /// The same vault in the hands of `caller`, under the newest root and policies.
    #[must_use]
    pub fn acting(&self, caller: Caller) -> Self {
        let Current { root, policies, .. } = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let base = policies.clone();
        Self { settings: self.settings, root, policies, caller, base, forbids: Vec::new(), core: self.core.clone() }
    }

    /// The same handle under other settings of the same vault.
    pub(crate) fn under<'q>(self, settings: &'q Settings<'q>) -> Vault<'q>
    where
        's: 'q,
    {
        let Self { settings: _, root, policies, caller, base, forbids, core } = self;
        Vault { settings, root, policies, caller, base, forbids, core }
    }

    /// The policies that hold now: those of this handle, or newer ones of the vault with the same project's forbids.
    ///
    /// # Errors
    /// [`EngineError::NotPermitted`] where the project's do not fit beside the vault's newer ones.
    pub(crate) fn in_force(&self) -> Result<Arc<Policies>, EngineError> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).policies.clone();
        if current.digest() == self.base.digest() {
            return Ok(self.policies.clone());
        }
        let project = self.forbids.iter().try_fold(Policies::clone(&current), |all, text| all.with_project(text));
        project.map(Arc::new).map_err(|error| EngineError::NotPermitted {
            what: format!("the vault's policy has changed, and the project's does not fit beside it: {error}"),
        })
    }

    /// Puts the policies of a document into force for everybody here.
    pub(crate) fn adopt_policies(&self, policies: Policies, document: Digest) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        (current.policies, current.document) = (Arc::new(policies), Some(document));
    }

    /// Whether the document with this digest is the one in force.
    pub(crate) fn is_in_force(&self, document: Digest) -> bool {
        self.current.read().unwrap_or_else(PoisonError::into_inner).document == Some(document)
    }

    /// The vault's policies in force, without any project's.
    pub(crate) fn vault_policies(&self) -> Arc<Policies> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).policies.clone()
    }

    /// The next epoch of the trust root, which says that several people share the vault.
    pub(crate) fn shared_root(&self) -> Result<TrustRoot, EngineError> {
        let key = self.root_key.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key.as_ref().ok_or_else(|| EngineError::incomplete("trust root", "its key is not held here"))?;
        let mut document = self.root.next_document((self.settings.now)());
        document.solo = false;
        document.sign(&[key]).map_err(|error| EngineError::incomplete("trust root", error))
    }

    /// The newest epoch of the root; a handle that was given out before it acts no more.
    pub(crate) fn current_root(&self) -> Arc<TrustRoot> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).root.clone()
    }

    /// Makes sure that no other process has the vault open, and would go on as its only owner.
    pub(crate) fn alone(&self) -> Result<(), EngineError> {
        let path = self.settings.vault.join(LOCK_FILE);
        let alone = self.lock.try_lock();
        // The attempt gives the shared lock up, whatever comes of it.
        self.lock.lock_shared().map_err(EngineError::io(&path))?;
        match alone {
            Ok(()) => Ok(()),
            Err(fs::TryLockError::WouldBlock) => Err(EngineError::Busy { what: "another process has this vault open" }),
            Err(fs::TryLockError::Error(error)) => Err(EngineError::io(path)(error)),
        }
    }

    /// Has the vault to this process until the value is dropped: no other one that opens it goes on meanwhile, and none has
    /// keys in memory from before.
    ///
    /// # Errors
    /// [`EngineError::Busy`] while another process has it open.
    pub(crate) fn exclusive(&self) -> Result<Exclusive<'_>, EngineError> {
        let path = self.settings.vault.join(LOCK_FILE);
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let alone = self.lock.try_lock();
        // From here on the shared lock comes back, whatever happens.
        let held = Exclusive { lock: &self.lock, _turn: turn };
        match alone {
            Ok(()) => Ok(held),
            Err(fs::TryLockError::WouldBlock) => Err(EngineError::Busy { what: "another process has this vault open" }),
            Err(fs::TryLockError::Error(error)) => Err(EngineError::io(path)(error)),
        }
    }

    /// Follows a root whose row has just been committed: into the file, into the pins, into every later caller.
    pub(crate) fn adopt_root(&self, root: TrustRoot) -> Result<(), EngineError> {
        keep_root(self.settings, &root)?;
        self.current.write().unwrap_or_else(PoisonError::into_inner).root = Arc::new(root);
        *self.root_key.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Whether work can be taken: the catalog can be read, and there is room to record it.
    pub fn readiness(&self) -> Result<(), EngineError> {
        self.catalog.size().map_err(|error| catalog_error(&error))?;
        if self.free_bytes()? == 0 {
            let path = self.settings.vault.clone();
            return Err(EngineError::Io { path, source: std::io::ErrorKind::StorageFull.into() });
        }
        Ok(())
    }

    /// Bytes that may still be stored: what is kept free so that work under way can be recorded is not among them.
    pub(crate) fn free_bytes(&self) -> Result<u128, EngineError> {
        let folder = &self.settings.vault;
        let space = nix::sys::statvfs::statvfs(folder).map_err(|error| EngineError::io(folder)(error.into()))?;
        let free = u128::from(space.blocks_available()) * u128::from(space.fragment_size());
        Ok(free.saturating_sub(FREE_BYTES_MIN))
    }

    /// What everybody who acts in this vault has in common.
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Where things are, and the clock.
    pub fn settings(&self) -> &'s Settings<'s> {
        self.settings
    }

    /// Verifies the whole trail, as [`crate::trail::verify_trail`] does for whoever has no key.
    pub fn verify_trail(&self) -> Result<ringfence_schema::report::VerifyReport, EngineError> {
        crate::trail::verify_trail(self.settings, None, None, None)
    }

    /// What a server does unasked: one pass of alerts to the sinks, in the hands of the server itself, which may send and
    /// raise alerts and nothing else; transfers that were given up are removed; where wanted and configured, the trail is
    /// shown to the witnesses.
    pub fn keep_house(&self, witnesses: bool) -> Result<(), EngineError> {
        let house = self.acting(if self.is_shared() { Caller::server() } else { Caller::owner() });
        let jitter = u64::from_le_bytes(ringfence_trust::entropy::bytes(&mut SystemEntropy::new()));
        house.sweep_transfers();
        house.deliver((self.settings.now)(), jitter)?;
        if witnesses && self.settings.config.join(crate::trail::POLICY_FILE).exists() {
            crate::trail::witness(self.settings)?;
        }
        Ok(())
    }

    /// Who acts.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Adds a project's forbids to the policies under which this caller acts.
    pub(crate) fn tighten(&mut self, forbids: &[String]) -> Result<(), String> {
        for text in forbids {
            let before = Policies::clone(&self.policies);
            self.policies = Arc::new(before.with_project(text).map_err(|error| error.to_string())?);
            self.forbids.push(text.clone());
        }
        Ok(())
    }

    /// The vault's id.
    pub fn id(&self) -> &VaultId {
        self.root.vault()
    }

    /// When the vault's keys were made: with the vault.
    ///
    /// # Errors
    /// [`EngineError::Tampered`] where the trail does not begin as it must.
    pub fn keys_since(&self) -> Result<Timestamp, EngineError> {
        let first = self.catalog.read(|view| view.entry(0)).map_err(|error: CatalogError| catalog_error(&error))?;
        first.map(|stored| stored.entry.time).ok_or_else(|| EngineError::tampered("trail", "it has no first entry"))
    }

    /// The trust root's file, to be handed to whoever verifies releases.
    pub fn root_file(&self) -> &[u8] {
        self.root.file()
    }

    /// The vault as policies see it.
    pub(crate) fn facts(&self) -> VaultFacts {
        let custody = if self.root.document().solo { Custody::Solo } else { Custody::Shared };
        VaultFacts { id: self.id().to_string(), custody }
    }
}

/// The vault in one process's hands; see [`Vault::exclusive`].
pub(crate) struct Exclusive<'v> {
    lock: &'v fs::File,
    _turn: MutexGuard<'v, ()>,
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        // Going back from alone to shared waits for nobody. If it fails all the same, the lock is gone with this process.
        let _ = self.lock.lock_shared();
    }
}

/// Everything that a new vault begins with.
struct Birth {
    root: TrustRoot,
    log: SigningKey,
    rows: Vec<WrappedKey>,
    id: VaultId,
}

impl Birth {
    fn new(id: VaultId, kek: &Kek, settings: &Settings<'_>, entropy: &mut SystemEntropy) -> Result<Self, EngineError> {
        let failed = |error: KeyError| EngineError::incomplete("new keys", error);
        let mut rows = Vec::new();
        let mut signing = Vec::new();
        for namespace in Namespace::ALL {
            let key = NamespaceKey::generate(entropy, &id, namespace);
            rows.push(kek.wrap(entropy, &id, Purpose::Namespace(namespace), 1, &key).map_err(failed)?);
            let group = ShredGroup::FIRST;
            let chunk_id = ChunkIdKey::generate(entropy);
            rows.push(key.wrap(entropy, Purpose::ChunkId(namespace, group), 1, &chunk_id).map_err(failed)?);
            if namespace == Namespace::Control {
                let detail = DetailKey::generate(entropy);
                rows.push(key.wrap(entropy, Purpose::Detail, 1, &detail).map_err(failed)?);
                for role in KeyRole::ALL {
                    let made = SigningKey::generate(entropy, role)
                        .map_err(|error| EngineError::incomplete("new keys", error))?;
                    rows.push(key.wrap(entropy, Purpose::Signing(role), 1, &made).map_err(failed)?);
                    signing.push(made);
                }
            } else {
                let cut = CutKey::generate(entropy);
                rows.push(key.wrap(entropy, Purpose::Cut(namespace, group), 1, &cut).map_err(failed)?);
                let manifest = ManifestKey::generate(entropy);
                rows.push(key.wrap(entropy, Purpose::Manifest(namespace, group), 1, &manifest).map_err(failed)?);
            }
        }
        let find = |role: KeyRole| signing.iter().find(|key| key.role() == role);
        let root_key = find(KeyRole::Root).ok_or_else(|| EngineError::incomplete("new keys", "no root key"))?;
        let role_keys = signing
            .iter()
            .filter(|key| key.role() != KeyRole::Root)
            .map(|key| RoleKey {
                key: key.verifying_key(),
                role: key.role(),
                predicates: predicates(key.role()),
                from: 0,
                until: None,
            })
            .collect();
        let document = RootDocument::first(id, (settings.now)(), true, 1, vec![root_key.verifying_key()], role_keys);
        let root = document.sign(&[root_key]).map_err(|error| EngineError::incomplete("trust root", error))?;
        let log = signing
            .into_iter()
            .find(|key| key.role() == KeyRole::Log)
            .ok_or_else(|| EngineError::incomplete("new keys", "no log key"))?;
        Ok(Self { root, log, rows, id })
    }

    fn write_catalog(self, settings: &Settings<'_>, path: &Path) -> Result<TrustRoot, EngineError> {
        let Self { root, log, rows, id } = self;
        let signer = move |size: u64, digest: ringfence_schema::Digest| {
            checkpoint::sign(&checkpoint::Checkpoint::new(&id, size, digest), &[&log]).map_err(Into::into)
        };
        let catalog = Catalog::create(path, Box::new(signer)).map_err(|error| catalog_error(&error))?;
        crate::act::genesis(&catalog, &id, &root, rows, (settings.now)())?;
        Ok(root)
    }
}

/// Which statements a key of this role signs.
fn predicates(role: KeyRole) -> Vec<String> {
    let kinds = EvidenceKind::ALL.into_iter().filter(|kind| match role {
        KeyRole::Evidence => *kind != EvidenceKind::Release,
        KeyRole::Release => *kind == EvidenceKind::Release,
        KeyRole::Root | KeyRole::Log | KeyRole::Ref => false,
    });
    kinds.map(|kind| kind.predicate_type().to_owned()).collect()
}

/// The keys of an opened vault, sorted by who uses them.
struct OpenedKeys {
    keys: Keys,
    log: SigningKey,
    root_key: SigningKey,
    store: StoreKeys,
    packs: Vec<WrappedKey>,
}

fn open_keys(settings: &Settings<'_>, id: &VaultId, kek: &Kek, path: &Path) -> Result<OpenedKeys, EngineError> {
    let ledger = Catalog::open_read_only(path)
        .and_then(|catalog| catalog.read(|view| view.keys()))
        .map_err(|error| catalog_error(&error))?;
    let rows: Vec<WrappedKey> = ledger.into_iter().flat_map(|key| key.wraps).collect();
    let find = |purpose: Purpose| {
        let newest = rows.iter().filter(|row| row.purpose == purpose).max_by_key(|row| row.version);
        newest.ok_or_else(|| EngineError::tampered("key ledger", format!("there is no key `{purpose}`")))
    };
    let wrong = |error: KeyError| match error {
        KeyError::WrongKey { .. } => EngineError::WrongKey { path: settings.vault.clone() },
        other => EngineError::tampered("key ledger", other),
    };
    let namespace = |namespace: Namespace| -> Result<NamespaceKey, EngineError> {
        kek.unwrap(id, find(Purpose::Namespace(namespace))?).map_err(wrong)
    };
    let control = namespace(Namespace::Control)?;
    let signing = |role: KeyRole| -> Result<SigningKey, EngineError> {
        control.unwrap(find(Purpose::Signing(role))?).map_err(wrong)
    };
    let group = |which: Namespace| -> Result<GroupKeys, EngineError> {
        let key = namespace(which)?;
        Ok(GroupKeys {
            chunk_id: key.unwrap(find(Purpose::ChunkId(which, ShredGroup::FIRST))?).map_err(wrong)?,
            cut: key.unwrap(find(Purpose::Cut(which, ShredGroup::FIRST))?).map_err(wrong)?,
            manifest: key.unwrap(find(Purpose::Manifest(which, ShredGroup::FIRST))?).map_err(wrong)?,
            namespace: key,
        })
    };
    Ok(OpenedKeys {
        keys: Keys {
            detail: control.unwrap(find(Purpose::Detail)?).map_err(wrong)?,
            names: control.unwrap(find(Purpose::ChunkId(Namespace::Control, ShredGroup::FIRST))?).map_err(wrong)?,
            reference: signing(KeyRole::Ref)?,
            evidence: signing(KeyRole::Evidence)?,
            release: signing(KeyRole::Release)?,
        },
        log: signing(KeyRole::Log)?,
        root_key: signing(KeyRole::Root)?,
        store: StoreKeys { quarantine: group(Namespace::Quarantine)?, admitted: group(Namespace::Admitted)? },
        packs: rows.into_iter().filter(|row| matches!(row.purpose, Purpose::Pack(..))).collect(),
    })
}

fn unlock(settings: &Settings<'_>, file: &VaultFile) -> Result<Kek, EngineError> {
    match &file.lock {
        Lock::KeyFile => {
            let path = key_file(settings, &file.vault);
            Kek::from_key_file(&path).map_err(|error| key_file_error(&path, &error))
        }
        Lock::Passphrase(params) => {
            let passphrase = (settings.passphrase)(Asked::Open).map_err(EngineError::io("passphrase"))?;
            Kek::from_passphrase(&passphrase, params)
                .map_err(|error| EngineError::tampered(settings.vault.join(VAULT_FILE).display().to_string(), error))
        }
    }
}

fn key_file_error(path: &Path, error: &KeyFileError) -> EngineError {
    match error {
        KeyFileError::Io { source, .. } => {
            EngineError::Io { path: path.to_owned(), source: std::io::Error::new(source.kind(), source.to_string()) }
        }
        other => EngineError::NotPermitted { what: other.to_string() },
    }
}

/// The root in the vault must be the pinned one. Where none is pinned (another machine, another configuration), whoever can
/// unwrap the root's own signing key has shown that it is theirs.
fn check_pin(settings: &Settings<'_>, root: &TrustRoot, root_key: &SigningKey) -> Result<(), EngineError> {
    let pins = open_pins(settings)?;
    match pins.find(root.vault()).map_err(|error| pin_error(&error))? {
        Some(pinned) if pinned.file() == root.file() => Ok(()),
        Some(pinned) if pinned.epoch() < root.epoch() => pins.save(root).map_err(|error| pin_error(&error)),
        Some(_) => Err(EngineError::tampered(ROOT_FILE, "it is not the trust root that this user pinned")),
        None if root.document().roots.contains(&root_key.verifying_key()) => {
            settings.progress.note("pinned the vault's trust root: its root key is in the vault's own ledger");
            pins.save(root).map_err(|error| pin_error(&error))
        }
        None => Err(EngineError::tampered(ROOT_FILE, "its root keys are not those of this vault")),
    }
}

pub(crate) fn open_pins(settings: &Settings<'_>) -> Result<Pins, EngineError> {
    make_private_folder(&settings.config)?;
    Pins::open(&settings.config.join("pins")).map_err(|error| pin_error(&error))
}

pub(crate) fn pin_error(error: &PinError) -> EngineError {
    match error {
        PinError::Io { path, source } => {
            EngineError::Io { path: path.clone(), source: std::io::Error::new(source.kind(), source.to_string()) }
        }
        other => EngineError::tampered("pins", other),
    }
}

/// What a catalog error means to people.
pub(crate) fn catalog_error(error: &CatalogError) -> EngineError {
    use std::io::{Error, ErrorKind};
    match error {
        CatalogError::NotCommitted(inner) => catalog_error(inner),
        CatalogError::NoSpace { path } => {
            EngineError::Io { path: path.clone(), source: Error::from(ErrorKind::StorageFull) }
        }
        CatalogError::Missing { path } => {
            EngineError::Io { path: path.clone(), source: Error::from(ErrorKind::NotFound) }
        }
        CatalogError::Damaged { path, what } | CatalogError::Foreign { path, what } => {
            EngineError::tampered(path.display().to_string(), what)
        }
        other => EngineError::incomplete("catalog", other),
    }
}

/// What a store error means to people.
pub(crate) fn store_error(error: &ringfence_store::StoreError) -> EngineError {
    use ringfence_store::StoreError;
    match error {
        StoreError::Damaged { .. } => EngineError::tampered("store", error),
        StoreError::Disk(disk) if disk.source.kind() == std::io::ErrorKind::StorageFull => {
            EngineError::Io { path: disk.path.clone(), source: std::io::Error::from(std::io::ErrorKind::StorageFull) }
        }
        other => EngineError::incomplete("store", other),
    }
}

/// The built-in policies under the settings and further forbids of `policy.toml` in the user's configuration, if there is one.
fn policies(settings: &Settings<'_>) -> Result<Policies, EngineError> {
    let builtin = builtin_policies()?;
    let Some(text) = policy_file(settings)? else { return Ok(builtin) };
    let wrong = |what: String| EngineError::Plan { file: settings.config.join(POLICY_FILE), what };
    let policy = VaultPolicy::parse(&text).map_err(|error| wrong(error.to_string()))?;
    builtin.with_vault(&policy).map_err(|error| wrong(error.to_string()))
}

pub(crate) fn builtin_policies() -> Result<Policies, EngineError> {
    Policies::builtin().map_err(|error| EngineError::incomplete("policy", error))
}

/// The text of `policy.toml` in the user's configuration, if there is one.
pub(crate) fn policy_file(settings: &Settings<'_>) -> Result<Option<String>, EngineError> {
    let path = settings.config.join(POLICY_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let wrong = |error: std::string::FromUtf8Error| EngineError::Plan {
        file: path.clone(),
        what: format!("not UTF-8 text: {error}"),
    };
    String::from_utf8(read_small(&path)?).map(Some).map_err(wrong)
}

fn make_private_folder(folder: &Path) -> Result<(), EngineError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(EngineError::io(folder))
}

fn lock_file(folder: &Path) -> Result<fs::File, EngineError> {
    named_lock_file(folder, LOCK_FILE)
}

/// A file that is there to be locked.
pub(crate) fn named_lock_file(folder: &Path, name: &str) -> Result<fs::File, EngineError> {
    let path = folder.join(name);
    let opened = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    opened.map_err(EngineError::io(path))
}

/// Removes what an `init` that was killed left: without `vault.json` there was never a vault.
fn clear_unfinished(folder: &Path) -> Result<(), EngineError> {
    let names = [".vault.json", ROOT_FILE, CATALOG_FILE, "catalog.sqlite-wal", "catalog.sqlite-shm"];
    for name in names {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(EngineError::io(folder.join(name))(error));
            }
            _ => {}
        }
    }
    match fs::remove_dir_all(folder.join(STORE_FOLDER)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(EngineError::io(folder)(error)),
        _ => Ok(()),
    }
}

fn key_file(settings: &Settings<'_>, id: &VaultId) -> PathBuf {
    settings.config.join(format!("{id}.key"))
}

fn disk() -> Disk {
    Disk::real()
}

pub(crate) fn read_small(path: &Path) -> Result<Vec<u8>, EngineError> {
    let file = fs::File::open(path).map_err(EngineError::io(path))?;
    let mut bytes = Vec::new();
    file.take(SMALL_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(EngineError::io(path))?;
    if bytes.len() as u64 > SMALL_FILE_BYTES_MAX {
        return Err(EngineError::tampered(
            path.display().to_string(),
            format!("larger than {SMALL_FILE_BYTES_MAX} bytes"),
        ));
    }
    Ok(bytes)
}

fn read_vault_file(folder: &Path) -> Result<VaultFile, EngineError> {
    let path = folder.join(VAULT_FILE);
    if !path.exists() {
        return Err(EngineError::NoVault { path: folder.to_owned() });
    }
    canon::from_canonical(&read_small(&path)?).map_err(|error| EngineError::tampered(path.display().to_string(), error))
}

fn read_root(folder: &Path, id: &VaultId) -> Result<TrustRoot, EngineError> {
    let path = folder.join(ROOT_FILE);
    let root = TrustRoot::open(&read_small(&path)?)
        .map_err(|error| EngineError::tampered(path.display().to_string(), error))?;
    if root.vault() == id {
        Ok(root)
    } else {
        Err(EngineError::tampered(path.display().to_string(), "it belongs to another vault"))
    }
}

/// The root in the catalog where that is the next epoch after the one in the file: a crash came between the two.
fn newest_root(settings: &Settings<'_>, catalog: &Catalog, root: TrustRoot) -> Result<TrustRoot, EngineError> {
    let row =
        catalog.read(|view| view.row(Table::Root, b"root")).map_err(|error: CatalogError| catalog_error(&error))?;
    match row {
        Some(file) if file == root.file() => Ok(root),
        Some(file) => {
            let next = root.succeed(&file).map_err(|error| EngineError::tampered("trust root", error))?;
            keep_root(settings, &next)?;
            Ok(next)
        }
        None => Err(EngineError::tampered("trust root", "its row is missing")),
    }
}

fn keep_root(settings: &Settings<'_>, root: &TrustRoot) -> Result<(), EngineError> {
    let folder = &settings.vault;
    let part = folder.join(".root.json");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(EngineError::io(&part)(error)),
        _ => {}
    }
    write_synced(&part, root.file())?;
    fs::rename(&part, folder.join(ROOT_FILE)).map_err(EngineError::io(folder))?;
    sync_folder(folder)?;
    open_pins(settings)?.save(root).map_err(|error| pin_error(&error))
}

/// Where a version's bytes are.
pub(crate) fn namespace_of(state: NamespaceState) -> Namespace {
    match state {
        NamespaceState::Quarantined | NamespaceState::Candidate => Namespace::Quarantine,
        NamespaceState::Admitted | NamespaceState::Released => Namespace::Admitted,
    }
}

/// The catalog of the vault in `settings.vault`, for reading without any key; with the vault's root, if it is pinned.
pub(crate) fn open_keyless(settings: &Settings<'_>) -> Result<(Catalog, TrustRoot), EngineError> {
    let folder = &settings.vault;
    let file = read_vault_file(folder)?;
    let pins = open_pins(settings)?;
    let root = if let Some(root) = pins.find(&file.vault).map_err(|error| pin_error(&error))? {
        root
    } else {
        settings
            .progress
            .note("no trust root of this vault is pinned here; verifying under the one in the vault itself");
        read_root(folder, &file.vault)?
    };
    let catalog = Catalog::open_read_only(&folder.join(CATALOG_FILE)).map_err(|error| catalog_error(&error))?;
    Ok((catalog, root))
}

/// The trust roots and checkpoints that this user holds.
pub fn pins(settings: &Settings<'_>) -> Result<Pins, EngineError> {
    open_pins(settings)
}
