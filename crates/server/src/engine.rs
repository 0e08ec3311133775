//! What all surfaces share: the APIs in force, and the limiter that rules on their demands.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tidegate_core::{Decision, Demand, Purpose, Span};
use tidegate_limiter::{Clock, Limiter, Memory, MemoryOptions, Places, ReservationId, SystemClock};

use crate::book::{self, Book, BookError};
use crate::refusals::{DecisionId, KEPT, Refusals};
use crate::reload::Reloads;
use crate::{Api, Metrics, Surface};

/// The APIs in force, and the limiter that rules on their demands.
///
/// A request takes one [`Engine::book`] and one API from it, and uses that for all it does, however long it takes: the
/// next one may be answered by another version.
#[derive(Debug)]
pub struct Engine<C = SystemClock> {
    book: ArcSwap<Book>,
    /// Decides demands.
    pub limiter: Limiter<C, Metrics>,
    /// What became of the last attempts to change what is in force.
    pub reloads: Reloads,
    /// The last refusals, to be explained.
    pub refusals: Refusals,
    /// Held while a book is made from the one in force.
    installs: Mutex<Installs>,
    is_draining: AtomicBool,
    max_counters: usize,
}

#[derive(Debug, Default)]
struct Installs {
    /// The highest version of a policy that is no longer in force, so that one of its name would be a later one.
    retired: u64,
}

/// A change of what is in force.
#[derive(Debug)]
pub struct Change {
    /// What comes into force, in the place of the API of the same name.
    pub api: Api,
    /// The name of another one that it replaces as well: its own until it was renamed.
    pub replaces: Option<String>,
}

impl From<Api> for Change {
    fn from(api: Api) -> Change {
        Change { api, replaces: None }
    }
}

impl Engine {
    /// An engine of one API on the machine's time.
    ///
    /// # Errors
    ///
    /// There is no memory for its counters.
    pub fn new(api: Api, options: MemoryOptions) -> Result<Engine, BookError> {
        Engine::with_clock(api, options, SystemClock::new())
    }
}

impl<C: Clock> Engine<C> {
    /// An engine of one API on another time.
    ///
    /// # Errors
    ///
    /// There is no memory for its counters.
    pub fn with_clock(api: Api, options: MemoryOptions, clock: C) -> Result<Engine<C>, BookError> {
        Engine::of(vec![api], options, clock)
    }

    /// An engine of several APIs.
    ///
    /// # Errors
    ///
    /// They cannot be served together.
    pub fn of(apis: Vec<Api>, options: MemoryOptions, clock: C) -> Result<Engine<C>, BookError> {
        let engine = Engine::empty(options, clock);
        engine.install(apis.into_iter().map(Change::from))?;
        Ok(engine)
    }

    fn empty(options: MemoryOptions, clock: C) -> Engine<C> {
        let max_counters = options.max_counters;
        Engine {
            book: ArcSwap::default(),
            limiter: Limiter::new(Memory::new(options), clock, Metrics::default()),
            reloads: Reloads::default(),
            refusals: Refusals::new(KEPT),
            installs: Mutex::default(),
            is_draining: AtomicBool::new(false),
            max_counters,
        }
    }

    /// What is in force now.
    pub fn book(&self) -> Arc<Book> {
        self.book.load_full()
    }

