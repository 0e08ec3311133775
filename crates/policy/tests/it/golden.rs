//! Files with their expected output beside. `UPDATE_GOLDEN=1` rewrites the output; read the diff.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of this crate's test data.
pub(crate) fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// The files in a folder that end in `.extension`, sorted.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

/// Differences between expected and found outputs, gathered so that one run shows them all.
#[derive(Debug, Default)]
pub(crate) struct Golden {
    differences: Vec<String>,
    seen: Vec<PathBuf>,
}

impl Golden {
    /// Compares `found` with the file at `path`, or writes it there.
    pub(crate) fn compare(&mut self, path: &Path, found: &str) {
        self.seen.push(path.to_owned());
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
            fs::write(path, found).expect("a writable file");
            return;
        }
        let expected = fs::read_to_string(path).unwrap_or_default();
        if expected != found {
            self.differences.push(format!("{}\n--- expected\n{expected}\n--- found\n{found}", path.display()));
        }
    }

    /// Fails if anything was different, or if `folder` holds an output that nothing gives any more.
    pub(crate) fn finish(self, folder: &Path) {
        let stray: Vec<PathBuf> = files(folder, "txt").into_iter().filter(|path| !self.seen.contains(path)).collect();
        assert!(stray.is_empty(), "outputs without a test: {stray:?}");
        assert!(self.differences.is_empty(), "{}\nUPDATE_GOLDEN=1 accepts", self.differences.join("\n\n"));
    }
}
