//! Whose processes a run's are: for an ordinary caller its own, for root those of a user who does not exist.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket},
    unistd::{Pid, getegid, geteuid},
};

/// The user and group under which a job runs, as the host sees them.
pub(super) struct Identity {
    /// User id.
    pub(super) uid: u32,
    /// Group id.
    pub(super) gid: u32,
    /// Whether nobody else on this host has this id.
    pub(super) owned: Owned,
    /// Keeps other runs from choosing the same id, for as long as a process holds it.
    _reservation: Option<OwnedFd>,
}

/// Whether an id belongs to the run alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owned {
    /// By this run alone.
    Alone,
    /// By everything of the calling user.
    Shared,
}

impl Owned {
    /// Whether a caller with this user id gives its jobs an id of their own.
    pub(super) fn of(caller: u32) -> Self {
        if caller == 0 { Self::Alone } else { Self::Shared }
    }
}

impl Identity {
    /// The identity of the next job: the caller's, or an unused one if the caller is root.
    pub(super) fn choose() -> io::Result<Self> {
        if geteuid().is_root() {
            return Self::unused();
        }
        Ok(Self { uid: geteuid().as_raw(), gid: getegid().as_raw(), owned: Owned::Shared, _reservation: None })
    }

    /// The user id, if it belongs to the run alone.
    pub(super) fn own_uid(&self) -> Option<u32> {
        (self.owned == Owned::Alone).then_some(self.uid)
    }

    /// An id that is valid here, names no user, is in nobody's range of subordinate ids, and owns no process.
    fn unused() -> io::Result<Self> {
        let (first, last) = candidate_range()?;
        let mut taken = named_ids("/etc/passwd", 2)?;
        taken.extend(named_ids("/etc/group", 2)?);
        let ranges = subordinate_ranges();
        let offset = std::process::id() % CANDIDATES;
        for step in 0..CANDIDATES {
            let uid = first + (offset + step) % (last - first + 1).min(CANDIDATES);
            if taken.contains(&uid) || ranges.iter().any(|(start, end)| (*start..*end).contains(&u64::from(uid))) {
                continue;
            }
            let Ok(reservation) = reserve(uid) else { continue };
            if !owns_process(uid)? {
                return Ok(Self { uid, gid: uid, owned: Owned::Alone, _reservation: Some(reservation) });
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no unused user id found"))
    }
}

/// Ids to choose from: the upper end of what this user namespace maps, below 2³¹.
fn candidate_range() -> io::Result<(u32, u32)> {
    let map = fs::read_to_string("/proc/self/uid_map")?;
    let ends = map.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().map(str::parse::<u64>);
        let (start, _, count) = (fields.next()?.ok()?, fields.next()?.ok()?, fields.next()?.ok()?);
        Some((start, start.saturating_add(count).min(ID_END)))
    });
    let (start, end) = ends
        .max_by_key(|(_, end)| *end)
        .filter(|(_, end)| *end > u64::from(LEAST_JOB_ID))
        .ok_or(io::ErrorKind::NotFound)?;
    let first = end.saturating_sub(u64::from(CANDIDATES)).max(start).max(u64::from(LEAST_JOB_ID));
    let narrow = |id: u64| u32::try_from(id).map_err(io::Error::other);
    Ok((narrow(first)?, narrow(end - 1)?))
}

/// The numbers in a column of a file like /etc/passwd.
fn named_ids(path: &str, column: usize) -> io::Result<Vec<u32>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let lines = BufReader::new(file).lines().map_while(Result::ok).take(NAMES_MAX);
    Ok(lines.filter_map(|line| line.split(':').nth(column)?.parse().ok()).collect())
}

/// Ranges that rootless containers of users may use.
fn subordinate_ranges() -> Vec<(u64, u64)> {
    let text = fs::read_to_string("/etc/subuid").unwrap_or_default();
    let range = |line: &str| {
        let mut fields = line.split(':').skip(1).map(str::parse::<u64>);
        let (start, count) = (fields.next()?.ok()?, fields.next()?.ok()?);
        Some((start, start.saturating_add(count)))
    };
    text.lines().take(NAMES_MAX).filter_map(range).collect()
}

/// Holds an abstract socket name that says that `uid` is taken: atomic, and gone with its last holder.
pub(super) fn reserve(uid: u32) -> io::Result<OwnedFd> {
    let holder = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let name = UnixAddr::new_abstract(format!("ringfence-uid-{uid}").as_bytes())?;
    bind(holder.as_raw_fd(), &name)?;
    Ok(holder)
}

fn owns_process(uid: u32) -> io::Result<bool> {
    Ok(all_processes()?.into_iter().any(|process| user_of(process) == Some(uid)))
}

/// All processes that this one can see.
pub(super) fn all_processes() -> io::Result<Vec<Pid>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        processes.extend(entry?.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw));
    }
    Ok(processes)
}

/// The effective user of a process, from its status: the owner of its folder in `/proc` is root for some.
pub(super) fn user_of(process: Pid) -> Option<u32> {
    // One call is enough: the line stands within the first few hundred bytes. A start looks at every process.
    let mut bytes = [0; STATUS_HEAD_BYTES];
    let count = fs::File::open(format!("/proc/{process}/status")).ok()?.read(&mut bytes).ok()?;
    let status = String::from_utf8_lossy(bytes.get(..count)?);
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Bytes at the start of a process's status that hold its users.
const STATUS_HEAD_BYTES: usize = 1_024;
/// Job ids are never below this.
pub(super) const LEAST_JOB_ID: u32 = 1_000;
/// Candidate ids that are looked at.
const CANDIDATES: u32 = 4_096;
/// Ids from here on are not used: some programs keep them in signed integers.
const ID_END: u64 = 0x7fff_0000;
/// Most lines of a user list.
const NAMES_MAX: usize = 1_000_000;
