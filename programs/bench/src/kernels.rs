//! The computations: plain functions, so that a native program can be linked with the very same code.

use std::hint::black_box;

/// The naive Fibonacci function.
pub fn fib(n: u64) -> u64 {
    if n < 2 { n } else { fib(black_box(n - 1)) + fib(n - 2) }
}

const SOLAR_MASS: f64 = 39.47841760435743;
const DAYS: f64 = 365.24;

/// Position, velocity, mass.
type Body = [f64; 7];

#[expect(clippy::excessive_precision, reason = "the constants of the benchmarks game, as they are")]
const BODIES: [Body; 5] = [
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, SOLAR_MASS],
    [
        4.84143144246472090e+00,
        -1.16032004402742839e+00,
        -1.03622044471123109e-01,
        1.66007664274403694e-03 * DAYS,
        7.69901118419740425e-03 * DAYS,
        -6.90460016972063023e-05 * DAYS,
        9.54791938424326609e-04 * SOLAR_MASS,
    ],
    [
        8.34336671824457987e+00,
        4.12479856412430479e+00,
        -4.03523417114321381e-01,
        -2.76742510726411899e-03 * DAYS,
        4.99852801234917238e-03 * DAYS,
        2.30417297573763929e-05 * DAYS,
        2.85885980666130812e-04 * SOLAR_MASS,
    ],
    [
        1.28943695621391310e+01,
        -1.51111514016986312e+01,
        -2.23307578892655734e-01,
        2.96460137564761618e-03 * DAYS,
        2.37847173959480950e-03 * DAYS,
        -2.96589568540237556e-05 * DAYS,
        4.36624404335156298e-05 * SOLAR_MASS,
    ],
    [
        1.53796971148509165e+01,
        -2.59193146099879641e+01,
        1.79258772950371181e-01,
        2.68067772490389322e-03 * DAYS,
        1.62824170038242295e-03 * DAYS,
        -9.51592254519715870e-05 * DAYS,
        5.15138902046611451e-05 * SOLAR_MASS,
    ],
];

/// The energy of the outer solar system after `steps` of a hundredth of a day.
pub fn nbody(steps: u64) -> f64 {
    let mut bodies = BODIES;
    for axis in 0..3 {
        let momentum: f64 = bodies.iter().map(|body| body[3 + axis] * body[6]).sum();
        bodies[0][3 + axis] = -momentum / SOLAR_MASS;
    }
    for _ in 0..steps {
        advance(&mut bodies);
    }
    energy(&bodies)
}

fn advance(bodies: &mut [Body; 5]) {
    for i in 0..5 {
        for j in i + 1..5 {
            let d = [bodies[i][0] - bodies[j][0], bodies[i][1] - bodies[j][1], bodies[i][2] - bodies[j][2]];
            let square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
            let magnitude = 0.01 / (square * square.sqrt());
            let (mass_i, mass_j) = (bodies[i][6] * magnitude, bodies[j][6] * magnitude);
            for axis in 0..3 {
                bodies[i][3 + axis] -= d[axis] * mass_j;
                bodies[j][3 + axis] += d[axis] * mass_i;
            }
        }
    }
    for body in bodies {
        for axis in 0..3 {
            body[axis] += 0.01 * body[3 + axis];
        }
    }
}

fn energy(bodies: &[Body; 5]) -> f64 {
    let mut energy = 0.0;
    for (i, a) in bodies.iter().enumerate() {
        energy += 0.5 * a[6] * (a[3] * a[3] + a[4] * a[4] + a[5] * a[5]);
        for b in &bodies[i + 1..] {
            let d = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
            energy -= a[6] * b[6] / (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).sqrt();
        }
    }
    energy
}

#[rustfmt::skip]
const ROUNDS: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// SHA-256, straight from the standard.
pub fn sha256(data: &[u8]) -> [u32; 8] {
    let mut padded = data.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((data.len() as u64 * 8).to_be_bytes());
    let mut state = [0x6a09e667u32, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
    for block in padded.chunks_exact(64) {
        compress(&mut state, block);
    }
    state
}

fn compress(state: &mut [u32; 8], block: &[u8]) {
    let mut w = [0u32; 64];
    for (word, bytes) in w.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    for i in 16..64 {
        let (a, b) = (w[i - 15], w[i - 2]);
        let s0 = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
        let s1 = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
        w[i] = w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]).wrapping_add(s1);
    }
    let mut v = *state;
    for i in 0..64 {
        let t1 = v[7]
            .wrapping_add(v[4].rotate_right(6) ^ v[4].rotate_right(11) ^ v[4].rotate_right(25))
            .wrapping_add((v[4] & v[5]) ^ (!v[4] & v[6]))
            .wrapping_add(ROUNDS[i])
            .wrapping_add(w[i]);
        let t2 = (v[0].rotate_right(2) ^ v[0].rotate_right(13) ^ v[0].rotate_right(22))
            .wrapping_add((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        v = [t1.wrapping_add(t2), v[0], v[1], v[2], v[3].wrapping_add(t1), v[4], v[5], v[6]];
    }
    for (word, new) in state.iter_mut().zip(v) {
        *word = word.wrapping_add(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_computations_are_right() {
        assert_eq!(fib(20), 6765);
        assert!((nbody(1000) - -0.169087605).abs() < 1e-8);
        assert_eq!(sha256(b"abc")[..2], [0xba7816bf, 0x8f01cfea]);
    }
}
