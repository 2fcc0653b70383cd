//! Runs that wait for a machine: queued by a person, taken by a program on a training machine, one machine each.
//!
//! * [`Vault::queue_run`], [`Vault::unqueue_run`], [`Vault::queued_runs`]: entries of the vault, each a sealed row that changes
//!   only together with an entry of the trail, bound to the plan's digest, to the trees of its inputs and to who asked.
//! * [`Vault::take_run`]: a machine takes the oldest one and carries it out, in the name of whoever queued it. Their right is
//!   decided again, and so is the taker's.
//!
//! What must stay true: no entry is with two machines at once. The process that keeps a run holds its entry until the run is
//! over; one whose process ended is free again after [`SILENCE_MS_MAX`], when no machine works on it any more, because each
//! stops after [`LEASE_MS`](crate::errand::LEASE_MS) without hearing from its vault.

use std::collections::BTreeMap;

use ringfence_access::{Action, Facts, LoginStrength, Resource, SandboxLevel};
use ringfence_catalog::{RowChange, Table};
use ringfence_schema::{Digest, Timestamp, digest::hex, finding::printable};
use ringfence_trust::entropy::{self, SystemEntropy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Inputs,
    elsewhere::{Bearer, SILENCE_MS_MAX},
    told::{Assignment, End, MachineFacts, RunAsk},
    train::{level_of, run_id},
};
use crate::{
    act::{Act, Blob, Effect, Reach},
    admit::resource,
    bundle::canonical,
    error::EngineError,
    plan::{DemandedLevel, Plan},
    team::{Caller, PersonId, Status},
    vault::Vault,
};

/// Most runs that wait or are with a machine.
pub const QUEUED_MAX: usize = 64;
/// Most entries that are kept, those among them that are over.
const LISTED_MAX: usize = 256;
/// How often a run is given to a machine, where machines die on it.
pub const ATTEMPTS_MAX: u32 = 3;
/// The kind of the blobs that hold plans.
const PLAN: &str = "plan";

/// A run that is to be queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueAsk {
    /// The plan's text.
    pub plan: String,
    /// What the vault has for each of its inputs; see [`RunAsk::inputs`].
    pub inputs: BTreeMap<String, String>,
    /// Demand at least this confinement, whatever the plan says.
    #[serde(default)]
    pub level: DemandedLevel,
}

/// How an entry of the queue stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum QueueState {
    /// No machine has it.
    Waiting,
    /// A machine has it.
    Taken {
        /// The run.
        run: String,
        /// Which program took it.
        taker: PersonId,
        /// When.
        at: Timestamp,
    },
    /// It is over.
    Over {
        /// What came of it.
        end: End,
        /// When.
        at: Timestamp,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueueRow {
    id: String,
    /// What it makes.
    name: String,
    plan: Digest,
    /// Reference and tree by input.
    inputs: BTreeMap<String, (String, Digest)>,
    level: DemandedLevel,
    by: PersonId,
    /// How strongly they had logged in.
    login: LoginStrength,
    since: Timestamp,
    attempts: u32,
    state: QueueState,
}

/// An entry of the queue, as listings show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueView {
    /// Names it.
    pub id: String,
    /// What the run makes.
    pub name: String,
    /// SHA-256 of the plan.
    pub plan: Digest,
    /// What goes in.
    pub inputs: BTreeMap<String, String>,
    /// Who queued it.
    pub by: PersonId,
    /// When.
    pub since: Timestamp,
    /// How often a machine had it.
    pub attempts: u32,
    /// How it stands.
    #[serde(flatten)]
    pub state: QueueState,
}

