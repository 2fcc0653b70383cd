//! `request …`: what needs other people, here or on a server.
//!
//! What is signed is the SHA-256 of the bytes that are shown: the document comes as text, is hashed here, and is read from
//! that text alone, so a server that shows one thing and asks to sign another is found out.

use std::{
    fs::File,
    io::{self, BufRead as _, IsTerminal as _, Read as _},
    path::Path,
};

use ringfence_engine::{
    EngineError, ExitClass, Vault, Version,
    access::Action,
    carry,
    reach::server::{Patience, segment},
    schema::{Digest, Timestamp, finding::printable},
    team::{
        Asked, Fulfilled, PersonView, RequestDocument, RequestId, Wanted,
        agent::{AgentSignature, Namespace},
    },
    transfer::DownloadView,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    args::request::{ApproveArgs, RequestAction, WantedName},
    command::{agent, people::Desk, retire, vault},
    output::{Printer, Style, table},
};

/// Longest policy document in bytes, as the server takes it.
const DOCUMENT_BYTES_MAX: u64 = 192 << 10;
/// Longest text of a request that is shown, in characters.
const SAYS_CHARS_MAX: usize = 20_000;

/// A request, as both ways give it.
#[derive(Deserialize)]
struct Request {
    id: String,
    digest: Digest,
    document: RequestDocument,
    approvals: Vec<Approval>,
    standing: Value,
    expired: bool,
}

#[derive(Deserialize)]
struct Approval {
    person: String,
    at: Timestamp,
    counts: bool,
}

/// A request and the text that is signed.
struct Shown {
    /// As the answer has it, for programs.
    answer: Value,
    request: Request,
    canonical: String,
}

/// `request …`.
pub(crate) fn request(desk: &Desk<'_, '_>, printer: Printer, action: &RequestAction) -> Result<ExitClass, EngineError> {
    match action {
        RequestAction::Ls { open } => print_list(printer, &desk.requests()?, *open)?,
        RequestAction::Show { id, canonical } => {
            let shown = desk.shown(id)?;
            if *canonical {
                printer.raw(shown.canonical.as_bytes())?;
            } else {
                print_one(printer, &shown)?;
            }
        }
        RequestAction::Make { what, subject, reason } => {
            return ask(desk, printer, &wanted(*what, subject, reason.as_deref())?);
        }
        RequestAction::Approve(args) => print_after(printer, "approved", &approve(desk, printer, args)?)?,
        RequestAction::Refuse { id, reason } => print_after(printer, "refused", &desk.refuse(id, reason)?)?,
        RequestAction::Withdraw { id } => print_after(printer, "withdrawn", &desk.withdraw(id)?)?,
        RequestAction::CarryOut { id, out } => carry_out(desk, printer, id, out.as_deref())?,
        RequestAction::Proof { id } => printer.raw(&desk.proof(id)?)?,
    }
    Ok(ExitClass::Done)
}

/// Asks others for what is wanted, and says what came of it.
pub(crate) fn ask(desk: &Desk<'_, '_>, printer: Printer, wanted: &Wanted) -> Result<ExitClass, EngineError> {
    made(printer, &desk.make(wanted)?)
}

fn wanted(what: WantedName, subjects: &[String], why: Option<&str>) -> Result<Wanted, EngineError> {
    let reason = why.map(str::to_owned);
    let one = || match subjects {
        [subject] => Ok(subject),
        _ => Err(EngineError::Usage { what: "name one thing; `destroy` alone takes several".into() }),
    };
    Ok(match what {
        WantedName::Destroy => {
            let without = || EngineError::Usage { what: "say why it is to be destroyed: `--reason WHY`".into() };
            Wanted::Destroy { what: subjects.to_vec(), reason: reason.ok_or_else(without)? }
        }
        WantedName::Policy => {
            let subject = one()?;
            let mut text = String::new();
            let read = File::open(subject).and_then(|file| file.take(DOCUMENT_BYTES_MAX + 1).read_to_string(&mut text));
            read.map_err(EngineError::io(subject))?;
            if text.len() as u64 > DOCUMENT_BYTES_MAX {
                let what = format!("`{subject}` has more than {DOCUMENT_BYTES_MAX} bytes: nobody could read it");
                return Err(EngineError::Usage { what });
            }
            Wanted::Configure { text, reason }
        }
        WantedName::Restore => Wanted::Restore { what: one()?.to_owned(), reason },
        WantedName::Export => Wanted::Export { what: one()?.to_owned(), reason },
    })
}

