//! What whoever bears a run's token may do: fetch its inputs, tell what happens, bring its outputs, say how it ended.

use std::sync::Arc;

use ringfence_access::{Action, Facts};
use ringfence_schema::{Tree, finding::printable};
use ringfence_trust::keys::Namespace;
use serde_json::json;

use super::{Course, EVENTS_WAITING_MAX, Fixed, Phase};
use crate::{
    act::{Act, Effect, Reach},
    admit::resource,
    error::EngineError,
    run::{
        live::Order,
        told::{self, EVENTS_MAX, Events, Heard, Outcome, Renewed},
    },
    transfer::{Served, TransferId, UPLOAD_FILES_MAX, Upload, UploadState, UploadView},
    vault::Vault,
};
/// Longest reason for giving up that is kept, in characters.
const WHY_CHARS_MAX: usize = 1_000;

impl Vault<'_> {
    /// The run of the token with which this caller came, which must be `run`.
    fn own_course(&self, run: &str) -> Result<Arc<Course>, EngineError> {
        let own = self.caller.run.as_deref().ok_or(EngineError::NotSignedIn)?;
        if own != run {
            let says = "this token is another run's".to_owned();
            let subject = format!("run {}", printable(run, 40));
            self.deny(Action::Read, &subject, &says)?;
            return Err(EngineError::Refused { gate: Action::Read.name(), subject, reasons: vec![says] });
        }
        self.courses.find(run).ok_or(EngineError::NotSignedIn)
    }

    /// The same, of a run that is not over; its machine is alive.
    fn live_course(&self, run: &str) -> Result<Arc<Course>, EngineError> {
        let course = self.own_course(run)?;
        if course.is_over() {
            return Err(EngineError::NotSignedIn);
        }
        course.state().heard = (self.settings.now)();
        Ok(course)
    }

    /// Opens file `file` of input `input`, both counted from 0, to be read from byte `from` on; recorded.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for another run's token; [`EngineError::NotSignedIn`] once the run is over;
    /// [`EngineError::NotFound`] for what is none of its inputs; [`EngineError::NotPermitted`] for what was revoked since.
    pub fn run_input(&self, run: &str, input: usize, file: usize, from: u64) -> Result<Served, EngineError> {
        let course = self.live_course(run)?;
        let missing = || EngineError::NotFound { what: "input", name: format!("{input}/{file}") };
        let Some((wanted, given)) = course.fixed.get().and_then(|Fixed { inputs, .. }| inputs.get(input)) else {
            return Err(missing());
        };
        let version = self.find(wanted)?;
        if let Some(why) = version.revoked.as_ref().or(version.refused.as_ref()) {
            return Err(EngineError::NotPermitted { what: format!("{wanted} is not given out any more: {why}") });
        }
        if version.tree != given.input.tree {
            return Err(EngineError::tampered(wanted.to_string(), "it is not what the run was given"));
        }
        let act = Act {
            action: Action::Read,
            resources: vec![resource(&version)],
            facts: Facts::default(),
            request: json!({"what": "input of a run", "run": run, "tree": version.tree, "file": file, "from": from}),
            subject: wanted.to_string(),
            reach: Reach::Outside,
        };
        let (served, _) = self.act(act, || {
            let manifest = self.manifest(&version)?;
            let file = manifest.tree().files().get(file).cloned().ok_or_else(missing)?;
            Ok(Effect::of(Served::new(self.core().clone(), manifest, file)))
        })?;
        Ok(served)
    }

    /// Hears what happened in the run, and says what is to be done. What is over is told so, and nothing of it is taken.
    ///
    /// # Errors
    /// [`EngineError::Usage`] for more than [`EVENTS_MAX`], or where some before them are missing; [`EngineError::Busy`]
    /// where they come faster than the watch looks at them.
    pub fn run_events(&self, run: &str, told: Events) -> Result<Heard, EngineError> {
        let course = self.own_course(run)?;
        let now = (self.settings.now)();
        let life_ms = course.life_ms(self.caller.key, now);
        let mut state = course.state();
        if let Phase::Over(why) = &state.phase {
            return Ok(Heard { next: state.next, order: Some(Order::Stop), why: why.clone(), life_ms: 0 });
        }
        state.heard = now;
        let Events { first, events } = told;
        if events.len() > EVENTS_MAX {
            return Err(EngineError::Usage { what: format!("at most {EVENTS_MAX} events come at once") });
        }
        let known = state.next.checked_sub(first).and_then(|known| usize::try_from(known).ok());
        let Some(known) = known else {
            return Err(EngineError::Usage { what: format!("the next event is number {}", state.next) });
        };
        if state.events.len() + events.len() > EVENTS_WAITING_MAX {
            return Err(EngineError::Busy { what: "events come faster than they are looked at" });
        }
        let elapsed_ms = now.millis().saturating_sub(course.began.millis());
        for event in events.into_iter().skip(known) {
            state.events.push_back(told::event(event, elapsed_ms));
            state.next += 1;
        }
        course.changed.notify_all();
        Ok(Heard { next: state.next, order: state.order, why: String::new(), life_ms })
    }

    /// Another token for the same run; recorded. The one before is good for a moment longer.
    ///
    /// # Errors
    /// [`EngineError::Usage`] for a token that is new, [`EngineError::NotSignedIn`] once the run is over.
    pub fn renew_run(&self, run: &str) -> Result<Renewed, EngineError> {
        let course = self.live_course(run)?;
        self.look(&format!("another token of run {run}"))?;
        course.next_token((self.settings.now)())
    }

    /// Hears how the command ended, and which outputs are to come; where there are none, that is all.
    ///
    /// # Errors
    /// [`EngineError::Usage`] beyond the plan's limits, for paths that are none, and where something else was said before;
    /// [`EngineError::Io`] where the disk has no room.
    pub fn run_outcome(&self, run: &str, told: Outcome) -> Result<Option<UploadView>, EngineError> {
        let course = self.live_course(run)?;
        let outcome = Box::new(told::outcome(told)?);
        let files = outcome.files.clone();
        let mut state = course.state();
        match &state.phase {
            Phase::Running => {}
            Phase::Bringing { outcome: known, upload } if *known == outcome => {
                return Ok(Some(upload.standing(&id_of(run))));
            }
            Phase::Brought { outcome: known, .. } if *known == outcome => return Ok(None),
            _ => return Err(EngineError::Usage { what: "it was said already how the run ended".to_owned() }),
        }
        if files.is_empty() {
            state.phase = Phase::Brought { outputs: None, outcome };
            course.changed.notify_all();
            return Ok(None);
        }
        let tree = Tree::new(files).map_err(|error| EngineError::Usage { what: error.to_string() })?;
        let (bytes_max, files_max) =
            course.fixed.get().map_or((0, 0), |fixed| (fixed.output_bytes_max, fixed.output_files_max));
        let files_max = files_max.min(UPLOAD_FILES_MAX as u64);
        if tree.size() > bytes_max || tree.files().len() as u64 > files_max {
            let what = format!("a run of this plan leaves at most {files_max} files and {bytes_max} bytes");
            return Err(EngineError::Usage { what });
        }
        if u128::from(tree.size()) > self.free_bytes()? {
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(EngineError::Io { path: self.settings.vault.clone(), source });
        }
        let writer = self.writer(Namespace::Quarantine)?;
        let upload = Arc::new(Upload::of_run(run, tree, writer, (self.settings.now)())?);
        let view = upload.standing(&id_of(run));
        state.phase = Phase::Bringing { upload, outcome };
        Ok(Some(view))
    }

    /// Where bringing the outputs goes on.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] where none are to come.
    pub fn run_outputs(&self, run: &str) -> Result<UploadView, EngineError> {
        Ok(self.outputs_of(run)?.standing(&id_of(run)))
    }

    /// Takes the next bytes of output `file`, which begin at `offset`: sealed in quarantine before this returns.
    ///
    /// # Errors
    /// As [`Vault::append_upload`].
    pub fn append_output(&self, run: &str, file: usize, offset: u64, bytes: &[u8]) -> Result<UploadView, EngineError> {
        let upload = self.outputs_of(run)?;
        let taken = upload.append(&id_of(run), (self.settings.now)(), file, offset, bytes);
        if matches!(taken, Err(EngineError::Usage { .. })) && !upload.is_staged() {
            self.fail_run(run, "an output was not what its machine had declared")?;
        }
        taken
    }

    fn outputs_of(&self, run: &str) -> Result<Arc<Upload>, EngineError> {
        match &self.live_course(run)?.state().phase {
            Phase::Bringing { upload, .. } => Ok(upload.clone()),
            _ => Err(EngineError::NotFound { what: "outputs of run", name: printable(run, 40) }),
        }
    }

    /// Says that all outputs are there: the server goes on with them, and the token is good no more.
    ///
    /// # Errors
    /// [`EngineError::Usage`] while bytes are missing.
    pub fn finish_run(&self, run: &str) -> Result<(), EngineError> {
        let course = self.live_course(run)?;
        let mut state = course.state();
        let (upload, outcome) = match &state.phase {
            Phase::Bringing { upload, outcome } => (upload.clone(), outcome.clone()),
            Phase::Brought { .. } => return Ok(()),
            _ => return Err(EngineError::Usage { what: "it was not said yet how the command ended".to_owned() }),
        };
        let view = upload.standing(&id_of(run));
        let Some(writer) = upload.take_whole() else {
            let what = format!("the outputs go on at byte {} of file {}", view.offset, view.file);
            return Err(EngineError::Usage { what });
        };
        debug_assert!(view.state == UploadState::Whole);
        state.phase = Phase::Brought { outputs: Some(Box::new(writer)), outcome };
        course.changed.notify_all();
        Ok(())
    }

    /// Gives the run up, in the words of its machine.
    pub fn fail_run(&self, run: &str, why: &str) -> Result<(), EngineError> {
        let course = self.live_course(run)?;
        let mut state = course.state();
        let before = std::mem::replace(&mut state.phase, Phase::Failed(printable(why, WHY_CHARS_MAX)));
        match before {
            Phase::Bringing { upload, .. } => upload.give_up(),
            Phase::Brought { outputs: Some(outputs), .. } => outputs.discard(),
            _ => {}
        }
        course.changed.notify_all();
        Ok(())
    }
}

fn id_of(run: &str) -> TransferId {
    TransferId::from(run)
}
