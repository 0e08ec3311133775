//! A15, I36: whatever is sent, the answer is a ruling or says what is wrong; never 5xx, never a broken connection.

use super::desk::Desk;

const SEEDS: [&str; 4] = [
    r#"{"policy":"desk","attributes":{"app":"a1","user":"u1","operation":"send"},"cost":{"requests":1,"messages":20}}"#,
    r#"[{"attributes":{"user":"u\u00e9","operation":"fetch","plan":"paid"},"peek":true},{"attributes":{}}]"#,
    r#"{"attributes":{"app":"\ud83c\udf0a","method":"POST"},"cost":{"tokens":9007199254740991},"reserve":false}"#,
    r#" { "attributes" : { } , "cost" : { } , "peek" : false } "#,
];

/// Pieces that mean something to a reader of JSON.
const PIECES: [&str; 20] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "null",
    "-",
    "1e999",
    "0.1",
    "\u{0}",
    "\\u0000",
    "\"app\":\"a1\",",
    "{}",
    "[[",
    "9007199254740992",
    "\u{feff}",
    "true",
];

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).expect("below the number of sides")
    }
}

fn mutated(dice: &mut Dice) -> Vec<u8> {
    let mut body = SEEDS[dice.roll(SEEDS.len())].as_bytes().to_vec();
    for _ in 0..dice.roll(4) {
        let at = dice.roll(body.len() + 1);
        match dice.roll(5) {
            0 if at < body.len() => body[at] ^= 1 << dice.roll(8),
            1 if at < body.len() => {
                body.remove(at);
            }
            2 => body.truncate(at),
            3 => {
                let from = dice.roll(body.len() + 1).min(at);
                let piece = body[from..at].to_vec();
                body.splice(at..at, piece);
            }
            _ => {
                body.splice(at..at, PIECES[dice.roll(PIECES.len())].bytes());
            }
        }
    }
    body
}

#[test]
fn mutated_questions_are_answered_one_way_or_the_other() {
    let cases: usize = std::env::var("TIDEGATE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(10_000);
    let desk = Desk::open();
    let mut client = desk.client();
    let mut dice = Dice(0x006d_7574_6174_6564);
    let mut rulings = 0;
    for case in 0..cases {
        let body = mutated(&mut dice);
        let reply = client.post_bytes("/v1/check", &body);
        let shown = String::from_utf8_lossy(&body);
        match reply.status {
            200 => rulings += 1,
            400 => assert!(!reply.mistake().error.message.is_empty(), "case {case}: {shown}"),
            status => panic!("case {case}: {status} for {shown}"),
        }
    }
    assert!(rulings * 20 > cases && rulings * 10 < cases * 9, "{rulings} of {cases} were rulings: too few or too many");
}
