//! The processes of one run, from the supervisor's side: started at the best level, killed, waited for.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, poll},
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::{Pid, geteuid, pipe2},
};

use super::{
    Level, Plan, SandboxError,
    calls::MemoryControl,
    claims::Part,
    control::{Control, Report},
    egress::Doors,
    full,
    groups::{self, Groups},
    identity::Identity,
    keeper::{self, Brief, Purpose},
    landlocked,
    mechanisms::{InForce, Mechanism},
    supervisor::failure,
    usage,
};
use crate::sys::{self, Side};

/// Starts the best level that the host offers and the plan accepts; says why it is not `full`, if it is not.
pub(super) fn start_best_level(plan: &Plan, input: &File) -> Result<(Tree, Option<String>), SandboxError> {
    let start = |groups: Groups, level| {
        let measure = groups.measure().to_owned();
        let mut tree = Tree::start(level, plan, groups, input, Purpose::Run)?;
        tree.measures.push(measure);
        Ok(tree)
    };
    let least = plan.demand.least();
    let groups = make_groups(plan);
    if !plan.in_force.has(Mechanism::UserNamespace) {
        return match start(groups, Level::Landlock) {
            Ok(tree) => Ok((tree, None)),
            Err(Start::Failed(error)) => Err(error),
            Err(Start::Refused(reason)) => Err(SandboxError::Unavailable { reason }),
        };
    }
    let best = best_with_namespaces(&groups);
    if best < least {
        let reason = groups::NO_MEMORY_CONTROLLER.to_owned();
        return Err(SandboxError::LevelUnavailable { demanded: least, reason });
    }
    let reason = match start(groups, best) {
        Ok(tree) => return Ok((tree, None)),
        Err(Start::Failed(error)) => return Err(error),
        Err(Start::Refused(reason)) => reason,
    };
    if !plan.egress.is_empty() {
        return Err(SandboxError::EgressUnavailable { reason });
    }
    if least > Level::Landlock {
        return Err(SandboxError::LevelUnavailable { demanded: least, reason });
    }
    match start(make_groups(plan), Level::Landlock) {
        Ok(tree) => Ok((tree, Some(format!("namespaces cannot be had: {reason}")))),
        Err(Start::Failed(error)) => Err(error),
        Err(Start::Refused(second)) => {
            Err(SandboxError::Unavailable { reason: format!("namespaces: {reason}; landlock: {second}") })
        }
    }
}

fn make_groups(plan: &Plan) -> Groups {
    if plan.in_force.has(Mechanism::ControlGroups) {
        Groups::make(&plan.run_id, &plan.limits)
    } else {
        Groups::default()
    }
}

/// The level that namespaces lead to with these control groups.
pub(super) fn best_with_namespaces(groups: &Groups) -> Level {
    match groups.memory_control() {
        MemoryControl::Cgroup => Level::Full,
        MemoryControl::Watched => Level::NoCgroup,
    }
}

/// Why a sandbox does not stand.
pub(super) enum Start {
    /// This level cannot be had here.
    Refused(String),
    /// Something else went wrong.
    Failed(SandboxError),
}

/// The processes of a run, seen from outside. Dead on drop.
pub(super) struct Tree {
    /// How far it is confined.
    pub(super) level: Level,
    run_id: String,
    /// Its first process, as the host sees it.
    pub(super) keeper: Pid,
    /// The socket to the keeper and the job to be.
    pub(super) control: Control,
    /// Its control groups.
    pub(super) groups: Groups,
    /// The output folder.
    pub(super) output: Option<OwnedFd>,
    /// On what its claims are heard.
    pub(super) claims: Vec<(Part, OwnedFd)>,
    /// The doors of its network, if it has one.
    pub(super) doors: Option<(Doors, Vec<OwnedFd>)>,
    /// What the job writes to standard output.
    pub(super) stdout: File,
    /// What the job writes to standard error.
    pub(super) stderr: File,
    /// What confines it.
    pub(super) measures: Vec<String>,
    ended: bool,
    identity: Identity,
    in_force: InForce,
}

