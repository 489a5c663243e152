//! Threads for trusted CPU work (hashing, signing): bounded queue, deadline per job.
