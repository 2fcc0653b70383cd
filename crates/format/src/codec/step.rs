//! Decoders that are fed by hand, as a reader that takes no byte behind their stream.

use std::io::{self, BufRead, Read};

use lzma_rust2::{Action, LzmaStream, Status, XzStream};

use super::input::Input;

/// A decoder that is fed by hand.
pub(super) enum Machine {
    Xz(Box<XzStream>),
    Lzma(Box<LzmaStream>),
}

/// See the module.
pub(super) struct Stepper<'i, 's, R: ?Sized> {
    machine: Machine,
    input: &'i mut Input<'s, R>,
    done: bool,
}

impl<'i, 's, R: Read + ?Sized> Stepper<'i, 's, R> {
    pub(super) fn new(machine: Machine, input: &'i mut Input<'s, R>) -> Self {
        Self { machine, input, done: false }
    }
}

impl<R: Read + ?Sized> Read for Stepper<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.done && !buffer.is_empty() {
            let ready = self.input.fill_buf()?;
            let (is_end, action) = (ready.is_empty(), if ready.is_empty() { Action::Finish } else { Action::Run });
            let step = match &mut self.machine {
                Machine::Xz(machine) => machine.process(ready, buffer, action)?,
                Machine::Lzma(machine) => machine.process(ready, buffer, action)?,
            };
            self.input.consume(step.bytes_consumed);
            if step.status == Status::StreamEnd {
                self.done = true;
                if let Machine::Lzma(machine) = &self.machine {
                    self.input.give_back(machine.unused_input().len());
                }
            }
            if step.bytes_produced > 0 {
                return Ok(step.bytes_produced);
            }
            if is_end && !self.done {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}
