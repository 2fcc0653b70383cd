//! Runs whose command runs on another machine, as the vault sees them.
//!
//! [`Vault::run_elsewhere`] is a run like any other: decided, recorded, watched, its outputs taken in through quarantine, the
//! result scanned, attacked and released here. Only the machine is another one: `Elsewhere` hands the command out and waits
//! for what comes back. `token`: the run's token; `door`: what whoever bears it may do.
//!
//! What must stay true: that machine gets the inputs of its run and nothing else; what it tells is kept as told; a run ends
//! with its token, when it is stopped, when nothing has been heard for [`SILENCE_MS_MAX`], and when whoever started it may
//! train no more; a run whose server ends is over.
//!
//! Absent on purpose: taking its word for what a gate asks about the result. The server looks itself.

mod door;
mod token;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use ringfence_access::{Action, Facts, Resource};
use ringfence_sandbox::{Ending, RunResult, Stop, Totals};
use ringfence_schema::{
    Digest, Reference, Timestamp,
    event::{Observed, RunEvent, Source},
};
use ringfence_store::Writer;
use ringfence_trust::keys::Namespace;
use serde_json::{Value, json};

pub(super) use self::token::Bearer;
use self::token::Held;
pub use self::token::{RUN_TOKEN_LIFE_MS, TOKEN_OVERLAP_MS};
use super::{
    Inputs, RunEnd, RunOptions,
    job::Given,
    live::Order,
    machine::{Machine, Offer, Ran, Work},
    told::{Assignment, End, MachineFacts, Outcome, RunAsk, Standing},
    train::{level_of, run_id},
};
use crate::{
    act::{Act, Reach},
    admit::resource,
    error::EngineError,
    plan::Plan,
    settings::{Settings, Silent},
    transfer::Upload,
    vault::Vault,
};

/// Most runs elsewhere at a time; each holds a thread.
pub const RUNS_MAX: usize = 16;
/// How long nothing may be heard of a machine before its run is given up, in milliseconds.
pub const SILENCE_MS_MAX: u64 = 60_000;
/// How long fetching inputs and bringing outputs may take beside the plan's wall time, in milliseconds: a day.
const CARRYING_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// How often it is looked for what ends a run, in milliseconds.
const LOOK_MS: u64 = 200;
/// Most events that wait for the run's watch.
const EVENTS_WAITING_MAX: usize = 10_000;
/// Most runs that are remembered, those among them that are over.
const REMEMBERED_MAX: usize = 128;

/// The runs elsewhere of this process.
pub(crate) struct RunDesk {
    runs: Mutex<BTreeMap<String, Arc<Course>>>,
    /// Whoever takes something out of the queue, or puts it there, holds this from reading its row to storing it.
    queue: Mutex<()>,
    since: Instant,
}

impl Default for RunDesk {
    fn default() -> Self {
        Self { runs: Mutex::default(), queue: Mutex::default(), since: Instant::now() }
    }
}

/// One run, between the thread that keeps it and the requests of its machine.
pub(crate) struct Course {
    run: String,
    /// In whose name it happens.
    owner: Bearer,
    /// Who bears its token.
    bearer: Bearer,
    /// Where the token is good; `None`: wherever the bearer's own would be.
    pin: Option<IpAddr>,
    machine: MachineFacts,
    address: Option<IpAddr>,
    began: Timestamp,
    /// What it may fetch and bring, from the moment that it is decided.
    fixed: OnceLock<Fixed>,
    state: Mutex<State>,
    changed: Condvar,
}

/// What was decided.
struct Fixed {
    inputs: Vec<(Reference, Given)>,
    output_bytes_max: u64,
    output_files_max: u64,
}

struct State {
    tokens: Vec<Held>,
    /// When something was heard last.
    heard: Timestamp,
    /// How many events were heard.
    next: u64,
    events: VecDeque<RunEvent>,
    order: Option<Order>,
    phase: Phase,
    /// It was given up because nothing was heard.
    lost: bool,
    end: Option<End>,
}

