//! NumPy's `RandomState`: the Mersenne Twister MT19937 (Matsumoto and Nishimura 1998), as far as MinHash needs it.

const N: usize = 624;
const M: usize = 397;

/// A generator with NumPy's numbers for a seed.
pub(super) struct RandomState {
    state: [u32; N],
    at: usize,
}

impl RandomState {
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        for i in 1..N {
            let before = state[i - 1];
            state[i] = (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { state, at: N }
    }

    fn renew(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.at = 0;
    }

    fn next(&mut self) -> u32 {
        if self.at == N {
            self.renew();
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// `randint(low, high, dtype=uint64)`: uniform from `low` to below `high`.
    pub(super) fn randint(&mut self, low: u64, high: u64) -> u64 {
        let most = high - 1 - low;
        let mask = u64::MAX >> most.leading_zeros();
        loop {
            let wide = (u64::from(self.next()) << 32) | u64::from(self.next());
            if wide & mask <= most {
                return low + (wide & mask);
            }
        }
    }
}
