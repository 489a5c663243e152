//! Files: create, append, sync, rename, list, remove; a simulated disk loses power on demand in tests.
