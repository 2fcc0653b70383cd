//! The answer of `ListObjectsV2`: the few elements of it that matter, out of XML without document types or entities of its
//! own.

use crate::header;

/// Most objects on one page (AWS gives at most 1,000).
const OBJECTS_MAX: usize = 10_000;
/// Deepest nesting.
const DEPTH_MAX: usize = 16;

/// One page of a bucket's listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Object>,
    /// What to ask the next page with.
    pub(crate) next: Option<String>,
}

/// One object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) etag: Option<String>,
}

/// Reads one page.
pub(crate) fn parse_page(bytes: &[u8]) -> Result<Page, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "its list of objects is not UTF-8")?;
    let mut page = Page::default();
    let mut path: Vec<&str> = Vec::new();
    let mut object: Option<(Option<String>, Option<u64>, Option<String>)> = None;
    let (mut truncated, mut next, mut encoded, mut rooted) = (false, None, false, false);
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let content = rest.get(..at).unwrap_or_default();
        rest = rest.get(at + 1..).unwrap_or_default();
        let (tag, after) = rest.split_once('>').ok_or("its list of objects ends inside a tag")?;
        rest = after;
        if tag.starts_with('?') {
            continue;
        }
        if tag.starts_with('!') {
            return Err("its list of objects holds a document type or comment");
        }
        if let Some(name) = tag.strip_suffix('/') {
            if path.is_empty() && local_name(name) == "ListBucketResult" {
                rooted = true;
            }
            continue;
        }
        let Some(name) = tag.strip_prefix('/') else {
            path.push(local_name(tag));
            if path.len() > DEPTH_MAX {
                return Err("its list of objects is nested too deep");
            }
            match path.as_slice() {
                ["ListBucketResult"] => rooted = true,
                ["ListBucketResult", "Contents"] => object = Some((None, None, None)),
                _ => {}
            }
            continue;
        };
        if path.last() != Some(&local_name(name)) {
            return Err("its list of objects closes what it did not open");
        }
        match path.as_slice() {
            ["ListBucketResult", "IsTruncated"] => truncated = content.trim() == "true",
            ["ListBucketResult", "NextContinuationToken"] => next = Some(plain(content)?),
            ["ListBucketResult", "EncodingType"] => encoded = content.trim() == "url",
            ["ListBucketResult", "Contents", field] => {
                if let Some(object) = &mut object {
                    match *field {
                        "Key" => object.0 = Some(plain(content)?),
                        "Size" => object.1 = header::number(content.trim()),
                        "ETag" => object.2 = Some(plain(content)?),
                        _ => {}
                    }
                }
            }
            ["ListBucketResult", "Contents"] => {
                let (key, size, etag) = object.take().unwrap_or_default();
                let (Some(key), Some(size)) = (key, size) else { return Err("an object has no key or no size") };
                page.objects.push(Object { key, size, etag });
                if page.objects.len() > OBJECTS_MAX {
                    return Err("a page lists more than 10,000 objects");
                }
            }
            _ => {}
        }
        path.pop();
    }
    if !path.is_empty() || !rooted {
        return Err("its answer is not a list of objects");
    }
    if encoded {
        for object in &mut page.objects {
            let key = crate::url::unescape(&object.key.replace('+', " ")).ok_or("a key is wrongly escaped")?;
            object.key = key;
        }
    }
    page.next = if truncated { Some(next.ok_or("more objects follow, but not how to ask for them")?) } else { None };
    Ok(page)
}

/// The name of a tag without attributes and namespace prefix.
fn local_name(tag: &str) -> &str {
    let name = tag.split_ascii_whitespace().next().unwrap_or_default();
    name.rsplit(':').next().unwrap_or_default()
}

/// Text with the predefined entities and character references resolved (XML 1.0, sections 4.1 and 4.6).
fn plain(text: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once('&') {
        out.push_str(head);
        let (name, after) = tail.split_once(';').ok_or("its list of objects holds a broken entity")?;
        rest = after;
        let character = match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let code = match name.strip_prefix("#x") {
                    Some(digits) if digits.len() <= 6 => u32::from_str_radix(digits, 16).ok(),
                    _ => {
                        name.strip_prefix('#').filter(|digits| digits.len() <= 7).and_then(|digits| digits.parse().ok())
                    }
                };
                code.and_then(char::from_u32).ok_or("its list of objects holds an unknown entity")?
            }
        };
        out.push(character);
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{Object, parse_page};

    #[test]
    fn a_page_is_read() {
        let page = br#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><EncodingType>url</EncodingType>
<Contents><Key>a%2Fb+c&amp;d</Key><Size>7</Size><ETag>&quot;x&quot;</ETag><Owner><ID>o</ID></Owner></Contents>
<IsTruncated>true</IsTruncated><NextContinuationToken>t&#61;</NextContinuationToken><Prefix/></ListBucketResult>"#;
        let read = parse_page(page).expect("a page");
        let wanted = Object { key: "a/b c&d".into(), size: 7, etag: Some("\"x\"".into()) };
        assert_eq!(read.objects, [wanted]);
        assert_eq!(read.next.as_deref(), Some("t="));
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for wrong in [
            "",
            "<Error><Code>AccessDenied</Code></Error>",
            "<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult></ListBucketResult>",
            "<ListBucketResult>",
            "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
            "<ListBucketResult><Contents><Key>&a;</Key><Size>1</Size></Contents></ListBucketResult>",
            "<ListBucketResult></Other>",
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        ] {
            assert!(parse_page(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
