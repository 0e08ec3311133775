//! From a draft to an intake: every name settled, and for each operation what must be read for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use tidegate_core::{AttributeId, Cost, Limit, OperationId, Policy, UnitId, bounds};

use super::client::Client;
use super::draft::{AttributeDraft, CostSource, From, IntakeDraft, JwtDraft, SettleSource, SourceDraft};
use super::json::{MAX_POINTERS, Pointer};
use super::jwt::{Claims, REGISTERED, Secret, Secrets};
use super::meter::Settle;
use super::routes::{Routes, Shape};
use super::sources::{Attribute, Inputs};
use super::{Amount, CostOf, Intake, Plan, Tokens, bit};

/// Why an intake cannot be built from a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntakeError {
    message: String,
}

impl fmt::Display for IntakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for IntakeError {}

impl Intake {
    /// Builds the intake that goes with `policy`.
    ///
    /// # Errors
    ///
    /// The first thing in the draft that does not fit together or does not fit the policy.
    pub fn build(draft: &IntakeDraft, policy: &Policy) -> Result<Intake, IntakeError> {
        let builder = Builder { draft, policy, inputs: Inputs::default() };
        builder.build().map_err(|message| IntakeError { message })
    }
}

/// A draft with its names being settled.
struct Builder<'b> {
    draft: &'b IntakeDraft,
    policy: &'b Policy,
    inputs: Inputs,
}