impl Vault<'_> {
    /// Queues a run for whichever machine takes it.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for whoever may not train with these inputs; [`EngineError::Busy`] beyond [`QUEUED_MAX`].
    pub fn queue_run(&self, ask: &QueueAsk) -> Result<QueueView, EngineError> {
        self.look("the inputs of a run")?;
        let plan = Plan::parse(ask.plan.clone(), std::path::Path::new("the plan"))?;
        let inputs = self.named_inputs(&plan, &ask.inputs)?;
        let bytes: [u8; 8] = entropy::bytes(&mut SystemEntropy::new());
        let trees = trees(&plan, &ask.inputs, &inputs);
        let row = QueueRow {
            id: format!("q-{}", hex(&bytes)),
            name: printable(&plan.content.run.name, 80),
            plan: plan.digest(),
            inputs: trees,
            level: ask.level,
            by: PersonId::from(self.caller.person.id.as_str()),
            login: self.caller.login,
            since: (self.settings.now)(),
            attempts: 0,
            state: QueueState::Waiting,
        };
        let _turn = self.courses.queue_turn();
        let known = self.queue_rows()?;
        if known.iter().filter(|row| !row.is_over()).count() >= QUEUED_MAX {
            return Err(EngineError::Busy { what: "too many runs are queued" });
        }
        let over = known.iter().filter(|row| row.is_over());
        let oldest = over.min_by_key(|row| row.since).filter(|_| known.len() >= LISTED_MAX).map(|row| row.id.clone());
        // Where it will run is not known yet: whether that is confined enough is decided when it is taken.
        let act = train_act(&inputs, SandboxLevel::Full, false, &row, json!({"what": "queue", "inputs": row.inputs}));
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.blobs.push(Blob::new(PLAN, plan.text.clone().into_bytes()));
            effect.rows.push(self.queue_row(&row)?);
            effect.rows.extend(oldest.map(|id| self.no_queue_row(&id)));
            effect.openings.insert("result".to_owned(), json!(row));
            Ok(effect)
        })?;
        Ok(row.view())
    }

    /// Takes an entry out of the queue that no machine has yet; a run that goes on is stopped instead.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for whoever may not stop runs; [`EngineError::NotFound`]; [`EngineError::Usage`] for one that
    /// a machine has.
    pub fn unqueue_run(&self, id: &str) -> Result<QueueView, EngineError> {
        let subject = format!("queued run {}", printable(id, 40));
        self.may(Action::Stop, None, &subject)?;
        let _turn = self.courses.queue_turn();
        let missing = || EngineError::NotFound { what: "queued run", name: printable(id, 40) };
        let row = self.queue_rows()?.into_iter().find(|row| row.id == id).ok_or_else(missing)?;
        if let QueueState::Taken { run, .. } = &row.state {
            return Err(EngineError::Usage { what: format!("a machine has it as `{run}`; stop that") });
        }
        let act = Act {
            action: Action::Stop,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"what": "unqueue", "queued": row.id, "plan": row.plan}),
            subject,
            reach: Reach::Inside,
        };
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(self.no_queue_row(&row.id));
            Ok(effect)
        })?;
        Ok(row.view())
    }

    /// Every entry, the oldest first.
    pub fn queued_runs(&self) -> Result<Vec<QueueView>, EngineError> {
        Ok(self.queue_rows()?.iter().map(QueueRow::view).collect())
    }

    /// How many runs wait, for a machine that asks again and again: nothing is recorded where there is nothing to take.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for whoever may not look.
    pub fn waiting_runs(&self) -> Result<usize, EngineError> {
        let look = Act {
            action: Action::Read,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: Value::Null,
            subject: String::new(),
            reach: Reach::Inside,
        };
        if !self.would(look)? {
            self.look("the queue")?;
        }
        Ok(self.queue_rows()?.iter().filter(|row| self.is_free(row)).count())
    }

    /// Gives the oldest run that waits to the machine that asks, keeps it there until it is over, and says so in its entry.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] where none waits; [`EngineError::Refused`] where the caller may not work on its inputs from
    /// inside a run; whatever ends a run. Where whoever queued it may train no more, that is its end.
    pub fn take_run(&self, machine: MachineFacts, begun: &mut dyn FnMut(Assignment)) -> Result<(), EngineError> {
        self.look("the queue")?;
        let (row, ask) = {
            let _turn = self.courses.queue_turn();
            let none = || EngineError::NotFound { what: "queued run", name: "that waits".to_owned() };
            let row = self.queue_rows()?.into_iter().find(|row| self.is_free(row)).ok_or_else(none)?;
            self.taken(row, machine)?
        };
        let QueueState::Taken { run, .. } = &row.state else { return Ok(()) };
        let run = run.clone();
        let ended = self
            .asker(&row)
            .and_then(|asker| self.acting(asker).keep_run(run.clone(), ask, Bearer::of(&self.caller), begun));
        let end = self.courses.end_of(&run).unwrap_or_else(|| super::elsewhere::end_of(&ended));
        // Its machine died on it, or there was no room for it here.
        let again = self.courses.is_lost(&run) || matches!(ended, Err(EngineError::Busy { .. }));
        let state = if again && row.attempts < ATTEMPTS_MAX {
            QueueState::Waiting
        } else {
            QueueState::Over { end, at: (self.settings.now)() }
        };
        self.keep_state(row, state)?;
        ended.map(drop)
    }

    /// The entry as the caller has it, once that is decided and recorded.
    fn taken(&self, row: QueueRow, machine: MachineFacts) -> Result<(QueueRow, RunAsk), EngineError> {
        let text = String::from_utf8(self.blob(PLAN, row.plan)?)
            .map_err(|error| EngineError::tampered(format!("plan of {}", row.id), error))?;
        let plan = Plan::parse(text.clone(), std::path::Path::new("the plan"))?;
        let named: BTreeMap<String, String> =
            row.inputs.iter().map(|(key, (reference, _))| (key.clone(), reference.clone())).collect();
        let inputs = self.named_inputs(&plan, &named)?;
        if trees(&plan, &named, &inputs) != row.inputs {
            return Err(EngineError::tampered(format!("inputs of {}", row.id), "they are not what was queued"));
        }
        let level = machine.level.map(level_of).unwrap_or_default();
        let run = run_id();
        let request = json!({"what": "take", "run": run, "machine": machine.clone().cleaned(), "inputs": row.inputs});
        let act = train_act(&inputs, level, true, &row, request);
        let at = (self.settings.now)();
        let taker = PersonId::from(self.caller.person.id.as_str());
        let row = QueueRow { attempts: row.attempts + 1, state: QueueState::Taken { run, taker, at }, ..row };
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(self.queue_row(&row)?);
            Ok(effect)
        })?;
        let ask = RunAsk { plan: text, inputs: named, level: row.level, machine, pin: false };
        Ok((row, ask))
    }

    /// Whoever queued the run, as they are now.
    fn asker(&self, row: &QueueRow) -> Result<Caller, EngineError> {
        let members = self.members_now()?;
        let person = members.people.get(&row.by).filter(|person| person.status == Status::Active);
        let person = person
            .ok_or_else(|| EngineError::NotPermitted { what: "whoever queued it is not here any more".to_owned() })?;
        Ok(Caller { login: row.login, ..Caller::bare(person.person()) })
    }

    /// Whether a machine may take it.
    fn is_free(&self, row: &QueueRow) -> bool {
        match &row.state {
            QueueState::Waiting => true,
            // The process that kept it has ended, and so has what went on elsewhere.
            QueueState::Taken { run, .. } => !self.courses.knows(run) && self.courses.age_ms() > SILENCE_MS_MAX,
            QueueState::Over { .. } => false,
        }
    }

    /// What became of an entry that was taken, in the hands of the server.
    fn keep_state(&self, row: QueueRow, state: QueueState) -> Result<(), EngineError> {
        let _turn = self.courses.queue_turn();
        let row = QueueRow { state, ..row };
        let house = self.acting(Caller::scheduler());
        let act = Act {
            action: Action::Verify,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"what": "end of a queued run", "queued": row.id, "state": row.state}),
            subject: row.subject(),
            reach: Reach::Inside,
        };
        house.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(house.queue_row(&row)?);
            Ok(effect)
        })?;
        Ok(())
    }

    fn queue_rows(&self) -> Result<Vec<QueueRow>, EngineError> {
        let mut rows = self.read_table::<QueueRow>(Table::Queue, |row| queue_name(&row.id))?;
        rows.sort_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
        Ok(rows)
    }

    fn queue_row(&self, row: &QueueRow) -> Result<RowChange, EngineError> {
        self.seal_row(Table::Queue, &queue_name(&row.id), &canonical(row)?)
    }

    fn no_queue_row(&self, id: &str) -> RowChange {
        RowChange { table: Table::Queue, key: self.row_key(&queue_name(id)), value: None }
    }
}

