//! One question: these attributes, this cost, all limits together.

use std::fmt;

use crate::policy::AttributeSet;
use crate::{AttributeId, OperationId, Policy, UnitId, bounds};

/// The facts about one request, by the attribute's place in its policy.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    values: [Option<&'a str>; bounds::MAX_ATTRIBUTES],
    /// Those that have a value.
    present: AttributeSet,
}

impl<'a> Attributes<'a> {
    /// The value of an attribute, if the demand has it.
    #[inline]
    pub fn value(&self, attribute: AttributeId) -> Option<&'a str> {
        self.values[attribute.index()]
    }

    /// Which of them have a value.
    #[inline]
    pub(crate) fn present(&self) -> AttributeSet {
        self.present
    }

    #[inline]
    fn set(&mut self, attribute: AttributeId, value: Option<&'a str>) {
        self.values[attribute.index()] = value;
        self.present = if value.is_some() { self.present.with(attribute) } else { self.present.without(attribute) };
    }
}

/// What the demand is for: it settles what concurrency limits do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Purpose {
    /// A question whose answer is all there is: concurrency limits are looked at, not held.
    #[default]
    Once,
    /// Work that begins now and ends later: concurrency limits are held until they are released.
    Hold,
    /// What would be answered; nothing is charged.
    Peek,
}

/// One question to the limits of one policy. It borrows the policy, so that it cannot be put to another.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    policy: &'a Policy,
    operation: OperationId,
    purpose: Purpose,
    attributes: Attributes<'a>,
    costs: Costs,
}

/// The costs that were named, by unit: one more than each, zero for none. Half the size of options.
#[derive(Clone, Copy, Debug, Default)]
struct Costs([u64; bounds::MAX_UNITS]);

impl Costs {
    fn of(&self, unit: UnitId) -> Option<u64> {
        self.0[unit.index()].checked_sub(1)
    }

    /// The amount is at most [`bounds::MAX_AMOUNT`].
    fn set(&mut self, unit: UnitId, amount: u64) {
        self.0[unit.index()] = amount + 1;
    }
}

impl<'a> Demand<'a> {
    /// A demand on `policy`, to be filled in.
    pub fn on(policy: &'a Policy) -> DemandBuilder<'a> {
        let (values, present) = ([None; bounds::MAX_ATTRIBUTES], AttributeSet::default());
        let attributes = Attributes { values, present };
        let operation = policy.default_operation();
        let demand = Demand { policy, operation, purpose: Purpose::Once, attributes, costs: Costs::default() };
        DemandBuilder { demand, operation: None, method: None, plan: None }
    }

    /// The policy it asks.
    pub fn policy(&self) -> &'a Policy {
        self.policy
    }

    /// The operation it is for; the policy's default operation if none was named.
    pub fn operation(&self) -> OperationId {
        self.operation
    }

    /// Its attributes, completed: operation, class, method and plan are filled in where the policy knows them.
    pub fn attributes(&self) -> &Attributes<'a> {
        &self.attributes
    }

    /// The value of the attribute called `name`, if the policy has such an attribute and the demand a value.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.policy.attribute(name).and_then(|id| self.attributes.value(id))
    }

    /// The cost that was named for a unit, in whole units.
    pub fn cost(&self, unit: UnitId) -> Option<u64> {
        self.costs.of(unit)
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The same demand for another purpose.
    pub fn with_purpose(self, purpose: Purpose) -> Demand<'a> {
        Demand { purpose, ..self }
    }
}

/// A demand being filled in.
#[derive(Clone, Copy, Debug)]
pub struct DemandBuilder<'a> {
    /// What is set, and what the last [`DemandBuilder::finish`] filled in.
    demand: Demand<'a>,
    // What was set of that which else follows from the rest.
    operation: Option<OperationId>,
    method: Option<&'a str>,
    plan: Option<&'a str>,
}

impl<'a> DemandBuilder<'a> {
    /// Sets an attribute; the last value set counts.
    ///
    /// # Errors
    ///
    /// The value is longer than [`bounds::MAX_ATTRIBUTE_BYTES`], the policy has no such operation, or the attribute is
    /// `class`, which follows from the operation.
    #[inline]
    pub fn set(&mut self, attribute: AttributeId, value: &'a str) -> Result<&mut Self, DemandError> {
        if value.len() > bounds::MAX_ATTRIBUTE_BYTES {
            return Err(DemandError::ValueTooLong { attribute, bytes: value.len() });
        }
        if attribute.index() < AttributeId::BUILT_IN.len() {
            return self.set_built_in(attribute, value);
        }
        self.demand.attributes.set(attribute, Some(value));
        Ok(self)
    }

