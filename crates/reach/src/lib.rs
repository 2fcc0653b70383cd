//! The only way out of this machine: sources of models and datasets, sinks of alerts, and models that are attacked where they run.
//!
//! * [`Source`]: what people write, `hf://org/model@rev` and the like; [`TrustedSources`]: which of them may be asked.
//! * [`Reach`]: [`listing`](Reach::listing) pins a source and names its files with the source's own hashes;
//!   [`fetch`](Reach::fetch) takes one file and compares it; [`open_range`](Reach::open_range) looks into one without
//!   taking it; [`latest`](Reach::latest) and [`diff`] show what moved on.
//! * [`sink`]: where alerts go ([`Reach::open_sink`]); [`Reach::ask_witness`]: who cosigns the trail;
//!   [`Reach::provider_document`], [`Reach::provider_form`]: talking to a login provider.
//! * [`server`]: another machine's vault, behind `ringfence serve`.
//! * [`endpoint`]: a model that is attacked where it runs, asked within a budget.
//! * [`EgressPolicy`]: hosts, and the networks that their names may stand for; [`Settings`], [`Secrets`].
//! * [`testing`]: servers on loopback that speak the Hub's and S3's interfaces. No feature, so that programs and their tests
//!   share one build; what no program calls is not linked.
//!
//! What must stay true:
//!
//! * Nothing is connected to that the policy does not name, redirects and changing names included.
//! * A secret goes to the origin that it is for, and nowhere else, not even into an error.
//! * Whatever a source says has a limit, and its file names stay inside a folder.
//! * A file whose bytes differ from the source's own hash is an error, never a file.
//!
//! ```no_run
//! use ringfence_reach::{Reach, Resume, Secrets, Settings, Source};
//!
//! let settings = Settings::default();
//! let secrets = Secrets::gather(&settings.hub.token, None, &|name| std::env::var(name).ok())?;
//! let reach = Reach::new(settings, secrets)?;
//! let source: Source = "hf://google/bert_uncased_L-2_H-128_A-2@main".parse()?;
//! let listing = reach.listing(&source)?;
//! println!("{} at commit {}", listing.source, listing.revision);
//! for file in &listing.files {
//!     let mut look = reach.open_range(file)?; // `Read + Seek`, for a scanner
//!     let mut content = Vec::new();
//!     let fetched = reach.fetch(file, &mut content, Resume::Start, &mut |_| {})?;
//!     println!("{} {}", fetched.sha256, file.path);
//! }
//! # Ok::<(), ringfence_reach::ReachError>(())
//! ```
//!
//! Absent on purpose: uploads other than to a Ringfence server, cookies, HTTP/2, compression on the wire, and any decision about what was fetched.

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod acme;
mod client;
pub mod endpoint;
mod error;
mod fetch;
pub mod header;
mod hub;
mod listing;
mod local;
mod policy;
mod provider;
mod range;
mod s3;
mod secret;
pub mod server;
mod settings;
pub mod sink;
mod source;
pub mod testing;
mod trusted;
mod url;
mod web;
mod witness;

use std::{io::Write, time::SystemTime};

use ringfence_schema::Timestamp;

pub use client::{Clock, HEADER_BYTES_MAX, HOPS_MAX};
pub use error::{ReachError, Refusal};
pub use fetch::{Checked, Fetched, Resume};
pub use listing::{FILES_MAX, GitBlob, Listing, ListingDiff, PathFault, RemoteFile, Revision, check_path, diff};
pub use policy::{Denied, DenyRule, EgressPolicy, HostPattern, HostRule, Network, NotAHost};
pub use provider::{FORM_BYTES_MAX, Form, ProviderReply};
pub use range::{BLOCK_BYTES, RangeReader};
pub use secret::{S3Keys, Secret, Secrets, TokenSource};
pub use settings::{CatalogueSettings, HubSettings, Limits, Proxy, Roots, S3Settings, Settings};
pub use source::{
    ArchiveSource, Catalogue, HubKind, HubSource, NotASource, S3Source, SOURCE_BYTES_MAX, Source, WebSource, is_commit,
};
pub use trusted::{HashRule, RevisionRule, TrustRule, TrustedSources, Untrusted};
pub use url::{NotAUrl, Scheme, URL_BYTES_MAX, Url};
pub use witness::{WITNESS_ANSWER_BYTES_MAX, WitnessReply};

use client::{Answer, Ask, Client, Credential};
use hub::Hub;
use listing::Place;
use s3::{S3, Signer};

/// The way to sources.
pub struct Reach {
    client: Client,
    settings: Settings,
    hub: Url,
    token: Option<Secret>,
    signer: Option<Signer>,
}

