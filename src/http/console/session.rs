//! Who may see the console, and which changes come from it.
//!
//! The token opens a session, and the browser holds 256 random bits for it in a cookie. The database
//! keeps a hash of them, keyed with the token: sessions outlast a restart and hold in every process that
//! shares the database, a copy of the database opens nothing, and a new token ends them all.
//!
//! A change must bring the [`form_token`] of its session, which is derived from the cookie and so needs no
//! place of its own, and must not come from another site, by what the browser says of that.

use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use http::header::{COOKIE, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::PATH;

/// How long a session lasts, whatever is done in it.
pub const SESSION_SECONDS: i64 = 12 * 60 * 60;
const COOKIE_NAME: &str = "paidup_session";
/// 32 bytes in hexadecimal digits.
const COOKIE_CHARS: usize = 64;
/// Names below these are never anybody's on the Internet (RFC 6761, 6762 and 8375, and what ICANN keeps for
/// private use).
const PRIVATE_SUFFIXES: [&str; 4] = [".localhost", ".local", ".internal", ".home.arpa"];
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where browsers reach the console, if not at the operators' listener itself: `CONSOLE_URL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleUrl {
    authority: String,
    is_https: bool,
}

impl ConsoleUrl {
    /// Takes `https://host` or `http://host`, with a port or without.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let authority = uri.authority()?.as_str();
        (is_bare && !authority.contains('@'))
            .then(|| Self { authority: authority.to_ascii_lowercase(), is_https })
    }
}

/// What the browser holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie(String);

impl std::fmt::Debug for Cookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookie(…)")
    }
}

impl Cookie {
    /// A new one, of these random bytes.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(hex::encode(random))
    }

    /// The one in this head. Anything else of its name is none.
    #[must_use]
    pub fn of(head: &HeaderMap) -> Option<Self> {
        let lines = head.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        lines
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, value)| *name == COOKIE_NAME && value.len() == COOKIE_CHARS)
            .map(|(_, value)| Self(value.to_owned()))
    }

    /// Its bytes, to be hashed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The header that gives it to the browser. It goes to the console's pages alone, no script reads
    /// it, and no other site's link or form brings it along.
    #[must_use]
    pub fn set(&self, url: Option<&ConsoleUrl>) -> Option<HeaderValue> {
        set_cookie(&self.0, SESSION_SECONDS, url)
    }

    /// The header that takes it away.
    #[must_use]
    pub fn unset(url: Option<&ConsoleUrl>) -> Option<HeaderValue> {
        set_cookie("", 0, url)
    }

    /// What every form of this session brings back.
    #[must_use]
    pub fn form_token(&self) -> String {
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(self.as_bytes()) else { return String::new() };
        hex::encode(mac.chain_update(b"form").finalize().into_bytes())
    }

    /// Whether a form brought it back.
    #[must_use]
    pub fn is_form_token(&self, given: &str) -> bool {
        let own = self.form_token();
        !own.is_empty() && bool::from(own.as_bytes().ct_eq(given.as_bytes()))
    }
}

