//! `top`: what goes on in a store, drawn on a terminal and moved by events.
//!
//! `rows` makes lines of what the log keeps, `reading` reads them, `view` is all that is shown and
//! what keys do to it, without a terminal; `draw` puts a view into a frame; `turns` is the loop, and
//! `screen` the terminal under it. What is *not* here: how it is heard that something moved
//! (`mc_link::Following`). Read `view` first.

mod draw;
mod halts;
mod keys;
mod page;
mod reading;
mod rows;
mod screen;
mod turns;
mod view;

#[cfg(test)]
mod tests;

pub(crate) use keys::Word;
pub(crate) use screen::{Screen, TypedKeys};
pub(crate) use turns::{Reach, turns};
pub(crate) use view::View;
