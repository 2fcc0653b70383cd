//! Looks at what a job sends before any of it goes on: it must say, in the clear, that it is for the allowed name.
//!
//! The bytes decide, not the port: a TLS ClientHello must carry the name, a request of HTTP/1 too, and anything else is
//! refused. What comes after a ClientHello waits until the server has answered, because a server may ask for another one,
//! and that must carry the name as well.
#![deny(clippy::indexing_slicing)]

use super::{
    hello::{self, Answer, HANDSHAKE},
    http::Requests,
};

/// The state of one connection.
pub(super) struct Inspector {
    name: String,
    port: u16,
    stage: Stage,
    /// What came from the job and does not go on yet.
    held: Vec<u8>,
    /// The server's first bytes.
    heard: Vec<u8>,
}

enum Stage {
    /// Nothing has come.
    Start,
    /// A ClientHello is on its way.
    Hello,
    /// The server has the hello and has not answered.
    Asked,
    /// The server asked for another ClientHello.
    Again,
    /// HTTP, request after request.
    Http(Requests),
    /// Everything goes on.
    Free,
}

impl Inspector {
    /// For a connection to `name`, in lower case, at `port`.
    pub(super) fn new(name: &str, port: u16) -> Self {
        Self { name: name.to_owned(), port, stage: Stage::Start, held: Vec::new(), heard: Vec::new() }
    }

    /// Lets everything pass.
    pub(super) fn opaque() -> Self {
        Self { stage: Stage::Free, ..Self::new("", 0) }
    }

    /// Whether more bytes of the job are of use now.
    pub(super) fn wants_more(&self) -> bool {
        !matches!(self.stage, Stage::Asked)
    }

    /// Takes what the job sent and adds to `pass` what may go on. The error says why the connection is refused.
    pub(super) fn hear_job(&mut self, bytes: &[u8], pass: &mut Vec<u8>) -> Result<(), &'static str> {
        if matches!(self.stage, Stage::Start) {
            self.stage = match bytes.first() {
                None => return Ok(()),
                Some(&HANDSHAKE) => Stage::Hello,
                Some(_) if Requests::begin_like(bytes) => Stage::Http(Requests::new(&self.name, self.port)),
                Some(_) => return Err("neither TLS nor HTTP"),
            };
        }
        match &mut self.stage {
            Stage::Free => pass.extend_from_slice(bytes),
            Stage::Http(requests) => requests.feed(bytes, pass)?,
            Stage::Start | Stage::Hello | Stage::Asked | Stage::Again => {
                self.held.extend_from_slice(bytes);
                self.look_at_held(pass)?;
            }
        }
        Ok(())
    }

    /// Takes what the server sent; what was held may go on then.
    pub(super) fn hear_server(&mut self, bytes: &[u8], pass: &mut Vec<u8>) -> Result<(), &'static str> {
        if !matches!(self.stage, Stage::Asked) {
            return Ok(());
        }
        let room = HEARD_BYTES_MAX.saturating_sub(self.heard.len()).min(bytes.len());
        self.heard.extend_from_slice(bytes.get(..room).unwrap_or_default());
        match hello::wants_another(&self.heard) {
            Answer::Unknown => Ok(()),
            Answer::Proceed => {
                self.stage = Stage::Free;
                pass.append(&mut self.held);
                Ok(())
            }
            Answer::Again => {
                self.stage = Stage::Again;
                self.look_at_held(pass)
            }
            Answer::Fragmented => Err("a TLS answer in pieces"),
        }
    }

    fn look_at_held(&mut self, pass: &mut Vec<u8>) -> Result<(), &'static str> {
        let again = match self.stage {
            Stage::Hello => false,
            Stage::Again => true,
            _ => return Ok(()),
        };
        while again && self.held.first() == Some(&APPLICATION_DATA) {
            // Early data that the server has not accepted.
            let Some([_, _, _, high, low]) = self.held.first_chunk::<5>() else { return Ok(()) };
            let length = 5 + usize::from(u16::from_be_bytes([*high, *low]));
            if self.held.len() < length {
                return Ok(());
            }
            pass.extend(self.held.drain(..length));
        }
        let Some(hello) = hello::client(&self.held)? else { return Ok(()) };
        if hello.name != self.name {
            return Err("a TLS client hello for another name");
        }
        pass.extend(self.held.drain(..hello.bytes));
        if again {
            self.stage = Stage::Free;
            pass.append(&mut self.held);
        } else {
            self.stage = Stage::Asked;
        }
        Ok(())
    }
}

/// Content type of encrypted records.
const APPLICATION_DATA: u8 = 23;
/// Bytes of a server's answer that are looked at.
const HEARD_BYTES_MAX: usize = 64;

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "what these tests build is short")]
mod tests {
    use super::*;

    fn hello(name: &str) -> Vec<u8> {
        let entry = [&[0, 0, name.len() as u8 + 3, 0, 0, name.len() as u8][..], name.as_bytes()].concat();
        let extension = [&[0, 0, 0, entry.len() as u8 - 1][..], &entry[1..]].concat();
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0, 0, extension.len() as u8]);
        body.extend(extension);
        let message = [&[1, 0, 0, body.len() as u8][..], &body].concat();
        [&[22, 3, 1, 0, message.len() as u8][..], &message].concat()
    }

    fn retry() -> Vec<u8> {
        let mut bytes = vec![22, 3, 3, 0, 80, 2, 0, 0, 76, 3, 3];
        bytes.extend([
            0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2,
            0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
        ]);
        bytes.resize(85, 0);
        bytes
    }

    #[test]
    fn a_second_hello_must_carry_the_name_too() {
        let early = [23, 3, 3, 0, 2, 9, 9];
        for (second, fine) in [("hub.org", true), ("evil.org", false)] {
            let mut inspector = Inspector::new("hub.org", 443);
            let mut pass = Vec::new();
            inspector.hear_job(&[&hello("hub.org")[..], &early].concat(), &mut pass).unwrap();
            assert_eq!(pass, hello("hub.org"), "early data waits");
            assert!(!inspector.wants_more());
            inspector.hear_server(&retry()[..20], &mut pass).unwrap();
            inspector.hear_server(&retry()[20..], &mut pass).unwrap();
            assert!(inspector.wants_more());
            let rest = [&[20, 3, 3, 0, 1, 1][..], &hello(second)].concat();
            let outcome = rest.iter().try_for_each(|byte| inspector.hear_job(&[*byte], &mut pass));
            assert_eq!(outcome.is_ok(), fine, "{outcome:?}");
            let wanted = if fine { [&hello("hub.org")[..], &early, &rest].concat() } else { pass.clone() };
            assert_eq!(pass, wanted);
            assert!(!pass.windows(8).any(|part| part == b"evil.org"));
        }
    }

    #[test]
    fn the_bytes_decide() {
        let outcome = |bytes: &[u8]| Inspector::new("hub.org", 22).hear_job(bytes, &mut Vec::new());
        assert_eq!(outcome(&hello("evil.org")), Err("a TLS client hello for another name"));
        assert_eq!(outcome(b"SSH-2.0-x\r\n"), Ok(()), "not a whole request yet");
        assert_eq!(outcome(b"SSH-2.0-x\r\n\r\n"), Err("not an HTTP request"));
        assert_eq!(outcome(b"\x00\x01"), Err("neither TLS nor HTTP"));
        assert_eq!(outcome(b"\x80\x2e\x01\x00\x02"), Err("neither TLS nor HTTP"));
        let mut pass = Vec::new();
        Inspector::opaque().hear_job(b"\x00\x01", &mut pass).unwrap();
        assert_eq!(pass, b"\x00\x01");
    }
}
