//! Faults on demand, for tests only: nothing of this is in a program built without the feature `faults`.

pub mod mutants;
