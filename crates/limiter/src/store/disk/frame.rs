//! Frames of the log: what became of some counters, written at once, twice, and checked when it is read.
//!
//! A frame in bytes, all numbers little-endian:
//!
//! | offset | bytes | holds |
//! |---|---|---|
//! | 0 | 4 | `TGF1` |
//! | 4 | 4 | length of the records in bytes, at most 2^20 |
//! | 8 | 8 | number of the frame: one more than that of the frame before it, over all files |
//! | 16 | 8 | the latest instant that any of its records knows, in microseconds since 1970 |
//! | 24 | 4 | CRC-32 of the records |
//! | 28 | 4 | CRC-32 of bytes 0 to 27 |
//! | 32 | length | records, one behind the other |
//!
//! A record is a counter's fingerprint (tag, place: 8 bytes each), the number of words of its state (1 byte, 2 to 64),
//! and these words (8 bytes each). It replaces what was known of the counter before.
//!
//! Bytes of 255 follow up to the next multiple of 512, and then, in sectors of its own, a copy of all of it. Disks write
//! and lose whole sectors: one that goes bad is in one of the two, and the other is read. So whoever was told that a frame
//! is kept can rely on it. And a sector of zeros tells of a crash that came before it was written, for no frame has one.

use super::Record;

/// Longest records of a frame. More are left to the next frame; a larger one would make all wait that are in it.
pub(super) const MAX_BODY: usize = 1 << 20;

/// Bytes in front of a frame's records.
pub(super) const HEAD: usize = 32;

/// Most words of a record: of a sliding window with as many cells as there may be.
pub(super) const MAX_WORDS: usize = 64;

/// What disks write whole or not at all.
const SECTOR: usize = 512;

// The words of a state may all be zero but the first.
const _: () = assert!(8 * MAX_WORDS < SECTOR + 8);

const MAGIC: [u8; 4] = *b"TGF1";

/// What fills the last sector of a frame, so that it is never empty.
const PADDING: u8 = 0xff;

/// Bytes in front of a record's words: fingerprint and number of words.
const RECORD_HEAD: usize = 17;

/// Appends a record to the body of a frame.
pub(super) fn push(record: Record<'_>, body: &mut Vec<u8>) {
    debug_assert!((2..=MAX_WORDS).contains(&record.state.len()));
    body.extend_from_slice(&record.counter[0].to_le_bytes());
    body.extend_from_slice(&record.counter[1].to_le_bytes());
    body.push(u8::try_from(record.state.len()).unwrap_or(u8::MAX));
    for word in record.state {
        body.extend_from_slice(&word.to_le_bytes());
    }
}

/// Bytes that a record takes.
pub(super) fn length_of(words: usize) -> usize {
    RECORD_HEAD + 8 * words
}

/// Bytes of the records at the beginning of `records` that fit into `most` whole.
pub(super) fn whole_records(records: &[u8], most: usize) -> usize {
    if records.len() <= most {
        return records.len();
    }
    let mut end = 0;
    while let Some(words) = records.get(end + RECORD_HEAD - 1) {
        let next = end + length_of(usize::from(*words));
        if next > most {
            break;
        }
        end = next;
    }
    end
}

/// Writes frame and copy, at a multiple of [`SECTOR`] bytes.
pub(super) fn write(number: u64, latest: u64, body: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&latest.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    let check = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&check.to_le_bytes());
    out.extend_from_slice(body);
    out.resize(start + (out.len() - start).next_multiple_of(SECTOR), PADDING);
    out.extend_from_within(start..);
}

/// A frame that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'b> {
    pub(super) number: u64,
    pub(super) latest: u64,
    body: &'b [u8],
}

impl<'b> Frame<'b> {
    /// Its records, in the order in which they were noted.
    pub(super) fn records(self) -> Records<'b> {
        Records { rest: self.body, words: [0; MAX_WORDS] }
    }
}

/// The records of a body, one after the other; its check says that they are what was written.
pub(super) struct Records<'b> {
    rest: &'b [u8],
    words: [u64; MAX_WORDS],
}

impl Records<'_> {
    pub(super) fn next(&mut self) -> Option<Record<'_>> {
        let (record, length) = take(self.rest, &mut self.words)?;
        self.rest = &self.rest[length..];
        Some(record)
    }
}

