//! A folder in memory that remembers what was done to it, so that the power can be taken away after any step.

use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::sync::{Arc, Mutex};

use tidegate_limiter::store::disk::{Append, Device};

use super::super::support::Random;

/// What was done, or became known, one after the other.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Create {
        name: String,
        file: usize,
    },
    Append {
        file: usize,
        bytes: Vec<u8>,
    },
    Sync {
        file: usize,
    },
    /// The system forgot what it could not write: a sync that works later says nothing about it.
    FailedSync {
        file: usize,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
    SyncNames,
    /// Somebody was told that this version of a counter is kept.
    Kept {
        counter: u64,
        version: u64,
    },
}

/// What is to fail.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// One in so many appends writes a part only and fails; zero for none.
    pub(super) appends: u64,
    /// One in so many syncs fails.
    pub(super) syncs: u64,
    /// One in so many creations, renames and removals fails.
    pub(super) names: u64,
}

/// A folder, shared by who uses it and who watches it.
#[derive(Clone, Default)]
pub(super) struct Powerless {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, usize>,
    files: Vec<Vec<u8>>,
    steps: Vec<Step>,
    faults: Faults,
    random: Random,
}

impl Powerless {
    /// A folder of these files.
    pub(super) fn of(files: BTreeMap<String, Vec<u8>>) -> Powerless {
        let folder = Powerless::default();
        for (file, (name, bytes)) in files.into_iter().enumerate() {
            let mut state = folder.state.lock().unwrap();
            state.names.insert(name, file);
            state.files.push(bytes);
        }
        folder
    }

    pub(super) fn failing(self, faults: Faults, seed: u64) -> Powerless {
        let mut state = self.state.lock().unwrap();
        (state.faults, state.random) = (faults, Random::new(seed));
        drop(state);
        self
    }

    /// Nothing fails from here on.
    pub(super) fn mend(&self) {
        self.state.lock().unwrap().faults = Faults::default();
    }

    pub(super) fn told_kept(&self, counter: u64, version: u64) {
        self.state.lock().unwrap().steps.push(Step::Kept { counter, version });
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        self.state.lock().unwrap().steps.clone()
    }

    /// The files as they are.
    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state.lock().unwrap();
        state.names.iter().map(|(name, file)| (name.clone(), state.files[*file].clone())).collect()
    }
}

impl State {
    fn fails(&mut self, one_in: u64) -> io::Result<()> {
        if one_in > 0 && self.random.below(one_in) == 0 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl Device for Powerless {
    type Reader = Cursor<Vec<u8>>;
    type Appender = File;

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().unwrap().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Cursor<Vec<u8>>> {
        let state = self.state.lock().unwrap();
        let file = state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Cursor::new(state.files[*file].clone()))
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let mut state = self.state.lock().unwrap();
        let one_in = state.faults.names;
        state.fails(one_in)?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.files.len();
        state.files.push(Vec::new());
        state.names.insert(name.to_owned(), file);
        state.steps.push(Step::Create { name: name.to_owned(), file });
        Ok(File { folder: self.clone(), file })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let one_in = state.faults.names;
        state.fails(one_in)?;
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        state.steps.push(Step::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let one_in = state.faults.names;
        state.fails(one_in)?;
        state.names.remove(name);
        state.steps.push(Step::Remove { name: name.to_owned() });
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let one_in = state.faults.syncs;
        state.fails(one_in)?;
        state.steps.push(Step::SyncNames);
        Ok(())
    }
}

/// A file of a [`Powerless`] folder.
pub(super) struct File {
    folder: Powerless,
    file: usize,
}

impl Append for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.folder.state.lock().unwrap();
        let one_in = state.faults.appends;
        let failed = state.fails(one_in);
        let written = if failed.is_ok() { bytes.len() } else { state.random.below(bytes.len() as u64) as usize };
        state.files[self.file].extend_from_slice(&bytes[..written]);
        state.steps.push(Step::Append { file: self.file, bytes: bytes[..written].to_vec() });
        failed
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.folder.state.lock().unwrap();
        let one_in = state.faults.syncs;
        let failed = state.fails(one_in);
        let file = self.file;
        state.steps.push(if failed.is_ok() { Step::Sync { file } } else { Step::FailedSync { file } });
        failed
    }
}

