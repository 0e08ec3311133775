//! Where tokens are, and what verifies them.

use tidegate_core::Span;

use super::Lowering;
use super::names::each_once;
use crate::file::Jwt;
use crate::intake::{From, JwtDraft, Keys, KeysDraft, SignatureAlgorithm};
use crate::problem::Problem;
use crate::quota;
use crate::reading::Text;

/// How far an issuer's clock may be from ours where nothing is said. A token that is a moment early counts for its
/// upstream: if it did not here, its bearer would be free of the limits by its claims for that moment.
const USUAL_LEEWAY: Span = Span::from_secs(30);

/// Furthest that it may be. One that is further off is broken, and every minute of leeway is one more in which a token
/// counts that was to have ended.
const MAX_LEEWAY: Span = Span::from_secs(600);

/// Most issuers and most audiences: with each token they are compared one by one.
const MAX_NAMES: usize = 64;

/// Algorithms of other standards that nobody means another one by.
const UNKNOWN: [&str; 8] = ["ES512", "ES256K", "Ed448", "ESP256", "ESP384", "ESP512", "ML-DSA-44", "ML-DSA-65"];

impl Lowering<'_> {
    /// Where tokens are, and the secrets and keys that verify them.
    pub(super) fn jwt(&mut self) -> Option<JwtDraft> {
        let jwt = self.file.jwt.as_ref()?;
        let from = jwt.from.iter().filter_map(|text| self.place_of_token(text)).collect();
        let keys = self.keys(jwt);
        let mut draft = JwtDraft { from, upstream_verifies: jwt.upstream_verifies(), keys, ..JwtDraft::default() };
        for records in &self.file.records {
            for record in &records.list {
                let Some(secret) = &record.secret else { continue };
                if let Some(claim) = self.claim_of(&records.attribute) {
                    self.problems.push(Problem::claimed_secret(secret.place, &records.attribute, claim.place));
                }
                draft.secrets.insert((records.attribute.clone(), record.value.to_string()), secret.to_string());
            }
        }
        Some(draft)
    }

    /// The keys that verify tokens, and what those tokens must say.
    fn keys(&mut self, jwt: &Jwt) -> Option<KeysDraft> {
        let algorithms = self.algorithms(&jwt.algorithms);
        let issuers = self.expected(&jwt.issuer, "issuer");
        let audiences = self.expected(&jwt.audience, "audience");
        let leeway = jwt.leeway.as_ref().map_or(Some(USUAL_LEEWAY), |text| self.leeway(text)).unwrap_or_default();
        let Some(first) = jwt.jwks.as_ref().or(jwt.key.as_ref()) else {
            jwt.of_keys.iter().filter(|_| !jwt.has_keys).for_each(|key| self.note(Problem::without_keys(key)));
            return None;
        };
        if let Some((place, true)) = jwt.upstream_verifies {
            self.note(Problem::verified_twice(place, first.place));
        }
        let jwks = jwt.jwks.as_ref().map(|file| self.keys_in(file, Keys::jwks));
        let pem = jwt.key.as_ref().map(|file| self.keys_in(file, Keys::pem));
        let keys = match (jwks, pem) {
            // Without the others nothing can be said of what they are together.
            (Some(None), _) | (_, Some(None)) => return None,
            (jwks, pem) => jwks.flatten().unwrap_or_default().and(pem.flatten().unwrap_or_default()),
        };
        let keys = match keys {
            Ok(keys) => keys,
            Err(why) => {
                self.note(Problem::too_many_keys(first.place, jwt.key.as_ref().map(|key| key.place), &why));
                return None;
            }
        };
        if let Some(text) = jwt.algorithms.first()
            && !algorithms.is_empty()
            && !algorithms.iter().any(|algorithm| keys.allow(*algorithm))
        {
            self.note(Problem::no_key_for(text.place, first.place));
        }
        Some(KeysDraft { keys, algorithms, issuers, audiences, leeway })
    }

    /// The keys in a file that the policy names.
    fn keys_in(&mut self, file: &Text, read: fn(&str) -> Result<Keys, String>) -> Option<Keys> {
        let text = match file.contains("://") {
            true => Err("keys are read from a file, and never fetched".to_owned()),
            false => (self.open)(file),
        };
        match text.and_then(|text| read(&text)) {
            Ok(keys) => {
                if !keys.passed_over().is_empty() {
                    self.note(Problem::passed_over_keys(file, keys.passed_over()));
                }
                Some(keys)
            }
            Err(why) => {
                self.note(Problem::bad_keys(file, &why));
                None
            }
        }
    }

    fn algorithms(&mut self, names: &[Text]) -> Vec<SignatureAlgorithm> {
        each_once(names, "algorithms", &mut self.problems);
        let mut known = Vec::new();
        for name in names {
            match SignatureAlgorithm::named(name) {
                Some(algorithm) => known.push(algorithm),
                None if name.eq_ignore_ascii_case("none") => self.note(Problem::unsigned_algorithm(name.place)),
                None if UNKNOWN.contains(&&**name) => self.note(Problem::unknown_algorithm(name)),
                None => self.note(Problem::unknown_choice(
                    name.place,
                    name,
                    "signature algorithm",
                    &SignatureAlgorithm::NAMES,
                )),
            }
        }
        known
    }

    /// What a claim may be.
    fn expected(&mut self, names: &[Text], key: &str) -> Vec<String> {
        each_once(names, key, &mut self.problems);
        if let Some(name) = names.get(MAX_NAMES) {
            self.note(Problem::too_many(name.place, &format!("names in `{key}`"), MAX_NAMES, names.len()));
        }
        for name in names.iter().filter(|name| name.is_empty()) {
            self.note(Problem::empty(name.place, key, "write the name as tokens have it"));
        }
        names.iter().map(|name| name.to_string()).collect()
    }

    fn leeway(&mut self, text: &Text) -> Option<Span> {
        match quota::parse_age(text) {
            Ok(leeway) if leeway <= MAX_LEEWAY => return Some(leeway),
            Ok(_) => self.note(Problem::out_of_range(text.place, "leeway", "at most 10min", text)),
            Err(mistake) => self.note(mistake.at(text)),
        }
        None
    }

    /// A place where a token can be.
    fn place_of_token(&mut self, text: &Text) -> Option<From> {
        match self.parsed(text)? {
            from @ (From::Header(_) | From::Query(_) | From::Bearer) => Some(from),
            _ => {
                let label = "a token is in a header, a query parameter or `bearer`";
                let help = "write `header:Authorization`".to_owned();
                self.note(Problem::bad_source(text.place, text, label, Some(help)));
                None
            }
        }
    }

    /// The source of an attribute that is a claim, if one is, its own or that of an attribute it comes from.
    fn claim_of(&self, attribute: &str) -> Option<&Text> {
        let mut reached = vec![attribute];
        let mut at = 0;
        while let Some(name) = reached.get(at).copied() {
            at += 1;
            let attribute = self.file.attributes.iter().find(|known| *known.name == *name);
            for from in attribute.into_iter().flat_map(|it| &it.sources).flat_map(|source| &source.from) {
                if from.starts_with("jwt:") {
                    return Some(from);
                }
                reached.extend(from.strip_prefix("attribute:").filter(|name| !reached.contains(name)));
            }
        }
        None
    }
}