impl Builder<'_> {
    fn build(mut self) -> Result<Intake, String> {
        let draft = self.draft;
        let routes = Routes::build(draft, |name| self.policy.operation_named(name))?;
        let reads_client = |source: &SourceDraft| source.from.contains(&From::Client);
        if draft.attributes.iter().flat_map(|attribute| &attribute.sources).any(reads_client) {
            self.inputs.client = Some(Client::build(&draft.client)?);
        }
        let mut attributes = Vec::new();
        for attribute in &draft.attributes {
            attributes.push(self.attribute(attribute, &routes)?);
        }
        let attributes = in_order(attributes, |id| self.policy.attribute_name(id))?;
        let tokens = draft.jwt.as_ref().map(|jwt| self.tokens(jwt, &attributes)).transpose()?;
        if tokens.is_none() && attributes.iter().any(|attribute| attribute.is_claimed) {
            return Err("a `jwt:` source needs to know where tokens are, which `[jwt]` says".to_owned());
        }
        let in_body = self.inputs.bodies.len() + draft.costs.len();
        if self.inputs.claims.len() + REGISTERED.len() > MAX_POINTERS
            || in_body > MAX_POINTERS
            || draft.settles.len() > MAX_POINTERS
        {
            return Err(format!("more than {MAX_POINTERS} places in a body, a token or a response"));
        }
        let costs = self.costs()?;
        let plans = self.plans(&routes, &attributes, tokens.as_ref(), &costs)?;
        let costs = costs.list.into_iter().map(|(cost, _)| cost).collect();
        Ok(Intake {
            routes,
            default_operation: self.policy.default_operation(),
            stripped: Vec::new(),
            inputs: self.inputs,
            attributes,
            tokens,
            plans,
            costs,
        })
    }

    fn attribute(&mut self, draft: &AttributeDraft, routes: &Routes) -> Result<Attribute, String> {
        let named = |problem: String| format!("attribute `{}`: {problem}", draft.name);
        let id = self.attribute_id(&draft.name)?;
        if matches!(id, AttributeId::OPERATION | AttributeId::METHOD | AttributeId::CLASS) {
            return Err(named("it follows from the route and has no sources".to_owned()));
        }
        if self.draft.attributes.iter().filter(|other| other.name == draft.name).count() > 1 {
            return Err(named("it occurs twice".to_owned()));
        }
        for from in draft.sources.iter().flat_map(|source| &source.from) {
            if let From::Path(name) = from
                && !routes.shapes().any(|shape| shape.has_parameter(name))
            {
                return Err(named(format!("no route has a parameter `{name}`")));
            }
        }
        let source = |source| self.inputs.source(source, |name| source_attribute(self.policy, name));
        let sources = draft.sources.iter().map(source).collect::<Result<_, _>>();
        Ok(Attribute { id, is_claimed: false, sources: sources.map_err(named)? })
    }

    fn tokens(&mut self, draft: &JwtDraft, attributes: &[Attribute]) -> Result<Tokens, String> {
        let mut places = Vec::new();
        for from in &draft.from {
            if !matches!(from, From::Header(_) | From::Query(_) | From::Bearer) {
                return Err("a token comes from a header, a query parameter or `bearer`".to_owned());
            }
            places.push(self.inputs.place(from)?);
        }
        let mut secrets: BTreeMap<AttributeId, HashMap<Box<str>, Secret>> = BTreeMap::new();
        for ((attribute, value), secret) in &draft.secrets {
            let id = self.attribute_id(attribute)?;
            if attributes.iter().any(|known| known.id == id && known.is_claimed) {
                return Err(format!("attribute `{attribute}` selects the secret of tokens and cannot come from one"));
            }
            let secret =
                Secret::new(secret).ok_or_else(|| format!("the secret of {attribute} `{value}` is no secret"))?;
            secrets.entry(id).or_default().insert(value.as_str().into(), secret);
        }
        if draft.upstream_verifies && draft.keys.is_some() {
            return Err("tokens are verified by keys or by the upstream, not by both".to_owned());
        }
        if draft.keys.as_ref().is_some_and(|draft| draft.keys.is_empty()) {
            return Err("tokens are verified by keys, and there are none".to_owned());
        }
        Ok(Tokens {
            places,
            keys: draft.keys.clone(),
            upstream_verifies: draft.upstream_verifies,
            secrets: secrets.into_iter().collect::<Secrets>(),
            claims: Claims::named(self.inputs.claims.iter().map(|claim| &**claim)),
        })
    }

    /// What is read for each operation.
    fn plans(
        &self,
        routes: &Routes,
        attributes: &[Attribute],
        tokens: Option<&Tokens>,
        costs: &Stated<CostOf>,
    ) -> Result<Vec<Plan>, String> {
        let mut shapes: HashMap<OperationId, Vec<&Shape>> = HashMap::new();
        for shape in routes.shapes() {
            shapes.entry(shape.operation).or_default().push(shape);
        }
        let (settles, header_settles) = self.settles()?;
        let mut shared: HashMap<Vec<usize>, Arc<[Settle]>> = HashMap::new();
        let mut plans = Vec::new();
        for about in self.policy.operations() {
            let operation = self.operation(about.name())?;
            let units: BTreeSet<UnitId> = self.policy.limits_on(operation).map(Limit::unit).collect();
            let shapes = shapes.get(&operation).map_or(&[][..], Vec::as_slice);
            let read = costs.indices(operation, |cost| units.contains(&cost.unit));
            let reads = |is: fn(&Amount) -> bool| read.iter().any(|index| is(&costs.list[*index].0.amount));
            let settled: BTreeSet<UnitId> = self.policy.limits_on(operation).filter_map(settled_unit).collect();
            let indices = settles.indices(operation, |settle| settled.contains(&settle.unit));
            let settles = shared
                .entry(indices)
                .or_insert_with_key(|indices| indices.iter().map(|index| settles.list[*index].0.clone()).collect());
            let in_body = self.attributes_in_body(operation, shapes, attributes, tokens);
            let in_headers = header_settles.indices(operation, |(unit, _)| settled.contains(unit));
            plans.push(Plan {
                in_body,
                reads_body: reads(|amount| matches!(amount, Amount::Body(_))),
                reads_length: reads(|amount| matches!(amount, Amount::BytesOfBody)),
                costs: read,
                settles: Arc::clone(settles),
                header_settles: in_headers.iter().map(|index| header_settles.list[*index].0.clone()).collect(),
            });
        }
        Ok(plans)
    }

    /// The attributes that the limits on an operation depend on and that the body may have to tell.
    fn attributes_in_body(
        &self,
        operation: OperationId,
        shapes: &[&Shape],
        attributes: &[Attribute],
        tokens: Option<&Tokens>,
    ) -> u16 {
        // What no route leads to can still be the default operation, without parameters.
        let is_routed = !shapes.is_empty() && operation != self.policy.default_operation();
        let is_certain = |name: &str| is_routed && shapes.iter().all(|shape| shape.has_parameter(name));
        let is_read = |attribute: &Attribute| self.policy.reads(operation, attribute.id);
        let selects_secret = |attribute: &Attribute| {
            let selects = tokens.is_some_and(|tokens| tokens.secrets.iter().any(|(id, _)| *id == attribute.id));
            selects && attributes.iter().filter(|attribute| attribute.is_claimed).any(is_read)
        };
        // From the last to the first: what an attribute is a source of comes after it.
        let mut read: u16 = 0;
        for attribute in attributes.iter().rev() {
            if read & bit(attribute.id) != 0 || is_read(attribute) || selects_secret(attribute) {
                read |= attribute.attributes().fold(bit(attribute.id), |bits, source| bits | bit(source));
            }
        }
        let in_body = attributes.iter().filter(|attribute| attribute.needs_body(is_certain));
        in_body.fold(0, |bits, attribute| bits | bit(attribute.id)) & read
    }

    fn costs(&mut self) -> Result<Stated<CostOf>, String> {
        let mut costs = Stated { list: Vec::new() };
        for draft in &self.draft.costs {
            let unit = self.unit(&draft.unit)?;
            let twice = || Err(format!("the cost in `{}` of one operation is stated twice", draft.unit));
            let of_unit = || self.draft.costs.iter().filter(|other| other.unit == draft.unit);
            let on = match &draft.on {
                Some(on) => self.operations(on)?,
                None if of_unit().filter(|other| other.on.is_none()).count() > 1 => return twice(),
                None => {
                    let named = of_unit().flat_map(|other| &other.on).flatten();
                    let named = named.map(|name| self.operation(name)).collect::<Result<BTreeSet<_>, _>>()?;
                    let all = self.policy.operations().iter().map(|operation| self.operation(operation.name()));
                    &all.collect::<Result<BTreeSet<_>, _>>()? - &named
                }
            };
            let is_again = |(cost, earlier): &(CostOf, Option<BTreeSet<OperationId>>)| {
                cost.unit == unit && earlier.iter().flatten().any(|operation| on.contains(operation))
            };
            if costs.list.iter().any(is_again) {
                return twice();
            }
            let amount = match &draft.source {
                CostSource::Is(amount) if *amount > bounds::MAX_AMOUNT => {
                    return Err(format!("a cost is at most {}", bounds::MAX_AMOUNT));
                }
                CostSource::Is(amount) => Amount::Is(*amount),
                CostSource::Header(name) => Amount::Header(self.inputs.header(name)?),
                CostSource::LengthOf(pointer) => Amount::Body(Pointer::parse(pointer)?),
                CostSource::SumOf(pointer) => Amount::Body(Pointer::sum(pointer)?),
                CostSource::BytesOfBody => Amount::BytesOfBody,
            };
            let is_reserve = self.draft.settles.iter().any(|settle| settle.unit == draft.unit);
            costs.list.push((CostOf { unit, amount, is_reserve }, Some(on)));
        }
        Ok(costs)
    }

    /// The costs in the body of a response, and those in its headers.
    fn settles(&self) -> Result<(Stated<Settle>, Stated<HeaderSettle>), String> {
        let (mut in_body, mut in_headers) = (Stated { list: Vec::new() }, Stated { list: Vec::new() });
        for draft in &self.draft.settles {
            let unit = self.unit(&draft.unit)?;
            let on = draft.on.as_ref().map(|on| self.operations(on)).transpose()?;
            match &draft.source {
                SettleSource::Body(pointer) => {
                    in_body.list.push((Settle { unit, pointer: Pointer::parse(pointer)? }, on));
                }
                SettleSource::Header(name) => {
                    let name = HeaderName::from_bytes(name.as_bytes());
                    let name = name.map_err(|_| "a cost is in a header whose name is none".to_owned())?;
                    in_headers.list.push(((unit, name), on));
                }
            }
        }
        Ok((in_body, in_headers))
    }

    fn attribute_id(&self, name: &str) -> Result<AttributeId, String> {
        self.policy.attribute(name).ok_or_else(|| format!("no attribute is called `{name}`"))
    }

    fn unit(&self, name: &str) -> Result<UnitId, String> {
        self.policy.unit(name).ok_or_else(|| format!("no unit is called `{name}`"))
    }

    fn operation(&self, name: &str) -> Result<OperationId, String> {
        self.policy.operation_named(name).ok_or_else(|| format!("no operation is called `{name}`"))
    }

    fn operations(&self, names: &[String]) -> Result<BTreeSet<OperationId>, String> {
        names.iter().map(|name| self.operation(name)).collect()
    }
}

