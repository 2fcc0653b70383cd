//! One file by link: `https://`, and the archives that catalogues of models hand out.
//!
//! Asking for the first byte tells size and entity tag without taking the file, and whether ranges are served.

use crate::{
    client::{Ask, Client},
    error::ReachError,
    listing::{Listing, Place, RemoteFile, Revision},
    settings::CatalogueSettings,
    source::{ArchiveSource, Catalogue, Source, WebSource},
    url::{Url, unescape},
};

/// What a file is called whose link does not say.
const UNNAMED: &str = "download";
/// What a catalogue's archive is called.
const ARCHIVE: &str = "model.tar.gz";

/// The one file behind a link.
pub(crate) fn listing(client: &Client, source: &WebSource) -> Result<Listing, ReachError> {
    let last = source.url.path().rsplit('/').next().unwrap_or_default();
    let name = unescape(last).filter(|name| !name.is_empty()).unwrap_or_else(|| UNNAMED.to_owned());
    let file = RemoteFile { sha256: source.sha256, ..look(client, &source.url, name)? };
    Listing::new(Source::Web(source.clone()), source.sha256.map(Revision::Sha256), vec![file])
}

/// The archive of one version.
pub(crate) fn archive_listing(
    client: &Client,
    catalogues: &CatalogueSettings,
    source: &ArchiveSource,
) -> Result<Listing, ReachError> {
    let url = match source.catalogue {
        Catalogue::Kaggle => Url::parse(&format!(
            "{}/api/v1/models/{}/download",
            catalogues.kaggle.trim_end_matches('/'),
            source.handle
        ))?,
        Catalogue::TfHub => Url::parse(&format!(
            "{}/{}?tf-hub-format=compressed",
            catalogues.tfhub.trim_end_matches('/'),
            source.handle
        ))?,
    };
    let file = RemoteFile { sha256: source.sha256, ..look(client, &url, ARCHIVE.to_owned())? };
    let version = source.handle.rsplit('/').next().unwrap_or_default().to_owned();
    Listing::new(Source::Archive(source.clone()), Some(Revision::Version(version)), vec![file])
}

fn look(client: &Client, url: &Url, path: String) -> Result<RemoteFile, ReachError> {
    let answer = client.open(&Ask { range: Some((0, Some(0))), ..Ask::whole(url) })?;
    let size = if answer.status == 206 { answer.range().map(|range| range.total) } else { answer.length() };
    let etag = answer.etag();
    Ok(RemoteFile { path, size, sha256: None, git_blob: None, etag, place: Place::Web(url.clone()) })
}
