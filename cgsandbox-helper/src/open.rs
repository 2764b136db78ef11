//! `open`: a login gets its sandbox, or the reason why not.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cgsandbox_protocol::{self as protocol, Entry, Namespace, Reply};

use crate::audit::{Event, Level};
use crate::back_end::BackEnd;
use crate::cgroup::{Membership, Tree, Unfit, mounted};
use crate::channel::Channel;
use crate::config::value::{HidePid, OnLogout};
use crate::config::{self, Load, Sources};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::loopback::Given;
use crate::loopback::address::Address;
use crate::plan::{Enforcement, Sandbox};
use crate::policy::{Choice, Match, Mentioned, Policy, Subject};
use crate::refusal::Refusal;
use crate::session::{Leader, Session, Stage, USER_MANAGER, command_of};
use crate::state::{Lock, State};
use crate::systemd::{Applied, Overridden};
use crate::{account, limits, loopback, namespace, subject, systemd, tasks, teardown};

/// A login as the module tells it.
#[derive(Debug)]
pub struct Login {
    /// `PAM_USER`.
    pub user: String,
    /// `PAM_SERVICE`.
    pub service: String,
    /// `PAM_TTY`.
    pub tty: String,
    /// `PAM_RHOST`.
    pub rhost: String,
    /// The module's `config=`; empty when not given.
    pub config: String,
    /// The module's name for this open.
    pub ticket: u64,
    /// How long the module waits.
    pub deadline: Deadline,
    /// The process that logs in, from the kernel.
    pub leader: Leader,
}

/// What a login is to get, and the host that it is to get it on.
struct Decided {
    sandbox: Sandbox,
    host: Host,
    policy: Policy,
    /// Held until the login has a cgroup of its own: till then a `gc` could remove the one
    /// above it as unused.
    sharing: Lock,
}

/// What stands when a login may enter.
struct Built {
    session: Session,
    tree: Tree,
    namespace: Option<OwnedFd>,
    /// See [`Reply::Enter`].
    ways_back: Vec<String>,
    enforcement: Enforcement,
    overridden: Vec<Overridden>,
    address: Option<Address>,
}

/// Serves one `Request::Open` from beginning to end.
pub fn open(channel: &Channel, login: &Login) -> Result<()> {
    let state = State::of_host();
    let mut on_error = protocol::Login::Deny;
    match decide(&state, login, &mut on_error) {
        Ok(None) => channel.reply(&Reply::Unconfined, &[]),
        Ok(Some(decided)) => match build(&state, decided, login) {
            Ok(built) => hand_over(channel, &state, login, built),
            Err(refusal) => refusal.tell(channel, &state, login, on_error),
        },
        Err(error) => Refusal::Failed(error).tell(channel, &state, login, on_error),
    }
}

/// The plan for this login; none when the policy leaves it alone.
fn decide(state: &State, login: &Login, on_error: &mut protocol::Login) -> Result<Option<Decided>> {
    // A state directory that cannot be used is no reason to refuse who is not ours.
    let prepared = state.prepare();
    let sources = Sources::of_argument(&login.config);
    let Some(policy) = policy_in_force(state, &sources, login, on_error)? else { return Ok(None) };
    *on_error = policy.on_error;
    // Asked first, for it costs no look-up: most services of a host are not ours.
    if !policy.services.contains(&login.service) {
        return Ok(None);
    }
    let mentioned = policy.mentioned();
    let subject = resolve(&login.user, &mentioned, &policy.exempt)?;
    let Some(subject) = subject else { return Ok(None) };
    // Before the host is looked at: whatever is wrong with it, exempt users get in.
    let Choice::Confined(confined) = policy.choose(&subject, &login.service) else {
        if let Err(error) = lift(state, subject.uid, login) {
            Event::new(Level::Error, "degraded")
                .with("user", &login.user)
                .with("uid", subject.uid)
                .with_error(&error)
                .send(state);
        }
        return Ok(None);
    };
    if namespace::is_inside(state) {
        return stay_inside(login);
    }
    prepared.and_then(|()| state.publish_on_error(&sources, policy.on_error))?;
    let mut host = Host::look(&policy.cgroup_root)?;
    if is_nested(state, &host.tree, login)? {
        return stay_inside(login);
    }
    let patience = login.deadline.patience();
    if host.hidepid(&confined.profile) != HidePid::Off {
        host.no_procfs = namespace::make_store(state, patience)?;
    }
    let sharing = state.share_host(patience)?;
    host.prepare_cgroups(state)?;
    host.look_for_disks(&confined.profile);
    let sandbox = Sandbox::new(&policy, subject, *confined, &host);
    Ok(Some(Decided { sandbox, host, policy, sharing }))
}

