//! Which sources and publishers may be asked at all, and how firmly they must be named.
//!
//! [`TrustedSources`] is judged before the first byte is sent. It works on [`Source::name`], the source without revision
//! and hash, by patterns in which `*` stands for anything; a `deny` outweighs every `allow`.

use serde::{Deserialize, Serialize};

use crate::source::{Source, is_commit};

/// Most patterns in one list.
pub(crate) const PATTERNS_MAX: usize = 1_024;

/// The policy of sources.
///
/// ```
/// let policy: ringfence_reach::TrustedSources = toml::from_str(r#"
///     allow = ["hf://google/*", "hf://datasets/*", "https://example.org/models/*"]
///     deny = ["hf://google/secret-*"]
///     revision = "commit"
/// "#)?;
/// assert!(policy.admit(&"hf://google/bert@main".parse()?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustedSources {
    /// Names of which one must fit.
    pub allow: Vec<String>,
    /// Names of which none may fit.
    pub deny: Vec<String>,
    /// How a repository's revision must be named.
    pub revision: RevisionRule,
    /// Whether a file may come without a hash to check it against.
    pub hash: HashRule,
}

/// How a repository's revision must be named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevisionRule {
    /// A branch or tag is resolved once; the commit is what is fetched, recorded and returned.
    #[default]
    Pinned,
    /// Only the full name of a commit will do.
    Commit,
}

/// Whether a file may come without a hash to check it against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashRule {
    /// The source gives one, or it stands in `#sha256=`.
    #[default]
    Required,
    /// TLS alone will do; what came is hashed and recorded.
    Optional,
}

/// Why a source is not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("source `{source_name}` is not trusted: {rule}")]
pub struct Untrusted {
    /// Its name.
    pub source_name: String,
    /// What refuses it.
    pub rule: TrustRule,
}

/// What refuses a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustRule {
    /// No pattern of `allow` fits.
    #[error("no pattern of `trusted.allow` fits")]
    NotAllowed,
    /// A pattern of `deny` fits.
    #[error("pattern `{pattern}` of `trusted.deny` fits")]
    DenyPattern {
        /// The pattern.
        pattern: String,
    },
    /// The policy wants a commit.
    #[error("the policy asks for the full name of a commit, `{revision}` can move")]
    Movable {
        /// What was named.
        revision: String,
    },
}

impl Untrusted {
    /// What somebody who wants this can do.
    pub fn remedy(&self) -> String {
        match &self.rule {
            TrustRule::NotAllowed => {
                format!("if its publisher is to be trusted, add `{}` to `trusted.allow`", self.source_name)
            }
            TrustRule::DenyPattern { .. } => "ask whoever keeps the policy".into(),
            TrustRule::Movable { .. } => "append `@` and the 40 hexadecimal digits of the commit".into(),
        }
    }
}

impl Default for TrustedSources {
    /// Anything on the Hub, any link with a hash, and local files; the egress policy is narrower still.
    fn default() -> Self {
        let allow = ["hf://*", "https://*", "file:*", "s3://*", "kaggle://*", "tfhub://*"];
        Self {
            allow: allow.iter().map(|pattern| (*pattern).to_owned()).collect(),
            deny: Vec::new(),
            revision: RevisionRule::Pinned,
            hash: HashRule::Required,
        }
    }
}

impl TrustedSources {
    /// Judges `source`.
    pub fn admit(&self, source: &Source) -> Result<(), Untrusted> {
        let name = source.name();
        let refuse = |rule| Err(Untrusted { source_name: name.clone(), rule });
        if let Some(pattern) = self.deny.iter().find(|pattern| fits(pattern, &name)) {
            return refuse(TrustRule::DenyPattern { pattern: pattern.clone() });
        }
        // Too many patterns are not read to the end; an unread `deny` must not turn into a yes.
        if self.deny.len() > PATTERNS_MAX || !self.allow.iter().take(PATTERNS_MAX).any(|pattern| fits(pattern, &name)) {
            return refuse(TrustRule::NotAllowed);
        }
        if let (RevisionRule::Commit, Source::Hub(hub)) = (self.revision, source) {
            let revision = hub.revision.as_deref().unwrap_or("the default branch");
            if !is_commit(revision) {
                return refuse(TrustRule::Movable { revision: revision.to_owned() });
            }
        }
        Ok(())
    }
}

/// Whether `pattern`, in which each `*` stands for any characters, fits `text` whole. The Hub's names do not tell capital
/// letters apart, so neither does this.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let head = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(tail) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        // The first place is as good as any: what follows a star may be anywhere later.
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn stars_stand_for_anything() {
        assert!(fits("hf://google/*", "hf://google/bert"));
        assert!(fits("hf://Google/*", "hf://google/bert"));
        assert!(fits("*", ""));
        assert!(fits("a*b*c", "a-b-b-c"));
        assert!(!fits("a*bc*c", "a-bc"));
        assert!(!fits("hf://google/*", "hf://google-evil/bert"));
        assert!(!fits("hf://google", "hf://google/bert"));
        assert!(!fits("ab*ba", "aba"));
    }
}
