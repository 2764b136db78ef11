//! The completions that are kept are those of the command as it is.
#![allow(clippy::unwrap_used)]

use cgsandbox_papers::{completions, repository};

#[test]
fn completions_are_those_of_the_command() {
    for (name, shell) in completions::FILES {
        let kept = repository::read(format!("{}/{name}", completions::DIRECTORY));
        assert!(
            kept == completions::of(shell),
            "{name} is of another command: cargo run -p cgsandbox-papers --bin completions"
        );
    }
}

#[test]
fn fish_and_zsh_complete_users() {
    let fish = completions::of(clap_complete::Shell::Fish);
    let zsh = completions::of(clap_complete::Shell::Zsh);
    for command in ["explain", "status", "address", "doctor", "apply"] {
        let line = format!("using_subcommand {command}\" -f -a \"(__fish_complete_users)\"");
        assert!(fish.contains(&line), "{command}");
        let part = zsh.split(&format!("({command})\n")).nth(1).unwrap();
        assert!(part.split(";;").next().unwrap().contains(":_users'"), "{command}");
    }
}

/// In a bash as users have it, without the library of completions.
#[test]
fn bash_completes_commands_and_options() {
    let file = repository::path(completions::DIRECTORY).join("cgsandbox.bash");
    let complete = |line: &str| {
        let script = format!(
            "source {}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _cgsandbox cgsandbox \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\"",
            file.display()
        );
        let bash = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        String::from_utf8(bash.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("cgsandbox exp"), "explain");
    assert_eq!(complete("cgsandbox explain --ser"), "--service");
    assert_eq!(complete("cgsandbox status --js"), "--json");
    for command in ["explain", "status", "address", "doctor", "apply"] {
        let users = complete(&format!("cgsandbox {command} roo"));
        assert!(users.split(' ').any(|user| user == "root"), "{command}: {users}");
        let users = complete(&format!("cgsandbox {command} --json roo"));
        assert!(users.split(' ').any(|user| user == "root"), "{command} --json: {users}");
    }
    assert_eq!(complete("cgsandbox gc roo"), "");
}
