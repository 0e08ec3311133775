//! The vendors whose folders are compiled in: `vendors/NAME/` with a policy, a dialect and a README.
//!
//! A new vendor is a new folder; nothing here names one. A folder without a policy is a dialect that stands alone.

use include_dir::{Dir, include_dir};

static FOLDERS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../vendors");

/// One vendor's folder.
#[derive(Clone, Copy, Debug)]
pub struct Vendor {
    folder: &'static Dir<'static>,
}

/// All folders, by name.
pub fn all() -> Vec<Vendor> {
    let mut vendors: Vec<Vendor> = FOLDERS.dirs().map(|folder| Vendor { folder }).collect();
    vendors.sort_by_key(Vendor::name);
    vendors
}

/// The folder called `name`.
pub fn named(name: &str) -> Option<Vendor> {
    all().into_iter().find(|vendor| vendor.name() == name)
}

impl Vendor {
    /// Its name: that of its folder, its policy and its dialect.
    pub fn name(&self) -> &'static str {
        self.folder.path().file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Its policy, as TOML.
    pub fn policy(&self) -> Option<&'static str> {
        self.text("policy.toml")
    }

    /// Its dialect, as TOML.
    pub fn dialect(&self) -> Option<&'static str> {
        self.text("dialect.toml")
    }

    /// What was read where, and how it was understood.
    pub fn readme(&self) -> Option<&'static str> {
        self.text("README.md")
    }

    /// Lines to paste that show what its policy does, `{gateway}` and `{control}` in place of the servers' URLs. A line
    /// that begins with `#` says what the next one shows.
    pub fn examples(&self) -> Option<&'static str> {
        self.text("try.txt")
    }

    /// What it is, in one sentence: the first of its policy's comments, or of its dialect's if it has no policy.
    pub fn description(&self) -> String {
        let text = self.policy().or(self.dialect()).unwrap_or_default();
        let comments = text.lines().map_while(|line| line.strip_prefix('#').map(str::trim));
        let paragraph = comments.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        match paragraph.split_once(". ") {
            Some((sentence, _)) => format!("{sentence}."),
            None => paragraph,
        }
    }

    fn text(&self, file: &str) -> Option<&'static str> {
        self.folder.get_file(self.folder.path().join(file))?.contents_utf8()
    }
}
