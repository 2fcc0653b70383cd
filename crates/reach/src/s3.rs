//! S3 and the servers that speak its interface: listing below a prefix, objects, signed requests.
//!
//! `ListObjectsV2` gives keys, sizes and entity tags, page by page; an object's own SHA-256, where it was stored with one,
//! comes with its content. The entity tag pins an object between listing and fetching.

mod sign;
mod xml;

use ringfence_schema::{Digest, finding::printable};

pub(crate) use self::sign::Signer;
pub(crate) use self::xml::{Page, parse_page};
use crate::{
    client::{Answer, Ask, Client, Credential},
    error::ReachError,
    header,
    listing::{FILES_MAX, Listing, Place, RemoteFile},
    settings::S3Settings,
    source::{S3Source, Source},
    url::{Url, escape, escape_path},
};

/// Largest page of a listing in bytes: 1,000 keys of 1 KiB, escaped.
const XML_BYTES_MAX: u64 = 8 << 20;
/// Most pages.
const PAGES_MAX: usize = 1_000;

/// S3 with the keys for it.
pub(crate) struct S3<'a> {
    pub(crate) client: &'a Client,
    pub(crate) settings: &'a S3Settings,
    pub(crate) signer: Option<&'a Signer>,
}

impl S3<'_> {
    /// All objects below the source's prefix.
    pub(crate) fn listing(&self, source: &S3Source) -> Result<Listing, ReachError> {
        let base = self.base(&source.bucket)?;
        let mut files = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = self.page(&base, source, token.as_deref())?;
            for object in page.objects {
                let Some(path) = path_of(&object.key, &source.prefix) else { continue };
                let url = base.with_target(&format!("{}{}", base.path(), escape_path(&object.key)))?;
                // What a URL cannot say as it stands is asked for under another name than the one that was listed.
                if url.path() != format!("{}{}", base.path(), escape_path(&object.key)) {
                    return Err(ReachError::Path {
                        path: printable(&object.key, 120),
                        fault: crate::listing::PathFault::Unsafe,
                    });
                }
                let etag = object.etag.as_deref().and_then(header::etag);
                let place = Place::S3(url);
                files.push(RemoteFile { path, size: Some(object.size), sha256: None, git_blob: None, etag, place });
                if files.len() > FILES_MAX {
                    return Err(ReachError::TooMany { what: "files", limit: FILES_MAX });
                }
            }
            token = page.next;
            if token.is_none() {
                return Listing::new(Source::S3(source.clone()), None, files);
            }
        }
        Err(ReachError::TooMany { what: "pages", limit: PAGES_MAX })
    }

    fn page(&self, base: &Url, source: &S3Source, token: Option<&str>) -> Result<Page, ReachError> {
        // In the order that signing wants them.
        let token = token.map(|token| format!("continuation-token={}&", escape(token))).unwrap_or_default();
        let prefix = escape(&source.prefix);
        let query = format!("{token}encoding-type=url&list-type=2&prefix={prefix}");
        let url = base.with_target(&format!("{}?{query}", base.path()))?;
        let ask = Ask { credential: Credential::S3(self.signer), ..Ask::whole(&url) };
        let bytes = self.client.open(&ask)?.read_all(XML_BYTES_MAX)?;
        parse_page(&bytes).map_err(|why| ReachError::malformed(&url, why))
    }

    /// Where the bucket is: its own host at AWS, a path elsewhere. Ends with `/`.
    fn base(&self, bucket: &str) -> Result<Url, ReachError> {
        let text = match &self.settings.endpoint {
            Some(endpoint) => format!("{}/{bucket}/", endpoint.trim_end_matches('/')),
            None => format!("https://{bucket}.s3.{}.amazonaws.com/", self.settings.region),
        };
        Ok(Url::parse(&text)?)
    }
}

/// The SHA-256 of the whole object, if it was stored with one.
pub(crate) fn sha256(answer: &Answer) -> Option<Digest> {
    use base64::Engine as _;
    let whole = header::text(&answer.headers, "x-amz-checksum-type").is_none_or(|kind| kind == "FULL_OBJECT");
    let value = header::text(&answer.headers, "x-amz-checksum-sha256").filter(|_| whole && answer.status == 200)?;
    let raw = base64::engine::general_purpose::STANDARD.decode(value).ok()?;
    raw.try_into().ok().map(Digest::from_bytes)
}

/// The path of `key` below `prefix`, which is a folder or the key itself; `None` for folder markers and neighbours that
/// merely begin alike.
fn path_of(key: &str, prefix: &str) -> Option<String> {
    if key.ends_with('/') {
        return None;
    }
    if key == prefix {
        return key.rsplit('/').next().map(str::to_owned);
    }
    let rest = key.strip_prefix(prefix)?;
    let inside = if prefix.is_empty() || prefix.ends_with('/') { rest } else { rest.strip_prefix('/')? };
    Some(inside.to_owned())
}
