//! I12, H4: the same demands at the same instants get the same verdicts and numbers over HTTP and in a simulation.

use std::io::Cursor;

use serde_json::{Value, json};
use tidegate_limiter::MemoryOptions;
use tidegate_server::http::answer::{self, Beside};
use tidegate_sim::{Outcome, Trace, World};

use super::desk::{Desk, START, own_api};

/// A small generator of our own: the test is the same wherever it runs.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn invented(dice: &mut Dice, micros: u64) -> Value {
    let mut attributes = json!({ "app": format!("a{}", dice.roll(3)) });
    let operations = ["send", "fetch", "watch", "other"];
    attributes["operation"] = operations[usize::try_from(dice.roll(4)).expect("small")].into();
    if dice.roll(4) > 0 {
        attributes["user"] = format!("u{}", dice.roll(4)).into();
    }
    if dice.roll(3) == 0 {
        attributes["plan"] = ["free", "paid", "gold"][usize::try_from(dice.roll(3)).expect("small")].into();
    }
    let mut line = json!({ "attributes": attributes });
    if dice.roll(3) == 0 {
        line["cost"] = json!({ "messages": dice.roll(60), "requests": dice.roll(3) });
    }
    let mut t = String::new();
    answer::seconds(micros, &mut t);
    line["t"] = serde_json::from_str(&t).expect("a number");
    line
}

#[test]
fn http_and_simulation_agree_on_every_byte() {
    let mut dice = Dice(0x7469_6465);
    let mut micros = START.as_micros();
    let mut lines = Vec::new();
    for _ in 0..4_000 {
        micros += dice.roll(3) * dice.roll(400_000);
        lines.push(invented(&mut dice, micros));
    }
    let simulated = simulated(&lines);
    let desk = Desk::open();
    let mut client = desk.client();
    let mut refused = 0;
    for (line, (at, expected)) in lines.iter().zip(&simulated) {
        desk.clock.set(*at);
        let mut question = line.clone();
        question.as_object_mut().expect("an object").remove("t");
        let reply = client.post("/v1/check", &question.to_string());
        assert_eq!(&reply.body, expected, "{line}");
        refused += usize::from(expected.starts_with(r#"{"allowed":false"#));
    }
    assert!(refused > 500 && refused < 3_500, "{refused} of 4000 refused: the trace tests nothing");
}

fn simulated(lines: &[Value]) -> Vec<(tidegate_core::Timestamp, String)> {
    let api = own_api();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let world = World::new(&api.policy, &api.intake, MemoryOptions::default());
    let mut trace = Trace::new(Cursor::new(text));
    let mut answers = Vec::new();
    while let Some(entry) = trace.next(&api.policy) {
        let entry = entry.unwrap_or_else(|error| panic!("{error}"));
        world.ask(&entry, |outcome| match outcome {
            Outcome::Decided(decision) => {
                let mut text = String::new();
                answer::write(decision, &api.dialect.render(decision), Beside::default(), &mut text);
                answers.push((decision.at(), text));
            }
            Outcome::BadRequest { place, message } => panic!("{place}: {message}"),
        });
    }
    answers
}
