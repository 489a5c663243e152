//! The header that leaves: Received, Authentication-Results, tags; DKIM and S/MIME signatures on outgoing mail.
