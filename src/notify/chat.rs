//! A chat room, by an incoming webhook that speaks as Slack's do (`{"text": …}`). Mattermost, Rocket.Chat
//! and others take the same.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::Outcome;
use super::client::Client;
use super::message::Message;
use super::push::linked;
use super::settings::Chat;
use super::words::{Audience, Words};

/// Tells it.
pub async fn send(client: &Client, chat: &Chat, words: &Words, message: &Message) -> Outcome {
    let said = match words.render(Audience::Shop, message) {
        Ok(said) => said,
        Err(error) => return Outcome::failed(error),
    };
    let mut text = format!("*{}*\n{}", escaped(&said.subject), escaped(&said.text));
    if let Some(link) = &chat.link {
        text.push_str(&format!("\n<{}>", linked(link, &message.telling.order_id)));
    }
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = serde_json::json!({ "text": text }).to_string();
    client.post(&chat.url.url, headers, body.into_bytes()).await
}

/// Slack's three control characters; without this an order id could call a whole channel by `<!here>`.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
