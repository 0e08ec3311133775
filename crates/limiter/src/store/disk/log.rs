//! The log: changes of counters are noted, written in groups by a thread of its own, and known to be kept from then on.
//!
//! Whoever notes a change gets a [`Ticket`]; nothing that the change stands for may leave the process before the ticket
//! [is kept](Log::is_kept). All changes that are noted while a group is being synced go into the next one, so that a slow
//! disk makes groups larger, not the line longer.
//!
//! **When the disk fails** nothing of a group counts as kept: a sync that failed once says nothing by succeeding later, as
//! the system may have dropped what it could not write. The file is left as it is, and the whole group is written to a
//! new one, again and again, until that works. What is noted meanwhile is held, up to [`MAX_NOTED`] bytes; then there is
//! no room, which is for the caller's rule to answer.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use event_listener::{Event, Listener};

use super::device::{Append, Device, create_anew};
use super::frame::{self, MAX_BODY};
use super::recover::log_name;
use super::{Incident, Record, Watcher};

/// Most bytes of changes that are noted and not yet kept: ten seconds' worth of a million changes a minute.
pub(super) const MAX_NOTED: usize = 64 << 20;

/// How long after a failure the next attempt is made. Space that was freed is used within it.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Lists of changes that are noted side by side.
const SHARDS: usize = 8;

/// Places where the latest ticket of a counter is remembered, by its fingerprint. Counters that share one wait for each
/// other's changes now and then, which costs time and nothing else. 32 KiB.
const PLACES: usize = 4_096;

/// When a change is kept: with its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ticket(u64);

/// A log that is being written.
pub(super) struct Log {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    shards: [Mutex<Shard>; SHARDS],
    latest: Box<[AtomicU64]>,
    noted: AtomicUsize,
    /// The last group that is kept.
    kept: AtomicU64,
    /// Told whenever `kept` has grown.
    kept_more: Event,
    /// Whether the last attempt to keep something failed.
    is_failing: AtomicBool,
    /// What the writer is to do.
    wanted: Mutex<Wanted>,
    wake: Condvar,
}

/// Changes that are noted and that no group has yet.
#[derive(Default)]
struct Shard {
    records: Vec<u8>,
    latest: u64,
    /// The group that they will be in.
    group: u64,
}

#[derive(Default)]
struct Wanted {
    writes: bool,
    stops: bool,
}

impl Log {
    /// A log whose first frame is to be numbered `first`. A thread writes it until it is dropped.
    pub(super) fn begin<D: Device>(
        device: Arc<D>,
        first: u64,
        max_log: usize,
        watcher: Watcher,
        on_end: impl FnMut(u64) + Send + 'static,
    ) -> io::Result<Log> {
        let shard = || Mutex::new(Shard { group: 1, ..Shard::default() });
        let shared = Arc::new(Shared {
            shards: std::array::from_fn(|_| shard()),
            latest: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            noted: AtomicUsize::new(0),
            kept: AtomicU64::new(0),
            kept_more: Event::new(),
            is_failing: AtomicBool::new(false),
            wanted: Mutex::default(),
            wake: Condvar::new(),
        });
        let writer = Writer {
            device,
            shared: Arc::clone(&shared),
            watcher,
            on_end: Box::new(on_end),
            max_log,
            file: None,
            first,
            group: 0,
        };
        let writer = thread::Builder::new().name("tidegate-log".to_owned()).spawn(move || writer.run())?;
        Ok(Log { shared, writer: Some(writer) })
    }

    /// Whether there is room for more changes to be noted.
    pub(super) fn has_room(&self) -> bool {
        self.shared.noted.load(Ordering::Relaxed) < MAX_NOTED
    }

    /// Whether the last attempt to keep something failed.
    pub(super) fn is_failing(&self) -> bool {
        self.shared.is_failing.load(Ordering::Relaxed)
    }

    /// Notes what became of a counter; `now` in microseconds since 1970.
    ///
    /// Changes of one counter are to be noted in the order in which they happened: by whoever holds its bucket.
    pub(super) fn note(&self, record: Record<'_>, now: u64) {
        let place = place_of(record.counter);
        let mut shard = lock(&self.shared.shards[place % SHARDS]);
        let is_first = shard.records.is_empty();
        frame::push(record, &mut shard.records);
        shard.latest = shard.latest.max(now);
        self.shared.latest[place].store(shard.group, Ordering::Release);
        // Before the writer can take it and subtract it.
        self.shared.noted.fetch_add(frame::length_of(record.state.len()), Ordering::Relaxed);
        drop(shard);
        if is_first {
            lock(&self.shared.wanted).writes = true;
            self.shared.wake.notify_one();
        }
    }

    /// The ticket of the latest change of a counter; an earlier one may be kept already.
    pub(super) fn latest(&self, counter: [u64; 2]) -> Ticket {
        Ticket(self.shared.latest[place_of(counter)].load(Ordering::Acquire))
    }

    /// Whether a change is kept.
    pub(super) fn is_kept(&self, ticket: Ticket) -> bool {
        self.shared.kept.load(Ordering::Acquire) >= ticket.0
    }

