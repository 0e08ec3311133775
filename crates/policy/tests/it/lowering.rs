//! Policies that are right: the vendors', `data/good`, and what their parts become.

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_policy::{Lowered, Source, lower};

/// Every `policy.toml` under `vendors/`, with its vendor's name.
pub(crate) fn vendors() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vendors");
    let mut found = Vec::new();
    for entry in fs::read_dir(root).expect("the folder of vendors") {
        let entry = entry.expect("an entry");
        let policy = entry.path().join("policy.toml");
        if policy.exists() {
            found.push((entry.file_name().into_string().expect("a name"), policy));
        }
    }
    found.sort();
    found
}

/// The policy of a text that has no problem, nor a warning.
pub(crate) fn lowered(name: &str, text: &str) -> Lowered {
    let lowered = lower(&Source { name, text }, 1).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(lowered.warnings.is_empty(), "{}", lowered.warnings);
    lowered
}

#[test]
fn the_vendors_policies_have_no_problem() {
    assert_eq!(vendors().len(), 5);
    for (name, path) in vendors() {
        let text = fs::read_to_string(&path).expect("a policy");
        let lowered = lowered(&format!("{name}/policy.toml"), &text);
        assert_eq!(lowered.policy.name(), name);
        assert_eq!(lowered.policy.version(), 1);
    }
}
