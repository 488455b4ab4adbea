//! `completions` and `man`.

use std::process::{Command, Stdio};

use crate::cli::{COMMANDS, pool_cli, run};

#[test]
fn each_shell_gets_completions_of_all_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&mut pool_cli(["completions", shell])).expect_code(0);
        for command in COMMANDS {
            assert!(script.text().contains(command), "{command} for {shell}");
        }
    }
    run(&mut pool_cli(["completions", "abacus"])).expect_code(2);
}

#[test]
fn bash_takes_its_completions() {
    let script = "source <(\"$0\" completions bash) && complete -p pool-cli";
    let mut command = Command::new("bash");
    command.args(["-c", script, env!("CARGO_BIN_EXE_pool-cli")]).stdout(Stdio::piped()).stderr(Stdio::piped());
    assert!(run(&mut command).expect_code(0).text().contains("-F _pool"));
}

#[test]
fn the_manual_page_has_all_commands_and_their_options() {
    let page = run(&mut pool_cli(["man"])).expect_code(0);
    assert!(page.text().starts_with(".ie"), "{}", page.text());
    for command in COMMANDS {
        assert!(page.text().contains(&format!(".SH \"POOL\\-CLI {}\"", command.to_uppercase())), "{command}");
    }
    for option in ["\\-\\-workers", "\\-\\-timeout", "\\-\\-size"] {
        assert!(page.text().contains(option), "{option}");
    }
}
