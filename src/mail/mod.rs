//! The vocabulary: what mail is made of. Pure; every other room uses these types and none of them does I/O.

pub mod address;
pub mod header;
pub mod memory;
pub mod mime;
pub mod network;
pub mod parcel;
pub mod pin;
pub mod problem;
pub mod reply;
pub mod transaction;
pub mod units;

pub use address::{AgencyId, Domain, Mailbox, ReversePath};
pub use network::Network;
pub use parcel::{Parcel, ParcelMeta};
pub use pin::KeyPin;
pub use problem::Problem;
pub use reply::Reply;
pub use transaction::{Destination, MailParams, Recipient};
pub use units::{ByteSize, MailId, Span, Timestamp};

use serde::{Deserialize, Serialize};

/// The language of sentences for people; the other one usually stands beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    #[default]
    Vi,
    En,
}
