//! Approaches 1 and 2: lines of N* and D* against compute, from the lower envelope and from IsoFLOP parabolas.

pub(in crate::fit) mod bias;
pub(in crate::fit) mod envelope;
pub(in crate::fit) mod line;
pub(in crate::fit) mod parabola;
pub(in crate::fit) mod slice;
