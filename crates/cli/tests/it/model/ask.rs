//! Requests as they are invented: the rest of a trace line beside its instant, and what it means to the model.

use super::rng::Rng;

/// A request that is to be made, at any instant.
#[derive(Clone, Debug)]
pub(crate) struct Ask<F> {
    /// The trace line without its braces and its `t`.
    pub(crate) line: String,
    /// What it says, as the vendor's document would read it.
    pub(crate) facts: F,
}

/// A request planned for an instant in microseconds since 1970.
pub(crate) type Planned<F> = (u64, Ask<F>);

/// Strings that a line is made of, in their order, as a JSON object of strings. Missing ones are left out.
pub(crate) fn object(members: &[(&str, Option<&str>)]) -> String {
    let mut text = String::from("{");
    for (name, value) in members.iter().filter_map(|(name, value)| value.map(|value| (name, value))) {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&format!("{}:{}", quoted(name), quoted(value)));
    }
    text + "}"
}

/// A string as JSON writes it.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Instants for `count` requests from `start` on that try a window of `window_us`: all at once, in single microseconds,
/// spread evenly, at random, or around an edge of the clock's windows.
pub(crate) fn instants(rng: &mut Rng, start: u64, window_us: u64, count: u64) -> Vec<u64> {
    let edge = (start / window_us + 1) * window_us;
    let mut at = start;
    let step = window_us / count.max(1);
    let way = rng.below(6);
    (0..count)
        .map(|index| {
            match way {
                0 => {}
                1 => at += 1,
                2 => at += step.saturating_sub(1) + rng.below(3),
                3 => at += rng.below(2 * step + 2),
                4 => at = edge - 1 + 3 * index / count,
                _ => at = (edge + index).saturating_sub(count / 2).max(start),
            }
            at
        })
        .collect()
}
