//! `make bench`: what a login costs with pam_cgsandbox, beside the modules that do some of
//! the same, and how it stands against the figures that are promised.
//!
//! Everything happens on a host that exists for these minutes only. Exits with 0 whatever
//! the figures are; what could not be measured ends it with a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod caller;
mod localhost;
mod measure;
mod pam;
mod report;
mod stack;
mod statistics;

use std::fmt::Write as _;

use cgsandbox_rig::Host;

use measure::{Bench, Size};
use report::Findings;
use stack::{ALICE, BOB, CAROL, DAVE};

/// Their uids begin here: nobody else's are that high.
const FIRST_UID: usize = 4_000_000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["caller", ref words @ ..] => caller::serve(words),
        ["localhost", kind] => localhost::work(kind),
        [opens, held] => {
            let number = |word: &str| word.parse().expect("a number");
            bench(Size { opens: number(opens), held: number(held) });
        }
        _ => panic!("usage: cgsandbox-bench OPENS HELD"),
    }
}

fn bench(size: Size) {
    let start = std::time::Instant::now();
    // A login that the machine keeps waiting is to be seen as a slow one, not as a refused one.
    let users = [ALICE, BOB, CAROL, DAVE];
    let builder = users.into_iter().fold(Host::build(), |builder, user| builder.user(user));
    let host = builder.module_arguments("timeout=10s").start();
    stack::furnish(&host);
    install_shipped_policy(&host);
    describe(&host, size);
    let mut bench = Bench::on(&host);
    let residents = bench.hold_bob();
    bench.hold_dave();
    let rows = bench.compare(size.opens);
    let crowd = bench.crowd(size.opens, &add_users(&host, size.held));
    // With the policy of all of these in the programs' maps.
    let localhost = localhost::compare(&host, DAVE, BOB);
    let module_bytes = host.sh("stat -Lc %s $(find /usr/lib* -name pam_cgsandbox.so)");
    let module_bytes = module_bytes.parse().expect("one module is installed");
    Findings { rows, localhost, crowd, held: size.held, residents, module_bytes }.print();
    println!("\n{:.0} seconds in all", start.elapsed().as_secs_f64());
}

/// What an administrator has who installs the package and changes nothing.
fn install_shipped_policy(host: &Host) {
    let shipped = include_str!("../../../config/cgsandbox.toml");
    let (default, own) =
        ("#cgroup_root = \"/cgsandbox\"", format!("cgroup_root = {:?}", host.cgroup_root()));
    assert!(shipped.contains(default), "the shipped configuration names another cgroup root");
    host.write("/etc/cgsandbox/cgsandbox.toml", shipped.replace(default, &own));
    let private = format!(
        "[profile.private]\ninherits = \"default\"\nloopback = \"private\"\n\
         [[rule]]\nmatch = [\"{CAROL}\", \"{DAVE}\", \"held*\"]\nprofile = \"private\"\n"
    );
    host.write("/etc/cgsandbox/cgsandbox.toml.d/private.toml", private);
}

/// Accounts that nobody else uses, after the others: those are found as fast as before.
fn add_users(host: &Host, count: usize) -> Vec<String> {
    let mut passwd = host.read("/etc/passwd").expect("the host has users");
    let names: Vec<String> = (0..count).map(|number| format!("held{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let uid = FIRST_UID + number;
        let _ = writeln!(passwd, "{name}:x:{uid}:65534::/nonexistent:/bin/sh");
    }
    host.write("/etc/passwd", passwd);
    names
}

fn describe(host: &Host, size: Size) {
    let name = host.sh(". /etc/os-release; echo \"$PRETTY_NAME\"");
    let kernel = host.sh("uname -r");
    let cpus = host.sh("nproc");
    let unified = host.hierarchies().0.iter().filter(|one| one.unified).count();
    let cgroups = match (unified, host.hierarchies().0.len()) {
        (0, _) => "v1",
        (one, all) if one == all => "v2",
        _ => "v1 and v2",
    };
    println!("{name}, Linux {kernel}, {cpus} CPUs, cgroups {cgroups}");
    println!(
        "{} logins for each number; load before {}",
        size.opens,
        host.sh("cut -d' ' -f1 /proc/loadavg"),
    );
    println!("RLIMIT_NOFILE 1024:{}\n", host.sh("ulimit -Hn"));
}