fn set_cookie(value: &str, seconds: i64, url: Option<&ConsoleUrl>) -> Option<HeaderValue> {
    // A browser gives a Secure cookie back over https alone. What is spoken between it and a proxy in
    // front cannot be seen from here, so it is set where CONSOLE_URL says https, and nowhere else.
    let secure = if url.is_some_and(|url| url.is_https) { "; Secure" } else { "" };
    let text = format!(
        "{COOKIE_NAME}={value}; Path={PATH}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    );
    HeaderValue::try_from(text).ok()
}

/// Whether a request with this head asks for the console by an address or a name that nobody else can own.
///
/// Against DNS rebinding: the owner of a public name may point it at this machine, and a page of that name then
/// reads here whatever needs no cookie. So a public name must be the one in `CONSOLE_URL`. Addresses, names of
/// one label (`localhost`, a container's name) and private suffixes are safe.
#[must_use]
pub fn is_of_our_host(head: &HeaderMap, url: Option<&ConsoleUrl>) -> bool {
    let known = url.and_then(|url| host_of(&url.authority));
    head.get_all(HOST).iter().all(|value| {
        let Some(host) = value.to_str().ok().and_then(host_of) else { return false };
        let address = host.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || !host.contains('.')
            || PRIVATE_SUFFIXES.iter().any(|suffix| host.ends_with(suffix))
            || known.as_ref() == Some(&host)
    })
}

/// The host without its port, in lower case.
fn host_of(authority: &str) -> Option<String> {
    let authority: Authority = authority.parse().ok()?;
    Some(authority.host().trim_end_matches('.').to_ascii_lowercase())
}

/// Whether a request with this head may come from a page of ours, by what the browser says.
///
/// Browsers tell `Sec-Fetch-Site` wherever they speak https or to this machine. Over http to another
/// machine there is only `Origin`; and as our pages send no referrer, theirs is `null`, which is left to
/// the form's token and to `SameSite`.
#[must_use]
pub fn is_of_our_site(head: &HeaderMap, url: Option<&ConsoleUrl>) -> bool {
    if let Some(site) = head.get(SEC_FETCH_SITE) {
        return site == "same-origin";
    }
    let Some(origin) = head.get(ORIGIN) else { return true };
    if origin == "null" {
        return true;
    }
    let Ok(origin) = origin.to_str() else { return false };
    let host = head.get(HOST).and_then(|host| host.to_str().ok());
    let is_ours = |authority: &str| {
        host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
            || url.is_some_and(|url| url.authority.eq_ignore_ascii_case(authority))
    };
    origin.split_once("://").is_some_and(|(_, authority)| is_ours(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().expect("a value"))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let ours = "a1".repeat(32);
        let pair = format!("paidup_session={ours}");
        for (line, is_found) in [
            (pair.clone(), true),
            (format!("x=1; {pair}; y=2"), true),
            (format!("paidup_session=short; {pair}"), true),
            (format!("{pair}0"), false),
            (format!("xpaidup_session={ours}"), false),
            ("paidup_session=".to_owned(), false),
            (String::new(), false),
        ] {
            let found = Cookie::of(&head(&[("cookie", &line)]));
            assert_eq!(found.is_some_and(|found| found.0 == ours), is_found, "{line}");
        }
        assert_eq!(Cookie::of(&HeaderMap::new()), None);
    }

    #[test]
    fn a_cookie_is_kept_from_scripts_and_other_sites() {
        let cookie = Cookie::new([0xab; 32]);
        let https = ConsoleUrl::new("https://ops.example");
        for (url, is_secure) in
            [(None, false), (ConsoleUrl::new("http://ops.example"), false), (https.clone(), true)]
        {
            for set in [cookie.set(url.as_ref()), Cookie::unset(url.as_ref())] {
                let set = set.expect("a header");
                let set = set.to_str().expect("text");
                for word in ["Path=/console", "HttpOnly", "SameSite=Strict", "Max-Age="] {
                    assert!(set.contains(word), "{set}");
                }
                assert_eq!(set.contains("; Secure"), is_secure, "{set}");
            }
        }
        let unset = Cookie::unset(None).expect("a header");
        assert!(
            unset.to_str().expect("text").starts_with("paidup_session=; Path=/console; Max-Age=0;")
        );
        assert_eq!(format!("{cookie:?}"), "Cookie(…)");
    }

    #[test]
    fn a_form_token_is_of_one_session() {
        let (ours, other) = (Cookie::new([1; 32]), Cookie::new([2; 32]));
        let token = ours.form_token();
        assert!(token.len() == 64 && token != ours.0, "{token}");
        assert!(ours.is_form_token(&token));
        for given in ["", &token[..63], &other.form_token(), &ours.0] {
            assert!(!ours.is_form_token(given), "{given}");
        }
    }

    #[test]
    fn another_site_is_told_from_ours() {
        let url = ConsoleUrl::new("https://ops.example");
        for (fields, is_ours) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            // Typed into the address bar: no form of ours.
            (&[("sec-fetch-site", "none")], false),
            // The former is what the browser itself says.
            (&[("sec-fetch-site", "cross-site"), ("host", "a:1"), ("origin", "http://a:1")], false),
            (&[("sec-fetch-site", "same-origin"), ("host", "a:1"), ("origin", "null")], true),
            (&[("host", "10.0.0.5:8001"), ("origin", "http://10.0.0.5:8001")], true),
            (&[("host", "10.0.0.5:8001"), ("origin", "http://10.0.0.5:9000")], false),
            (&[("host", "10.0.0.5:8001"), ("origin", "http://evil.example")], false),
            (&[("host", "10.0.0.5:8001"), ("origin", "https://OPS.example")], true),
            (&[("origin", "http://10.0.0.5:8001")], false),
            (&[("host", "10.0.0.5:8001"), ("origin", "garbage")], false),
            (&[("host", "10.0.0.5:8001"), ("origin", "null")], true),
            (&[("host", "10.0.0.5:8001")], true),
        ] {
            assert_eq!(is_of_our_site(&head(fields), url.as_ref()), is_ours, "{fields:?}");
        }
    }

    #[test]
    fn a_public_name_is_asked_for_only_if_it_is_the_consoles() {
        let url = ConsoleUrl::new("https://ops.example:8443");
        for (host, without_url, with_url) in [
            ("127.0.0.1:8001", true, true),
            ("10.0.0.5", true, true),
            ("[::1]:8001", true, true),
            ("localhost:8001", true, true),
            ("LOCALHOST.", true, true),
            ("paidup:8001", true, true),
            ("ops.shop.internal", true, true),
            ("ops.example", false, true),
            ("OPS.example.:9000", false, true),
            ("evil.example", false, false),
            ("ops.example.evil.example", false, false),
            ("127.0.0.1.evil.example:8001", false, false),
            ("evillocal.example", false, false),
            ("a b", false, false),
            ("", false, false),
        ] {
            let fields = [("host", host)];
            assert_eq!(is_of_our_host(&head(&fields), None), without_url, "{host}");
            assert_eq!(is_of_our_host(&head(&fields), url.as_ref()), with_url, "{host}");
        }
        // No browser leaves it out.
        assert!(is_of_our_host(&HeaderMap::new(), None));
    }

    #[test]
    fn a_console_url_is_a_place_and_no_more() {
        for (text, is_one) in [
            ("https://ops.example", true),
            ("https://ops.example/", true),
            ("http://10.0.0.5:8001", true),
            ("https://ops.example/console", false),
            ("https://ops.example/?a=1", false),
            ("https://user:secret@ops.example", false),
            ("ftp://ops.example", false),
            ("ops.example", false),
            ("", false),
        ] {
            assert_eq!(ConsoleUrl::new(text).is_some(), is_one, "{text}");
        }
    }
}
