//! What is in force for a process, as it can tell itself.

use cgsandbox_rig::Host;

/// Whether this machine's hosts have cgroups of version 2, which a private localhost needs.
pub fn is_unified(host: &Host) -> bool {
    host.hierarchies().0.iter().any(|one| one.unified)
}

/// The script that looks: a key and a value in each line.
pub fn script(host: &Host, port: u16) -> String {
    let mut script = "exec >/run/seen.$PAM_TYPE\n\
         ulimit -n | { read -r n; [ $n = 512 ] && echo limits.nofile 512 || echo limits.nofile other; }\n\
         [ /proc/self/ns/mnt -ef /proc/1/ns/mnt ] && echo mounts host || echo mounts own\n\
         hidepid=no; while read -r line; do case $line in\n\
         *' - proc '*hidepid=*) hidepid=yes;; esac; done </proc/self/mountinfo; echo hidepid $hidepid\n\
         inside=0; while read -r line; do\n\
         case $line in */user-*/session-*) inside=$((inside + 1));; esac; done </proc/self/cgroup\n\
         echo cgroups $inside\n"
        .to_owned();
    let (memory, pids) = (host.users_cgroup("alice", "memory"), host.users_cgroup("alice", "pids"));
    for (key, directory, files) in [
        ("memory_max", memory, ["memory.limit_in_bytes", "memory.max"]),
        ("tasks_max", pids, ["pids.max", "pids.max"]),
    ] {
        let at = directory.display();
        // Of a standing session, the limit is there outside, too: it counts for who is inside.
        script += &format!(
            "value=none; for file in {at}/{} {at}/{}; do [ -e $file ] && value=$(<$file); done\n\
             [ $inside = 0 ] && value=outside; echo {key} $value\n",
            files[0], files[1]
        );
    }
    if is_unified(host) {
        script += &format!(
            "if (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; then echo loopback machine\n\
             else echo loopback own; fi\n"
        );
    }
    script
}
