//! The binary `tidegate`: a file for each command.

mod api;
mod args;
mod check;
mod diff;
mod explain;
mod failure;
mod hello;
mod output;
mod quotas;
mod serve;
mod simulate;
mod vendors;

use std::process::ExitCode;

use args::Command;

fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let done = match &cli.command {
        Command::Serve(args) => serve::run(args, cli.json),
        Command::Check(args) => check::run(args, cli.json),
        Command::Diff(args) => diff::run(args, cli.json),
        Command::Explain(args) => explain::run(args, cli.json),
        Command::Simulate(args) => simulate::run(args, cli.json),
        Command::Vendors(args) => vendors::run(args, cli.json),
    };
    match done {
        Ok(code) => code,
        Err(failure) => failure.report(cli.json),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use crate::args::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
