//! Copying the trail to static files that any log client reads (C2SP tlog-tiles), a little more each time.
//!
//! What must stay true: a file that is there is never changed, only `checkpoint` is replaced, and that last, once everything
//! below it is on disk. So whoever reads a mirror at any moment, also after a crash, finds a whole tree under its checkpoint.
//! Before the first byte is written the mirror is verified, and trail, mirror and the checkpoint that this user holds must tell
//! one story; otherwise it is tampering, and nothing is touched.
//!
//! Entries, checkpoints and the trust root are in clear, so no key is needed. Copying is not an entry itself: each copy would
//! make the next one necessary.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use ringfence_catalog::{Problem, View};
use ringfence_trust::{
    checkpoint::Checkpoint,
    merkle,
    note::Note,
    root::TrustRoot,
    tiles::{self, CHECKPOINT_PATH, Part, Tower, WIDTH},
};

use super::{
    check, cosigned,
    folder::{Content, Folder},
    witness::Witnessing,
};
use crate::{
    act::Failure,
    bundle::{sync_folder, write_whole},
    error::EngineError,
    settings::Settings,
    vault::{open_keyless, open_pins, pin_error},
};

/// Mode of files that never change.
const IMMUTABLE: u32 = 0o444;

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrored {
    /// Entries in the mirror now.
    pub entries: u64,
    /// Entries in it before.
    pub before: u64,
    /// Files that were written, without `checkpoint`.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What the checkpoint says.
    pub checkpoint: Checkpoint,
}

/// Brings the mirror in `target` up to date with the trail of the vault in `settings.vault`; makes it if there is none.
///
/// # Errors
/// [`EngineError::Tampered`] where the mirror, the trail and the held checkpoint contradict each other;
/// [`EngineError::Usage`] where `target` is a folder of something else; [`EngineError::Incomplete`] where another process
/// mirrors into it, or the trail has no entries; [`EngineError::Io`].
pub fn mirror(settings: &Settings<'_>, target: &Path) -> Result<Mirrored, EngineError> {
    mirror_to(settings, target, None)
}

/// As [`mirror`], up to the checkpoint that witnesses were just shown, so that the one in the mirror is cosigned.
///
/// # Errors
/// As [`mirror`].
pub fn mirror_witnessed(settings: &Settings<'_>, target: &Path, shown: &Witnessing) -> Result<Mirrored, EngineError> {
    mirror_to(settings, target, Some(&shown.note))
}

fn mirror_to(settings: &Settings<'_>, target: &Path, shown: Option<&Note>) -> Result<Mirrored, EngineError> {
    let (catalog, trust) = open_keyless(settings)?;
    let held = open_pins(settings)?.checkpoint(trust.vault()).map_err(|error| pin_error(&error))?;
    fs::create_dir_all(target).map_err(EngineError::io(target))?;
    let _alone = alone(target)?;
    let copied = existing(target, &trust)?;
    let copy = |view: View<'_>| -> Result<Mirrored, Failure> {
        let trail = Trail { view, trust: &trust, held: held.as_ref() };
        let mut note = trail.note(shown, copied.as_ref().map(|(copied, _)| copied))?;
        cosigned::join_kept(settings, &trust, &mut note).map_err(Failure::Engine)?;
        let (signed, tower) = trail.check(&note, copied.as_ref().map(|(copied, _)| copied), target)?;
        let mut writer = Writer { folder: Folder::new(target), made: BTreeSet::new(), files: 0, bytes: 0 };
        let before = copied.as_ref().map_or(0, |(copied, _)| copied.size);
        if before < signed.size || copied.is_none() {
            trail.write(tower, signed.size, &mut writer)?;
            writer.finish().map_err(Failure::Engine)?;
        }
        // Cosignatures of the same checkpoint that came to the mirror by another way stay.
        if let Some((_, there)) = copied.as_ref().filter(|(_, there)| there.text() == note.text()) {
            let ours = std::mem::replace(&mut note, there.clone());
            note.merge(ours.lines().to_vec());
        }
        if copied.as_ref().is_none_or(|(_, there)| *there != note) {
            write_whole(&target.join(CHECKPOINT_PATH), note.to_string().as_bytes()).map_err(Failure::Engine)?;
        }
        Ok(Mirrored { entries: signed.size, before, files: writer.files, bytes: writer.bytes, checkpoint: signed })
    };
    catalog.read(copy).map_err(Failure::into_engine)
}

