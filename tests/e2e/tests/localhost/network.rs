//! A network of a test's own.

use std::process::Command;

/// Runs `test`, which is all of the test `name`, in a network namespace of its own: this program
/// starts itself there once more.
pub fn in_own_network(name: &str, test: impl FnOnce()) {
    const INSIDE: &str = "CGSANDBOX_TEST_IN_OWN_NETWORK";
    if std::env::var_os(INSIDE).is_some() {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success());
        return test();
    }
    let mut again = Command::new("unshare");
    again.args(["--net", "--"]).arg(std::env::current_exe().unwrap());
    let output = again.args(["--exact", name, "--nocapture"]).env(INSIDE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{errors}");
}
