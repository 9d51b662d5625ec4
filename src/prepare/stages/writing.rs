//! What a worker makes once for all units that it writes.

use super::contacts::Contacts;
use super::encoder::Encoder;

/// What every unit is written with.
pub(super) struct Writing {
    pub(super) encoder: Encoder,
    /// Every id is below this.
    pub(super) vocab: u32,
    /// What training documents must not share an n-gram with.
    pub(super) contacts: Option<Contacts>,
}

impl std::fmt::Debug for Writing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writing").field("vocab", &self.vocab).finish_non_exhaustive()
    }
}