/// The user of this name; none where a directory fails to tell the groups, and the user is exempt
/// whatever they are: by name or number, in a list that leaves nobody out.
fn resolve(user: &str, mentioned: &Mentioned<'_>, exempt: &Match) -> Result<Option<Subject>> {
    let is_exempt = |subject: Subject| exempt.has(&subject) && !exempt.leaves_out();
    match subject::resolve(user, mentioned) {
        Err(_) if subject::resolve_alone(user).is_ok_and(is_exempt) => Ok(None),
        subject => subject.map(Some),
    }
}

/// A login out of a sandbox stays in it. Who comes from elsewhere came through a daemon, and that
/// is not to be inside.
fn stay_inside(login: &Login) -> Result<Option<Decided>> {
    if login.rhost.is_empty() {
        return Ok(None);
    }
    let cause = "this daemon itself was started inside a sandbox; \
                 start it anew from the console or from an exempt user's login";
    Err(Error::new("build a sandbox for", login.user.escape_default(), cause))
}

/// Takes from who is to be left alone now what an earlier policy set: systemd keeps limits beyond
/// the logout, and the programs stay on the slice for as long as anything of the user's is there.
fn lift(state: &State, uid: u32, login: &Login) -> Result<()> {
    let is_set = || systemd::is_set(state, uid) || loopback::is_set(state, uid);
    if !systemd::is_manager() || !is_set() {
        return Ok(());
    }
    // Three may have to be waited for.
    let patience = login.deadline.patience() / 3;
    let _lock = state.lock(uid, patience)?;
    // What another PAM line's configuration set for sessions that are open is not this one's.
    if teardown::live_sessions(state, uid)?.iter().any(|session| session.config != login.config) {
        return Ok(());
    }
    systemd::release(state, uid, patience)?;
    loopback::withdraw(state, &Tree::of_systemd(&mounted()?), uid, patience)
}

/// Whether the process that opens is in a sandbox already: it stays there, whoever it becomes.
///
/// Moving it out would let a user leave the own limits by su(1), and end the outer session
/// where systemd keeps it by that process.
///
/// The cgroup alone does not tell: `user@UID.service` is one cgroup for every manager of a user. When
/// a manager cannot end, systemd starts the next one there, in the host's mount namespace.
fn is_nested(state: &State, tree: &Tree, login: &Login) -> Result<bool> {
    // systemd starts managers itself, never out of a session.
    if login.service == USER_MANAGER {
        return Ok(false);
    }
    let leader = login.leader;
    let Some((uid, leaf)) = tree.locate(&Membership::of(leader.pid)?) else { return Ok(false) };
    let outer = teardown::live_sessions(state, uid)?;
    let mut outer = outer.iter().filter(|it| it.leaf == leaf && it.leader != leader).peekable();
    if outer.peek().is_none() {
        return Ok(false);
    }
    let Some(namespace) = namespace::pinned(state, uid)? else { return Ok(true) };
    // A session from before the policy gave a view has none: there the cgroup tells. A leader that
    // has just ended has no session any more.
    let has_view = |session: &Session| namespace::holds(&namespace, session.leader.pid);
    Ok(namespace::holds(&namespace, leader.pid)? || outer.any(|it| !has_view(it).unwrap_or(true)))
}

/// The configuration as it is, or as it last was without an error.
///
/// With neither, exempt users still get in where the file can be read that far.
fn policy_in_force(
    state: &State,
    sources: &Sources,
    login: &Login,
    on_error: &mut protocol::Login,
) -> Result<Option<Policy>> {
    let complain = |using: &str, errors: &dyn std::fmt::Display| {
        Event::new(Level::Error, "config_error")
            .with("using", using)
            .with("error", errors)
            .send(state);
    };
    match config::load(sources, state.directory()) {
        Ok(Load::Current { policy, not_kept }) => {
            if let Some(problem) = not_kept {
                complain("the configuration, which could not be kept for later", &problem);
            }
            Ok(Some(policy))
        }
        Ok(Load::Kept { policy, errors }) => {
            complain("the last configuration that parsed", &errors);
            Ok(Some(policy))
        }
        Err(unusable) => {
            complain("none", &unusable.errors);
            let salvaged = unusable.salvaged;
            *on_error = match unusable.errors.texts() {
                // Nothing of it could be read: what it last said decides, as without a helper.
                [] => protocol::Login::published(&login.config),
                _ => salvaged.on_error,
            };
            let exempt = salvaged.exempt;
            let subject = resolve(&login.user, &exempt.mentioned(), &exempt)?;
            if subject.is_none_or(|subject| exempt.has(&subject)) {
                return Ok(None);
            }
            let cause = "it has errors and none has parsed before; run: cgsandbox check";
            Err(Error::new("use", "the configuration", cause))
        }
    }
}

