//! Several limits of one demand: charged together or not at all, as the model has it.

use std::collections::HashMap;

use proptest::prelude::*;
use tidegate_core::{
    Algorithm, AttributeId, Basis, ChargeList, Charges, Decision, Demand, Mode, Part, Policy, Purpose, QuotaTree, Span,
    Statuses, Timestamp, Wait, decide,
};

use crate::drafts::{limit, policy};
use crate::oracle::Oracle;
use crate::samples::{Sample, beginnings, cases, rules};

/// The simplest store: a map, in one thread. A shadow limit is charged only what fits it, as if it were enforced: so it
/// tells whom it would have refused. Limits that count refused attempts are charged what is left.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Store {
    counters: HashMap<Vec<u8>, Vec<u64>>,
}

impl Store {
    pub(crate) fn check<'d>(&mut self, demand: &'d Demand<'d>, now: Timestamp) -> Decision<'d> {
        decide(demand, now, |charges, statuses| *statuses = self.charge(charges, now))
    }

    fn charge(&mut self, charges: Charges<'_>, now: Timestamp) -> Statuses {
        let mut statuses = Statuses::new();
        for (index, charge) in charges.iter().enumerate() {
            let fresh = vec![0; charge.rule().state_words()];
            let state = self.counters.get(&bytes(charges, index)).unwrap_or(&fresh);
            statuses.set(index, charge.rule().peek(state, charge.need(), now), Basis::Counter);
        }
        let verdict = statuses.verdict(charges);
        for (index, charge) in charges.iter().enumerate() {
            let part = statuses.part(index, &charge, verdict);
            if part == Part::Nothing {
                continue;
            }
            let fresh = vec![0; charge.rule().state_words()];
            let state = self.counters.entry(bytes(charges, index)).or_insert(fresh);
            let status = match part {
                Part::Left => charge.rule().charge_left(state, charge.take(), now),
                _ => charge.rule().charge(state, charge.take(), now),
            };
            statuses.set(index, status, Basis::Counter);
        }
        statuses
    }
}

fn bytes(charges: Charges<'_>, index: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    charges.charge(index).key().write(|part| bytes.extend_from_slice(part));
    bytes
}

/// Which limit, by what: all together, by app, or by app and perhaps user.
#[derive(Clone, Copy, Debug)]
enum Per {
    All,
    App,
    AppAndUser,
}

/// A rule, what it counts by, its mode, and whether refused attempts count.
type Drawn = (Sample, Per, Mode, bool);

fn frozen(limits: &[Drawn]) -> Policy {
    let drafts = limits.iter().enumerate().map(|(index, (sample, per, mode, counts_refused))| {
        let mut draft = limit(&format!("limit-{index}"), QuotaTree::Fixed(sample.quota));
        draft.algorithm = sample.algorithm;
        draft.mode = *mode;
        draft.count_refused = *counts_refused;
        draft.per = match per {
            Per::All => vec![],
            Per::App => vec![("app".to_owned(), false)],
            Per::AppAndUser => vec![("app".to_owned(), false), ("user".to_owned(), true)],
        };
        draft
    });
    Policy::freeze(&policy(drafts.collect())).unwrap()
}

fn limits() -> impl Strategy<Value = Vec<Drawn>> {
    let per = prop_oneof![Just(Per::All), Just(Per::App), Just(Per::AppAndUser)];
    let mode = prop_oneof![4 => Just(Mode::Enforce), 1 => Just(Mode::Shadow)];
    let drawn = (rules(), per, mode, prop::bool::weighted(0.3)).prop_map(|(sample, per, mode, counts_refused)| {
        (sample, per, mode, counts_refused && sample.algorithm != Algorithm::Concurrency)
    });
    prop::collection::vec(drawn, 1..=4)
}

/// Whose demand it is, after what time, what it costs, and whether it only looks.
#[derive(Clone, Copy, Debug)]
struct Ask {
    gap: u64,
    app: Option<&'static str>,
    user: Option<&'static str>,
    cost: u64,
    purpose: Purpose,
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let gap = prop_oneof![4 => Just(0_u64), 2 => 0_u64..2_000, 2 => 0_u64..20_000_000, 1 => 0_u64..90_000_000_000];
    let app = prop::sample::select(vec![None, Some("a"), Some("b")]);
    let user = prop::sample::select(vec![None, Some(""), Some("a"), Some("u")]);
    let cost = prop_oneof![4 => Just(1_u64), 1 => Just(0), 2 => 0_u64..20, 1 => 0_u64..3_000];
    let purpose = prop::sample::select(vec![Purpose::Hold, Purpose::Hold, Purpose::Hold, Purpose::Peek]);
    let ask = (gap, app, user, cost, purpose);
    prop::collection::vec(ask.prop_map(|(gap, app, user, cost, purpose)| Ask { gap, app, user, cost, purpose }), 1..50)
}