/// The attribute that a source names.
fn source_attribute(policy: &Policy, name: &str) -> Result<AttributeId, String> {
    match policy.attribute(name) {
        Some(AttributeId::PLAN) => Err("the plan is settled after all other attributes".to_owned()),
        Some(id) => Ok(id),
        None => Err(format!("no attribute is called `{name}`")),
    }
}

/// The attributes in an order in which each comes after its sources; those that need no claims first, as they may select
/// the secret of the token.
fn in_order<'p>(mut left: Vec<Attribute>, name: impl Fn(AttributeId) -> &'p str) -> Result<Vec<Attribute>, String> {
    let mut ordered: Vec<Attribute> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let is_left = |id: AttributeId| left.iter().any(|attribute| attribute.id == id);
        let Some(next) = left.iter().position(|attribute| !attribute.attributes().any(is_left)) else {
            return Err(format!("attribute `{}` depends on itself", name(left[0].id)));
        };
        let mut attribute = left.remove(next);
        let mut sources = attribute.attributes();
        let is_claimed = sources.any(|id| ordered.iter().any(|source| source.id == id && source.is_claimed));
        drop(sources);
        attribute.is_claimed = is_claimed || attribute.reads_claims();
        ordered.push(attribute);
    }
    // Stable: nothing that needs no claims comes from what does.
    ordered.sort_by_key(|attribute| attribute.is_claimed);
    Ok(ordered)
}

/// A cost in the header of a response.
type HeaderSettle = (UnitId, HeaderName);

/// Costs, each with the operations that it is read for; `None` for all.
struct Stated<T> {
    list: Vec<(T, Option<BTreeSet<OperationId>>)>,
}

impl<T> Stated<T> {
    /// The places of those that are read for an operation and that `counts`.
    fn indices(&self, operation: OperationId, counts: impl Fn(&T) -> bool) -> Vec<usize> {
        let is_read = |(stated, on): &(T, Option<BTreeSet<OperationId>>)| {
            on.as_ref().is_none_or(|on| on.contains(&operation)) && counts(stated)
        };
        (0..self.list.len()).filter(|index| is_read(&self.list[*index])).collect()
    }
}

/// The unit of a limit whose cost is known only afterwards.
fn settled_unit(limit: &Limit) -> Option<UnitId> {
    (limit.cost() == Cost::Settled).then(|| limit.unit())
}
