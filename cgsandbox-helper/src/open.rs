//! `open`: a login gets its sandbox, or the reason why not.

mod facts;
mod lift;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cgsandbox_protocol::{self as protocol, Entry, Namespace, Reply};

use crate::audit::{Event, Level};
use crate::back_end::BackEnd;
use crate::cgroup::{Membership, Tree, Unfit};
use crate::channel::Channel;
use crate::config::value::{HidePid, OnLogout};
use crate::config::{self, Load, Sources};
use crate::deadline::Deadline;
use crate::decision::{Attempt, Decision, Loaded, decide};
use crate::error::{Error, Result};
use crate::loopback::Given;
use crate::loopback::address::Address;
use crate::namespace::Volume;
use crate::plan::{Denial, Enforcement, Plan, Sandbox, is_login};
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::session::{Leader, Session, Stage, USER_MANAGER, command_of};
use crate::state::{Lock, State};
use crate::systemd::{Applied, Overridden};
use crate::{account, limits, loopback, namespace, systemd, tasks, teardown};
use facts::Facts;
use lift::leave_alone;

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
    let sources = Sources::of_argument(&login.config);
    let (load, unkept) = config::find(&sources, state.directory());
    let mut facts = Facts::of(&state, login);
    let (loaded, usable) = match load {
        Ok(Load::Current { policy, .. }) => (Loaded::Policy(Arc::new(policy)), Ok(unkept)),
        Ok(Load::Kept { policy, errors }) => {
            (Loaded::Policy(Arc::new(policy)), Err(("the last configuration that parsed", errors)))
        }
        Err(unusable) => {
            let published = || protocol::Login::published(&login.config);
            (Loaded::salvage(&unusable, published), Err(("none", unusable.errors)))
        }
    };
    let attempt = Attempt { user: &login.user, service: &login.service, rhost: &login.rhost };
    let decision = decide(&attempt, &loaded, &mut facts);
    let uid = facts.uid;
    // Up to here nothing was changed.
    let prepared = state.prepare();
    match usable {
        Ok(unkept) => {
            let kept = unkept.map_or(Ok(()), |unkept| unkept.keep(state.directory()));
            if let Err(problem) = kept {
                let using = "the configuration, which could not be kept for later";
                complain(&state, using, &problem);
            }
        }
        Err((using, errors)) => complain(&state, using, &errors),
    }
    match decision {
        Decision::Unconfined(_) => {
            leave_alone(&state, login, uid);
            channel.reply(&Reply::Unconfined, &[])
        }
        Decision::Inside => channel.reply(&Reply::Unconfined, &[]),
        Decision::Sandbox(plan) => {
            let on_error = plan.policy.on_error;
            let prepared = prepared.and_then(|()| prepare(&state, &sources, *plan, login));
            let built = prepared.map_err(Refusal::Failed);
            match built.and_then(|(plan, sharing)| build(&state, plan, sharing, login)) {
                Ok(built) => hand_over(channel, &state, login, built),
                Err(refusal) => refusal.tell(channel, &state, login, on_error),
            }
        }
        Decision::Refused { denial, .. } => {
            Refusal::Denied(denial).tell(channel, &state, login, protocol::Login::Deny)
        }
        Decision::Failed { error, on_error } => {
            Refusal::Failed(error).tell(channel, &state, login, on_error)
        }
    }
}

/// Tells the log that the configuration has a problem, and what is gone by.
fn complain(state: &State, using: &str, problem: &dyn std::fmt::Display) {
    Event::new(Level::Error, "config_error")
        .with("using", using)
        .with("error", problem)
        .send(state);
}

/// Makes what all sandboxes share. Then it is known rather than guessed what the host offers, and
/// the plan is drawn up anew. The lock is held until the login has a cgroup of its own: till then a
/// `gc` could remove the one above it as unused.
fn prepare(
    state: &State,
    sources: &Sources,
    mut plan: Plan,
    login: &Login,
) -> Result<(Plan, Lock)> {
    state.publish_on_error(sources, plan.policy.on_error)?;
    let patience = login.deadline.patience();
    if plan.sandbox.hidepid != HidePid::Off {
        plan.host.no_procfs = namespace::make_store(state, patience)?;
    }
    let sharing = state.share_host(patience)?;
    Ok((plan.with_cgroups(state)?, sharing))
}

