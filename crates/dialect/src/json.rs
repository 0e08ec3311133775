//! Whether a text is JSON (RFC 8259), and where it ceases to be. For templates, when a dialect is read.

/// Deepest nesting that is followed. A template is checked when it is read, by a function that calls itself.
const MAX_DEPTH: usize = 32;

/// Whether `text` is one JSON value; if not, where and what was expected.
pub(crate) fn check(text: &str) -> Result<(), (usize, &'static str)> {
    let mut cursor = Cursor { bytes: text.as_bytes(), at: 0 };
    cursor.value(0)?;
    cursor.space();
    if cursor.at < cursor.bytes.len() { Err((cursor.at, "the end of the JSON value")) } else { Ok(()) }
}

struct Cursor<'t> {
    bytes: &'t [u8],
    at: usize,
}

type Checked = Result<(), (usize, &'static str)>;

impl Cursor<'_> {
    fn value(&mut self, depth: usize) -> Checked {
        self.space();
        match self.peek() {
            Some(b'{' | b'[') if depth == MAX_DEPTH => self.expected("less nesting in the JSON"),
            Some(b'{') => self.members(depth),
            Some(b'[') => self.elements(depth),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn members(&mut self, depth: usize) -> Checked {
        self.at += 1;
        self.space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return self.expected("a member's name in quotes");
            }
            self.string()?;
            self.space();
            if !self.take(b':') {
                return self.expected("`:` after a member's name");
            }
            self.value(depth + 1)?;
            self.space();
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.expected("`,` or `}` after a member");
            }
        }
    }

    fn elements(&mut self, depth: usize) -> Checked {
        self.at += 1;
        self.space();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.space();
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.expected("`,` or `]` after an element");
            }
        }
    }

    fn string(&mut self) -> Checked {
        self.at += 1;
        loop {
            match self.peek() {
                None => return self.expected("the closing quote of a string"),
                Some(b'"') => break,
                Some(0..0x20) => return self.expected("no control character in a string"),
                Some(b'\\') => self.escape()?,
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self) -> Checked {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return self.expected("four hexadecimal digits after `\\u`");
                    }
                    self.at += 1;
                }
            }
            _ => return self.expected("one of the escapes of JSON after `\\`"),
        }
        Ok(())
    }

    fn number(&mut self) -> Checked {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Checked {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return self.expected("a digit");
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn word(&mut self) -> Checked {
        for word in ["true", "false", "null"] {
            if self.bytes[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(());
            }
        }
        self.expected("a JSON value")
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expected(&self, what: &'static str) -> Checked {
        Err((self.at, what))
    }
}
