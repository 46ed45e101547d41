//! Passwords: hashed as RabbitMQ hashes them, so that definitions can go either way, and checked.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256, Sha512};
use ternmq_core::access::{HashAlgorithm, PasswordHash, ScramVerifier};

/// Bytes of salt before a hash.
const SALT_BYTES: usize = 4;

/// Bytes of salt that SCRAM clients are told.
const SCRAM_SALT_BYTES: usize = 16;

/// How often SCRAM hashes a password: RFC 7677 §4 wants this much at least, and a constrained device has to do it too.
const SCRAM_ITERATIONS: u32 = 4096;

/// A new salt. Without entropy from the system it is all zeros, which is still as good as a password hash without salt.
fn salt<const N: usize>() -> [u8; N] {
    let mut salt = [0; N];
    if let Err(error) = getrandom::fill(&mut salt) {
        tracing::error!(%error, "the system has no random bytes: a password is hashed without salt");
    }
    salt
}

/// Hashes a password with a new salt.
pub fn hash_password(algorithm: HashAlgorithm, password: &[u8]) -> PasswordHash {
    salted(algorithm, &salt::<SALT_BYTES>(), password)
}

fn salted(algorithm: HashAlgorithm, salt: &[u8], password: &[u8]) -> PasswordHash {
    fn digest<D: Digest>(salt: &[u8], password: &[u8]) -> Box<[u8]> {
        let hash = D::new()
            .chain_update(salt)
            .chain_update(password)
            .finalize();
        [salt, &hash].concat().into()
    }
    let bytes = match algorithm {
        HashAlgorithm::Sha256 => digest::<Sha256>(salt, password),
        HashAlgorithm::Sha512 => digest::<Sha512>(salt, password),
        HashAlgorithm::Md5 => digest::<Md5>(salt, password),
    };
    PasswordHash { algorithm, bytes }
}

/// Whether that is the password.
pub(crate) fn is_password(hash: &PasswordHash, password: &[u8]) -> bool {
    // One of another length was made by another algorithm, or by none: nothing matches it.
    hash.bytes.len() == hash.algorithm.hash_bytes()
        && same(
            &salted(hash.algorithm, &hash.bytes[..SALT_BYTES], password).bytes,
            &hash.bytes,
        )
}

/// Compares in a time that depends on the lengths only.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
}

/// What SCRAM-SHA-256 needs to check a password later (RFC 5802 §3).
pub(crate) fn scram_verifier(password: &[u8]) -> ScramVerifier {
    scram_with(password, &salt::<SCRAM_SALT_BYTES>(), SCRAM_ITERATIONS)
}

fn scram_with(password: &[u8], salt: &[u8], iterations: u32) -> ScramVerifier {
    let salted = salted_password(password, salt, iterations);
    ScramVerifier {
        salt: salt.into(),
        iterations,
        stored_key: Sha256::digest(hmac(&salted, &[b"Client Key"])).into(),
        server_key: hmac(&salted, &[b"Server Key"]),
    }
}

/// `Hi(password, salt, iterations)`: PBKDF2 with one block of output.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    // The password is hashed into the key once: it may be longer than a block.
    let keyed = keyed(password);
    let mut u = finish(keyed.clone(), &[salt, &1_u32.to_be_bytes()]);
    let mut sum = u;
    for _ in 1..iterations {
        u = finish(keyed.clone(), &[&u]);
        for (all, one) in sum.iter_mut().zip(u) {
            *all ^= one;
        }
    }
    sum
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    finish(keyed(key), parts)
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

fn finish(mut mac: Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_the_salt_and_the_hash_of_salt_and_password() {
        // RabbitMQ's documentation of password hashes: salt 908DC60A, password "test12".
        let salt = [0x90, 0x8d, 0xc6, 0x0a];
        let hash = salted(HashAlgorithm::Sha256, &salt, b"test12");
        let beginning = [
            0x90, 0x8d, 0xc6, 0x0a, 0xa5, 0xb9, 0x24, 0xb3, 0x09, 0x6b, 0x88, 0x97,
        ];
        assert_eq!(hash.bytes[..12], beginning);
        assert_eq!(hash.bytes.len(), 36);
    }

    #[test]
    fn only_the_password_matches_its_hash() {
        for algorithm in [
            HashAlgorithm::Sha256,
            HashAlgorithm::Sha512,
            HashAlgorithm::Md5,
        ] {
            let hash = hash_password(algorithm, b"secret");
            assert_eq!(hash.bytes.len(), algorithm.hash_bytes());
            assert!(is_password(&hash, b"secret"));
            for other in [&b""[..], b"Secret", b"secret\0", b"secre"] {
                assert!(!is_password(&hash, other), "{algorithm:?} {other:?}");
            }
        }
    }

    #[test]
    fn hash_of_another_algorithm_matches_nothing() {
        let mut hash = hash_password(HashAlgorithm::Md5, b"secret");
        hash.algorithm = HashAlgorithm::Sha256;
        assert!(!is_password(&hash, b"secret"));
        hash.bytes = Box::default();
        assert!(!is_password(&hash, b""));
    }

    #[test]
    fn equal_passwords_have_different_hashes() {
        let hash = || hash_password(HashAlgorithm::Sha256, b"secret");
        assert_ne!(hash(), hash());
    }

    /// RFC 7677 §3: user `user`, password `pencil`.
    #[test]
    fn scram_keys_check_the_proof_of_the_rfc() {
        // base64 "W22ZaJ0SNY7soEsUEjb6gQ=="
        let salt = [
            0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36,
            0xfa, 0x81,
        ];
        let verifier = scram_with(b"pencil", &salt, 4096);
        let message: &[u8] = b"n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        // The server's signature, base64 "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".
        let signature = [
            0xea, 0xba, 0xe2, 0x4d, 0x10, 0x62, 0xdb, 0x75, 0xa9, 0x45, 0x1f, 0xf0, 0xb6, 0xea,
            0x7e, 0x98, 0xc8, 0x54, 0x65, 0x49, 0xff, 0x74, 0x1e, 0x67, 0x2d, 0x32, 0x51, 0xb2,
            0x39, 0x7d, 0xe4, 0x6e,
        ];
        assert_eq!(hmac(&verifier.server_key, &[message]), signature);
        // The client's proof, base64 "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=".
        let proof = [
            0x74, 0x7c, 0xdb, 0x65, 0xaa, 0x56, 0x22, 0x4e, 0x23, 0x52, 0x13, 0x7e, 0x52, 0xd7,
            0xbd, 0xca, 0xd6, 0xa0, 0xf7, 0x38, 0xdf, 0x30, 0x78, 0x2c, 0xaa, 0x69, 0xa2, 0xcf,
            0xb0, 0x27, 0x75, 0x54,
        ];
        let mut client_key = hmac(&verifier.stored_key, &[message]);
        for (key, byte) in client_key.iter_mut().zip(proof) {
            *key ^= byte;
        }
        assert_eq!(
            <[u8; 32]>::from(Sha256::digest(client_key)),
            verifier.stored_key
        );
    }
}
