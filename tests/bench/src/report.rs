//! The table, and each figure that is to be reached.

use std::time::Duration;

use cgsandbox_rig::Process;

use crate::caller::Login;
use crate::localhost::Ratio;
use crate::measure::{Crowd, GAP, Row};
use crate::stack::Stack;
use crate::statistics::percentile;

/// What a login may take over what it is compared with.
const MARGIN_MS: f64 = 1.5;
const HELPER_KB: u64 = 6_000;
const MODULE_KB: u64 = 400;
const LOCALHOST_MS: f64 = 0.3;
const CROWD_RATIO: f64 = 1.2;

/// Everything that was found out.
pub struct Findings {
    pub rows: Vec<Row>,
    pub localhost: Vec<Ratio>,
    pub crowd: Crowd,
    pub held: usize,
    pub residents: Vec<Process>,
    pub module_bytes: u64,
}

impl Findings {
    /// Prints it all.
    pub fn print(&self) {
        self.print_table();
        self.print_notes();
        println!("\nFIGURES TO REACH, AT P50");
        self.judge_back_to_back();
        self.judge_with_gaps();
        self.judge_weight();
        self.judge_crowd();
        self.judge_localhost();
    }

    fn print_table(&self) {
        let ours = self.row(Stack::First);
        let (quick, slow) = (p50(&ours.back_to_back), p50(&ours.with_gaps));
        println!("{:28}{:^25} {:^25}", "pam_open_session, in ms", "BACK TO BACK", gaps_title());
        println!(
            "{:28}{:>8}{:>9}{:>8} {:>8}{:>9}{:>8}",
            "", "p50", "p99", "x first", "p50", "p99", "x first"
        );
        for row in Stack::ALL.map(|stack| self.row(stack)) {
            let (quickly, slowly) = (p50(&row.back_to_back), p50(&row.with_gaps));
            println!(
                "{:28}{quickly:>8.3}{:>9.3}{:>8.2} {slowly:>8.3}{:>9.3}{:>8.2}",
                row.stack.title(),
                p99(&row.back_to_back),
                quickly / quick,
                p99(&row.with_gaps),
                slowly / slow,
            );
        }
    }

    fn print_notes(&self) {
        println!();
        let all = || self.row(Stack::Cgroup).logins();
        if let Some(failed) = all().find(|login| login.code != 0) {
            println!("pam_cgroup fails on this host, with code {} (pam(3))", failed.code);
        } else if all().all(|login| !login.moved) {
            println!("pam_cgroup reports success on this host and moves nobody");
        }
        for stack in [Stack::First, Stack::Later] {
            let row = self.row(stack);
            let close = |logins: &[_]| median(logins, |login| login.close);
            let (quick, slow) = (close(&row.back_to_back), close(&row.with_gaps));
            println!("{}: closing takes {quick:.3} and {slow:.3} at p50", stack.title());
        }
        let grown = [Stack::Permit, Stack::Exec, Stack::Namespace].map(|stack| {
            let (quick, slow) = self.growth(stack);
            format!("{} x {quick:.2} and x {slow:.2}", stack.title())
        });
        println!("{} users held: {}", self.held, grown.join(", "));
    }

    /// What a login takes beside those who are held, of what it takes without them, at p50.
    fn growth(&self, stack: Stack) -> (f64, f64) {
        let of = |rows: &[Row]| {
            let row = rows.iter().find(|row| row.stack == stack).expect("it was measured");
            (p50(&row.back_to_back), p50(&row.with_gaps))
        };
        let (alone, crowded) = (of(&self.crowd.alone), of(&self.crowd.crowded));
        (crowded.0 / alone.0, crowded.1 / alone.1)
    }

    fn judge_back_to_back(&self) {
        let p50 = |stack| p50(&self.row(stack).back_to_back);
        let (first, later, permit) = (p50(Stack::First), p50(Stack::Later), p50(Stack::Permit));
        verdict(
            &format!("back to back, over pam_permit <= {MARGIN_MS} ms"),
            first.max(later) - permit <= MARGIN_MS,
            &format!("first {:.2}, later {:.2}", first - permit, later - permit),
        );
        for (name, stack) in [("pam_exec", Stack::Exec), ("pam_namespace", Stack::Namespace)] {
            verdict(
                &format!("back to back, below {name}"),
                first.max(later) < p50(stack),
                &format!("{first:.2}, {later:.2} < {:.2} ms", p50(stack)),
            );
        }
    }

    fn judge_with_gaps(&self) {
        let p50 = |stack| p50(&self.row(stack).with_gaps);
        let over = |stack| p50(stack) - p50(Stack::BareWrite);
        let (first, later) = (over(Stack::First), over(Stack::Later));
        verdict(
            &format!("with gaps, over bare write <= {MARGIN_MS} ms"),
            first.max(later) <= MARGIN_MS,
            &format!("first {first:.2}, later {later:.2}"),
        );
    }

    fn judge_weight(&self) {
        let ours = [Stack::First, Stack::Later].map(|stack| self.row(stack));
        let helper = ours.into_iter().flat_map(Row::logins).map(|login| login.largest_child).max();
        let helper = helper.unwrap_or_default();
        let number = format!("{helper} kB");
        verdict(&format!("helper's peak memory <= {HELPER_KB} kB"), helper <= HELPER_KB, &number);
        let module = self.module_bytes.div_ceil(1000);
        let number = format!("{module} kB");
        verdict(&format!("module, stripped <= {MODULE_KB} kB"), module <= MODULE_KB, &number);
        let names: Vec<&str> = self.residents.iter().map(|one| one.command.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        verdict("no process stays with an open session", self.residents.is_empty(), &names);
    }

    fn judge_crowd(&self) {
        for (which, stack) in
            [("first", Stack::First), ("private", Stack::Localhost), ("later", Stack::Later)]
        {
            let (quick, slow) = self.growth(stack);
            verdict(
                &format!("{} users held, {which} login <= x {CROWD_RATIO}", self.held),
                quick.max(slow) <= CROWD_RATIO,
                &format!("x {quick:.2}, with gaps x {slow:.2}"),
            );
        }
    }

    fn judge_localhost(&self) {
        let p50 = |stack| p50(&self.row(stack).back_to_back);
        let over = p50(Stack::Localhost) - p50(Stack::First);
        let figure = format!("localhost: added to a login <= {LOCALHOST_MS} ms");
        verdict(&figure, over <= LOCALHOST_MS, &format!("{over:.2}"));
        for Ratio { figure, at_least, ratio } in &self.localhost {
            verdict(figure, ratio >= at_least, &format!("{ratio:.3}"));
        }
    }

    fn row(&self, stack: Stack) -> &Row {
        self.rows.iter().find(|row| row.stack == stack).expect("each stack was measured")
    }
}

fn gaps_title() -> String {
    format!("AFTER {} MS IDLE", GAP.as_millis())
}

fn verdict(figure: &str, reached: bool, number: &str) {
    let word = if reached { "reached" } else { "NOT REACHED" };
    println!("{word:<13}{figure:<41}{number}");
}

fn median(logins: &[Login], of: impl Fn(&Login) -> Duration) -> f64 {
    percentile(logins.iter().map(of), 50).as_secs_f64() * 1000.0
}

fn p50(logins: &[Login]) -> f64 {
    median(logins, |login| login.open)
}

fn p99(logins: &[Login]) -> f64 {
    percentile(logins.iter().map(|login| login.open), 99).as_secs_f64() * 1000.0
}
