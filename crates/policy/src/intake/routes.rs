//! From method and path to an operation: a tree of segments.
//!
//! At every segment a literal beats a parameter and a parameter beats a tail; a choice that leads nowhere is taken
//! back, so the most specific route that fits wins, whatever the order they were written in. The search visits each
//! node of the tree at most once. Literals are compared decoded, so no spelling of one escapes its route; where the
//! policy ignores case, by their small letters.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use http::Method;
use tidegate_core::OperationId;

use super::bad_request::BadRequest;
use super::draft::{IntakeDraft, RouteDraft};
use super::loose;
use super::path::{self, Case, MAX_SEGMENTS, Plus, Target};

/// Most routes of one policy, its bases multiplied in: the largest known API has 1,100 operations.
pub(crate) const MAX_ROUTES: usize = 100_000;

/// The methods of RFC 9110 and RFC 5789, without HEAD, which counts as GET.
const REGISTERED: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

/// All routes of one policy.
#[derive(Debug)]
pub(crate) struct Routes {
    nodes: Vec<Node>,
    shapes: Vec<Shape>,
    /// The methods that routes name.
    methods: BTreeSet<Box<str>>,
    /// How literals are compared.
    case: Case,
}

/// The routes that share the segments up to here.
#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, usize, BuildHasherDefault<ShortText>>,
    parameter: Option<usize>,
    /// Routes that end here.
    here: Methods,
    /// Routes whose tail begins here.
    tail: Methods,
}

/// A hash for short texts (FNV-1a). What is in the tables comes from the operator, so nobody can make them slow.
#[derive(Debug)]
struct ShortText(u64);

impl Default for ShortText {
    fn default() -> ShortText {
        ShortText(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for ShortText {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Shapes by method.
#[derive(Debug, Default)]
struct Methods {
    named: Vec<(Method, usize)>,
    any: Option<usize>,
}

impl Methods {
    fn shape(&self, method: &Method) -> Option<usize> {
        self.named.iter().find(|(named, _)| named == method).map(|(_, shape)| *shape).or(self.any)
    }
}

/// Where a route leads, and the names of its parameters.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) operation: OperationId,
    /// Names and the segments they stand for, in order.
    pub(crate) parameters: Vec<(Box<str>, usize)>,
    /// Name and first segment of the tail.
    pub(crate) tail: Option<(Box<str>, usize)>,
}

impl Shape {
    /// Whether it has a parameter or a tail of that name.
    pub(crate) fn has_parameter(&self, name: &str) -> bool {
        self.parameters.iter().chain(&self.tail).any(|(known, _)| **known == *name)
    }
}

/// A template's segment.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    Parameter(Box<str>),
    Tail(Box<str>),
}

impl Routes {
    /// Builds the tree.
    ///
    /// # Errors
    ///
    /// The route that is malformed or identical to an earlier one, and why.
    pub(crate) fn build(
        draft: &IntakeDraft,
        operation: impl Fn(&str) -> Option<OperationId>,
    ) -> Result<Routes, String> {
        let IntakeDraft { bases, routes: drafts, .. } = draft;
        let (nodes, case) = (vec![Node::default()], Case::of(draft.ignore_case));
        let mut routes = Routes { nodes, shapes: Vec::new(), methods: BTreeSet::new(), case };
        let no_base = [String::new()];
        let bases = if bases.is_empty() { &no_base[..] } else { bases };
        if drafts.len().saturating_mul(bases.len()) > MAX_ROUTES {
            return Err(format!("more than {MAX_ROUTES} routes"));
        }
        for base in bases {
            check_base(base)?;
        }
        for draft in drafts {
            let shown = format!("route `{} {}`", draft.method, draft.template);
            let operation =
                operation(&draft.operation).ok_or_else(|| format!("{shown}: no operation `{}`", draft.operation))?;
            for base in bases {
                routes.insert(base, draft, operation).map_err(|problem| format!("{shown}: {problem}"))?;
            }
        }
        Ok(routes)
    }

    fn insert(&mut self, base: &str, draft: &RouteDraft, operation: OperationId) -> Result<(), String> {
        let method = method_of(&draft.method)?;
        let pieces = pieces_of(base, &draft.template)?;
        self.methods.extend(method.as_ref().map(|method| method.as_str().into()));
        let mut shape = Shape { operation, parameters: Vec::new(), tail: None };
        let mut node = 0;
        for (index, piece) in pieces.into_iter().enumerate() {
            match piece {
                Piece::Literal(text) => node = self.literal_child(node, &text),
                Piece::Parameter(name) => {
                    node = self.parameter_child(node);
                    shape.parameters.push((name, index));
                }
                Piece::Tail(name) => shape.tail = Some((name, index)),
            }
        }
        let id = self.shapes.len();
        let node = &mut self.nodes[node];
        let methods = if shape.tail.is_some() { &mut node.tail } else { &mut node.here };
        let is_taken = match &method {
            None => methods.any.replace(id).is_some(),
            Some(method) => {
                let is_taken = methods.named.iter().any(|(named, _)| named == method);
                methods.named.push((method.clone(), id));
                is_taken
            }
        };
        if is_taken {
            return Err("another route has the same method and the same shape".to_owned());
        }
        self.shapes.push(shape);
        Ok(())
    }

    fn literal_child(&mut self, node: usize, text: &str) -> usize {
        let fresh = self.nodes.len();
        let text = self.case.folded(text).into();
        let child = *self.nodes[node].literals.entry(text).or_insert(fresh);
        if child == fresh {
            self.nodes.push(Node::default());
        }
        child
    }

    fn parameter_child(&mut self, node: usize) -> usize {
        let fresh = self.nodes.len();
        let child = *self.nodes[node].parameter.get_or_insert(fresh);
        if child == fresh {
            self.nodes.push(Node::default());
        }
        child
    }

    /// How fixed segments are compared.
    pub(crate) fn case(&self) -> Case {
        self.case
    }

    /// The shape at a place, if there is one.
    pub(crate) fn shape(&self, id: usize) -> Option<&Shape> {
        self.shapes.get(id)
    }

    /// All shapes.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = &Shape> {
        self.shapes.iter()
    }

    /// The value of the attribute `method`: a registered method or one that a route names, and `OTHER` for the rest, so
    /// that nobody gets counters of his own by inventing methods.
    pub(crate) fn method_name(&self, method: &Method) -> Cow<'static, str> {
        match REGISTERED.into_iter().find(|known| *known == method.as_str()) {
            Some(registered) => Cow::Borrowed(registered),
            None if self.methods.contains(method.as_str()) => Cow::Owned(method.as_str().to_owned()),
            None => Cow::Borrowed("OTHER"),
        }
    }

