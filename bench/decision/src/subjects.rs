//! What is measured: Tidegate and its peers, asked the same question.
//!
//! The question is one request of a user: 18-byte names that are written anew for every request. With three limits, the
//! user's, the tenant's (a hundred users each) and everybody's; governor needs three calls for them, which are not
//! atomic. All of a decision is counted: Tidegate's demand and limitador's context are made in it.

use std::collections::HashMap;
use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, RateLimiter};
use limitador::limit::{Context, Limit, Namespace};
use tidegate_core::{
    Algorithm, AttributeId, Cost, Demand, LimitDraft, Mode, OperationDraft, Policy, PolicyDraft, Quota, QuotaTree,
    Slate, Span,
};
use tidegate_limiter::{Limiter, Memory, MemoryOptions, SystemClock};

/// How a question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdicts {
    /// Every demand is admitted.
    Admitted,
    /// Every demand is refused, once every counter has been used up.
    Refused,
}

/// One case: how many limits, how many users, and how they are answered.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub limits: usize,
    pub users: u64,
    pub verdicts: Verdicts,
}

/// A limiter being measured.
pub trait Subject: Sync {
    /// Asks for one request of a user and says whether it was admitted.
    fn ask(&self, names: &mut Names, user: u64) -> bool;
}

/// The names of what measures of a case are taken of.
pub const SUBJECTS: [&str; 5] = ["null", "tidegate-bucket", "tidegate-window", "governor", "limitador"];

/// A subject by its name.
pub fn subject(name: &str, case: Case) -> Box<dyn Subject> {
    match name {
        "null" => Box::new(Null),
        "tidegate-bucket" => Box::new(Tidegate::new(case, Algorithm::TokenBucket, 0)),
        "tidegate-window" => Box::new(Tidegate::new(case, Algorithm::FixedWindow, 0)),
        // 1,000 limits, of which the same ones match as without the others.
        "tidegate-1000-limits" => Box::new(Tidegate::new(case, Algorithm::TokenBucket, 1_000 - case.limits)),
        "governor" => Box::new(Governor::new(case)),
        "limitador" => Box::new(Limitador::new(case)),
        other => panic!("no subject is called {other}"),
    }
}

/// Buffers for the names of one request; the same for all subjects.
pub struct Names {
    user: [u8; 18],
    tenant: [u8; 18],
    user_text: String,
    tenant_text: String,
    slate: Slate,
}

impl Names {
    pub fn new() -> Names {
        let (user, tenant) = (*b"user:0000000000000", *b"tent:0000000000000");
        let [user_text, tenant_text] = [(); 2].map(|()| String::with_capacity(18));
        Names { user, tenant, user_text, tenant_text, slate: Slate::new() }
    }

    fn write(&mut self, user: u64, limits: usize) {
        digits(&mut self.user, user);
        if limits > 1 {
            digits(&mut self.tenant, user / 100);
        }
    }

    fn copy_texts(&mut self, limits: usize) {
        let Names { user, tenant, user_text, tenant_text, .. } = self;
        for (text, bytes) in [(user_text, user), (tenant_text, tenant)].into_iter().take(limits) {
            text.clear();
            text.push_str(self::text(bytes));
        }
    }
}

impl Default for Names {
    fn default() -> Names {
        Names::new()
    }
}

fn text(name: &[u8; 18]) -> &str {
    std::str::from_utf8(name).expect("digits")
}