impl Tree {
    /// Makes the keeper and lets it build the sandbox; inputs are not read yet.
    pub(super) fn start(
        level: Level,
        plan: &Plan,
        mut groups: Groups,
        input: &File,
        purpose: Purpose,
    ) -> Result<Self, Start> {
        let identity = kernel("choose a user id", Identity::choose())?;
        let (ours, theirs) = kernel("socket pair", Control::pair())?;
        let (stdout, job_stdout) = kernel("pipe", pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(Into::into))?;
        let (stderr, job_stderr) = kernel("pipe", pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(Into::into))?;
        let namespaces = if level.has_namespaces() { full::namespaces(&plan.in_force) } else { 0 };
        // The writer of a process's id maps must be allowed to open them: the keeper makes itself undumpable later.
        let keeper = match clone_into(namespaces, &mut groups) {
            Ok(Side::Parent(keeper)) => keeper,
            Ok(Side::Child) => {
                drop((ours, stdout, stderr));
                let Ok(input) = input.try_clone() else { std::process::exit(1) };
                let memory = groups.memory_control();
                // The groups belong to the supervisor: the keeper must not remove them.
                std::mem::forget(groups);
                let (stdout, stderr) = (job_stdout, job_stderr);
                let brief = Brief { level, plan: plan.clone(), identity, memory, input, stdout, stderr, purpose };
                keeper::keep(brief, &theirs)
            }
            Err(error) if level.has_namespaces() => return Err(Start::Refused(format!("new namespaces: {error}"))),
            Err(error) => return kernel("start the keeper", Err(error)),
        };
        let mut tree = Self {
            level,
            run_id: plan.run_id.clone(),
            keeper,
            control: ours,
            groups,
            output: None,
            claims: Vec::new(),
            doors: None,
            stdout: stdout.into(),
            stderr: stderr.into(),
            measures: Vec::new(),
            ended: false,
            identity,
            in_force: plan.in_force.clone(),
        };
        drop((theirs, job_stdout, job_stderr));
        tree.wait_until_ready(purpose)?;
        Ok(tree)
    }

    fn wait_until_ready(&mut self, purpose: Purpose) -> Result<(), Start> {
        if self.level.has_namespaces() {
            write_maps(self.keeper, &self.identity).map_err(|error| {
                // What is dying cannot be mapped either, with whatever error.
                if self.is_dying() {
                    self.died_while_building()
                } else {
                    Start::Refused(format!("map the user: {error}"))
                }
            })?;
        }
        kernel("keeper", self.control.go())?;
        // While the keeper builds: entering a group makes the kernel wait for all CPUs.
        kernel("control groups", self.groups.attach(self.keeper))?;
        if !kernel("keeper", self.control.wait(SETUP_TIME))? {
            return Err(Start::Failed(SandboxError::Supervisor { detail: "the sandbox was not built in time".into() }));
        }
        let mut report = kernel("keeper", self.control.receive_with())?;
        while let Some((Report::Claims(part), descriptors)) = report {
            self.claims.extend(descriptors.into_iter().map(|descriptor| (part, descriptor)));
            report = kernel("keeper", self.control.receive_with())?;
        }
        match report {
            Some((Report::Ready { measures, doors }, descriptors)) => {
                let mut descriptors = descriptors.into_iter();
                self.measures = measures;
                self.output = descriptors.next();
                self.doors = doors.map(|doors| (doors, descriptors.collect()));
            }
            Some((Report::Refused { reason }, _)) => return Err(Start::Refused(reason)),
            Some((Report::Failed(error), _)) => return Err(Start::Failed(error)),
            Some((other, _)) => return Err(unexpected(&other)),
            None => return Err(self.died_while_building()),
        }
        if purpose == Purpose::Run {
            kernel("keeper", self.control.go())?;
        }
        Ok(())
    }

    /// Whether the keeper ends within a moment.
    fn is_dying(&self) -> bool {
        let Ok(handle) = sys::process_handle(self.keeper) else { return true };
        poll(&mut [PollFd::new(handle.as_fd(), PollFlags::POLLIN)], DYING_TIME_MS).is_ok_and(|ended| ended > 0)
    }

    /// A host may forbid a step by ending whoever takes it, and then a lower level is in order. Whoever kills outright must
    /// not get a lower level by it.
    fn died_while_building(&self) -> Start {
        let how = waitid(Id::Pid(self.keeper), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::__WALL);
        let detail = "the sandbox's first process died while building it".to_owned();
        match how {
            Ok(WaitStatus::Signaled(_, Signal::SIGKILL, _)) => Start::Failed(SandboxError::Supervisor { detail }),
            _ => Start::Refused(detail),
        }
    }

