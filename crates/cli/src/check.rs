//! `tidegate check`: everything that is wrong with a policy, or what it permits.

use std::process::ExitCode;

use serde_json::json;
use tidegate_server::Api;

use crate::args::CheckArgs;
use crate::failure::Failure;
use crate::output::{counted, is_terminal, print, print_json, problems_as_json};
use crate::{api, quotas};

pub(crate) fn run(args: &CheckArgs, json: bool) -> Result<ExitCode, Failure> {
    match api::load(args.policy.as_deref(), args.vendor.vendor.as_deref()) {
        Ok(api) if json => print_json(&as_json(&api)).map(|()| ExitCode::SUCCESS),
        Ok(api) => print(&text(&api)).map(|()| ExitCode::SUCCESS),
        // What is wrong is what was asked for, so it goes to stdout.
        Err(Failure::Problems(problems)) => {
            if json {
                print_json(&json!({ "ok": false, "problems": problems_as_json(&problems) }))?;
            } else {
                print(&problems.render(is_terminal()))?;
            }
            Ok(ExitCode::from(1))
        }
        Err(Failure::Dialect(text, problems)) => {
            if json {
                print_json(&json!({ "ok": false, "problems": problems }))?;
            } else {
                print(&format!("error: {text}\n"))?;
            }
            Ok(ExitCode::from(1))
        }
        Err(failure) => Err(failure),
    }
}

/// A policy that can be served, as programs read it.
pub(crate) fn as_json(api: &Api) -> serde_json::Value {
    let policy = &api.policy;
    json!({
        "ok": true,
        "policy": policy.name(),
        "dialect": api.dialect.name(),
        "operations": policy.operations().len(),
        "attributes": policy.attribute_names().collect::<Vec<_>>(),
        "limits": quotas::summaries(policy),
        "problems": problems_as_json(&api.warnings),
        "dialect_warnings": api.dialect_warnings,
    })
}

/// A policy that can be served, as people read it.
pub(crate) fn text(api: &Api) -> String {
    let policy = &api.policy;
    let mut text = api.warnings.render(is_terminal());
    for warning in &api.dialect_warnings {
        text.push_str(&format!("warning: dialect `{}`: {warning}\n", api.dialect.name()));
    }
    text.push_str(&format!(
        "policy `{}`: {} on {}, answers in dialect `{}`\n",
        policy.name(),
        counted(policy.limits().len() as u64, "limit"),
        counted(policy.operations().len() as u64, "operation"),
        api.dialect.name(),
    ));
    text.push_str(&quotas::text(policy));
    text
}
