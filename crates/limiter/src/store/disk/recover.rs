//! What a state folder holds: read whole, checked, and never taken for less than it is.

use std::fmt;
use std::io::{self, Read};

use super::device::{Append, Device, create_anew};
use super::frame::{self, Found};
use super::snapshot::{About, Reader};
use super::{Record, Seed};

/// The file that says that a folder is one of ours, and which secret its counters' fingerprints are made with.
pub(super) const FORMAT: &str = "FORMAT";
const FORMAT_NEW: &str = "FORMAT.new";
const FORMAT_VERSION: &str = "1";
const LOG: &str = "log-";
const SNAPSHOT: &str = "snapshot-";
pub(super) const SNAPSHOT_NEW: &str = "snapshot.new";

/// The files of a folder, by what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    /// The numbers of the last frames that went into the snapshots, ascending.
    pub(super) snapshots: Vec<u64>,
    /// The numbers of the first frames of the logs, ascending.
    pub(super) logs: Vec<u64>,
    pub(super) has_format: bool,
}

impl Files {
    pub(super) fn of<D: Device>(device: &D) -> io::Result<Files> {
        let mut files = Files::default();
        for name in device.names()? {
            let number = |prefix| u64::from_str_radix(name.strip_prefix(prefix)?, 16).ok();
            if name == FORMAT {
                files.has_format = true;
            } else if let Some(first) = number(LOG) {
                files.logs.push(first);
            } else if let Some(through) = number(SNAPSHOT) {
                files.snapshots.push(through);
            }
        }
        files.logs.sort_unstable();
        files.snapshots.sort_unstable();
        Ok(files)
    }
}

pub(super) fn log_name(first: u64) -> String {
    format!("{LOG}{first:016x}")
}

pub(super) fn snapshot_name(through: u64) -> String {
    format!("{SNAPSHOT}{through:016x}")
}

/// What was found in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// What fingerprints are made with.
    pub seed: Seed,
    /// The last frame that was read; zero if there is none.
    pub frames: u64,
    /// The latest instant that a counter knew of, in microseconds since 1970.
    pub latest: u64,
    /// Records that were read: counters of the snapshot, and changes since.
    pub records: u64,
    /// Frames of which one copy was damaged and the other was read.
    pub mended: u64,
    /// Bytes at the end of logs that were appended when a crash came. Nobody was told that they are kept.
    pub torn: u64,
    /// Bytes of the logs and of the snapshot.
    pub bytes: u64,
}

impl Recovered {
    /// What is in an empty folder.
    pub(super) fn nothing(seed: Seed) -> Recovered {
        Recovered { seed, frames: 0, latest: 0, records: 0, mended: 0, torn: 0, bytes: 0 }
    }
}

