//! The peers, asked as their users ask them.

use std::collections::HashMap;
use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, RateLimiter};
use limitador::limit::{Context, Limit, Namespace};

use super::{BURST, Case, Names, PERIOD_S, Subject, Verdicts, text};

pub(super) struct Governor {
    users: DefaultKeyedRateLimiter<String>,
    tenants: DefaultKeyedRateLimiter<String>,
    global: DefaultKeyedRateLimiter<String>,
    everybody: String,
    limits: usize,
}

impl Governor {
    pub(super) fn new(case: Case) -> Governor {
        let quota = match case.verdicts {
            Verdicts::Admitted => {
                let burst = u32::try_from(BURST).ok().and_then(NonZeroU32::new).expect("not zero");
                let period = std::time::Duration::from_secs(PERIOD_S);
                governor::Quota::with_period(period).expect("not zero").allow_burst(burst)
            }
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

pub(super) struct Limitador {
    limiter: limitador::RateLimiter,
    namespace: Namespace,
    limits: usize,
}

impl Limitador {
    pub(super) fn new(case: Case) -> Limitador {
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
