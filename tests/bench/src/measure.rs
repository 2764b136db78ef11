//! The order in which things are measured.

use std::time::Duration;

use cgsandbox_rig::{Host, Process};

use crate::caller::Login;
use crate::stack::{BOB, Caller, DAVE, Stack};

/// How long the machine idles before each login of the second regime.
pub const GAP: Duration = Duration::from_millis(50);

/// Logins of one stack in a row when there is no gap: they follow their own kind, as on a host
/// with that stack, and drift of the machine meets all stacks alike.
const BLOCK: usize = 10;

/// With gaps, all stacks take turns login by login, in this order: for tens of ms after a
/// cgroup is removed the kernel frees what it was made of, so what removes one is never next to
/// what a move between cgroups has to wait for.
const TURNS: [Stack; 9] = [
    Stack::BareWrite,
    Stack::Permit,
    Stack::HandOff,
    Stack::First,
    Stack::Exec,
    Stack::Localhost,
    Stack::Namespace,
    Stack::Later,
    Stack::Cgroup,
];

/// The turns of ours alone, with something harmless in between.
const TURNS_OF_OURS: [Stack; 6] =
    [Stack::First, Stack::Permit, Stack::Localhost, Stack::Exec, Stack::Later, Stack::Namespace];

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

impl Row {
    /// All that was measured.
    pub fn logins(&self) -> impl Iterator<Item = &Login> {
        self.back_to_back.iter().chain(&self.with_gaps)
    }

    /// Times of logins that went wrong are worth nothing. Only pam_cgroup may: the table tells.
    fn check(&self) {
        self.logins().for_each(|login| match self.stack {
            Stack::Cgroup => {}
            Stack::First | Stack::Later | Stack::Localhost => demand_sandbox(self.stack, login),
            _ => assert_eq!(login.code, 0, "{}: opening failed", self.stack.title()),
        });
    }
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
        // Whoever has answered has been started: till then a process may not be seen.
        for (_, caller) in &mut self.callers {
            caller.run(1, Duration::ZERO);
        }
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

    /// Logs Dave in for good.
    pub fn hold_dave(&mut self) {
        demand_sandbox(Stack::Localhost, &self.caller(Stack::Localhost).hold(DAVE));
    }

    /// All stacks in turn, in both regimes.
    pub fn compare(&mut self, opens: usize) -> Vec<Row> {
        self.measure(&TURNS, opens, opens)
    }

    /// Ours before and after `users` log in.
    pub fn crowd(&mut self, opens: usize, users: &[String]) -> Crowd {
        // A median needs fewer than the tails do.
        let alone = self.measure(&TURNS_OF_OURS, opens, opens.div_ceil(2));
        for user in users {
            demand_sandbox(Stack::First, &self.caller(Stack::First).hold(user));
        }
        let crowded = self.measure(&TURNS_OF_OURS, opens, opens.div_ceil(2));
        Crowd { alone, crowded }
    }

    fn measure(&mut self, turns: &[Stack], quick: usize, slow: usize) -> Vec<Row> {
        let row =
            |stack: &Stack| Row { stack: *stack, back_to_back: Vec::new(), with_gaps: Vec::new() };
        let mut rows: Vec<Row> = turns.iter().map(row).collect();
        for done in (0..quick).step_by(BLOCK) {
            for row in &mut rows {
                let caller = self.caller(row.stack);
                // This one follows another stack, and does not count.
                caller.run(1, Duration::ZERO);
                row.back_to_back.extend(caller.run(BLOCK.min(quick - done), Duration::ZERO));
            }
        }
        for _ in 0..slow {
            for row in &mut rows {
                row.with_gaps.extend(self.caller(row.stack).run(1, GAP));
            }
        }
        rows.iter().for_each(Row::check);
        rows
    }

    fn caller(&mut self, stack: Stack) -> &mut Caller {
        let found = self.callers.iter_mut().find(|(known, _)| *known == stack);
        &mut found.expect("each stack has a caller").1
    }
}

fn demand_sandbox(stack: Stack, login: &Login) {
    let entered = login.code == 0 && login.moved;
    assert!(entered, "{}: not in a sandbox: {login:?}", stack.title());
}
