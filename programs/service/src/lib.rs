//! A service in the manner of Termite Scheme: it is published under a name on one node, found from another, and pinged
//! there. Whoever found it is told when it or its node dies, and finds it again when it is published anew elsewhere.

use neurath::prelude::*;

/// What the service takes; it answers with its pid.
#[derive(Message)]
pub struct Ping(pub ReplyTo<Pid>);

/// The service: answers pings.
#[neurath::process(accepts(Ping))]
pub async fn service() {
    loop {
        let Ping(reply) = recv().await;
        reply.send(self_pid());
    }
}

/// Starts the service on the node that people call so, and publishes it there.
#[neurath::function]
pub async fn publish(on: String, name: String) -> Result<Pid, String> {
    let node = node(&on).await.ok_or_else(|| format!("no node `{on}` is connected"))?;
    let service = service::spawn_on(node).await.map_err(|error| error.to_string())?;
    match register_on(node, &name, service).await {
        Ok(()) => Ok(service),
        Err(error) => {
            kill(service);
            Err(format!("`{name}` is not published on {on}: {error}"))
        }
    }
}

/// The service of this name, on whichever node it is.
pub async fn find(name: &str) -> Option<Pid> {
    for other in nodes().await {
        // A node that does not answer has no services.
        if let Ok(Some(service)) = whereis_on(other.node, name).await {
            return Some(service);
        }
    }
    None
}

/// What a finder is asked.
#[derive(Message)]
pub enum Wish {
    /// Ping the service, wherever it is; who answered, or why nobody did.
    Ping(ReplyTo<Result<Pid, String>>),
}

/// Finds the service of this name and pings it for others. When it is told that the service is gone, it looks for it anew.
#[neurath::process(accepts(Wish, Down))]
pub async fn finder(name: String) {
    let mut found = None;
    loop {
        receive! {
            wish: Wish => {
                let Wish::Ping(reply) = wish;
                if found.is_none() {
                    found = find(&name).await;
                    found.map(monitor);
                }
                reply.send(match found {
                    Some(service) => ask(service, Ping).await.map_err(|error| error.to_string()),
                    None => Err(format!("nobody serves as `{name}`")),
                });
            },
            down: Down => {
                warn!("`{name}`, {}, is gone: {}", down.pid, down.reason);
                found = None;
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ping(finder: Pid) -> Result<Pid, String> {
        ask(finder, Wish::Ping).await.unwrap()
    }

    #[test]
    fn a_finder_goes_on_with_the_service_that_is_published_anew() {
        neurath::testing::run(async {
            let finder = finder::spawn("pong".into());
            for _ in 0..3 {
                assert_eq!(ping(finder).await, Err("nobody serves as `pong`".into()));
                let service = service::spawn();
                register("pong", service).await.unwrap();
                for _ in 0..2 {
                    assert_eq!(ping(finder).await, Ok(service));
                }
                kill(service);
            }
        });
    }
}
