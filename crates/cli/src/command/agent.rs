//! `key …`: keys in the user's SSH agent, and the agent behind `SSH_AUTH_SOCK`.

use std::{collections::BTreeMap, env, os::unix::net::UnixStream, time::Duration};

use ringfence_engine::{
    EngineError, ExitClass,
    reach::server::{Method, Patience, segment},
    schema::Digest,
    team::agent::{Agent, AgentError, AgentKey, AgentSignature, Held, Namespace},
};
use serde_json::{Value, json};

use crate::{
    args::request::KeyAction,
    command::{people::Desk, request::read},
    output::{Printer, Style, table},
};

/// How long an agent may take to answer, in seconds: somebody may have to find and touch a security key.
const ANSWER_S_MAX: u64 = 120;
/// What errors call it.
const AGENT: &str = "SSH agent";
/// Where it listens.
const SOCKET: &str = "SSH_AUTH_SOCK";

/// The user's agent.
pub(crate) struct Socket(Agent<UnixStream>);

impl Socket {
    /// The agent that the environment names.
    pub(crate) fn open() -> Result<Self, EngineError> {
        let path = env::var_os(SOCKET).filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| EngineError::NotFound { what: AGENT, name: SOCKET.to_owned() })?;
        let patience = Some(Duration::from_secs(ANSWER_S_MAX));
        let stream = UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(patience)?;
            stream.set_write_timeout(patience)?;
            Ok(stream)
        });
        stream.map(|stream| Self(Agent::new(stream))).map_err(|error| EngineError::incomplete(AGENT, error))
    }

    fn keys(&mut self) -> Result<Vec<Held>, EngineError> {
        self.0.keys().map_err(no_answer)
    }

    /// The key to sign with: the one with this fingerprint, or the first of those that are enrolled.
    pub(crate) fn choose(
        &mut self,
        enrolled: &BTreeMap<Digest, String>,
        wanted: Option<&str>,
    ) -> Result<Held, EngineError> {
        let keys = self.keys()?;
        let none = |what: String| EngineError::NotFound { what: "key", name: what };
        if let Some(wanted) = wanted {
            let found = keys.into_iter().find(|held| held.key.fingerprint() == wanted);
            return found.ok_or_else(|| none(wanted.to_owned()));
        }
        let found = keys.into_iter().find(|held| enrolled.contains_key(&held.key.digest()));
        found.ok_or_else(|| none("in the agent and among your factors".to_owned()))
    }

    /// Has the agent sign.
    pub(crate) fn sign(
        &mut self,
        key: &AgentKey,
        purpose: Namespace,
        digest: &Digest,
    ) -> Result<AgentSignature, EngineError> {
        self.0.sign(key, purpose, digest).map_err(no_answer)
    }
}

fn no_answer(error: AgentError) -> EngineError {
    match error {
        AgentError::Refused | AgentError::NotPresent => EngineError::NotPermitted { what: error.to_string() },
        other => EngineError::incomplete(AGENT, other),
    }
}

/// The keys among somebody's factors, with what they call them.
pub(crate) fn enrolled(me: &Value) -> BTreeMap<Digest, String> {
    let factors = me.pointer("/person/factors").and_then(Value::as_array).into_iter().flatten();
    let key = |factor: &Value| {
        let id = factor.get("id")?.as_str()?.parse().ok()?;
        Some((id, factor.get("label").and_then(Value::as_str).unwrap_or_default().to_owned()))
    };
    factors.filter_map(key).collect()
}

/// `key …`.
pub(crate) fn key(desk: &Desk<'_, '_>, printer: Printer, action: &KeyAction) -> Result<ExitClass, EngineError> {
    match action {
        KeyAction::Add { key, label } => add(desk, printer, key.as_deref(), label.as_deref())?,
        KeyAction::Ls => list(desk, printer)?,
        KeyAction::Rm { key } => {
            let digest = enrolled(&desk.me()?).into_keys().find(|digest| fingerprint(digest) == *key);
            let digest = digest.ok_or_else(|| EngineError::NotFound { what: "key", name: key.clone() })?;
            desk.remove_key(&digest)?;
            done(printer, "removed", &digest, "")?;
        }
    }
    Ok(ExitClass::Done)
}