    /// The shape that method and path lead to; `None` if no route fits.
    ///
    /// # Errors
    ///
    /// The path is refused: no route has a tail that covers its flaw, or one has and a server that reads the path
    /// loosely may see another route.
    pub(crate) fn find(&self, method: &Method, target: &Target<'_>) -> Result<Option<usize>, BadRequest> {
        let mut search = Search { routes: self, method, path: target, flaw: None };
        let shape = search.from(0, 0);
        match (shape, target.flaw.as_ref()) {
            (Some(shape), Some(flaw)) => self.refuse_ambiguous(shape, method, target, flaw).map(|()| Some(shape)),
            (Some(shape), None) => Ok(Some(shape)),
            (None, flaw) => match search.flaw.or_else(|| flaw.cloned()) {
                Some(flaw) => Err(flaw),
                None => Ok(None),
            },
        }
    }

    /// Refuses a path that a tail covers here, and that is another route's to a server that mends its flaws.
    fn refuse_ambiguous(
        &self,
        shape: usize,
        method: &Method,
        target: &Target<'_>,
        flaw: &BadRequest,
    ) -> Result<(), BadRequest> {
        for reading in loose::readings(target.raw()) {
            let mut search = Search { routes: self, method, path: &reading, flaw: None };
            if search.from(0, 0).is_some_and(|other| other != shape) {
                let message = format!("{}; read loosely, the path leads to another route", flaw.message());
                return Err(BadRequest::at("path", message));
            }
        }
        Ok(())
    }
}

/// A path as it is matched.
trait Path {
    /// The decoded text of a segment; `None` past the last.
    fn text(&self, index: usize) -> Option<&str>;

    /// Whether it is nothing but its segments, so that a route without a tail can match it.
    fn is_whole(&self) -> bool;

    /// Whether something is left for a tail from that segment on.
    ///
    /// # Errors
    ///
    /// Something is, and no tail may have it.
    fn has_tail(&self, index: usize) -> Result<bool, BadRequest>;
}

impl Path for Target<'_> {
    fn text(&self, index: usize) -> Option<&str> {
        (index < self.segments.len()).then(|| Target::text(self, index))
    }

    fn is_whole(&self) -> bool {
        self.flaw.is_none()
    }

    fn has_tail(&self, index: usize) -> Result<bool, BadRequest> {
        let tail = self.tail(index);
        path::check_tail(tail).map(|()| !tail.is_empty())
    }
}

/// A loose reading.
impl Path for Vec<String> {
    fn text(&self, index: usize) -> Option<&str> {
        self.get(index).map(String::as_str)
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn has_tail(&self, index: usize) -> Result<bool, BadRequest> {
        Ok(index < self.len())
    }
}

struct Search<'s, P> {
    routes: &'s Routes,
    method: &'s Method,
    path: &'s P,
    /// Why a tail that would have matched is refused.
    flaw: Option<BadRequest>,
}

