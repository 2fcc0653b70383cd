//! Versions of datasets.
