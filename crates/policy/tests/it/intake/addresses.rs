//! The client's address, from the peer and from what trusted proxies say (I45).

use std::net::IpAddr;

use proptest::prelude::*;
use tidegate_policy::ClientDraft;

use super::sketch::{Api, Request, Sketch, rows};

const TRUSTED: [&str; 4] = ["10.0.0.0/8", "192.0.2.53", "fd00::/8", "2001:db8:ffff::/48"];

fn sketch(client: ClientDraft) -> Sketch {
    let mut sketch = Sketch::new().attribute("client", &["client"]);
    sketch.intake.client = client;
    sketch
}

fn api(client: ClientDraft) -> Api {
    sketch(client).build()
}

fn trusting(header: &str, trusted: &[&str]) -> ClientDraft {
    let trusted = trusted.iter().map(|&block| block.to_owned()).collect();
    ClientDraft { header: Some(header.to_owned()), trusted, ..ClientDraft::default() }
}

fn from(peer: &str) -> Request {
    Request { peer: Some(peer.parse().expect("an address")), ..Request::get("/") }
}

#[test]
fn table_of_clients() {
    for (line, left, expected) in rows(include_str!("../../data/addresses.txt")) {
        let mut parts = left.split(" | ").map(str::trim);
        let (form, peer) = parts.next().and_then(|start| start.split_once(' ')).expect("form and peer");
        let header = if form == "list" { "x-forwarded-for" } else { "forwarded" };
        let api = api(trusting(header, &TRUSTED));
        let request = parts.fold(from(peer.trim()), |request, value| {
            request.header(header, if value == "(nothing)" { "" } else { value })
        });
        match expected.strip_prefix("! ") {
            None => assert_eq!(api.value(&request, "client"), Some(expected), "addresses.txt:{line}: {left}"),
            Some(part) => {
                let complaint = api.complaint(&request);
                assert!(complaint.contains(part), "addresses.txt:{line}: {left}: {complaint}");
                assert!(complaint.ends_with("(attribute `client`)"), "{complaint}");
            }
        }
    }
}

