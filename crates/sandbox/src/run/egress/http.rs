//! Requests of HTTP/1 in the clear: each must be for the allowed name.
//!
//! [`Requests`] follows a connection's requests (RFC 9110 and 9112): heads are read whole and judged before a byte of them
//! goes on, bodies are counted off, so that the next head is found. Whatever two readers could understand differently is
//! refused: bare line feeds, folded lines, blanks before a colon, two lengths, a length beside chunks, other codings. So
//! are `CONNECT`, targets with a host of their own, and changes of protocol.
#![deny(clippy::indexing_slicing)]

/// The requests of one connection.
pub(super) struct Requests {
    name: String,
    port: u16,
    state: State,
    /// The beginning of a head or of a line that is not complete.
    held: Vec<u8>,
}

/// What comes next.
#[derive(Clone, Copy)]
enum State {
    /// A request line and fields.
    Head,
    /// So many bytes of a body.
    Body(u64),
    /// The length of a chunk.
    ChunkSize,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// Fields after the last chunk.
    Trailers,
}

impl Requests {
    /// For a connection to `name`, in lower case, at `port`.
    pub(super) fn new(name: &str, port: u16) -> Self {
        Self { name: name.to_owned(), port, state: State::Head, held: Vec::new() }
    }

    /// Whether `bytes` begin like a request: a method in capitals.
    pub(super) fn begin_like(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(u8::is_ascii_uppercase)
    }

