//! A policy as the generator means it: what is written as a policy file, and what the model reads instead of one.

use std::net::IpAddr;

/// All of one policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Description {
    /// Declared attributes, in this order; that called [`CLIENT`] is the client's address.
    pub(super) attributes: Vec<String>,
    pub(super) client: Client,
    /// The time zone of days and months of limits that name none; UTC if it does not say.
    pub(super) zone: Option<&'static str>,
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

/// The attribute that comes from the address of the client.
pub(super) const CLIENT: &str = "client";

/// Whose word counts about the address of a client, and how much of it makes one.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// Blocks of addresses.
    pub(super) trusted: Vec<&'static str>,
    pub(super) is_forwarded: bool,
    pub(super) ipv4_prefix: usize,
    pub(super) ipv6_prefix: usize,
}

impl Default for Client {
    fn default() -> Client {
        Client { trusted: Vec::new(), is_forwarded: false, ipv4_prefix: 32, ipv6_prefix: 64 }
    }
}

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
    /// Where its windows begin; of a fixed window only.
    pub(super) begins: Begins,
    /// Of [`Description::units`]; requests if it does not say.
    pub(super) unit: Option<usize>,
    /// The attribute whose distinct values it counts instead, and whether it is optional; of a fixed window only.
    pub(super) distinct: Option<(String, bool)>,
    pub(super) mode: Mode,
    /// Whether refused attempts count.
    pub(super) counts_refused: bool,
    pub(super) when: Vec<(String, Vec<String>)>,
    pub(super) unless: Vec<(String, Vec<String>)>,
    /// The first day, as in `2020-05-28`, of what the limit applies to.
    pub(super) exempt_before: Option<&'static str>,
}

/// Where fixed windows begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// By the clock; days and months in the file's zone.
    Clock,
    First,
    /// Days and months in a zone of the limit's own.
    In(&'static str),
}

#[derive(Clone, Debug)]
pub(super) enum Quota {
    Fixed(Amount),
    Unlimited,
    By {
        attribute: String,
        cases: Vec<(String, Quota)>,
        default: Option<Box<Quota>>,
    },
    /// Each from that age on, in microseconds.
    ByAge {
        steps: Vec<(u64, Quota)>,
        default: Option<Box<Quota>>,
    },
    Derived {
        numerator: u64,
        denominator: u64,
        of: String,
        window: Length,
    },
}

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Length {
    /// In microseconds; of concurrency zero.
    Span(u64),
    Month,
}

impl Length {
    /// Microseconds after which another one has begun.
    pub(super) fn at_most(self) -> u64 {
        match self {
            Length::Span(span) => span,
            Length::Month => 31 * 86_400_000_000,
        }
    }
}

/// An amount per window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) amount: u64,
    pub(super) window: Length,
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
    /// In the order of [`Description::attributes`]; that of the client follows from its address.
    pub(super) values: Vec<Option<String>>,
    /// The address that it comes from.
    pub(super) peer: Option<IpAddr>,
    /// The addresses that proxies say they were called from, the last caller last.
    pub(super) via: Vec<IpAddr>,
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

    /// The zones that its days and months are of.
    pub(super) fn zones(&self) -> impl Iterator<Item = &'static str> {
        let own = self.limits.iter().filter_map(|limit| match limit.begins {
            Begins::In(zone) => Some(zone),
            Begins::Clock | Begins::First => None,
        });
        self.zone.into_iter().chain(own)
    }
}
