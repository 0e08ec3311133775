//! From a dialect's TOML text to a [`Dialect`], or to everything that is wrong with it.

mod sheet;

use std::ops::Range;

use tidegate_core::{Wait, bounds as core_bounds};
use toml::de::{DeTable, DeValue};

use crate::dialect::{Answer, Body, Family, Header, HeaderValue, Of, OnRefusal, Variant};
use crate::fields::Names;
use crate::inspection::{Attributes, Group};
use crate::list::{self, List, Parameter};
use crate::scene::{Word, Words};
use crate::template::{Medium, Quantity, Template, Usage, Vocabulary};
use crate::{Dialect, DialectErrors, Inspection, bounds};

use sheet::{Entry, Section, Sheet, find, value_at};

/// Reads a dialect.
pub(crate) fn dialect(name: &str, text: &str) -> Result<Dialect, DialectErrors> {
    let mut sheet = Sheet::new(text);
    if text.len() > bounds::MAX_FILE_BYTES {
        sheet.error(0, format!("{} bytes, a dialect has at most {}", text.len(), bounds::MAX_FILE_BYTES));
        return Err(DialectErrors::new(name, sheet.errors));
    }
    let (root, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        sheet.error(error.span().map_or(0, |span| span.start), error.message().to_owned());
    }
    // What a mended text says may not be what was meant; only its syntax is reported.
    let read = if syntax.is_empty() { sheet.dialect(name, root.get_ref()) } else { None };
    match read {
        Some(dialect) if sheet.errors.is_empty() => Ok(dialect),
        _ => Err(DialectErrors::new(name, sheet.errors)),
    }
}