/// Carries out the plan up to where only the leader itself can go on. What it did is
/// taken back when it fails.
fn build(state: &State, decided: Decided, login: &Login) -> std::result::Result<Built, Refusal> {
    let Decided { sandbox, host, policy, sharing } = decided;
    let (uid, tree) = (sandbox.subject.uid, &host.tree);
    let lock = state.lock(uid, login.deadline.patience())?;
    // Most logins find nothing of the user's, and need not look through it.
    if state.user(uid).exists() || tree.has_user(uid) {
        teardown::sweep(state, tree, uid, login.deadline.patience() / 2);
    }
    if let Some(max) = sandbox.max_logins
        && login.service != USER_MANAGER
        && teardown::logins(state, uid)? >= max
    {
        return Err(Refusal::TooManyLogins { max });
    }
    let mut session = new_session(state, &sandbox, tree, login)?;
    let mut back_end = BackEnd::of(state, tree, uid, login.deadline.patience());
    session.leaf = back_end.leaf_of(&session)?;
    session.keep(state)?;
    let built = (|| {
        let (mut applied, tree) = back_end.limit(&sandbox, &session)?;
        applied.missing.splice(0..0, sandbox.missing.clone());
        let tree = &tree;
        let is_inside = tree.locate(&Membership::of(login.leader.pid)?).is_some();
        if login.service != USER_MANAGER
            && let Some(full) = tasks::full(tree, uid, is_inside)
        {
            return Err(Refusal::TasksFull(full));
        }
        // Before any of the user's processes could have a socket.
        let address =
            localhost(state, tree, &policy, &sandbox, login.deadline.patience(), &mut applied)?;
        let namespace = match sandbox.hidepid {
            // Who is logged in already has one: the user's sessions see the same mounts.
            HidePid::Off if namespace::pinned(state, uid)?.is_none() => None,
            hidepid => Some(namespace::obtain(state, tree, uid, hidepid)?),
        };
        if let Some(namespace) = &namespace
            && is_first_login(state, &session)?
        {
            namespace::bring(namespace)?;
        }
        let volumes = match &namespace {
            Some(namespace) => namespace::volumes(&host.mountinfo, namespace, &sandbox.subject)?,
            None => Vec::new(),
        };
        // The session has a record and a living leader: nobody takes it for a leftover.
        // So the slow part, for which the kernel may wait for all CPUs, needs no lock.
        drop((lock, sharing));
        back_end.enter(tree, &session)?;
        limits::end_oom_protection(login.leader.pid, &session.previous)?;
        for (name, error) in limits::limit(login.leader.pid, &sandbox.rlimits) {
            applied.missing.push(Unfit { directive: name.directive(), why: error.to_string() });
        }
        if sandbox.strict && !applied.missing.is_empty() {
            return Err(Refusal::Strict(applied.missing));
        }
        let ways_back = tree.ways_back(&Membership::parse(&session.origin));
        Ok((namespace, volumes, ways_back, applied, address))
    })();
    match built {
        Ok((namespace, volumes, ways_back, applied, address)) => {
            session.volumes = volumes;
            let Applied { missing, overridden } = applied;
            let enforcement = Enforcement::without(missing);
            let tree = tree.clone();
            Ok(Built { session, tree, namespace, ways_back, enforcement, overridden, address })
        }
        Err(refusal) => {
            teardown::take_back(state, &session);
            Err(refusal)
        }
    }
}

/// Whether the user has no other login: later ones find the mounts of the first.
fn is_first_login(state: &State, session: &Session) -> Result<bool> {
    let is_login = |it: &Session| it.service != USER_MANAGER;
    let others = teardown::live_sessions(state, session.uid)?;
    Ok(is_login(session) && !others.iter().any(|it| it.id != session.id && is_login(it)))
}

