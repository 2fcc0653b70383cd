//! Chat templates that come with a model.

use crate::audit::Audit;

impl Audit<'_> {
    /// Judges the template `text`, which stands at `place`.
    pub(crate) fn template(&mut self, text: &str, place: &str) {
        self.within(place, |audit| audit.text_rules(text.as_bytes()));
    }
}
