//! What is bounded rather than refused.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::Command,
    time::Duration,
};

use super::{At, Attempt, Outcome, again, output};

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt::new("descriptor-bomb", "hold more descriptors than the limit", |_| {
        let mut hoard = Vec::new();
        while hoard.len() < DESCRIPTORS_BOUND {
            match fs::File::open("/dev/null") {
                Ok(file) => hoard.push(file),
                Err(error) => return Err(format!("{} opened, then {error}", hoard.len())),
            }
        }
        Ok("more than the limit".to_owned())
    }),
    Attempt::new("core-dump", "have its memory written to a file", |_| {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        setrlimit(Resource::RLIMIT_CORE, 1 << 20, 1 << 20).map_err(|error| error.to_string())?;
        let (soft, _) = getrlimit(Resource::RLIMIT_CORE).map_err(|error| error.to_string())?;
        Ok(format!("up to {soft} bytes"))
    }),
    Attempt::new("disk-bomb-out", "fill /out", |_| fill(&output().join("bomb"))),
    Attempt::new("disk-bomb-tmp", "fill /tmp", |_| fill(Path::new("/tmp/bomb"))).only(At::NamespacesOnly),
    Attempt::new("disk-bomb-shm", "fill /dev/shm", |_| fill(Path::new("/dev/shm/bomb"))).only(At::NamespacesOnly),
    Attempt::new("file-bomb-out", "fill /out with empty files", |_| {
        let folder = output().join("files");
        fs::create_dir(&folder).map_err(|error| error.to_string())?;
        let made = (0..FILES_BOUND).find_map(|index| fs::write(folder.join(index.to_string()), "").err());
        let _ = fs::remove_dir_all(&folder);
        match made {
            Some(error) => Err(error.to_string()),
            None => Ok("more than the limit".to_owned()),
        }
    })
    .only(At::NamespacesOnly),
    Attempt::new("fork-bomb", "make more processes than the limit", |_| {
        let result = again().arg("fork-bomb").output().map_err(|error| error.to_string())?;
        let made: u64 = String::from_utf8_lossy(&result.stdout).trim().parse().unwrap_or(0);
        if made < PROCESSES_BOUND { Err(format!("{made} made")) } else { Ok(format!("{made} made")) }
    }),
    Attempt::new("memory-bomb", "take more memory than the limit", |_| {
        let status = again().arg("memory-bomb").status().map_err(|error| error.to_string())?;
        if status.success() { Ok("it got all".to_owned()) } else { Err(status.to_string()) }
    }),
];

/// Writes until it is refused or beyond every limit of the test.
fn fill(path: &Path) -> Outcome {
    let filled = fill_one(path);
    let _ = fs::remove_file(path);
    filled
}

fn fill_one(path: &Path) -> Outcome {
    let mut file = fs::File::create(path).map_err(|error| error.to_string())?;
    let block = vec![1_u8; 1 << 20];
    for written in 0..DISK_BOUND_MIB {
        if let Err(error) = file.write_all(&block) {
            return Err(format!("{written} MiB, then {error}"));
        }
    }
    Ok("more than the limit".to_owned())
}

pub(crate) fn fork_bomb() -> ! {
    let mut made = Vec::new();
    while (made.len() as u64) < PROCESSES_BOUND {
        match Command::new("/bin/sleep").arg("20").spawn() {
            Ok(child) => made.push(child),
            Err(_) => break,
        }
    }
    println!("{}", made.len());
    let _ = io::stdout().flush();
    wait();
    // Make room for the attempts that follow.
    for child in &mut made {
        let _ = child.kill();
    }
    for child in &mut made {
        let _ = child.wait();
    }
    std::process::exit(0)
}

pub(crate) fn memory_bomb() -> ! {
    let mut hoard = Vec::new();
    for _ in 0..MEMORY_BOUND_MIB {
        hoard.push(vec![1_u8; 1 << 20]);
    }
    wait();
    std::process::exit(i32::from(hoard.is_empty()))
}

/// Keeps what was got for as long as the test says.
fn wait() {
    let patience = std::env::var("PATIENCE_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    std::thread::sleep(Duration::from_millis(patience));
}

/// More processes than the test allows.
const PROCESSES_BOUND: u64 = 128;
/// More memory than the test allows.
const MEMORY_BOUND_MIB: usize = 320;
/// More descriptors than the test allows.
const DESCRIPTORS_BOUND: usize = 1_000;
/// More bytes in a folder than the test allows.
const DISK_BOUND_MIB: usize = 24;
/// More files in a folder than the test allows.
const FILES_BOUND: usize = 200;
