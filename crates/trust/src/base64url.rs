//! Base64url without padding (RFC 4648 §5), strict and bounded, and the newtypes that are written so.

#![deny(clippy::indexing_slicing)]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// `bytes` as text.
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of `text`, at most `most` of them. Padding, white space and stray bits are refused.
pub(crate) fn decode(text: &str, most: usize) -> Option<Vec<u8>> {
    // Four characters hold three bytes.
    if text.len() > most.div_ceil(3) * 4 {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() <= most)
}

/// Bytes of bounded length that are public and written in base64url.
macro_rules! base64url_bytes {
    ($(#[$doc:meta])* $name:ident, $bounds:expr, $error:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Vec<u8>);

        impl $name {
            /// Takes bytes of a length that is allowed.
            pub fn new(bytes: Vec<u8>) -> Result<Self, PasskeyError> {
                if $bounds.contains(&bytes.len()) { Ok(Self(bytes)) } else { Err($error) }
            }

            /// Its bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base64url::encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = PasskeyError;

            fn from_str(text: &str) -> Result<Self, PasskeyError> {
                Self::new(base64url::decode(text, *$bounds.end()).ok_or($error)?)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use base64url_bytes;
