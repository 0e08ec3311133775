//! Counters that survive: a log of what becomes of them, and snapshots, in a folder that one process owns.
//!
//! - `disk/device.rs`: what is done to files, so that tests can take the power away at every step;
//! - `disk/frame.rs`: changes in bytes, checked and written twice;
//! - `disk/log.rs`: changes are noted, kept in groups, and their callers told;
//! - `disk/snapshot.rs`: the last word on every counter, in bytes;
//! - `disk/compact.rs`: logs become a snapshot;
//! - `disk/recover.rs`: a folder is read, and never taken for less than it is.
//!
//! A folder holds:
//!
//! | file | holds |
//! |---|---|
//! | `FORMAT` | that it is one of ours, its version, the secret of its fingerprints, a checksum; text |
//! | `LOCK` | nothing; who has locked it owns the folder |
//! | `log-N` | frames from number N on, N in 16 hexadecimal digits |
//! | `snapshot-N` | what was known of every counter after frame N |
//! | `FORMAT.new`, `snapshot.new` | what was begun and is not whole; never read |
//!
//! **What is damaged is never read as less.** Every byte but those of names is covered by a checksum. A frame that is
//! damaged is read from its copy. Where that is damaged too, a frame is missing, or a snapshot does not match its
//! checksums, the folder is not used: nobody knows which counters it was about. Only what a crash cut off at the end of a
//! log is passed over, as nobody was told that it was kept.

mod compact;
mod device;
mod frame;
mod log;
mod recover;
mod snapshot;

use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

pub use compact::Compacted;
pub use device::{Append, Device, Folder};
pub use log::Ticket;
pub use recover::{RecoverError, Recovered};

use log::Log;

/// How a folder is written.
#[derive(Clone, Copy, Debug)]
pub struct JournalOptions {
    /// Bytes from which on a log is ended and another begun, so that folding it is short work.
    pub max_log: usize,
    /// Logs that are ended before they are folded into a snapshot. Fewer would write the snapshot more often, more would
    /// leave more to be read at the start.
    pub logs_before_folding: usize,
}

impl Default for JournalOptions {
    /// 64 MiB a log, two logs.
    fn default() -> JournalOptions {
        JournalOptions { max_log: 64 << 20, logs_before_folding: 2 }
    }
}

/// What is known of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'r> {
    /// Its fingerprint: tag and place.
    pub counter: [u64; 2],
    /// Its state, as its rule counts it, 2 to 64 words; word 0 is when it is as good as fresh.
    pub state: &'r [u64],
}

/// The secret that fingerprints are made with. It stays with the counters, or none of them would be found again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u64; 4]);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed")
    }
}