/// The last eight digits of a name, which suffice for ten million users.
fn digits(name: &mut [u8; 18], mut number: u64) {
    for digit in name[10..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// What asking costs by itself: the loop, the random number, the name.
struct Null;

impl Subject for Null {
    fn ask(&self, names: &mut Names, user: u64) -> bool {
        names.write(user, 1);
        std::hint::black_box(text(&names.user));
        true
    }
}

struct Tidegate {
    limiter: Limiter<SystemClock, ()>,
    policy: Policy,
    attributes: [AttributeId; 2],
    limits: usize,
}

impl Tidegate {
    fn new(case: Case, algorithm: Algorithm, others: usize) -> Tidegate {
        let limits = three_limits(case.limits, algorithm, case.verdicts);
        let others = (0..others)
            .map(|number| limit(&format!("other-{number}"), "user", Some(number % 100), algorithm, case.verdicts));
        let operations = (0..100).map(|number| format!("other-{number}")).chain(["other".into()]);
        let draft = PolicyDraft {
            name: "bench".into(),
            attributes: ["user", "tenant"].map(String::from).into(),
            operations: operations.map(|name| OperationDraft { name, ..OperationDraft::default() }).collect(),
            default_operation: "other".into(),
            limits: limits.into_iter().chain(others).collect(),
            ..PolicyDraft::default()
        };
        let policy = Policy::freeze(&draft).expect("a policy that freezes");
        let attributes = ["user", "tenant"].map(|name| policy.attribute(name).expect("an attribute"));
        let max_counters = usize::try_from(case.users).expect("a number of users") + case.users as usize / 100 + 2;
        let memory = Memory::new(MemoryOptions { max_counters });
        Tidegate { limiter: Limiter::new(memory, SystemClock::new(), ()), policy, attributes, limits: case.limits }
    }
}

fn three_limits(count: usize, algorithm: Algorithm, verdicts: Verdicts) -> Vec<LimitDraft> {
    let limits = [("by-user", "user"), ("by-tenant", "tenant"), ("global", "")].into_iter().take(count);
    limits.map(|(name, per)| limit(name, per, None, algorithm, verdicts)).collect()
}

/// A policy of one or three token buckets.
pub fn policy(limits: usize, verdicts: Verdicts) -> Policy {
    let draft = PolicyDraft {
        name: "bench".into(),
        attributes: ["user", "tenant"].map(String::from).into(),
        operations: vec![OperationDraft { name: "other".into(), ..OperationDraft::default() }],
        default_operation: "other".into(),
        limits: three_limits(limits, Algorithm::TokenBucket, verdicts),
        ..PolicyDraft::default()
    };
    Policy::freeze(&draft).expect("a policy that freezes")
}

fn limit(name: &str, per: &str, on: Option<usize>, algorithm: Algorithm, verdicts: Verdicts) -> LimitDraft {
    let quota = match (verdicts, algorithm) {
        (Verdicts::Refused, _) => Quota::per(1, Span::from_secs(86_400)),
        (Verdicts::Admitted, Algorithm::TokenBucket) => Quota::per(1_000_000_000, Span::from_secs(1)),
        (Verdicts::Admitted, _) => Quota::per(1_000_000_000_000, Span::from_secs(86_400)),
    };
    LimitDraft {
        name: name.into(),
        on: on.map(|operation| vec![format!("other-{operation}")]),
        per: if per.is_empty() { Vec::new() } else { vec![(per.into(), false)] },
        unit: "requests".into(),
        cost: Cost::One,
        quota: QuotaTree::Fixed(quota),
        algorithm,
        mode: Mode::Enforce,
        when: Vec::new(),
        unless: Vec::new(),
        exempt_created_before: None,
    }
}

impl Subject for Tidegate {
    fn ask(&self, names: &mut Names, user: u64) -> bool {
        names.write(user, self.limits);
        let mut demand = Demand::on(&self.policy);
        demand.set(self.attributes[0], text(&names.user)).expect("a short name");
        if self.limits > 1 {
            demand.set(self.attributes[1], text(&names.tenant)).expect("a short name");
        }
        self.limiter.check_on(&mut names.slate, demand.finish()).is_admitted()
    }
}

struct Governor {
    users: DefaultKeyedRateLimiter<String>,
    tenants: DefaultKeyedRateLimiter<String>,
    global: DefaultKeyedRateLimiter<String>,
    everybody: String,
    limits: usize,
}

impl Governor {
    fn new(case: Case) -> Governor {
        let quota = match case.verdicts {
            Verdicts::Admitted => governor::Quota::per_second(NonZeroU32::new(1_000_000_000).expect("not zero")),
            Verdicts::Refused => {
                governor::Quota::with_period(std::time::Duration::from_secs(86_400)).expect("not zero")
            }
        };
        let [users, tenants, global] = [(); 3].map(|()| RateLimiter::keyed(quota));
        Governor { users, tenants, global, everybody: "all".into(), limits: case.limits }
    }
}

impl Subject for Governor {
    fn ask(&self, names: &mut Names, user: u64) -> bool {
        names.write(user, self.limits);
        names.copy_texts(self.limits);
        let mut admitted = self.users.check_key(&names.user_text).is_ok();
        if self.limits > 1 {
            // All three are asked even if one refuses, as a caller must who reports what is left.
            admitted &= self.tenants.check_key(&names.tenant_text).is_ok();
            admitted &= self.global.check_key(&self.everybody).is_ok();
        }
        admitted
    }
}

struct Limitador {
    limiter: limitador::RateLimiter,
    namespace: Namespace,
    limits: usize,
}

impl Limitador {
    fn new(case: Case) -> Limitador {
        let most = match case.verdicts {
            Verdicts::Admitted => 1_000_000_000_000,
            Verdicts::Refused => 1,
        };
        let limiter = limitador::RateLimiter::new(case.users * 2 + 1_000);
        for variable in [Some("user"), Some("tenant"), None].into_iter().take(case.limits) {
            let variables: Vec<_> =
                variable.into_iter().map(|name| name.try_into().expect("a variable's name")).collect();
            limiter.add_limit(Limit::new("bench", most, 86_400, Vec::new(), variables));
        }
        Limitador { limiter, namespace: "bench".into(), limits: case.limits }
    }
}

impl Subject for Limitador {
    fn ask(&self, names: &mut Names, user: u64) -> bool {
        names.write(user, self.limits);
        let mut values = HashMap::with_capacity(self.limits);
        values.insert("user".to_string(), text(&names.user).to_string());
        if self.limits > 1 {
            values.insert("tenant".to_string(), text(&names.tenant).to_string());
        }
        let context = Context::from(values);
        let result = self.limiter.check_rate_limited_and_update(&self.namespace, &context, 1);
        !result.expect("a limit that can be evaluated").limited
    }
}
