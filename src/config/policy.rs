//! The settings that decide which events count and which order they name.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::value::{Lookup, value};
use super::{ConfigError, DEV_SECRET_FILE, choice};
use crate::domain::order_ids::{OrderIdRules, OrderIdRulesError};
use crate::domain::policy::{Accounts, Mode, Policy, UnknownOrders};

const MODES: [(&str, Mode); 2] = [("live", Mode::Live), ("test", Mode::Test)];

/// The policy that the settings give, in this mode if `STRIPE_MODE` is not set.
///
/// # Errors
/// Every setting that cannot be used.
pub fn policy(lookup: Lookup<'_>, default: Mode) -> Result<Policy, Vec<ConfigError>> {
    let mode = match value(lookup, "STRIPE_MODE") {
        None => Ok(default),
        Some(_) => choice(lookup, "STRIPE_MODE", &MODES),
    };
    let unknown_orders = choice(
        lookup,
        "UNKNOWN_ORDERS",
        &[("create", UnknownOrders::Create), ("hold", UnknownOrders::Hold)],
    );
    let (accounts, order_ids) = (accounts(lookup), order_ids(lookup));
    match (mode, unknown_orders, accounts, order_ids) {
        (Ok(mode), Ok(unknown_orders), Ok(accounts), Ok(order_ids)) => {
            Ok(Policy { mode, unknown_orders, accounts, order_ids: Arc::new(order_ids) })
        }
        (mode, unknown, accounts, order_ids) => {
            let errors = [mode.err(), unknown.err(), accounts.err(), order_ids.err()];
            Err(errors.into_iter().flatten().collect())
        }
    }
}

/// The mode of a command that works on the database of this folder: test where `paidup dev` runs, live
/// elsewhere.
#[must_use]
pub fn mode_of_folder(lookup: Lookup<'_>) -> Mode {
    let names = ["STRIPE_WEBHOOK_SECRET", "STRIPE_WEBHOOK_SECRET_FILE"];
    let has_secret = names.iter().any(|name| value(lookup, name).is_some());
    if !has_secret && Path::new(DEV_SECRET_FILE).exists() { Mode::Test } else { Mode::Live }
}

/// Whose events count, by `STRIPE_ACCOUNTS`.
fn accounts(lookup: Lookup<'_>) -> Result<Accounts, ConfigError> {
    const NAME: &str = "STRIPE_ACCOUNTS";
    let Some(text) = value(lookup, NAME) else { return Ok(Accounts::Own) };
    if text.eq_ignore_ascii_case("any") {
        return Ok(Accounts::Any);
    }
    let mut accounts = BTreeSet::new();
    for account in text.split(',').map(str::trim) {
        let is_account = account.strip_prefix("acct_").is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        if !is_account {
            let told = format!(
                "{account:?} is not a Stripe account; write acct_…, several separated by commas, or any"
            );
            return Err(ConfigError::new(NAME, told));
        }
        accounts.insert(account.to_owned());
    }
    Ok(Accounts::Listed(accounts))
}

/// Where an order id may stand and what it must look like, by `ORDER_ID_KEYS` and `ORDER_ID_PATTERN`.
fn order_ids(lookup: Lookup<'_>) -> Result<OrderIdRules, ConfigError> {
    let keys = value(lookup, "ORDER_ID_KEYS");
    let pattern = value(lookup, "ORDER_ID_PATTERN");
    OrderIdRules::new(keys.as_deref(), pattern.as_deref()).map_err(|error| {
        let name = match error {
            OrderIdRulesError::Key(_) | OrderIdRulesError::NoKey => "ORDER_ID_KEYS",
            OrderIdRulesError::Pattern(_) | OrderIdRulesError::Captures(_) => "ORDER_ID_PATTERN",
        };
        ConfigError::new(name, error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Policy, Vec<ConfigError>> {
        let lookup = |name: &str| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        policy(&lookup, Mode::Live)
    }

    #[test]
    fn a_policy_is_read_from_the_settings() {
        let plain = read(&[]).expect("defaults");
        assert_eq!((plain.mode, plain.accounts), (Mode::Live, Accounts::Own));
        assert!(!plain.order_ids.reads_client_reference());
        let set = read(&[
            ("STRIPE_MODE", "test"),
            ("STRIPE_ACCOUNTS", "acct_1A, acct_2B"),
            ("ORDER_ID_KEYS", "order, order_id, @client_reference_id"),
            ("ORDER_ID_PATTERN", "shop-(.+)"),
        ])
        .expect("a policy");
        assert_eq!(set.mode, Mode::Test);
        let listed = ["acct_1A", "acct_2B"].map(str::to_owned).into_iter().collect();
        assert_eq!(set.accounts, Accounts::Listed(listed));
        assert!(set.order_ids.reads_client_reference());
        assert_eq!(read(&[("STRIPE_ACCOUNTS", "any")]).expect("any").accounts, Accounts::Any);
    }

    #[test]
    fn each_wrong_setting_is_named() {
        for (name, value) in [
            ("STRIPE_MODE", "any"),
            ("STRIPE_ACCOUNTS", "acct_1,shop"),
            ("STRIPE_ACCOUNTS", "acct_"),
            ("ORDER_ID_KEYS", "order_id,,x"),
            ("ORDER_ID_KEYS", "@client_reference_id"),
            ("ORDER_ID_PATTERN", "("),
            ("ORDER_ID_PATTERN", "(a)(b)"),
        ] {
            let errors = read(&[(name, value)]).expect_err(value);
            assert_eq!(
                errors.iter().map(|error| error.name).collect::<Vec<_>>(),
                [name],
                "{value}"
            );
        }
    }
}
