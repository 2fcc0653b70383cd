//! The Hub's interface over repositories that a test puts in: revisions, trees with pages, `resolve` with its redirect to
//! storage on another origin.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use ringfence_schema::{Digest, Hasher, digest::hex};
use serde_json::{Value, json};

use super::http::{Content, Reply, Request, Server};
use crate::{
    policy::{EgressPolicy, HostRule, Network},
    settings::{HubSettings, Limits, Settings},
    source::is_commit,
    url::{Scheme, escape_path, unescape},
};

/// Files of at least so many bytes go to storage, as do those with a model's extension.
const LARGE_BYTES: u64 = 10 << 20;
/// Extensions that the Hub keeps in storage whatever their size.
const LARGE_KINDS: [&str; 14] =
    ["bin", "safetensors", "pt", "pth", "ckpt", "h5", "onnx", "pkl", "gguf", "npz", "npy", "zip", "joblib", "msgpack"];

/// One file.
#[derive(Clone)]
struct Stored {
    content: Content,
    sha256: Digest,
    /// Git's name for the content, or for the pointer that stands for it.
    oid: String,
    large: bool,
}

/// One repository: its commits, the newest last.
#[derive(Clone, Default)]
struct Repository {
    commits: Vec<(String, BTreeMap<String, Stored>)>,
    /// The token that is needed, if one is.
    token: Option<String>,
}

#[derive(Default)]
struct State {
    /// By `models/org/name` or `datasets/org/name`.
    repositories: BTreeMap<String, Repository>,
    /// Entries on one page of a tree, whatever is asked for.
    page_entries: Option<usize>,
}

type Shared = Arc<RwLock<State>>;

/// A Hub with its storage, each on a port of its own.
pub struct TestHub {
    /// Answers for the interface.
    pub api: Server,
    /// Answers for large files.
    pub storage: Server,
    state: Shared,
}

impl TestHub {
    /// An empty Hub on `port`, 0 for any.
    pub fn start(port: u16) -> io::Result<Self> {
        let state = Shared::default();
        let inner = Arc::clone(&state);
        let storage = Server::start(0, move |request| stored(&inner, request))?;
        let (inner, cdn) = (Arc::clone(&state), storage.origin());
        let api = Server::start(port, move |request| interface(&inner, &cdn, request))?;
        Ok(Self { api, storage, state })
    }

    /// What `HF_ENDPOINT` should say.
    pub fn endpoint(&self) -> String {
        self.api.origin()
    }

    /// Adds a commit to `repository`, such as `models/org/name`; gives its name.
    pub fn put(&self, repository: &str, files: &[(&str, &[u8])]) -> String {
        let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), store(path, (*bytes).into()))).collect();
        self.commit(repository, files)
    }

    /// Adds a commit with the files below `folder`, which are served from there.
    pub fn put_folder(&self, repository: &str, folder: &Path) -> io::Result<String> {
        let mut files = BTreeMap::new();
        walk(folder, "", &mut files)?;
        Ok(self.commit(repository, files))
    }

    /// From now on `repository` is for whoever shows `token`.
    pub fn gate(&self, repository: &str, token: &str) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.repositories.entry(repository.to_owned()).or_default().token = Some(token.to_owned());
    }

    /// From now on a page of a tree has at most so many entries.
    pub fn page_entries(&self, entries: usize) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).page_entries = Some(entries);
    }

    /// Settings with which this Hub, and nothing else, can be reached.
    pub fn settings(&self) -> Settings {
        let hub = HubSettings { endpoint: self.endpoint(), ..HubSettings::default() };
        Settings { hub, ..open_settings(&[self.api.port(), self.storage.port()]) }
    }

    fn commit(&self, repository: &str, files: BTreeMap<String, Stored>) -> String {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let repository = state.repositories.entry(repository.to_owned()).or_default();
        let mut text = format!("{}\n", repository.commits.len());
        for (path, file) in &files {
            text.push_str(&format!("{path} {}\n", file.oid));
        }
        let name = sha1(&[b"commit", text.as_bytes()]);
        repository.commits.push((name.clone(), files));
        name
    }
}