enum Phase {
    /// Nothing is known of an end.
    Running,
    /// The command has ended, and its outputs come.
    Bringing { upload: Arc<Upload>, outcome: Box<Outcome> },
    /// They have come.
    Brought { outputs: Option<Box<Writer>>, outcome: Box<Outcome> },
    /// The machine gave up.
    Failed(String),
    /// Nothing more is taken; why.
    Over(String),
}

impl Course {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        matches!(self.state().phase, Phase::Over(_))
    }

    /// Nothing more is taken from the machine. What it brought and nobody took is removed.
    fn close(&self, why: &str) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Over(_)) {
            return;
        }
        match std::mem::replace(&mut state.phase, Phase::Over(why.to_owned())) {
            Phase::Bringing { upload, .. } => upload.give_up(),
            Phase::Brought { outputs: Some(outputs), .. } => outputs.discard(),
            _ => {}
        }
    }

    /// Waits for something to happen, but not for long, and takes the events that came.
    fn listen(&self) -> Vec<RunEvent> {
        let mut state = self.state();
        if state.events.is_empty() && matches!(state.phase, Phase::Running | Phase::Bringing { .. }) {
            let waited = self.changed.wait_timeout(state, Duration::from_millis(LOOK_MS));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.events.drain(..).collect()
    }
}

impl RunDesk {
    fn runs(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Course>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn at the queue.
    pub(super) fn queue_turn(&self) -> MutexGuard<'_, ()> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long this process has had the vault open, in milliseconds.
    pub(super) fn age_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether this process keeps, or kept, `run`.
    pub(super) fn knows(&self, run: &str) -> bool {
        self.find(run).is_some()
    }

    /// What came of `run`, if it is over.
    pub(super) fn end_of(&self, run: &str) -> Option<End> {
        self.find(run).and_then(|course| course.state().end.clone())
    }

    /// Whether `run` was given up because nothing was heard of its machine.
    pub(super) fn is_lost(&self, run: &str) -> bool {
        self.find(run).is_some_and(|course| course.state().lost)
    }

    /// Ends the runs that somebody started, or carries out: what they came with was taken from them.
    pub(crate) fn end_all(&self, person: &str) {
        let courses: Vec<Arc<Course>> = self.runs().values().cloned().collect();
        let theirs = |course: &&Arc<Course>| {
            [&course.owner, &course.bearer].into_iter().any(|bearer| bearer.caller.person.id == person)
        };
        for course in courses.iter().filter(theirs) {
            course.close("the sessions and tokens of whoever started the run, or carries it out, were ended");
            course.changed.notify_all();
        }
    }

    fn find(&self, run: &str) -> Option<Arc<Course>> {
        self.runs().get(run).cloned()
    }

    fn list(&self, course: Arc<Course>) -> Result<(), EngineError> {
        let mut runs = self.runs();
        let is_done = |course: &Course| course.state().end.is_some();
        if runs.values().filter(|other| !is_done(other)).count() >= RUNS_MAX {
            return Err(EngineError::Busy { what: "too many runs go on elsewhere" });
        }
        if runs.len() >= REMEMBERED_MAX {
            let done = runs.values().filter(|other| is_done(other));
            let oldest = done.min_by_key(|other| other.began).map(|other| other.run.clone());
            oldest.and_then(|oldest| runs.remove(&oldest));
        }
        runs.insert(course.run.clone(), course);
        Ok(())
    }
}

/// Another machine.
struct Elsewhere<'b> {
    course: Arc<Course>,
    begun: RefCell<&'b mut dyn FnMut(Assignment)>,
}

