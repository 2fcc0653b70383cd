//! AWS Signature Version 4 for `GET` requests without a body (AWS General Reference, "Signature Version 4 signing process").

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
};
use ringfence_schema::{Timestamp, digest::hex};
use zeroize::Zeroizing;

use crate::{
    secret::{S3Keys, Secret},
    url::Url,
};

/// SHA-256 of nothing: the hash of the body of a `GET`.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Signs requests for one region.
#[derive(Debug)]
pub(crate) struct Signer {
    keys: S3Keys,
    region: String,
}

impl Signer {
    pub(crate) const fn new(keys: S3Keys, region: String) -> Self {
        Self { keys, region }
    }

    /// The headers that make a `GET` of `url`, with `range` if there is one and `x-amz-checksum-mode: ENABLED`, ours at the
    /// moment `now`. The path and query of
    /// `url` must be in canonical form: escaped by [`crate::url::escape`], parameters sorted.
    pub(crate) fn sign(&self, url: &Url, range: Option<&str>, now: Timestamp) -> Vec<(&'static str, String)> {
        let stamp = basic_format(now);
        let day = stamp.get(..8).unwrap_or_default();
        let mut signed = vec![("host", url.authority())];
        signed.extend(range.map(|range| ("range", range.to_owned())));
        signed.push(("x-amz-checksum-mode", "ENABLED".to_owned()));
        signed.push(("x-amz-content-sha256", EMPTY_SHA256.to_owned()));
        signed.push(("x-amz-date", stamp.clone()));
        signed.extend(self.keys.session.as_ref().map(|token| ("x-amz-security-token", token.expose().to_owned())));
        let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let headers: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let query = url.query().unwrap_or_default();
        let canonical = format!("GET\n{}\n{query}\n{headers}\n{names}\n{EMPTY_SHA256}", url.path());
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let hashed = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
        let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}");
        let signature = hex(keyed(signing_key(&self.keys.key, day, &self.region).as_ref(), &to_sign).as_ref());
        let id = self.keys.id.expose();
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
        signed.push(("authorization", authorization));
        // These are sent anyway.
        signed.retain(|(name, _)| !matches!(*name, "host" | "range" | "x-amz-checksum-mode"));
        signed
    }
}

fn signing_key(secret: &Secret, day: &str, region: &str) -> hmac::Tag {
    let first = Zeroizing::new(format!("AWS4{}", secret.expose()));
    let key = keyed(first.as_bytes(), day);
    let key = keyed(key.as_ref(), region);
    let key = keyed(key.as_ref(), "s3");
    keyed(key.as_ref(), "aws4_request")
}

fn keyed(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

/// `YYYYMMDDTHHMMSSZ`.
fn basic_format(now: Timestamp) -> String {
    let text = now.to_string();
    let seconds = text.split('.').next().unwrap_or_default();
    let mut out: String = seconds.chars().filter(|character| !matches!(character, '-' | ':')).collect();
    out.push('Z');
    out
}

#[cfg(test)]
mod tests {
    use ringfence_schema::Timestamp;
    use zeroize::Zeroizing;

    use super::Signer;
    use crate::{
        secret::{S3Keys, Secret},
        url::Url,
    };

    fn secret(text: &str) -> Secret {
        Secret::new("test", Zeroizing::new(text.to_owned())).expect("fit for a header")
    }

    /// Signatures as botocore 1.44.5 makes them of the same requests, with the keys of AWS's own examples.
    #[test]
    fn signatures_are_those_of_another_implementation() {
        let at = Timestamp::from_millis(1_369_353_600_000);
        for (text, range, session, wanted) in [
            (
                "https://examplebucket.s3.amazonaws.com/a%20b/%C3%A9.bin",
                Some("bytes=0-9"),
                None,
                "4116ffe7c24a5fd9959bca5784804e4ddc6c46d8a12714eb854b43f7835b2d79",
            ),
            (
                "https://examplebucket.s3.amazonaws.com/?encoding-type=url&list-type=2&prefix=J%2Fx",
                None,
                Some("session+token/="),
                "a519f712b96fab1b477473db12a0893b296b3cdd26c717422ff77beafd164138",
            ),
        ] {
            let keys = S3Keys {
                id: secret("AKIAIOSFODNN7EXAMPLE"),
                key: secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
                session: session.map(secret),
            };
            let url = Url::parse(text).expect("a URL");
            let signed = Signer::new(keys, "us-east-1".into()).sign(&url, range, at);
            let authorization = signed.iter().find(|(name, _)| *name == "authorization").expect("signed");
            assert!(authorization.1.ends_with(&format!("Signature={wanted}")), "{}", authorization.1);
        }
    }

    #[test]
    fn a_signature_depends_on_everything_it_covers() {
        let keys =
            |id: &str| S3Keys { id: secret(id), key: secret("wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"), session: None };
        let url = |text: &str| Url::parse(text).expect("a URL");
        let at = Timestamp::from_millis(1_369_353_600_000);
        let sign = |signer: &Signer, text: &str, range, at| format!("{:?}", signer.sign(&url(text), range, at));
        let east = Signer::new(keys("AKIAIOSFODNN7EXAMPLE"), "us-east-1".into());
        let base = sign(&east, "https://examplebucket.s3.amazonaws.com/test.txt", None, at);
        assert!(base.contains("20130524T000000Z"), "{base}");
        assert!(!base.contains("wJalr"), "the key itself is never sent");
        let west = Signer::new(keys("AKIAIOSFODNN7EXAMPLE"), "us-west-1".into());
        for other in [
            sign(&east, "https://examplebucket.s3.amazonaws.com/test.txu", None, at),
            sign(&east, "https://examplebucket.s3.amazonaws.com/test.txt?a=b", None, at),
            sign(&east, "https://examplebucket.s3.amazonaws.com/test.txt", Some("bytes=0-9"), at),
            sign(&east, "https://examplebucket.s3.amazonaws.com/test.txt", None, at.plus_millis(1_000)),
            sign(&west, "https://examplebucket.s3.amazonaws.com/test.txt", None, at),
        ] {
            assert_ne!(base, other);
        }
    }
}
