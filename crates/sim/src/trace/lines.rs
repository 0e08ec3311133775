//! The lines of a trace, numbered and bounded.

use std::io::{self, BufRead, Read};

use tidegate_policy::question::BadQuestion;

use super::TraceError;
use crate::bounds::MAX_LINE_BYTES;

/// Lines that are not blank, without what ends them.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    line: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Lines<R> {
        Lines { reader, line: 0, buffer: Vec::new() }
    }

    pub(super) fn next(&mut self) -> Result<Option<(u64, &[u8])>, TraceError> {
        loop {
            self.line += 1;
            let line = self.line;
            self.buffer.clear();
            // One byte above the bound shows that the line is longer.
            let most = MAX_LINE_BYTES as u64 + 1;
            let read = self.reader.by_ref().take(most).read_until(b'\n', &mut self.buffer);
            match read {
                Err(error) => return Err(TraceError::Read { line, error }),
                Ok(0) => return Ok(None),
                Ok(_) if self.buffer.len() > MAX_LINE_BYTES => {
                    self.pass_over_rest().map_err(|error| TraceError::Read { line, error })?;
                    let message = format!("line is longer than {MAX_LINE_BYTES} bytes");
                    return Err(TraceError::Line { line, bad: BadQuestion::new(message) });
                }
                Ok(_) if self.buffer.trim_ascii().is_empty() => {}
                Ok(_) => break,
            }
        }
        Ok(Some((self.line, self.buffer.trim_ascii())))
    }

    fn pass_over_rest(&mut self) -> io::Result<()> {
        while self.buffer.last() != Some(&b'\n') {
            self.buffer.clear();
            let read = self.reader.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut self.buffer)?;
            if read == 0 {
                break;
            }
        }
        Ok(())
    }
}
