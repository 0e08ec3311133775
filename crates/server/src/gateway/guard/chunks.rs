//! Follows a chunked body to its end, as strictly as heads are read.

use super::super::fault::{Fault, bad};
use super::head::{MAX_HEADERS, field};

/// Longest line of a chunk's size and extensions. Nobody is known to use extensions; a long one only costs.
const MAX_SIZE_LINE_BYTES: usize = 128;

/// Most digits of a chunk's size: 2^60 bytes, which every peer can hold.
const MAX_SIZE_DIGITS: u8 = 15;

/// Most bytes of all trailers together.
const MAX_TRAILER_BYTES: usize = 16 * 1024;

/// Where in a chunked body we are.
#[derive(Debug, Default)]
pub(super) struct ChunkReader {
    state: State,
    /// Bytes of the current size line, or of all trailers.
    line_bytes: usize,
    trailers: usize,
    /// The trailer line under way.
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Size { digits: u8, size: u64 },
    Extension { size: u64 },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailer,
    Done,
}

impl Default for State {
    fn default() -> State {
        State::Size { digits: 0, size: 0 }
    }
}

impl ChunkReader {
    /// Reads on in `bytes`. How many of them belong to the body, and whether it ends with them.
    ///
    /// # Errors
    ///
    /// Why the body is refused, and how many bytes were right before that.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, bool), (usize, Fault)> {
        let mut at = 0;
        while at < bytes.len() {
            if let State::Data { left } = self.state {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += taken;
                let left = left - taken as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                continue;
            }
            self.state = self.step(bytes[at]).map_err(|fault| (at, fault))?;
            at += 1;
            if matches!(self.state, State::Done) {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    fn step(&mut self, byte: u8) -> Result<State, Fault> {
        let malformed = |message| Err(bad("chunk", message));
        match self.state {
            State::Size { digits, size } => {
                self.line_bytes += 1;
                match (byte, hex(byte)) {
                    (_, Some(_)) if digits == MAX_SIZE_DIGITS => malformed("size has more than 15 digits"),
                    (_, Some(digit)) => Ok(State::Size { digits: digits + 1, size: size * 16 + u64::from(digit) }),
                    (b'\r', _) if digits > 0 => Ok(State::SizeEnd { size }),
                    (b';', _) if digits > 0 => Ok(State::Extension { size }),
                    _ => malformed("expected a size in hexadecimal digits"),
                }
            }
            State::Extension { size } => {
                self.line_bytes += 1;
                match byte {
                    _ if self.line_bytes > MAX_SIZE_LINE_BYTES => malformed("extension longer than 128 bytes"),
                    b'\r' => Ok(State::SizeEnd { size }),
                    b'\t' | b' '..=b'~' => Ok(State::Extension { size }),
                    _ => malformed("control character in an extension"),
                }
            }
            State::SizeEnd { size } => {
                self.line_bytes = 0;
                match (byte, size) {
                    (b'\n', 0) => Ok(State::Trailer),
                    (b'\n', left) => Ok(State::Data { left }),
                    _ => malformed("size line ends without LF"),
                }
            }
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(State::default()),
            State::DataCr | State::DataLf => malformed("data is longer than its size"),
            State::Trailer => self.trailer(byte),
            State::Data { .. } | State::Done => Ok(self.state),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Fault> {
        self.line_bytes += 1;
        if self.line_bytes > MAX_TRAILER_BYTES {
            return Err(Fault::new(431, "trailers", "longer than 16 KiB"));
        }
        if byte != b'\n' {
            self.line.push(byte);
            return Ok(State::Trailer);
        }
        let line = self.line.strip_suffix(b"\r").ok_or(bad("trailers", "a line ends without CR"))?;
        if line.is_empty() {
            return Ok(State::Done);
        }
        field(line).map_err(|fault| Fault { place: "trailers".into(), ..fault })?;
        self.line.clear();
        self.trailers += 1;
        if self.trailers > MAX_HEADERS {
            return Err(Fault::new(431, "trailers", "more than 100 lines"));
        }
        Ok(State::Trailer)
    }
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
