//! One limit, one key.

use crate::support::{demand, limit, limiter, policy};

#[test]
fn admits_up_to_the_limit() {
    let limiter = limiter(100);
    let policy = policy(vec![limit("general", 5, 60)]);
    let demand = demand(&policy, &[("key", "k1")]);
    let verdicts: Vec<bool> = (0..7).map(|_| limiter.check(&demand).is_admitted()).collect();
    assert_eq!(verdicts, [true, true, true, true, true, false, false]);
    assert_eq!(limiter.store().counters(), 1);
    assert!(limiter.receipt(&limiter.check(&demand)).is_empty());
}