/// Reads everything, and hands out each record in the order of what happened: a later one of a counter replaces an earlier.
pub(super) fn recover<D: Device>(
    device: &D,
    mut take: impl FnMut(Record<'_>),
) -> Result<Option<Recovered>, RecoverError> {
    let files = Files::of(device).map_err(RecoverError::list)?;
    if !files.has_format {
        let is_empty = files.logs.is_empty() && files.snapshots.is_empty();
        return if is_empty {
            Ok(None)
        } else {
            Err(RecoverError::damaged(FORMAT, "it is missing, and its logs are there"))
        };
    }
    let seed = read_format(device)?;
    let mut found = Recovered::nothing(seed);
    if let Some(through) = files.snapshots.last() {
        read_snapshot(device, *through, &mut found, &mut take)?;
    }
    read_logs(device, &files.logs, &mut found, &mut take)?;
    Ok(Some(found))
}

fn read_snapshot<D: Device>(
    device: &D,
    through: u64,
    found: &mut Recovered,
    take: &mut impl FnMut(Record<'_>),
) -> Result<(), RecoverError> {
    let mut snapshot = open_snapshot(device, through)?;
    let About { through, latest } = snapshot.about();
    (found.frames, found.latest) = (through, latest);
    while let Some(record) = snapshot.next()? {
        found.records += 1;
        found.bytes += u64::try_from(frame::length_of(record.state.len())).unwrap_or(0);
        take(record);
    }
    Ok(())
}

/// The snapshot that goes up to frame `through`.
pub(super) fn open_snapshot<D: Device>(device: &D, through: u64) -> Result<Reader<D::Reader>, RecoverError> {
    let name = snapshot_name(through);
    let file = device.open(&name).map_err(|error| RecoverError::Read { name: name.clone(), error })?;
    let reader = Reader::new(file, &name)?;
    if reader.about().through != through {
        return Err(RecoverError::damaged(&name, "it is of another number than its name says"));
    }
    Ok(reader)
}

/// Reads the logs from the frame behind `found.frames` on.
fn read_logs<D: Device>(
    device: &D,
    logs: &[u64],
    found: &mut Recovered,
    take: &mut impl FnMut(Record<'_>),
) -> Result<(), RecoverError> {
    let wanted = found.frames + 1;
    // What a snapshot has of a log, it has of all logs before.
    let start = logs.iter().rposition(|first| *first <= wanted).unwrap_or(0);
    for (index, first) in logs.iter().enumerate().skip(start) {
        if *first > found.frames + 1 {
            return Err(RecoverError::missing(found.frames + 1, *first - 1));
        }
        let next = logs.get(index + 1).copied();
        let log = Log { first: *first, next };
        log.read(device, found, take)?;
    }
    Ok(())
}

/// One log, and where the one after it begins.
#[derive(Clone, Copy)]
pub(super) struct Log {
    pub(super) first: u64,
    pub(super) next: Option<u64>,
}

impl Log {
    /// Hands out the records of the frames behind `found.frames`.
    pub(super) fn read<D: Device>(
        self,
        device: &D,
        found: &mut Recovered,
        take: &mut impl FnMut(Record<'_>),
    ) -> Result<(), RecoverError> {
        let name = log_name(self.first);
        let bytes = read_whole(device, &name)?;
        found.bytes += u64::try_from(bytes.len()).unwrap_or(0);
        let (mut at, mut number) = (0, self.first);
        loop {
            match frame::read(&bytes, at, number) {
                Found::Frame { frame, end, is_mended } => {
                    found.mended += u64::from(is_mended);
                    if number > found.frames {
                        found.frames = number;
                        found.latest = found.latest.max(frame.latest);
                        let mut records = frame.records();
                        while let Some(record) = records.next() {
                            found.records += 1;
                            take(record);
                        }
                    }
                    (at, number) = (end, number + 1);
                }
                Found::End => break,
                // What could not be appended, or made certain, was written again to the next log.
                Found::Torn | Found::Damaged if self.next.is_some_and(|next| next <= number) => {
                    found.torn += u64::try_from(bytes.len() - at).unwrap_or(0);
                    break;
                }
                Found::Torn if self.next.is_none() => {
                    found.torn += u64::try_from(bytes.len() - at).unwrap_or(0);
                    break;
                }
                Found::Torn | Found::Damaged => {
                    let what = format!("neither frame {number}, at byte {at}, nor its copy match their checksums");
                    return Err(RecoverError::Damaged { name, what });
                }
            }
        }
        Ok(())
    }
}

fn read_whole<D: Device>(device: &D, name: &str) -> Result<Vec<u8>, RecoverError> {
    let read = |name| {
        let mut bytes = Vec::new();
        device.open(name)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read(name).map_err(|error| RecoverError::Read { name: name.to_owned(), error })
}

/// Makes an empty folder one of ours.
pub(super) fn write_format<D: Device>(device: &D, seed: Seed) -> io::Result<()> {
    let Seed(words) = seed;
    let words: Vec<String> = words.iter().map(|word| format!("{word:016x}")).collect();
    let mut text = format!("tidegate state {FORMAT_VERSION}\nseed {}\n", words.join(" "));
    text.push_str(&format!("check {:08x}\n", crc32fast::hash(text.as_bytes())));
    let mut file = create_anew(device, FORMAT_NEW)?;
    file.append(text.as_bytes())?;
    file.sync()?;
    device.sync_names()?;
    device.rename(FORMAT_NEW, FORMAT)?;
    device.sync_names()
}

fn read_format<D: Device>(device: &D) -> Result<Seed, RecoverError> {
    let text = String::from_utf8(read_whole(device, FORMAT)?);
    let text = text.map_err(|_| RecoverError::damaged(FORMAT, "it is no text"))?;
    let version = text.strip_prefix("tidegate state ").and_then(|rest| rest.lines().next());
    if let Some(version) = version.filter(|version| *version != FORMAT_VERSION) {
        return Err(RecoverError::Version { found: version.to_owned() });
    }
    parse_format(&text).ok_or_else(|| RecoverError::damaged(FORMAT, "it does not match its checksum"))
}

fn parse_format(text: &str) -> Option<Seed> {
    let (said, check) = text.strip_suffix('\n')?.rsplit_once("check ")?;
    if u32::from_str_radix(check, 16).ok()? != crc32fast::hash(said.as_bytes()) {
        return None;
    }
    let words = said.lines().nth(1)?.strip_prefix("seed ")?;
    let words: Option<Vec<u64>> = words.split(' ').map(|word| u64::from_str_radix(word, 16).ok()).collect();
    words?.try_into().ok().map(Seed)
}

/// Why a state folder cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecoverError {
    /// Its files cannot be listed.
    List {
        /// Why.
        error: io::Error,
    },
    /// A file cannot be read.
    Read {
        /// Which.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// A file cannot be written.
    Write {
        /// Which.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// A file holds something else than was written to it. What its counters had used is not known.
    Damaged {
        /// Which.
        name: String,
        /// Where, and how it is known.
        what: String,
    },
    /// It is of a later version.
    Version {
        /// Which.
        found: String,
    },
}

impl RecoverError {
    fn list(error: io::Error) -> RecoverError {
        RecoverError::List { error }
    }

    fn damaged(name: &str, what: &str) -> RecoverError {
        RecoverError::Damaged { name: name.to_owned(), what: what.to_owned() }
    }

    pub(super) fn missing(first: u64, last: u64) -> RecoverError {
        let what = format!("frames {first} to {last} are in no file");
        RecoverError::Damaged { name: log_name(first), what }
    }
}

impl fmt::Display for RecoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoverError::List { error } => write!(f, "the state folder cannot be listed: {error}"),
            RecoverError::Read { name, error } => write!(f, "`{name}` in the state folder cannot be read: {error}"),
            RecoverError::Write { name, error } => write!(f, "`{name}` in the state folder cannot be written: {error}"),
            RecoverError::Damaged { name, what } => write!(f, "`{name}` in the state folder is damaged: {what}"),
            RecoverError::Version { found } => write!(
                f,
                "the state folder is of version {found}, which a later Tidegate wrote; this one reads version {FORMAT_VERSION}"
            ),
        }
    }
}

impl std::error::Error for RecoverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RecoverError::List { error } | RecoverError::Read { error, .. } | RecoverError::Write { error, .. } => {
                Some(error)
            }
            RecoverError::Damaged { .. } | RecoverError::Version { .. } => None,
        }
    }
}
