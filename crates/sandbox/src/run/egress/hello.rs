//! The first message of a TLS connection: whom it is for.
//!
//! [`client`] reads records and the ClientHello in them (RFC 8446, sections 4.1.2 and 5.1; RFC 5246, section 7.4.1.2; RFC
//! 6066, section 3), also where it is spread over several records. What hides the name is refused: no server name, two of
//! them, or an encrypted ClientHello (RFC 9849), whose outer name need not be the true one. [`wants_another`] tells a
//! HelloRetryRequest, after which the client says hello, and a name, once more.
#![deny(clippy::indexing_slicing)]

/// A whole ClientHello.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// The server name in lower case.
    pub(super) name: String,
    /// Bytes up to the end of its last record.
    pub(super) bytes: usize,
}

/// Looks for a ClientHello at the start of `bytes`; `None` if there is not enough yet. The error says why it is refused.
pub(super) fn client(bytes: &[u8]) -> Result<Option<Hello>, &'static str> {
    let mut message = Vec::new();
    let mut at = 0;
    // A ChangeCipherSpec may stand before the second ClientHello (RFC 8446, appendix D.4).
    if bytes.starts_with(&[CHANGE_CIPHER_SPEC]) {
        let Some(head) = bytes.get(..CHANGE_CIPHER_SPEC_RECORD.len()) else { return Ok(None) };
        match head {
            [CHANGE_CIPHER_SPEC, 3, _, 0, 1, 1] => at = head.len(),
            _ => return Err("not a TLS client hello"),
        }
    }
    loop {
        let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return Ok(None) };
        let Some((head, rest)) = rest.split_first_chunk::<RECORD_HEADER_BYTES>() else {
            return if rest.first() == Some(&HANDSHAKE) { Ok(None) } else { Err("not a TLS client hello") };
        };
        let [HANDSHAKE, 3, _, high, low] = *head else { return Err("not a TLS client hello") };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > RECORD_BYTES_MAX {
            return Err("a TLS record of impossible length");
        }
        // A part of a record says enough to refuse a hello that is too long before it has come.
        let piece = rest.get(..length).unwrap_or(rest);
        message.extend_from_slice(piece);
        let wanted = match message.split_first_chunk::<4>() {
            Some(([CLIENT_HELLO, a, b, c], _)) => 4 + usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap_or(0),
            Some(_) => return Err("not a TLS client hello"),
            None => usize::MAX,
        };
        if wanted != usize::MAX && wanted > HELLO_BYTES_MAX {
            return Err("a TLS client hello that is too long");
        }
        if piece.len() < length {
            return Ok(None);
        }
        at += RECORD_HEADER_BYTES + length;
        match message.len() {
            have if have < wanted => {}
            have if have > wanted => return Err("more than a TLS client hello"),
            _ => {
                let name = server_name(message.get(4..).unwrap_or_default())?;
                return Ok(Some(Hello { name, bytes: at }));
            }
        }
    }
}

/// The one server name in the body of a ClientHello.
fn server_name(body: &[u8]) -> Result<String, &'static str> {
    let mut body = Reader(body);
    let broken = "a TLS client hello that cannot be read";
    body.take(2 + 32).ok_or(broken)?;
    let _session = body.vector8().ok_or(broken)?;
    let _suites = body.vector16().ok_or(broken)?;
    let _compression = body.vector8().ok_or(broken)?;
    if body.0.is_empty() {
        return Err("a TLS client hello without a server name");
    }
    let mut extensions = Reader(body.vector16().ok_or(broken)?);
    if !body.0.is_empty() {
        return Err(broken);
    }
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number().ok_or(broken)?;
        let value = extensions.vector16().ok_or(broken)?;
        match kind {
            SERVER_NAME if found.is_some() => return Err("a TLS client hello with two server names"),
            SERVER_NAME => found = Some(host_name(value)?),
            ENCRYPTED_HELLO_DRAFT..=ENCRYPTED_HELLO | ENCRYPTED_NAME_DRAFT => {
                return Err("an encrypted TLS client hello, which hides the server's name");
            }
            _ => {}
        }
    }
    found.ok_or("a TLS client hello without a server name")
}

