//! The seccomp programs: an allow-list for workers, a deny-list for runs.
//!
//! [`Filter`] compiles to BPF through `seccompiler`, with a prologue of our own for what it does not cover: calls of the
//! x32 interface, which share the 64-bit architecture number, and `clone3`, whose flags lie behind a pointer that a
//! filter cannot follow (libraries fall back to `clone` when it does not exist). Calls of another architecture kill the
//! process. The lists themselves are in [`crate::worker`] and [`crate::run`].

use std::{collections::BTreeMap, io, os::fd::OwnedFd};

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

use crate::sys::{self, Listener};

/// A list of system calls and what to do about them.
#[derive(Default)]
pub(crate) struct Filter {
    calls: BTreeMap<i64, Vec<Vec<Test>>>,
}

/// A comparison of one argument.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    argument: u8,
    width: Width,
    how: How,
    value: u64,
}

/// How much of an argument the kernel looks at.
#[derive(Clone, Copy)]
enum Width {
    Int,
    Word,
}

#[derive(Clone, Copy)]
enum How {
    Is,
    IsNot,
    Bits(u64),
}

/// The `argument`th argument, an `int`, is `value`.
pub(crate) const fn is(argument: u8, value: u32) -> Test {
    Test { argument, width: Width::Int, how: How::Is, value: value as u64 }
}

/// The `argument`th argument, an `int`, is not `value`.
pub(crate) const fn is_not(argument: u8, value: u32) -> Test {
    Test { argument, width: Width::Int, how: How::IsNot, value: value as u64 }
}

/// Of the `argument`th argument, an `int`, the bits of `mask` are exactly `value`.
pub(crate) const fn bits(argument: u8, mask: u32, value: u32) -> Test {
    Test { argument, width: Width::Int, how: How::Bits(mask as u64), value: value as u64 }
}

/// The `argument`th argument is a null pointer.
pub(crate) const fn is_null(argument: u8) -> Test {
    Test { argument, width: Width::Word, how: How::Is, value: 0 }
}

/// The `argument`th argument is a pointer to something.
pub(crate) const fn is_not_null(argument: u8) -> Test {
    Test { argument, width: Width::Word, how: How::IsNot, value: 0 }
}

/// What a filter does with the calls that it lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Only the listed calls go through; any other kills the process.
    AllowOnly,
    /// Only the listed calls go through; any other returns this error.
    AllowOr(i32),
    /// The listed calls return this error; others go through.
    Refuse(i32),
    /// The listed calls are announced to a listener, which answers them; others go through.
    Announce,
}

impl Filter {
    /// Lists `call` whatever its arguments.
    pub(crate) fn call(&mut self, call: i64) -> &mut Self {
        self.calls.insert(call, Vec::new());
        self
    }

    /// Lists `calls` whatever their arguments.
    pub(crate) fn calls(&mut self, calls: &[i64]) -> &mut Self {
        for call in calls {
            self.call(*call);
        }
        self
    }

    /// Lists `call` where all of `tests` hold. Several such rules are alternatives; a [`Filter::call`] outweighs them.
    pub(crate) fn call_if(&mut self, call: i64, tests: &[Test]) -> &mut Self {
        match self.calls.get_mut(&call) {
            Some(rules) if rules.is_empty() => {}
            Some(rules) => rules.push(tests.to_vec()),
            None => {
                self.calls.insert(call, vec![tests.to_vec()]);
            }
        }
        self
    }

    /// Installs the filter for this thread and its children to be; sets no_new_privs.
    pub(crate) fn install(&self, mode: Mode) -> io::Result<Option<OwnedFd>> {
        nix::sys::prctl::set_no_new_privs()?;
        let listener = if mode == Mode::Announce { Listener::Wanted } else { Listener::None };
        sys::install_filter(&self.compile(mode)?, listener)
    }

    fn compile(&self, mode: Mode) -> io::Result<BpfProgram> {
        let (otherwise, listed) = match mode {
            Mode::AllowOnly => (SeccompAction::KillProcess, SeccompAction::Allow),
            Mode::AllowOr(errno) => (SeccompAction::Errno(errno.unsigned_abs()), SeccompAction::Allow),
            Mode::Refuse(errno) => (SeccompAction::Allow, SeccompAction::Errno(errno.unsigned_abs())),
            // seccompiler has no such action: a mark stands for it and is replaced below.
            Mode::Announce => (SeccompAction::Allow, SeccompAction::Trace(ANNOUNCE_MARK)),
        };
        let mut rules = BTreeMap::new();
        for (call, alternatives) in &self.calls {
            let compiled = alternatives.iter().map(|tests| rule(tests)).collect::<Result<Vec<_>, _>>();
            rules.insert(*call, compiled.map_err(io::Error::other)?);
        }
        let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
        let filter = SeccompFilter::new(rules, otherwise, listed, architecture).map_err(io::Error::other)?;
        let body: BpfProgram = filter.try_into().map_err(io::Error::other)?;
        let mut program = prologue(match mode {
            Mode::AllowOnly => libc::SECCOMP_RET_KILL_PROCESS,
            Mode::Refuse(errno) | Mode::AllowOr(errno) => libc::SECCOMP_RET_ERRNO | errno.unsigned_abs(),
            Mode::Announce => libc::SECCOMP_RET_USER_NOTIF,
        });
        program.extend(body.into_iter().map(|mut instruction| {
            if instruction.code == RETURN && instruction.k == libc::SECCOMP_RET_TRACE | ANNOUNCE_MARK {
                instruction.k = libc::SECCOMP_RET_USER_NOTIF;
            }
            instruction
        }));
        Ok(program)
    }
}

fn rule(tests: &[Test]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = tests.iter().map(|test| {
        let width = match test.width {
            Width::Int => SeccompCmpArgLen::Dword,
            Width::Word => SeccompCmpArgLen::Qword,
        };
        let how = match test.how {
            How::Is => SeccompCmpOp::Eq,
            How::IsNot => SeccompCmpOp::Ne,
            How::Bits(mask) => SeccompCmpOp::MaskedEq(mask),
        };
        SeccompCondition::new(test.argument, width, how, test.value)
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// `clone3` does not exist; a call number of the x32 interface gets `x32`.
fn prologue(x32: u32) -> BpfProgram {
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let clone3 = u32::try_from(libc::SYS_clone3).unwrap_or(u32::MAX);
    let no_such_call = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    let mut program = vec![
        instruction(LOAD, 0, 0, CALL_NUMBER_OFFSET),
        instruction(JUMP_IF_EQUAL, 0, 1, clone3),
        instruction(RETURN, 0, 0, no_such_call),
    ];
    if cfg!(target_arch = "x86_64") {
        program.push(instruction(JUMP_IF_AT_LEAST, 0, 1, X32_CALL_BIT));
        program.push(instruction(RETURN, 0, 0, x32));
    }
    program
}

/// Calls of the x32 interface carry this bit (`__X32_SYSCALL_BIT`).
pub(crate) const X32_CALL_BIT: u32 = 0x4000_0000;
/// Stands for "announce" between the two compilation steps.
const ANNOUNCE_MARK: u32 = 0x5246;
/// Offset of the call number in `struct seccomp_data`.
const CALL_NUMBER_OFFSET: u32 = 0;
/// `BPF_LD | BPF_W | BPF_ABS`.
const LOAD: u16 = 0x20;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
const JUMP_IF_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGE | BPF_K`.
const JUMP_IF_AT_LEAST: u16 = 0x35;
/// `BPF_RET | BPF_K`.
const RETURN: u16 = 0x06;
