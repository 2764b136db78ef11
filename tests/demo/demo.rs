//! `make demo`: two users log in to a real sshd with the one line in its PAM stack, and do
//! what users do. Everything happens on a host that exists for these seconds only.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::IsTerminal;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use cgsandbox_rig::{Host, Session, eventually};

const POLICY: &str = r#"
[profile.default]
memory_max      = "96M"
memory_swap_max = "0"
tasks_max       = 40
cpu_quota       = "150%"
loopback        = "private"

[[rule]]
match   = "*"
profile = "default"
"#;

fn main() {
    let start = Instant::now();
    let host = Host::build()
        .user_with_uid("alice", 1001)
        .user_with_uid("bob", 1002)
        .policy(POLICY)
        .start();
    show_host(&host);
    let mut alice = host.spawn_session("alice");
    let mut bob = host.spawn_session("bob");
    show_landing(&host, &alice, &bob);
    show_processes(&host, &mut alice, &mut bob);
    show_localhost(&host, &mut alice, &mut bob);
    show_limits(&host);
    contain_fork_bomb(&host, &mut alice);
    contain_memory_bomb(&host, &mut bob);
    log_out(&host, alice, bob);
    show_log(&host);
    heading("Nothing is left");
    host.assert_nothing_left();
    println!("no process, cgroup, mount, namespace or record of either user");
    println!("\n{:.1} seconds in all", start.elapsed().as_secs_f64());
}

fn heading(text: &str) {
    match std::io::stdout().is_terminal() {
        true => println!("\n\x1b[1;36m{text}\x1b[0m"),
        false => println!("\n{text}\n{}", "-".repeat(text.chars().count())),
    }
}

fn indented(text: &str) {
    text.lines().filter(|line| !line.is_empty()).for_each(|line| println!("  {line}"));
}

fn show_host(host: &Host) {
    let name = host.sh(". /etc/os-release; echo \"$PRETTY_NAME\"");
    let kernel = host.sh("uname -r");
    let kinds: Vec<&str> =
        host.hierarchies().0.iter().map(|one| if one.unified { "v2" } else { "v1" }).collect();
    let cgroups = match (kinds.contains(&"v1"), kinds.contains(&"v2")) {
        (true, true) => "v1 and v2 (hybrid)",
        (true, false) => "v1",
        _ => "v2 (unified)",
    };
    println!("{name}, Linux {kernel}, cgroups {cgroups}");
    heading("The one line, last in /etc/pam.d/sshd");
    let stack = host.read("/etc/pam.d/sshd").expect("there is a PAM stack");
    let line = stack.lines().last().unwrap_or_default();
    let (control, module) = line.split_once("] ").unwrap_or((line, ""));
    println!("  {control}]\n      {module}");
    heading("The policy, /etc/cgsandbox/cgsandbox.toml");
    indented(&host.read("/etc/cgsandbox/cgsandbox.toml").expect("there is a policy"));
}

fn show_landing(host: &Host, alice: &Session<'_>, bob: &Session<'_>) {
    heading("Where each login landed: all of its connection, sshd's own part too");
    println!("  {:>5}  {:<8} {:<30} CGROUP", "PID", "OWNER", "PROCESS");
    for session in [alice, bob] {
        for process in session.processes() {
            let owner = match process.uid {
                0 => "root",
                1001 => "alice",
                _ => "bob",
            };
            let cgroup =
                process.cgroups.lines().find_map(|line| line.split(host.cgroup_root()).nth(1));
            let cgroup = cgroup.unwrap_or("(none)").trim_start_matches('/');
            let command: String = process.command.chars().take(29).collect();
            println!("  {:>5}  {owner:<8} {command:<30} {cgroup}", process.pid);
        }
    }
}

fn show_processes(host: &Host, alice: &mut Session<'_>, bob: &mut Session<'_>) {
    heading("What `ps -e` shows to each of them at the same time");
    alice.sh("sleep 600 & true");
    bob.sh("tail -f /dev/null & true");
    let listing = |session: &mut Session<'_>| -> Vec<String> {
        let all = session.sh("ps -e -o pid=,user=,args=");
        let others = all.lines().map(str::trim).filter(|line| !line.contains("ps -e"));
        others.map(|line| line.chars().take(34).collect()).collect()
    };
    let (left, right) = (listing(alice), listing(bob));
    println!("  {:<36}  bob", "alice");
    for row in 0..left.len().max(right.len()) {
        let cell = |column: &[String]| column.get(row).cloned().unwrap_or_default();
        println!("  {:<36}  {}", cell(&left), cell(&right));
    }
    println!("  (root sees {} processes on this host)", host.processes().len());
}

/// 8080, or another where somebody has that.
fn unused_port() -> u16 {
    let of = |listener: TcpListener| listener.local_addr().map(|address| address.port());
    let try_at = |port: u16| TcpListener::bind(("0.0.0.0", port)).and_then(of);
    try_at(8080).or_else(|_| try_at(0)).expect("no port is free")
}

