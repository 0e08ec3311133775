//! `tidegate check`: everything that is wrong with a policy, or what it permits.

use std::process::ExitCode;

use serde_json::json;
use tidegate_policy::{Key, KeysDraft};
use tidegate_server::Api;

use crate::args::CheckArgs;
use crate::failure::Failure;
use crate::output::{counted, is_terminal, print, print_json, problems_as_json, span};
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
    let mut json = json!({
        "ok": true,
        "policy": policy.name(),
        "dialect": api.dialect.name(),
        "operations": policy.operations().len(),
        "attributes": policy.attribute_names().collect::<Vec<_>>(),
        "limits": quotas::summaries(policy),
        "problems": problems_as_json(&api.warnings),
        "dialect_warnings": api.dialect_warnings,
    });
    if let Some(keys) = api.intake.token_keys() {
        json["tokens"] = keys_as_json(keys);
    }
    json
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
    api.intake.token_keys().into_iter().for_each(|keys| text.push_str(&keys_as_text(keys)));
    text
}

/// The keys that verify tokens, and what those must say. No key itself is shown, nor the thumbprint of a secret.
fn keys_as_json(draft: &KeysDraft) -> serde_json::Value {
    let key = |key: &Key| {
        json!({
            "kid": key.id(),
            "kind": key.kind(),
            "algorithms": algorithms(draft, key),
            "thumbprint": (!key.is_secret()).then(|| key.thumbprint()),
        })
    };
    json!({
        "keys": draft.keys.iter().map(key).collect::<Vec<_>>(),
        "passed_over": draft.keys.passed_over(),
        "issuers": draft.issuers,
        "audiences": draft.audiences,
        "leeway": span(draft.leeway),
    })
}

fn keys_as_text(draft: &KeysDraft) -> String {
    let mut text = String::from("\ntokens, where no record has a secret, are verified by\n");
    for key in &draft.keys {
        let algorithms = match algorithms(draft, key) {
            list if list.is_empty() => "for none of `algorithms`: not used".to_owned(),
            list => format!("for {}", list.join(", ")),
        };
        text.push_str(&format!("  key {}: {}, {algorithms}\n", key.name(), key.kind()));
    }
    for (claim, expected) in [("iss", &draft.issuers), ("aud", &draft.audiences)] {
        let expected = if expected.is_empty() { "anything, or absent".to_owned() } else { expected.join(" or ") };
        text.push_str(&format!("  {claim}: {expected}\n"));
    }
    text + &format!("  exp, nbf and iat: give or take {}\n", span(draft.leeway))
}

/// The algorithms that a key is for and that are taken.
fn algorithms(draft: &KeysDraft, key: &Key) -> Vec<&'static str> {
    key.algorithms().filter(|algorithm| draft.allows(*algorithm)).map(|algorithm| algorithm.name()).collect()
}
