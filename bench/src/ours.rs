//! Our side of each task: a node in this process, used as any embedder would.
//!
//! Programs measure with their own clock and answer with what they found, so that asking them from outside adds
//! nothing. What is printed are samples: a key, a blank, a number.

mod remote;
mod save;
mod upgrade;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bench::kernels;
use neurath_node::{InstallOptions, Node, NodeConfig};
use serde_json::{Value, json};

use crate::tasks::Task;

pub use remote::{Other, be};

/// The benchmark's program; only its servers have a second version.
const OLD: &str = "bench@1.0.0";

/// The longest that a program may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Takes `repeats` samples of a task.
pub fn run(task: &str, size: u64, repeats: u32, data: Option<PathBuf>, perf_map: bool) -> Result<()> {
    let thrown_away = tempfile::Builder::new().prefix("neurath-bench-").tempdir()?;
    let data = data.unwrap_or_else(|| thrown_away.path().to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if let Some(task) = Task::named(task).filter(|task| !task.others().is_empty()) {
            return remote::run(&data, task, size, repeats, perf_map).await;
        }
        let ours = Ours::start(&data, perf_map).await?;
        let done = ours.measure(task, size, repeats).await;
        ours.node.stop();
        done
    })
}

fn print(key: &str, value: f64) {
    println!("{key} {value}");
}

/// A node on which the benchmark's programs are installed.
struct Ours {
    node: Node,
    data: PathBuf,
}

impl Ours {
    async fn start(data: &Path, perf_map: bool) -> Result<Self> {
        Self::start_with(NodeConfig { perf_map, ..NodeConfig::new(data.join("node")) }, data).await
    }

    async fn start_with(config: NodeConfig, data: &Path) -> Result<Self> {
        let node = Node::start(config)?;
        for program in ["bench", "bench-v2"] {
            let path = guests().join(program).with_extension("wasm");
            let wasm = std::fs::read(&path)
                .with_context(|| format!("there is no {}: `cargo xtask bench` builds it", path.display()))?;
            node.install(wasm, InstallOptions::default()).await.with_context(|| path.display().to_string())?;
        }
        Ok(Self { node, data: data.to_owned() })
    }

    async fn measure(&self, task: &str, size: u64, repeats: u32) -> Result<()> {
        for _ in 0..repeats {
            match task {
                "round_trip" => self.rate(json!({ "RoundTrips": { "count": size, "payload": 0 } })).await?,
                "round_trip_1KiB" => self.rate(json!({ "RoundTrips": { "count": size, "payload": 1024 } })).await?,
                "one_way" => self.rate(one_way(1, size, 1000, 0)).await?,
                "one_way_1KiB" => self.rate(one_way(1, size, 1000, 1024)).await?,
                "one_way_unbounded" => self.rate(one_way(1, size, 0, 0)).await?,
                "ten_senders" => self.rate(one_way(10, size, 1000, 0)).await?,
                "ten_senders_unbounded" => self.rate(one_way(10, size, 0, 0)).await?,
                "ring" => self.rate(json!({ "Ring": { "size": 1000, "laps": size / 1000 } })).await?,
                "spawn_exit" => self.each(json!({ "SpawnExit": { "count": size } })).await?,
                "spawn_exit_batch" => self.each(json!({ "SpawnExitBatch": { "count": size, "batch": 1000 } })).await?,
                "idle" => self.idle(size).await?,
                "fib" => self.compute(json!({ "Fib": { "n": size } }), || kernels::fib(black_box(size)) as f64).await?,
                "nbody" => {
                    self.compute(json!({ "Nbody": { "steps": size } }), || kernels::nbody(black_box(size))).await?
                }
                "sha256" => {
                    let data = vec![b'a'; size as usize];
                    self.compute(json!({ "Sha256": { "len": size } }), || {
                        f64::from(kernels::sha256(black_box(&data))[0])
                    })
                    .await?;
                }
                "upgrade_1" | "upgrade_1000" | "upgrade_10000" => self.upgrade(size).await?,
                "save" => return self.save(repeats).await,
                _ => bail!("there is no task `{task}`"),
            }
        }
        match task {
            "round_trip" => self.latency(size / 4, 0).await,
            "round_trip_1KiB" => self.latency(size / 4, 1024).await,
            _ => Ok(()),
        }
    }