/// Settings that open these ports of 127.0.0.1, with waits short enough for tests.
pub fn open_settings(ports: &[u16]) -> Settings {
    let rule = |port: &u16| {
        let host = "127.0.0.1".parse().ok()?;
        Some(HostRule { host, port: Some(*port), scheme: Scheme::Http, network: Network::Local })
    };
    let limits = Limits {
        connect_ms: 2_000,
        answer_ms: 500,
        idle_ms: 500,
        backoff_ms: 1,
        wait_ms_max: 1_500,
        attempts: 3,
        ..Limits::default()
    };
    Settings { egress: EgressPolicy { hosts: ports.iter().filter_map(rule).collect() }, limits, ..Settings::default() }
}

/// Answers for the interface.
fn interface(state: &Shared, cdn: &str, request: &Request) -> Reply {
    let state = state.read().unwrap_or_else(PoisonError::into_inner);
    let path = request.path.trim_start_matches('/');
    if let Some(rest) = path.strip_prefix("api/") {
        return api(&state, rest, request).unwrap_or_else(|| missing("RepoNotFound", "Repository not found"));
    }
    let whole = if path.starts_with("datasets/") { path.to_owned() } else { format!("models/{path}") };
    resolve(&state, cdn, &whole, request).unwrap_or_else(|| missing("EntryNotFound", "Entry not found"))
}

/// `KIND/ID/revision/REV` and `KIND/ID/tree/REV`.
fn api(state: &State, rest: &str, request: &Request) -> Option<Reply> {
    let cut = |word: &str| rest.split_once(&format!("/{word}/"));
    let (id, revision, tree) = match (cut("revision"), cut("tree")) {
        (Some((id, revision)), _) => (id, revision, false),
        (_, Some((id, revision))) => (id, revision, true),
        _ => (rest, "main", false),
    };
    let repository = state.repositories.get(id)?;
    if let Some(refusal) = refusal(repository, request) {
        return Some(refusal);
    }
    let revision = unescape(revision)?;
    let Some((commit, files)) = find(repository, &revision) else {
        return Some(missing("RevisionNotFound", "Invalid rev id"));
    };
    if !tree {
        let name = id.split_once('/').map_or(id, |(_, name)| name);
        let siblings: Vec<Value> = files.keys().map(|path| json!({"rfilename": path})).collect();
        return Some(Reply::json(&json!({
            "_id": "0", "id": name, "modelId": name, "sha": commit, "private": false, "gated": false, "disabled": false,
            "tags": [], "downloads": 0, "likes": 0, "siblings": siblings,
            "lastModified": "2026-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z",
        })));
    }
    let entries: Vec<Value> = files.iter().map(|(path, file)| entry(path, file)).collect();
    let limit = state.page_entries.or_else(|| request.parameter("limit")?.parse().ok()).unwrap_or(1_000).max(1);
    let from: usize = request.parameter("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let page: Vec<Value> = entries.iter().skip(from).take(limit).cloned().collect();
    let mut reply = Reply::json(&Value::Array(page)).with("x-repo-commit", commit);
    if from + limit < entries.len() {
        let host = request.header("host").unwrap_or_default();
        let next = format!("<http://{host}{}?recursive=true&cursor={}>; rel=\"next\"", request.path, from + limit);
        reply = reply.with("link", next);
    }
    Some(reply)
}

fn entry(path: &str, file: &Stored) -> Value {
    let size = file.content.size();
    let mut entry = json!({"type": "file", "oid": file.oid, "size": size, "path": path});
    if let (true, Value::Object(fields)) = (file.large, &mut entry) {
        fields.insert("lfs".into(), json!({"oid": file.sha256.hex(), "size": size, "pointerSize": 130}));
    }
    entry
}

/// `KIND/ID/resolve/REV/PATH`.
fn resolve(state: &State, cdn: &str, whole: &str, request: &Request) -> Option<Reply> {
    let (id, rest) = whole.split_once("/resolve/")?;
    let repository = state.repositories.get(id)?;
    if let Some(refusal) = refusal(repository, request) {
        return Some(refusal);
    }
    let (revision, path) = rest.split_once('/')?;
    let (commit, files) = find(repository, &unescape(revision)?)?;
    let file = files.get(&unescape(path)?)?;
    let size = file.content.size();
    if !file.large {
        let reply = Reply { status: 200, headers: Vec::new(), body: file.content.clone() };
        return Some(reply.with("x-repo-commit", commit).with("etag", format!("\"{}\"", file.oid)));
    }
    let place = format!("{cdn}/{}/{}?Signature=test", file.sha256.hex(), escape_path(path));
    let tag = format!("\"{}\"", file.sha256.hex());
    let reply = Reply::new(302, &b""[..]).with("location", place).with("x-repo-commit", commit).with("etag", &tag);
    Some(reply.with("x-linked-size", size).with("x-linked-etag", tag))
}

/// Large files by their hash.
fn stored(state: &Shared, request: &Request) -> Reply {
    let state = state.read().unwrap_or_else(PoisonError::into_inner);
    let hash = request.path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let all =
        state.repositories.values().flat_map(|repository| &repository.commits).flat_map(|(_, files)| files.values());
    let found = all.into_iter().find(|file| file.sha256.hex() == hash);
    match found {
        Some(file) if request.parameter("Signature").is_some() => {
            let reply = Reply { status: 200, headers: Vec::new(), body: file.content.clone() };
            reply.with("etag", format!("\"storage-{}\"", file.sha256.short()))
        }
        Some(_) => Reply::new(403, &b""[..]),
        None => missing("EntryNotFound", "Entry not found"),
    }
}

fn find<'a>(repository: &'a Repository, revision: &str) -> Option<(&'a str, &'a BTreeMap<String, Stored>)> {
    let named = |(name, files): &'a (String, BTreeMap<String, Stored>)| (name.as_str(), files);
    if is_commit(revision) {
        return repository.commits.iter().find(|(name, _)| name == revision).map(named);
    }
    (revision == "main").then(|| repository.commits.last().map(named))?
}

