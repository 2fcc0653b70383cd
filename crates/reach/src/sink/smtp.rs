//! Mail by SMTP: one conversation for each call, one mail for each alert, taken with the `250` after its last line.
//!
//! RFC 5321 with `STARTTLS` (RFC 3207) and `AUTH PLAIN` or `LOGIN` (RFC 4954). What a server says is bounded in length and
//! lines, only its codes and the names of its extensions decide anything, and what it said before TLS began is forgotten.

use std::{
    io::{Read as _, Write as _},
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringfence_schema::{Timestamp, finding::printable};
use zeroize::Zeroizing;

use super::{
    MailSettings, Parcel, Security, Sent, Sink,
    dial::{Dialler, Wire},
    encode::mail,
    settings::server,
};
use crate::{
    error::{DATA_STEP, ReachError},
    secret::Secret,
    url::Url,
};

/// Longest line of a reply in bytes: twice what RFC 5321, section 4.5.3.1.5 allows.
const LINE_BYTES_MAX: usize = 1_024;
/// Most lines of one reply.
const LINES_MAX: usize = 64;
/// Bytes read at a time.
const READ_BYTES: usize = 2_048;
/// What this client calls itself: an address literal, because its name is nobody's business (RFC 5321, section 4.1.4).
const CLIENT_NAME: &str = "[127.0.0.1]";

/// A mail server that takes mail from us.
pub(super) struct Mailer {
    dialler: Dialler,
    url: Url,
    settings: MailSettings,
    password: Option<Secret>,
}

impl Mailer {
    pub(super) fn open(dialler: Dialler, settings: &MailSettings) -> Result<Self, ReachError> {
        let url = server(&settings.server, settings.security.scheme())?;
        dialler.admit(&url)?;
        let password = settings.password.as_ref().map(|source| source.read("password")).transpose()?;
        Ok(Self { dialler, url, settings: settings.clone(), password })
    }

    /// A conversation up to the point where mail can be sent.
    fn begin(&self, deadline: Instant) -> Result<Conversation, ReachError> {
        let wire = match self.settings.security {
            Security::Tls => self.dialler.connect_tls(&self.url, deadline)?,
            Security::Starttls | Security::Insecure => self.dialler.connect(&self.url, deadline)?,
        };
        let mut talk = Conversation { wire, buffer: Vec::new() };
        talk.expect("its greeting", 220)?;
        let mut offers = talk.command("EHLO", &format!("EHLO {CLIENT_NAME}"), 250)?;
        if self.settings.security == Security::Starttls {
            if !offers.offers("STARTTLS") {
                return Err(ReachError::Tls { host: talk.wire.host(), reason: "the server does not offer it".into() });
            }
            talk.command("STARTTLS", "STARTTLS", 220)?;
            // What lies in the buffer was sent in the clear, by whoever is on the way.
            if !talk.buffer.is_empty() {
                return Err(talk.malformed("it goes on in the clear after STARTTLS"));
            }
            talk = Conversation { wire: self.dialler.secure(talk.wire)?, buffer: Vec::new() };
            offers = talk.command("EHLO", &format!("EHLO {CLIENT_NAME}"), 250)?;
        }
        if let (Some(user), Some(password)) = (&self.settings.user, &self.password) {
            log_in(&mut talk, &offers, user, password)?;
        }
        Ok(talk)
    }

    fn mail(&self, talk: &mut Conversation, parcel: &Parcel<'_>) -> Result<(), ReachError> {
        let MailSettings { from, to, .. } = &self.settings;
        talk.command("MAIL", &format!("MAIL FROM:<{from}>"), 250)?;
        let mut refused = None;
        let mut accepted = 0;
        for recipient in to {
            match talk.command("RCPT", &format!("RCPT TO:<{recipient}>"), 250) {
                Ok(_) => accepted += 1,
                // One who has left must not keep the mail from the others.
                Err(error @ ReachError::Refused { code: 500..=599, .. }) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = refused.filter(|_| accepted == 0) {
            talk.command("RSET", "RSET", 250)?;
            return Err(error);
        }
        talk.command("DATA", "DATA", 354)?;
        // No line of it begins with a dot: base64 has none, and headers begin with their names.
        let message = mail(parcel, from, to);
        talk.say(&message)?;
        talk.command(DATA_STEP, ".", 250).map(drop)
    }
}

fn log_in(talk: &mut Conversation, offers: &Reply, user: &str, password: &Secret) -> Result<(), ReachError> {
    if offers.mechanism("PLAIN") {
        let plain = Zeroizing::new(format!("\0{user}\0{}", password.expose()));
        let line = Zeroizing::new(format!("AUTH PLAIN {}", STANDARD.encode(plain.as_bytes())));
        return talk.secret_command(&line, 235);
    }
    if offers.mechanism("LOGIN") {
        talk.secret_command("AUTH LOGIN", 334)?;
        talk.secret_command(&STANDARD.encode(user), 334)?;
        return talk.secret_command(&Zeroizing::new(STANDARD.encode(password.expose())), 235);
    }
    Err(talk.malformed("it offers neither AUTH PLAIN nor AUTH LOGIN"))
}

impl Sink for Mailer {
    fn send(&mut self, parcels: &[Parcel<'_>], _: Timestamp, deadline: Instant) -> Sent {
        let mut talk = match self.begin(deadline) {
            Ok(talk) => talk,
            Err(error) => return Sent::stopped(0, error),
        };
        for (taken, parcel) in parcels.iter().enumerate() {
            if taken > 0 && Instant::now() >= deadline {
                return Sent { taken, failure: None };
            }
            if let Err(error) = self.mail(&mut talk, parcel) {
                return Sent::stopped(taken, error);
            }
        }
        // All was taken; whether the farewell arrives changes nothing.
        let _ = talk.say("QUIT\r\n");
        Sent { taken: parcels.len(), failure: None }
    }
}

/// A reply with its lines, without their codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The code, 200 to 599.
    pub code: u16,
    /// The text of each line, as it came.
    pub lines: Vec<String>,
}

impl Reply {
    /// Whether a line after the first names an extension (RFC 5321, section 4.1.1.1).
    fn offers(&self, extension: &str) -> bool {
        let mut named = self.lines.iter().skip(1).filter_map(|line| line.split_ascii_whitespace().next());
        named.any(|name| name.eq_ignore_ascii_case(extension))
    }

    fn mechanism(&self, mechanism: &str) -> bool {
        self.lines.iter().skip(1).any(|line| {
            let mut words = line.split_ascii_whitespace();
            words.next().is_some_and(|name| name.eq_ignore_ascii_case("AUTH"))
                && words.any(|word| word.eq_ignore_ascii_case(mechanism))
        })
    }
}

/// The reply at the beginning of `bytes` and how many of them it takes; `None` where it is not complete yet (RFC 5321, section
/// 4.2).
///
/// # Errors
/// What is wrong: no code, another code on a later line, a line that is too long, or too many of them.
pub fn read_reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, &'static str> {
    let mut reply: Option<Reply> = None;
    let mut rest = bytes;
    let mut used = 0;
    loop {
        let Some(end) = rest.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n') else {
            return if rest.len() >= LINE_BYTES_MAX { Err("a line of its reply is too long") } else { Ok(None) };
        };
        let (line, after) = rest.split_at(end + 1);
        (rest, used) = (after, used + line.len());
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches(['\r', '\n']);
        let (digits, text) = line.split_at_checked(3).ok_or("a line of its reply has no code")?;
        let code: u16 =
            digits.parse().ok().filter(|code| (200..600).contains(code)).ok_or("a line of its reply has no code")?;
        let last = match text.as_bytes().first() {
            None | Some(b' ') => true,
            Some(b'-') => false,
            Some(_) => return Err("a line of its reply has no code"),
        };
        let so_far = reply.get_or_insert(Reply { code, lines: Vec::new() });
        if so_far.code != code {
            return Err("its reply changes its code");
        }
        if so_far.lines.len() >= LINES_MAX {
            return Err("its reply has too many lines");
        }
        so_far.lines.push(text.get(1..).unwrap_or_default().to_owned());
        if last {
            return Ok(reply.map(|reply| (reply, used)));
        }
    }
}

struct Conversation {
    wire: Wire,
    /// What came and was not read as a reply yet.
    buffer: Vec<u8>,
}

impl Conversation {
    fn command(&mut self, step: &'static str, line: &str, wanted: u16) -> Result<Reply, ReachError> {
        self.say(&format!("{line}\r\n"))?;
        self.expect(step, wanted)
    }

    /// A line that nobody may see, and whose answer nobody repeats.
    fn secret_command(&mut self, line: &str, wanted: u16) -> Result<(), ReachError> {
        self.say(&Zeroizing::new(format!("{line}\r\n")))?;
        match self.expect("AUTH", wanted) {
            Err(ReachError::Refused { host, step, code, .. }) => {
                Err(ReachError::Refused { host, step, code, said: String::new() })
            }
            other => other.map(drop),
        }
    }

    fn say(&mut self, text: &str) -> Result<(), ReachError> {
        let said = self.wire.write_all(text.as_bytes()).and_then(|()| self.wire.flush());
        said.map_err(|error| self.wire.trouble(&error, "it did not read on"))
    }

    fn expect(&mut self, step: &'static str, wanted: u16) -> Result<Reply, ReachError> {
        let reply = self.reply()?;
        // 251 and 252 promise delivery as well (RFC 5321, section 4.2.3).
        if reply.code == wanted || (wanted == 250 && matches!(reply.code, 251 | 252)) {
            return Ok(reply);
        }
        let said = reply.lines.first().map(|line| printable(line, 120)).unwrap_or_default();
        Err(ReachError::Refused { host: self.wire.host(), step, code: reply.code, said })
    }

    fn reply(&mut self) -> Result<Reply, ReachError> {
        loop {
            if let Some((reply, used)) = read_reply(&self.buffer).map_err(|what| self.malformed(what))? {
                self.buffer.drain(..used);
                return Ok(reply);
            }
            let mut piece = [0; READ_BYTES];
            let count = self.wire.read(&mut piece).map_err(|error| self.wire.trouble(&error, "it did not answer"))?;
            let piece = piece.get(..count).unwrap_or_default();
            if piece.is_empty() {
                let reason = "it ended the conversation".to_owned();
                return Err(ReachError::Connection { host: self.wire.host(), reason });
            }
            self.buffer.extend_from_slice(piece);
        }
    }

    fn malformed(&self, what: &str) -> ReachError {
        ReachError::Malformed { host: self.wire.host(), what: what.to_owned() }
    }
}