/// Carries out the plan up to where only the leader itself can go on. What it did is
/// taken back when it fails.
fn build(
    state: &State,
    plan: Plan,
    sharing: Lock,
    login: &Login,
) -> std::result::Result<Built, Refusal> {
    let (sandbox, tree) = (&plan.sandbox, &plan.host.tree);
    let uid = sandbox.subject.uid;
    let lock = state.lock(uid, login.deadline.patience())?;
    // Most logins find nothing of the user's, and need not look through it.
    if state.user(uid).exists() || tree.has_user(uid) {
        teardown::sweep(state, tree, uid, login.deadline.patience() / 2);
    }
    // Most profiles have no such rule, and need no count.
    if is_login(&login.service)
        && sandbox.max_logins.is_some()
        && let Some(denial) = sandbox.refuses_another(teardown::logins(state, uid)?)
    {
        return Err(Refusal::Denied(denial));
    }
    let mut session = new_session(state, sandbox, tree, login)?;
    let mut back_end = BackEnd::of(state, tree, uid, login.deadline.patience());
    session.leaf = back_end.leaf_of(&session)?;
    session.keep(state)?;
    let locks = Locks { _user: lock, _sharing: sharing };
    let made = make(state, &plan, &session, &mut back_end, locks, login);
    match made {
        Ok(Made { namespace, volumes, ways_back, applied, address }) => {
            session.volumes = volumes;
            let Applied { missing, overridden } = applied;
            let enforcement = Enforcement::without(missing);
            let tree = plan.host.tree.clone();
            Ok(Built { session, tree, namespace, ways_back, enforcement, overridden, address })
        }
        Err(refusal) => {
            // Takes the user's lock, which `make` has let go of by now.
            teardown::take_back(state, &session);
            Err(refusal)
        }
    }
}

/// What is held while a sandbox is made: the user's lock, and the right to what all users share.
struct Locks {
    _user: Lock,
    _sharing: Lock,
}

/// What [`make`] has made.
struct Made {
    namespace: Option<OwnedFd>,
    volumes: Vec<Volume>,
    ways_back: Vec<String>,
    applied: Applied,
    address: Option<Address>,
}

/// Puts the plan into effect, in the cgroups and on the leader. Lets go of `locks` as soon as it can
/// do without, and in any case before it returns: what it leaves half-made is taken back by who locks
/// again.
fn make(
    state: &State,
    plan: &Plan,
    session: &Session,
    back_end: &mut BackEnd<'_>,
    locks: Locks,
    login: &Login,
) -> std::result::Result<Made, Refusal> {
    let Plan { sandbox, host, policy } = plan;
    let uid = sandbox.subject.uid;
    let (mut applied, tree) = back_end.limit(sandbox, session)?;
    applied.missing.splice(0..0, sandbox.missing.clone());
    let is_inside = tree.locate(&Membership::of(login.leader.pid)?).is_some();
    if is_login(&login.service)
        && let Some(full) = tasks::full(&tree, uid, is_inside)
    {
        return Err(Refusal::Denied(Denial::TasksFull(full)));
    }
    // Before any of the user's processes could have a socket.
    let patience = login.deadline.patience();
    let address = localhost(state, &tree, policy, sandbox, patience, &mut applied)?;
    let namespace = match sandbox.hidepid {
        // Who is logged in already has one: the user's sessions see the same mounts.
        HidePid::Off if namespace::pinned(state, uid)?.is_none() => None,
        _ => Some(namespace::obtain(state, &tree, uid, sandbox.shown())?),
    };
    // Most logins come from the host's own mounts, and bring nothing.
    if let Some(namespace) = &namespace
        && namespace::is_elsewhere()
        && is_first_login(state, session)?
    {
        namespace::bring(namespace)?;
    }
    let volumes = match &namespace {
        Some(namespace) => namespace::volumes(&host.mountinfo, namespace, &sandbox.subject)?,
        None => Vec::new(),
    };
    // The session has a record and a living leader: nobody takes it for a leftover.
    // So the slow part, for which the kernel may wait for all CPUs, needs no lock.
    drop(locks);
    back_end.enter(&tree, session)?;
    limits::end_oom_protection(login.leader.pid, &session.previous)?;
    for (name, error) in limits::limit(login.leader.pid, &sandbox.rlimits) {
        applied.missing.push(Unfit { directive: name.directive(), why: error.to_string() });
    }
    if let Some(denial) = sandbox.refuses_without(&applied.missing) {
        return Err(Refusal::Denied(denial));
    }
    let ways_back = tree.ways_back(&Membership::parse(&session.origin));
    Ok(Made { namespace, volumes, ways_back, applied, address })
}

/// Whether the user has no other login: later ones find the mounts of the first.
fn is_first_login(state: &State, session: &Session) -> Result<bool> {
    let others = teardown::live_sessions(state, session.uid)?;
    let has_other = others.iter().any(|it| it.id != session.id && is_login(&it.service));
    Ok(is_login(&session.service) && !has_other)
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
