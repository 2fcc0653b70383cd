//! Extension headers: pax records (POSIX.1-2001, `pax Extended Header`) and GNU's long names.

/// What extension headers say of the member behind them. Global headers are taken for the next member only: they state
/// nothing that matters here in any archive that is not made to confuse.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    pub(super) name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) sparse: bool,
}

impl Overrides {
    /// Takes over the content of an extension header; `false` where it cannot be read.
    pub(super) fn add(&mut self, kind: u8, bytes: &[u8]) -> bool {
        let until_nul = || bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        match kind {
            b'L' => self.name = Some(until_nul()),
            b'K' => self.link = Some(until_nul()),
            _ => return self.records(bytes),
        }
        true
    }

    /// `LENGTH KEY=VALUE\n`, where the length counts itself.
    fn records(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if bytes.iter().all(|byte| *byte == 0) {
                return true;
            }
            let Some((record, rest)) = split(bytes) else { return false };
            let Some(at) = memchr::memchr(b'=', record) else { return false };
            let (key, value) = record.split_at(at);
            let value = value.get(1..).unwrap_or_default();
            match key {
                b"path" | b"GNU.sparse.name" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => match std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok()) {
                    Some(size) => self.size = Some(size),
                    None => return false,
                },
                _ => {}
            }
            self.sparse |= key.starts_with(b"GNU.sparse.");
            bytes = rest;
        }
        true
    }
}

/// The first record without its length and line break, and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr::memchr(b' ', bytes.get(..bytes.len().min(20))?)?;
    let length: usize = std::str::from_utf8(bytes.get(..space)?).ok()?.parse().ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    Some((record, bytes.get(length..)?))
}