impl QueueRow {
    fn is_over(&self) -> bool {
        matches!(self.state, QueueState::Over { .. })
    }

    fn subject(&self) -> String {
        format!("queued run {} {}", self.id, self.name)
    }

    fn view(&self) -> QueueView {
        QueueView {
            id: self.id.clone(),
            name: self.name.clone(),
            plan: self.plan,
            inputs: self.inputs.iter().map(|(key, (reference, _))| (key.clone(), reference.clone())).collect(),
            by: self.by.clone(),
            since: self.since,
            attempts: self.attempts,
            state: self.state.clone(),
        }
    }
}

/// What each input stands for.
fn trees(plan: &Plan, named: &BTreeMap<String, String>, inputs: &Inputs) -> BTreeMap<String, (String, Digest)> {
    let data = plan.content.data.keys().map(|role| (format!("data.{role}"), inputs.data.get(role)));
    let models = plan.content.model.keys().map(|role| (format!("model.{role}"), inputs.models.get(role)));
    let code = inputs.code.iter().map(|code| (super::job::CODE.to_owned(), Some(code)));
    let all = data.chain(models).chain(code);
    let found = all.filter_map(|(key, input)| {
        let version = &input?.version;
        named.contains_key(&key).then(|| (key, (version.reference().to_string(), version.tree)))
    });
    found.collect()
}

fn queue_name(id: &str) -> String {
    format!("queue/{id}")
}

/// To train with `inputs`, or to take that on.
fn train_act(inputs: &Inputs, sandbox: SandboxLevel, in_run: bool, row: &QueueRow, mut request: Value) -> Act {
    if let Some(fields) = request.as_object_mut() {
        fields.insert("queued".to_owned(), json!(row.id));
        fields.insert("plan".to_owned(), json!(row.plan));
    }
    Act {
        action: Action::Train,
        resources: inputs.all().into_iter().map(|(_, version)| resource(version)).collect(),
        facts: Facts { sandbox, in_run, ..Facts::default() },
        request,
        subject: row.subject(),
        reach: Reach::Inside,
    }
}