impl Reach {
    /// With the system's clock.
    pub fn new(settings: Settings, secrets: Secrets) -> Result<Self, ReachError> {
        Self::with_clock(settings, secrets, || Timestamp::from(SystemTime::now()))
    }

    /// With another clock: signatures for S3 and dates in `Retry-After` depend on it.
    pub fn with_clock(settings: Settings, secrets: Secrets, clock: Clock) -> Result<Self, ReachError> {
        let client =
            Client::new(settings.egress.clone(), settings.limits, settings.proxy.as_ref(), &settings.roots, clock)?;
        let hub = Url::parse(&settings.hub.endpoint)?;
        let signer = secrets.s3.map(|keys| Signer::new(keys, settings.s3.region.clone()));
        Ok(Self { client, hub, token: secrets.hub, signer, settings })
    }

    /// Resolves `source` and names its files. The listing's own source is pinned: listing that again gives the same files or
    /// an error.
    ///
    /// # Errors
    /// [`ReachError::Untrusted`] before anything is sent; [`ReachError::Denied`], [`ReachError::Path`] for a hostile file
    /// name, and whatever the network brings.
    pub fn listing(&self, source: &Source) -> Result<Listing, ReachError> {
        self.settings.trusted.admit(source)?;
        match source {
            Source::Hub(hub) => self.hub().listing(hub),
            Source::Web(link) => web::listing(&self.client, link),
            Source::Archive(archive) => web::archive_listing(&self.client, &self.settings.catalogues, archive),
            Source::S3(bucket) => {
                let s3 = S3 { client: &self.client, settings: &self.settings.s3, signer: self.signer.as_ref() };
                s3.listing(bucket)
            }
            Source::File(path) => local::listing(path),
        }
    }

    /// What `source` holds now, whatever commit it was pinned to: a branch or tag is asked for again, a commit gives way to
    /// the default branch. Compare with [`diff`].
    pub fn latest(&self, source: &Source) -> Result<Listing, ReachError> {
        let Source::Hub(hub) = source else { return self.listing(source) };
        self.settings.trusted.admit(source)?;
        let revision = hub.revision.clone().filter(|revision| !is_commit(revision));
        self.hub().listing(&HubSource { revision, ..hub.clone() })
    }

    /// Takes a file into `out`, comparing it with the hash that its source gives; on an error, what `out` holds is not the
    /// file. `progress` is told how many bytes there are so far.
    pub fn fetch(
        &self,
        file: &RemoteFile,
        out: &mut dyn Write,
        resume: Resume<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Fetched, ReachError> {
        fetch::fetch(self, file, out, resume, progress)
    }

    /// Opens a file at its source for reading anywhere in it; nothing is asked for yet. Errors that come up while reading
    /// are a [`ReachError`] inside the [`std::io::Error`].
    pub fn open_range<'a>(&'a self, file: &'a RemoteFile) -> Result<RangeReader<'a>, ReachError> {
        RangeReader::new(self, file)
    }

    fn hub(&self) -> Hub<'_> {
        Hub { client: &self.client, endpoint: self.hub.clone(), token: self.token.as_ref() }
    }

    /// Asks for a listed file's bytes, and makes sure that the answer speaks of that file.
    fn ask(
        &self,
        file: &RemoteFile,
        range: Option<(u64, Option<u64>)>,
        unless_changed: Option<&str>,
    ) -> Result<Answer, ReachError> {
        let whole = |url| Ask { range, unless_changed, ..Ask::whole(url) };
        match &file.place {
            Place::Hub { url, commit } => {
                let look = |headers: &ureq::http::HeaderMap| hub::same_file(file, commit, headers);
                let ask = whole(url).with_token(self.token.as_ref(), &self.hub);
                self.client.open(&Ask { first_hop: Some(&look), ..ask })
            }
            Place::Web(url) => same_tag(file, self.client.open(&whole(url))?),
            Place::S3(url) => {
                let credential = Credential::S3(self.signer.as_ref());
                same_tag(file, self.client.open(&Ask { credential, ..whole(url) })?)
            }
            Place::Local(_) | Place::Unknown => {
                let what = "it was read back from a record; list the source again".to_owned();
                Err(ReachError::Changed { path: file.path.clone(), what })
            }
        }
    }
}

/// Refuses an answer that speaks of another version of the file than the one that was listed.
fn same_tag(file: &RemoteFile, answer: Answer) -> Result<Answer, ReachError> {
    match (&file.etag, answer.etag()) {
        (Some(old), Some(new)) if *old != new => {
            Err(ReachError::Changed { path: file.path.clone(), what: "its entity tag is another".into() })
        }
        _ => Ok(answer),
    }
}
