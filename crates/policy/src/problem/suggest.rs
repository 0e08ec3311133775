//! Names as diagnostics show them, and the known name that a misspelt one probably means.

/// Names listed in a help; more are only counted.
const MOST_LISTED: usize = 12;

/// Characters of a name that are shown; more are cut off.
const MOST_SHOWN: usize = 60;

/// A name between backticks, control characters escaped.
pub(super) fn quoted(name: &str) -> String {
    let mut shown: String = name.chars().take(MOST_SHOWN).flat_map(escaped).collect();
    if name.chars().nth(MOST_SHOWN).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn escaped(character: char) -> Vec<char> {
    if character.is_control() { character.escape_default().collect() } else { vec![character] }
}

/// Names between backticks, with commas.
pub(super) fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(MOST_LISTED).map(|name| quoted(name)).collect();
    let more = names.len().saturating_sub(MOST_LISTED);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// The question whether the nearest of `known` was meant, if one is near enough.
pub(super) fn did_you_mean(name: &str, known: &[&str]) -> Option<String> {
    nearest(name, known).map(|known| format!("did you mean {}?", quoted(known)))
}

/// The known name at the smallest edit distance, at most a third of the longer name's length.
pub(crate) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name: String = name.chars().take(MOST_SHOWN).collect::<String>().to_lowercase();
    let distance = |known: &str| strsim::osa_distance(&name, &known.to_lowercase());
    let length = name.chars().count();
    let near = |known: &&'k str| {
        let known_length = known.chars().count();
        let most = (length.max(known_length) / 3).max(1);
        let found = (known_length > 1 && length.abs_diff(known_length) <= most).then(|| distance(known))?;
        (found <= most).then_some((found, *known))
    };
    known.iter().filter_map(near).min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn nearest_is_the_likely_one() {
        for (name, known, expected) in [
            ("quotta", &["quota", "per"][..], Some("quota")),
            ("algoritm", &["algorithm"], Some("algorithm")),
            ("sendmessage", &["SendMessage", "SendEvent"], Some("SendMessage")),
            ("limits", &["limit"], Some("limit")),
            ("colour", &["quota", "per"], None),
            ("", &["on"], None),
            ("x", &["y"], None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
    }
}
