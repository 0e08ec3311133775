//! A policy as the generator means it: what is written as a policy file, and what the model reads instead of one.

/// All of one policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Description {
    /// Declared attributes, in this order.
    pub(super) attributes: Vec<String>,
    pub(super) default_plan: Option<String>,
    /// Whether the file lists the plans; they are [`PLANS`] then.
    pub(super) lists_plans: bool,
    pub(super) operations: Vec<Operation>,
    /// The operation of demands that name none; `other` if it is not said.
    pub(super) default_operation: Option<String>,
    pub(super) units: Vec<Unit>,
    pub(super) limits: Vec<Limit>,
    /// By attribute, then by value.
    pub(super) records: Vec<Record>,
}

pub(super) const PLANS: [&str; 3] = ["free", "pro", "max"];

#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) class: Option<String>,
    /// The methods of its routes.
    pub(super) methods: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) is_settled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Fixed,
    Sliding { cells: u64 },
    Bucket,
    Concurrency,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Enforce,
    Shadow,
    Off,
}

#[derive(Clone, Debug)]
pub(super) struct Limit {
    pub(super) name: String,
    /// Operations and classes; all if it does not say.
    pub(super) on: Option<Vec<String>>,
    /// Attributes, and whether each is optional.
    pub(super) per: Vec<(String, bool)>,
    pub(super) quota: Quota,
    pub(super) algorithm: Algorithm,
    /// Of [`Description::units`]; requests if it does not say.
    pub(super) unit: Option<usize>,
    pub(super) mode: Mode,
    pub(super) when: Vec<(String, Vec<String>)>,
    pub(super) unless: Vec<(String, Vec<String>)>,
    /// The first day, as in `2020-05-28`, of what the limit applies to.
    pub(super) exempt_before: Option<&'static str>,
}

#[derive(Clone, Debug)]
pub(super) enum Quota {
    Fixed(Amount),
    Unlimited,
    By { attribute: String, cases: Vec<(String, Quota)>, default: Option<Box<Quota>> },
    Derived { numerator: u64, denominator: u64, of: String, window: u64 },
}

/// An amount per window, in microseconds; of concurrency the window is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) amount: u64,
    pub(super) window: u64,
    /// Of a token bucket that says so.
    pub(super) burst: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) attribute: String,
    pub(super) value: String,
    pub(super) plan: Option<String>,
    pub(super) created: Option<&'static str>,
    /// By name of a limit.
    pub(super) limits: Vec<(String, Quota)>,
}

/// What a demand is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Once,
    Hold,
    Peek,
}

/// A demand, by names.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) operation: Option<String>,
    pub(super) method: Option<String>,
    pub(super) plan: Option<String>,
    /// In the order of [`Description::attributes`].
    pub(super) values: Vec<Option<String>>,
    /// By unit; requests, then [`Description::units`].
    pub(super) costs: Vec<Option<u64>>,
    pub(super) purpose: Purpose,
}

impl Description {
    pub(super) fn default_operation(&self) -> &str {
        self.default_operation.as_deref().unwrap_or("other")
    }

    pub(super) fn limit(&self, name: &str) -> &Limit {
        self.limits.iter().find(|limit| limit.name == name).expect("a limit that was described")
    }
}
