//! What is measured: Tidegate and its peers, asked the same question.
//!
//! The question is one request of a user: 18-byte names that are written anew for every request. With three limits, the
//! user's, the tenant's (a hundred users each) and everybody's; governor needs three calls for them, which are not
//! atomic. All of a decision is counted: Tidegate's demand and limitador's context are made in it.

#[cfg(feature = "peers")]
mod peers;

use tidegate_core::{
    Algorithm, AttributeId, Demand, DemandBuilder, LimitDraft, OperationDraft, Policy, PolicyDraft, Quota, QuotaTree,
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

    /// Asks for one request of each of these users and says how many were admitted.
    fn ask_all(&self, names: &mut Names, users: &[u64; BATCH]) -> u64 {
        users.iter().map(|user| u64::from(self.ask(names, *user))).sum()
    }
}

/// What a bucket holds where all is admitted: more than a run takes. A unit comes back after a minute, so that counters
/// are in use as they are in life; one that is full again each time it is asked would be forgotten and made anew.
const BURST: u64 = 50_000_000;
const PERIOD_S: u64 = 60;

/// Requests that are asked for at once of what can decide batches.
pub const BATCH: usize = 64;

/// The names of what measures of a case are taken of.
pub const SUBJECTS: [&str; 6] =
    ["null", "tidegate-bucket", "tidegate-window", "tidegate-batch", "governor", "limitador"];

/// A subject by its name.
pub fn subject(name: &str, case: Case) -> Box<dyn Subject> {
    match name {
        "null" => Box::new(Null),
        "tidegate-bucket" => Box::new(Tidegate::new(case, Algorithm::TokenBucket, 0)),
        "tidegate-window" => Box::new(Tidegate::new(case, Algorithm::FixedWindow, 0)),
        // 1,000 limits and 10,000 operations, where the same limits match as without the others.
        "tidegate-1000-limits" => Box::new(Tidegate::new(case, Algorithm::TokenBucket, 1_000 - case.limits)),
        "tidegate-batch" => Box::new(Batches(Tidegate::new(case, Algorithm::TokenBucket, 0))),
        #[cfg(feature = "peers")]
        "governor" => Box::new(peers::Governor::new(case)),
        #[cfg(feature = "peers")]
        "limitador" => Box::new(peers::Limitador::new(case)),
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
        let operations = if others > 0 { 10_000 } else { 100 };
        let others = (0..others)
            .map(|number| limit(&format!("other-{number}"), "user", Some(number % 100), algorithm, case.verdicts));
        let operations = (0..operations).map(|number| format!("other-{number}")).chain(["other".into()]);
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
        let users = usize::try_from(case.users).expect("a number of users");
        // The tenants' counters and everybody's, where there are such limits.
        let max_counters = if case.limits > 1 { users + users / 100 + 2 } else { users };
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
        (Verdicts::Admitted, Algorithm::TokenBucket) => {
            Quota { burst: BURST, ..Quota::per(1, Span::from_secs(PERIOD_S)) }
        }
        (Verdicts::Admitted, _) => Quota::per(1_000_000_000_000, Span::from_secs(86_400)),
    };
    LimitDraft {
        name: name.into(),
        on: on.map(|operation| vec![format!("other-{operation}")]),
        per: if per.is_empty() { Vec::new() } else { vec![(per.into(), false)] },
        quota: QuotaTree::Fixed(quota),
        algorithm,
        ..LimitDraft::default()
    }
}

impl Subject for Tidegate {
    fn ask(&self, names: &mut Names, user: u64) -> bool {
        names.write(user, self.limits);
        let mut demand = Demand::on(&self.policy);
        self.name(&mut demand, &names.user, &names.tenant);
        self.limiter.check_on(&mut names.slate, demand.finish()).is_admitted()
    }
}

impl Tidegate {
    #[inline]
    fn name<'a>(&self, demand: &mut DemandBuilder<'a>, user: &'a [u8; 18], tenant: &'a [u8; 18]) {
        demand.set(self.attributes[0], text(user)).expect("a short name");
        if self.limits > 1 {
            demand.set(self.attributes[1], text(tenant)).expect("a short name");
        }
    }
}

/// Asked in batches.
struct Batches(Tidegate);

impl Subject for Batches {
    fn ask(&self, names: &mut Names, user: u64) -> bool {
        self.0.ask(names, user)
    }

    fn ask_all(&self, names: &mut Names, users: &[u64; BATCH]) -> u64 {
        let mut written = [(names.user, names.tenant); BATCH];
        for ((user, tenant), number) in written.iter_mut().zip(users) {
            digits(user, *number);
            if self.0.limits > 1 {
                digits(tenant, *number / 100);
            }
        }
        let demands: [Demand<'_>; BATCH] = std::array::from_fn(|place| {
            let mut demand = Demand::on(&self.0.policy);
            self.0.name(&mut demand, &written[place].0, &written[place].1);
            *demand.finish()
        });
        let mut admitted = 0;
        self.0.limiter.check_batch(&demands, |decision| admitted += u64::from(decision.is_admitted()));
        admitted
    }
}