impl Sheet<'_> {
    fn dialect(&mut self, name: &str, root: &DeTable<'_>) -> Option<Dialect> {
        self.known(root, "a dialect", &["headers", "words", "refusal", "inspection"]);
        let words = self.words(root);
        let mut families = Vec::new();
        for table in self.tables(root, "headers", bounds::MAX_FAMILIES) {
            families.extend(self.family(&table));
        }
        let Some(refusal) = self.table(root, "refusal") else {
            if !root.contains_key("refusal") {
                self.error(0, "expected a table `[refusal]`: what a refused request is answered".to_owned());
            }
            return None;
        };
        let (refusal, variants) = self.refusal(&refusal)?;
        let headers = families.iter().flat_map(|family| &family.headers);
        let names = Names::of(headers.map(|header| &*header.name));
        for header in families.iter_mut().flat_map(|family| &mut family.headers) {
            header.place = names.place(&header.name).unwrap_or_default();
        }
        let inspection = match self.table(root, "inspection") {
            Some(table) => Some(self.inspection(&table, &names)?),
            None => None,
        };
        let dialect = Dialect { name: name.into(), names, families, words, refusal, variants, inspection };
        self.words_exist(&dialect);
        Some(dialect)
    }

    // Words.

    fn words(&mut self, root: &DeTable<'_>) -> Words {
        let mut words = Words::new();
        let Some(table) = self.table(root, "words") else { return words };
        for Entry { key, value, at, .. } in self.bounded(table.fields, table.at, bounds::MAX_ENTRIES, "words") {
            let Some(table) = value.as_table() else {
                self.error(at, format!("expected a table of a word for each limit, found {}", value.type_str()));
                continue;
            };
            let mut word = Word::default();
            for Entry { key, value, at, .. } in self.bounded(table, at, core_bounds::MAX_LIMITS, "words") {
                match value.as_str() {
                    Some(text) if key == "default" => word.default = Some(text.into()),
                    Some(text) => {
                        word.by_limit.insert(key.into(), text.into());
                    }
                    None => self.error(at, format!("expected a text, found {}", value.type_str())),
                }
            }
            words.insert(key.into(), word);
        }
        words
    }

    /// Every `{word.NAME}` has to be among the words.
    fn words_exist(&mut self, dialect: &Dialect) {
        for (name, at) in std::mem::take(&mut self.words_used) {
            if !dialect.words.contains_key(&*name) {
                let near = crate::problem::suggestion(&name, dialect.words.keys().map(|name| &**name));
                self.error(at, format!("there is no table `[words.{name}]`{near}"));
            }
        }
    }

    // Headers.

    fn family(&mut self, table: &Section<'_>) -> Option<Family> {
        let fields = table.fields;
        self.known(fields, "`[[headers]]`", &["of", "on", "write", "list"]);
        let of = self.of(fields, table.at);
        let on = self.on(fields, table.at);
        let (of, (admitted, refused)) = (of?, on?);
        if refused == OnRefusal::ByIt && !matches!(of, Of::These(_)) {
            let at = value_at(fields, "on").unwrap_or(table.at);
            self.error(at, "`refused-by-it` is for families `of` named limits; write `refused`".to_owned());
        }
        let vocabulary = match &of {
            Of::Binding => Vocabulary::OneLimit,
            Of::These(names) if names.len() == 1 => Vocabulary::OneLimit,
            Of::Every | Of::These(_) => Vocabulary::NamedLimits,
        };
        let mut headers = self.written(fields, vocabulary);
        headers.extend(self.lists(fields));
        headers.sort_by_key(|(at, _)| *at);
        self.distinct(&headers);
        if headers.is_empty() && !["write", "list"].iter().any(|key| fields.contains_key(*key)) {
            self.error(table.at, "expected a table `[headers.write]` or `[headers.list]`: which headers".to_owned());
        }
        let headers = headers.into_iter().map(|(_, header)| header).collect();
        Some(Family { of, admitted, refused, headers })
    }

    fn of(&mut self, fields: &DeTable<'_>, at: usize) -> Option<Of> {
        let names = self.texts(fields, "of", at, "`binding`, `every`, the name of a limit, or a list of names")?;
        let at = value_at(fields, "of").unwrap_or(at);
        match names.as_slice() {
            [] => None,
            [one] if &**one == "binding" => Some(Of::Binding),
            [one] if &**one == "every" => Some(Of::Every),
            _ => {
                if names.iter().any(|name| matches!(&**name, "binding" | "every")) {
                    self.error(at, "`binding` and `every` stand alone".to_owned());
                }
                Some(Of::These(names))
            }
        }
    }

    fn on(&mut self, fields: &DeTable<'_>, at: usize) -> Option<(bool, OnRefusal)> {
        let answers = self.texts(fields, "on", at, "a list of `admitted`, `refused`, `refused-by-it`")?;
        let at = value_at(fields, "on").unwrap_or(at);
        let (mut admitted, mut refused) = (false, OnRefusal::No);
        for answer in answers {
            match &*answer {
                "admitted" => admitted = true,
                "refused" if refused != OnRefusal::ByIt => refused = OnRefusal::Yes,
                "refused-by-it" if refused != OnRefusal::Yes => refused = OnRefusal::ByIt,
                "refused" | "refused-by-it" => {
                    self.error(at, "`refused` and `refused-by-it` exclude each other".to_owned());
                }
                other => {
                    let near = crate::problem::suggestion(other, ["admitted", "refused", "refused-by-it"]);
                    self.error(at, format!("answers are `admitted`, `refused`, `refused-by-it`, not `{other}`{near}"));
                }
            }
        }
        Some((admitted, refused))
    }

    fn written(&mut self, fields: &DeTable<'_>, vocabulary: Vocabulary) -> Vec<(usize, Header)> {
        let mut headers = Vec::new();
        let Some(table) = self.table(fields, "write") else { return headers };
        for entry in self.bounded(table.fields, table.at, bounds::MAX_HEADERS, "headers") {
            let name = self.header_name(&entry);
            let Some(text) = entry.value.as_str() else {
                self.error(entry.at, format!("expected a text, found {}", entry.value.type_str()));
                continue;
            };
            let template = self.template(text, &entry.span, Usage { medium: Medium::Header, vocabulary });
            if let (Some(name), Some(template)) = (name, template) {
                headers.push((entry.at, Header { name, place: 0, value: HeaderValue::Text(template) }));
            }
        }
        headers
    }

    fn lists(&mut self, fields: &DeTable<'_>) -> Vec<(usize, Header)> {
        let mut headers = Vec::new();
        let Some(table) = self.table(fields, "list") else { return headers };
        for entry in self.bounded(table.fields, table.at, bounds::MAX_HEADERS, "headers") {
            let name = self.header_name(&entry);
            let Some(fields) = entry.value.as_table() else {
                self.error(entry.at, format!("expected a table, found {}", entry.value.type_str()));
                continue;
            };
            let list = self.list(fields, entry.at);
            if let (Some(name), Some(list)) = (name, list) {
                headers.push((entry.at, Header { name, place: 0, value: HeaderValue::List(list) }));
            }
        }
        headers
    }

    fn list(&mut self, fields: &DeTable<'_>, at: usize) -> Option<List> {
        self.known(fields, "a list", &["item", "parameters"]);
        let usage = Usage { medium: Medium::Structured, vocabulary: Vocabulary::EachLimit };
        let item = self.text(fields, "item", at).and_then(|(text, span)| self.template(&text, &span, usage));
        let mut parameters = Vec::new();
        if let Some(table) = self.table(fields, "parameters") {
            for entry in self.bounded(table.fields, table.at, bounds::MAX_HEADERS, "parameters") {
                parameters.extend(self.parameter(&entry, usage));
            }
        }
        Some(List { item: item?, parameters })
    }

    fn parameter(&mut self, entry: &Entry<'_>, usage: Usage) -> Option<Parameter> {
        let begin = list::begin(entry.key).map_err(|message| self.error(entry.at, message)).ok();
        let (value, only, except) = match entry.value {
            DeValue::String(text) => (self.template(text, &entry.span, usage), None, Vec::new()),
            DeValue::Table(fields) => {
                self.known(fields, "a parameter", &["value", "only", "except"]);
                let value = self.text(fields, "value", entry.at);
                let value = value.and_then(|(text, span)| self.template(&text, &span, usage));
                let only = self.optional_texts(fields, "only", "a list of texts");
                let except = self.optional_texts(fields, "except", "a list of texts").unwrap_or_default();
                (value, only, except)
            }
            other => {
                self.error(entry.at, format!("expected a text or a table, found {}", other.type_str()));
                (None, None, Vec::new())
            }
        };
        Some(Parameter { begin: begin?, value: value?, only, except })
    }

    /// A header's name, if it is one and not one that frames the message.
    fn header_name(&mut self, entry: &Entry<'_>) -> Option<Box<str>> {
        const FRAMING: [&str; 12] = [
            "connection",
            "content-encoding",
            "content-length",
            "content-type",
            "host",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "date",
        ];
        let name = entry.key;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || name.len() > bounds::MAX_HEADER_NAME_BYTES || !name.bytes().all(is_token) {
            let most = bounds::MAX_HEADER_NAME_BYTES;
            let message = format!("`{}` is not a header's name of at most {most} letters", name.escape_debug());
            self.error(entry.at, message);
            return None;
        }
        if FRAMING.iter().any(|framing| framing.eq_ignore_ascii_case(name)) {
            let message = format!("`{name}` is not a dialect's to write: it belongs to the message that carries it");
            self.error(entry.at, message);
            return None;
        }
        Some(name.into())
    }

    fn distinct(&mut self, headers: &[(usize, Header)]) {
        for (index, (at, header)) in headers.iter().enumerate() {
            if headers[..index].iter().any(|(_, earlier)| earlier.name.eq_ignore_ascii_case(&header.name)) {
                self.error(*at, format!("header `{}` is written twice: names have no case", header.name));
            }
        }
    }

    // The refusal.

    fn refusal(&mut self, table: &Section<'_>) -> Option<(Answer, Vec<Variant>)> {
        let fields = table.fields;
        self.known(fields, "`[refusal]`", &["status", "content_type", "body", "variant"]);
        let answer = self.answer(fields, table.at, Vocabulary::Refusal);
        let base = self.base(fields);
        let mut variants = Vec::new();
        for variant in self.tables(fields, "variant", bounds::MAX_ENTRIES) {
            variants.extend(self.variant(&variant, &base));
        }
        Some((answer?, variants))
    }

    fn variant(&mut self, table: &Section<'_>, base: &Base) -> Option<Variant> {
        let fields = table.fields;
        self.known(fields, "`[[refusal.variant]]`", &["of", "wait", "status", "content_type", "body"]);
        let of = self.optional_texts(fields, "of", "the name of a limit, or a list of names");
        let wait = match self.optional_text(fields, "wait") {
            None => None,
            Some((text, _)) if text == "never" => Some(Wait::Never),
            Some((text, _)) if text == "release" => Some(Wait::Release),
            Some((text, span)) => {
                self.error(span.start, format!("a wait is `never` or `release`, not `{text}`"));
                None
            }
        };
        if !["of", "wait"].iter().any(|key| fields.contains_key(*key)) {
            self.error(table.at, "expected `of` or `wait`: which refusals it is for".to_owned());
        }
        let status = self.status(fields).or(base.status);
        let content_type = self.optional_text(fields, "content_type").map(|(text, _)| text.into_boxed_str());
        let content_type = content_type.or_else(|| base.content_type.clone());
        let body = self.optional_text(fields, "body").or_else(|| base.body.clone());
        let body = self.body(content_type, body, table.at, Vocabulary::Refusal);
        Some(Variant { of, wait, answer: Answer { status: status?, body } })
    }

    /// What variants take over.
    fn base(&mut self, fields: &DeTable<'_>) -> Base {
        let silently = self.errors.len();
        let base = Base {
            status: self.status(fields),
            content_type: self.optional_text(fields, "content_type").map(|(text, _)| text.into_boxed_str()),
            body: self.optional_text(fields, "body"),
        };
        self.errors.truncate(silently);
        base
    }

    fn answer(&mut self, fields: &DeTable<'_>, at: usize, vocabulary: Vocabulary) -> Option<Answer> {
        if !fields.contains_key("status") {
            self.error(at, "expected `status`: the status of the answer".to_owned());
        }
        let status = self.status(fields);
        let content_type = self.optional_text(fields, "content_type").map(|(text, _)| text.into_boxed_str());
        let body = self.optional_text(fields, "body");
        let body = self.body(content_type, body, at, vocabulary);
        Some(Answer { status: status?, body })
    }

    fn status(&mut self, fields: &DeTable<'_>) -> Option<u16> {
        let (value, at) = find(fields, "status")?;
        let status = value.as_integer().and_then(|integer| u16::from_str_radix(integer.as_str(), integer.radix()).ok());
        let status = status.filter(|status| (400..600).contains(status));
        if status.is_none() {
            self.error(at, "expected a status from 400 to 599".to_owned());
        }
        status
    }

    fn body(
        &mut self,
        content_type: Option<Box<str>>,
        body: Option<(String, Range<usize>)>,
        at: usize,
        vocabulary: Vocabulary,
    ) -> Option<Body> {
        let (content_type, (text, span)) = match (content_type, body) {
            (None, None) => return None,
            (Some(content_type), Some(body)) => (content_type, body),
            (None, Some(_)) => {
                self.error(at, "a `body` needs a `content_type`, such as \"application/json\"".to_owned());
                return None;
            }
            (Some(_), None) => {
                self.error(at, "a `content_type` needs a `body`".to_owned());
                return None;
            }
        };
        let is_value = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        if !content_type.contains('/') || !content_type.bytes().all(is_value) || content_type.trim() != &*content_type {
            self.error(at, format!("`{}` is not a content type", content_type.escape_debug()));
            return None;
        }
        let medium = medium(&content_type);
        let template = self.template(&text, &span, Usage { medium, vocabulary })?;
        Some(Body { content_type, template })
    }

    // The inspection.

    fn inspection(&mut self, table: &Section<'_>, names: &Names) -> Option<Inspection> {
        const KEYS: [&str; 11] = [
            "operation",
            "limit",
            "operations_parameter",
            "except",
            "content_type",
            "body",
            "row",
            "group",
            "require",
            "forbidden",
            "bad_request",
        ];
        let (fields, at) = (table.fields, table.at);
        self.known(fields, "`[inspection]`", &KEYS);
        let operation = self.text(fields, "operation", at).map(|(text, _)| text.into_boxed_str());
        let limit = self.text(fields, "limit", at).map(|(text, _)| text.into_boxed_str());
        let operations_parameter = self.optional_text(fields, "operations_parameter");
        let except = self.optional_texts(fields, "except", "a list of operations").unwrap_or_default();
        let content_type = self.text(fields, "content_type", at).map(|(text, _)| text.into_boxed_str());
        if content_type.as_deref().is_some_and(|content_type| medium(content_type) != Medium::Json) {
            self.error(at, "an inspection is answered in JSON".to_owned());
        }
        let body = self.text(fields, "body", at);
        let body = self.body(content_type, body, at, Vocabulary::Groups);
        if body.as_ref().is_some_and(|body| body.template.placeholders().count() != 1) {
            let at = value_at(fields, "body").unwrap_or(at);
            self.error(at, "expected `{groups}` once: where the figures stand".to_owned());
        }
        let row = self.text(fields, "row", at).and_then(|(text, span)| {
            self.template(&text, &span, Usage { medium: Medium::Json, vocabulary: Vocabulary::Row })
        });
        let groups = self.groups(fields, at, operations_parameter.as_ref().map(|(text, _)| text.as_str()));
        let require = self.attributes(fields, "require");
        let forbidden = self.problem(fields, "forbidden", at, Vocabulary::Forbidden);
        let bad_request = self.problem(fields, "bad_request", at, Vocabulary::Misasked);
        Some(Inspection {
            operation: operation?,
            limit: limit?,
            operations_parameter: operations_parameter.map(|(text, _)| text.into()),
            except,
            body: body?,
            row: row?,
            groups,
            require,
            forbidden: forbidden?,
            bad_request: bad_request?,
            names: names.clone(),
        })
    }

    fn groups(&mut self, fields: &DeTable<'_>, at: usize, taken: Option<&str>) -> Vec<Group> {
        let tables = self.tables(fields, "group", bounds::MAX_ENTRIES);
        if tables.is_empty() {
            self.error(at, "expected at least one table `[[inspection.group]]`".to_owned());
        }
        let mut groups: Vec<Group> = Vec::new();
        for table in tables {
            let fields = table.fields;
            self.known(fields, "`[[inspection.group]]`", &["parameter", "member", "attributes"]);
            let parameter = self.text(fields, "parameter", table.at);
            let member = self.text(fields, "member", table.at);
            let attributes = self.attributes(fields, "attributes").unwrap_or_default();
            if let (Some((parameter, _)), Some((member, _))) = (parameter, member) {
                let is_same = |group: &Group| *group.parameter == *parameter || *group.member == *member;
                if groups.iter().any(is_same) || taken == Some(&parameter) {
                    self.error(table.at, format!("parameter `{parameter}` or member `{member}` is taken"));
                }
                groups.push(Group { parameter: parameter.into(), member: member.into(), attributes });
            }
        }
        groups
    }

    fn attributes(&mut self, fields: &DeTable<'_>, key: &str) -> Option<Attributes> {
        let table = self.table(fields, key)?;
        let mut attributes = Attributes::new();
        for entry in self.bounded(table.fields, table.at, core_bounds::MAX_ATTRIBUTES, "attributes") {
            match entry.value.as_str() {
                _ if matches!(entry.key, "class" | "operation") => {
                    self.error(entry.at, format!("`{}` follows from the row and cannot be set", entry.key));
                }
                Some(text) if text.len() <= core_bounds::MAX_ATTRIBUTE_BYTES => {
                    attributes.push((entry.key.into(), text.into()));
                }
                Some(_) => self.error(entry.at, "the value is longer than an attribute can be".to_owned()),
                None => self.error(entry.at, format!("expected a text, found {}", entry.value.type_str())),
            }
        }
        Some(attributes)
    }

    fn problem(&mut self, fields: &DeTable<'_>, key: &str, at: usize, vocabulary: Vocabulary) -> Option<Answer> {
        let Some(table) = self.table(fields, key) else {
            if !fields.contains_key(key) {
                self.error(at, format!("expected a table `[inspection.{key}]`"));
            }
            return None;
        };
        self.known(table.fields, &format!("`[inspection.{key}]`"), &["status", "content_type", "body"]);
        self.answer(table.fields, table.at, vocabulary)
    }

    /// Reads a template; what is wrong with it is placed on its own lines.
    fn template(&mut self, text: &str, span: &Range<usize>, usage: Usage) -> Option<Template> {
        match Template::parse(text, usage) {
            Ok(template) => {
                let words = template.placeholders().filter_map(|placeholder| match &placeholder.quantity {
                    Quantity::Word(name) => Some((name.clone(), span.start)),
                    _ => None,
                });
                self.words_used.extend(words);
                Some(template)
            }
            Err(mistakes) => {
                for mistake in mistakes {
                    self.error_in(text, span, mistake.at, mistake.message);
                }
                None
            }
        }
    }
}

/// What the variants of a refusal take over from it.
struct Base {
    status: Option<u16>,
    content_type: Option<Box<str>>,
    body: Option<(String, Range<usize>)>,
}

/// How a body of a content type is written.
fn medium(content_type: &str) -> Medium {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "application/json" || kind.ends_with("+json") {
        return Medium::Json;
    }
    if kind == "text/plain" { Medium::Plain } else { Medium::Other }
}
