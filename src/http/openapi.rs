//! The API's description for programs, at `/api/openapi.json`. It is made of what stands at the handlers.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, openapi};

use super::api::{events, notifications, orders, stream};

#[derive(OpenApi)]
#[openapi(
    info(title = "paidup", description = "Orders, and what Stripe said of them"),
    paths(
        orders::list_orders,
        orders::get_order,
        orders::put_order,
        orders::get_history,
        events::list_events,
        events::get_event,
        events::replay_event,
        notifications::list_notifications,
        notifications::retry_notification,
        stream::stream_changes,
    ),
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
