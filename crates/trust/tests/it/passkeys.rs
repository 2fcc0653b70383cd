//! Passkeys: the specification's vectors, three kinds of keys, and every way in which an answer can be another's.

mod device;
mod hostile;
mod soft;
mod vectors;
