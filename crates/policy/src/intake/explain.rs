//! Where the attributes of one request came from, and where nothing was found: for people who ask.

use tidegate_core::{AttributeId, Policy, Timestamp};

use super::reading::Reading;
use super::sources::{Attribute, Place};
use super::{Asked, BadRequest, Facts, Intake, Key, Plan, Route, SignatureAlgorithm, TokenFault, bit};

/// A request that was understood, and how.
#[derive(Clone, Debug)]
pub struct Understood<'k> {
    /// Its facts, as [`Intake::extract`] gives them.
    pub facts: Facts,
    /// The attributes that have sources, in the order of the policy's attributes.
    pub attributes: Vec<Sourced>,
    /// Why the claims of its token count, or do not; `None` if it has none.
    pub token: Option<Result<TrustedBy<'k>, TokenFault>>,
}

/// What vouches for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustedBy<'k> {
    /// The secret of the record that this attribute names.
    Secret(AttributeId),
    /// A key, and the algorithm that it was signed by.
    Key(&'k Key, SignatureAlgorithm),
    /// The upstream, whose word is taken for it.
    Upstream,
}

/// One attribute and its sources, up to the one that gave its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced {
    /// Which attribute.
    pub attribute: AttributeId,
    /// The places that were looked at, in their order. Only the last can be [`Finding::Taken`].
    pub places: Vec<(String, Finding)>,
}

/// What was found at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The value.
    Taken,
    /// Nothing.
    Absent,
    /// A value that the source's map does not know.
    Unmapped,
    /// It was not looked at, as no limit on the operation depends on it.
    Unread,
}

impl Intake {
    /// The facts about a request, as [`Intake::extract`] gives them, and where each came from.
    ///
    /// # Errors
    ///
    /// The request is malformed, or could be read in two ways.
    pub fn explain(
        &self,
        policy: &Policy,
        route: &Route,
        request: &Asked<'_>,
        now: Timestamp,
    ) -> Result<Understood<'_>, BadRequest> {
        let facts = self.extract(policy, route, request, now)?;
        let plan = self.plans.get(route.operation().index());
        let asked = Asked { body: request.body.filter(|_| plan.is_some_and(Plan::needs_body)), ..*request };
        let shape = route.shape().and_then(|id| self.routes.shape(id));
        let mut reading = Reading::of(&self.inputs, &[], route, shape, &asked)?;
        let token = self.token(&reading, &facts, now)?;
        let claims = token.as_ref().and_then(|verdict| verdict.as_ref().ok()).map(|(claims, _)| claims.clone());
        reading.claims = claims.unwrap_or_else(|| vec![None; self.inputs.claims.len()]);
        let in_body = plan.map_or(0, |plan| plan.in_body);
        let known = |id| super::known(policy, &facts, id);
        let of = |attribute: &Attribute| sourced(attribute, &reading, &known, in_body & bit(attribute.id) != 0);
        let mut attributes = self.attributes.iter().map(of).collect::<Result<Vec<_>, _>>()?;
        attributes.sort_by_key(|sourced| sourced.attribute);
        let token = token.map(|verdict| verdict.map(|(_, by)| by));
        Ok(Understood { facts, attributes, token })
    }

    /// The route that a request took, as it was written but for its base: `/sessions/{session}/send`; `None` if none fits.
    pub fn template(&self, route: &Route) -> Option<String> {
        let shape = self.routes.shape(route.shape()?)?;
        let mut template = String::new();
        for (index, segment) in route.path().split('/').skip(1).enumerate() {
            template.push('/');
            if let Some((name, _)) = shape.tail.as_ref().filter(|(_, first)| *first == index) {
                template.push_str(&format!("{{{name}...}}"));
                break;
            }
            match shape.parameters.iter().find(|(_, of)| *of == index) {
                Some((name, _)) => template.push_str(&format!("{{{name}}}")),
                None => template.push_str(segment),
            }
        }
        Some(template)
    }
}

fn sourced<'f>(
    attribute: &Attribute,
    reading: &'f Reading<'_>,
    known: &dyn Fn(AttributeId) -> Option<&'f str>,
    is_in_body: bool,
) -> Result<Sourced, BadRequest> {
    let mut places = Vec::new();
    'sources: for source in &attribute.sources {
        for place in &source.places {
            let name = reading.shown(place);
            if matches!(place, Place::Body(_)) && !is_in_body {
                places.push((name, Finding::Unread));
                continue;
            }
            match reading.found(place, known)?.map(|value| source.given(&value)) {
                None => places.push((name, Finding::Absent)),
                // The source's first place is present, so its others are not asked.
                Some(None) => {
                    places.push((name, Finding::Unmapped));
                    continue 'sources;
                }
                Some(Some(_)) => {
                    places.push((name, Finding::Taken));
                    break 'sources;
                }
            }
        }
    }
    Ok(Sourced { attribute: attribute.id, places })
}
