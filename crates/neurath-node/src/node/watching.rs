//! Looking at a running node: what its shards do, and what happens to processes.

use std::sync::atomic::Ordering;

use neurath_kernel::trace::WatchId;
use neurath_proto::envelope::SchemaId;

use super::*;
use crate::meter::ShardLoad;
use crate::metrics;
use crate::trace::{Trace, TraceOptions};

impl Node {
    /// What each shard does and holds. It takes a look at every process.
    pub async fn shard_loads(&self) -> Vec<ShardLoad> {
        self.gather(Command::Load).await
    }

    /// Counts and gauges in the text format of OpenMetrics.
    pub async fn metrics(&self) -> String {
        metrics::text(self, &self.shard_loads().await, &self.standings().await)
    }

    /// Module versions in memory.
    pub fn modules_loaded(&self) -> usize {
        self.0.shared.catalog.list().len()
    }

    /// Follows what happens to processes, from when this is ready.
    ///
    /// # Errors
    /// As many traces run as may, or the node stops.
    pub async fn trace(&self, options: TraceOptions) -> Result<Trace, NodeError> {
        let id = WatchId(self.0.last_trace.fetch_add(1, Ordering::Relaxed));
        let shared = self.0.shared.clone();
        let limit = shared.config.traces;
        let (trace, filter, tracer) = Trace::new(id, shared, options).ok_or(NodeError::TooManyTraces { limit })?;
        let begun: Vec<_> = (0..self.0.shared.inboxes.len())
            .map(|shard| {
                let (begun, answer) = oneshot::channel();
                self.command(shard, Command::Trace { id, filter: filter.clone(), tracer: tracer(), begun });
                answer
            })
            .collect();
        for answer in begun {
            answer.await.map_err(|_| NodeError::Stopping)?;
        }
        Ok(trace)
    }

    /// The name of a type that this node has numbered.
    pub fn type_name(&self, schema: SchemaId) -> String {
        neurath_kernel::Types::name(&*self.0.shared.catalog.surroundings().types, schema)
    }
}
