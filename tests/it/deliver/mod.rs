//! Delivery against scripted servers: cut-through at every state, the queue, reports, TLS policies.

mod cut_through;
mod house;
mod link;
mod postfix;
mod queue;
mod reports;
mod storm;
