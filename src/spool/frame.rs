//! The log's records: length, CRC, kind; every state a message can be in.
