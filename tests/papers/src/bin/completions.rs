//! `cargo run -p cgsandbox-papers --bin completions`: writes the completions anew.

use cgsandbox_papers::{completions, repository};

fn main() -> std::io::Result<()> {
    for (name, shell) in completions::FILES {
        let path = repository::path(completions::DIRECTORY).join(name);
        std::fs::write(&path, completions::of(shell))?;
        println!("{}", path.display());
    }
    Ok(())
}
