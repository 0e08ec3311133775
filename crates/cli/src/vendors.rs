//! `tidegate vendors`: the policies that ship.

use std::process::ExitCode;

use serde_json::json;
use tidegate_policy::question::instead;
use tidegate_server::Api;
use tidegate_server::vendors::{self, Vendor};

use crate::args::{ShowArgs, VendorsArgs, VendorsCommand};
use crate::check;
use crate::failure::Failure;
use crate::output::{print, print_json, table};

pub(crate) fn run(args: &VendorsArgs, json: bool) -> Result<ExitCode, Failure> {
    match &args.command {
        VendorsCommand::List => list(json)?,
        VendorsCommand::Show(show_args) => show(show_args, json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool) -> Result<(), Failure> {
    let vendors = vendors::all();
    if json {
        let as_json = |vendor: &Vendor| {
            json!({
                "name": vendor.name(),
                "description": vendor.description(),
                "policy": vendor.policy().is_some(),
                "dialect": vendor.dialect().is_some(),
            })
        };
        return print_json(&vendors.iter().map(as_json).collect::<Vec<_>>());
    }
    let mut rows = table(["vendor", "what it is"]);
    for vendor in vendors {
        let name =
            if vendor.policy().is_some() { vendor.name().to_owned() } else { format!("{} (dialect)", vendor.name()) };
        rows.add_row([name, vendor.description()]);
    }
    print(&format!("{}\n\n`tidegate vendors show NAME` has the limits of one.\n", rows.trim_fmt()))
}

fn show(args: &ShowArgs, json: bool) -> Result<(), Failure> {
    let Some(vendor) = vendors::named(&args.name) else {
        let known = vendors::all();
        let help = instead(&args.name, known.iter().map(Vendor::name));
        return Err(Failure::new(format!("no vendor is called `{}`", args.name)).help(help));
    };
    let file = if args.policy { vendor.policy() } else { vendor.dialect() };
    if args.policy || args.dialect {
        let missing = || Failure::new(format!("`{}` is a dialect, it has no policy", vendor.name()));
        return print(file.ok_or_else(missing)?);
    }
    if vendor.policy().is_none() {
        let bare = Failure::new(format!("`{}` is a dialect, it has no policy", vendor.name()));
        return Err(bare.help(format!("`tidegate vendors show {} --dialect` prints it", vendor.name())));
    }
    let api = Api::vendor(vendor.name())?;
    if json {
        return print_json(&check::as_json(&api));
    }
    print(&format!("{}\n\n{}", vendor.description(), check::text(&api)))
}