fn host_name(value: &[u8]) -> Result<String, &'static str> {
    let broken = "a TLS client hello that cannot be read";
    let mut value = Reader(value);
    let mut list = Reader(value.vector16().ok_or(broken)?);
    let kind = list.take(1).ok_or(broken)?;
    let name = list.vector16().ok_or(broken)?;
    if kind != [HOST_NAME] || !list.0.is_empty() || !value.0.is_empty() {
        return Err("a TLS client hello with two server names");
    }
    let name = std::str::from_utf8(name).ok().filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()));
    name.map(str::to_ascii_lowercase).ok_or(broken)
}

/// What a server's first bytes ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is not enough yet.
    Unknown,
    /// To go on.
    Proceed,
    /// Another ClientHello.
    Again,
    /// A ServerHello in pieces, which could hide what it asks for.
    Fragmented,
}

/// Tells a HelloRetryRequest from other answers to a ClientHello (RFC 8446, section 4.1.3).
pub(super) fn wants_another(bytes: &[u8]) -> Answer {
    match bytes.first() {
        None => return Answer::Unknown,
        Some(&HANDSHAKE) => {}
        Some(_) => return Answer::Proceed,
    }
    let Some((head, body)) = bytes.split_first_chunk::<RECORD_HEADER_BYTES>() else { return Answer::Unknown };
    let [.., high, low] = *head;
    if usize::from(u16::from_be_bytes([high, low])) < SERVER_HELLO_START_BYTES {
        return Answer::Fragmented;
    }
    match body.get(..SERVER_HELLO_START_BYTES) {
        None => Answer::Unknown,
        Some([2, _, _, _, _, _, random @ ..]) if random == HELLO_RETRY_RANDOM => Answer::Again,
        Some(_) => Answer::Proceed,
    }
}

/// Reads what TLS calls vectors.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = *self.take(1)?.first()?;
        self.take(length.into())
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }
}

