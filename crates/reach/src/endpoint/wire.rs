//! Questions and answers between a keyless process and the one that reaches out.
//!
//! A question is a count of inputs (4 bytes, little endian) and their values (f64, 8 bytes each), or where they are texts, of each
//! its length (4 bytes) and its UTF-8. A reply is a kind (1 byte), a length
//! (4 bytes) and so many bytes: the body of an answer, the budget that is spent, or why there is none. Neither side trusts the
//! other: the one with the network enters every input that it is asked about and sends nothing but questions of the described
//! form; the other one reads what came.

use std::{
    io::{self, Read, Write},
    sync::{Mutex, PoisonError},
};

use super::{AnswerFault, Description, Endpoint, EndpointError, TEXT_BYTES_MAX};

const ANSWER: u8 = 0;
const SPENT: u8 = 1;
const FAILED: u8 = 2;
/// Longest sentence about a failure, in bytes.
const WORDS_BYTES_MAX: u32 = 4_096;

/// Why there are no scores.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The budget is spent.
    #[error("the budget of {budget} queries is spent")]
    Spent {
        /// Inputs that might be sent.
        budget: u64,
    },
    /// There is no answer.
    #[error("{why}")]
    Failed {
        /// Why, fit to print.
        why: String,
    },
    /// The answer is none.
    #[error(transparent)]
    Answer(#[from] AnswerFault),
}

/// Asks `endpoint` what comes through `socket` until the other side closes it, or there is nothing to go on with.
pub fn serve(mut socket: impl Read + Write, endpoint: &mut Endpoint) -> io::Result<()> {
    loop {
        let mut count = [0; 4];
        match socket.read_exact(&mut count) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let rows = usize::try_from(u32::from_le_bytes(count)).unwrap_or(usize::MAX);
        if rows == 0 || rows > endpoint.description().batch() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let answer = if endpoint.description().is_text() {
            let texts = (0..rows).map(|_| text(&mut socket)).collect::<io::Result<Vec<_>>>()?;
            endpoint.ask_texts(&texts)
        } else {
            let mut bytes = vec![0; rows.saturating_mul(endpoint.description().width()).saturating_mul(8)];
            socket.read_exact(&mut bytes)?;
            let (values, _) = bytes.as_chunks::<8>();
            endpoint.ask(&values.iter().map(|value| f64::from_le_bytes(*value)).collect::<Vec<_>>())
        };
        match answer {
            Ok(body) => reply(&mut socket, ANSWER, &body)?,
            Err(EndpointError::Spent { budget }) => reply(&mut socket, SPENT, &budget.to_le_bytes())?,
            Err(EndpointError::Reach(error)) => {
                let words = ringfence_schema::finding::printable(&error.to_string(), 500);
                reply(&mut socket, FAILED, words.as_bytes())?;
            }
        }
    }
}

fn text(socket: &mut impl Read) -> io::Result<String> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > TEXT_BYTES_MAX {
        return Err(wrong());
    }
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| wrong())
}

fn reply(socket: &mut impl Write, kind: u8, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    socket.write_all(&[kind])?;
    socket.write_all(&length.to_le_bytes())?;
    socket.write_all(bytes)
}

/// The side without a network.
pub struct Asker<S> {
    socket: Mutex<S>,
    description: Description,
}

impl<S> std::fmt::Debug for Asker<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Asker({})", self.description.origin())
    }
}

impl<S: Read + Write> Asker<S> {
    /// Asks through `socket`, on whose other side [`serve`] has the same description.
    pub const fn new(socket: S, description: Description) -> Self {
        Self { socket: Mutex::new(socket), description }
    }

    /// How the endpoint is described.
    pub const fn description(&self) -> &Description {
        &self.description
    }

    /// Scores `[inputs, classes]` of inputs after one another, each of the described width.
    ///
    /// # Errors
    /// [`AskError::Spent`], [`AskError::Failed`], and [`AskError::Answer`] for an answer that is none.
    pub fn ask(&self, values: &[f64]) -> Result<Vec<f64>, AskError> {
        let width = self.description.width();
        if self.description.is_text() || !values.len().is_multiple_of(width) {
            return Err(AskError::Failed { why: format!("inputs have another width than the described {width}") });
        }
        let parts = values.chunks(width * self.description.batch()).map(|part| {
            let rows = part.len() / width;
            (rows, asked(rows, part.iter().flat_map(|value| value.to_le_bytes())))
        });
        self.all(parts)
    }

    /// The same of texts, where inputs are texts.
    ///
    /// # Errors
    /// As [`Self::ask`]; a text that is too long is never sent.
    pub fn ask_texts(&self, texts: &[String]) -> Result<Vec<f64>, AskError> {
        if !self.description.is_text() {
            return Err(AskError::Failed { why: "its inputs are described as numbers, not texts".into() });
        }
        if let Some(text) = texts.iter().find(|text| text.len() > TEXT_BYTES_MAX) {
            let why = format!("a text has {} bytes, limit is {TEXT_BYTES_MAX}", text.len());
            return Err(AskError::Failed { why });
        }
        let parts = texts.chunks(self.description.batch()).map(|part| {
            let written = part.iter().flat_map(|text| {
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                length.to_le_bytes().into_iter().chain(text.bytes())
            });
            (part.len(), asked(part.len(), written))
        });
        self.all(parts)
    }

    /// The scores of questions after one another, each with the number of its inputs.
    fn all(&self, questions: impl Iterator<Item = (usize, Vec<u8>)>) -> Result<Vec<f64>, AskError> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scores = Vec::new();
        for (rows, bytes) in questions {
            let body = self.question(&mut socket, &bytes)?;
            scores.extend(self.description.answer(&body, rows)?);
        }
        Ok(scores)
    }

    fn question(&self, socket: &mut S, bytes: &[u8]) -> Result<Vec<u8>, AskError> {
        let broken = |error: io::Error| AskError::Failed { why: format!("the connection inside broke: {error}") };
        socket.write_all(bytes).map_err(broken)?;
        let mut head = [0; 5];
        socket.read_exact(&mut head).map_err(broken)?;
        let [kind, length @ ..] = head;
        let length = u32::from_le_bytes(length);
        let most = if kind == ANSWER { self.description.answer_bytes_max() } else { u64::from(WORDS_BYTES_MAX) };
        if u64::from(length) > most {
            return Err(AskError::Failed { why: "the connection inside broke".into() });
        }
        let mut body = vec![0; usize::try_from(length).unwrap_or(0)];
        socket.read_exact(&mut body).map_err(broken)?;
        match kind {
            ANSWER => Ok(body),
            SPENT => Err(AskError::Spent { budget: u64::from_le_bytes(body.try_into().unwrap_or_default()) }),
            _ => Err(AskError::Failed { why: String::from_utf8_lossy(&body).into_owned() }),
        }
    }
}

fn asked(rows: usize, inputs: impl Iterator<Item = u8>) -> Vec<u8> {
    u32::try_from(rows).unwrap_or(u32::MAX).to_le_bytes().into_iter().chain(inputs).collect()
}