impl Machine for Elsewhere<'_> {
    fn run_id(&self) -> String {
        self.course.run.clone()
    }

    fn offer(&self, _: &Vault<'_>) -> Result<Offer, EngineError> {
        let MachineFacts { level, line, cores, .. } = &self.course.machine;
        Ok(Offer { level: *level, line: line.clone(), cores: Some(f64::from(*cores)) })
    }

    fn reach(&self) -> Reach {
        Reach::Outside
    }

    fn told(&self) -> Option<Value> {
        let MachineFacts { name, level, client, .. } = &self.course.machine;
        let token = self.course.state().tokens.first().map(|held| held.stored.id.to_string());
        let bearer = &self.course.bearer.caller.person.id;
        let address = self.course.address.map(|address| address.to_canonical());
        let level = level.map(ringfence_sandbox::Level::name);
        Some(json!({"machine": name, "address": address, "client": client, "level": level, "bearer": bearer,
            "token": token}))
    }

    fn run(
        &self,
        vault: &Vault<'_>,
        work: &Work<'_>,
        stop: &Stop,
        events: &mut dyn FnMut(RunEvent),
    ) -> Result<Ran, EngineError> {
        let course = &self.course;
        let closing = Closing(course);
        let (assignment, resources) = course.decide(vault, work)?;
        (self.begun.borrow_mut())(assignment);
        let wall_ms = super::job::limits(work.plan).wall_ms;
        let last = course.began.plus_millis(wall_ms.saturating_add(CARRYING_MS_MAX));
        let ended = loop {
            course.listen().into_iter().for_each(|event| events(course.marked(event)));
            if stop.is_stopped() {
                course.close("the run was stopped");
                break course.stopped(vault)?;
            }
            let (silent_ms, brought) = {
                let mut state = course.state();
                state.order = stop.is_frozen().then_some(Order::Freeze);
                let now = (vault.settings.now)();
                let silent_ms = now.millis().saturating_sub(state.heard.millis());
                if now >= last {
                    return Err(given_up(work.id, "it took longer than its plan allows"));
                }
                (silent_ms, state.take_end(work.id)?)
            };
            if let Some((outcome, outputs)) = brought {
                let outputs = outputs.map_or_else(|| vault.writer(Namespace::Quarantine), |outputs| Ok(*outputs))?;
                break (outcome, outputs);
            }
            if silent_ms > SILENCE_MS_MAX {
                course.state().lost = true;
                course.close("nothing was heard for too long");
                let seconds = SILENCE_MS_MAX / 1_000;
                return Err(given_up(
                    work.id,
                    &format!(
                        "nothing was heard of its machine for {seconds} s; what became of the command there is not known"
                    ),
                ));
            }
            if !vault.may_go_on(course, &resources)? {
                course.close("whoever started the run may train no more");
                return Err(given_up(
                    work.id,
                    "whoever started it may train no more, or whoever carries it out may not",
                ));
            }
        };
        // What was told before the end is part of the record.
        course.listen().into_iter().for_each(|event| events(course.marked(event)));
        course.close("the run is over");
        drop(closing);
        let (Outcome { mut result, environment, program, .. }, outputs) = ended;
        // Never more than it was let in with.
        result.level = course.machine.level.map_or(result.level, |level| level.min(result.level));
        Ok(Ran { result, outputs, environment, program })
    }
}

/// However the thread of a run leaves, its machine is told that it is over.
struct Closing<'c>(&'c Course);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close("the run was given up");
    }
}

/// How a command ended, and what it left, if it left something.
type Ended = (Outcome, Option<Box<Writer>>);

fn given_up(run: &str, why: &str) -> EngineError {
    EngineError::incomplete(format!("run {run}"), why)
}

impl State {
    /// What came of the command, once its outputs are there.
    fn take_end(&mut self, run: &str) -> Result<Option<Ended>, EngineError> {
        match &mut self.phase {
            Phase::Failed(why) => Err(given_up(run, &format!("its machine says: {why}"))),
            Phase::Over(why) => Err(given_up(run, why)),
            Phase::Brought { outputs, outcome } => Ok(Some((Outcome::clone(outcome), outputs.take()))),
            _ => Ok(None),
        }
    }
}

impl Course {
    /// What was decided, as the machine gets it: from here on its token is good.
    fn decide(&self, vault: &Vault<'_>, work: &Work<'_>) -> Result<(Assignment, Vec<Resource>), EngineError> {
        let limits = super::job::limits(work.plan);
        let references = work.inputs.iter().map(|(_, version)| version.reference());
        let inputs = references.zip(work.given.iter().cloned()).collect();
        let fixed = Fixed { inputs, output_bytes_max: limits.output_bytes, output_files_max: limits.output_files };
        let _ = self.fixed.set(fixed);
        let (token, life_ms) = self.first_token((vault.settings.now)())?;
        let assignment = Assignment {
            run: self.run.clone(),
            token,
            life_ms,
            plan: work.plan.text.clone(),
            demand: work.granted.demand,
            egress: work.granted.egress.clone(),
            inputs: work.given.to_vec(),
        };
        Ok((assignment, work.inputs.iter().map(|(_, version)| resource(version)).collect()))
    }

