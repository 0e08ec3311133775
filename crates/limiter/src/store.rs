//! Where counters are kept, and what every such place promises.
//!
//! A store is given [`tidegate_core::Charges`], a plan that leaves it no choice, and answers with one status for each:
//!
//! 1. It looks at all counters at one instant (`Rule::peek` with each charge's `need`) and rules by
//!    `Statuses::verdict`, so that all stores rule alike.
//! 2. Refused: nothing is charged, to no limit, and the statuses are what it saw. But limits that count refused attempts
//!    are charged as much of their `take` as is left.
//! 3. Admitted: every charge of an enforced limit is charged its `take`, and so is every charge of a shadow limit whose
//!    `need` fits; one that does not fit is left alone, unless it counts refused attempts: then it is charged what is
//!    left. `Statuses::part` says which. Nobody ever sees some of them charged and others not (I6). The status of a
//!    charged counter is how it stands afterwards; of the others, what was seen.
//! 4. A charge that takes nothing creates no counter.
//! 5. What was ruled is what a slow, exact model would rule at that instant, in both directions (I1, I8): nothing extra
//!    is admitted, and nothing is refused because of a demand that was itself refused.
//! 6. A counter whose state is as good as fresh may be forgotten, no other (I51). Where there is no room for a new one,
//!    `Statuses::set_without_room` says what its limit does: on `Basis::StoreFull` an enforced limit refuses, a shadow
//!    limit does not; on `Basis::Open`, which only a limit's own word selects (I28), it fits what a fresh counter fits and
//!    is charged nothing. So it is where the counter would be charged only later, when the cost is known.
//! 7. An earlier `now` than a counter has seen counts as the newest it has seen, also after the counter was forgotten.
//!
//! `tests/it/contract.rs` holds a store to it.

#[cfg(not(loom))]
pub mod disk;
pub mod memory;

pub use memory::{Memory, MemoryOptions, NoMemory};
