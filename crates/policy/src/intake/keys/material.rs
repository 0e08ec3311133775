//! What a key consists of, checked once when it is read, and the arithmetic of verifying, which is `ring`'s.

use std::fmt;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::agreement::{self, EphemeralPrivateKey};
use ring::rand::SystemRandom;
use ring::{digest, hmac, signature};

use super::SignatureAlgorithm as Algorithm;
use super::edwards;

/// Bits of an RSA modulus. Below 2,048 RFC 7518 (3.3) allows none; above 8,192 a verification takes long, and `ring` has none.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// Bits of an RSA exponent: what `ring` takes, so that verifying stays quick. Everybody's is 65,537, which has 17.
const MAX_RSA_EXPONENT_BITS: usize = 33;

/// Shortest secret of an HMAC in bytes, which is that of HS256 (RFC 7518, 3.2: at least as long as the hash).
const MIN_SECRET_BYTES: usize = 32;

/// A key without its name. Made by its constructors only, so that none is weak or off its curve.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Material {
    Secret(Box<[u8]>),
    Rsa {
        modulus: Box<[u8]>,
        exponent: Box<[u8]>,
    },
    /// A point that is not compressed, of that curve.
    Ec(Curve, Box<[u8]>),
    Ed25519([u8; 32]),
}

/// A curve of ECDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
}

impl Curve {
    pub(super) fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
        }
    }

    /// Bytes of a coordinate.
    pub(super) fn coordinate_bytes(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
        }
    }
}

/// Whether a secret is the text of a key that is not secret: whoever signs by it has read a file that everybody has.
pub(crate) fn is_text_of_a_key(secret: &[u8]) -> bool {
    let secret = secret.trim_ascii_start();
    secret.starts_with(b"-----BEGIN") || (secret.starts_with(b"{") && secret.windows(5).any(|word| word == b"\"kty\""))
}

impl Material {
    /// A secret for HMAC.
    pub(super) fn secret(secret: &[u8]) -> Result<Material, String> {
        if is_text_of_a_key(secret) {
            return Err("its secret is the text of a key, which is no secret".to_owned());
        }
        match secret.len() {
            MIN_SECRET_BYTES.. => Ok(Material::Secret(secret.into())),
            length => Err(format!("its secret has {length} bytes, and at least {MIN_SECRET_BYTES} are needed")),
        }
    }

