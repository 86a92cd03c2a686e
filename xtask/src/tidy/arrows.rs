//! The dependency arrows of `DESIGN`, section 4, checked against what cargo says.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell::Shell;

/// A crate, the workspace's crates that it may depend on, and what it must never reach, however indirectly.
struct Rule {
    package: &'static str,
    may_use: &'static [&'static str],
    never: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule { package: "neurath-proto", may_use: &[], never: &["tokio", "wasmtime", "redb", "getrandom"] },
    Rule { package: "neurath-macros", may_use: &["neurath-proto"], never: &["tokio", "wasmtime"] },
    Rule {
        package: "neurath",
        may_use: &["neurath-proto", "neurath-macros"],
        never: &["tokio", "wasmtime", "redb", "axum"],
    },
    Rule {
        package: "neurath-kernel",
        may_use: &["neurath-proto"],
        never: &["tokio", "wasmtime", "redb", "axum", "getrandom"],
    },
    Rule { package: "neurath-engine", may_use: &["neurath-proto"], never: &["tokio", "redb", "axum"] },
    Rule { package: "neurath-code", may_use: &["neurath-proto"], never: &["tokio", "wasmtime", "axum"] },
    Rule { package: "neurath-net", may_use: &["neurath-proto"], never: &["wasmtime", "redb", "axum"] },
    Rule { package: "neurath-gears", may_use: &["neurath"], never: &["tokio", "wasmtime", "redb", "axum"] },
    Rule {
        package: "neurath-node",
        may_use: &["neurath-proto", "neurath-kernel", "neurath-engine", "neurath-code", "neurath-net", "neurath-gears"],
        never: &["clap", "indicatif", "miette"],
    },
    Rule {
        package: "neurath-sim",
        may_use: &["neurath-proto", "neurath-kernel", "neurath-engine"],
        never: &["tokio", "axum", "redb", "getrandom"],
    },
    Rule { package: "neurath-cli", may_use: &["neurath-node", "neurath-code", "neurath-proto"], never: &[] },
    Rule {
        package: "neurath-fuzz",
        may_use: &["neurath-proto", "neurath-kernel"],
        never: &["tokio", "wasmtime", "axum", "redb"],
    },
    Rule { package: "neurath-bench", may_use: &["neurath-node", "neurath-code", "neurath-proto"], never: &[] },
    Rule { package: "xtask", may_use: &["neurath-code"], never: &["tokio", "wasmtime"] },
];

pub(super) fn check(shell: &Shell) -> Result<Vec<String>> {
    let output = shell
        .cargo("metadata --format-version=1 --all-features --filter-platform x86_64-unknown-linux-gnu")
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed ({})", output.status);
    }
    Ok(judge(&Graph::new(&serde_json::from_slice(&output.stdout)?)))
}

/// Who depends on whom; what only tests and build scripts need is left out.
#[derive(Default)]
struct Graph {
    members: BTreeSet<String>,
    uses: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn new(metadata: &Value) -> Self {
        let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let names: BTreeMap<String, String> =
            list(&metadata["packages"]).iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let name = |id: &Value| names.get(&text(id)).cloned().unwrap_or_default();
        let mut graph =
            Self { members: list(&metadata["workspace_members"]).iter().map(&name).collect(), ..Self::default() };
        for node in list(&metadata["resolve"]["nodes"]) {
            let compiled = list(&node["deps"])
                .into_iter()
                .filter(|dependency| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()))
                .map(|dependency| name(&dependency["pkg"]));
            graph.uses.entry(name(&node["id"])).or_default().extend(compiled);
        }
        graph
    }

    fn of(&self, package: &str) -> impl Iterator<Item = &str> {
        self.uses.get(package).into_iter().flatten().map(String::as_str)
    }

    /// The way from one package to another, both included.
    fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut ways = vec![vec![from.to_owned()]];
        let mut seen = BTreeSet::from([from.to_owned()]);
        while !ways.is_empty() {
            let mut next = Vec::new();
            for way in ways {
                for package in self.of(way.last().map_or("", String::as_str)) {
                    if seen.insert(package.to_owned()) {
                        let mut longer = way.clone();
                        longer.push(package.to_owned());
                        if package == to {
                            return Some(longer);
                        }
                        next.push(longer);
                    }
                }
            }
            ways = next;
        }
        None
    }
}

fn judge(graph: &Graph) -> Vec<String> {
    let mut findings = Vec::new();
    for member in &graph.members {
        let Some(rule) = RULES.iter().find(|rule| rule.package == member) else {
            findings.push(format!(
                "crate {member} has no rule: add it to DESIGN, section 4, and to xtask/src/tidy/arrows.rs"
            ));
            continue;
        };
        for other in graph.of(member).filter(|other| graph.members.contains(*other)) {
            if !rule.may_use.contains(&other) {
                findings.push(format!(
                    "{member} depends on {other}: it may depend on {} (DESIGN, section 4)",
                    if rule.may_use.is_empty() {
                        "no crate of the workspace".to_owned()
                    } else {
                        rule.may_use.join(", ")
                    }
                ));
            }
        }
        for never in rule.never {
            if let Some(way) = graph.way(member, never) {
                findings.push(format!("{member} must never know {never} (DESIGN, section 4), but {}", way.join(" → ")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(members: &[&str], arrows: &[(&str, &str)]) -> Graph {
        let mut graph = Graph { members: members.iter().map(ToString::to_string).collect(), ..Graph::default() };
        for (from, to) in arrows {
            graph.uses.entry(from.to_string()).or_default().insert(to.to_string());
        }
        graph
    }

    #[test]
    fn allowed_arrows_pass() {
        let graph = graph(
            &["neurath-proto", "neurath-kernel"],
            &[("neurath-kernel", "neurath-proto"), ("neurath-kernel", "hashbrown"), ("neurath-proto", "serde")],
        );
        assert_eq!(judge(&graph), [""; 0]);
    }

    #[test]
    fn a_forbidden_arrow_names_the_rule_and_the_way() {
        let graph = graph(
            &["neurath-proto", "neurath-kernel", "neurath-engine"],
            &[("neurath-kernel", "neurath-engine"), ("neurath-engine", "helper"), ("helper", "wasmtime")],
        );
        assert_eq!(
            judge(&graph),
            [
                "neurath-kernel depends on neurath-engine: it may depend on neurath-proto (DESIGN, section 4)",
                "neurath-kernel must never know wasmtime (DESIGN, section 4), \
                 but neurath-kernel → neurath-engine → helper → wasmtime",
            ]
        );
    }

    #[test]
    fn what_only_tests_need_is_no_arrow() {
        let metadata = serde_json::json!({
            "packages": [{"id": "1", "name": "neurath-macros"}, {"id": "2", "name": "neurath"}],
            "workspace_members": ["1"],
            "resolve": {"nodes": [{"id": "1", "deps": [{"pkg": "2", "dep_kinds": [{"kind": "dev"}]}]}]},
        });
        assert_eq!(judge(&Graph::new(&metadata)), [""; 0]);
    }

    #[test]
    fn a_crate_without_a_rule_is_found() {
        assert!(judge(&graph(&["neurath-new"], &[]))[0].contains("add it to DESIGN"));
    }
}
