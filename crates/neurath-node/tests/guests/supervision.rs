//! Supervisors on a real node: their children are started again, and outlive their upgrades in the versions that they run (G4).

use neurath_proto::Pid;
use serde_json::json;

use crate::common::{World, eventually, plainly};

/// A team and its children, as its supervisor tells of them.
struct Team {
    world: World,
    top: Pid,
}

impl Team {
    /// Who a child is, and how often it was restarted.
    async fn child(&self, id: &str) -> Option<(Pid, u64)> {
        let answer = self.world.call(self.top, json!({"Children": {"from": 0}})).await;
        let children = answer["Children"]["children"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let child = children.iter().find(|child| child["id"] == id)?;
        Some((child["pid"].as_str()?.parse().unwrap(), child["restarts"].as_u64().unwrap()))
    }

    /// Kills a child and waits until there is another; who that is, and the how-manieth restart it was.
    async fn kill(&self, id: &str) -> (Pid, u64) {
        let (killed, _) = self.child(id).await.unwrap();
        self.world.kill(killed).await;
        let another = async || self.child(id).await.filter(|(pid, _)| *pid != killed);
        eventually(&format!("child `{id}` in another process"), another).await
    }

    /// Asserts which version of a child works, and how much it remembers to have done.
    async fn assert_report(&self, of: Pid, version: u32, done: u64) {
        assert_eq!(self.world.call(of, json!("Report")).await, json!([version, done]));
    }
}

#[tokio::test]
async fn a_supervisor_restarts_children_and_keeps_them_through_its_upgrade_in_the_versions_that_they_run() {
    let world = World::with(&["team-v1", "team-v2"]).await;
    let top = world.spawn("team@1.0.0", "team", json!([])).await;
    let team = Team { world, top };
    let (worker, _) = team.child("worker").await.unwrap();
    let (clerk, _) = team.child("clerk").await.unwrap();
    team.world.send(worker, json!("Do")).await;
    team.world.send(clerk, json!("File")).await;
    team.assert_report(worker, 1, 1).await;
    team.assert_report(clerk, 1, 1).await;

    let (worker, restarts) = team.kill("worker").await;
    assert_eq!((restarts, team.child("clerk").await), (1, Some((clerk, 0))), "the other one is not touched");
    team.assert_report(worker, 1, 0).await;
    team.world.send(worker, json!("Do")).await;

    let report = team.world.node.upgrade("team@2.0.0", plainly()).await.unwrap();
    let mut committed = report.committed;
    committed.sort();
    assert_eq!((committed, report.rolled_back), (vec![top, clerk], vec![]));
    let kept = [team.child("worker").await, team.child("clerk").await];
    assert_eq!(kept, [Some((worker, 1)), Some((clerk, 0))], "the same processes, and what is known of them");
    let (apprentice, _) = team.child("apprentice").await.expect("a child that only the new code has");
    team.assert_report(worker, 1, 1).await;
    team.assert_report(clerk, 2, 1).await;
    team.assert_report(apprentice, 2, 0).await;

    let (worker, restarts) = team.kill("worker").await;
    assert_eq!(restarts, 2, "the new code looks after the old code's children");
    team.assert_report(worker, 2, 0).await;
    let (clerk, _) = team.kill("clerk").await;
    team.assert_report(clerk, 2, 0).await;
    assert!(team.world.lives(top).await && team.world.lives(apprentice).await);
}
