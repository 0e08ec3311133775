//! What becomes of lines in virtual time.

use tidegate_limiter::MemoryOptions;
use tidegate_sim::{Outcome, World};

use crate::{lowered, read};

/// Each line's outcome: `+` or `-` with what is left of the limits that applied, or the place of a bad request.
fn outcomes(text: &str) -> Vec<String> {
    let lowered = lowered();
    let world = World::new(&lowered.policy, &lowered.intake, MemoryOptions::default());
    let mut outcomes = Vec::new();
    read(text, |entry| {
        let entry = entry.unwrap_or_else(|error| panic!("{error}"));
        world.ask(&entry, |outcome| {
            outcomes.push(match outcome {
                Outcome::Decided(decision) => {
                    let left =
                        decision.rulings().map(|ruling| format!(" {} {}", ruling.name(), ruling.status.remaining));
                    format!("{}{}", if decision.is_admitted() { "+" } else { "-" }, left.collect::<String>())
                }
                Outcome::BadRequest { place, .. } => format!("400 {place}"),
            });
        });
    });
    outcomes
}

#[test]
fn time_goes_by_the_trace() {
    let line = |t: &str| format!("{{\"t\":{t},\"attributes\":{{\"app\":\"a1\"}}}}\n");
    let text = ["1706774400", "1706774401", "1706774401", "1706774409.999999", "1706774410"].map(line).concat();
    assert_eq!(outcomes(&text), ["+ calls 2", "+ calls 1", "+ calls 0", "- calls 0", "+ calls 2"]);
}

#[test]
fn facts_come_from_the_request_and_attributes_override_them() {
    let text = r#"
        {"t":100,"request":{"method":"POST","path":"/messages","headers":{"X-App":"a1"},"body":[1,2,3]}}
        {"t":100,"request":{"method":"POST","path":"/messages","headers":{"Host":"a1.bay.example"},"body":"[1]"}}
        {"t":100,"request":{"method":"POST","path":"/messages","headers":{"X-App":"a2"}},"attributes":{"app":"a1"},"cost":{"messages":6}}
        {"t":100,"request":{"method":"GET","path":"/elsewhere"},"attributes":{"operation":"send","app":"a3"}}
    "#;
    let expected = ["+ calls 2 messages 7", "+ calls 1 messages 6", "+ calls 0 messages 0", "+ calls 2 messages 9"];
    assert_eq!(outcomes(text), expected);
}

#[test]
fn a_request_that_the_gateway_would_refuse_is_counted_nowhere() {
    let text = r#"
        {"t":100,"request":{"method":"GET","path":"/messages/../x"}}
        {"t":100,"request":{"method":"GET","path":"no-path"}}
        {"t":100,"request":{"method":"GET","path":"/x","headers":{"X-App":["a1","a2"]}}}
        {"t":100,"request":{"method":"GET","path":"/x"}}
    "#;
    assert_eq!(outcomes(text), ["400 path", "400 path", "400 header x-app", "+ calls 2"]);
}

/// Admitted while some remain, and charged by the response, at the same instant; a refused demand settles nothing.
#[test]
fn responses_are_settled_if_the_demand_was_admitted() {
    let chat = |tokens: u64| {
        format!(
            "{{\"t\":100,\"attributes\":{{\"operation\":\"chat\",\"app\":\"a1\"}},\"cost\":{{\"requests\":0}},\
             \"response\":{{\"body\":{{\"usage\":{{\"tokens\":{tokens}}}}}}}}}\n"
        )
    };
    let text = [chat(60), chat(60), chat(5), chat(5)].concat();
    let expected = ["+ calls 3 tokens 100", "+ calls 3 tokens 40", "- calls 3 tokens 0", "- calls 3 tokens 0"];
    assert_eq!(outcomes(&text), expected);
}

/// I12: as at the gateway, the client is the address that a request came from, or the one that a trusted proxy names.
#[test]
fn limits_count_by_the_address_that_a_request_came_from() {
    let text = "name = 'c'\nattributes = { client = 'client' }\nclient = { trusted = '10.0.0.0/8' }\n\
                [[limit]]\nname = 'clients'\nper = ['client']\nquota = '1/d'\n";
    let source = tidegate_policy::Source { name: "clients.toml", text };
    let lowered = tidegate_policy::lower(&source, 1).unwrap_or_else(|problems| panic!("{problems}"));
    let world = World::new(&lowered.policy, &lowered.intake, MemoryOptions::default());
    let mut admitted = Vec::new();
    let log = |host: &str| format!("{host} - - [10/Oct/2000:20:55:37 +0000] \"GET / HTTP/1.1\" 200 1\n");
    let json = |client: &str, named: &str| {
        let headers = format!("{{\"X-Forwarded-For\":\"{named}\"}}");
        format!(
            "{{\"t\":971211337,\"request\":{{\"method\":\"GET\",\"path\":\"/\",\"client\":\"{client}\",\"headers\":{headers}}}}}\n"
        )
    };
    let logs = ["192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1", "2001:db8::2"].map(log).concat();
    let lines = [json("10.0.0.1", "192.0.2.3"), json("10.0.0.2", "192.0.2.1"), json("192.0.2.4", "192.0.2.1")].concat();
    for text in [logs, lines] {
        let mut trace = tidegate_sim::Trace::new(std::io::Cursor::new(text));
        while let Some(entry) = trace.next(&lowered.policy) {
            let entry = entry.unwrap_or_else(|error| panic!("{error}"));
            world.ask(&entry, |outcome| match outcome {
                Outcome::Decided(decision) => admitted.push(decision.is_admitted()),
                Outcome::BadRequest { place, message } => panic!("{place}: {message}"),
            });
        }
    }
    assert_eq!(admitted, [true, true, false, true, false, true, false, true]);
}
