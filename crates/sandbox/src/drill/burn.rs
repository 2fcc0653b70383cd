//! Drills that take more than they should, or stay longer.

use std::{
    env, fs, hint,
    io::{self, Write as _},
    path::PathBuf,
    process::{Child, Command},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{sys::signal::SigSet, unistd::setsid};
use ringfence_schema::Hasher;

use super::{Outcome, say};

pub(super) fn miner(arguments: &[String]) -> Outcome {
    let tried = mine(arguments, &mut || ());
    Outcome::Unclear(format!("{tried} digests were computed"))
}

pub(super) fn disguised_miner(arguments: &[String]) -> Outcome {
    let mut step = 0_u64;
    let tried = mine(arguments, &mut || {
        step += 1;
        // Nothing is learned: the same loss for ever, with a little noise that looks like work.
        let noise = f64::from(u32::try_from(step * 7_919 % 1_000).unwrap_or(0)) / 1e6;
        say(&format!("step {step} loss {:.6} lr 0.001", 2.302 + noise));
    });
    Outcome::Unclear(format!("{tried} digests were computed beside {step} steps"))
}

/// Looks for a digest that begins with more zeros than there will be; calls `each` ten times a second.
fn mine(arguments: &[String], each: &mut dyn FnMut()) -> u64 {
    let seconds = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(MINE_SECONDS).min(MINE_SECONDS_MAX);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let cores = thread::available_parallelism().map_or(1, usize::from).min(CORES_MAX);
    let (done, tried) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for core in 0..cores {
            let (done, tried) = (&done, &tried);
            scope.spawn(move || {
                let mut count = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    let mut hasher = Hasher::new();
                    hasher.update(&(core as u64).to_be_bytes());
                    hasher.update(&count.to_be_bytes());
                    hint::black_box(hasher.finish());
                    count += 1;
                }
                tried.fetch_add(count, Ordering::Relaxed);
            });
        }
        while Instant::now() < deadline {
            each();
            thread::sleep(STEP_TIME);
        }
        done.store(true, Ordering::Relaxed);
    });
    tried.into_inner()
}

pub(super) fn fork_bomb(_arguments: &[String]) -> Outcome {
    let deadline = Instant::now() + FORK_TIME;
    let generation = generation();
    let (mut made, mut refused) = (0_u64, 0_u64);
    let mut children = Vec::new();
    while Instant::now() < deadline && generation < GENERATIONS_MAX && made < CHILDREN_MAX {
        match again(generation + 1) {
            Ok(child) => {
                made += 1;
                children.push(child);
            }
            Err(_) => refused += 1,
        }
        thread::sleep(FORK_PAUSE);
    }
    while Instant::now() < deadline {
        thread::sleep(STEP_TIME);
    }
    if generation > 0 {
        std::process::exit(i32::from(refused > 0));
    }
    // A child that was refused one, or was killed, says so by its end.
    let ends = children.iter_mut().map(|child| child.wait().is_ok_and(|status| status.success()));
    let failed = ends.filter(|well| !well).count();
    if refused > 0 || failed > 0 {
        return Outcome::Held(format!("of {made} processes {failed} could not make theirs, {refused} were not made"));
    }
    Outcome::Out(format!("{made} processes were made by the first one, and all made theirs"))
}

/// Starts this executable again as it was started, one generation later.
fn again(generation: u32) -> io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command.args(env::args_os().skip(1)).env(GENERATION_VARIABLE, generation.to_string()).spawn()
}

/// How many drills started one another before this one.
fn generation() -> u32 {
    env::var(GENERATION_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

pub(super) fn memory_bomb(_arguments: &[String]) -> Outcome {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    while hoard.len() < PIECES_MAX {
        let mut piece: Vec<u8> = Vec::new();
        if let Err(error) = piece.try_reserve_exact(PIECE_BYTES) {
            return Outcome::Held(format!("after {} pieces of 32 MiB: {error}", hoard.len()));
        }
        piece.resize(PIECE_BYTES, 1);
        hoard.push(hint::black_box(piece));
        thread::sleep(PIECE_PAUSE);
    }
    Outcome::Out(format!("{} pieces of 32 MiB were given", hoard.len()))
}

pub(super) fn outlive(arguments: &[String]) -> Outcome {
    match generation() {
        0 => {}
        // In between: its end leaves the next one without a parent.
        1 => {
            let _ = setsid();
            let _ = again(2);
            std::process::exit(0)
        }
        _ => {
            beat();
            std::process::exit(0)
        }
    }
    if let Err(error) = again(1).and_then(|mut child| child.wait()) {
        return Outcome::Held(format!("no process could be made: {error}"));
    }
    // Long enough for the heir to be on its own, and on a busy machine to have begun.
    let began = Instant::now();
    let alive = || heartbeat().is_none_or(|path| fs::metadata(path).is_ok_and(|file| file.len() > 0));
    thread::sleep(STEP_TIME * 5);
    while !alive() && began.elapsed() < OUTLIVE_TIME {
        thread::sleep(STEP_TIME);
    }
    if arguments.first().is_some_and(|word| word == "stay") {
        thread::sleep(OUTLIVE_TIME);
    }
    Outcome::Unclear("a process was left behind: nothing may come from it after this".to_owned())
}

/// What tells of it afterwards, where there is a folder for outputs.
fn heartbeat() -> Option<PathBuf> {
    env::var_os("RINGFENCE_OUT").map(|folder| PathBuf::from(folder).join("heartbeat"))
}

/// Shows that it is alive, deaf to all signals that a process may be deaf to.
fn beat() {
    let _ = SigSet::all().thread_block();
    // One byte a beat, added and never rewritten: it may be killed at any moment.
    let mut file = heartbeat().and_then(|path| fs::OpenOptions::new().create(true).append(true).open(path).ok());
    let deadline = Instant::now() + OUTLIVE_TIME;
    let mut beats = 0_u64;
    while Instant::now() < deadline {
        beats += 1;
        say(&format!("outliving {beats}"));
        if let Some(file) = &mut file {
            let _ = file.write_all(b".");
        }
        thread::sleep(STEP_TIME);
    }
}

/// How long a miner works by default, in seconds.
const MINE_SECONDS: u64 = 60;
/// How long it works at most, in seconds.
const MINE_SECONDS_MAX: u64 = 600;
/// Most cores that it takes.
const CORES_MAX: usize = 256;
/// Between two steps, or what looks like steps.
const STEP_TIME: Duration = Duration::from_millis(100);
/// Tells a process which generation it is.
const GENERATION_VARIABLE: &str = "DRILL_GENERATION";
/// How long a fork bomb lasts.
const FORK_TIME: Duration = Duration::from_secs(8);
/// Between two attempts to make a process.
const FORK_PAUSE: Duration = Duration::from_millis(2);
/// Children of one process.
const CHILDREN_MAX: u64 = 16;
/// Generations: 16⁴ processes at most.
const GENERATIONS_MAX: u32 = 4;
/// One piece of memory in bytes.
const PIECE_BYTES: usize = 32 << 20;
/// Most pieces: 64 GiB.
const PIECES_MAX: usize = 2_048;
/// Between two pieces.
const PIECE_PAUSE: Duration = Duration::from_millis(10);
/// How long what is left behind lives.
const OUTLIVE_TIME: Duration = Duration::from_mins(1);
