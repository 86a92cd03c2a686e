//! Several nodes of the peer: who finds them, how they are started, and the certificate that they show each other.
//!
//! Invariant: whatever it started ends with it, and listens on this machine only.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long its name server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
pub struct Beams {
    dir: PathBuf,
    tls: Option<PathBuf>,
    port: u16,
    /// The name server first.
    children: Vec<Child>,
}

impl Drop for Beams {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Beams {
    /// A name server of their own, at a port of its own; with TLS, a certificate too.
    pub fn new(dir: &Path, tls: bool) -> Result<Self> {
        let tls = if tls { Some(write_certificate(dir)?) } else { None };
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut epmd = Command::new("epmd");
        epmd.args(["-address", "127.0.0.1", "-port", &port.to_string()]).stdin(Stdio::null());
        // It complains of whoever asks only whether it is there.
        let child = epmd.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("cannot run `epmd`")?;
        let beams = Self { dir: dir.to_owned(), tls, port, children: vec![child] };
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if begun.elapsed() > PATIENCE {
                bail!("`epmd` does not listen on port {port}");
            }
            std::thread::yield_now();
        }
        Ok(beams)
    }

    /// Makes a command start a node of this name.
    pub fn configure(&self, name: &str, erlang: &mut Command) {
        erlang.env("ERL_EPMD_PORT", self.port.to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        erlang.args(["-start_epmd", "false", "-name", &format!("{name}@127.0.0.1"), "-setcookie", "bench"]);
        erlang.args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-connect_all", "false"]);
        if let Some(options) = &self.tls {
            erlang.args(["-proto_dist", "inet_tls", "-ssl_dist_optfile"]).arg(options);
        }
    }

    /// Starts another node.
    pub fn start(&mut self, name: &str, mut erlang: Command) -> Result<()> {
        self.configure(name, &mut erlang);
        erlang.args(["-noshell", "-noinput"]).current_dir(&self.dir).env("ERL_CRASH_DUMP", "/dev/null");
        erlang.stdin(Stdio::null()).stdout(Stdio::null());
        self.children.push(erlang.spawn().context("cannot run `erl`")?);
        Ok(())
    }
}

/// A certificate that vouches for itself, and the options that name it. It is not verified: its handshakes are over
/// before the clock starts, and what is measured, the bytes after it, is encrypted all the same.
fn write_certificate(dir: &Path) -> Result<PathBuf> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (certificate, key, options) = (dir.join("node.pem"), dir.join("node.key"), dir.join("tls.options"));
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    let server = format!("{{certfile, {certificate:?}}}, {{keyfile, {key:?}}}, {{verify, verify_none}}");
    std::fs::write(&options, format!("[{{server, [{server}]}}, {{client, [{{verify, verify_none}}]}}].\n"))?;
    Ok(options)
}
