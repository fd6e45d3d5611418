//! The library of the command line: what its commands do, for other hosts to call.

pub mod rehearse;
