//! `neurath completions`: what a shell needs to complete commands.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output::print;

/// Print completions for a shell
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  neurath completions bash > ~/.local/share/bash-completion/completions/neurath\n  \
                  neurath completions zsh > ~/.zfunc/_neurath"
)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(Arguments { shell }: Arguments) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut crate::arguments::Arguments::command(), "neurath", &mut text);
    print(String::from_utf8_lossy(&text).trim_end());
    Ok(())
}