proptest! {
    #![proptest_config(cases(1_500))]

    /// I6, I8, I37, I48: a demand is admitted exactly if every enforced limit of the model has room. Then all are
    /// charged; else only those are that count refused attempts, by what is left, and without them nothing is changed.
    /// Shadow limits count and never refuse, and other keys stay whole.
    #[test]
    fn all_or_none_as_the_model_has_it_i6_i8_i37_i48(limits in limits(), beginning in beginnings(), asks in asks()) {
        let policy = frozen(&limits);
        let (app, user) = (policy.attribute("app").unwrap(), policy.attribute("user").unwrap());
        let mut store = Store::default();
        let mut oracles: HashMap<(usize, Option<&str>, Option<&str>), Oracle> = HashMap::new();
        let mut now = beginning;
        for ask in asks {
            now += ask.gap;
            let demand = demand(&policy, [(app, ask.app), (user, ask.user)], ask);
            let before = store.clone();
            let decision = store.check(&demand, Timestamp::from_micros(now));

            let mut keys = Vec::new();
            for (index, (_, per, mode, _)) in limits.iter().enumerate() {
                match (per, ask.app) {
                    (Per::All, _) => keys.push((index, None, None, *mode)),
                    (_, None) => {}
                    (Per::App, app) => keys.push((index, app, None, *mode)),
                    (Per::AppAndUser, app) => keys.push((index, app, ask.user, *mode)),
                }
            }
            prop_assert_eq!(decision.rulings().len(), keys.len());
            let mut fits = true;
            let mut waits = Vec::new();
            for (index, app, user, mode) in &keys {
                let fresh = || Oracle::new(limits[*index].0.algorithm, limits[*index].0.quota);
                let oracle = oracles.entry((*index, *app, *user)).or_insert_with(fresh);
                waits.push(oracle.ask(ask.cost, now).retry_after);
                fits &= waits.last() == Some(&Wait::None) || *mode == Mode::Shadow;
            }
            prop_assert_eq!(decision.is_admitted(), fits);
            let mut counts_any = false;
            for ((index, app, user, _), wait) in keys.iter().zip(&mut waits) {
                let (counts_refused, oracle) = (limits[*index].3, oracles.get_mut(&(*index, *app, *user)).unwrap());
                let is_peek = ask.purpose == Purpose::Peek;
                if !is_peek && fits && *wait == Wait::None {
                    oracle.admit(now, ask.cost);
                } else if !is_peek && counts_refused {
                    oracle.refuse(now, ask.cost);
                    *wait = oracle.ask(ask.cost, now).retry_after;
                    counts_any = true;
                }
            }
            if ask.purpose == Purpose::Peek || !fits && !counts_any {
                prop_assert!(store == before, "a refusal or a look has changed a counter");
            }
            for ((ruling, (index, app, user, mode)), wait) in decision.rulings().zip(&keys).zip(waits) {
                prop_assert_eq!(ruling.status.retry_after, wait, "{} of {:?}", ruling.name(), ask);
                let asked = oracles[&(*index, *app, *user)].ask(0, now);
                prop_assert_eq!(i128::from(ruling.status.remaining), asked.remaining);
                prop_assert_eq!(i128::from(ruling.status.reset_after.as_micros()), asked.reset_after);
                prop_assert_eq!(ruling.is_enforced(), *mode == Mode::Enforce);
            }
        }
        oracles.values().for_each(Oracle::check_promise);
    }

    /// The binding limit of a refusal is one that refused; waiting as long as it says admits the whole demand.
    #[test]
    fn waiting_for_the_binding_limit_admits_all_i11(limits in limits(), beginning in beginnings(), asks in asks()) {
        let policy = frozen(&limits);
        let (app, user) = (policy.attribute("app").unwrap(), policy.attribute("user").unwrap());
        let (mut store, mut now) = (Store::default(), beginning);
        for ask in asks {
            now += ask.gap;
            let demand = demand(&policy, [(app, ask.app), (user, ask.user)], ask);
            let decision = store.check(&demand, Timestamp::from_micros(now));
            let Wait::For(span) = decision.retry_after() else { continue };
            let binding = decision.binding().unwrap();
            prop_assert!(binding.is_enforced() && !binding.status.fits() && binding.status.remaining < ask.cost);
            // Asked of different stores: to ask too early may count.
            let admits = |less: u64| {
                store.clone().check(&demand, Timestamp::from_micros(now + span.as_micros() - less)).is_admitted()
            };
            prop_assert!(!admits(1));
            prop_assert!(admits(0));
        }
    }
}

fn demand<'a>(policy: &'a Policy, values: [(AttributeId, Option<&'a str>); 2], ask: Ask) -> Demand<'a> {
    let mut demand = Demand::on(policy);
    for (attribute, value) in values {
        if let Some(value) = value {
            demand.set(attribute, value).unwrap();
        }
    }
    demand.set_cost(tidegate_core::UnitId::REQUESTS, ask.cost).unwrap().set_purpose(ask.purpose);
    demand.build()
}

/// A cost that is settled later is admitted while one unit remains, and one that is only asked holds no permit.
#[test]
fn purposes_and_settled_costs() {
    let mut tokens = limit("tokens", QuotaTree::Fixed(tidegate_core::Quota::per(2, Span::from_secs(60))));
    tokens.cost = tidegate_core::Cost::Settled;
    let mut open = limit("open", QuotaTree::Fixed(tidegate_core::Quota::per(1, Span::ZERO)));
    open.algorithm = Algorithm::Concurrency;
    let policy = Policy::freeze(&policy(vec![tokens, open])).unwrap();
    let plan = |purpose| {
        let demand = Demand::on(&policy).set_purpose(purpose).build();
        let plan: Vec<_> = ChargeList::new()
            .resolve(&demand, Timestamp::ZERO)
            .iter()
            .map(|charge| (charge.need(), charge.take()))
            .collect();
        plan
    };
    assert_eq!(plan(Purpose::Once), [(1, 0), (1, 0)]);
    assert_eq!(plan(Purpose::Hold), [(1, 0), (1, 1)]);
    assert_eq!(plan(Purpose::Peek), [(1, 0), (1, 0)]);
    let mut named = Demand::on(&policy);
    named.set_cost(tidegate_core::UnitId::REQUESTS, 5).unwrap();
    let named = named.build();
    let plan: Vec<_> = ChargeList::new()
        .resolve(&named, Timestamp::ZERO)
        .iter()
        .map(|charge| (charge.need(), charge.take()))
        .collect();
    assert_eq!(plan, [(5, 5), (5, 0)]);
}
