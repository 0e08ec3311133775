//! What is reported of each decision, and to whom.

use tidegate_core::Decision;

/// Is told of every decision, once, after it was made and before it is answered.
///
/// Peeks are decisions too; [`tidegate_core::Demand::purpose`] tells them apart. What is done here is done on the path
/// of every request: count, do not write.
pub trait Observer {
    /// A decision was made.
    fn decided(&self, decision: &Decision<'_>);
}

/// Nobody listens.
impl Observer for () {
    fn decided(&self, _decision: &Decision<'_>) {}
}

impl<O: Observer + ?Sized> Observer for &O {
    fn decided(&self, decision: &Decision<'_>) {
        (**self).decided(decision);
    }
}

impl<O: Observer + ?Sized> Observer for std::sync::Arc<O> {
    fn decided(&self, decision: &Decision<'_>) {
        (**self).decided(decision);
    }
}