fn add(desk: &Desk<'_, '_>, printer: Printer, wanted: Option<&str>, label: Option<&str>) -> Result<(), EngineError> {
    let mut socket = Socket::open()?;
    let held = match (wanted, socket.keys()?.as_slice()) {
        (Some(_), _) => socket.choose(&BTreeMap::new(), wanted)?,
        (None, [only]) => only.clone(),
        (None, []) => {
            return Err(EngineError::NotFound { what: "key", name: "of a type that can approve, in the agent".into() });
        }
        (None, several) => {
            let named: Vec<String> = several.iter().map(|held| held.key.fingerprint()).collect();
            let what = format!("the agent holds several keys: say which with `--key`: {}", named.join(", "));
            return Err(EngineError::Usage { what });
        }
    };
    let offer = desk.begin_key()?;
    let document: String = read(offer.get("document"))?;
    let ceremony: String = read(offer.get("ceremony"))?;
    let named = serde_json::from_str::<Value>(&document).ok();
    let is = |name: &str, expected: &str| {
        named.as_ref().and_then(|document| document.get(name)).and_then(Value::as_str) == Some(expected)
    };
    if !is("schema", Namespace::Enrolment.name()) || !is("vault", &desk.vault_id()) {
        return Err(EngineError::tampered("enrolment", "it is no enrolment in this vault"));
    }
    printer.say(format!("signing with {}; touch it if it blinks", held.key.fingerprint()));
    let signature = socket.sign(&held.key, Namespace::Enrolment, &Digest::of(document.as_bytes()))?;
    let fingerprint = held.key.fingerprint();
    let label = label.or(Some(held.comment.as_str()).filter(|comment| !comment.is_empty())).unwrap_or(&fingerprint);
    desk.finish_key(&ceremony, &held.key, &signature, label)?;
    done(printer, "enrolled", &held.key.digest(), label)
}

fn list(desk: &Desk<'_, '_>, printer: Printer) -> Result<(), EngineError> {
    let enrolled = enrolled(&desk.me()?);
    // Whoever only wants to see their factors needs no agent.
    let held = match Socket::open() {
        Ok(mut socket) => socket.keys()?,
        Err(error) => {
            printer.say(format!("{error}: only your factors are listed"));
            Vec::new()
        }
    };
    let mut rows: BTreeMap<Digest, (bool, String, bool)> = BTreeMap::new();
    for (digest, label) in &enrolled {
        rows.insert(*digest, (true, label.clone(), false));
    }
    for Held { key, comment } in held {
        let row = rows.entry(key.digest()).or_insert((false, comment, false));
        row.2 = true;
    }
    if !printer.for_people() {
        let keys: Vec<Value> = rows
            .into_iter()
            .map(|(digest, (approves, label, in_agent))| {
                json!({"key": fingerprint(&digest), "label": label, "approves": approves, "in_agent": in_agent})
            })
            .collect();
        return printer.document("ringfence.keys/1", &json!({"keys": keys}));
    }
    if rows.is_empty() {
        printer.say(
            "no keys: `ssh-keygen -t ed25519-sk` makes one on a security key, `ssh-add` brings one into the agent",
        );
        return Ok(());
    }
    let mut lines = vec![["key", "called", "approves here", "in the agent"].map(str::to_owned).to_vec()];
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    lines.extend(
        rows.into_iter().map(|(digest, (approves, label, in_agent))| {
            vec![fingerprint(&digest), label, yes(approves), yes(in_agent)]
        }),
    );
    printer.raw(table(&lines).as_bytes())
}

fn fingerprint(digest: &Digest) -> String {
    ringfence_engine::team::agent::fingerprint(digest)
}

fn done(printer: Printer, word: &str, digest: &Digest, label: &str) -> Result<(), EngineError> {
    if printer.for_people() {
        return printer.line(format!("{}  {} {label}", printer.strong(word, Style::Good), fingerprint(digest)));
    }
    printer.document("ringfence.key/1", &json!({"key": fingerprint(digest), "label": label, "done": word}))
}

impl Desk<'_, '_> {
    fn begin_key(&self) -> Result<Value, EngineError> {
        match self {
            Self::Here(vault) => {
                let offer = vault.begin_key()?;
                Ok(json!({"ceremony": offer.ceremony, "document": offer.document}))
            }
            Self::There(remote) => remote.act("/api/v1/factors/key/begin", None, Patience::Brief),
        }
    }

    fn finish_key(
        &self,
        ceremony: &str,
        key: &AgentKey,
        signature: &AgentSignature,
        label: &str,
    ) -> Result<(), EngineError> {
        match self {
            Self::Here(vault) => vault.finish_key(ceremony, key, signature, label).map(drop),
            Self::There(remote) => {
                let body = json!({"ceremony": ceremony, "key": key, "signature": signature, "label": label});
                remote.act::<Value>("/api/v1/factors/key/finish", Some(&body), Patience::Brief).map(drop)
            }
        }
    }

    fn remove_key(&self, digest: &Digest) -> Result<(), EngineError> {
        match self {
            Self::Here(vault) => vault.remove_factor(&digest.to_string()).map(drop),
            Self::There(remote) => {
                let path = format!("/api/v1/factors/{}", segment(&digest.to_string()));
                remote.change::<Value>(Method::Delete, &path, None).map(drop)
            }
        }
    }
}
