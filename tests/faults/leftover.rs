//! Items that an interrupted load has left unlinked.
