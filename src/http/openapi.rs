//! The API's description for programs, at `/api/openapi.json`. It is made of what stands at the handlers.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, openapi};

use super::api;

#[derive(OpenApi)]
#[openapi(
    info(title = "paidup", description = "Orders, and what Stripe said of them"),
    paths(api::list_orders, api::get_order, api::put_order, api::get_history, api::get_event),
    modifiers(&Token)
)]
struct Document;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// The document, made when it is asked for.
pub(super) fn document() -> openapi::OpenApi {
    Document::openapi()
}
