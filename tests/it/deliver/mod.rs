//! Delivery against scripted servers: cut-through at every state, the queue, reports, TLS policies.

mod bad_line;
mod callout;
mod cut_through;
mod dnssec;
mod faults;
mod house;
mod internet;
mod late_reports;
mod link;
mod live;
mod postfix;
mod profiles;
mod queue;
mod report_forms;
mod reports;
mod requiretls;
mod simulators;
mod storm;
mod watched;