    /// Takes what the client sent and adds to `pass` what may go on. The error says why the connection is refused.
    pub(super) fn feed(&mut self, mut bytes: &[u8], pass: &mut Vec<u8>) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Head => self.head(bytes, pass)?,
                State::Body(left) => {
                    let (left, rest) = count_off(left, bytes, pass);
                    self.state = if left == 0 { State::Head } else { State::Body(left) };
                    rest
                }
                State::Chunk(left) => {
                    let (left, rest) = count_off(left, bytes, pass);
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    rest
                }
                State::ChunkSize | State::ChunkEnd | State::Trailers => self.chunk_line(bytes, pass)?,
            };
        }
        Ok(())
    }

    fn head<'a>(&mut self, bytes: &'a [u8], pass: &mut Vec<u8>) -> Result<&'a [u8], &'static str> {
        // Only the last three bytes held before can be part of a line end that completes the head now.
        let seen = self.held.len();
        self.held.extend_from_slice(bytes);
        let from = seen.saturating_sub(HEAD_END.len() - 1);
        let window = self.held.get(from..).unwrap_or_default();
        let Some(end) = window.windows(HEAD_END.len()).position(|four| four == HEAD_END) else {
            return if self.held.len() > HEAD_BYTES_MAX { Err("an HTTP head that is too long") } else { Ok(&[]) };
        };
        let end = from + end + HEAD_END.len();
        let used = end.saturating_sub(seen);
        self.held.truncate(end);
        if end > HEAD_BYTES_MAX {
            return Err("an HTTP head that is too long");
        }
        self.state = self.judge(&self.held)?;
        pass.append(&mut self.held);
        Ok(bytes.get(used..).unwrap_or_default())
    }

    /// Judges a head; tells what follows it.
    fn judge(&self, head: &[u8]) -> Result<State, &'static str> {
        let head = std::str::from_utf8(head).map_err(|_| "an HTTP head that is not text")?;
        let mut lines = head.strip_suffix("\r\n\r\n").unwrap_or(head).split("\r\n");
        let minor = request_line(lines.next().unwrap_or_default())?;
        let (mut host, mut length, mut chunked) = (None, None, false);
        for line in lines {
            let (name, value) = field(line)?;
            match name.to_ascii_lowercase().as_str() {
                "host" if host.replace(value).is_some() => return Err("an HTTP request with two hosts"),
                "content-length" => {
                    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                    let value = digits.then(|| value.parse::<u64>().ok()).flatten();
                    if length.replace(value.ok_or("an HTTP length that is not a number")?).is_some() {
                        return Err("an HTTP request with two lengths");
                    }
                }
                "transfer-encoding" if chunked || !value.eq_ignore_ascii_case("chunked") || minor == 0 => {
                    return Err("an HTTP body in an unknown coding");
                }
                "transfer-encoding" => chunked = true,
                "upgrade" | "http2-settings" => return Err("an HTTP request for another protocol"),
                _ => {}
            }
        }
        if !self.is_for_us(host.ok_or("an HTTP request without a host")?) {
            return Err("an HTTP request for another host");
        }
        match (length, chunked) {
            (Some(_), true) => Err("an HTTP request with a length and chunks"),
            (None, true) => Ok(State::ChunkSize),
            (Some(length), false) if length > 0 => Ok(State::Body(length)),
            (_, false) => Ok(State::Head),
        }
    }

    fn is_for_us(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        match host.split_once(':') {
            Some((name, port)) => name == self.name && port == self.port.to_string(),
            None => host == self.name,
        }
    }

    /// The line before a chunk, or one after the last: held until it is whole.
    fn chunk_line<'a>(&mut self, bytes: &'a [u8], pass: &mut Vec<u8>) -> Result<&'a [u8], &'static str> {
        let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        let (line, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        self.held.extend_from_slice(line);
        if self.held.len() > LINE_BYTES_MAX {
            return Err("an HTTP line that is too long");
        }
        if !self.held.ends_with(b"\n") {
            return Ok(rest);
        }
        let line = self.held.strip_suffix(b"\r\n").ok_or("an HTTP line that ends in another way")?;
        if line.contains(&b'\r') {
            return Err("an HTTP line that ends in another way");
        }
        self.state = match self.state {
            // The empty line ends the request; fields here decide nothing for anybody.
            State::Trailers if line.is_empty() => State::Head,
            State::Trailers => State::Trailers,
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::ChunkEnd => return Err("an HTTP chunk that is longer than its size"),
            _ => {
                let digits = std::str::from_utf8(line)
                    .ok()
                    .filter(|text| (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
                let size = digits.and_then(|text| u64::from_str_radix(text, 16).ok());
                match size.ok_or("an HTTP chunk without a plain size")? {
                    0 => State::Trailers,
                    size => State::Chunk(size),
                }
            }
        };
        pass.append(&mut self.held);
        Ok(rest)
    }
}

fn count_off<'a>(left: u64, bytes: &'a [u8], pass: &mut Vec<u8>) -> (u64, &'a [u8]) {
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    let (taken, rest) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
    pass.extend_from_slice(taken);
    (left.saturating_sub(taken.len() as u64), rest)
}

/// The minor version of HTTP/1 that a request line speaks.
fn request_line(line: &str) -> Result<u8, &'static str> {
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("not an HTTP request");
    };
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
        return Err("not an HTTP request");
    }
    let minor = match version {
        "HTTP/1.1" => 1,
        "HTTP/1.0" => 0,
        "HTTP/2.0" => return Err("HTTP/2 in the clear"),
        _ => return Err("not an HTTP request"),
    };
    if method == "CONNECT" {
        return Err("an HTTP request to connect elsewhere");
    }
    let plain = target.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain || !(target.starts_with('/') || target == "*") {
        return Err("an HTTP target with a host of its own");
    }
    Ok(minor)
}

fn field(line: &str) -> Result<(&str, &str), &'static str> {
    let (name, value) = line.split_once(':').ok_or("an HTTP field without a colon")?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err("an HTTP field whose name is not plain");
    }
    if value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
        return Err("an HTTP field with control characters");
    }
    Ok((name, value.trim_matches([' ', '\t'])))
}

