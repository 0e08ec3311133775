//! Snapshots: the last word on every counter up to a frame, so that the log behind it can go.
//!
//! A snapshot in bytes, all numbers little-endian:
//!
//! | bytes | holds |
//! |---|---|
//! | 4 | `TGS1` |
//! | 8 | number of the last frame that went into it |
//! | 8 | the latest instant that any of these frames knows, in microseconds since 1970 |
//! | 4 | CRC-32 of the 20 bytes before |
//! | then blocks: 4 | length of the block's records in bytes, 1 to 2^16 |
//! | 4 | CRC-32 of the records and, before them, of the length and the block's number (8 bytes), the first being 0 |
//! | length | records, as frames have them, in ascending order of their counters, each counter once |
//! | then the end: 4 | zero |
//! | 4 | CRC-32 of the zero and of the number of blocks (8 bytes) |
//!
//! It is written under another name and synced before it gets its own, so a snapshot that is there is whole; one that
//! does not read well went bad later.

use std::io::{self, Read};

use super::device::Append;
use super::frame::{self, MAX_WORDS};
use super::{Record, RecoverError};

const MAGIC: [u8; 4] = *b"TGS1";
const HEAD: usize = 24;
const BLOCK_HEAD: usize = 8;

/// Longest block: a damaged one is found before much of it was believed.
const MAX_BLOCK: usize = 1 << 16;

/// What a snapshot says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct About {
    /// The last frame that went into it.
    pub(super) through: u64,
    /// The latest instant that any of these frames knows.
    pub(super) latest: u64,
}

/// A snapshot that is being written.
pub(super) struct Writer<A> {
    file: A,
    block: Vec<u8>,
    blocks: u64,
    records: u64,
}

impl<A: Append> Writer<A> {
    pub(super) fn new(mut file: A, about: About) -> io::Result<Writer<A>> {
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&about.through.to_le_bytes());
        head.extend_from_slice(&about.latest.to_le_bytes());
        head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
        file.append(&head)?;
        Ok(Writer { file, block: vec![0; BLOCK_HEAD], blocks: 0, records: 0 })
    }

    /// Adds a counter that is greater than all before.
    pub(super) fn push(&mut self, record: Record<'_>) -> io::Result<()> {
        if self.block.len() + frame::length_of(record.state.len()) > MAX_BLOCK {
            self.end_block()?;
        }
        frame::push(record, &mut self.block);
        self.records += 1;
        Ok(())
    }

    /// Makes sure that all of it is kept, and says how many counters there are.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        if self.block.len() > BLOCK_HEAD {
            self.end_block()?;
        }
        self.end_block()?;
        self.file.sync()?;
        Ok(self.records)
    }

    fn end_block(&mut self) -> io::Result<()> {
        let (head, records) = self.block.split_at_mut(BLOCK_HEAD);
        let length = u32::try_from(records.len()).unwrap_or(u32::MAX);
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..].copy_from_slice(&check(length, self.blocks, records).to_le_bytes());
        self.file.append(&self.block)?;
        self.block.truncate(BLOCK_HEAD);
        self.blocks += 1;
        Ok(())
    }
}

/// A snapshot that is being read.
pub(super) struct Reader<R> {
    file: R,
    name: String,
    about: About,
    block: Vec<u8>,
    at: usize,
    blocks: u64,
    is_over: bool,
    words: [u64; MAX_WORDS],
}

impl<R: Read> Reader<R> {
    pub(super) fn new(file: R, name: &str) -> Result<Reader<R>, RecoverError> {
        let mut reader = Reader {
            file,
            name: name.to_owned(),
            about: About { through: 0, latest: 0 },
            block: Vec::new(),
            at: 0,
            blocks: 0,
            is_over: false,
            words: [0; MAX_WORDS],
        };
        let mut head = [0; HEAD];
        reader.fill(&mut head)?;
        let [through, latest] = [4, 12].map(|at| u64::from_le_bytes(*head[at..].first_chunk().unwrap_or(&[0; 8])));
        if !head.starts_with(&MAGIC) || crc32fast::hash(&head[..20]).to_le_bytes() != head[20..] {
            return Err(reader.damage("its head does not match its checksum"));
        }
        reader.about = About { through, latest };
        Ok(reader)
    }

    pub(super) fn about(&self) -> About {
        self.about
    }

    /// The next counter.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, RecoverError> {
        if self.at == self.block.len() && !self.is_over {
            self.read_block()?;
        }
        if self.is_over {
            return Ok(None);
        }
        let rest = &self.block[self.at..];
        let Some((record, length)) = frame::take(rest, &mut self.words) else {
            return Err(damage(&self.name, &format!("block {} ends inside a record", self.blocks - 1)));
        };
        self.at += length;
        Ok(Some(record))
    }

    fn read_block(&mut self) -> Result<(), RecoverError> {
        let mut head = [0; BLOCK_HEAD];
        self.fill(&mut head)?;
        let [length, expected] = [0, 4].map(|at| u32::from_le_bytes(*head[at..].first_chunk().unwrap_or(&[0; 4])));
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > MAX_BLOCK {
            return Err(self.damage(&format!("block {} is {length} bytes long, above {MAX_BLOCK}", self.blocks)));
        }
        let mut block = std::mem::take(&mut self.block);
        block.resize(size, 0);
        self.fill(&mut block)?;
        if check(length, self.blocks, &block) != expected {
            return Err(self.damage(&format!("block {} does not match its checksum", self.blocks)));
        }
        (self.block, self.at, self.is_over) = (block, 0, length == 0);
        self.blocks += 1;
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RecoverError> {
        self.file.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damage("it ends too early"),
            _ => RecoverError::Read { name: self.name.clone(), error },
        })
    }

    fn damage(&self, what: &str) -> RecoverError {
        damage(&self.name, what)
    }
}

fn damage(name: &str, what: &str) -> RecoverError {
    RecoverError::Damaged { name: name.to_owned(), what: what.to_owned() }
}

/// The checksum of a block, which also tells one block from another.
fn check(length: u32, number: u64, records: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(records);
    hasher.finalize()
}