    /// Ends when a change is kept.
    pub(super) async fn kept(&self, ticket: Ticket) {
        while !self.is_kept(ticket) {
            let listener = self.shared.kept_more.listen();
            // It may have happened before anybody listened.
            if self.is_kept(ticket) {
                return;
            }
            listener.await;
        }
    }

    /// Waits until a change is kept, for who has no executor; at most twice as long as `most`, since a change is in the
    /// group that is being kept or in the next. Whether it is.
    pub(super) fn wait(&self, ticket: Ticket, most: Duration) -> bool {
        while !self.is_kept(ticket) {
            let listener = self.shared.kept_more.listen();
            if !self.is_kept(ticket) && listener.wait_timeout(most).is_none() {
                return self.is_kept(ticket);
            }
        }
        true
    }
}

impl Drop for Log {
    /// What was noted is written, if the disk lets it.
    fn drop(&mut self) {
        lock(&self.shared.wanted).stops = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.take() {
            // It has told its watcher of what failed; that it panicked would be a mistake of ours, and it said so.
            let _ = writer.join();
        }
    }
}

/// The thread that writes.
struct Writer<D: Device> {
    device: Arc<D>,
    shared: Arc<Shared>,
    watcher: Watcher,
    /// Told the number of the frame behind a log that has ended.
    on_end: Box<dyn FnMut(u64) + Send>,
    max_log: usize,
    file: Option<(D::Appender, usize)>,
    /// The number of the next frame.
    first: u64,
    /// The last group that was taken.
    group: u64,
}

impl<D: Device> Writer<D> {
    fn run(mut self) {
        let mut bytes = Vec::new();
        loop {
            let stops = self.wait();
            bytes.clear();
            let (frames, taken) = self.take(&mut bytes);
            if frames > 0 && !self.keep(&bytes, frames) {
                return;
            }
            self.shared.noted.fetch_sub(taken, Ordering::Relaxed);
            self.shared.kept.store(self.group, Ordering::Release);
            self.shared.kept_more.notify(usize::MAX);
            if stops && frames == 0 {
                return;
            }
        }
    }

    /// Waits until there is something to do, and says whether it is to stop when there is not.
    fn wait(&self) -> bool {
        let mut wanted = lock(&self.shared.wanted);
        while !wanted.writes && !wanted.stops {
            wanted = self.shared.wake.wait(wanted).unwrap_or_else(PoisonError::into_inner);
        }
        wanted.writes = false;
        wanted.stops
    }

    /// Takes all that is noted as a group, in frames. How many frames there are, and how many bytes were noted.
    fn take(&mut self, out: &mut Vec<u8>) -> (u64, usize) {
        self.group += 1;
        let (mut records, mut latest) = (Vec::new(), 0);
        for shard in &self.shared.shards {
            let mut shard = lock(shard);
            shard.group = self.group + 1;
            latest = latest.max(shard.latest);
            records.append(&mut shard.records);
        }
        let mut frames = 0;
        let mut rest = &records[..];
        while !rest.is_empty() {
            let (body, others) = rest.split_at(frame::whole_records(rest, MAX_BODY));
            frame::write(self.first + frames, latest, body, out);
            (rest, frames) = (others, frames + 1);
        }
        (frames, records.len())
    }

    /// Writes a group until it is kept. False if it is to stop and cannot be kept.
    fn keep(&mut self, bytes: &[u8], frames: u64) -> bool {
        loop {
            match self.try_keep(bytes) {
                Ok(()) => {
                    self.first += frames;
                    if self.shared.is_failing.swap(false, Ordering::Relaxed) {
                        (self.watcher)(Incident::KeepsAgain);
                    }
                    return true;
                }
                Err(error) => {
                    // What this file holds is uncertain from here on.
                    self.file = None;
                    if !self.shared.is_failing.swap(true, Ordering::Relaxed) {
                        (self.watcher)(Incident::CannotKeep(&error));
                    }
                    if self.stops_within(RETRY_AFTER) {
                        return false;
                    }
                }
            }
        }
    }

    fn try_keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.as_ref().is_some_and(|(_, length)| length + bytes.len() > self.max_log) {
            self.file = None;
            (self.on_end)(self.first);
        }
        let (file, length) = match &mut self.file {
            Some(file) => file,
            none => {
                let file = create_anew(&*self.device, &log_name(self.first))?;
                self.device.sync_names()?;
                none.insert((file, 0))
            }
        };
        file.append(bytes)?;
        file.sync()?;
        *length += bytes.len();
        Ok(())
    }

    fn stops_within(&self, span: Duration) -> bool {
        let wanted = lock(&self.shared.wanted);
        let waited = self.shared.wake.wait_timeout_while(wanted, span, |wanted| !wanted.stops);
        waited.unwrap_or_else(PoisonError::into_inner).0.stops
    }
}

fn place_of(counter: [u64; 2]) -> usize {
    usize::try_from(counter[0] % 4_096).unwrap_or(0)
}

/// Nobody panics while holding these locks; if somebody did, what they guard is whole all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
