//! The ping-pong of figure 4.1: its server changes at the fifth of ten pings, because the client says so.

use serde::Deserialize;
use serde_json::json;

use super::record::{Game, Outcome, Pingpong, Upgrade};
use super::stage::Stage;
use crate::failure::Failure;

const PINGS: u32 = 10;

/// Between two pings.
const PAUSE_MS_MAX: u64 = 500;

/// The guests' type of this name.
#[derive(Deserialize)]
struct Score {
    pings: u64,
    pongs: u64,
    versions: Vec<u32>,
    took_ns: Vec<u64>,
}

/// Plays it once.
pub(super) async fn play(stage: &Stage) -> Result<Game, Failure> {
    stage.upgrade("pingpong@2.0.0").await?;
    stage.reach(0.05).await;
    let umpire = stage.spawn("pingpong@1.0.0", "umpire", json!([])).await?;
    let pause_ms = (stage.length().as_millis() as u64 / 20).min(PAUSE_MS_MAX);
    let score = stage.ask(umpire, &json!({"count": PINGS, "pause_ms": pause_ms, "score": "_"})).await?;
    let Score { pings, pongs, versions, took_ns } = serde_json::from_value(score).map_err(Failure::new)?;
    let event = stage.changed("pingpong@2.0.0", |_| true).await?;
    let upgrade = Upgrade::new(stage, event, &took_ns.into_iter().map(|ns| (ns, 1)).collect(), Outcome::Committed);
    Ok(Game { result: Pingpong { pings, pongs, versions }, upgrade })
}