/// Content type of handshake records, the first byte of every TLS connection.
pub(super) const HANDSHAKE: u8 = 22;
const CHANGE_CIPHER_SPEC: u8 = 20;
const CHANGE_CIPHER_SPEC_RECORD: [u8; 6] = [CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1];
const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER_BYTES: usize = 5;
/// Largest record without encryption (RFC 8446, section 5.1).
const RECORD_BYTES_MAX: usize = 1 << 14;
/// Longest ClientHello in bytes; with the keys of post-quantum exchanges they have a few thousand.
const HELLO_BYTES_MAX: usize = 16 << 10;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
/// `encrypted_client_hello` (RFC 9849).
const ENCRYPTED_HELLO: u16 = 0xfe0d;
/// The first of the numbers that its drafts had.
const ENCRYPTED_HELLO_DRAFT: u16 = 0xfe08;
/// `encrypted_server_name` of older drafts.
const ENCRYPTED_NAME_DRAFT: u16 = 0xffce;
/// Bytes of a ServerHello up to the end of its random: type, length, version, random.
const SERVER_HELLO_START_BYTES: usize = 38;
/// The random that makes a ServerHello a HelloRetryRequest: SHA-256 of that word.
const HELLO_RETRY_RANDOM: &[u8] = &[
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "what these tests build is short")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
    }

    fn named(name: &str) -> Vec<u8> {
        let entry = [&[0][..], &(name.len() as u16).to_be_bytes(), name.as_bytes()].concat();
        extension(0, &[&(entry.len() as u16).to_be_bytes()[..], &entry].concat())
    }

    fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
        let extensions = extensions.concat();
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        let length = (body.len() as u32).to_be_bytes();
        [&[1][..], &length[1..], &body].concat()
    }

    /// `message` in records of `size` bytes.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let record = |piece: &[u8]| [&[22, 3, 1][..], &(piece.len() as u16).to_be_bytes(), piece].concat();
        message.chunks(size).flat_map(record).collect()
    }

    #[test]
    fn a_name_is_found_however_the_hello_is_cut() {
        let message = message(&[extension(10, &[0; 4]), named("Hub.Example.org"), extension(43, &[2, 3, 4])]);
        for size in [1, 2, 7, message.len()] {
            let mut bytes = records(&message, size);
            let whole = bytes.len();
            for end in 0..whole {
                assert_eq!(client(&bytes[..end]), Ok(None), "cut at {end} of {whole}");
            }
            bytes.extend([23, 3, 3, 0, 9]);
            assert_eq!(client(&bytes), Ok(Some(Hello { name: "hub.example.org".into(), bytes: whole })));
        }
        let again = [&CHANGE_CIPHER_SPEC_RECORD[..], &records(&message, 50)].concat();
        assert_eq!(client(&again).unwrap().unwrap().name, "hub.example.org");
    }

    #[test]
    fn what_hides_a_name_is_refused() {
        let refused = |extensions: &[Vec<u8>]| client(&records(&message(extensions), 1_000)).unwrap_err();
        assert!(refused(&[]).contains("without a server name"));
        assert!(refused(&[named("a.org"), named("b.org")]).contains("two server names"));
        assert!(refused(&[named("a.org"), extension(0xfe0d, &[0; 8])]).contains("encrypted"));
        assert!(refused(&[extension(0, &[0, 9, 0, 0, 3, b'a'])]).contains("cannot be read"));
        let entries = [&[0, 0, 1][..], b"a", &[0, 0, 1], b"b"].concat();
        let two = [&(entries.len() as u16).to_be_bytes()[..], &entries].concat();
        assert!(refused(&[extension(0, &two)]).contains("two server names"));
        assert!(refused(&[named("a\0.org")]).contains("cannot be read"));
        let mut trailing = message(&[named("a.org")]);
        trailing.push(0);
        assert!(client(&records(&trailing, 1_000)).unwrap_err().contains("more than"));
        assert!(client(&[22, 3, 1, 0x40, 1]).is_err() && client(&[22, 3, 1, 0, 0]).is_err());
        assert!(client(&[22, 3, 1, 0, 4, 1, 0xff, 0, 0]).unwrap_err().contains("too long"));
        for start in [&b"GET / HTTP/1.1"[..], &[0x80, 46, 1], &[22, 2, 0, 0, 1], &[23]] {
            assert!(client(start).is_err(), "{start:?}");
        }
    }

    #[test]
    fn a_retry_is_told_from_other_answers() {
        let hello = |random: &[u8]| {
            let body = [&[2, 0, 0, 70, 3, 3][..], random, &[0; 40]].concat();
            [&[22, 3, 3][..], &(body.len() as u16).to_be_bytes(), &body].concat()
        };
        let retry = hello(HELLO_RETRY_RANDOM);
        assert_eq!(wants_another(&retry), Answer::Again);
        assert_eq!(wants_another(&retry[..42]), Answer::Unknown);
        assert_eq!(wants_another(&hello(&[7; 32])), Answer::Proceed);
        assert_eq!(wants_another(&[21, 3, 3, 0, 2, 2, 40]), Answer::Proceed);
        assert_eq!(wants_another(&[22, 3, 3, 0, 4, 2]), Answer::Fragmented);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..600), size in 1_usize..40) {
            let _ = client(&bytes);
            let _ = wants_another(&bytes);
            let _ = client(&records(&message(std::slice::from_ref(&bytes)), size));
            let _ = client(&records(&[&[1, 0, 0, 99][..], &bytes].concat(), size));
        }

        /// More bytes never make another name of a hello that was whole.
        #[test]
        fn a_whole_hello_stays_what_it_is(name in "[a-z0-9.-]{1,80}", more in prop::collection::vec(any::<u8>(), 0..50)) {
            let mut bytes = records(&message(&[named(&name)]), 60);
            let before = client(&bytes).unwrap().unwrap();
            prop_assert_eq!(&before.name, &name);
            bytes.extend(more);
            prop_assert_eq!(client(&bytes).unwrap().unwrap(), before);
        }
    }
}
