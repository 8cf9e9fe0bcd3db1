//! Keeps calls away from addresses that are not the Internet's: this machine, its network, the cloud's
//! metadata. Whoever may write a URL, or answer for its name in DNS, must not get to reach those.
//!
//! A name is looked up here, and the connection is made to one of the addresses that passed, so a name
//! that answers differently the next time gains nothing. HTTP clients look up no literal addresses;
//! those are checked before the call.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Looks up the addresses of a name.
pub type Lookup = Arc<dyn Fn(String) -> Looking + Send + Sync>;
/// A look-up under way.
pub type Looking = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Asks the system, as every other program does.
#[must_use]
pub fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// Why a call is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// The URL leads to this machine or its network.
    #[error("the address is private or of this machine; allow_private = true permits it")]
    Private,
    /// The URL would send what is told, and secrets, in the clear.
    #[error("the address is not https; allow_private = true permits http")]
    Plain,
    /// Neither http nor https, or with a user and password in it.
    #[error("the address is not an https URL without user and password")]
    NoUrl,
}

/// Which addresses may be called.
#[derive(Clone)]
pub struct Guard {
    allow_private: bool,
    lookup: Lookup,
}

impl Guard {
    /// Private addresses only where that is asked for.
    #[must_use]
    pub fn new(allow_private: bool, lookup: Lookup) -> Self {
        Self { allow_private, lookup }
    }

    /// Checks what can be seen without a look-up.
    ///
    /// # Errors
    /// [`Forbidden`], and why.
    pub fn check(&self, url: &Url) -> Result<(), Forbidden> {
        check_url(url, self.allow_private)
    }
}

/// Checks what can be seen of a URL without a look-up.
///
/// # Errors
/// [`Forbidden`], and why.
pub fn check_url(url: &Url, allow_private: bool) -> Result<(), Forbidden> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Forbidden::NoUrl);
    }
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        "http" => return Err(Forbidden::Plain),
        _ => return Err(Forbidden::NoUrl),
    }
    // The parser has turned every spelling of an IPv4 address (0x7f000001, 127.1) into the usual one.
    let host = url.host_str().unwrap_or_default();
    let literal: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    match literal {
        Some(address) if !allow_private && !is_public(address) => Err(Forbidden::Private),
        _ => Ok(()),
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (looking, allow_private) =
            ((self.lookup)(name.as_str().to_owned()), self.allow_private);
        Box::pin(async move {
            let mut found = looking.await?;
            found.retain(|address| allow_private || is_public(*address));
            if found.is_empty() {
                return Err(Forbidden::Private.into());
            }
            let addresses: Addrs =
                Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// Whether an address is one of the Internet's, by the registries of special-purpose addresses
/// (iana.org/assignments/iana-ipv4-special-registry, …-ipv6-…).
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = matches!(
        (a, b, c),
        (0 | 10 | 127, ..)               // this network, private, loopback
            | (100, 64..=127, _)         // shared between a carrier's customers
            | (169, 254, _)              // link-local, and the cloud's metadata
            | (172, 16..=31, _)          // private
            | (192, 0, 0 | 2)            // protocol assignments, documentation
            | (192, 31, 196)             // AS112
            | (192, 52, 193)             // AMT
            | (192, 88, 99)              // 6to4 relays
            | (192, 168, _)              // private
            | (192, 175, 48)             // AS112
            | (198, 18..=19, _)          // benchmarks
            | (198, 51, 100)             // documentation
            | (203, 0, 113)              // documentation
            | (224..=255, ..) // multicast, reserved, broadcast
    );
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Addresses that carry one of IPv4, and lead to it: mapped, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            embedded(high, low)
        }
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, ORCHID, benchmarks and all else of the protocol assignments; documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // What is handed out so far is 2000::/3. The rest is loopback, unique local, link-local,
        // site-local, multicast, local NAT64, segment routing, or nobody's.
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_internets_addresses_are_public() {
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "169.253.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "2001:200::1",
        ];
        for text in public {
            assert!(is_public(text.parse().expect(text)), "{text}");
        }
        let private = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "2001::1",
            "2001:0:53aa:64c::1",
            "2001:db8::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for text in private {
            assert!(!is_public(text.parse().expect(text)), "{text}");
        }
    }

    #[test]
    fn a_url_is_judged_however_its_address_is_spelt() {
        let rows = [
            ("https://shop.example/hook", Ok(())),
            ("https://8.8.8.8/hook", Ok(())),
            ("http://shop.example/hook", Err(Forbidden::Plain)),
            ("ftp://shop.example/hook", Err(Forbidden::NoUrl)),
            ("https://user:hunter2@shop.example/hook", Err(Forbidden::NoUrl)),
            ("https://127.0.0.1/", Err(Forbidden::Private)),
            ("https://127.1/", Err(Forbidden::Private)),
            ("https://0x7f000001/", Err(Forbidden::Private)),
            ("https://2130706433/", Err(Forbidden::Private)),
            ("https://0177.0.0.1/", Err(Forbidden::Private)),
            ("https://[::1]/", Err(Forbidden::Private)),
            ("https://[::ffff:127.0.0.1]/", Err(Forbidden::Private)),
            ("https://[fd00:ec2::254]/latest/meta-data", Err(Forbidden::Private)),
            ("https://169.254.169.254/latest/meta-data", Err(Forbidden::Private)),
        ];
        for (url, expected) in rows {
            let parsed = Url::parse(url).expect(url);
            assert_eq!(check_url(&parsed, false), expected, "{url}");
        }
        let local = Url::parse("http://127.0.0.1:9000/hook").expect("a URL");
        assert_eq!(check_url(&local, true), Ok(()));
    }
}