/// The first record of some bytes, and how many it takes; `None` if they end before it does.
pub(super) fn take<'w>(bytes: &[u8], words: &'w mut [u64; MAX_WORDS]) -> Option<(Record<'w>, usize)> {
    let (head, rest) = bytes.split_at_checked(RECORD_HEAD)?;
    let known = words.get_mut(..usize::from(head[16])).filter(|words| words.len() >= 2)?;
    let state = rest.get(..8 * known.len())?;
    for (word, bytes) in known.iter_mut().zip(state.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Some((Record { counter: [number_at(head, 0), number_at(head, 8)], state: known }, RECORD_HEAD + state.len()))
}

/// What stands at a place where a frame may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'b> {
    /// A frame, and where the bytes behind it and its copy begin. Whether one of the two was damaged.
    Frame { frame: Frame<'b>, end: usize, is_mended: bool },
    /// The end of the file.
    End,
    /// An append that a crash cut off: some of its bytes are missing.
    Torn,
    /// All bytes of a frame and of its copy, and both are wrong.
    Damaged,
}

/// Reads the frame numbered `number` at `start`.
pub(super) fn read(bytes: &[u8], start: usize, number: u64) -> Found<'_> {
    let rest = bytes.get(start..).unwrap_or_default();
    if rest.is_empty() {
        return Found::End;
    }
    // The heads tell where the copy begins; each can stand in for the other.
    let first = Head::read(rest).filter(|head| head.number == number);
    let Some(head) = first.or_else(|| head_of_copy(rest, number)) else {
        let is_torn = rest.len() < 2 * SECTOR || has_empty_sector(rest);
        return if is_torn { Found::Torn } else { Found::Damaged };
    };
    let (copy, end) = (head.sectors(), 2 * head.sectors());
    let one = head.body_of(rest).filter(|_| first.is_some());
    let second = rest.get(copy..).filter(|rest| Head::read(rest) == Some(head));
    let other = second.and_then(|rest| head.body_of(rest));
    match one.or(other) {
        Some(body) => {
            let frame = Frame { number, latest: head.latest, body };
            // A copy that a crash cut off is no damage.
            let is_cut_off = end > rest.len() || has_empty_sector(&rest[..end]);
            Found::Frame { frame, end: start + end, is_mended: (one.is_none() || other.is_none()) && !is_cut_off }
        }
        None if end > rest.len() || has_empty_sector(&rest[..end]) => Found::Torn,
        None => Found::Damaged,
    }
}

/// The head of a frame's copy, where the frame's own cannot be read.
fn head_of_copy(rest: &[u8], number: u64) -> Option<Head> {
    let most = (HEAD + MAX_BODY).next_multiple_of(SECTOR).min(rest.len());
    (SECTOR..=most).step_by(SECTOR).find_map(|at| {
        let head = Head::read(rest.get(at..)?)?;
        (head.number == number && head.sectors() == at).then_some(head)
    })
}

/// Whether a sector was not written before a crash came. Frames begin with a sector and have none that is empty: the
/// longest run of zeros in one is a state's, shorter than a sector.
fn has_empty_sector(bytes: &[u8]) -> bool {
    bytes.chunks_exact(SECTOR).any(|sector| sector.iter().all(|byte| *byte == 0))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    length: usize,
    number: u64,
    latest: u64,
    check: u32,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Head> {
        let head = bytes.get(..HEAD)?;
        if !head.starts_with(&MAGIC) || crc32fast::hash(&head[..28]) != short_at(head, 28) {
            return None;
        }
        let length = usize::try_from(short_at(head, 4)).ok().filter(|length| *length <= MAX_BODY)?;
        Some(Head { length, number: number_at(head, 8), latest: number_at(head, 16), check: short_at(head, 24) })
    }

    /// Bytes that the frame takes with the zeros behind it: where its copy begins.
    fn sectors(self) -> usize {
        (HEAD + self.length).next_multiple_of(SECTOR)
    }

    /// The records of the frame at the beginning of `bytes`, if they are what was written.
    fn body_of(self, bytes: &[u8]) -> Option<&[u8]> {
        let body = bytes.get(HEAD..HEAD + self.length)?;
        (crc32fast::hash(body) == self.check).then_some(body)
    }
}

fn number_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn short_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
