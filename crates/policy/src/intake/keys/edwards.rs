//! Whether 32 bytes are an Ed25519 public key that can be trusted to tell signatures apart (RFC 8032, 5.1.3).
//!
//! `ring` says of a signature only that it does not verify, not that no signature ever would; and it takes the eight points
//! of small order, by which anybody can sign. So a key is looked at once, when it is read. All of it is public: nothing
//! here need take the same time for all inputs.

/// A number modulo 2^255 − 19: 16 bits in each limb, the lowest first. Sums of 16 products of two limbs fit 64 bits.
type Number = [u64; 16];

const MODULUS: Number = [
    0xffed, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff,
    0xffff, 0x7fff,
];

/// The constant d of the curve −x² + y² = 1 + d·x²·y², which is −121665/121666.
const D: Number = [
    0x78a3, 0x1359, 0x4dca, 0x75eb, 0xd8ab, 0x4141, 0x0a4d, 0x0070, 0xe898, 0x7779, 0x4079, 0x8cc7, 0xfe73, 0x2b6f,
    0x6cee, 0x5203,
];

const ZERO: Number = [0; 16];

const ONE: Number = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What is wrong with a public key.
pub(super) fn fault(key: &[u8; 32]) -> Option<&'static str> {
    let mut y = ZERO;
    for (limb, bytes) in y.iter_mut().zip(key.chunks_exact(2)) {
        *limb = u64::from(bytes[0]) | u64::from(bytes[1]) << 8;
    }
    // The highest bit is the sign of x.
    y[15] &= 0x7fff;
    if !is_less(&y, &MODULUS) {
        return Some("its number is not below 2^255 − 19");
    }
    // x² = (y² − 1) / (d·y² + 1), whose divisor is never 0.
    let square = multiply(&y, &y);
    let above = subtract(&square, &ONE);
    let below = add(&multiply(&D, &square), &ONE);
    if !is_square(&multiply(&above, &below)) {
        return Some("no point of the curve has it");
    }
    // Of order 1 and 2: x = 0. Of order 4: y = 0. Of order 8: those whose double is of order 4, which is x² = −y².
    let of_order_8 = add(&above, &multiply(&square, &below));
    if is_zero(&above) || is_zero(&y) || is_zero(&of_order_8) {
        return Some("it is a point of small order, by which anybody can sign");
    }
    None
}

/// Whether a number is the square of another, by its power (p − 1) / 2 = 2^254 − 10.
fn is_square(number: &Number) -> bool {
    let mut power = ONE;
    for bit in (0..254).rev() {
        power = multiply(&power, &power);
        if bit != 0 && bit != 3 {
            power = multiply(&power, number);
        }
    }
    is_zero(number) || is_zero(&subtract(&power, &ONE))
}

fn add(a: &Number, b: &Number) -> Number {
    carried(std::array::from_fn(|index| a[index] + b[index]))
}

fn subtract(a: &Number, b: &Number) -> Number {
    // Four times the modulus keeps every limb above 0.
    carried(std::array::from_fn(|index| a[index] + 4 * MODULUS[index] - b[index]))
}

fn multiply(a: &Number, b: &Number) -> Number {
    let mut product = [0; 31];
    for (i, a) in a.iter().enumerate() {
        for (j, b) in b.iter().enumerate() {
            product[i + j] += a * b;
        }
    }
    // 2^256 is 38.
    carried(std::array::from_fn(|index| product[index] + 38 * product.get(index + 16).copied().unwrap_or(0)))
}

/// The same number with at most 16 bits in each limb.
fn carried(mut number: Number) -> Number {
    // Each round leaves less to carry over from the highest limb; the third has at most one.
    for _ in 0..3 {
        let mut carry = 0;
        for limb in &mut number {
            let sum = *limb + carry;
            *limb = sum & 0xffff;
            carry = sum >> 16;
        }
        number[0] += 38 * carry;
    }
    number
}

fn is_zero(number: &Number) -> bool {
    // Below 2^256, so that it is 0, 1 or 2 times the modulus.
    let times = |factor: u64| -> Number {
        let mut carry = 0;
        std::array::from_fn(|index| {
            let sum = MODULUS[index] * factor + carry;
            carry = sum >> 16;
            sum & 0xffff
        })
    };
    [0, 1, 2].into_iter().any(|factor| times(factor) == *number)
}

fn is_less(a: &Number, b: &Number) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::{D, MODULUS, Number, ONE, ZERO, add, fault, is_square, is_zero, multiply, subtract};

    fn number(value: u64) -> Number {
        std::array::from_fn(|index| if index < 4 { value >> (16 * index) & 0xffff } else { 0 })
    }

    #[test]
    fn the_constant_is_that_of_the_curve() {
        assert!(is_zero(&add(&multiply(&D, &number(121_666)), &number(121_665))));
        assert!(!is_square(&D) && is_square(&multiply(&D, &D)) && is_square(&ZERO));
        assert!(is_zero(&MODULUS) && is_zero(&subtract(&ONE, &ONE)) && !is_zero(&ONE));
    }

    #[test]
    fn keys_that_were_made_are_keys_and_half_of_all_bytes_are_none() {
        let mut none = 0;
        for seed in 0..=255 {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed");
            let key: [u8; 32] = pair.public_key().as_ref().try_into().expect("32 bytes");
            assert_eq!(fault(&key), None, "{seed}");
            // The other sign is the other point.
            let mut other = key;
            other[31] ^= 0x80;
            assert_eq!(fault(&other), None, "{seed}");
            other[0] ^= 1;
            none += usize::from(fault(&other) == Some("no point of the curve has it"));
        }
        assert!((64..192).contains(&none), "{none} of 256");
    }

    #[test]
    fn points_of_small_order_are_refused() {
        let bytes = |hex: &str| -> [u8; 32] {
            std::array::from_fn(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).expect("hex"))
        };
        for (key, why) in [
            ("0100000000000000000000000000000000000000000000000000000000000000", "small order"),
            ("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "small order"),
            ("0000000000000000000000000000000000000000000000000000000000000000", "small order"),
            ("0000000000000000000000000000000000000000000000000000000000000080", "small order"),
            ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "small order"),
            ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85", "small order"),
            ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "small order"),
            ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", "small order"),
            ("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "not below 2^255"),
            ("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "not below 2^255"),
        ] {
            assert!(fault(&bytes(key)).is_some_and(|found| found.contains(why)), "{key}: {:?}", fault(&bytes(key)));
        }
    }
}
