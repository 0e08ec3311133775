//! Which requests of a server the policy is for.

use super::Lowering;
use super::names::each_once;
use crate::problem::Problem;
use crate::serving::Serving;

impl Lowering<'_> {
    /// Hosts, prefix and upstream, as far as they are right.
    pub(super) fn serving(&mut self) -> Serving {
        let mut serving = Serving::default();
        serving.set_case(self.case());
        let Some(serve) = &self.file.serve else { return serving };
        each_once(&serve.hosts, "hosts", &mut self.problems);
        for (index, host) in serve.hosts.iter().enumerate() {
            let is_again = serve.hosts[..index].iter().any(|earlier| **earlier == **host);
            if let Err(unfit) = serving.add_host(host)
                && !is_again
            {
                self.note(Problem::bad_serving(host, "a host", &unfit.label, &unfit.help));
            }
        }
        if let Some(prefix) = &serve.prefix
            && let Err(unfit) = serving.set_prefix(prefix)
        {
            self.note(Problem::bad_serving(prefix, "a prefix", &unfit.label, &unfit.help));
        }
        if let Some(upstream) = &serve.upstream
            && let Err(unfit) = serving.set_upstream(upstream)
        {
            self.note(Problem::bad_serving(upstream, "an upstream", &unfit.label, &unfit.help));
        }
        match serve.strip_prefix {
            Some((place, true)) if serve.prefix.is_none() => self.note(Problem::nothing_to_strip(place)),
            Some((_, true)) => serving.strip_prefix(),
            _ => {}
        }
        serving
    }
}