    /// Puts APIs into force, all of them at once, and says as what versions. The versions of a name rise by one. What is
    /// under way ends by what it began with; the next demand meets the new ones, with the counters that they share with
    /// the old.
    ///
    /// # Errors
    ///
    /// They cannot be served together, or not beside those in force; nothing has changed then.
    pub fn install(&self, changes: impl IntoIterator<Item = Change>) -> Result<Vec<Arc<Api>>, BookError> {
        let mut installs = self.installs();
        let old = self.book();
        let mut places: Vec<Place> = old.apis().iter().map(|api| Place::Kept(Arc::clone(api))).collect();
        for Change { api, replaces } in changes {
            let names = [Some(api.policy.name().to_owned()), replaces];
            let is_replaced = |place: &Place| match place {
                Place::Kept(kept) => names.iter().flatten().any(|name| kept.policy.name() == name),
                Place::New(..) => false,
            };
            let first = places.iter().position(is_replaced);
            let at = first.unwrap_or(places.len());
            places.retain(|place| !is_replaced(place));
            places.insert(at.min(places.len()), Place::New(Box::new(api)));
        }
        book::check(places.iter().map(Place::api))?;
        for place in &places {
            self.limiter.store().make_room_for(&place.api().policy).map_err(BookError::NoMemory)?;
        }
        let stays = |api: &Arc<Api>| places.iter().any(|place| place.api().policy.name() == api.policy.name());
        let gone = old.apis().iter().filter(|api| !stays(api)).map(|api| api.policy.version());
        let retired = gone.max().unwrap_or(0).max(installs.retired);
        let now = self.limiter.clock().now();
        let mut installed = Vec::new();
        let mut number = |mut api: Box<Api>| {
            let name = api.policy.name().to_owned();
            let before = old.named(&name).map_or(retired, |before| before.policy.version());
            api.policy.number(before + 1, |limit| self.metrics().series(&name, limit.name(), limit.mode().name()));
            api.policy.begin(now);
            let api: Arc<Api> = Arc::new(*api);
            installed.push(Arc::clone(&api));
            api
        };
        let apis: Vec<Arc<Api>> = places
            .into_iter()
            .map(|place| match place {
                Place::Kept(api) => api,
                Place::New(api) => number(api),
            })
            .collect();
        let book = Book::of(apis)?;
        installs.retired = retired;
        self.book.store(Arc::new(book));
        Ok(installed)
    }

    fn installs(&self) -> MutexGuard<'_, Installs> {
        self.installs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides a demand and measures how long that took.
    pub fn check<'d>(&self, demand: &'d Demand<'d>) -> Decision<'d> {
        let decision = self.limiter.check(demand);
        self.metrics().took(self.limiter.clock().now().since(decision.at()));
        decision
    }

    /// Decides demands that came together, each as [`Engine::check`] decides it, tells `hear` of each in their order, and
    /// measures how long each took by itself, what is heard aside.
    pub fn check_batch<'d>(&self, demands: &'d [Demand<'d>], mut hear: impl FnMut(&Decision<'_>)) {
        let clock = self.limiter.clock();
        let mut began = clock.now();
        self.limiter.check_batch(demands, |decision| {
            self.metrics().took(clock.now().since(began));
            hear(decision);
            began = clock.now();
        });
    }

    /// Decides a demand as [`Engine::check`] does, and what is charged is kept in one of `places` until it is settled,
    /// released or expires.
    pub fn reserve<'d>(
        &self,
        places: &mut Places<'_>,
        demand: &'d Demand<'d>,
        expires_in: Span,
    ) -> (Decision<'d>, Option<ReservationId>) {
        let (decision, id) = self.limiter.reserve(places, demand, expires_in);
        self.metrics().took(self.limiter.clock().now().since(decision.at()));
        (decision, id)
    }

    /// Keeps a decision that is answered on a surface if it refused, and says by what it can be asked for.
    pub fn keep_refusal(&self, decision: &Decision<'_>, surface: Surface) -> Option<DecisionId> {
        let is_kept = !decision.is_admitted() && decision.demand().purpose() != Purpose::Peek;
        is_kept.then(|| self.refusals.keep(decision, surface))
    }

    /// Says that the server finishes what it was asked before, and is to be asked no more.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Whether it does.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// How many counters the store may hold.
    pub fn max_counters(&self) -> usize {
        self.max_counters
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        self.limiter.observer()
    }
}

/// A place in the next book.
enum Place {
    Kept(Arc<Api>),
    New(Box<Api>),
}

impl Place {
    fn api(&self) -> &Api {
        match self {
            Place::Kept(api) => api,
            Place::New(api) => api,
        }
    }
}