fn show_localhost<'host>(host: &Host, alice: &mut Session<'host>, bob: &mut Session<'host>) {
    let port = unused_port();
    heading(&format!("Both serve 127.0.0.1:{port} at the same time"));
    if !host.log().iter().any(|line| line.contains("address=")) {
        return println!("  not on this host: it takes cgroup v2 and Linux 5.11");
    }
    let ask = |address: &str| {
        format!("(exec 3<>/dev/tcp/{address}/{port} && cat <&3) 2>&1 | sed 's/.*: //' | tail -n 1")
    };
    for (name, session) in [("alice", &mut *alice), ("bob", &mut *bob)] {
        session.sh(&format!(
            "perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(Listen => 9, ReuseAddr => 1,
             LocalAddr => \"127.0.0.1:{port}\") or die \"no socket: $!\"; exit if fork;
             close STDOUT; close STDERR;
             while (my $c = $s->accept) {{ print $c \"the page of {name}\\n\"; close $c }}'"
        ));
    }
    let addresses = host.as_root(["cgsandbox", "address", "bob"]).run().stdout;
    let bobs = addresses.lines().next().unwrap_or_default();
    let row = |who: &str, address: &str, said: &str| {
        println!("  {who:<6} asks {:<20} {said}", format!("{address}:{port}"));
    };
    row("alice", "127.0.0.1", &alice.sh(&ask("127.0.0.1")));
    row("bob", "127.0.0.1", &bob.sh(&ask("127.0.0.1")));
    row("alice", bobs, &alice.sh(&ask(bobs)));
    let proxy = host.as_root(["bash", "-c", &ask(bobs)]).run().stdout;
    row("root", bobs, &format!("{} (a reverse proxy, say)", proxy.trim()));
}

fn show_limits(host: &Host) {
    heading("Limits against use: cgsandbox status");
    indented(&host.as_root(["cgsandbox", "status"]).run().stdout);
}

/// How long another user's login takes meanwhile.
fn login_of(host: &Host, user: &str) -> Duration {
    let start = Instant::now();
    host.ssh(user).cmd("true").run().ok();
    start.elapsed()
}

fn contain_fork_bomb(host: &Host, alice: &mut Session<'_>) {
    heading("Alice sets off a fork bomb");
    let usual = login_of(host, "bob");
    let tasks = host.users_cgroup("alice", "pids").join("pids.current");
    let running =
        || -> u32 { host.read(&tasks).unwrap_or_default().trim().parse().unwrap_or_default() };
    alice.send("bomb() { bomb | bomb & }; bomb");
    eventually("the bomb is at its limit", 20.0, || running() >= 28);
    let tasks = running();
    let meanwhile = login_of(host, "bob");
    println!("  $ bomb() {{ bomb | bomb & }}; bomb");
    println!(
        "  it has {tasks} of the 30 tasks of one login; bob logs in and out in {meanwhile:.0?}"
    );
    println!("  (it took {usual:.0?} before)");
    let again = login_of(host, "alice");
    println!(
        "  alice may have 40 tasks in all: she can log in once more, in {again:.0?}, and end it"
    );
}

fn contain_memory_bomb(host: &Host, bob: &mut Session<'_>) {
    heading("Bob fills the memory");
    let said =
        bob.sh_within("head -c 2G /dev/zero | tail >/dev/null; echo \"exit status $?\"", 60.0);
    println!("  $ head -c 2G /dev/zero | tail");
    indented(&said.lines().last().unwrap_or_default().replace("137", "137: killed at 96M"));
    println!("  bob's shell is still there, and others log in: {:.0?}", login_of(host, "bob"));
}

fn log_out(host: &Host, alice: Session<'_>, bob: Session<'_>) {
    // A bomb does not end by itself: its owner's administrator ends it.
    drop((alice, bob));
    for user in ["alice", "bob"] {
        host.as_root(["sh", "-c", &format!("while pkill -KILL -u {user}; do sleep 0.05; done")])
            .run();
    }
    eventually("everybody is gone", 20.0, || host.connections().is_empty());
    host.as_root(["cgsandbox", "gc"]).run();
}

fn show_log(host: &Host) {
    heading("What syslog got, but for the logins in between");
    let log = host.log();
    let first_two =
        log.iter().filter_map(|line| line.split(' ').find(|word| word.starts_with("session=")));
    let held: Vec<&str> = first_two.take(2).collect();
    for line in log.iter().filter(|line| held.iter().any(|session| line.contains(session))) {
        let event = line.find("event=").map_or(line.as_str(), |at| &line[at..]);
        let mut column = 0;
        for word in event.split(' ') {
            if column > 0 && column + word.len() > 76 {
                print!("\n     ");
                column = 5;
            }
            print!("{}{word}", if column == 0 { "  " } else { " " });
            column += word.len() + 1;
        }
        println!();
    }
}