/// Shows the request, signs it with a key in the agent, and hands the signature over.
fn approve(desk: &Desk<'_, '_>, printer: Printer, args: &ApproveArgs) -> Result<Value, EngineError> {
    let shown = desk.shown(&args.id)?;
    let Shown { request, .. } = &shown;
    if printer.for_people() {
        for line in told(request) {
            printer.say(line);
        }
    }
    if !args.yes {
        if !io::stdin().is_terminal() {
            return Err(EngineError::Usage {
                what: "nobody is here to be asked: `--yes` says that it was read".into(),
            });
        }
        printer.say("type `yes` to sign this:");
        let mut line = String::new();
        io::stdin().lock().take(64).read_line(&mut line).map_err(EngineError::io("terminal"))?;
        if line.trim() != "yes" {
            return Err(EngineError::NotPermitted { what: "nothing was signed".to_owned() });
        }
    }
    let enrolled = agent::enrolled(&desk.me()?);
    let mut held = agent::Socket::open()?;
    let key = held.choose(&enrolled, args.key.as_deref())?;
    printer.say(format!("signing with {} ({}); touch it if it blinks", key.key.fingerprint(), key.comment));
    let signature = held.sign(&key.key, Namespace::Approval, &request.digest)?;
    desk.approve(&request.id, &request.digest, &key.key.digest(), &signature)
}

fn carry_out(desk: &Desk<'_, '_>, printer: Printer, id: &str, out: Option<&Path>) -> Result<(), EngineError> {
    let shown = desk.shown(id)?;
    if shown.request.document.action == Action::Export {
        let out = out.ok_or_else(|| EngineError::Usage { what: "name the folder for it: `--out DIR`".into() })?;
        carry::free(out)?;
    }
    let done = desk.carry_out(&shown.request, out)?;
    if !printer.for_people() {
        return printer.document("ringfence.carried-out/1", &json!({"request": id, "done": done}));
    }
    let word = printer.strong("done", Style::Good);
    if let Some(version) = done.pointer("/policy/version") {
        return printer.line(format!("{word}  policy version {version} is in force"));
    }
    if let Some(bytes) = done.get("bytes") {
        let out = out.map_or_else(String::new, |out| out.display().to_string());
        return printer.line(format!("{word}  {bytes} bytes in {out}"));
    }
    if let Some(gone) = done.get("destroyed") {
        return retire::print_carried_out(printer, gone);
    }
    let version: Version = read(done.get("version"))?;
    printer.line(format!("{word}  {} is current", version.reference()))
}

impl Desk<'_, '_> {
    /// The vault that it is about.
    pub(crate) fn vault_id(&self) -> String {
        match self {
            Self::Here(vault) => vault.id().to_string(),
            Self::There(remote) => remote.vault().to_owned(),
        }
    }

    /// Whoever asks, with their factors.
    pub(crate) fn me(&self) -> Result<Value, EngineError> {
        match self {
            Self::Here(vault) => {
                let me: PersonView = vault.person(&vault.caller().person.id)?;
                Ok(json!({"person": me}))
            }
            Self::There(remote) => remote.read("/api/v1/me"),
        }
    }

    fn requests(&self) -> Result<Value, EngineError> {
        match self {
            Self::Here(vault) => Ok(json!({"requests": vault.requests()?})),
            Self::There(remote) => remote.read("/api/v1/requests"),
        }
    }

    /// The request with the text that is signed, which is what its digest says.
    fn shown(&self, id: &str) -> Result<Shown, EngineError> {
        let answer: Value = match self {
            Self::Here(vault) => {
                let request = vault.request(&RequestId::from(id))?;
                json!({"request": request, "canonical": request.document.canonical()?})
            }
            Self::There(remote) => remote.read(&path(id, ""))?,
        };
        let mut request: Request = read(answer.get("request"))?;
        let canonical: String = read(answer.get("canonical"))?;
        let differs = |what: &str| EngineError::tampered(format!("request {}", printable(id, 40)), what);
        if Digest::of(canonical.as_bytes()) != request.digest {
            return Err(differs("its text is not what its digest says"));
        }
        request.document = serde_json::from_str(&canonical).map_err(|error| differs(&error.to_string()))?;
        if request.document.vault != self.vault_id() {
            return Err(differs("it is another vault's"));
        }
        Ok(Shown { answer, request, canonical })
    }

