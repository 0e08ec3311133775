//! The facts about one request, owned: what a demand is made of.

use std::borrow::Cow;

use tidegate_core::{AttributeId, Demand, DemandBuilder, DemandError, OperationId, Policy, UnitId};

/// Values that are made room for at once; the largest shipped policy has so many.
const USUAL_VALUES: usize = 6;

/// The operation, the attributes and the costs of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    operation: OperationId,
    values: Vec<(AttributeId, Cow<'static, str>)>,
    costs: Vec<(UnitId, u64)>,
    is_plan_stated: bool,
}

impl Facts {
    /// No facts but the operation.
    pub fn of(operation: OperationId) -> Facts {
        Facts { operation, values: Vec::with_capacity(USUAL_VALUES), costs: Vec::new(), is_plan_stated: false }
    }

    /// The operation that the route led to.
    pub fn operation(&self) -> OperationId {
        self.operation
    }

    /// All attributes that have a value, the method among them.
    pub fn values(&self) -> impl Iterator<Item = (AttributeId, &str)> {
        self.values.iter().map(|(attribute, value)| (*attribute, &**value))
    }

    /// The value of an attribute.
    pub fn value(&self, attribute: AttributeId) -> Option<&str> {
        self.values().find(|(known, _)| *known == attribute).map(|(_, value)| value)
    }

    /// The costs that the request states.
    pub fn costs(&self) -> &[(UnitId, u64)] {
        &self.costs
    }

    /// Adds an attribute or replaces what was extracted. A plan that is stated so wins over a record's.
    pub fn set(&mut self, attribute: AttributeId, value: String) {
        self.is_plan_stated |= attribute == AttributeId::PLAN;
        self.put(attribute, value);
    }

    /// Takes an attribute away.
    pub fn clear(&mut self, attribute: AttributeId) {
        self.values.retain(|(known, _)| *known != attribute);
    }

    /// Adds a cost or replaces the one that was read.
    pub fn set_cost(&mut self, unit: UnitId, amount: u64) {
        self.costs.retain(|(known, _)| *known != unit);
        self.costs.push((unit, amount));
    }

    /// Notes what a request says.
    pub(crate) fn put(&mut self, attribute: AttributeId, value: impl Into<Cow<'static, str>>) {
        self.clear(attribute);
        self.values.push((attribute, value.into()));
    }

    /// The demand they make on `policy`, for the caller to complete.
    ///
    /// A plan that the request named counts only if no record names one.
    ///
    /// # Errors
    ///
    /// A value or a cost that was set is out of bounds, or names no operation.
    pub fn demand<'a>(&'a self, policy: &'a Policy) -> Result<DemandBuilder<'a>, DemandError> {
        let mut demand = Demand::on(policy);
        demand.set_operation(self.operation);
        for (attribute, value) in self.values().filter(|(attribute, _)| *attribute != AttributeId::PLAN) {
            demand.set(attribute, value)?;
        }
        if let Some(plan) = self.value(AttributeId::PLAN) {
            let is_recorded = || policy.recorded_plan(demand.build().attributes()).is_some();
            if self.is_plan_stated || !is_recorded() {
                demand.set(AttributeId::PLAN, plan)?;
            }
        }
        for (unit, amount) in &self.costs {
            demand.set_cost(*unit, *amount)?;
        }
        Ok(demand)
    }
}
