//! What names a counter: its limit, the scale it counts on, and the values it counts by.

use crate::{Attributes, Limit, Per, Rule};

/// The name of one counter, borrowed from the limit and the demand; nothing is copied to build it.
///
/// A limit has quotas of several kinds, chosen by attributes that it need not count by. What is used on different scales
/// (`Rule::scale`) cannot be added up, so such quotas count apart: a caller who alternates between them undoes nothing.
/// A bucket whose quota changes only with the policy or the plan is the exception: it goes on with the share that was used.
///
/// A limit that counts distinct values has beside each counter markers, one for each value: a marker is named as its
/// counter is, and by the value behind that.
///
/// Two keys are equal exactly if limit, scale and values are: [`Key::write`] is injective.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    limit: &'a Limit,
    rule: &'a Rule,
    named_by: &'a [Per],
    attributes: &'a Attributes<'a>,
}

impl<'a> Key<'a> {
    pub(crate) fn new(limit: &'a Limit, rule: &'a Rule, attributes: &'a Attributes<'a>) -> Key<'a> {
        Key { limit, rule, named_by: limit.per(), attributes }
    }

    /// The name of the marker of the demand's value beside this counter.
    pub(crate) fn marker(self) -> Key<'a> {
        Key { named_by: self.limit.marked_by(), ..self }
    }

    /// The limit whose counter this is.
    pub fn limit(&self) -> &'a Limit {
        self.limit
    }

    /// The values it counts by, in the order of the limit's `per`, and of a marker the value that it marks; `None` stands
    /// for all who lack an optional one.
    pub fn values(&self) -> impl Iterator<Item = Option<&'a str>> + use<'a> {
        let attributes = self.attributes;
        self.named_by.iter().map(move |per| attributes.value(per.attribute()))
    }

    /// What the key begins with: the limit's identity and the scale it counts on, their exclusive or.
    #[inline]
    pub fn head(&self) -> u128 {
        self.limit.counters_of(self.rule)
    }

    /// Feeds the key's bytes to `sink`: its head (16 bytes), then each value as its length (u32, little endian;
    /// `u32::MAX` for a missing one) and its bytes. The number of values is the limit's, of a marker one more, and
    /// identities are hashes that do not differ by just a scale, so no two keys of a policy share their bytes (I45).
    pub fn write(&self, mut sink: impl FnMut(&[u8])) {
        sink(&self.head().to_le_bytes());
        for value in self.values() {
            match value {
                Some(value) => {
                    let length = u32::try_from(value.len()).unwrap_or(u32::MAX - 1);
                    sink(&length.to_le_bytes());
                    sink(value.as_bytes());
                }
                None => sink(&u32::MAX.to_le_bytes()),
            }
        }
    }
}
