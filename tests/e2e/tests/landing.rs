//! Whatever comes through a connection is inside the user's sandbox, sshd's own part too.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use cgsandbox_rig::{Host, Process, eventually};

fn host() -> Host {
    Host::build().user("alice").start()
}

/// Waits for a connection that PAM has let in, and for `command` in it.
fn wait_for(host: &Host, command: &str) {
    eventually(&format!("{command} runs"), 20.0, || runs(&host.connections(), command));
}

fn runs(processes: &[Process], command: &str) -> bool {
    processes.iter().any(|one| one.command.contains(command))
}

/// Everything of the connection is inside, `command` too. A process that has just called exec has
/// no command for a moment.
fn assert_inside(host: &Host, command: &str) {
    let is_inside = || runs(&host.assert_inside("alice"), command);
    eventually(&format!("{command} is inside"), 5.0, is_inside);
}

#[test]
fn a_command_lands_inside() {
    let host = host();
    let command = host.ssh("alice").cmd("exec tail -f /dev/null").start();
    wait_for(&host, "tail");
    assert_inside(&host, "tail");
    drop(command);
}

#[test]
fn a_shell_without_a_terminal_lands_inside() {
    let host = host();
    let _shell = host.ssh("alice").start();
    wait_for(&host, "-bash");
    assert_inside(&host, "-bash");
}

#[test]
fn a_shell_with_a_terminal_lands_inside() {
    let host = host();
    let mut shell = host.ssh("alice").tty().start();
    wait_for(&host, "-bash");
    shell.send(b"sleep 1000\n");
    wait_for(&host, "sleep 1000");
    let processes = host.assert_inside("alice");
    assert!(runs(&processes, "-bash") && runs(&processes, "@pts/"), "{processes:#?}");
}

#[test]
fn sftp_lands_inside() {
    let host = host();
    let mut sftp = host.as_root(["sftp", "-q", "-b", "-", "alice@sandbox"]).start();
    sftp.send(b"pwd\n");
    eventually("sftp answers", 20.0, || sftp.stdout().contains("Remote working directory"));
    assert_inside(&host, "sftp-server");
}

#[test]
fn sftp_and_scp_bring_back_what_they_took() {
    let host = host();
    host.sh("head -c 3000000 /dev/urandom >/root/sent");
    let batch = b"put /root/sent one\nget one /root/one\n";
    host.as_root(["sftp", "-q", "-b", "-", "alice@sandbox"]).stdin(batch).run().ok();
    host.sh("scp -q /root/sent alice@sandbox:two && scp -q alice@sandbox:two /root/two");
    host.sh(
        "scp -q -O /root/sent alice@sandbox:three && scp -q -O alice@sandbox:three /root/three",
    );
    host.sh("cd /root && cmp sent one && cmp sent two && cmp sent three");
}

#[test]
fn rsync_brings_back_what_it_took() {
    let host = host();
    host.sh("mkdir /root/sent && head -c 3000000 /dev/urandom >/root/sent/file");
    let said = host.sh("rsync -a /root/sent/ alice@sandbox:tree/ 2>&1");
    assert_eq!(said, "");
    host.sh("rsync -a alice@sandbox:tree/ /root/back/ && diff -r /root/sent /root/back");
}

#[test]
fn a_login_adds_no_byte_to_the_streams() {
    let host = host();
    let output = host.ssh("alice").cmd("cat; echo err >&2").stdin(b"\0in\xff").run();
    assert_eq!((output.bytes.as_slice(), output.stderr.as_str()), (&b"\0in\xff"[..], "err\n"));
}

#[test]
fn a_connection_without_a_command_lands_inside() {
    let host = host();
    let _client = host.ssh("alice").option("-N").start();
    host.wait_log(&["event=session_open"]);
    // It says so before it ends.
    let helper_is_gone = || !runs(&host.connections(), "cgsandbox-helper");
    eventually("the helper has ended", 5.0, helper_is_gone);
    host.assert_inside("alice");
}

/// A server that returns what it gets, once. Its port.
fn echo_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
    });
    port
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn connect(port: u16) -> TcpStream {
    let mut stream = None;
    eventually("the forwarded port answers", 20.0, || {
        stream = TcpStream::connect(("127.0.0.1", port)).ok();
        stream.is_some()
    });
    stream.unwrap()
}

fn assert_echoes(stream: &mut TcpStream) {
    stream.write_all(b"ping").unwrap();
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"ping");
}

#[test]
fn a_local_forwarding_works_and_is_inside() {
    let host = host();
    let (here, there) = (free_port(), echo_server());
    let forward = format!("-L{here}:127.0.0.1:{there}");
    let _client = host.ssh("alice").option("-N").option(&forward).start();
    assert_echoes(&mut connect(here));
    host.assert_inside("alice");
}

#[test]
fn a_remote_forwarding_works_and_is_inside() {
    let host = host();
    let (here, there) = (echo_server(), free_port());
    let forward = format!("-R{there}:127.0.0.1:{here}");
    let _client = host.ssh("alice").option("-N").option(&forward).start();
    assert_echoes(&mut connect(there));
    host.assert_inside("alice");
}

#[test]
fn a_dynamic_forwarding_works_and_is_inside() {
    let host = host();
    let (socks, there) = (free_port(), echo_server());
    let _client = host.ssh("alice").option("-N").option(&format!("-D{socks}")).start();
    let mut stream = connect(socks);
    // SOCKS5 (RFC 1928): no authentication, then CONNECT to an IPv4 address.
    stream.write_all(&[5, 1, 0]).unwrap();
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).unwrap();
    let [high, low] = there.to_be_bytes();
    stream.write_all(&[5, 1, 0, 1, 127, 0, 0, 1, high, low]).unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).unwrap();
    assert_echoes(&mut stream);
    host.assert_inside("alice");
}

