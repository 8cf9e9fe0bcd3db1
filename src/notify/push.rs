//! A phone, by way of ntfy or a server that speaks as it does (docs.ntfy.sh/publish, "Publish as JSON").

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Serialize;

use super::Outcome;
use super::client::Client;
use super::message::Message;
use super::settings::{LINK_ORDER, Push};
use super::words::{Audience, Words};

#[derive(Serialize)]
struct Body<'a> {
    topic: &'a str,
    title: &'a str,
    message: &'a str,
    priority: u8,
    tags: [&'a str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    click: Option<String>,
}

/// Tells it.
pub async fn send(client: &Client, push: &Push, words: &Words, message: &Message) -> Outcome {
    let said = match words.render(Audience::Shop, message) {
        Ok(said) => said,
        Err(error) => return Outcome::failed(error),
    };
    let body = Body {
        topic: push.topic.reveal(),
        title: &said.subject,
        message: &said.text,
        priority: push.priority,
        tags: [tag(&message.kind)],
        click: push.link.as_deref().map(|link| linked(link, &message.telling.order_id)),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(token) = &push.token {
        match HeaderValue::from_str(&format!("Bearer {}", token.reveal())) {
            Ok(value) => headers.insert(AUTHORIZATION, value),
            Err(_) => return Outcome::failed("its token cannot stand in a header"),
        };
    }
    let body = serde_json::to_vec(&body).unwrap_or_default();
    client.post(&push.server.url, headers, body).await
}

/// The picture beside it (docs.ntfy.sh/emojis).
fn tag(kind: &str) -> &'static str {
    match kind {
        "order.paid" | "order.renewed" => "moneybag",
        "order.processing" | "order.authorized" => "hourglass",
        "order.failed" | "order.canceled" => "x",
        "order.partially_refunded" | "order.refunded" => "leftwards_arrow_with_hook",
        "order.dispute_opened" | "order.dispute_closed" => "scales",
        "order.problem" | "order.refund_failed" => "warning",
        _ => "bell",
    }
}

/// A link with the order's id in it, percent-encoded.
pub(super) fn linked(link: &str, order_id: &str) -> String {
    let mut encoded = String::with_capacity(order_id.len());
    for byte in order_id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    link.replace(LINK_ORDER, &encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_id_stays_inside_its_place_in_a_link() {
        let link = "https://shop.example/orders/{order}?tab=pay";
        assert_eq!(linked(link, "A-1"), "https://shop.example/orders/A-1?tab=pay");
        let odd = linked(link, "../é?x=1#y");
        assert_eq!(odd, "https://shop.example/orders/..%2F%C3%A9%3Fx%3D1%23y?tab=pay");
    }
}
