//! The values inside a JSON array or object, found by their ends alone.
//!
//! The text was checked to be JSON as a whole before. So nothing has to be parsed a second time to find what is in it: a
//! string ends at its quote, a list at the bracket that closes it, anything else before white space, a comma or a bracket.

/// The items of an array; of an object, its names and values in turn.
#[derive(Clone, Debug)]
pub(super) struct Parts<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parts<'t> {
    /// What is in `text`, an array or object that is valid JSON without white space around it.
    pub(super) fn of(text: &'t str) -> Parts<'t> {
        Parts { text, at: 1 }
    }
}

impl<'t> Iterator for Parts<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')) {
            self.at += 1;
        }
        let start = self.at;
        self.at = match bytes.get(start)? {
            b'"' => string_end(bytes, start),
            b'{' | b'[' => list_end(bytes, start),
            b'}' | b']' => return None,
            _ => word_end(bytes, start),
        };
        self.text.get(start..self.at)
    }
}

/// Where the string that begins at `start` ends.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

/// Where the array or object that begins at `start` ends.
fn list_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return at + 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Where the number or word that begins at `start` ends.
fn word_end(bytes: &[u8], start: usize) -> usize {
    let is_end = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b']' | b'}');
    bytes[start..].iter().position(is_end).map_or(bytes.len(), |length| start + length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;

    fn json() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["[a-z]{0,4}", any::<String>(), "[\"\\\\\\[\\]{},: \\n]{0,6}"];
        let number = prop_oneof![any::<i64>().prop_map(Value::from), any::<f64>().prop_map(Value::from)];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            number,
            text.clone().prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

        /// What is found is what a parser finds, written narrow or wide.
        #[test]
        fn parts_are_those_that_a_parser_finds(value in json(), is_wide in any::<bool>()) {
            let text = if is_wide { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.expect("it can be written").replace(":", if is_wide { ":\t\r\n" } else { ":" });
            let Ok(_) = serde_json::from_str::<Value>(&text) else { return Ok(()) };
            let found: Vec<&str> = if text.starts_with(['[', '{']) { Parts::of(&text).collect() } else { return Ok(()) };
            if value.is_array() {
                let items: Vec<&RawValue> = serde_json::from_str(&text).expect("an array");
                prop_assert_eq!(found, items.into_iter().map(RawValue::get).collect::<Vec<_>>());
            } else {
                let members: std::collections::BTreeMap<String, &RawValue> = serde_json::from_str(&text).expect("an object");
                let pairs: Vec<(String, &str)> = found
                    .chunks(2)
                    .map(|pair| (serde_json::from_str(pair[0]).expect("a name"), pair[1]))
                    .collect();
                let expected: Vec<(String, &str)> = members.into_iter().map(|(name, value)| (name, value.get())).collect();
                let mut sorted = pairs;
                sorted.sort();
                prop_assert_eq!(sorted, expected);
            }
        }
    }

    #[test]
    fn names_that_occur_twice_are_both_found() {
        let found: Vec<&str> = Parts::of(r#"{"a":1,"a" : [ "]", {"x":"}"} ] , "\"" :null}"#).collect();
        assert_eq!(found, [r#""a""#, "1", r#""a""#, r#"[ "]", {"x":"}"} ]"#, r#""\"""#, "null"]);
        assert_eq!(Parts::of("{ }").count() + Parts::of("[]").count(), 0);
    }
}
