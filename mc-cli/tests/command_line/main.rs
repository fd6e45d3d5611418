//! The command line, command by command, through the library's entry and through the binary.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail as a test does"
)]

mod advice;

mod answers;
mod approvals;
mod budgets;
mod callbacks;
mod demo;
mod elsewhere;
mod evidence;
mod forms;
mod interrupts;
mod joining;
mod limits;
mod looking;
mod nested;
mod orders;
mod pipes;
mod policies;
mod prices;
mod programs;
mod reasons;
mod refusals;
mod running;
mod standing;
mod starting;
mod support;
mod watching;
mod workflows;