    fn make(&self, wanted: &Wanted) -> Result<Value, EngineError> {
        match self {
            Self::Here(vault) => Ok(match vault.make_request(wanted)? {
                Asked::Done(done) => json!({"done": done}),
                Asked::Waiting(request) => json!({"request": request}),
            }),
            Self::There(remote) => remote.act("/api/v1/requests", Some(&json!(wanted)), Patience::Long),
        }
    }

    fn approve(
        &self,
        id: &str,
        digest: &Digest,
        key: &Digest,
        signature: &AgentSignature,
    ) -> Result<Value, EngineError> {
        match self {
            Self::Here(vault) => {
                let request = vault.approve_by_key(&RequestId::from(id), digest, key, signature)?;
                Ok(json!({"request": request}))
            }
            Self::There(remote) => {
                let body = json!({"digest": digest, "key": key, "signature": signature});
                remote.act(&path(id, "/approve"), Some(&body), Patience::Brief)
            }
        }
    }

    fn refuse(&self, id: &str, reason: &str) -> Result<Value, EngineError> {
        match self {
            Self::Here(vault) => Ok(json!({"request": vault.refuse_request(&RequestId::from(id), reason)?})),
            Self::There(remote) => remote.act(&path(id, "/refuse"), Some(&json!({"reason": reason})), Patience::Brief),
        }
    }

    fn withdraw(&self, id: &str) -> Result<Value, EngineError> {
        match self {
            Self::Here(vault) => Ok(json!({"request": vault.withdraw_request(&RequestId::from(id))?})),
            Self::There(remote) => remote.act(&path(id, "/withdraw"), None, Patience::Brief),
        }
    }

    fn proof(&self, id: &str) -> Result<Vec<u8>, EngineError> {
        match self {
            Self::Here(vault) => vault.approval_proof(&RequestId::from(id)),
            Self::There(remote) => remote.read_bytes(&path(id, "/proof")),
        }
    }

    fn carry_out(&self, request: &Request, out: Option<&Path>) -> Result<Value, EngineError> {
        match self {
            Self::Here(vault) => here(vault, request, out),
            Self::There(remote) => {
                let answer: Value = remote.act(&path(&request.id, "/carry-out"), None, Patience::Long)?;
                let done = answer.get("done").cloned().unwrap_or_default();
                match (done.get("download"), out) {
                    (Some(offered), Some(out)) => {
                        let download: DownloadView = read(Some(offered))?;
                        let bytes = remote.fetch(&download, out)?;
                        Ok(json!({"artifact": download.artifact, "tree": download.tree, "bytes": bytes}))
                    }
                    _ => Ok(done),
                }
            }
        }
    }
}

/// What is exported from a vault on this machine needs no transfer.
fn here(vault: &Vault<'_>, request: &Request, out: Option<&Path>) -> Result<Value, EngineError> {
    let id = RequestId::from(request.id.as_str());
    if let (Action::Export, Some(out)) = (request.document.action, out) {
        let version = vault.find(&vault::reference(&request.document.subject)?)?;
        let bytes = vault.with_approval(&id).get(&version, out)?;
        return Ok(json!({"artifact": version.reference().to_string(), "tree": version.tree, "bytes": bytes}));
    }
    let done: Fulfilled = vault.carry_out_request(&id)?;
    Ok(json!(done))
}

fn path(id: &str, rest: &str) -> String {
    format!("/api/v1/requests/{}{rest}", segment(id))
}

/// What came of asking: it waits, or needed nobody and was done.
fn made(printer: Printer, answer: &Value) -> Result<ExitClass, EngineError> {
    let Some(request) = answer.get("request") else {
        if printer.for_people() {
            printer.line("done  it needed nobody's approval")?;
        } else {
            printer.document("ringfence.carried-out/1", answer)?;
        }
        return Ok(ExitClass::Done);
    };
    if !printer.for_people() {
        printer.document("ringfence.requested/1", answer)?;
        return Ok(ExitClass::Done);
    }
    let request: Request = read(Some(request))?;
    printer.line(format!("{}  {}", printer.strong("asked", Style::Good), request.id))?;
    told(&request).iter().try_for_each(|line| printer.line(line))?;
    printer.say(format!(
        "once {} other people have approved: `ringfence request carry-out {}`",
        request.document.needed, request.id
    ));
    Ok(ExitClass::Done)
}