    /// Starts an entry of the benchmark's program, in its first version.
    async fn spawn(&self, entry: &str, arguments: Value) -> Result<String> {
        let pid = self.node.spawn(OLD, Some(entry), &arguments).await;
        Ok(pid.with_context(|| format!("{entry}{arguments}"))?.to_string())
    }

    async fn call(&self, pid: &str, message: &Value) -> Result<Value> {
        self.node.call(pid, message, PATIENCE).await.with_context(|| format!("asked {message}"))
    }

    /// Has one job done.
    async fn job(&self, job: &Value) -> Result<Value> {
        let pid = self.spawn("bench", json!([])).await?;
        self.call(&pid, job).await
    }

    /// How many, and nanoseconds.
    async fn measured(&self, job: Value) -> Result<(f64, f64)> {
        let measured = self.job(&job).await?;
        Ok((number(&measured, "count")?, number(&measured, "nanos")?))
    }

    async fn rate(&self, job: Value) -> Result<()> {
        let (count, nanos) = self.measured(job).await?;
        print("value", count / nanos * 1e9);
        Ok(())
    }

    async fn each(&self, job: Value) -> Result<()> {
        let (count, nanos) = self.measured(job).await?;
        print("value", nanos / count / 1e3);
        Ok(())
    }

    async fn latency(&self, count: u64, payload: u32) -> Result<()> {
        let latency = self.job(&json!({ "RoundTripLatency": { "count": count, "payload": payload } })).await?;
        print_latency(&latency)
    }

    async fn idle(&self, count: u64) -> Result<()> {
        let before = (resident_bytes()?, mappings()?);
        self.measured(json!({ "Idlers": { "count": count } })).await?;
        // As long as it takes until those that only wait hibernate.
        tokio::time::sleep(Duration::from_secs(5)).await;
        print("value", (resident_bytes()? - before.0) / count as f64);
        print("mappings", mappings()? - before.1);
        let live = self.node.processes().await.len() as u64;
        if live < count {
            bail!("of {count} processes only {live} live");
        }
        Ok(())
    }

    /// A computation as a guest does it, and then the same natively.
    async fn compute(&self, job: Value, native: impl Fn() -> f64) -> Result<()> {
        let answer = self.job(&job).await?;
        let since = Instant::now();
        let result = black_box(native());
        let nanos = since.elapsed().as_nanos() as f64;
        if answer[1].as_f64() != Some(result) {
            bail!("{job}: the guest finds {}, native code {result}", answer[1]);
        }
        print("value", answer[0].as_f64().context("no time")? / 1e6);
        print("native", nanos / 1e6);
        print("result", result);
        Ok(())
    }
}

fn one_way(senders: u32, count: u64, window: u32, payload: u32) -> Value {
    json!({ "OneWay": { "senders": senders, "count": count, "window": window, "payload": payload } })
}

/// Where `cargo xtask` puts the programs' modules.
fn guests() -> PathBuf {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests");
    std::env::var_os("NEURATH_GUESTS").map_or_else(usual, PathBuf::from)
}

fn number(value: &Value, field: &str) -> Result<f64> {
    value[field].as_f64().with_context(|| format!("no number `{field}` in {value}"))
}

fn print_latency(latency: &Value) -> Result<()> {
    for quantile in ["p50", "p99", "max"] {
        print(&format!("{quantile}_us"), number(latency, &format!("{quantile}_ns"))? / 1e3);
    }
    Ok(())
}

fn resident_bytes() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
    Ok(kib.parse::<f64>()? * 1024.0)
}

fn mappings() -> Result<f64> {
    Ok(std::fs::read_to_string("/proc/self/maps")?.lines().count() as f64)
}
