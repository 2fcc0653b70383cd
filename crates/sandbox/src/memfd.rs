//! Anonymous sealed files: plaintext for a worker that never touches a disk or a name.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::fd::OwnedFd,
};

use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};

/// Most bytes that one anonymous file may hold.
pub const MEMFD_BYTES_MAX: u64 = 64 << 30;

/// Copies `content` into an anonymous file that can then neither be written, grown nor shrunk by anyone, positioned at
/// its start. `name` shows in `/proc/self/fd` only.
///
/// More than [`MEMFD_BYTES_MAX`] bytes are an error; so is whatever reading `content` fails with.
pub fn memfd(name: &str, content: &mut dyn Read) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    let mut buffer = vec![0; COPY_BYTES];
    let mut total = 0_u64;
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        total += count as u64;
        if total > MEMFD_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        file.write_all(buffer.get(..count).unwrap_or_default())?;
    }
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file.into())
}

/// Size of one copy, in bytes.
const COPY_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_bytes_and_refuses_changes() {
        let mut file = File::from(memfd("test", &mut b"plain".as_slice()).unwrap());
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "plain");
        assert!(file.write_all(b"x").is_err());
        assert!(file.set_len(1).is_err());
    }
}
