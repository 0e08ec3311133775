//! Which buckets the model can follow: all but those whose quota changes under them.

use super::description::{Algorithm, Description, Limit, Mode, Quota};
use super::draw::AGE;

/// Whether each bucket has one quota for as long as it lives, or one for each of the quotas a caller can choose between.
pub(super) fn can_be_modelled(policy: &Description) -> bool {
    policy.limits.iter().all(|limit| {
        let (chosen_by, by_age) = depends_on(policy, limit);
        let goes_on = |name: &&str| *name == "plan" || is_counted(limit, name);
        let has_one = !by_age && chosen_by.iter().all(|name| is_counted(limit, name));
        limit.algorithm != Algorithm::Bucket || limit.mode == Mode::Off || has_one || !chosen_by.iter().all(goes_on)
    })
}

/// Whether a caller can choose between buckets of a limit.
pub(super) fn has_several_buckets(policy: &Description, limit: &Limit) -> bool {
    let (chosen_by, _) = depends_on(policy, limit);
    limit.algorithm == Algorithm::Bucket && !chosen_by.iter().all(|name| is_counted(limit, name))
}

/// Whether the value of an attribute is the same for all demands of one counter.
fn is_counted(limit: &Limit, name: &str) -> bool {
    let counts = |name: &str| limit.per.iter().any(|(counted, _)| counted == name);
    counts(name) || (name == "class" && counts("operation"))
}

/// The attributes that a limit's quota is chosen by, that of the limit it is derived from, and those of records; and
/// whether ages count.
fn depends_on<'d>(policy: &'d Description, limit: &'d Limit) -> (Vec<&'d str>, bool) {
    let mut found = Vec::new();
    let source = match &limit.quota {
        Quota::Derived { of, .. } => Some(policy.limit(of)),
        _ => None,
    };
    for limit in [Some(limit), source].into_iter().flatten() {
        chosen_by(&limit.quota, &mut found);
        for record in &policy.records {
            for (_, own) in record.limits.iter().filter(|(name, _)| *name == limit.name) {
                found.push(&record.attribute);
                chosen_by(own, &mut found);
            }
        }
    }
    let by_age = found.contains(&AGE);
    if by_age {
        found.retain(|name| *name != AGE);
        // Whose age it is.
        found.extend(policy.records.iter().map(|record| record.attribute.as_str()));
    }
    (found, by_age)
}

fn chosen_by<'d>(quota: &'d Quota, found: &mut Vec<&'d str>) {
    match quota {
        Quota::Fixed(_) | Quota::Unlimited | Quota::Derived { .. } => {}
        Quota::By { attribute, cases, default } => {
            found.push(attribute);
            cases.iter().map(|(_, case)| case).chain(default.as_deref()).for_each(|case| chosen_by(case, found));
        }
        Quota::ByAge { steps, default } => {
            found.push(AGE);
            steps.iter().map(|(_, step)| step).chain(default.as_deref()).for_each(|step| chosen_by(step, found));
        }
    }
}
