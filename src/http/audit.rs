//! Log lines about operators' calls, with the caller's address: who was refused for a wrong token, and who
//! changed something. Behind a proxy the address is the proxy's: no header's word is taken for another.

use std::net::IpAddr;
use std::sync::LazyLock;

use http::StatusCode;
use metrics::counter;
use tracing::{info, warn};

use super::error::Sampler;
use super::visible::excerpt;

/// Wrong tokens come in floods: a few lines a second say as much as all of them.
static WARNINGS: LazyLock<Sampler> = LazyLock::new(Sampler::new);

/// Counts a caller that was not let in, and logs it unless too many were logged in this second.
pub(super) fn token_refused(reason: &'static str, caller: Option<IpAddr>) {
    counter!("paidup_refusals_total", "reason" => reason).increment(1);
    if let Some(suppressed) = WARNINGS.admit() {
        warn!(
            reason,
            caller = shown(caller),
            suppressed,
            "a caller without the admin token was refused"
        );
    }
}

/// Somebody with the token opened a session of the console.
pub(super) fn logged_in(caller: Option<IpAddr>) {
    info!(caller = shown(caller), "a login to the console with the admin token");
}

/// Somebody with the token, or a session, made a call that may change something. `subject` is what it names.
pub(super) fn changed(what: &str, subject: &str, caller: Option<IpAddr>, status: StatusCode) {
    info!(
        call = excerpt(what),
        id = excerpt(subject),
        caller = shown(caller),
        status = status.as_u16(),
        "an operator's call to change something"
    );
}

fn shown(caller: Option<IpAddr>) -> String {
    caller.map_or_else(|| "unknown".to_owned(), |caller| caller.to_canonical().to_string())
}