/// Locks the folder against other copies for as long as the file lives.
fn alone(target: &Path) -> Result<fs::File, EngineError> {
    let folder = fs::File::open(target).map_err(EngineError::io(target))?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(fs::TryLockError::WouldBlock) => {
            Err(EngineError::incomplete(target.display().to_string(), "another process mirrors into it"))
        }
        Err(fs::TryLockError::Error(error)) => Err(EngineError::io(target)(error)),
    }
}

/// The checkpoint of the mirror that is there, once everything in it was verified.
fn existing(target: &Path, trust: &TrustRoot) -> Result<Option<(Checkpoint, Note)>, EngineError> {
    if matches!(Folder::new(target).note()?, Content::Missing) {
        for entry in fs::read_dir(target).map_err(EngineError::io(target))? {
            let name = entry.map_err(EngineError::io(target))?.file_name();
            // What a first copy that was interrupted leaves, and what a fresh file system has.
            let known = name == "tile" || name == "lost+found" || name.to_string_lossy().starts_with(".checkpoint.");
            if !known {
                let what = format!("`{}` is no mirror and not empty", target.display());
                return Err(EngineError::Usage { what });
            }
        }
        return Ok(None);
    }
    let verdict = check::check(target, trust, None)?;
    match verdict.problems.split_first() {
        None => Ok(verdict.signed),
        Some((first, rest)) => {
            let more = rest.len() as u64 + verdict.unlisted;
            let detail = if more > 0 { format!("{first}; and {more} more") } else { first.clone() };
            Err(EngineError::tampered(target.display().to_string(), detail + "; nothing was written"))
        }
    }
}

/// The trail in one snapshot.
struct Trail<'a> {
    view: View<'a>,
    trust: &'a TrustRoot,
    held: Option<&'a Checkpoint>,
}

