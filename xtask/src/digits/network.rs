//! The architecture of the example's base model.

use anyhow::Result;
use ringfence_nn::{Model, builder::Builder};

use super::data::{CLASSES, SIDE};

/// Two convolutions, the second with stride 2, and two linear layers: 38 thousand parameters, with scores as output.
pub(crate) fn base() -> Result<Model> {
    let file = Builder::new("digits", 0)
        .input("image", &[1, SIDE, SIDE])
        .conv(16, [3, 3], [1, 1], [1, 1])
        .relu()
        .conv(32, [3, 3], [2, 2], [1, 1])
        .relu()
        .flatten()
        .linear(64)
        .relu()
        .linear(CLASSES)
        .finish()?;
    Ok(Model::parse(&file)?)
}
