//! Bytes that go bad: read as what they were, or refused by name; never read as less (I22, M8).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_limiter::store::disk::{Folder, Journal, JournalOptions, Record, RecoverError, Seed, compact, verify};

use super::powerless::Powerless;

const LONG: Duration = Duration::from_secs(30);

/// The last state of each counter.
type Counters = BTreeMap<[u64; 2], Vec<u64>>;

/// A folder with a snapshot and two logs, and what it holds.
fn folder() -> (BTreeMap<String, Vec<u8>>, Counters) {
    let folder = Powerless::default();
    let mut counters = Counters::new();
    for part in 0..3_u64 {
        let options = JournalOptions { max_log: 8_192, logs_before_folding: 100 };
        let (journal, _) = Journal::open(folder.clone(), options, Seed([5; 4]), Arc::new(|_| {}), |_| {}).unwrap();
        for number in 0..40 {
            let counter = [number % 17, number];
            let state = vec![u64::MAX, part * 100 + number];
            journal.note(Record { counter, state: &state }, number);
            counters.insert(counter, state);
            if number % 5 == 0 {
                assert!(journal.wait(journal.latest(counter), LONG));
            }
        }
        drop(journal);
        if part == 0 {
            compact(&folder).unwrap();
        }
    }
    (folder.files(), counters)
}

fn read(files: BTreeMap<String, Vec<u8>>) -> Result<(Counters, u64), RecoverError> {
    let mut counters = Counters::new();
    let recovered = verify(&Powerless::of(files), |record| {
        counters.insert(record.counter, record.state.to_vec());
    })?;
    Ok((counters, recovered.map_or(0, |recovered| recovered.mended)))
}

#[test]
fn every_byte_that_flips_is_mended_or_refused() {
    let (files, counters) = folder();
    assert_eq!(read(files.clone()).unwrap(), (counters.clone(), 0));
    let (mut mended, mut refused, mut harmless) = (0, 0, 0);
    for (name, bytes) in &files {
        for at in 0..bytes.len() {
            let mut files = files.clone();
            files.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            match read(files) {
                Ok((found, told)) => {
                    assert_eq!(found, counters, "byte {at} of {name}");
                    // What fills a sector says nothing.
                    *if told == 1 { &mut mended } else { &mut harmless } += 1;
                }
                Err(RecoverError::Damaged { name: told, .. }) => {
                    assert_eq!(&told, name, "byte {at}");
                    refused += 1;
                }
                Err(RecoverError::Version { .. }) => assert_eq!(name, "FORMAT"),
                Err(other) => panic!("byte {at} of {name}: {other}"),
            }
        }
    }
    assert!(mended > 1_000 && refused > 500, "{mended} mended, {refused} refused, {harmless} harmless");
}

#[test]
fn a_sector_that_goes_bad_is_mended() {
    let (files, counters) = folder();
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("log-")) {
        for sector in 0..bytes.len() / 512 {
            let mut files = files.clone();
            files.get_mut(name).unwrap()[sector * 512..(sector + 1) * 512].fill(0x5a);
            let (found, mended) = read(files).unwrap();
            assert_eq!((found, mended), (counters.clone(), 1), "sector {sector} of {name}");
        }
    }
}

/// All but the last log: that there was one would have to be known from elsewhere.
#[test]
fn a_file_that_is_gone_is_missed() {
    let (files, _) = folder();
    let last = files.keys().rfind(|name| name.starts_with("log-")).unwrap();
    for name in files.keys().filter(|name| *name != last) {
        let mut files = files.clone();
        files.remove(name);
        let error = read(files).unwrap_err();
        assert!(matches!(error, RecoverError::Damaged { .. }), "{name}: {error}");
    }
}

#[test]
fn a_later_version_is_named() {
    let (mut files, _) = folder();
    let format = files.get_mut("FORMAT").unwrap();
    *format = String::from_utf8(format.clone()).unwrap().replacen("state 1", "state 2", 1).into_bytes();
    let error = read(files).unwrap_err();
    assert!(matches!(&error, RecoverError::Version { found } if found == "2"), "{error}");
}

#[test]
fn a_real_folder_is_read_again() {
    let place = tempfile::tempdir().unwrap();
    let counter = [1, 2];
    for round in 1..=3 {
        let mut found = None;
        let device = Folder::at(place.path()).unwrap();
        let options = JournalOptions::default();
        let opened =
            Journal::open(device, options, Seed([9; 4]), Arc::new(|_| {}), |record| found = Some(record.state[1]));
        let (journal, recovered) = opened.unwrap();
        assert_eq!(recovered.seed, Seed([9; 4]));
        assert_eq!(found, Some(round - 1).filter(|round| *round > 0));
        journal.note(Record { counter, state: &[u64::MAX, round] }, round);
        assert!(journal.wait(journal.latest(counter), LONG));
    }
}

/// M9.
#[test]
fn a_folder_has_one_owner() {
    let place = tempfile::tempdir().unwrap();
    let owner = Folder::at(place.path()).unwrap();
    let error = Folder::at(place.path()).unwrap_err();
    assert!(error.to_string().contains("another process uses"), "{error}");
    drop(owner);
    Folder::at(place.path()).unwrap();
}
