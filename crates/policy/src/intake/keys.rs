//! Keys that verify tokens, and which of them a token is verified by.
//!
//! A key is used for the algorithms of its own kind and no other, whatever a token says about itself: an RSA public key,
//! which everybody has, is never the secret of an HMAC (RFC 8725, 3.1). Keys live in the intake that they were read for,
//! and nothing of them outlives it.

mod algorithm;
mod edwards;
mod jwk;
mod material;
mod pem;

use std::fmt;

pub use algorithm::SignatureAlgorithm;
use material::Material;
pub(crate) use material::is_text_of_a_key;

/// Most keys of one file and of one policy. Issuers publish a handful.
const MAX_KEYS: usize = 32;

/// Longest text of keys in bytes: as many of the largest RSA keys with their certificates fit twice.
const MAX_TEXT_BYTES: usize = 512 * 1024;

/// Most keys that one token is tried with. A token that names none costs its sender nothing and us a verification each;
/// an issuer that changes keys has two or three at once.
const MAX_TRIED: usize = 4;

const PRIVATE: &str = "it is a private key, which belongs to the issuer alone: only public keys verify";

/// Public keys and secrets that verify tokens. Their debug form shows none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Those without a name first, as they are tried with any token.
    list: Vec<Key>,
    passed_over: Vec<String>,
}

/// One key. Its debug form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: Option<Box<str>>,
    /// The one algorithm that it is meant for, if it says so.
    algorithm: Option<SignatureAlgorithm>,
    material: Material,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Keys {
    /// Reads a JSON Web Key Set. Keys for encryption are passed over, and so are those of kinds that are not known here.
    ///
    /// # Errors
    ///
    /// It is no key set, has no key that can be used, or has one that is private, weak, malformed or contradicts itself.
    pub fn jwks(text: &str) -> Result<Keys, String> {
        check_length(text)?;
        let (list, passed_over) = jwk::read(text)?;
        Keys { list, passed_over }.checked()
    }

    /// Reads public keys in PEM: `PUBLIC KEY`, or `RSA PUBLIC KEY`.
    ///
    /// # Errors
    ///
    /// There is none, or one that is private, weak or malformed.
    pub fn pem(text: &str) -> Result<Keys, String> {
        check_length(text)?;
        let list = pem::read(text)?.into_iter().map(|material| Key::new(None, None, material)).collect();
        Keys { list, passed_over: Vec::new() }.checked()
    }

    /// These and others.
    ///
    /// # Errors
    ///
    /// They are too many together.
    pub fn and(mut self, others: Keys) -> Result<Keys, String> {
        self.list.extend(others.list);
        self.passed_over.extend(others.passed_over);
        self.checked()
    }

    fn checked(mut self) -> Result<Keys, String> {
        if self.list.len() > MAX_KEYS {
            return Err(format!("more than {MAX_KEYS} keys"));
        }
        self.list.sort_by_key(|key| key.id.is_some());
        for algorithm in SignatureAlgorithm::ALL {
            let unnamed = self.list.iter().filter(|key| key.id.is_none() && key.is_for(algorithm)).count();
            if unnamed > MAX_TRIED {
                return Err(format!(
                    "{unnamed} keys for {algorithm} without a `kid`, and a token is tried with at most {MAX_TRIED}"
                ));
            }
        }
        for (index, key) in self.list.iter().enumerate() {
            let is_like =
                |other: &Key| other.id == key.id && SignatureAlgorithm::ALL.iter().any(|it| other.is_both(key, *it));
            if let Some(id) = &key.id
                && self.list[..index].iter().any(is_like)
            {
                return Err(format!("two keys for one algorithm are called `{}`", id.escape_debug()));
            }
        }
        Ok(self)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The keys.
    pub fn iter(&self) -> std::slice::Iter<'_, Key> {
        self.list.iter()
    }

    /// What is not used although signatures may be its: which key, and what it is of.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// Whether a key is for that algorithm.
    pub(crate) fn allow(&self, algorithm: SignatureAlgorithm) -> bool {
        self.list.iter().any(|key| key.is_for(algorithm))
    }

    /// Whether a token that names its key so can have any.
    pub(crate) fn know(&self, id: Option<&str>) -> bool {
        self.list.iter().any(|key| id.is_none() || key.id.is_none() || key.id.as_deref() == id)
    }

    /// The keys for an algorithm that a token is tried with: the one it names, else those without a name; if it names
    /// none, any, those without a name first.
    pub(crate) fn for_token(&self, algorithm: SignatureAlgorithm, id: Option<&str>) -> impl Iterator<Item = &Key> {
        let is_named = id.is_some_and(|id| self.list.iter().any(|key| key.id.as_deref() == Some(id)));
        let is_meant = move |key: &&Key| match id {
            None => true,
            Some(id) if is_named => key.id.as_deref() == Some(id),
            Some(_) => key.id.is_none(),
        };
        self.list.iter().filter(is_meant).filter(move |key| key.is_for(algorithm)).take(MAX_TRIED)
    }
}

impl<'k> IntoIterator for &'k Keys {
    type Item = &'k Key;
    type IntoIter = std::slice::Iter<'k, Key>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Key {
    fn new(id: Option<&str>, algorithm: Option<SignatureAlgorithm>, material: Material) -> Key {
        Key { id: id.map(Into::into), algorithm, material }
    }

    /// The name that tokens have for it in `kid`.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What people call it: its `kid`, or its thumbprint, or that it is a secret.
    pub fn name(&self) -> String {
        match (&self.id, self.is_secret()) {
            (Some(id), _) => format!("`{}`", id.escape_debug()),
            (None, true) => "a secret".to_owned(),
            (None, false) => self.thumbprint(),
        }
    }

    /// What it is, as `RSA of 2048 bits`.
    pub fn kind(&self) -> String {
        self.material.to_string()
    }

    /// Whether it must not be known: whoever has it can sign.
    pub fn is_secret(&self) -> bool {
        self.material.is_secret()
    }

    /// Its thumbprint (RFC 7638) by SHA-256, which tells keys apart. That of a secret is not to be shown: it helps whoever
    /// guesses.
    pub fn thumbprint(&self) -> String {
        self.material.thumbprint()
    }

    /// The algorithms that it is for.
    pub fn algorithms(&self) -> impl Iterator<Item = SignatureAlgorithm> {
        SignatureAlgorithm::ALL.into_iter().filter(|algorithm| self.is_for(*algorithm))
    }

    /// Whether it may verify signatures of that algorithm.
    fn is_for(&self, algorithm: SignatureAlgorithm) -> bool {
        self.material.suits(algorithm) && self.algorithm.is_none_or(|only| only == algorithm)
    }

    fn is_both(&self, other: &Key, algorithm: SignatureAlgorithm) -> bool {
        self.is_for(algorithm) && other.is_for(algorithm)
    }

    /// How many bytes a signature of that algorithm has.
    pub(crate) fn signature_bytes(&self, algorithm: SignatureAlgorithm) -> usize {
        self.material.signature_bytes(algorithm)
    }

    /// Whether it made a signature.
    pub(crate) fn verifies(&self, algorithm: SignatureAlgorithm, signed: &[u8], signature: &[u8]) -> bool {
        self.is_for(algorithm) && self.material.verifies(algorithm, signed, signature)
    }
}

fn check_length(text: &str) -> Result<(), String> {
    let is_short = text.len() <= MAX_TEXT_BYTES;
    if is_short { Ok(()) } else { Err(format!("it has more than {MAX_TEXT_BYTES} bytes")) }
}
