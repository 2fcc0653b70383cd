//! Keras configurations: what a model's JSON would make Keras build.

use crate::audit::Audit;

impl Audit<'_> {
    /// Looks at one configuration; `place` says where it stands.
    pub(crate) fn keras_config(&mut self, json: &str, place: &str) {
        self.within(place, |audit| audit.text_rules(json.as_bytes()));
    }
}
