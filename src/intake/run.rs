//! DATA and BDAT into Mail within the memory budget; large messages go to a temporary file.