fn refusal(repository: &Repository, request: &Request) -> Option<Reply> {
    let token = repository.token.as_ref()?;
    let shown = request.header("authorization").and_then(|text| text.strip_prefix("Bearer "));
    if shown == Some(token) {
        return None;
    }
    Some(Reply::new(403, &b""[..]).with("x-error-code", "GatedRepo").with("x-error-message", "access is restricted"))
}

fn missing(code: &str, message: &str) -> Reply {
    let body = json!({"error": message}).to_string();
    Reply::new(404, body.as_bytes()).with("x-error-code", code).with("x-error-message", message)
}

fn store(path: &str, content: Content) -> Stored {
    let mut hasher = Hasher::new();
    let mut git = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    git.update(format!("blob {}\0", content.size()).as_bytes());
    if let Ok(mut reader) = content.open(0) {
        let mut both = Both(&mut hasher, &mut git);
        let _ = io::copy(&mut reader, &mut both);
    }
    let sha256 = hasher.finish();
    let kind = path.rsplit('.').next().unwrap_or_default();
    let large = content.size() >= LARGE_BYTES || LARGE_KINDS.contains(&kind);
    let oid = if large {
        let pointer = format!(
            "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n",
            sha256.hex(),
            content.size()
        );
        sha1(&[format!("blob {}\0", pointer.len()).as_bytes(), pointer.as_bytes()])
    } else {
        hex(git.finish().as_ref())
    };
    Stored { content, sha256, oid, large }
}

struct Both<'a>(&'a mut Hasher, &'a mut Context);

impl io::Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        self.1.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn sha1(parts: &[&[u8]]) -> String {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    hex(context.finish().as_ref())
}

fn walk(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Stored>) -> io::Result<()> {
    for found in fs::read_dir(folder)? {
        let found = found?;
        let Ok(name) = found.file_name().into_string() else { continue };
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let about = found.metadata()?;
        if about.is_dir() {
            walk(&found.path(), &path, files)?;
        } else if about.is_file() {
            files.insert(path.clone(), store(&path, Content::File(found.path(), about.len())));
        }
    }
    Ok(())
}