const HEAD_END: &[u8] = b"\r\n\r\n";
/// Longest head of a request in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;
/// Longest line between chunks in bytes.
const LINE_BYTES_MAX: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What goes on of `bytes`, fed in pieces of `size`, and the refusal if there is one.
    fn fed(bytes: &[u8], size: usize) -> (Vec<u8>, Option<&'static str>) {
        let mut requests = Requests::new("hub.example.org", 8080);
        let mut pass = Vec::new();
        let refusal = bytes.chunks(size).find_map(|piece| requests.feed(piece, &mut pass).err());
        (pass, refusal)
    }

    #[test]
    fn requests_for_the_name_go_on_unchanged() {
        let bytes = b"GET / HTTP/1.1\r\nHost: hub.example.org\r\n\r\n\
            POST /a HTTP/1.1\r\nhost: HUB.example.org:8080\r\ncontent-length: 5\r\n\r\nGET /\
            PUT /b?c HTTP/1.1\r\nHost:hub.example.org\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\nx: y\r\n\r\n\
            OPTIONS * HTTP/1.0\r\nHost: hub.example.org\r\n\r\n";
        for size in [1, 2, 3, 17, bytes.len()] {
            assert_eq!(fed(bytes, size), (bytes.to_vec(), None), "pieces of {size}");
        }
    }

    #[test]
    fn every_other_request_is_refused() {
        let host = "Host: hub.example.org\r\n";
        let table = [
            ("GET / HTTP/1.1\r\nHost: evil.org\r\n\r\n".to_owned(), "another host"),
            ("GET / HTTP/1.1\r\nHost: hub.example.org:80\r\n\r\n".into(), "another host"),
            ("GET / HTTP/1.1\r\nHost: hub.example.org.\r\n\r\n".into(), "another host"),
            ("GET / HTTP/1.1\r\n\r\n".into(), "without a host"),
            (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), "two hosts"),
            (format!("GET / HTTP/1.1\r\n{host}Host: evil.org\r\n\r\n"), "two hosts"),
            (format!("GET / HTTP/1.1\r\n{host}X: y\r\n Host: evil.org\r\n\r\n"), "not plain"),
            (format!("GET / HTTP/1.1\r\n{host}X : y\r\n\r\n"), "not plain"),
            (format!("GET / HTTP/1.1\r\n{host}X: y\nHost: evil.org\r\n\r\n"), "control"),
            (format!("GET / HTTP/1.1\r\n{host}X: y\rHost: evil.org\r\n\r\n"), "control"),
            (format!("GET http://evil.org/ HTTP/1.1\r\n{host}\r\n"), "host of its own"),
            (format!("GET //evil.org\t HTTP/1.1\r\n{host}\r\n"), "host of its own"),
            (format!("CONNECT evil.org:443 HTTP/1.1\r\n{host}\r\n"), "connect elsewhere"),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), "HTTP/2"),
            ("GET /\r\n\r\n".into(), "not an HTTP request"),
            ("EHLO evil.org\r\n\r\n".into(), "not an HTTP request"),
            (format!("GET /  HTTP/1.1\r\n{host}\r\n"), "not an HTTP request"),
            (format!("\r\nGET / HTTP/1.1\r\n{host}\r\n"), "not an HTTP request"),
            (format!("GET / HTTP/1.1\r\n{host}Upgrade: h2c\r\n\r\n"), "another protocol"),
            (format!("GET / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), "two lengths"),
            (format!("GET / HTTP/1.1\r\n{host}Content-Length: +1\r\n\r\n"), "not a number"),
            (format!("GET / HTTP/1.1\r\n{host}Content-Length: 1, 1\r\n\r\n"), "not a number"),
            (format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n"), "unknown coding"),
            (format!("GET / HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n"), "unknown coding"),
            (format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"), "and chunks"),
            (format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n"), "plain size"),
            (format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n-3\r\n"), "plain size"),
            (format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n"), "longer than"),
            (format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n"), "another way"),
            (format!("GET / HTTP/1.1\r\n{host}\r\nGET / HTTP/1.1\r\nHost: evil.org\r\n\r\n"), "another host"),
            (format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "y".repeat(HEAD_BYTES_MAX)), "too long"),
        ];
        for (bytes, wanted) in table {
            for size in [1_000_000, 7] {
                let (pass, refusal) = fed(bytes.as_bytes(), size);
                assert!(refusal.is_some_and(|refusal| refusal.contains(wanted)), "{bytes:.200}: {refusal:?}");
                assert!(!String::from_utf8_lossy(&pass).contains("evil.org"), "{bytes:.200}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_pass_unchanged_or_not_at_all(bytes in prop::collection::vec(any::<u8>(), 0..400), size in 1_usize..50) {
            let start = b"POST / HTTP/1.1\r\nHost: hub.example.org\r\nTransfer-Encoding: chunked\r\n\r\n";
            for all in [bytes.clone(), [&start[..], &bytes].concat()] {
                let (pass, _) = fed(&all, size);
                prop_assert!(all.starts_with(&pass));
                // How the bytes were cut changes nothing.
                prop_assert_eq!(fed(&all, size).1, fed(&all, 1).1);
            }
        }
    }
}
