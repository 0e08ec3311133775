//! Every corpus through its target, without a fuzzer: what was found once stays found.

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_fuzz::TARGETS;

fn files(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = read.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn every_corpus_holds() {
    for (name, target) in TARGETS {
        let corpus = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name));
        assert!(corpus.len() >= 10, "the corpus of {name} has {} files", corpus.len());
        for path in corpus {
            let data = fs::read(&path).expect("a file of the corpus");
            // Printed if it panics, so that the file can be found.
            println!("{}", path.display());
            target(&data);
        }
    }
}

/// A target without a binary would never be fuzzed.
#[test]
fn every_target_can_be_fuzzed() {
    let binaries = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets"));
    let mut names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let stems: Vec<&str> =
        binaries.iter().map(|path| path.file_stem().and_then(|stem| stem.to_str()).expect("a name")).collect();
    assert_eq!(stems, names);
}