    /// Begins to kill everything; [`Tree::end`] waits for the end.
    pub(super) fn kill(&self) {
        match self.level {
            // The first process of a pid namespace takes everything with it.
            Level::Full | Level::NoCgroup => {
                let _ = kill(self.keeper, Signal::SIGKILL);
                self.groups.kill();
            }
            Level::Landlock => {
                let _ = self.control.go();
            }
        }
    }

    /// Has the whole run stand still, or go on: by its control group, or process by process where there is none. Below
    /// namespaces the group is not used, because the keeper must go on watching its supervisor.
    pub(super) fn freeze(&self, frozen: bool) {
        if self.level.has_namespaces() && self.groups.freeze(frozen) {
            return;
        }
        if frozen {
            usage::freeze(self.keeper);
        } else {
            usage::thaw(self.keeper);
        }
    }

    /// Kills what is left and waits until everything is dead and reaped.
    pub(super) fn end(&mut self) {
        if self.ended {
            return;
        }
        self.ended = true;
        match self.level {
            Level::Full | Level::NoCgroup => {
                let _ = kill(self.keeper, Signal::SIGKILL);
                // Returns only when the whole pid namespace is gone.
                while waitpid(self.keeper, Some(WaitPidFlag::__WALL)) == Err(nix::errno::Errno::EINTR) {}
                if !self.in_force.has(Mechanism::PidNamespace) {
                    landlocked::kill_descendants(self.identity.own_uid());
                }
            }
            Level::Landlock => {
                let _ = self.control.go();
                let deadline = Instant::now() + KEEPER_END_TIME;
                while Instant::now() < deadline
                    && !self.control.wait(POLL_TIME).is_ok_and(|ready| ready && self.drained())
                {}
                landlocked::kill_descendants(self.identity.own_uid());
            }
        }
    }

    /// Takes what the keeper still says; whether it has closed its end.
    fn drained(&self) -> bool {
        !matches!(self.control.receive(), Ok(Some(_)))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.end();
        if self.level == Level::Landlock || !self.in_force.has(Mechanism::OwnRoot) {
            let _ = landlocked::remove_folder(&self.run_id);
        }
    }
}

/// Makes a child, in the group of version 2 if there is one and the kernel lets us.
fn clone_into(namespaces: nix::libc::c_int, groups: &mut Groups) -> io::Result<Side> {
    if let Some(group) = groups.entrance() {
        match sys::clone_process(namespaces, Some(group)) {
            // Filters of containers know only clone(2), and some hosts let nobody in this way.
            Err(_) => {}
            Ok(side) => {
                groups.note_entered();
                return Ok(side);
            }
        }
    }
    sys::clone_process(namespaces, None)
}

/// Maps the job's user in its namespace to `identity` outside.
fn write_maps(keeper: Pid, identity: &Identity) -> io::Result<()> {
    let write = |name: &str, text: String| std::fs::write(format!("/proc/{keeper}/{name}"), text);
    if !geteuid().is_root() {
        write("setgroups", "deny".to_owned())?;
    }
    write("uid_map", format!("{} {} 1", full::INSIDE_ID, identity.uid))?;
    write("gid_map", format!("{} {} 1", full::INSIDE_ID, identity.gid))
}

fn kernel<T>(step: &str, result: io::Result<T>) -> Result<T, Start> {
    result.map_err(|error| Start::Failed(failure(step, &error)))
}

fn unexpected(report: &Report) -> Start {
    Start::Failed(SandboxError::Supervisor { detail: format!("unexpected {report:?}") })
}

/// How long a killed process may take to die, in milliseconds.
const DYING_TIME_MS: u16 = 50;
/// How long the sandbox may take to stand.
const SETUP_TIME: Duration = Duration::from_secs(10);
/// How long a keeper at level `landlock` may take to kill its children before the supervisor does it.
const KEEPER_END_TIME: Duration = Duration::from_millis(150);
/// One wait for the keeper's end.
const POLL_TIME: Duration = Duration::from_millis(10);