    /// An RSA key; zeros before its numbers do not matter.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Material, String> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let found = bits(modulus);
        if !RSA_BITS.contains(&found) {
            let (least, most) = (RSA_BITS.start(), RSA_BITS.end());
            return Err(format!("its modulus has {found} bits, and {least} to {most} can be used"));
        }
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        if !is_odd(modulus) {
            return Err("its modulus is even, so that it is no RSA key".to_owned());
        }
        if !is_odd(exponent) || exponent == [1] || bits(exponent) > MAX_RSA_EXPONENT_BITS {
            return Err(format!("its exponent is not an odd number from 3 on of at most {MAX_RSA_EXPONENT_BITS} bits"));
        }
        Ok(Material::Rsa { modulus: modulus.into(), exponent: exponent.into() })
    }

    /// A point of a curve, as SEC 1 writes it when it is not compressed.
    pub(super) fn point(curve: Curve, point: &[u8]) -> Result<Material, String> {
        let name = curve.name();
        if matches!(point, [2 | 3, ..]) {
            return Err(format!("its point of {name} is compressed: write it in full"));
        }
        if point.len() != 1 + 2 * curve.coordinate_bytes() || point.first() != Some(&4) {
            return Err(format!("its point is none of {name}: two numbers of {} bytes", curve.coordinate_bytes()));
        }
        // An agreement begins with checking that the other's key is on the curve, and there is no other way to ask.
        let by = match curve {
            Curve::P256 => &agreement::ECDH_P256,
            Curve::P384 => &agreement::ECDH_P384,
        };
        let own = EphemeralPrivateKey::generate(by, &SystemRandom::new());
        let own = own.map_err(|_| "the system has no random numbers to check it with".to_owned())?;
        agreement::agree_ephemeral(own, &agreement::UnparsedPublicKey::new(by, point), |_| ())
            .map_err(|_| format!("its point is not on the curve {name}"))?;
        Ok(Material::Ec(curve, point.into()))
    }

    /// An Ed25519 key.
    pub(super) fn ed25519(key: &[u8]) -> Result<Material, String> {
        let Ok(key) = <[u8; 32]>::try_from(key) else {
            return Err(format!("it has {} bytes, and an Ed25519 key has 32", key.len()));
        };
        match edwards::fault(&key) {
            Some(fault) => Err(format!("it is no Ed25519 key: {fault}")),
            None => Ok(Material::Ed25519(key)),
        }
    }

    /// Whether it is of the kind that an algorithm is for, whatever the key says of itself.
    pub(super) fn suits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{Ed25519, EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        match self {
            Material::Secret(secret) => match algorithm {
                Hs256 => secret.len() >= 32,
                Hs384 => secret.len() >= 48,
                Hs512 => secret.len() >= 64,
                _ => false,
            },
            Material::Rsa { .. } => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            Material::Ec(Curve::P256, _) => algorithm == Es256,
            Material::Ec(Curve::P384, _) => algorithm == Es384,
            Material::Ed25519(_) => matches!(algorithm, EdDsa | Ed25519),
        }
    }

    /// How many bytes its signatures by an algorithm have.
    pub(super) fn signature_bytes(&self, algorithm: Algorithm) -> usize {
        match (self, algorithm) {
            (Material::Rsa { modulus, .. }, _) => modulus.len(),
            (Material::Ec(curve, _), _) => 2 * curve.coordinate_bytes(),
            (_, Algorithm::Hs256) => 32,
            (_, Algorithm::Hs384) => 48,
            _ => 64,
        }
    }

    /// Whether it made a signature by an algorithm that it [suits](Material::suits).
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let public = |by: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            signature::UnparsedPublicKey::new(by, key).verify(signed, signature).is_ok()
        };
        match self {
            _ if !self.suits(algorithm) => false,
            Material::Secret(secret) => {
                let by = match algorithm {
                    Algorithm::Hs384 => hmac::HMAC_SHA384,
                    Algorithm::Hs512 => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::verify(&hmac::Key::new(by, secret), signed, signature).is_ok()
            }
            Material::Rsa { modulus, exponent } => {
                let by: &'static signature::RsaParameters = match algorithm {
                    Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => &signature::RSA_PKCS1_2048_8192_SHA256,
                };
                signature::RsaPublicKeyComponents { n: modulus, e: exponent }.verify(by, signed, signature).is_ok()
            }
            Material::Ec(Curve::P256, point) => public(&signature::ECDSA_P256_SHA256_FIXED, point),
            Material::Ec(Curve::P384, point) => public(&signature::ECDSA_P384_SHA384_FIXED, point),
            Material::Ed25519(key) => public(&signature::ED25519, key),
        }
    }

    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Material::Secret(_))
    }

    /// Its thumbprint (RFC 7638), by SHA-256. That of a secret helps whoever guesses it.
    pub(super) fn thumbprint(&self) -> String {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let members = match self {
            Material::Secret(secret) => format!(r#"{{"k":"{}","kty":"oct"}}"#, text(secret)),
            Material::Rsa { modulus, exponent } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(exponent), text(modulus))
            }
            Material::Ec(curve, point) => {
                let (x, y) = point[1..].split_at(curve.coordinate_bytes());
                format!(r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#, curve.name(), text(x), text(y))
            }
            Material::Ed25519(key) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(key)),
        };
        text(digest::digest(&digest::SHA256, members.as_bytes()).as_ref())
    }
}

impl fmt::Display for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Material::Secret(_) => f.write_str("secret"),
            Material::Rsa { modulus, .. } => write!(f, "RSA of {} bits", bits(modulus)),
            Material::Ec(curve, _) => f.write_str(curve.name()),
            Material::Ed25519(_) => f.write_str("Ed25519"),
        }
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// Bits of a number that no zeros stand before.
fn bits(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |first| first.leading_zeros());
    (number.len() * 8).saturating_sub(usize::try_from(unused).unwrap_or(0))
}
