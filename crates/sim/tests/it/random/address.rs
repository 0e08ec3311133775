//! Whose address a client's is, as the model has it: in digits of zero and one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::description::Client;

/// The last of those who called that is not trusted; the first of all, if all are.
pub(super) fn client_of(client: &Client, peer: IpAddr, via: &[IpAddr]) -> String {
    let chain: Vec<IpAddr> = via.iter().chain([&peer]).map(IpAddr::to_canonical).collect();
    let is_trusted = |address: &&IpAddr| client.trusted.iter().any(|block| is_in(block, **address));
    let whose = chain.iter().rev().find(|address| !is_trusted(address)).unwrap_or(&chain[0]);
    let prefix = if whose.is_ipv4() { client.ipv4_prefix } else { client.ipv6_prefix };
    let digits = digits(*whose);
    let kept: String =
        (0..digits.len()).map(|place| if place < prefix { &digits[place..=place] } else { "0" }).collect();
    let first = match whose {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::from_str_radix(&kept, 2).expect("32 digits"))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(u128::from_str_radix(&kept, 2).expect("128 digits"))),
    };
    if prefix == digits.len() { first.to_string() } else { format!("{first}/{prefix}") }
}

fn is_in(block: &str, address: IpAddr) -> bool {
    let (first, prefix) = block.split_once('/').expect("a block with its prefix");
    let first: IpAddr = first.parse().expect("an address");
    let prefix: usize = prefix.parse().expect("a length");
    first.is_ipv4() == address.is_ipv4() && digits(first)[..prefix] == digits(address)[..prefix]
}

fn digits(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:032b}", address.to_bits()),
        IpAddr::V6(address) => format!("{:0128b}", address.to_bits()),
    }
}
