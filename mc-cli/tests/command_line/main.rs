//! The command line, command by command, through the library's entry and through the binary.

mod evidence;
mod looking;
mod refusals;
mod running;
mod support;
