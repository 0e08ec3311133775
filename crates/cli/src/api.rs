//! The policy that a command is about.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use tidegate_server::Api;

use crate::failure::Failure;

/// The API of a policy file or of a vendor; exactly one is given.
pub(crate) fn load(policy: Option<&Path>, vendor: Option<&str>) -> Result<Api, Failure> {
    match (policy, vendor) {
        (Some(_), Some(_)) => {
            Err(Failure::new("a policy file and a vendor are given").help("give a file or --vendor NAME, not both"))
        }
        (Some(path), None) => Ok(Api::file(path)?),
        (None, Some(name)) => Ok(Api::vendor(name)?),
        (None, None) => {
            let help = "give a policy file, or --vendor NAME for one that ships (`tidegate vendors list`)";
            Err(Failure::new("no policy is given").help(help))
        }
    }
}

/// Shows on stderr what is surely not as it was meant.
pub(crate) fn show_warnings(api: &Api) {
    let mut stderr = io::stderr().lock();
    let mut text = api.warnings.render(stderr.is_terminal());
    for warning in &api.dialect_warnings {
        text.push_str(&format!("warning: dialect `{}`: {warning}\n", api.dialect.name()));
    }
    // Warnings that nobody can read change nothing.
    let _ = stderr.write_all(text.as_bytes());
}
