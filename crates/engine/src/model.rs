//! Models in files: ONNX, which says everything itself, and safetensors, which needs the description of an architecture.
//!
//! [`ModelFile::descriptors`] opens what a child reads with [`Files::model`](crate::work): both look at the file's first bytes
//! alone to tell whether a description follows.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use ringfence_format::safetensors;

use crate::{error::EngineError, source};

/// A model on disk: an ONNX file, or a safetensors file with the description of its architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    path: PathBuf,
    architecture: Option<PathBuf>,
    library: Option<PathBuf>,
}

impl ModelFile {
    /// The model at `path`. A safetensors file is described by `architecture`; without it by `NAME.architecture.json` beside it, or
    /// else by `config.json` beside it. An ONNX file needs no description, so none is read.
    pub fn new(path: impl Into<PathBuf>, architecture: Option<PathBuf>) -> Self {
        Self { path: path.into(), architecture, library: None }
    }

    /// The same, whose scores the ONNX Runtime in this shared library computes where many are asked for.
    #[must_use]
    pub fn computed_by(self, library: Option<PathBuf>) -> Self {
        Self { library, ..self }
    }

    /// The library that computes its scores.
    pub(crate) fn library(&self) -> Option<&Path> {
        self.library.as_deref()
    }

    /// Where the model is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is called where something is said about it.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The model, and its description where it needs one.
    pub(crate) fn descriptors(&self) -> Result<Vec<OwnedFd>, EngineError> {
        let mut model = source::open_linked(&self.path)?;
        if !needs_description(&mut model).map_err(EngineError::io(&self.path))? {
            return Ok(vec![model.into()]);
        }
        let beside = [described_by(&self.path), self.path.with_file_name(CONFIGURATION)];
        let found = self.architecture.as_ref().or_else(|| beside.iter().find(|path| path.exists()));
        let found = found.ok_or_else(|| EngineError::Usage {
            what: format!(
                "`{}` holds weights without a graph: describe its architecture in `{}`, or name the description with `--architecture FILE`",
                self.path.display(),
                described_by(&self.path).display()
            ),
        })?;
        Ok(vec![model.into(), source::open_linked(found)?.into()])
    }
}

impl From<PathBuf> for ModelFile {
    fn from(path: PathBuf) -> Self {
        Self::new(path, None)
    }
}

/// The name of a description beside the weights.
pub(crate) fn described_by(weights: &Path) -> PathBuf {
    weights.with_extension(DESCRIPTION)
}

/// Whether a model's file is safetensors, so that a description belongs to it; the file is read from its beginning afterwards. Only
/// the first bytes are looked at: the parent, which holds no untrusted parser, and its child have to agree.
pub(crate) fn needs_description(file: &mut File) -> io::Result<bool> {
    // A confined child may not ask for a file's metadata.
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut start = Vec::new();
    file.take(LOOKED_AT).read_to_end(&mut start)?;
    file.rewind()?;
    Ok(safetensors::is_likely(&start, length))
}

/// The description that transformers writes beside weights.
pub(crate) const CONFIGURATION: &str = "config.json";
/// The ending of a description of ours, in place of the weights' own.
const DESCRIPTION: &str = "architecture.json";
/// Bytes that tell whether a file is safetensors.
const LOOKED_AT: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_called_after_its_weights() {
        assert_eq!(described_by(Path::new("a/net.safetensors")), Path::new("a/net.architecture.json"));
    }
}
