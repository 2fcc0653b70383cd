//! A vault without people: its trail is as long as a test wants, and the test holds its log key, as an attacker may.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use ringfence_catalog::{Catalog, CatalogError, Draft};
use ringfence_engine::schema::{
    Digest, Timestamp,
    trail::{EntryKind, Outcome},
};
use ringfence_trust::{
    VaultId,
    checkpoint::{self, Checkpoint},
    entropy::SeededEntropy,
    keys::KeyRole,
    root::{RoleKey, RootDocument, TrustRoot},
    sign::SigningKey,
};

/// Keys and root of a vault.
pub(crate) struct Lab {
    seed: u64,
    id: VaultId,
    root: TrustRoot,
}

/// One history of that vault, in a folder that `ringfence --vault` takes.
pub(crate) struct History {
    pub(crate) folder: PathBuf,
    catalog: Catalog,
}

impl Lab {
    pub(crate) fn new(seed: u64) -> Self {
        let entropy = &mut SeededEntropy::new(seed);
        let id = VaultId::random(entropy);
        let root_key = SigningKey::generate(entropy, KeyRole::Root).unwrap();
        let log = RoleKey {
            key: log_key(seed).verifying_key(),
            role: KeyRole::Log,
            predicates: Vec::new(),
            from: 0,
            until: None,
        };
        let document = RootDocument::first(id, moment(0), true, 1, vec![root_key.verifying_key()], vec![log]);
        let root = document.sign(&[&root_key]).unwrap();
        Self { seed, id, root }
    }

    /// The trust root's file.
    pub(crate) fn root(&self) -> &[u8] {
        self.root.file()
    }

    /// A checkpoint by the log's own key.
    pub(crate) fn sign(&self, size: u64, root: Digest) -> String {
        checkpoint::sign(&Checkpoint::new(&self.id, size, root), &[&log_key(self.seed)]).unwrap()
    }

    /// An empty history.
    pub(crate) fn history(&self, folder: &Path) -> History {
        fs::create_dir_all(folder).unwrap();
        let (id, key) = (self.id, log_key(self.seed));
        let signer = move |size, root| Ok(checkpoint::sign(&Checkpoint::new(&id, size, root), &[&key])?);
        let catalog = Catalog::create(&folder.join("catalog.sqlite"), Box::new(signer)).unwrap();
        fs::write(folder.join("root.json"), self.root.file()).unwrap();
        let vault = format!("{{\"lock\":\"key-file\",\"schema\":\"ringfence.vault/1\",\"vault\":\"{}\"}}", self.id);
        fs::write(folder.join("vault.json"), vault).unwrap();
        History { folder: folder.to_owned(), catalog }
    }

    /// Adds entries until there are `size`, all under one checkpoint; `action` makes histories differ.
    pub(crate) fn grow(&self, history: &History, size: u64, action: &str) {
        let draft = |kind, of: Option<u64>, index| Draft {
            vault: self.id.to_string(),
            time: moment(index),
            kind,
            action: action.to_owned(),
            actor: "owner".to_owned(),
            of,
            outcome: of.map(|_| Outcome::Done),
            commits: BTreeMap::from([("request".to_owned(), Digest::of(action.as_bytes()))]),
        };
        let grown = history.catalog.commit(|tx| -> Result<(), CatalogError> {
            let mut open = None;
            while tx.next_index() < size {
                let index = tx.next_index();
                let (kind, of) = match open.take() {
                    _ if index == 0 => (EntryKind::Genesis, None),
                    Some(intent) => (EntryKind::Outcome, Some(intent)),
                    None if index + 1 == size => (EntryKind::Denial, None),
                    None => (EntryKind::Intent, None),
                };
                let index = tx.append(draft(kind, of, index), None, Vec::new())?;
                open = (kind == EntryKind::Intent).then_some(index);
            }
            Ok(())
        });
        grown.unwrap();
    }
}

impl History {
    /// The newest checkpoint.
    pub(crate) fn note(&self) -> String {
        self.catalog.read(|view| view.newest_note()).unwrap().unwrap()
    }
}

fn log_key(seed: u64) -> SigningKey {
    SigningKey::generate(&mut SeededEntropy::new(seed ^ 0xffff), KeyRole::Log).unwrap()
}

fn moment(index: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + index * 1_000)
}
