//! Folds logs into a snapshot: what happened becomes what is, and what is over is left out.
//!
//! The old snapshot, which is in order, is read beside the sorted changes of a few logs and written anew; the memory for
//! it is bounded by these logs. At every step the folder holds everything: the new snapshot gets its name when it is
//! whole, and only then are the files removed that it stands for.

use std::collections::HashMap;
use std::io;

use super::device::{Device, create_anew};
use super::recover::{Files, Log, RecoverError, Recovered, SNAPSHOT_NEW, log_name, open_snapshot, snapshot_name};
use super::snapshot::{About, Writer};
use super::{Record, Seed};

/// Logs that are folded at a time, at most; each is at most 64 MiB long, give or take a group.
const LOGS_AT_A_TIME: usize = 4;

/// What folding came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// Files that were removed.
    pub removed: u64,
    /// Counters that are in the snapshot.
    pub counters: u64,
    /// Counters that were left out because they are as good as fresh.
    pub over: u64,
}

/// A counter and its state.
type Change = ([u64; 2], Box<[u64]>);

/// Folds all logs before the one that begins with frame `end` into a snapshot, or every log if there is none such.
pub(super) fn compact<D: Device>(device: &D, end: u64) -> Result<Compacted, RecoverError> {
    let mut done = Compacted::default();
    loop {
        let files = Files::of(device).map_err(|error| RecoverError::List { error })?;
        let old = files.snapshots.last().copied();
        let about =
            old.map_or(Ok(About { through: 0, latest: 0 }), |through| Ok(open_snapshot(device, through)?.about()))?;
        let behind = |first: &u64, next: Option<u64>| next.is_none_or(|next| next > about.through + 1) && *first < end;
        let logs: Vec<Log> = files
            .logs
            .iter()
            .enumerate()
            .map(|(index, first)| Log { first: *first, next: files.logs.get(index + 1).copied() })
            .filter(|log| behind(&log.first, log.next))
            .take(LOGS_AT_A_TIME)
            .collect();
        if logs.is_empty() {
            done.removed += remove_what_is_over(device, about.through, false)?;
            return Ok(done);
        }
        let (changes, about) = changes(device, &logs, about)?;
        let (counters, over) = merge(device, old, &changes, about)?;
        (done.counters, done.over) = (counters, done.over + over);
        let has_folded_all = logs.iter().any(|log| log.next.is_none());
        done.removed += remove_what_is_over(device, about.through, has_folded_all)?;
        if has_folded_all {
            return Ok(done);
        }
    }
}

/// The last change of each counter in these logs, in the order of the counters.
fn changes<D: Device>(device: &D, logs: &[Log], about: About) -> Result<(Vec<Change>, About), RecoverError> {
    let mut found = Recovered::nothing(Seed([0; 4]));
    (found.frames, found.latest) = (about.through, about.latest);
    let mut last: HashMap<[u64; 2], Box<[u64]>> = HashMap::new();
    for log in logs {
        if log.first > found.frames + 1 {
            return Err(RecoverError::missing(found.frames + 1, log.first - 1));
        }
        log.read(device, &mut found, &mut |record| {
            last.insert(record.counter, record.state.into());
        })?;
    }
    let mut changes: Vec<Change> = last.into_iter().collect();
    changes.sort_unstable_by_key(|(counter, _)| *counter);
    Ok((changes, About { through: found.frames, latest: found.latest }))
}

/// Writes what the old snapshot has and the changes do not, and the changes; how many counters, and how many are over.
fn merge<D: Device>(
    device: &D,
    old: Option<u64>,
    changes: &[Change],
    about: About,
) -> Result<(u64, u64), RecoverError> {
    let write = |error| RecoverError::Write { name: SNAPSHOT_NEW.to_owned(), error };
    let file = create_anew(device, SNAPSHOT_NEW).map_err(write)?;
    let mut new = Writer::new(file, about).map_err(write)?;
    let mut over = 0;
    let mut put = |record: Record<'_>| {
        if record.state[0] <= about.latest {
            over += 1;
            return Ok(());
        }
        new.push(record)
    };
    let mut old = old.map(|through| open_snapshot(device, through)).transpose()?;
    let mut changes = changes.iter().peekable();
    while let Some(record) = old.as_mut().map(|old| old.next()).transpose()?.flatten() {
        while let Some((counter, state)) = changes.next_if(|(counter, _)| *counter < record.counter) {
            put(Record { counter: *counter, state }).map_err(write)?;
        }
        match changes.next_if(|(counter, _)| *counter == record.counter) {
            Some((counter, state)) => put(Record { counter: *counter, state }).map_err(write)?,
            None => put(record).map_err(write)?,
        }
    }
    for (counter, state) in changes {
        put(Record { counter: *counter, state }).map_err(write)?;
    }
    let counters = new.finish().map_err(write)?;
    // That this file has the old name comes first: another one may have had it, which was begun and came to nothing.
    let rename = || device.rename(SNAPSHOT_NEW, &snapshot_name(about.through));
    device.sync_names().and_then(|()| rename()).and_then(|()| device.sync_names()).map_err(write)?;
    Ok((counters, over))
}

/// Removes the snapshots before the one that goes up to frame `through`, and the logs that end at it or before: all logs, if
/// every one was folded.
fn remove_what_is_over<D: Device>(device: &D, through: u64, are_all_folded: bool) -> Result<u64, RecoverError> {
    let files = Files::of(device).map_err(|error| RecoverError::List { error })?;
    let snapshots = files.snapshots.iter().filter(|other| **other < through).map(|other| snapshot_name(*other));
    let ends_of = files.logs.iter().skip(1).map(|next| *next <= through + 1).chain([are_all_folded]);
    let logs = files.logs.iter().zip(ends_of).filter(|(_, is_over)| *is_over).map(|(first, _)| log_name(*first));
    let mut removed = 0;
    for name in snapshots.chain(logs) {
        device.remove(&name).map_err(|error| RecoverError::Write { name, error })?;
        removed += 1;
    }
    let sync = || if removed > 0 { device.sync_names() } else { io::Result::Ok(()) };
    sync().map_err(|error| RecoverError::Write { name: "the folder".to_owned(), error })?;
    Ok(removed)
}
