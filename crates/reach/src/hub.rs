//! The Hugging Face Hub's interface, as its own client uses it.
//!
//! A revision is resolved to a commit first; the tree, and every file, is then asked for at that commit. Large files carry
//! their SHA-256 in the tree (`lfs.oid`), small ones git's name for them (`oid`); [`same_file`] compares what `resolve`
//! says on its first hop (`X-Repo-Commit`, `X-Linked-Etag`, `X-Linked-Size`) with the tree before any content is taken.

use ringfence_schema::{Digest, finding::printable};
use serde::Deserialize;
use ureq::http::HeaderMap;

use crate::{
    client::{Answer, Ask, Client, Credential},
    error::ReachError,
    header,
    listing::{FILES_MAX, GitBlob, Listing, Place, RemoteFile, Revision},
    secret::Secret,
    source::{HubKind, HubSource, Source, is_commit},
    url::{Url, escape, escape_path},
};

/// Largest description of a repository in bytes: it names every file.
const INFO_BYTES_MAX: u64 = 32 << 20;
/// Largest page of a tree in bytes: 1,000 entries with the longest names take less than 2 MiB.
const PAGE_BYTES_MAX: u64 = 4 << 20;
/// Most pages of a tree.
const PAGES_MAX: usize = 1_000;
/// Entries asked for at a time: the most that the Hub gives.
const PAGE_ENTRIES: usize = 1_000;
/// The branch when none is named.
const DEFAULT_BRANCH: &str = "main";

/// A Hub with the token for it.
pub(crate) struct Hub<'a> {
    pub(crate) client: &'a Client,
    pub(crate) endpoint: Url,
    pub(crate) token: Option<&'a Secret>,
}

/// What `revision/REV` answers, as far as it matters here.
#[derive(Deserialize)]
struct Info {
    sha: String,
}

/// One entry of `tree/COMMIT`.
#[derive(Debug, Deserialize)]
pub(crate) struct Entry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    oid: String,
    #[serde(default)]
    size: u64,
    path: String,
    #[serde(default)]
    lfs: Option<Lfs>,
}

/// Where a large file's content is.
#[derive(Debug, Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

