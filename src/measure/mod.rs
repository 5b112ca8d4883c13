//! From ops to times: the backends, and how they are sampled.
