//! What the figures were measured on.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

pub fn describe(pinned: Option<u32>) -> Value {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let load: Option<f64> = read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok());
    json!({
        "cpu": cpu.unwrap_or("unknown"),
        "cores": cpus.lines().filter(|line| line.starts_with("processor")).count(),
        "pinned_to_core": pinned,
        "os": format!("{} {}", std::env::consts::OS, read("/proc/sys/kernel/osrelease").trim()),
        "load_at_start": load,
        "erlang": erlang(),
        "neurath": env!("CARGO_PKG_VERSION"),
    })
}

fn erlang() -> String {
    let ask = "io:format(\"OTP ~s, erts ~s, ~s\", [erlang:system_info(K) || K <- [otp_release, version, emu_flavor]]), halt().";
    let answer = Command::new("erl").args(["-noshell", "-eval", ask]).output();
    answer.map_or_else(|_| "unknown".into(), |answer| String::from_utf8_lossy(&answer.stdout).into_owned())
}
