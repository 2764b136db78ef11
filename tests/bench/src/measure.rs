//! The order in which things are measured.

use std::time::Duration;

use cgsandbox_rig::{Host, Process};

use crate::caller::Login;
use crate::stack::{BOB, Caller, Stack};

/// How long the machine idles before each login of the second regime.
pub const GAP: Duration = Duration::from_millis(50);

/// Logins of one stack in a row. They follow their own kind, as on a host with that stack,
/// and drift of the machine meets all stacks alike.
const BLOCK: usize = 10;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Logins of each stack in each regime.
    pub opens: usize,
    /// Users who are logged in meanwhile, at the end.
    pub held: usize,
}

/// The logins of one stack.
pub struct Row {
    pub stack: Stack,
    pub back_to_back: Vec<Login>,
    pub with_gaps: Vec<Login>,
}

/// Ours, with nobody else logged in and with many.
pub struct Crowd {
    pub alone: Vec<Row>,
    pub crowded: Vec<Row>,
}

/// One caller for each stack.
pub struct Bench<'host> {
    host: &'host Host,
    callers: Vec<(Stack, Caller)>,
}

impl<'host> Bench<'host> {
    pub fn on(host: &'host Host) -> Self {
        let callers = Stack::ALL.map(|stack| (stack, Caller::start(host, stack)));
        Bench { host, callers: callers.into() }
    }

    /// Logs Bob in for good; what runs then that is not the login itself.
    pub fn hold_bob(&mut self) -> Vec<Process> {
        let before = self.host.processes();
        let caller = self.caller(Stack::Later);
        demand_sandbox(Stack::Later, &caller.hold(BOB));
        let known = |one: &Process| before.iter().any(|other| other.pid == one.pid);
        let mut started: Vec<Process> =
            self.host.processes().into_iter().filter(|one| !known(one)).collect();
        // The login is the caller's only child.
        let login = started.iter().position(|one| before.iter().any(|it| it.pid == one.parent));
        started.remove(login.expect("the login that is held has a process"));
        started
    }

    /// All stacks in turn, in both regimes.
    pub fn compare(&mut self, opens: usize) -> Vec<Row> {
        self.measure(&Stack::ALL, opens)
    }

    /// Ours before and after `users` log in.
    pub fn crowd(&mut self, opens: usize, users: &[String]) -> Crowd {
        const OURS: [Stack; 2] = [Stack::First, Stack::Later];
        let alone = self.measure(&OURS, opens);
        for user in users {
            demand_sandbox(Stack::First, &self.caller(Stack::First).hold(user));
        }
        let crowded = self.measure(&OURS, opens);
        Crowd { alone, crowded }
    }

    fn measure(&mut self, stacks: &[Stack], opens: usize) -> Vec<Row> {
        let back_to_back = self.interleave(stacks, opens, Duration::ZERO);
        let with_gaps = self.interleave(stacks, opens, GAP);
        let rows = stacks.iter().zip(back_to_back).zip(with_gaps);
        rows.map(|((stack, back_to_back), with_gaps)| Row {
            stack: *stack,
            back_to_back,
            with_gaps,
        })
        .collect()
    }

    fn interleave(&mut self, stacks: &[Stack], opens: usize, gap: Duration) -> Vec<Vec<Login>> {
        let mut all = vec![Vec::new(); stacks.len()];
        for done in (0..opens).step_by(BLOCK) {
            for (stack, logins) in stacks.iter().zip(&mut all) {
                let caller = self.caller(*stack);
                if gap.is_zero() {
                    // This one follows another stack, and does not count.
                    caller.run(1, gap);
                }
                logins.extend(caller.run(BLOCK.min(opens - done), gap));
            }
        }
        for (stack, logins) in stacks.iter().zip(&all) {
            logins.iter().for_each(|login| check(*stack, login));
        }
        all
    }

    fn caller(&mut self, stack: Stack) -> &mut Caller {
        let found = self.callers.iter_mut().find(|(known, _)| *known == stack);
        &mut found.expect("each stack has a caller").1
    }
}

/// Times of logins that went wrong are worth nothing. Only pam_cgroup may: the table says so.
fn check(stack: Stack, login: &Login) {
    match stack {
        Stack::Cgroup => {}
        Stack::First | Stack::Later => demand_sandbox(stack, login),
        _ => assert_eq!(login.code, 0, "{}: pam_open_session failed", stack.title()),
    }
}

fn demand_sandbox(stack: Stack, login: &Login) {
    let entered = login.code == 0 && login.moved;
    assert!(entered, "{}: not in a sandbox: {login:?}", stack.title());
}
