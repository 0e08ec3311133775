//! The algorithms that signatures of tokens are made by.

use std::fmt;

/// An algorithm of RFC 7518, RFC 8037 or RFC 9864. `none` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519 under the name that RFC 8037 gave it, together with Ed448.
    EdDsa,
    /// Ed25519 under its own name.
    Ed25519,
}

use SignatureAlgorithm::{Ed25519, EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};

impl SignatureAlgorithm {
    /// All of them, in the order of their names.
    pub const ALL: [SignatureAlgorithm; 13] =
        [Hs256, Hs384, Hs512, Rs256, Rs384, Rs512, Ps256, Ps384, Ps512, Es256, Es384, EdDsa, Ed25519];

    /// The names of all, as tokens have them.
    pub const NAMES: [&'static str; 13] = [
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
        "Ed25519",
    ];

    /// The algorithm of that name, capitals and small letters as they are.
    pub fn named(name: &str) -> Option<SignatureAlgorithm> {
        Self::ALL.into_iter().zip(Self::NAMES).find(|(_, known)| *known == name).map(|(algorithm, _)| algorithm)
    }

    /// Its name, as tokens have it.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.into_iter().zip(Self::NAMES).find(|(algorithm, _)| *algorithm == self);
        found.map_or("", |(_, name)| name)
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
