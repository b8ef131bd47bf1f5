//! Damage at rest, and changes that must not give it a good checksum.
