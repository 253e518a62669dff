//! The memory of a process that used a secret and dropped it.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "helpers of tests")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};

use sha2::block_api::compress512;

const SECRET: &[u8] = b"secret-canary-memory-93d1";
/// The state of SHA-512 before the first block.
const INITIAL: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

/// Everything that is as good as the secret: its text, the padded key blocks, and the two states of the HMAC.
fn patterns() -> Vec<(&'static str, Vec<u8>)> {
    let block = |pad| {
        let mut block = [pad; 128];
        block.iter_mut().zip(SECRET).for_each(|(padded, byte)| *padded ^= byte);
        block
    };
    let state = |pad| {
        let mut state = INITIAL;
        compress512(&mut state, &[block(pad)]);
        state.iter().flat_map(|word| word.to_ne_bytes()).collect()
    };
    vec![
        ("text", SECRET.to_vec()),
        ("inner block", block(0x36)[..SECRET.len()].to_vec()),
        ("outer block", block(0x5c)[..SECRET.len()].to_vec()),
        ("inner state", state(0x36)),
        ("outer state", state(0x5c)),
    ]
}

/// Where the patterns are in the writable memory of a process: the name of the pattern, and whether it is on
/// the stack.
fn find(process: u32) -> Vec<(&'static str, bool)> {
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut found = Vec::new();
    for map in maps.lines().filter(|map| map.contains(" rw")) {
        let (start, end) = map.split(' ').next().unwrap().split_once('-').unwrap();
        let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        if memory.read_exact_at(&mut bytes, start).is_err() {
            continue;
        }
        for (name, pattern) in patterns() {
            let count = bytes.windows(pattern.len()).filter(|window| *window == pattern).count();
            found.extend(std::iter::repeat_n((name, map.ends_with("[stack]")), count));
        }
    }
    found
}

#[test]
fn dropped_secret_leaves_nothing_on_heap() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, SECRET).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_secret-holder"))
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut states = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut found = ["held", "dropped"].map(|state| {
        assert_eq!(states.next().unwrap().unwrap(), state);
        let found = find(process.id());
        process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        found
    });
    assert!(process.wait().unwrap().success());
    found.iter_mut().for_each(|found| found.sort_unstable());
    eprintln!("{found:?}");
    let [held, dropped] = found;
    assert!(held.contains(&("inner state", false)), "the search finds a secret that is in use: {held:?}");
    let on_heap: Vec<_> = dropped.iter().filter(|(_, is_on_stack)| !is_on_stack).collect();
    assert!(on_heap.is_empty(), "{on_heap:?}");
}
