//! Orders: the newest first, filtered by status and problem, or those that a text names.

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::shell::{Choice, Shell, Trouble, address, choices, page, see};
use super::words::seconds;
use super::{Console, User};
use crate::domain::money;
use crate::domain::order::{Problem, Status};
use crate::store::OrderRecord;
use crate::store::reads::{Cursor, OrderFilter, ProblemFilter, orders_page};

/// Rows of a page.
pub const PAGE_ROWS: i64 = 50;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct OrdersQuery {
    q: String,
    status: String,
    problem: String,
    after: String,
}

impl OrdersQuery {
    /// What cannot be understood filters nothing: the page shows what it took.
    fn filter(&self) -> OrderFilter {
        let problem = Problem::ALL.into_iter().find(|problem| problem.name() == self.problem);
        let any = (self.problem == "any").then_some(ProblemFilter::Any);
        OrderFilter {
            status: Status::ALL.into_iter().find(|status| status.name() == self.status),
            problem: any.or(problem.map(ProblemFilter::Is)),
        }
    }
}

struct Row {
    address: String,
    id: String,
    status: &'static str,
    /// A problem, a dispute.
    beside: Vec<&'static str>,
    received: String,
    refunded: String,
    email: String,
    created_at: String,
}

impl From<OrderRecord> for Row {
    fn from(record: OrderRecord) -> Self {
        let (order, told) = (record.order, &record.id);
        let (address, id) = (address("/console/order", &[("id", told)]), record.id.clone());
        let told = order.snapshot;
        let money = |amount| money::show(amount, told.currency.as_deref());
        let problem = told.problem.map(Problem::name);
        Self {
            address,
            id,
            status: told.status.name(),
            beside: problem.into_iter().chain(told.dispute.map(|dispute| dispute.name())).collect(),
            received: money(told.amount_received),
            refunded: money(told.amount_refunded),
            email: order.customer_email.unwrap_or_default(),
            created_at: seconds(order.created_at),
        }
    }
}

#[derive(Template)]
#[template(path = "orders.html")]
struct OrdersPage {
    shell: Shell,
    q: String,
    statuses: Vec<Choice>,
    problems: Vec<Choice>,
    rows: Vec<Row>,
    next: Option<String>,
}

pub(super) async fn list(
    State(console): State<Console>,
    Extension(user): Extension<User>,
    Query(query): Query<OrdersQuery>,
) -> Result<Response, Trouble> {
    let term = query.q.trim().to_owned();
    let (filter, after) = (query.filter(), Cursor::parse(&query.after));
    let (rows, next) = if term.is_empty() {
        let found = console.run(move |session| {
            Box::pin(async move { orders_page(session, filter, after.as_ref(), PAGE_ROWS).await })
        });
        let found = found.await?;
        let next = found.next.map(|next| {
            let (status, problem) = (query.status.as_str(), query.problem.as_str());
            let next = next.to_string();
            let pairs = [("status", status), ("problem", problem), ("after", &next)];
            address("/console/orders", &pairs)
        });
        (found.rows, next)
    } else {
        let found = console.run(move |session| {
            Box::pin(async move { session.orders_found(&term, PAGE_ROWS).await })
        });
        (found.await?, None)
    };
    let rows: Vec<Row> = rows.into_iter().map(Row::from).collect();
    // Whoever looks for one order wants to see it.
    if let ([row], false) = (&rows[..], query.q.trim().is_empty()) {
        return Ok(see(&row.address));
    }
    let statuses = Status::ALL.map(Status::name);
    let problems = Problem::ALL.map(Problem::name);
    page(&OrdersPage {
        shell: Shell::live(&user, "Orders"),
        statuses: choices("any", statuses, &query.status),
        problems: choices(
            "with or without",
            std::iter::once("any").chain(problems),
            &query.problem,
        ),
        q: query.q,
        rows,
        next,
    })
}
