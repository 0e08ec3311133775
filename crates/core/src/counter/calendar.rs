//! Windows of a calendar: days and months of a time zone, each as long as it is there. The instants at which they begin
//! come from outside, where time zones are known; here they are a table.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::{Span, Timestamp, bounds};

/// A sequence of windows of different lengths, one after the other without a gap. Two calendars of one name are equal.
#[derive(Clone, Copy)]
pub struct Calendar(&'static Table);

struct Table {
    name: Box<str>,
    /// A hash of the name.
    id: u64,
    /// When each window begins, in microseconds since 1970, ascending, the first at zero.
    starts: Box<[u64]>,
    longest: Span,
}

impl Calendar {
    /// A calendar of windows that begin at `starts`; the last of them is where they end. Later windows are as long as the
    /// last one.
    ///
    /// It is never given back, so that rules can be copied: make each calendar once.
    ///
    /// # Errors
    ///
    /// `starts` has less than two instants, does not begin at zero, does not ascend, or has a window longer than
    /// [`bounds::MAX_WINDOW`]; or the last is shorter than [`bounds::MIN_WINDOW`].
    pub fn leaked(name: &str, starts: Vec<Timestamp>) -> Result<Calendar, CalendarError> {
        let lengths = || starts.windows(2).map(|pair| (pair[1] > pair[0]).then(|| pair[1].since(pair[0])));
        let longest = lengths().try_fold(Span::ZERO, |longest, length| length.map(|length| longest.max(length)));
        let longest = longest.filter(|longest| (bounds::MIN_WINDOW..=bounds::MAX_WINDOW).contains(longest));
        let last = lengths().next_back().flatten().filter(|last| *last >= bounds::MIN_WINDOW);
        match (starts.first().copied(), longest, last) {
            (Some(Timestamp::ZERO), Some(longest), Some(_)) => {
                let starts = starts.into_iter().map(Timestamp::as_micros).collect();
                let table = Table { name: name.into(), id: crate::policy::identity_of(name), starts, longest };
                Ok(Calendar(Box::leak(Box::new(table))))
            }
            _ => Err(CalendarError),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        &self.0.name
    }

    /// The length of its longest window.
    pub fn longest(self) -> Span {
        self.0.longest
    }

    /// Where the window that `now` is in begins, and where the next one does.
    pub fn window_at(self, now: Timestamp) -> (Timestamp, Timestamp) {
        let (starts, now) = (&self.0.starts, now.as_micros());
        let after = starts.partition_point(|start| *start <= now);
        let (start, end) = match starts.get(after) {
            Some(end) => (starts[after - 1], *end),
            None => {
                let (last, length) = self.last();
                let start = now - (now - last) % length;
                (start, start.saturating_add(length))
            }
        };
        (Timestamp::from_micros(start), Timestamp::from_micros(end))
    }

    /// Its windows' beginnings, as far as they are known one by one.
    pub(super) fn starts(self) -> &'static [u64] {
        &self.0.starts
    }

    /// Where the windows begin that all have one length, and that length.
    pub(super) fn last(self) -> (u64, u64) {
        let [.., before, last] = *self.0.starts else { unreachable!("a calendar has two instants") };
        (last, last - before)
    }

    pub(super) fn id(self) -> u64 {
        self.0.id
    }
}

impl PartialEq for Calendar {
    fn eq(&self, other: &Calendar) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Calendar {}

impl Hash for Calendar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calendar({})", self.0.name)
    }
}

/// Instants that are no calendar: too few, not ascending from zero, or too far apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarError;

impl fmt::Display for CalendarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a calendar has two instants or more, ascending from 1970, at most 366 days apart")
    }
}

impl std::error::Error for CalendarError {}
