//! As much of a browser as a login page needs: cookies, redirects, and the submit button.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use ringfence_engine::oidc::Callback;

/// Most pages of one login.
const PAGES_MAX: usize = 16;

#[derive(Default)]
pub(crate) struct Browser {
    cookies: BTreeMap<String, String>,
}

struct Page {
    status: u16,
    location: Option<String>,
    body: String,
}

/// What the person does at the first page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Person<'a> {
    /// Logs in under this name, and agrees to everything.
    LogsIn(&'a str),
    /// Thinks better of it.
    Aborts,
}

impl Browser {
    /// Goes to `url` and does what the pages want, until the provider sends the browser to `redirect`.
    pub(crate) fn walk(&mut self, url: &str, redirect: &str, person: Person<'_>) -> Callback {
        let origin = url.split('/').take(3).collect::<Vec<_>>().join("/");
        let mut page = self.ask("GET", url, None);
        let mut at = url.to_owned();
        for _ in 0..PAGES_MAX {
            if let Some(location) = page.location {
                if let Some(query) = location.strip_prefix(redirect) {
                    return callback(query.strip_prefix('?').unwrap());
                }
                at = if location.starts_with('/') { format!("{origin}{location}") } else { location };
                page = self.ask("GET", &at, None);
                continue;
            }
            assert_eq!(page.status, 200, "{}", page.body);
            page = match person {
                Person::Aborts => self.ask("GET", &format!("{at}/abort"), None),
                Person::LogsIn(name) if page.body.contains("name=\"prompt\" value=\"login\"") => {
                    self.ask("POST", &at, Some(&format!("prompt=login&login={name}&password=any")))
                }
                Person::LogsIn(_) => self.ask("POST", &at, Some("prompt=consent")),
            };
        }
        panic!("the login does not end: {at}");
    }

    fn ask(&mut self, method: &str, url: &str, form: Option<&str>) -> Page {
        let rest = url.strip_prefix("http://").unwrap();
        let (host, target) = rest.split_once('/').unwrap();
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let form = form.unwrap_or_default();
        let request = format!(
            "{method} /{target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncookie: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            cookies.join("; "),
            form.len()
        );
        let mut stream = TcpStream::connect(host).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut page = Page { status: head[9..12].parse().unwrap(), location: None, body: body.to_owned() };
        for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(": ")) {
            match name.to_ascii_lowercase().as_str() {
                "location" => page.location = Some(value.to_owned()),
                "set-cookie" => {
                    let (name, value) = value.split(';').next().unwrap().split_once('=').unwrap();
                    self.cookies.insert(name.to_owned(), value.to_owned());
                }
                _ => {}
            }
        }
        page
    }
}

fn callback(query: &str) -> Callback {
    let mut callback = Callback::default();
    for (name, value) in query.split('&').filter_map(|field| field.split_once('=')) {
        let field = match name {
            "code" => &mut callback.code,
            "state" => &mut callback.state,
            "iss" => &mut callback.iss,
            "error" => &mut callback.error,
            _ => continue,
        };
        *field = Some(decoded(value));
    }
    callback
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| char::from(byte.unwrap()).to_digit(16).unwrap();
        out.push(match byte {
            b'%' => u8::try_from(digit(bytes.next()) * 16 + digit(bytes.next())).unwrap(),
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(out).unwrap()
}