#[test]
fn prefixes_make_one_client_of_many_addresses() {
    for (ipv4_prefix, ipv6_prefix, peer, expected) in [
        (32, 64, "203.0.113.9", "203.0.113.9"),
        (24, 64, "203.0.113.9", "203.0.113.0/24"),
        (31, 64, "203.0.113.9", "203.0.113.8/31"),
        (1, 64, "203.0.113.9", "128.0.0.0/1"),
        (24, 64, "::ffff:203.0.113.9", "203.0.113.0/24"),
        (32, 64, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (32, 56, "2001:db8:1:2ff:3:4:5:6", "2001:db8:1:200::/56"),
        (32, 48, "2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        (32, 127, "2001:db8::7", "2001:db8::6/127"),
        (32, 128, "2001:DB8:0:0:0:0:0:7", "2001:db8::7"),
        (32, 1, "2001:db8::7", "::/1"),
    ] {
        let api = api(ClientDraft { ipv4_prefix, ipv6_prefix, ..ClientDraft::default() });
        assert_eq!(api.value(&from(peer), "client").as_deref(), Some(expected), "{ipv4_prefix} {ipv6_prefix} {peer}");
    }
}

#[test]
fn blocks_of_trusted_addresses() {
    for (block, peer, is_trusted) in [
        ("0.0.0.0/0", "255.255.255.255", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("::/0", "2001:db8::1", true),
        ("::/0", "203.0.113.9", false),
        ("::/0", "::ffff:203.0.113.9", false),
        ("::ffff:0:0/96", "203.0.113.9", true),
        ("::ffff:10.0.0.0/104", "10.1.2.3", true),
        ("::ffff:10.0.0.0/104", "11.1.2.3", false),
        ("10.1.2.3", "10.1.2.3", true),
        ("10.1.2.3", "10.1.2.4", false),
        ("10.1.2.2/31", "10.1.2.3", true),
        ("10.1.2.2/31", "10.1.2.4", false),
        ("2001:db8::1", "2001:db8::1", true),
        ("2001:db8::1/128", "2001:db8::2", false),
    ] {
        let api = api(trusting("x-real-ip", &[block]));
        let client = api.value(&from(peer).header("x-real-ip", "198.51.100.1"), "client");
        assert_eq!(client.as_deref() == Some("198.51.100.1"), is_trusted, "{block} {peer}");
    }
}

#[test]
fn blocks_that_overlap_are_one() {
    let blocks =
        ["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/24", "10.255.255.255", "9.0.0.0/8", "12.0.0.0/8", "10.0.0.0/8"];
    let api = api(trusting("x-forwarded-for", &blocks));
    for (peer, is_trusted) in [
        ("8.255.255.255", false),
        ("9.0.0.0", true),
        ("10.1.0.1", true),
        ("10.200.0.1", true),
        ("10.255.255.255", true),
        ("11.0.0.0", false),
        ("12.0.0.1", true),
    ] {
        let client = api.value(&from(peer).header("x-forwarded-for", "198.51.100.1"), "client");
        assert_eq!(client.as_deref() == Some("198.51.100.1"), is_trusted, "{peer}");
    }
}

#[test]
fn without_a_peer_there_is_no_client() {
    let api = api(trusting("x-forwarded-for", &["0.0.0.0/0"]));
    assert_eq!(api.value(&Request::get("/").header("x-forwarded-for", "198.51.100.1"), "client"), None);
}

/// The header that names the client is one that `Connection` must not make the gateway lose (K5).
#[test]
fn the_header_is_one_that_is_read() {
    let name = http::HeaderName::from_static("x-real-ip");
    assert!(api(trusting("X-Real-IP", &["10.0.0.0/8"])).intake.reads_header(&name));
    assert!(!api(trusting("X-Forwarded-For", &["10.0.0.0/8"])).intake.reads_header(&name));
    let unread = Sketch::new().attribute("key", &["header:x-key"]).client("X-Real-IP", &["10.0.0.0/8"]);
    assert!(!unread.build().intake.reads_header(&name));
}

#[test]
fn drafts_of_clients_that_are_none() {
    for (client, reason) in [
        (trusting("a b", &["10.0.0.0/8"]), "`a b` is not the name of a header"),
        (trusting("x", &["10.0.0.1/8"]), "bits are set after the first 8"),
        (trusting("x", &["10.0.0.0/33"]), "expected a prefix of 0 to 32 bits"),
        (trusting("x", &["fd00::/129"]), "expected a prefix of 0 to 128 bits"),
        (trusting("x", &["10.0.0.0/"]), "expected a prefix of 0 to 32 bits"),
        (trusting("x", &["10.0.0.0/+8"]), "expected a prefix of 0 to 32 bits"),
        (trusting("x", &["::ffff:10.0.0.0/90"]), "bits are set after the first 90"),
        (trusting("x", &["10.0.0/8"]), "expected an address"),
        (trusting("x", &["proxy.example.com"]), "expected an address"),
        (trusting("x", &[""]), "expected an address"),
        (trusting("x", &["10.0.0.1"; 1_025]), "more than 1024 blocks"),
        (ClientDraft { ipv4_prefix: 0, ..ClientDraft::default() }, "a prefix has 1 to 32 bits"),
        (ClientDraft { ipv4_prefix: 33, ..ClientDraft::default() }, "a prefix has 1 to 32 bits"),
        (ClientDraft { ipv6_prefix: 129, ..ClientDraft::default() }, "a prefix has 1 to 32 bits"),
    ] {
        let problem = sketch(client).try_build().map(drop).expect_err(reason).to_string();
        assert!(problem.contains(reason), "{problem}");
    }
}

/// Whether an address is in one of the blocks that are trusted here, bit by bit.
fn is_trusted(address: IpAddr) -> bool {
    let bits = |address: IpAddr| -> String {
        match address {
            IpAddr::V4(address) => address.octets().iter().map(|byte| format!("{byte:08b}")).collect(),
            IpAddr::V6(address) => address.octets().iter().map(|byte| format!("{byte:08b}")).collect(),
        }
    };
    TRUSTED.iter().any(|block| {
        let (first, length) = block.split_once('/').unwrap_or((block, "32"));
        let first: IpAddr = first.parse().expect("an address");
        let length: usize = length.parse().expect("a number");
        first.is_ipv4() == address.is_ipv4() && bits(first)[..length] == bits(address)[..length]
    })
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<u16>().prop_map(|low| IpAddr::from([10, 0, (low >> 8) as u8, (low & 255) as u8])),
        Just(IpAddr::from([192, 0, 2, 53])),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        any::<u16>().prop_map(|low| IpAddr::from([0xfd00, 0, 0, low, 0, 0, 0, 1])),
        any::<u16>().prop_map(|low| IpAddr::from([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, low])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// I45: the client is the last untrusted address of the chain, or the first of all, in either header, however the
    /// chain is cut into lines; what is left of it changes nothing.
    #[test]
    fn the_client_is_the_last_that_is_not_trusted_i45(
        chain in prop::collection::vec(address(), 1..8), cuts in any::<u8>(), forged in "[a-z0-9., ]{0,20}"
    ) {
        // The end of the chain is the peer.
        let chain: Vec<IpAddr> = chain.iter().map(IpAddr::to_canonical).collect();
        let expected = chain.iter().rev().find(|address| !is_trusted(**address)).unwrap_or(&chain[0]);
        let (peer, named) = chain.split_last().unwrap();
        let is_cut_off = chain.iter().any(|address| !is_trusted(*address));
        for header in ["x-forwarded-for", "forwarded"] {
            let mut lines = vec![Vec::new()];
            if is_cut_off && header == "x-forwarded-for" {
                lines[0].push(forged.clone());
            }
            for (index, address) in named.iter().enumerate() {
                if cuts >> index & 1 == 1 {
                    lines.push(Vec::new());
                }
                let node = match (header, address) {
                    ("forwarded", IpAddr::V6(address)) => format!("proto=http;for=\"[{address}]:{index}\""),
                    ("forwarded", _) => format!("for={address}"),
                    _ => address.to_string(),
                };
                lines.last_mut().unwrap().push(node);
            }
            let mut request = Request { peer: Some(*peer), ..Request::get("/") };
            for line in lines {
                request = request.header(header, &line.join(", "));
            }
            let mut client = trusting(header, &TRUSTED);
            client.ipv6_prefix = 128;
            prop_assert_eq!(api(client).value(&request, "client"), Some(expected.to_string()), "{:?}", request.headers);
        }
    }

    /// Whatever a header holds, there is one answer.
    #[test]
    fn any_header_is_answered(value in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"for=10.;,:[]\"\\ _".to_vec())], 0..60)) {
        for header in ["x-forwarded-for", "forwarded"] {
            if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                let request = from("10.0.0.1").header_bytes(header, value.as_bytes());
                let api = api(trusting(header, &TRUSTED));
                prop_assert_eq!(api.facts(&request), api.facts(&request));
            }
        }
    }
}
