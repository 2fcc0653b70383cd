//! Connections to Unix sockets that could only be the host's: a container engine's, an agent's, a display's.
//!
//! None of them is in the run's file system or network namespace, so the kernel refuses by itself and silently; here it is
//! only noticed who asked. Sockets that the job made, in its own folders or in its own namespace, are its own business.
#![deny(clippy::indexing_slicing)]

use std::{fs::File, io::Read, os::unix::fs::FileExt};

use nix::libc;
use ringfence_schema::finding::printable;

use crate::sys::Notice;

/// What to say of a `connect` to a Unix socket that is none of the job's own; `None` for every other one, and where the
/// address cannot be read.
pub(super) fn of_host(notice: &Notice) -> Option<String> {
    let [_, address, length] = notice.arguments;
    let length = usize::try_from(length).ok()?.min(ADDRESS_BYTES_MAX);
    let mut bytes = [0; ADDRESS_BYTES_MAX];
    let bytes = bytes.get_mut(..length)?;
    File::open(format!("/proc/{}/mem", notice.thread)).ok()?.read_exact_at(bytes, address).ok()?;
    let name = unix_name(bytes)?;
    let is_own = match name {
        // A relative path leads below the program's or the job's own folders: there is nothing else to stand in.
        Name::Path(path) => {
            !path.starts_with(b"/") || path == NAME_CACHE || OWN_FOLDERS.iter().any(|folder| path.starts_with(folder))
        }
        Name::Abstract(name) => is_bound(notice.thread, name),
    };
    (!is_own).then(|| match name {
        Name::Path(path) => {
            format!("connect to unix socket {}", printable(&String::from_utf8_lossy(path), NAME_CHARS_MAX))
        }
        Name::Abstract(name) => {
            format!("connect to abstract unix socket @{}", printable(&String::from_utf8_lossy(name), NAME_CHARS_MAX))
        }
    })
}

/// Name of a Unix socket (unix(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name<'a> {
    Path(&'a [u8]),
    Abstract(&'a [u8]),
}

/// The name in a `struct sockaddr`, if it is a Unix socket's.
fn unix_name(address: &[u8]) -> Option<Name<'_>> {
    let (family, name) = address.split_first_chunk::<2>()?;
    if u16::from_ne_bytes(*family) != u16::try_from(libc::AF_UNIX).ok()? {
        return None;
    }
    match name.split_first() {
        None => None,
        Some((0, rest)) => Some(Name::Abstract(rest)),
        Some(_) => name.split(|byte| *byte == 0).next().map(Name::Path),
    }
}

/// Whether an abstract socket of this name is bound in the caller's network namespace.
fn is_bound(thread: u32, name: &[u8]) -> bool {
    let mut list = Vec::new();
    let read = File::open(format!("/proc/{thread}/net/unix"))
        .and_then(|file| file.take(LIST_BYTES_MAX).read_to_end(&mut list));
    let is_it = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b'@');
        at.and_then(|at| line.get(at + 1..)).is_some_and(|bound| bound == name)
    };
    read.is_ok() && list.split(|byte| *byte == b'\n').any(is_it)
}

/// Where a job's own sockets are.
const OWN_FOLDERS: &[&[u8]] = &[b"/tmp/", b"/out/", b"/dev/shm/", b"/run/ringfence/"];
/// The C library asks the name cache for every user that is looked up, and takes no for an answer.
const NAME_CACHE: &[u8] = b"/var/run/nscd/socket";
/// Size of `struct sockaddr_un`.
const ADDRESS_BYTES_MAX: usize = 110;
/// Longest list of sockets that is looked through, in bytes.
const LIST_BYTES_MAX: u64 = 1 << 20;
/// Characters of a name that are shown.
const NAME_CHARS_MAX: usize = 110;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_other_addresses() {
        let unix = |rest: &[u8]| [&u16::try_from(libc::AF_UNIX).unwrap().to_ne_bytes()[..], rest].concat();
        assert_eq!(unix_name(&unix(b"/run/x\0tail")), Some(Name::Path(b"/run/x")));
        assert_eq!(unix_name(&unix(b"\0agent")), Some(Name::Abstract(b"agent")));
        assert_eq!(unix_name(&unix(b"")), None);
        let inet = [&u16::try_from(libc::AF_INET).unwrap().to_ne_bytes()[..], &[0; 14]].concat();
        assert_eq!((unix_name(&inet), unix_name(&[1]), unix_name(&[])), (None, None, None));
    }
}
