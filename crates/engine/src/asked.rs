//! What is attacked outside a vault: a model in a file, or one behind an endpoint that others run.
//!
//! An endpoint is asked here, in the parent, which has the network and the secrets; questions come from a keyless child through a
//! socket, and answers go back to it unread (see [`ringfence_reach::endpoint`]). The ledger is kept here too, so that no child can
//! spend more than was granted, or say that it spent less.

use std::{
    fmt,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    thread,
};

use ringfence_reach::endpoint::{Description, Endpoint, serve};
use ringfence_schema::{endpoint::QueryLedger, report::ForwardEngine};
use serde::Deserialize;

use crate::{
    error::EngineError,
    files::read_small,
    model::ModelFile,
    settings::Settings,
    signing::digest_of,
    work::{Desk, Job},
};

/// What is attacked.
pub enum Target<'a> {
    /// A model on disk.
    Model(ModelFile),
    /// A model that can only be asked.
    Endpoint {
        /// The file that describes it (TOML).
        file: PathBuf,
        /// Inputs that may be sent, where that is less than the file grants.
        budget: Option<u64>,
        /// Answers for environment variables, of which some may be secrets of the endpoint.
        environment: &'a dyn Fn(&str) -> Option<String>,
    },
}

impl fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.file().display())
    }
}

impl Target<'_> {
    /// The model, or the description.
    pub fn file(&self) -> &Path {
        match self {
            Self::Model(model) => model.path(),
            Self::Endpoint { file, .. } => file,
        }
    }

    /// Gives the job that `job` makes (it is told how an endpoint is described) to a child, whose first descriptor is the model
    /// or the way to it; `rest` are the others.
    pub(crate) fn attacked<T: for<'de> Deserialize<'de> + Send>(
        &self,
        settings: &Settings<'_>,
        job: impl FnOnce(Option<Description>) -> Job,
        rest: Vec<OwnedFd>,
    ) -> Result<(T, Option<QueryLedger>), EngineError> {
        let what = self.file().display().to_string();
        let with = |first: Vec<OwnedFd>| first.into_iter().chain(rest).collect::<Vec<_>>();
        let (file, budget, environment) = match self {
            Self::Model(model) => {
                let found = Desk::new(settings).ask(&what, &job(None), with(model.descriptors()?))?;
                return Ok((found, None));
            }
            Self::Endpoint { file, budget, environment } => (file, budget, environment),
        };
        let description = described(file)?;
        let job = job(Some(description.clone()));
        let mut endpoint = Endpoint::open(description, environment)?;
        if let Some(budget) = budget {
            endpoint.grant(*budget);
        }
        let (ours, theirs) = UnixStream::pair().map_err(EngineError::io("socket"))?;
        let descriptors = with(vec![theirs.into()]);
        let desk = Desk::new(settings);
        let found = thread::scope(|scope| {
            let child = scope.spawn(|| desk.ask(&what, &job, descriptors));
            // A child that dies closes its end; one that asks what it may not is cut off here and ends without an answer.
            let _ = serve(&ours, &mut endpoint);
            drop(ours);
            child.join()
        });
        let ledger = endpoint.ledger().clone();
        // Also where it failed: what was sent was sent.
        settings.progress.note(&format!("{} of {} queries spent at {}", ledger.spent, ledger.budget, ledger.endpoint));
        match found {
            Ok(found) => Ok((found?, Some(ledger))),
            Err(_) => Err(EngineError::incomplete(what, "the attack ended without an answer")),
        }
    }
}

/// Does `ask` beside a child that computes the model's scores with the library; `ask` gets the way to it. Answers what the library
/// is, too.
///
/// # Errors
/// What `ask` brings; where that child ended badly, its reason.
pub(crate) fn beside_library<T: Send>(
    settings: &Settings<'_>,
    model: &ModelFile,
    library: &Path,
    ask: impl FnOnce(OwnedFd) -> Result<T, EngineError>,
) -> Result<(T, ForwardEngine), EngineError> {
    // The child starts elsewhere.
    let library = library.canonicalize().map_err(EngineError::io(library))?;
    let digest = digest_of(&library)?;
    let (ours, theirs) = UnixStream::pair().map_err(EngineError::io("socket"))?;
    let mut descriptors = model.descriptors()?;
    descriptors.push(theirs.into());
    let desk = Desk::new(settings);
    let (found, computed) = thread::scope(|scope| {
        let child = scope.spawn(|| desk.compute(&library, descriptors));
        let found = ask(ours.into());
        (found, child.join())
    });
    let what = library.display().to_string();
    match (found, computed) {
        (Ok(found), Ok(Ok(build))) => Ok((found, ForwardEngine { library: digest, build })),
        (_, Ok(Err(error))) => Err(EngineError::incomplete(what, error)),
        (Err(error), Ok(Ok(_))) => Err(error),
        (_, Err(_)) => Err(EngineError::incomplete(what, "the child that runs it ended without an answer")),
    }
}

fn described(file: &Path) -> Result<Description, EngineError> {
    let wrong = |what: String| EngineError::Plan { file: file.to_owned(), what };
    let bytes = read_small(file, DESCRIPTION_BYTES_MAX)?;
    let text = str::from_utf8(&bytes).map_err(|error| wrong(error.to_string()))?;
    toml::from_str(text).map_err(|error| wrong(error.to_string()))
}

/// Largest description, in bytes.
const DESCRIPTION_BYTES_MAX: u64 = 256 << 10;
