//! Simulation: the whole engine on one thread, in virtual time, by a seed.
//!
//! [`Simulation`] runs the tasks of an engine; which ready task goes next is drawn from the seed, and
//! time passes only when nothing is ready. The same seed gives the same run, byte for byte.
//! What is *not* here: faults and invariants (`mc_testkit`). Production uses none of this.

mod clock;
mod entropy;
mod executor;

pub use clock::SimClock;
pub use entropy::SeededEntropy;
pub use executor::{Simulation, Stalled};
