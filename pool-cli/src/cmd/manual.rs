//! `completions` and `man`: the command line, for shells and for `man`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::ending::{Failure, Verdict, print};
use crate::args::Args;

pub(super) fn completions(shell: Shell) -> Result<Verdict, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "pool-cli", &mut text);
    print(&text)
}

/// One page with all commands: a page for each would need a directory.
pub(super) fn man() -> Result<Verdict, Failure> {
    let mut command = Args::command();
    command.build();
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let page = clap_mangen::Man::new(subcommand.clone());
        let title = format!(".SH \"POOL\\-CLI {}\"\n", subcommand.get_name().to_uppercase());
        text.extend(title.as_bytes());
        page.render_synopsis_section(&mut text)?;
        page.render_description_section(&mut text)?;
        page.render_options_section(&mut text)?;
    }
    print(&text)
}