impl<P: Path> Search<'_, P> {
    fn from(&mut self, node: usize, index: usize) -> Option<usize> {
        let routes = self.routes;
        let node = &routes.nodes[node];
        if let Some(text) = self.path.text(index) {
            let literal = node.literals.get(&*routes.case.folded(text));
            // Only a loose reading has empty segments, and those are nobody's value.
            let parameter = node.parameter.as_ref().filter(|_| !text.is_empty());
            for child in literal.into_iter().chain(parameter) {
                if let Some(shape) = self.from(*child, index + 1) {
                    return Some(shape);
                }
            }
        } else if self.path.is_whole()
            && let Some(shape) = node.here.shape(self.method)
        {
            return Some(shape);
        }
        node.tail.shape(self.method).filter(|_| self.is_tail(index))
    }

    fn is_tail(&mut self, index: usize) -> bool {
        self.path.has_tail(index).unwrap_or_else(|flaw| {
            self.flaw.get_or_insert(flaw);
            false
        })
    }
}

/// Checks one route by itself.
pub(crate) fn check(draft: &RouteDraft) -> Result<(), String> {
    method_of(&draft.method)?;
    pieces_of("", &draft.template).map(|_| ())
}

/// Checks a prefix of routes.
fn check_base(base: &str) -> Result<(), String> {
    if base.ends_with('/') {
        return Err(format!("base `{base}` ends with `/`"));
    }
    match pieces_of(base, "") {
        Ok(pieces) if pieces.iter().any(|piece| matches!(piece, Piece::Tail(_))) => {
            Err(format!("base `{base}` holds a tail"))
        }
        Ok(_) => Ok(()),
        Err(problem) => Err(format!("base `{base}`: {problem}")),
    }
}

/// The method of a template; `None` for any.
fn method_of(text: &str) -> Result<Option<Method>, String> {
    if text == "*" {
        return Ok(None);
    }
    if text == "HEAD" {
        return Err("HEAD counts as GET; write GET".to_owned());
    }
    let is_capital = !text.bytes().any(|byte| byte.is_ascii_lowercase());
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if is_capital => Ok(Some(method)),
        _ => Err(format!("expected a method in capitals or `*`, found `{text}`")),
    }
}

fn pieces_of(base: &str, template: &str) -> Result<Vec<Piece>, String> {
    for part in [base, template] {
        if !part.is_empty() && !part.starts_with('/') {
            return Err(format!("`{part}` must start with `/`"));
        }
    }
    let template = if template == "/" { "" } else { template };
    let mut pieces = Vec::new();
    let mut names = BTreeSet::new();
    for text in base.split('/').skip(1).chain(template.split('/').skip(1)) {
        if matches!(pieces.last(), Some(Piece::Tail(_))) {
            return Err("nothing can follow a tail `{name...}`".to_owned());
        }
        let piece = Piece::of(text)?;
        if let Piece::Parameter(name) | Piece::Tail(name) = &piece
            && !names.insert(name.clone())
        {
            return Err(format!("parameter `{name}` occurs twice"));
        }
        pieces.push(piece);
    }
    if pieces.len() > MAX_SEGMENTS {
        return Err(format!("more than {MAX_SEGMENTS} segments"));
    }
    Ok(pieces)
}

impl Piece {
    fn of(text: &str) -> Result<Piece, String> {
        if let Some(inside) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let (name, is_tail) = match inside.strip_suffix("...") {
                Some(name) => (name, true),
                None => (inside, false),
            };
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
                return Err(format!("`{text}`: a parameter's name is letters, digits, `_` and `-`"));
            }
            return Ok(if is_tail { Piece::Tail(name.into()) } else { Piece::Parameter(name.into()) });
        }
        if text.contains(['{', '}']) {
            return Err(format!("`{text}`: a parameter takes a whole segment"));
        }
        let slashed = format!("/{text}");
        let target = Target::read(&slashed).map_err(|flaw| format!("`{text}`: {}", flaw.message()))?;
        if let Some(flaw) = &target.flaw {
            return Err(format!("`{text}`: {}", flaw.message()));
        }
        if target.query.is_some() {
            return Err("a route is a path, without a query".to_owned());
        }
        if text.is_empty() {
            return Err("an empty segment (`//`, or a `/` at the end)".to_owned());
        }
        let plain = path::percent_decode(text, Plus::IsPlus).ok_or_else(|| format!("`{text}` is no UTF-8"))?;
        Ok(Piece::Literal(plain.into()))
    }
}
