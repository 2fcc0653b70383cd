//! What a caller may choose, and how far along a screening is.

/// Choices for [`crate::screen`] and [`crate::filter`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Where the labels are.
    pub label: Label,
    /// Whether the first line of a CSV file names the columns.
    pub header: Header,
    /// Shape of one record where it is an image: `[height, width]` or `[channels, height, width]`. Without it, IDX says
    /// its own, and a square number of pixel-like numeric columns is taken for a square image.
    pub shape: Option<Vec<usize>>,
    /// The IDX file with the labels of an IDX file of images, as bytes (gzip or not). IDX files of images hold none.
    pub idx_labels: Option<Vec<u8>>,
}

/// Where the labels are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Label {
    /// A column called like a label, else the last or first column if its values look like classes. The report says so.
    #[default]
    Guess,
    /// The column of this name; in a file without a header its number, counted from 0.
    Column(String),
    /// There are none.
    Absent,
}

/// Whether the first line of a CSV file names the columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Header {
    /// Decided by looking at the first lines.
    #[default]
    Guess,
    /// It does.
    Present,
    /// It is a record.
    Absent,
}

/// How far a screening is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, such as `reading`, `hashing`, `neighbours`.
    pub stage: &'static str,
    /// Steps done.
    pub done: u64,
    /// Steps in all.
    pub total: u64,
}

/// Where progress goes.
pub(crate) struct Meter<'a> {
    tell: &'a mut dyn FnMut(Progress),
}

impl<'a> Meter<'a> {
    pub(crate) fn new(tell: &'a mut dyn FnMut(Progress)) -> Self {
        Self { tell }
    }

    pub(crate) fn at(&mut self, stage: &'static str, done: usize, total: usize) {
        (self.tell)(Progress { stage, done: done as u64, total: total as u64 });
    }
}
