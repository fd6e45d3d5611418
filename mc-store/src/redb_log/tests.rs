//! Unit tests of the file adapter that need its insides.