#[test]
fn every_channel_of_a_shared_connection_is_inside() {
    const CHANNELS: usize = 20;
    let host = host();
    let control = "/root/control";
    let _master = host.ssh("alice").option("-NM").option(&format!("-S{control}")).start();
    eventually("the control socket is there", 20.0, || host.exists(control));
    let channel = |_| host.ssh("alice").option(&format!("-S{control}")).cmd("sleep 1000").start();
    let _channels: Vec<_> = (0..CHANNELS).map(channel).collect();
    let sleeping =
        || host.processes_of("alice").iter().filter(|one| one.command == "sleep 1000").count();
    eventually("all channels run", 30.0, || sleeping() == CHANNELS);
    let processes = host.assert_inside("alice");
    assert!(processes.iter().all(|one| one.cgroups == processes[0].cgroups));
}

#[test]
fn later_logins_join_the_first_ones_mounts() {
    let host = host();
    let (first, second) = (host.spawn_session("alice"), host.spawn_session("alice"));
    let processes = host.assert_inside("alice");
    let cgroup = |pid| processes.iter().find(|one| one.pid == pid).unwrap().cgroups.clone();
    assert_ne!(cgroup(first.shell()), cgroup(second.shell()));
}

#[test]
fn root_stays_outside() {
    let host = host();
    let session = host.spawn_session("root");
    session.processes().iter().for_each(|one| host.assert_outside(one));
    assert_eq!(host.log(), Vec::<String>::new());
}

#[test]
fn an_exempt_user_stays_outside() {
    let policy = "exempt = [\"@staff\", \"carol\"]\n[profile.default]\n";
    let host = Host::build().member("bob", &["staff"]).user("carol").policy(policy).start();
    for user in ["bob", "carol"] {
        let session = host.spawn_session(user);
        session.processes().iter().for_each(|one| host.assert_outside(one));
    }
}

#[test]
fn a_service_that_is_not_listed_stays_outside() {
    let policy = "services = [\"login\"]\n[profile.default]\n";
    let host = Host::build().user("alice").policy(policy).start();
    let session = host.spawn_session("alice");
    session.processes().iter().for_each(|one| host.assert_outside(one));
}

#[test]
fn the_shell_has_no_file_open_but_its_own() {
    let host = host();
    // The fourth is the listing's own.
    let open = host.ssh("alice").cmd("ls /proc/self/fd").run();
    assert_eq!(open.ok(), "0\n1\n2\n3");
}

#[test]
fn the_environment_of_sshd_changes_nothing() {
    let hostile = [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "XDG_RUNTIME_DIR",
        "TMPDIR",
        "RUST_LOG",
        "RUST_BACKTRACE",
    ];
    let host = hostile
        .iter()
        .fold(Host::build().user("alice"), |host, key| host.sshd_environment(key, "/tmp/evil"))
        .start();
    let _session = host.spawn_session("alice");
    host.assert_inside("alice");
}

#[test]
fn variables_that_an_earlier_module_sets_change_nothing() {
    let host = Host::build()
        .user("alice")
        .pam("session required pam_env.so conffile=/etc/security/hostile.conf")
        .start();
    let variables = ["LD_PRELOAD", "XDG_RUNTIME_DIR", "TMPDIR", "XDG_SESSION_ID"];
    let lines = variables.map(|key| format!("{key} OVERRIDE=/tmp/evil\n")).concat();
    host.write("/etc/security/hostile.conf", lines);
    let _client = host.ssh("alice").option("-N").start();
    host.wait_log(&["event=session_open"]);
    host.assert_inside("alice");
}

/// Whoever may mount chooses the name: a user with a fusermount, or a disk's label in Latin 1.
#[test]
fn a_mount_point_that_is_not_utf_8_keeps_nobody_out() {
    let host = host();
    let odd = r#"odd="/home/$(printf '\377')""#;
    host.sh(&format!("{odd}; mkdir \"$odd\" && mount -t tmpfs odd \"$odd\""));
    let session = host.spawn_session("alice");
    host.assert_inside("alice");
    session.logout();
    host.sh("cgsandbox gc");
    host.sh(&format!("{odd}; umount \"$odd\""));
    host.assert_nothing_left();
}

/// sshd that an administrator has started anew out of a sandbox: what comes from elsewhere would
/// get no limits of its own, and nobody would be told.
#[test]
fn a_daemon_in_a_session_without_a_view_of_its_own_refuses_who_comes_from_elsewhere() {
    let policy = "[profile.default]\nhidepid = \"off\"\n";
    let host = Host::build().user("alice").user("bob").policy(policy).start();
    let alice = host.spawn_session("alice");
    let leaf = |path: &std::path::PathBuf| path.to_string_lossy().contains("/session-");
    let leaves: Vec<_> = host.cgroups().into_iter().filter(leaf).collect();
    assert!(!leaves.is_empty());
    let enter: String =
        leaves.iter().map(|leaf| format!("echo $$ >{}/cgroup.procs; ", leaf.display())).collect();
    let open = |rhost: &str| {
        let script = format!("{enter} exec pamtester {rhost} sshd bob open_session close_session");
        host.as_root(["sh", "-c", &script]).run()
    };
    assert_ne!(open("-I rhost=192.0.2.1").status, 0);
    host.wait_log(&["event=session_denied", "user=bob", "started inside a sandbox"]);
    // As su does.
    open("").ok();
    alice.logout();
    host.assert_nothing_left();
}
