//! Policy texts: all problems, each with a place in the text; or a policy that any demand can be put to.

use http::Method;
use tidegate_core::{Demand, Policy};
use tidegate_limiter::{Limiter, ManualClock, Memory, MemoryOptions};
use tidegate_policy::{Problems, Severity, Source, lower};

use crate::api::NOW;

/// Any text is lowered, or said to be wrong at places that are in it; the same way again.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let again = || lower(&Source { name: "fuzz.toml", text }, 1);
    match again() {
        Err(problems) => {
            assert!(problems.iter().any(|problem| problem.severity == Severity::Error), "refused without an error");
            check(&problems, text);
            let same = again().expect_err("refused before");
            assert!(problems.iter().eq(same.iter()), "other problems the second time");
        }
        Ok(lowered) => {
            let is_warning = |severity| severity == Severity::Warning;
            assert!(lowered.warnings.iter().all(|problem| is_warning(problem.severity)), "accepted with an error");
            check(&lowered.warnings, text);
            let same = again().expect("accepted before");
            assert!(lowered.warnings.iter().eq(same.warnings.iter()), "other warnings the second time");
            assert!(
                same.policy.limits().iter().map(|limit| limit.identity()).eq(lowered
                    .policy
                    .limits()
                    .iter()
                    .map(|limit| limit.identity())),
                "counters of another name the second time"
            );
            ask(&lowered.policy);
            let route = lowered.intake.route(&Method::GET, "/").expect("every API has a root");
            assert_eq!(route.target(), "/");
        }
    }
}

/// What holds for every problem.
fn check(problems: &Problems, text: &str) {
    for problem in problems {
        let (code, span) = (problem.code, problem.span.clone());
        assert!(text.get(span.clone()).is_some(), "{code} is outside of the text, or splits a character: {span:?}");
        let lines = text.split('\n').count();
        assert!(
            (1..=lines).contains(&problem.line) && problem.column >= 1,
            "{code} at {}:{}",
            problem.line,
            problem.column
        );
        let before = &text[..span.start];
        assert_eq!(problem.line, before.matches('\n').count() + 1, "{code} names another line than its bytes are on");
        assert!(!problem.message.is_empty(), "{code} says nothing");
        assert!(problem.help.is_some() || !problem.label.is_empty(), "{code} says neither why nor what to do");
        assert!(code != "E099", "nothing was found, but it was refused: {}", problem.message);
    }
    // To show problems takes five times as long as to find them: one text in eight is enough.
    if text.bytes().map(usize::from).sum::<usize>().is_multiple_of(8) {
        assert_eq!(problems.render(true).is_empty(), problems.is_empty());
        assert_eq!(problems.render(false).trim_end(), problems.to_string());
    }
}

/// A demand for each of the first operations: decided twice, and never admitted twice where only one unit fits.
fn ask(policy: &Policy) {
    let limiter = Limiter::new(Memory::new(MemoryOptions { max_counters: 64 }), ManualClock::at(NOW), ());
    for operation in policy.operations().iter().take(4) {
        let id = policy.operation_named(operation.name()).expect("an operation by its name");
        let mut builder = Demand::on(policy);
        builder.set_operation(id);
        let demand = builder.build();
        let decision = limiter.check(&demand);
        assert!(decision.rulings().len() <= policy.limits_on(id).count(), "more charges than limits");
        for ruling in decision.rulings() {
            assert!(ruling.status.remaining <= ruling.rule().limit(), "more is left than there is (I11)");
            assert_eq!(
                policy.limit_named(ruling.name()).map(|id| policy.limits()[id.index()].name()),
                Some(ruling.name())
            );
        }
    }
}
