//! stub
use clap::Args;
/// x
#[derive(Args, Debug)]
pub struct TriggerArgs {
    /// k
    pub kind: Option<String>,
}
/// r
/// # Errors
/// x
pub async fn run(
    _: TriggerArgs,
    _secret: impl FnOnce() -> Result<crate::domain::signature::SigningSecret, String>,
    _now: i64,
    _out: &mut impl std::io::Write,
) -> Result<(), String> {
    Err("stub".into())
}