impl Trail<'_> {
    /// The checkpoint to copy up to: the one that was shown to witnesses, unless the mirror is further already.
    fn note(&self, shown: Option<&Note>, copied: Option<&Checkpoint>) -> Result<Note, Failure> {
        let reaches = |note: &&Note| {
            let size = note.checkpoint().map_or(0, |checkpoint| checkpoint.size);
            copied.is_none_or(|copied| copied.size <= size)
        };
        if let Some(shown) = shown.filter(reaches) {
            return Ok(shown.clone());
        }
        let text = self.view.newest_note()?;
        let text = text.ok_or_else(|| Failure::Engine(EngineError::incomplete("trail", "no entries")))?;
        Note::parse(text.as_bytes()).map_err(|error| Failure::Engine(EngineError::tampered("trail", error)))
    }

    /// Reads all entries once: they must lead to the signed root of `note`, by way of the mirror's root and the held one.
    /// Returns what `note` says, and the tree up to the first bundle that the mirror does not have whole.
    fn check(&self, note: &Note, copied: Option<&Checkpoint>, target: &Path) -> Result<(Checkpoint, Tower), Failure> {
        let tampered = |detail: String| Failure::Engine(EngineError::tampered("trail", detail));
        let opened = self.trust.verify_cosigned(note.to_string().as_bytes());
        let (signed, _) = opened.map_err(|error| tampered(error.to_string()))?;
        let place = target.display();
        for (earlier, whose) in [(copied, "the mirror"), (self.held, "the checkpoint that is held")] {
            if let Some(earlier) = earlier.filter(|earlier| earlier.size > signed.size) {
                let problem = Problem::RolledBack { size: signed.size, held: earlier.size };
                return Err(tampered(format!("{problem} (says {whose}); `{place}` was left as it is")));
            }
        }
        let resume = copied.map_or(0, |copied| copied.size / u64::from(WIDTH) * u64::from(WIDTH));
        let (mut tower, mut start) = (Tower::new(), Tower::new());
        let differs = |earlier: Option<&Checkpoint>, tower: &Tower| {
            earlier.is_some_and(|earlier| earlier.size == tower.size() && earlier.root != tower.root())
        };
        let compare = |tower: &Tower| {
            if differs(copied, tower) {
                return Err(tampered(format!(
                    "its first {} entries are not those of the mirror `{place}`, which was left as it is",
                    tower.size()
                )));
            }
            if differs(self.held, tower) {
                return Err(tampered(Problem::Forked { held: tower.size() }.to_string()));
            }
            Ok(())
        };
        compare(&tower)?;
        self.view.for_each_leaf(0..signed.size, |_, leaf| -> Result<(), Failure> {
            tower.append(merkle::leaf_hash(leaf), |_| Ok::<(), Failure>(()))?;
            if tower.size() == resume {
                start = tower.clone();
            }
            compare(&tower)
        })?;
        if tower.root() == signed.root {
            Ok((signed, start))
        } else {
            Err(tampered("its entries do not lead to the signed root: `ringfence trail verify` tells more".to_owned()))
        }
    }

    /// Writes everything from the end of `tower` on.
    fn write(&self, mut tower: Tower, size: u64, writer: &mut Writer) -> Result<(), Failure> {
        let mut bundle = Vec::new();
        self.view.for_each_leaf(tower.size()..size, |index, leaf| -> Result<(), Failure> {
            let too_large = |error| Failure::Engine(EngineError::tampered(format!("trail entry {index}"), error));
            tiles::push_entry(&mut bundle, leaf).map_err(too_large)?;
            tower.append(merkle::leaf_hash(leaf), |tile| {
                writer.put(tile.part, &tiles::tile_bytes(&tile.hashes)).map_err(Failure::Engine)
            })?;
            if tower.size().is_multiple_of(u64::from(WIDTH)) {
                writer.put(Part::entries(index / u64::from(WIDTH), WIDTH), &bundle).map_err(Failure::Engine)?;
                bundle.clear();
            }
            Ok(())
        })?;
        for part in tiles::parts_at(size).into_iter().filter(|part| part.kind == tiles::Kind::Entries) {
            writer.put(part, &bundle).map_err(Failure::Engine)?;
        }
        for (part, hashes) in tower.unfinished() {
            writer.put(part, &tiles::tile_bytes(hashes)).map_err(Failure::Engine)?;
        }
        Ok(())
    }
}

/// Adds files, and never changes one.
struct Writer {
    folder: Folder,
    /// Folders with entries that are not durable yet.
    made: BTreeSet<PathBuf>,
    files: u64,
    bytes: u64,
}

impl Writer {
    /// Puts `bytes` in the place of `part`, durably. What an interrupted copy left there must be the same.
    fn put(&mut self, part: Part, bytes: &[u8]) -> Result<(), EngineError> {
        let path = self.folder.path().join(part.path());
        let other = |what: &str| {
            Err(EngineError::tampered(path.display().to_string(), format!("{what}; it was left as it is")))
        };
        match self.folder.part(part)? {
            Content::Bytes(found) if found == bytes => return Ok(()),
            Content::Bytes(_) => return other("it is not what the trail says"),
            Content::Odd(what) => return other(&what),
            Content::Missing => {}
        }
        let parent = path.parent().unwrap_or(Path::new(".")).to_owned();
        self.make(&parent)?;
        let fresh = parent.join(format!(".{}.new", path.file_name().unwrap_or_default().to_string_lossy()));
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(EngineError::io(fresh)(error)),
            _ => {}
        }
        let write = || {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(IMMUTABLE).open(&fresh)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            // Nobody else writes here: the folder is locked.
            fs::rename(&fresh, &path)
        };
        write().map_err(EngineError::io(&path))?;
        self.files += 1;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes a folder of the mirror with those above it, to be made durable by [`Self::finish`].
    fn make(&mut self, folder: &Path) -> Result<(), EngineError> {
        if self.made.contains(folder) {
            return Ok(());
        }
        fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
        for level in folder.ancestors() {
            self.made.insert(level.to_owned());
            if level == self.folder.path() {
                break;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        std::mem::take(&mut self.made).iter().try_for_each(|folder| sync_folder(folder))?;
        let above = self.folder.path().parent().filter(|above| !above.as_os_str().is_empty());
        sync_folder(above.unwrap_or(Path::new(".")))
    }
}
