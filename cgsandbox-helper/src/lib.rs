//! Policy, plan and effects of pam_cgsandbox.
//!
//! A login goes from top to bottom:
//!
//! ```text
//! config      files          -> Policy      what the administrator wrote
//! decision    facts          -> Decision    what becomes of this login; `explain` shows it
//! plan        Policy + Host  -> Plan        the sandbox that it is to get, in full
//! open        Plan           -> Session     what it got, verified; `teardown` undoes it
//! close       Session        -> audit       what it used
//! ```
#![forbid(unsafe_code)]

pub mod account;
pub mod apply;
pub mod audit;
mod back_end;
pub mod cgroup;
pub mod channel;
pub mod close;
pub mod command;
pub mod config;
mod deadline;
pub mod decision;
pub mod doctor;
pub mod error;
pub mod explain;
#[cfg(test)]
mod fuzz;
pub mod gc;
pub mod helper;
pub mod host;
mod kernel_file;
pub mod limits;
pub mod loopback;
pub mod misplaced;
pub mod namespace;
pub mod open;
pub mod pam_stack;
pub mod plan;
pub mod policy;
mod refusal;
pub mod service;
pub mod session;
pub mod state;
pub mod status;
pub mod subject;
mod systemd;
mod tasks;
pub mod teardown;
