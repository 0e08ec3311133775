//! The few things that are done to the files of a state folder: by a real folder, or by one that loses power in tests.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A folder of append-only files.
///
/// What was appended is kept for certain once [`Append::sync`] has returned, and that a file has its name once
/// [`Device::sync_names`] has. Until then a crash may keep it, lose it, or keep some of its sectors and leave zeros in
/// place of others.
pub trait Device: Send + Sync + 'static {
    /// A file that is read from its beginning.
    type Reader: Read + Send;
    /// A file that grows at its end.
    type Appender: Append;

    /// The names of all files.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Opens a file to be read.
    ///
    /// # Errors
    ///
    /// There is none of that name, or it cannot be read.
    fn open(&self, name: &str) -> io::Result<Self::Reader>;

    /// Makes a new, empty file.
    ///
    /// # Errors
    ///
    /// There is one of that name already, or it cannot be written.
    fn create(&self, name: &str) -> io::Result<Self::Appender>;

    /// Gives a file another name, and takes it from whichever file has it.
    ///
    /// # Errors
    ///
    /// There is none of that name, or the folder cannot be written.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// There is none of that name, or the folder cannot be written.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes it certain which files there are and what they are called.
    ///
    /// # Errors
    ///
    /// It did not become certain.
    fn sync_names(&self) -> io::Result<()>;
}

/// A file that grows at its end.
pub trait Append: Send {
    /// Writes all of `bytes` at the end.
    ///
    /// # Errors
    ///
    /// Some of them may have been written, or none.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes it certain that what was appended is kept.
    ///
    /// # Errors
    ///
    /// Nobody knows which of it is kept, and trying again would not tell: the system may have forgotten what it could
    /// not write.
    fn sync(&mut self) -> io::Result<()>;
}

/// Makes a new, empty file, in place of one that was begun under the same name and came to nothing.
pub(super) fn create_anew<D: Device>(device: &D, name: &str) -> io::Result<D::Appender> {
    match device.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => device.create(name),
    }
}

/// A folder of the file system, which one process at a time has.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Locked as long as it is open; a process that is killed leaves it unlocked.
    _lock: File,
}

/// What is locked.
const LOCK: &str = "LOCK";

impl Folder {
    /// The folder at `path`, made if it is not there.
    ///
    /// # Errors
    ///
    /// It cannot be made, is no folder, or another process has it.
    pub fn at(path: &Path) -> io::Result<Folder> {
        fs::create_dir_all(path)?;
        let lock = OpenOptions::new().create(true).append(true).open(path.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                let busy = format!("another process uses {}: stop it, or choose another folder", path.display());
                io::Error::new(io::ErrorKind::ResourceBusy, busy)
            }
            TryLockError::Error(error) => error,
        })?;
        let folder = Folder { path: path.to_owned(), _lock: lock };
        folder.names()?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Device for Folder {
    type Reader = File;
    type Appender = File;

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // Names that are no text are none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<File> {
        File::open(self.path.join(name))
    }

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().append(true).create_new(true).open(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Append for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