    fn set_built_in(&mut self, attribute: AttributeId, value: &'a str) -> Result<&mut Self, DemandError> {
        match attribute {
            AttributeId::OPERATION => {
                let operation = self.demand.policy.operation_named(value);
                self.operation = Some(operation.ok_or(DemandError::UnknownOperation)?);
            }
            AttributeId::CLASS => return Err(DemandError::ClassIsDerived),
            AttributeId::METHOD => self.method = Some(value),
            _ => self.plan = Some(value),
        }
        Ok(self)
    }

    /// Sets the operation that a route led to.
    pub fn set_operation(&mut self, operation: OperationId) -> &mut Self {
        self.operation = Some(operation);
        self
    }

    /// Takes an attribute away again.
    pub fn clear(&mut self, attribute: AttributeId) -> &mut Self {
        match attribute {
            AttributeId::OPERATION => self.operation = None,
            AttributeId::METHOD => self.method = None,
            AttributeId::PLAN => self.plan = None,
            _ => self.demand.attributes.set(attribute, None),
        }
        self
    }

    /// Sets the cost in one unit. Zero asks without charging that unit.
    ///
    /// # Errors
    ///
    /// The amount is above [`bounds::MAX_AMOUNT`].
    pub fn set_cost(&mut self, unit: UnitId, amount: u64) -> Result<&mut Self, DemandError> {
        if amount > bounds::MAX_AMOUNT {
            return Err(DemandError::CostTooLarge { unit, amount });
        }
        self.demand.costs.set(unit, amount);
        Ok(self)
    }

    /// Sets what the demand is for.
    pub fn set_purpose(&mut self, purpose: Purpose) -> &mut Self {
        self.demand.purpose = purpose;
        self
    }

    /// The value set so far for an attribute.
    pub fn value(&self, attribute: AttributeId) -> Option<&'a str> {
        match attribute {
            AttributeId::OPERATION => self.operation.map(|id| self.demand.policy.operation(id).name()),
            AttributeId::CLASS => None,
            AttributeId::METHOD => self.method,
            AttributeId::PLAN => self.plan,
            _ => self.demand.attributes.value(attribute),
        }
    }

    /// The finished demand, for who keeps it or builds others alike. [`DemandBuilder::finish`] saves the copy.
    pub fn build(&self) -> Demand<'a> {
        let mut copy = *self;
        *copy.finish()
    }

    /// The finished demand, in the place where it was built.
    ///
    /// What follows from the rest is filled in: the default operation if none was named, its class, its method if its
    /// routes have only one, and the plan: the one that was set, else that of a record of one of the demand's
    /// attributes, else the policy's default plan.
    #[inline]
    pub fn finish(&mut self) -> &Demand<'a> {
        let policy = self.demand.policy;
        let demand = &mut self.demand;
        demand.operation = self.operation.unwrap_or(policy.default_operation());
        let about = policy.operation(demand.operation);
        let attributes = &mut demand.attributes;
        attributes.set(AttributeId::OPERATION, Some(about.name()));
        attributes.set(AttributeId::CLASS, about.class());
        attributes.set(AttributeId::METHOD, self.method.or(about.method()));
        // Not what the last time found: records are looked up by it too.
        attributes.set(AttributeId::PLAN, self.plan);
        if self.plan.is_none() {
            let plan = policy.recorded_plan(attributes).or(policy.default_plan());
            attributes.set(AttributeId::PLAN, plan);
        }
        demand
    }
}

/// Why a demand cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DemandError {
    /// The value of an attribute is too long.
    ValueTooLong {
        /// Which attribute.
        attribute: AttributeId,
        /// How long its value is.
        bytes: usize,
    },
    /// The policy has no operation of that name.
    UnknownOperation,
    /// `class` was set; it follows from the operation.
    ClassIsDerived,
    /// A cost is above the largest amount.
    CostTooLarge {
        /// In which unit.
        unit: UnitId,
        /// The cost that was asked for.
        amount: u64,
    },
}

impl fmt::Display for DemandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DemandError::ValueTooLong { bytes, .. } => {
                write!(f, "value has {bytes} bytes, at most {} are allowed", bounds::MAX_ATTRIBUTE_BYTES)
            }
            DemandError::UnknownOperation => write!(f, "no such operation in this policy"),
            DemandError::ClassIsDerived => write!(f, "`class` follows from the operation and cannot be set"),
            DemandError::CostTooLarge { amount, .. } => {
                write!(f, "cost {amount} is above the largest amount, {}", bounds::MAX_AMOUNT)
            }
        }
    }
}

impl std::error::Error for DemandError {}