/// Makes localhost the user's own, or the machine's again; what the kernel has no means for is
/// missing.
pub(crate) fn localhost(
    state: &State,
    tree: &Tree,
    policy: &Policy,
    sandbox: &Sandbox,
    patience: Duration,
    applied: &mut Applied,
) -> Result<Option<Address>> {
    let Some(wanted) = &sandbox.loopback else {
        return loopback::withdraw(state, tree, sandbox.subject.uid, patience).map(|()| None);
    };
    match loopback::give(state, tree, policy, &sandbox.subject, wanted, patience)? {
        Given::Own { address, no_peers } => {
            let missing =
                |error: Error| Unfit { directive: "loopback_peers", why: error.to_string() };
            applied.missing.extend(no_peers.map(missing));
            Ok(Some(address))
        }
        Given::Unsupported(error) => {
            applied.missing.push(Unfit { directive: "loopback", why: error.to_string() });
            Ok(None)
        }
    }
}

fn new_session(state: &State, sandbox: &Sandbox, tree: &Tree, login: &Login) -> Result<Session> {
    let uid = sandbox.subject.uid;
    let id = Session::new_id(state, uid, login.leader);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(Session {
        leaf: Tree::leaf_for(&id),
        id,
        stage: Stage::Opening,
        uid,
        user: login.user.clone(),
        service: login.service.clone(),
        rhost: login.rhost.clone(),
        tty: login.tty.clone(),
        config: login.config.clone(),
        profile: sandbox.confined.rule.profile.value.clone(),
        leader: login.leader,
        command: command_of(login.leader.pid),
        ticket: login.ticket,
        since,
        since_boot_ms: crate::session::boot_ms(),
        owner: tree.owner(),
        cgroup_root: tree.root().to_owned(),
        origin: Membership::of(login.leader.pid)?.to_text(),
        previous: limits::remember(login.leader.pid, &sandbox.rlimits)?,
        kill_at_logout: sandbox.on_logout == OnLogout::Kill,
        counters: account::limit_hits(tree, uid),
        volumes: Vec::new(),
    })
}

/// Lets the leader enter and makes sure that it did, before anything says so.
fn hand_over(channel: &Channel, state: &State, login: &Login, built: Built) -> Result<()> {
    let Built { mut session, tree, namespace, ways_back, enforcement, overridden, address } = built;
    let entered = (|| {
        let namespaces = namespace.iter().map(|_| Namespace::Mount).collect();
        let fds: Vec<_> = namespace.iter().map(AsFd::as_fd).collect();
        channel.reply(&Reply::Enter { namespaces, ways_back }, &fds)?;
        if channel.entry()? == Entry::Failed {
            let cause = "the module could not, or gave up waiting";
            return Err(Error::new("enter", "the sandbox", cause));
        }
        if let Some(namespace) = &namespace
            && !crate::namespace::holds(namespace, login.leader.pid)?
        {
            let cause = format!("process {} is in another", login.leader.pid);
            return Err(Error::new("enter", "the mount namespace", cause));
        }
        session.stage = Stage::Open;
        session.update(state)?;
        let outside = |namespace| systemd::manager_outside(&tree, session.uid, namespace);
        let of_login = namespace.as_ref().filter(|_| session.service != USER_MANAGER);
        Ok(of_login.and_then(outside))
    })();
    match entered {
        Ok(manager) => {
            session
                .describe(Event::new(Level::Info, "session_open"))
                .with("backend", session.owner.back_end())
                .with("enforced", enforcement.word())
                .with_some("missing", enforcement.missing())
                .with_some("address", address.map(|address| address.v4))
                .with_some("overridden", Overridden::names(&overridden))
                .with_some("manager", manager.map(|_| "outside"))
                .with_some("waited", login.deadline.waited())
                .send(state);
            if let Enforcement::Partial(missing) = &enforcement {
                Event::new(Level::Warning, "degraded")
                    .with("user", &session.user)
                    .with("uid", session.uid)
                    .with("session", &session.id)
                    .with("enforced", enforcement.word())
                    .with("cause", Unfit::reasons(missing))
                    .send(state);
            }
            Ok(())
        }
        Err(error) => {
            teardown::take_back(state, &session);
            Err(error)
        }
    }
}
