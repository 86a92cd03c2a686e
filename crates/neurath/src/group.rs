//! Process groups: processes of any nodes under a name that they share.
//!
//! Every node knows the members of all nodes that it is connected with; once messages have arrived, all of them know
//! the same. It has no owner and no order.

use neurath_proto::cluster::{Answer, Question};
use neurath_proto::{Data, Pid};

use crate::message::send;
use crate::node::question_of;

/// Makes this process a member of a group, which need not exist before.
///
/// A member that ends, or whose node cannot be reached any more, is none any more.
///
/// # Errors
/// It is no name for a group, or the node knows as many members as it may: why.
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// struct Price(u64);
///
/// #[neurath::process(accepts(Price))]
/// async fn listener() {
///     neurath::group::join("prices").await.expect("a good name");
///     loop {
///         let Price(cents) = recv().await;
///         info!("{cents}");
///     }
/// }
///
/// async fn publish(cents: u64) {
///     neurath::group::send_all("prices", || Price(cents)).await;
/// }
/// # fn main() {}
/// ```
pub async fn join(group: &str) -> Result<(), String> {
    match question_of(&Question::Join { group: group.into() }).forever().await {
        Ok(Answer::Failed { why }) => Err(why),
        Err(error) => Err(error.to_string()),
        Ok(_) => Ok(()),
    }
}

/// Ends this process's membership.
pub async fn leave(group: &str) {
    // A copy of a process that asked is no member.
    let _ = question_of(&Question::Leave { group: group.into() }).forever().await;
}

/// The members of a group on all connected nodes, in the order of their pids.
pub async fn members(group: &str) -> Vec<Pid> {
    match question_of(&Question::Members { group: group.into() }).forever().await {
        Ok(Answer::Pids { pids }) => pids,
        _ => Vec::new(),
    }
}

/// Sends each member a message; how many there are.
pub async fn send_all<T: Data>(group: &str, mut message: impl FnMut() -> T) -> usize {
    let members = members(group).await;
    for member in &members {
        send(*member, message());
    }
    members.len()
}

/// Sends one member a message, another one each time as far as `turn` is; whom, if there is any.
pub async fn send_one<T: Data>(group: &str, turn: usize, message: T) -> Option<Pid> {
    let members = members(group).await;
    let chosen = *members.get(turn % members.len().max(1))?;
    send(chosen, message);
    Some(chosen)
}