impl Hub<'_> {
    /// Resolves the revision and lists the whole tree.
    pub(crate) fn listing(&self, source: &HubSource) -> Result<Listing, ReachError> {
        let commit = self.commit(source)?;
        let base = format!("{}api/{}/{}", self.prefix(), source.kind.segment(), source.id);
        let query = format!("recursive=true&expand=false&limit={PAGE_ENTRIES}");
        let mut page = Some(self.endpoint.with_target(&format!("{base}/tree/{commit}?{query}"))?);
        let mut files = Vec::new();
        let mut pages = 0;
        while let Some(url) = page {
            pages += 1;
            if pages > PAGES_MAX {
                return Err(ReachError::TooMany { what: "pages", limit: PAGES_MAX });
            }
            let answer = self.ask_here(source, &url)?;
            let mut links = answer.headers.get_all("link").into_iter().filter_map(|link| link.to_str().ok());
            page = links.find_map(header::next_link).map(|next| self.next_page(&url, next)).transpose()?;
            let bytes = answer.read_all(PAGE_BYTES_MAX)?;
            let entries = parse_tree(&bytes).map_err(|error| ReachError::malformed(&url, error))?;
            for entry in entries {
                files.extend(self.file(source, &commit, entry)?);
                if files.len() > FILES_MAX {
                    return Err(ReachError::TooMany { what: "files", limit: FILES_MAX });
                }
            }
        }
        let pinned = HubSource { revision: Some(commit.clone()), ..source.clone() };
        Listing::new(Source::Hub(pinned), Some(Revision::Commit(commit)), files)
    }

    /// The commit that the source's revision stands for now.
    fn commit(&self, source: &HubSource) -> Result<String, ReachError> {
        let asked = source.revision.as_deref().unwrap_or(DEFAULT_BRANCH);
        let target = format!("{}api/{}/{}/revision/{}", self.prefix(), source.kind.segment(), source.id, escape(asked));
        let url = self.endpoint.with_target(&target)?;
        let bytes = self.ask_here(source, &url)?.read_all(INFO_BYTES_MAX)?;
        let info: Info = serde_json::from_slice(&bytes)
            .map_err(|error| ReachError::malformed(&url, format!("no commit in its answer ({error})")))?;
        if !is_commit(&info.sha) {
            return Err(ReachError::malformed(&url, "its commit is not 40 hexadecimal digits"));
        }
        if is_commit(asked) && asked != info.sha {
            return Err(ReachError::Pin { asked: asked.to_owned(), found: info.sha });
        }
        Ok(info.sha)
    }

    fn file(&self, source: &HubSource, commit: &str, entry: Entry) -> Result<Option<RemoteFile>, ReachError> {
        if entry.kind == "directory" {
            return Ok(None);
        }
        let named = || printable(&entry.path, 120);
        if entry.kind != "file" {
            let what = format!("`{}` is a `{}`, neither file nor directory", named(), printable(&entry.kind, 40));
            return Err(ReachError::malformed(&self.endpoint, what));
        }
        let (size, sha256, git_blob) = if let Some(lfs) = &entry.lfs {
            let digest: Result<Digest, _> = format!("sha256:{}", lfs.oid.trim_start_matches("sha256:")).parse();
            let unhashed = |_| ReachError::malformed(&self.endpoint, format!("`{}` has no SHA-256", named()));
            (lfs.size, Some(digest.map_err(unhashed)?), None)
        } else {
            let unhashed = || ReachError::malformed(&self.endpoint, format!("`{}` has no git hash", named()));
            (entry.size, None, Some(GitBlob::from_hex(&entry.oid).ok_or_else(unhashed)?))
        };
        let kind = if source.kind == HubKind::Dataset { "datasets/" } else { "" };
        let target = format!("{}{kind}{}/resolve/{commit}/{}", self.prefix(), source.id, escape_path(&entry.path));
        let url = self.endpoint.with_target(&target)?;
        let place = Place::Hub { url, commit: commit.to_owned() };
        Ok(Some(RemoteFile { path: entry.path, size: Some(size), sha256, git_blob, etag: None, place }))
    }

    /// Pages stay on the Hub: the token goes with them.
    fn next_page(&self, page: &Url, link: &str) -> Result<Url, ReachError> {
        let next = page.join(link)?;
        if next.origin() != self.endpoint.origin() {
            return Err(ReachError::malformed(page, "its next page is on another host"));
        }
        Ok(next)
    }

    /// The endpoint's own path, for mirrors that live below one.
    fn prefix(&self) -> String {
        let path = self.endpoint.path().trim_matches('/');
        if path.is_empty() { String::new() } else { format!("{path}/") }
    }

    /// Asks the interface. A repository that was renamed or given away redirects: that is for people to judge, because the
    /// policy of sources was asked about the old name.
    fn ask_here(&self, source: &HubSource, url: &Url) -> Result<Answer, ReachError> {
        let ask = Ask { accept: "application/json", ..Ask::whole(url) }.with_token(self.token, &self.endpoint);
        let answer = self.client.open(&ask)?;
        if answer.url != *url {
            return Err(ReachError::Moved { asked: Source::Hub(source.clone()).name(), found: answer.url });
        }
        Ok(answer)
    }
}

impl<'a> Ask<'a> {
    /// With the Hub's token, if there is one and the question goes to the Hub.
    pub(crate) fn with_token(self, token: Option<&'a Secret>, endpoint: &Url) -> Self {
        match token {
            Some(token) if endpoint.origin() == self.url.origin() => {
                Self { credential: Credential::Bearer { token }, ..self }
            }
            _ => self,
        }
    }
}

/// Reads one page of a tree: a JSON list of entries, of which what is not known here is ignored.
pub(crate) fn parse_tree(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("its list of files cannot be read ({error})"))
}

/// Whether the first hop of `resolve` speaks of the file that was listed.
pub(crate) fn same_file(file: &RemoteFile, commit: &str, first_hop: &HeaderMap) -> Result<(), ReachError> {
    let changed = |what: String| Err(ReachError::Changed { path: file.path.clone(), what });
    let told = |name| header::text(first_hop, name);
    if let Some(found) = told("x-repo-commit")
        && found != commit
    {
        return changed(format!("it is now at commit `{}`", printable(found, 40)));
    }
    if let (Some(found), Some(size)) = (told("x-linked-size").and_then(header::number), file.size)
        && found != size
    {
        return changed(format!("it now has {found} bytes instead of {size}"));
    }
    let linked = told("x-linked-etag").map(header::etag_inner);
    match (file.sha256, file.git_blob, linked) {
        (Some(sha256), _, Some(found)) if found != sha256.hex() => {
            changed(format!("its SHA-256 is now `{}`", printable(found, 64)))
        }
        (None, Some(blob), Some(found)) if found != blob.to_string() => {
            changed(format!("its git hash is now `{}`", printable(found, 64)))
        }
        _ => Ok(()),
    }
}
