//! Questions and answers between a keyless process and the one that reaches out.
//!
//! A question is a count of inputs (4 bytes, little endian) and their values (f64, 8 bytes each). A reply is a kind (1 byte), a length
//! (4 bytes) and so many bytes: the body of an answer, the budget that is spent, or why there is none. Neither side trusts the
//! other: the one with the network enters every input that it is asked about and sends nothing but questions of the described
//! form; the other one reads what came.

use std::{
    io::{self, Read, Write},
    sync::{Mutex, PoisonError},
};

use super::{AnswerFault, Description, Endpoint, EndpointError};

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
    let width = endpoint.description().width();
    let mut bytes = Vec::new();
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
        bytes.resize(rows.saturating_mul(width).saturating_mul(8), 0);
        socket.read_exact(&mut bytes)?;
        let values: Vec<f64> =
            bytes.chunks_exact(8).map(|part| f64::from_le_bytes(part.try_into().unwrap_or_default())).collect();
        match endpoint.ask(&values) {
            Ok(body) => reply(&mut socket, ANSWER, &body)?,
            Err(EndpointError::Spent { budget }) => reply(&mut socket, SPENT, &budget.to_le_bytes())?,
            Err(EndpointError::Reach(error)) => {
                let words = ringfence_schema::finding::printable(&error.to_string(), 500);
                reply(&mut socket, FAILED, words.as_bytes())?;
            }
        }
    }
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
        if !values.len().is_multiple_of(width) {
            return Err(AskError::Failed { why: format!("inputs have another width than the described {width}") });
        }
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scores = Vec::with_capacity(values.len() / width * self.description.output().classes);
        for part in values.chunks(width * self.description.batch()) {
            let body = self.question(&mut socket, part)?;
            scores.extend(self.description.answer(&body, part.len() / width)?);
        }
        Ok(scores)
    }

    fn question(&self, socket: &mut S, part: &[f64]) -> Result<Vec<u8>, AskError> {
        let broken = |error: io::Error| AskError::Failed { why: format!("the connection inside broke: {error}") };
        let rows = u32::try_from(part.len() / self.description.width()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(4 + part.len() * 8);
        bytes.extend(rows.to_le_bytes());
        bytes.extend(part.iter().flat_map(|value| value.to_le_bytes()));
        socket.write_all(&bytes).map_err(broken)?;
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
