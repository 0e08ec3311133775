//! What became of a request's method and target.

use std::borrow::Cow;

use tidegate_core::OperationId;

use super::path::{self, Plus, Target};
use super::routes::Shape;

/// The canonical target of a request, and the operation it leads to. What was matched is what it says to forward.
#[derive(Clone, Debug)]
pub struct Route {
    target: String,
    path_end: usize,
    operation: OperationId,
    method: Cow<'static, str>,
    shape: Option<usize>,
    /// Where the parameters start and end in the target, in the order of the template.
    parameters: Vec<(usize, usize)>,
    tail_start: usize,
}

impl Route {
    pub(crate) fn new(
        target: Target<'_>,
        operation: OperationId,
        method: Cow<'static, str>,
        shape: Option<(usize, &Shape)>,
        stripped: usize,
    ) -> Route {
        let about = shape.map(|(_, shape)| shape);
        let parameters = about.into_iter().flat_map(|shape| &shape.parameters);
        let segment = |index: usize| target.segments.get(index).map_or((0, 0), |segment| (segment.start, segment.end));
        let mut parameters: Vec<(usize, usize)> = parameters.map(|(_, index)| segment(*index)).collect();
        let cut = stripped.checked_sub(1).map_or(0, |last| segment(last).1);
        let (upto, tail) = match about.and_then(|shape| shape.tail.as_ref()) {
            Some((_, index)) => (*index, target.tail(*index)),
            None => (target.segments.len(), ""),
        };
        let (mut target, mut tail_start, mut path_end) = target.forwarded(upto, tail);
        if cut > 0 {
            // Of a path that is the prefix alone, the slash is left.
            let is_bare = path_end <= cut;
            target.replace_range(..cut.min(path_end), if is_bare { "/" } else { "" });
            let moved = |at: usize| if is_bare { 1 } else { at.saturating_sub(cut) };
            (tail_start, path_end) = (moved(tail_start), moved(path_end));
            parameters.iter_mut().for_each(|(start, end)| (*start, *end) = (moved(*start), moved(*end)));
        }
        Route { target, path_end, operation, method, shape: shape.map(|(id, _)| id), parameters, tail_start }
    }

    /// The canonical path.
    pub fn path(&self) -> &str {
        &self.target[..self.path_end]
    }

    /// The query as it came, without the question mark.
    pub fn query(&self) -> Option<&str> {
        self.target[self.path_end..].strip_prefix('?')
    }

    /// What to forward: the canonical path, and the query as it came.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The operation that method and path lead to.
    pub fn operation(&self) -> OperationId {
        self.operation
    }

    /// Whether a route fits; if none does, the operation is the policy's default one.
    pub fn is_known(&self) -> bool {
        self.shape.is_some()
    }

    /// The value of the attribute `method`: HEAD counts as GET, and methods that are neither registered nor named by a
    /// route are `OTHER`. Not the method to forward.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The same, for who keeps it: nearly always one of the registered methods, which are not copied.
    pub(crate) fn owned_method(&self) -> Cow<'static, str> {
        self.method.clone()
    }

    pub(crate) fn shape(&self) -> Option<usize> {
        self.shape
    }

    /// The value of a path parameter, decoded; of a tail, byte for byte.
    pub(crate) fn parameter_in(&self, shape: &Shape, name: &str) -> Option<Cow<'_, str>> {
        if shape.tail.as_ref().is_some_and(|(tail, _)| **tail == *name) {
            return Some(Cow::Borrowed(&self.target[self.tail_start..self.path_end]));
        }
        let index = shape.parameters.iter().position(|(known, _)| **known == *name)?;
        let (start, end) = *self.parameters.get(index)?;
        let segment = self.target.get(start..end)?;
        if !segment.contains('%') {
            return Some(Cow::Borrowed(segment));
        }
        path::percent_decode(segment, Plus::IsPlus).map(Cow::Owned)
    }
}