fn print_list(printer: Printer, answer: &Value, open: bool) -> Result<(), EngineError> {
    let all: Vec<Value> = read(answer.get("requests"))?;
    let mut requests = Vec::new();
    for value in all {
        let request: Request = read(Some(&value))?;
        if !open || request.is_open() {
            requests.push((value, request));
        }
    }
    if !printer.for_people() {
        let values: Vec<Value> = requests.into_iter().map(|(value, _)| value).collect();
        return printer.document("ringfence.requests/1", &json!({"requests": values}));
    }
    if requests.is_empty() {
        printer.say("nothing waits for other people");
        return Ok(());
    }
    let mut rows = vec![["request", "to", "by", "approvals", "stands", "until"].map(str::to_owned).to_vec()];
    rows.extend(requests.into_iter().map(|(_, request)| {
        let says = request.document.says.lines().next().unwrap_or_default();
        let approvals = format!("{} of {}", request.counted(), request.document.needed);
        let (stands, until) = (request.stands(), request.document.expires.to_string());
        vec![request.id, printable(says, 80), request.document.requester.to_string(), approvals, stands, until]
    }));
    printer.raw(table(&rows).as_bytes())
}

fn print_one(printer: Printer, shown: &Shown) -> Result<(), EngineError> {
    if !printer.for_people() {
        return printer.document("ringfence.requested/1", &shown.answer);
    }
    let Shown { request, .. } = shown;
    printer.line(format!("{}  {}", printer.strong(&request.id, Style::Good), request.stands()))?;
    told(request).iter().try_for_each(|line| printer.line(line))?;
    for Approval { person, at, counts } in &request.approvals {
        let counts = if *counts { "" } else { ", which does not count any more" };
        printer.line(format!("  approved   {person} at {at}{counts}"))?;
    }
    Ok(())
}

fn print_after(printer: Printer, word: &str, answer: &Value) -> Result<(), EngineError> {
    if !printer.for_people() {
        return printer.document("ringfence.requested/1", answer);
    }
    let request: Request = read(answer.get("request"))?;
    let (counted, needed) = (request.counted(), request.document.needed);
    let so_far = if request.is_open() { format!(", {counted} of {needed} approvals") } else { String::new() };
    printer.line(format!("{}  {}{so_far}", printer.strong(word, Style::Good), request.id))
}

/// What whoever approves has to know, line by line.
fn told(request: &Request) -> Vec<String> {
    let document = &request.document;
    let mut lines: Vec<String> =
        document.says.lines().map(|line| format!("  {}", printable(line, SAYS_CHARS_MAX))).collect();
    if let Some(reason) = &document.reason {
        lines.push(format!("  because    {}", printable(reason, SAYS_CHARS_MAX)));
    }
    lines.push(format!("  asked by   {} at {}, good until {}", document.requester, document.made, document.expires));
    lines.push(format!("  approvals  {} of {}", request.counted(), document.needed));
    lines.push(format!("  digest     {}", request.digest));
    lines
}

impl Request {
    fn counted(&self) -> usize {
        self.approvals.iter().filter(|approval| approval.counts).count()
    }

    fn is_open(&self) -> bool {
        self.standing == "waiting" && !self.expired
    }

    fn stands(&self) -> String {
        match &self.standing {
            Value::String(_) if self.expired => "expired".to_owned(),
            Value::String(_) if self.counted() as u64 >= u64::from(self.document.needed) => "approved".to_owned(),
            Value::String(word) => word.clone(),
            Value::Object(fields) => fields.keys().next().cloned().unwrap_or_default(),
            _ => String::new(),
        }
    }
}

pub(crate) fn read<T: DeserializeOwned>(value: Option<&Value>) -> Result<T, EngineError> {
    serde_json::from_value(value.cloned().unwrap_or_default())
        .map_err(|error| EngineError::incomplete("the server's answer", error))
}