/// Something that an operator should know.
#[derive(Debug)]
#[non_exhaustive]
pub enum Incident<'e> {
    /// Changes cannot be made certain. They are held and tried again.
    CannotKeep(&'e io::Error),
    /// They can be again, and all that were held are.
    KeepsAgain,
    /// Logs could not be folded into a snapshot. They stay as they are, and grow.
    CannotCompact(&'e RecoverError),
    /// Logs were folded into a snapshot.
    HasCompacted(Compacted),
}

/// Who is told.
pub type Watcher = Arc<dyn Fn(Incident<'_>) + Send + Sync>;

/// A folder that is in use.
pub struct Journal {
    /// Dropped first: it tells the other of its logs until it ends.
    log: Log,
    _folding: Folding,
}

impl Journal {
    /// Reads a folder, hands every record to `take` in the order of what happened, and goes on from there. An empty folder
    /// is made one of ours, with the secret `fresh`.
    ///
    /// # Errors
    ///
    /// The folder is damaged, of a later version, or cannot be read or written.
    pub fn open<D: Device>(
        device: D,
        options: JournalOptions,
        fresh: Seed,
        watcher: Watcher,
        take: impl FnMut(Record<'_>),
    ) -> Result<(Journal, Recovered), RecoverError> {
        let device = Arc::new(device);
        let write = |name: &str, error| RecoverError::Write { name: name.to_owned(), error };
        let recovered = match recover::recover(&*device, take)? {
            Some(recovered) => recovered,
            None => {
                recover::write_format(&*device, fresh).map_err(|error| write(recover::FORMAT, error))?;
                Recovered::nothing(fresh)
            }
        };
        let (folding, tell) = Folding::begin(Arc::clone(&device), options.logs_before_folding, Arc::clone(&watcher))
            .map_err(|error| write("the thread that folds", error))?;
        let log = Log::begin(device, recovered.frames + 1, options.max_log, watcher, move |end| {
            // It listens as long as there is a log.
            let _ = tell.send(end);
        });
        let log = log.map_err(|error| write("the thread that writes", error))?;
        Ok((Journal { log, _folding: folding }, recovered))
    }

    /// Whether there is room for more changes to be noted; while the disk fails, there is in the end none.
    pub fn has_room(&self) -> bool {
        self.log.has_room()
    }

    /// Whether the last attempt to keep something failed.
    pub fn is_failing(&self) -> bool {
        self.log.is_failing()
    }

    /// Notes what became of a counter at `now`, in microseconds since 1970. Waits for no disk.
    ///
    /// Changes of one counter are to be noted in the order in which they happened: by whoever holds its bucket.
    pub fn note(&self, record: Record<'_>, now: u64) {
        self.log.note(record, now);
    }

    /// The ticket of the latest change of a counter, or of one that shares its place; zero where there was none.
    pub fn latest(&self, counter: [u64; 2]) -> Ticket {
        self.log.latest(counter)
    }

    /// Whether a change is kept, and all of its counter before it.
    pub fn is_kept(&self, ticket: Ticket) -> bool {
        self.log.is_kept(ticket)
    }

    /// Ends when a change is kept.
    pub async fn kept(&self, ticket: Ticket) {
        self.log.kept(ticket).await;
    }

    /// Waits until a change is kept, for who has no executor; at most twice as long as `most`. Whether it is.
    pub fn wait(&self, ticket: Ticket, most: Duration) -> bool {
        self.log.wait(ticket, most)
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("is_failing", &self.is_failing()).finish_non_exhaustive()
    }
}

/// Reads a folder that nobody uses and says what is in it; `None` if nothing is. Changes nothing.
///
/// # Errors
///
/// The folder is damaged, of a later version, or cannot be read.
pub fn verify<D: Device>(device: &D, take: impl FnMut(Record<'_>)) -> Result<Option<Recovered>, RecoverError> {
    recover::recover(device, take)
}

/// Folds all logs of a folder that nobody uses into a snapshot.
///
/// # Errors
///
/// The folder is damaged, of a later version, or cannot be read or written. It holds what it held.
pub fn compact<D: Device>(device: &D) -> Result<Compacted, RecoverError> {
    compact::compact(device, u64::MAX)
}

/// The thread that folds logs, which ends with the log that tells it of them.
struct Folding {
    thread: Option<JoinHandle<()>>,
}

impl Folding {
    fn begin<D: Device>(device: Arc<D>, logs: usize, watcher: Watcher) -> io::Result<(Folding, mpsc::Sender<u64>)> {
        let (tell, told) = mpsc::channel();
        let folding = move || fold(&*device, logs, &told, &watcher);
        let thread = thread::Builder::new().name("tidegate-fold".to_owned()).spawn(folding)?;
        Ok((Folding { thread: Some(thread) }, tell))
    }
}

impl Drop for Folding {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // What failed was told.
            let _ = thread.join();
        }
    }
}

/// Folds logs as they end.
fn fold<D: Device>(device: &D, logs: usize, ended: &mpsc::Receiver<u64>, watcher: &Watcher) {
    let mut waiting = 0;
    while let Ok(end) = ended.recv() {
        waiting += 1;
        if waiting < logs {
            continue;
        }
        match compact::compact(device, end) {
            Ok(compacted) => {
                waiting = 0;
                watcher(Incident::HasCompacted(compacted));
            }
            Err(error) => watcher(Incident::CannotCompact(&error)),
        }
    }
}
