//! The shipped dialects, as files.

use std::path::{Path, PathBuf};

use tidegate_dialect::Dialect;

/// Every folder of `vendors/`.
pub(crate) fn vendors() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vendors");
    let entries = std::fs::read_dir(&root).expect("vendors/ can be listed");
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    assert!(folders.len() >= 6, "five vendors and ietf, found {folders:?}");
    folders
}

/// The dialect in a vendor's folder.
pub(crate) fn dialect(folder: &Path) -> Dialect {
    let file = folder.join("dialect.toml");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let name = folder.file_name().expect("a folder has a name").to_string_lossy();
    Dialect::parse(&name, &text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn all_parse() {
    for folder in vendors() {
        let dialect = dialect(&folder);
        assert_eq!(dialect.inspection().is_some(), folder.ends_with("stream"), "{}", folder.display());
    }
}