    /// The first event says whose word all of them are.
    fn marked(&self, event: RunEvent) -> RunEvent {
        match event.source {
            Source::Observed(Observed::Started { level, mut measures }) => {
                measures.insert(0, format!("told by {}, not seen by this vault's machine", self.machine.name));
                let level = format!("{level}, as {} tells", self.machine.name);
                RunEvent { at_ms: event.at_ms, source: Source::Observed(Observed::Started { level, measures }) }
            }
            source => RunEvent { at_ms: event.at_ms, source },
        }
    }

    /// The end of a run that was stopped here: its machine is not waited for.
    fn stopped(&self, vault: &Vault<'_>) -> Result<(Outcome, Writer), EngineError> {
        let level = self.machine.level.unwrap_or(ringfence_sandbox::Level::Landlock);
        let result = RunResult {
            level,
            measures: Vec::new(),
            ending: Ending::Stopped,
            totals: Totals::default(),
            refused: Vec::new(),
            collected: 0,
            not_collected: 0,
        };
        // Nothing will be said of what made no result.
        let outcome = Outcome { result, files: Vec::new(), environment: Value::Null, program: Digest::of(&[]) };
        Ok((outcome, vault.writer(Namespace::Quarantine)?))
    }
}

impl Vault<'_> {
    /// Carries out a plan with its command on the machine that asks, from inputs that are in the vault to the end. `begun`
    /// is called once it is decided and recorded; this returns when all is over, perhaps hours later.
    ///
    /// # Errors
    /// As [`Vault::run`]; [`EngineError::Busy`] beyond [`RUNS_MAX`]; [`EngineError::Usage`] in a vault of one person, and
    /// where the inputs that are named are not those of the plan.
    pub fn run_elsewhere(&self, ask: RunAsk, begun: &mut dyn FnMut(Assignment)) -> Result<RunEnd, EngineError> {
        self.keep_run(run_id(), ask, Bearer::of(&self.caller), begun)
    }

    /// As [`Vault::run_elsewhere`], under this id, in the caller's name, for the machine of `bearer`.
    pub(super) fn keep_run(
        &self,
        run: String,
        ask: RunAsk,
        bearer: Bearer,
        begun: &mut dyn FnMut(Assignment),
    ) -> Result<RunEnd, EngineError> {
        if !self.is_shared() {
            let what = "nobody shares this vault: its runs happen on its own machine".to_owned();
            return Err(EngineError::Usage { what });
        }
        // Names of inputs are looked up next, and who may not look learns nothing of them.
        self.look("the inputs of a run")?;
        let plan = Plan::parse(ask.plan, std::path::Path::new("the plan"))?;
        let inputs = self.named_inputs(&plan, &ask.inputs)?;
        let now = (self.settings.now)();
        let address = bearer.caller.address;
        let course = Arc::new(Course {
            run,
            owner: Bearer::of(&self.caller),
            pin: address.filter(|_| ask.pin),
            machine: ask.machine.cleaned(),
            address,
            began: now,
            bearer,
            fixed: OnceLock::new(),
            state: Mutex::new(State::new(now)),
            changed: Condvar::new(),
        });
        self.courses.list(course.clone())?;
        // What is said while it goes on is for its telemetry, and not for the server's console.
        let quiet = Settings {
            vault: self.settings.vault.clone(),
            config: self.settings.config.clone(),
            program: self.settings.program.clone(),
            now: self.settings.now,
            passphrase: self.settings.passphrase,
            reach: self.settings.reach,
            progress: &Silent,
        };
        let options = RunOptions { level: ask.level, ..RunOptions::default() };
        let machine = Elsewhere { course: course.clone(), begun: RefCell::new(begun) };
        let mut vault = self.acting(self.caller.clone()).under(&quiet);
        let ended = vault
            .tighten(&plan.content.policy.forbid)
            .map_err(|what| plan.wrong(format!("`policy.forbid`: {what}")))
            .and_then(|()| vault.carry_out(&plan, &options, &inputs, &machine, None));
        course.close("the run is over");
        course.state().end = Some(end_of(&ended));
        ended
    }

    /// The versions that the plan's inputs stand for.
    pub(super) fn named_inputs(&self, plan: &Plan, named: &BTreeMap<String, String>) -> Result<Inputs, EngineError> {
        let mut left = named.clone();
        let mut take = |key: String| {
            let text = left.remove(&key).ok_or_else(|| plan.wrong(format!("the input `{key}` is not named")))?;
            let wanted: Reference = text.parse().map_err(|error| plan.wrong(format!("`{key}`: {error}")))?;
            self.known_input(&wanted)
        };
        let mut inputs = Inputs { data: BTreeMap::new(), models: BTreeMap::new(), code: None };
        for role in plan.content.data.keys() {
            inputs.data.insert(role.clone(), take(format!("data.{role}"))?);
        }
        for role in plan.content.model.keys() {
            inputs.models.insert(role.clone(), take(format!("model.{role}"))?);
        }
        if plan.content.run.code.is_some() {
            inputs.code = Some(take(super::job::CODE.to_owned())?);
        }
        match left.keys().next() {
            Some(other) => {
                Err(plan.wrong(format!("it has no input `{}`", ringfence_schema::finding::printable(other, 80))))
            }
            None => Ok(inputs),
        }
    }

    /// How one's own run stands.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for what is not known here, or is somebody else's.
    pub fn run_standing(&self, run: &str) -> Result<Standing, EngineError> {
        let mine = |course: &Arc<Course>| course.owner.caller.person.id == self.caller.person.id;
        if let Some(course) = self.courses.find(run).filter(mine) {
            return Ok(Standing { run: course.run.clone(), end: course.state().end.clone() });
        }
        self.look("a run")?;
        Err(EngineError::NotFound { what: "run", name: ringfence_schema::finding::printable(run, 40) })
    }

    /// Whether owner and bearer of a run are still who they were, and its owner could begin it now.
    fn may_go_on(&self, course: &Course, resources: &[Resource]) -> Result<bool, EngineError> {
        let (Some(owner), Some(_)) = (self.present(&course.owner)?, self.present(&course.bearer)?) else {
            return Ok(false);
        };
        let level = course.machine.level.map(level_of).unwrap_or_default();
        let act = Act {
            action: Action::Train,
            resources: resources.to_vec(),
            facts: Facts { sandbox: level, ..Facts::default() },
            request: Value::Null,
            subject: String::new(),
            reach: Reach::Inside,
        };
        self.acting(owner).would(act)
    }
}

impl State {
    fn new(now: Timestamp) -> Self {
        Self {
            tokens: vec![Held::new(now)],
            heard: now,
            next: 0,
            events: VecDeque::new(),
            order: None,
            phase: Phase::Running,
            lost: false,
            end: None,
        }
    }
}

/// What came of a run, as its owner is told.
pub(super) fn end_of(ended: &Result<RunEnd, EngineError>) -> End {
    match ended {
        Ok(RunEnd::Released { released, .. }) => {
            End::Released { artifact: released.version.reference().to_string(), tree: released.version.tree }
        }
        Ok(RunEnd::Kept { candidate }) => {
            End::Kept { artifact: candidate.reference().to_string(), tree: candidate.tree }
        }
        Ok(RunEnd::Refused { candidate, reasons, .. }) => {
            End::Refused { artifact: candidate.reference().to_string(), tree: candidate.tree, reasons: reasons.clone() }
        }
        Err(EngineError::Io { .. } | EngineError::Tampered { .. }) => {
            End::Failed { why: "it could not be finished; the trail has why".to_owned() }
        }
        Err(error) => End::Failed { why: error.to_string() },
    }
}
