//! Who reads what.
