//! The first process of a sandbox: builds it, loads the inputs, starts the job, waits.
//!
//! Where there are namespaces it is the first process of one: when it ends, the kernel kills everything in there. At
//! level `landlock` it is the parent to which orphans fall: it ends only when it has no child left.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
};

use nix::{
    libc,
    sys::{
        prctl,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use ringfence_schema::tree::is_safe_path;

use super::{
    FILES_MAX, FileHeader, Level, ORDER_BYTES_MAX, Place, Plan, SandboxError,
    calls::MemoryControl,
    claims::{Part, channel},
    control::{Control, Report},
    egress::{self, Doors},
    full,
    identity::Identity,
    job, landlocked,
    rules::Reach,
    to_supervisor,
};
use crate::{
    frame,
    sys::{self, Side},
};

/// What the keeper is given.
pub(super) struct Brief {
    /// The level to build.
    pub(super) level: Level,
    /// What to run.
    pub(super) plan: Plan,
    /// As whom.
    pub(super) identity: Identity,
    /// Whether a memory controller counts.
    pub(super) memory: MemoryControl,
    /// Where inputs come from.
    pub(super) input: File,
    /// The job's standard output.
    pub(super) stdout: OwnedFd,
    /// The job's standard error.
    pub(super) stderr: OwnedFd,
    /// Only try whether the level can be had.
    pub(super) purpose: Purpose,
}

/// Whether there is a job.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// There is.
    Run,
    /// There is none: only see whether the sandbox can be built.
    Probe,
}

/// The folders of a run, as the job sees them.
pub(super) struct Room {
    /// Inputs.
    pub(super) input: PathBuf,
    /// Program files; the working directory.
    pub(super) program: PathBuf,
    /// Temporary files.
    pub(super) scratch: PathBuf,
    /// Outputs.
    pub(super) output_path: PathBuf,
    /// Outputs, to be collected from outside.
    pub(super) output: OwnedFd,
    /// Temporary files, to be looked at from outside.
    pub(super) scratch_folder: OwnedFd,
    /// Where the job may tell its progress.
    pub(super) channel: channel::Ends,
    /// Held while anything of the run lives (level `landlock`).
    pub(super) _lock: Option<OwnedFd>,
    /// What Landlock will allow.
    pub(super) reach: Reach,
    /// The job's `PATH`.
    pub(super) search: String,
    /// What this level is made of.
    pub(super) measures: Vec<String>,
}

/// Runs the keeper in this process, which is a fresh child of the supervisor, and ends it.
pub(super) fn keep(brief: Brief, control: &Control) -> ! {
    let level = brief.level;
    let run_id = brief.plan.run_id.clone();
    let uid = brief.identity.own_uid();
    let outcome = run(brief, control);
    if level == Level::Landlock {
        landlocked::end(&run_id, uid, control);
    }
    let code = match outcome {
        Ok(()) => 0,
        Err(report) => {
            // If nobody listens any more, there is nobody to tell.
            let _ = control.report(&report, None);
            1
        }
    };
    std::process::exit(code)
}

fn run(brief: Brief, control: &Control) -> Result<(), Report> {
    let Brief { level, plan, identity, memory, mut input, stdout, stderr, purpose } = brief;
    if level.has_namespaces() {
        sys::die_with_parent().map_err(|error| failed("parent-death signal", &error))?;
    }
    control.wait_for_go().map_err(|error| failed("supervisor", &error))?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let built = match level {
        Level::Full | Level::NoCgroup => full::build(&plan, control),
        Level::Landlock => landlocked::build(&plan, Some(&identity)),
    };
    let room = built.map_err(|step| Report::Refused { reason: format!("{}: {}", step.what, step.error) })?;
    let doors = open_doors(level, &plan, purpose)?;
    prctl::set_dumpable(false).map_err(|error| failed("core dumps", &error.into()))?;
    let tell =
        |report: &Report, descriptor| control.report(report, descriptor).map_err(|error| failed("supervisor", &error));
    let socket = room.channel.socket.as_ref().map(|socket| (Part::Socket, socket));
    for (part, descriptor) in
        [(Part::Scratch, &room.scratch_folder), (Part::Pipe, &room.channel.pipe)].into_iter().chain(socket)
    {
        tell(&Report::Claims(part), Some(descriptor.as_fd()))?;
    }
    announce(control, &room, doors).map_err(|error| failed("supervisor", &error))?;
    if purpose == Purpose::Probe {
        return Ok(());
    }
    // The supervisor has put this process under its control groups meanwhile: inputs count as the run's memory.
    control.wait_for_go().map_err(|error| failed("supervisor", &error))?;
    load(&mut input, &room, &plan).map_err(Report::Failed)?;
    match level {
        Level::Full | Level::NoCgroup => {
            full::seal(&plan.in_force).map_err(|error| failed("seal the inputs", &error))?;
        }
        // Landlock shows them read-only; their owner cannot change that without calls that the filter refuses.
        Level::Landlock => {}
    }
    // What is read of the inputs is watched from outside; without a handle it is not, and nothing else changes.
    {
        let input_folder = File::open(&room.input).ok();
        let told = control.report(&Report::Loaded, input_folder.as_ref().map(AsFd::as_fd));
        told.map_err(|error| failed("supervisor", &error))?;
    }
    drop(input);
    let first = match sys::clone_process(0, None).map_err(|error| failed("start the job", &error))? {
        Side::Parent(first) => first,
        Side::Child => {
            let setup = job::Setup { level, plan: &plan, identity: &identity, memory, room: &room, stdout, stderr };
            let error = job::start(&setup, control);
            let _ = control.report(&Report::Failed(error), None);
            std::process::exit(127)
        }
    };
    drop((stdout, stderr));
    forget_standard_streams().map_err(|error| failed("standard streams", &error))?;
    let (code, signal) = match level {
        Level::Full | Level::NoCgroup => wait_for(first).map_err(|error| failed("wait for the job", &error.into()))?,
        Level::Landlock => landlocked::wait_for(first, control).map_err(|error| failed("wait for the job", &error))?,
    };
    tell(&Report::Ended { code, signal }, None)
}

/// Brings up the network that the plan allows, while this process still may; nothing at all if it allows none.
fn open_doors(level: Level, plan: &Plan, purpose: Purpose) -> Result<Option<(Doors, Vec<OwnedFd>)>, Report> {
    if !level.has_namespaces() || purpose != Purpose::Run || plan.egress.is_empty() {
        return Ok(None);
    }
    let refused = |error| Report::Refused { reason: format!("network of the run: {error}") };
    egress::open(&plan.egress).map(Some).map_err(refused)
}

/// The sandbox stands: the output folder and the doors go to the supervisor, and no copy stays here.
fn announce(control: &Control, room: &Room, doors: Option<(Doors, Vec<OwnedFd>)>) -> io::Result<()> {
    let (doors, sockets) = doors.map_or((None, Vec::new()), |(doors, sockets)| (Some(doors), sockets));
    let mut descriptors = vec![room.output.as_fd()];
    descriptors.extend(sockets.iter().map(AsFd::as_fd));
    control.report_with(&Report::Ready { measures: room.measures.clone(), doors }, &descriptors)
}

fn failed(step: &str, error: &io::Error) -> Report {
    Report::Failed(SandboxError::Kernel { step: step.to_owned(), detail: error.to_string() })
}

/// Waits for `first`, reaping everything else on the way.
fn wait_for(first: Pid) -> nix::Result<(Option<i32>, Option<i32>)> {
    loop {
        let status = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::__WALL)) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other?,
        };
        if let Some(ending) = ending_of(first, status) {
            return Ok(ending);
        }
    }
}

