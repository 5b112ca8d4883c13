//! Runtime formulas as people write them.