/// What a crash leaves.
#[derive(Clone, Default)]
pub(super) struct Disk {
    names: BTreeMap<String, usize>,
    /// What was done to names since they were last certain.
    loose: Vec<Step>,
    files: BTreeMap<usize, Bytes>,
}

/// A file: what is certain, what was appended since, and which of it the system forgot to write.
#[derive(Clone, Default)]
struct Bytes {
    bytes: Vec<u8>,
    certain: usize,
    forgotten: Vec<std::ops::Range<usize>>,
}

const SECTOR: usize = 512;

impl Disk {
    pub(super) fn of(files: BTreeMap<String, Vec<u8>>) -> Disk {
        let mut disk = Disk::default();
        for (file, (name, bytes)) in files.into_iter().enumerate() {
            disk.names.insert(name, file);
            disk.files.insert(file, Bytes { certain: bytes.len(), bytes, forgotten: Vec::new() });
        }
        disk
    }

    pub(super) fn take(&mut self, step: &Step) {
        match step {
            Step::Create { file, .. } => {
                self.files.insert(*file, Bytes::default());
                self.loose.push(step.clone());
            }
            Step::Append { file, bytes } => self.files.get_mut(file).unwrap().bytes.extend_from_slice(bytes),
            Step::Sync { file } => {
                let file = self.files.get_mut(file).unwrap();
                file.certain = file.bytes.len();
            }
            Step::FailedSync { file } => {
                let file = self.files.get_mut(file).unwrap();
                file.forgotten.push(file.certain..file.bytes.len());
            }
            Step::Rename { .. } | Step::Remove { .. } => self.loose.push(step.clone()),
            Step::SyncNames => {
                let loose = std::mem::take(&mut self.loose);
                loose.iter().for_each(|step| rename(&mut self.names, step));
            }
            Step::Kept { .. } => {}
        }
    }

    /// What is found after the power went: of what is not certain, any of it.
    pub(super) fn crash(&self, random: &mut Random) -> BTreeMap<String, Vec<u8>> {
        let mut names = self.names.clone();
        let most = random.below(3);
        for step in &self.loose {
            if most == 0 || random.below(2) == 0 && most == 1 {
                continue;
            }
            rename(&mut names, step);
        }
        names.into_iter().map(|(name, file)| (name, self.files[&file].left(random))).collect()
    }
}

fn rename(names: &mut BTreeMap<String, usize>, step: &Step) {
    match step {
        Step::Create { name, file } => {
            names.insert(name.clone(), *file);
        }
        Step::Rename { from, to } => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Step::Remove { name } => {
            names.remove(name);
        }
        _ => {}
    }
}

impl Bytes {
    fn left(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for range in &self.forgotten {
            if random.below(2) == 0 {
                drop_sectors(&mut bytes, range.clone(), random);
            }
        }
        match random.below(4) {
            0 => bytes.truncate(self.certain),
            1 => {
                let loose = (bytes.len() - self.certain) as u64;
                bytes.truncate(self.certain + random.below(loose + 1) as usize);
            }
            2 => {
                let loose = self.certain..bytes.len();
                drop_sectors(&mut bytes, loose, random);
            }
            _ => {}
        }
        bytes
    }
}

/// Leaves zeros in place of some sectors of a range, wherever it begins in the first of them.
fn drop_sectors(bytes: &mut [u8], range: std::ops::Range<usize>, random: &mut Random) {
    let mut at = range.start;
    while at < range.end {
        let next = ((at / SECTOR + 1) * SECTOR).min(range.end);
        if random.below(2) == 0 {
            bytes[at..next].fill(0);
        }
        at = next;
    }
}