/// Exit code or signal, if `status` is the end of `process`.
pub(super) fn ending_of(process: Pid, status: WaitStatus) -> Option<(Option<i32>, Option<i32>)> {
    match status {
        WaitStatus::Exited(pid, code) if pid == process => Some((Some(code), None)),
        WaitStatus::Signaled(pid, signal, _) if pid == process => Some((None, Some(signal as i32))),
        _ => None,
    }
}

/// The keeper holds neither the pipe of inputs nor the pipe to the caller while the job runs.
fn forget_standard_streams() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

/// Writes the files that come on the pipe below the room's folders. Sizes and counts are those that the plan announced.
fn load(input: &mut File, room: &Room, plan: &Plan) -> Result<(), SandboxError> {
    let broken = |detail: String| SandboxError::Supervisor { detail };
    let (mut files, mut bytes) = (0_u64, 0_u64);
    loop {
        let frame = frame::read(input, ORDER_BYTES_MAX).map_err(|error| broken(error.to_string()))?;
        let frame = frame.ok_or_else(|| broken("the caller is gone".to_owned()))?;
        match frame.kind {
            to_supervisor::END => return Ok(()),
            to_supervisor::STOP => return Err(broken("stopped while loading inputs".to_owned())),
            to_supervisor::FILE => {}
            kind => return Err(broken(format!("unexpected frame kind {kind}"))),
        }
        let header: FileHeader = serde_json::from_slice(&frame.payload).map_err(|error| broken(error.to_string()))?;
        files += 1;
        bytes = bytes.saturating_add(header.size);
        if files > plan.files.min(FILES_MAX) || bytes > plan.file_bytes {
            return Err(broken("more files than were announced".to_owned()));
        }
        load_file(input, room, &header)
            .map_err(|error| SandboxError::Input { path: header.path.clone(), detail: error.to_string() })?;
    }
}

fn load_file(input: &mut File, room: &Room, header: &FileHeader) -> io::Result<()> {
    if !is_safe_path(&header.path) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain relative path"));
    }
    let folder = match header.place {
        Place::Input => &room.input,
        Place::Program => &room.program,
    };
    let path = folder.join(&header.path);
    if let Some(parent) = Path::new(&path).parent() {
        fs::create_dir_all(parent)?;
    }
    let mode = if header.executable { 0o555 } else { 0o444 };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).custom_flags(libc::O_NOFOLLOW).open(path)?;
    let mut missing = header.size;
    while missing > 0 {
        let piece = frame::read(input, frame::PIECE_BYTES)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if piece.kind != to_supervisor::DATA || piece.payload.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "shorter than announced"));
        }
        missing = missing
            .checked_sub(piece.payload.len() as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "longer than announced"))?;
        file.write_all(&piece.payload)?;
    }
    Ok(())
}

/// Reads at most `limit` bytes of a small file of the kernel.
pub(super) fn read_kernel_file(path: &Path, limit: u64) -> io::Result<String> {
    // With room from the start it takes two calls; growing from nothing it takes one per 32 bytes.
    let mut text = String::with_capacity(KERNEL_FILE_BYTES);
    File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

/// How long files of the kernel usually are, in bytes.
const KERNEL_FILE_BYTES: usize = 4 << 10;
