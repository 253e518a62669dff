#!/usr/bin/env bash
# A full cache of theine 2.0.0 (PyPI) or quick_cache 0.7.0 (crate) forgets the id that it was just given.
#
# Guess: a cache with room for 1 000 ids, given 1 300 different ones, remembers about the newest 1 000. theine says that
# its policy switches between LRU and LFU as the work demands, quick_cache that it beats LRU.
# Seen: of the newest 300 ids theine has fewer than 20, also after 5 000 ids, and quick_cache 40 to 60: an id never asked for
# makes room for older ones. `set` and `insert` report nothing. cachetools 6.2.1 and cachebox 6.2.10 have all 300.
# It matters to whoever remembers webhook ids with such a cache: duplicates come soon after, and they are handled again.
# Ids are asked for at most once, which is the worst case of these policies. Take LRU or FIFO.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check theine==2.0.0 cachebox==6.2.10 cachetools==6.2.1
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[profile.dev]
debug = false

[dependencies]
quick_cache = "=0.7.0"
TOML
cat > src/main.rs <<'RUST'
fn main() {
    let cache = quick_cache::sync::Cache::new(1_000);
    for id in 0..1_300 {
        cache.insert(id, ());
    }
    let kept = (1_000..1_300).filter(|id| cache.get(id).is_some()).count();
    eprintln!("quick_cache has {kept}"); // differs from run to run
    println!("quick_cache, 1300 ids: {} the newest 300", if kept < 100 { "fewer than 100 of" } else { "many of" });
}
RUST
cat > run.py <<'PY'
import cachebox, cachetools, theine

for count in 1_300, 5_000:
    caches = {"theine": theine.Cache(1_000), "cachetools": cachetools.LRUCache(1_000), "cachebox": cachebox.LRUCache(1_000)}
    for name, cache in caches.items():
        for id in range(count):
            if name == "theine":
                cache.set(str(id), True)
            else:
                cache[str(id)] = True
        newest = [str(id) for id in range(count - 300, count)]
        kept = sum(cache.get(id)[1] if name == "theine" else id in cache for id in newest)
        amount = kept if kept in (0, 300) else "fewer than 100" if kept < 100 else "many"
        print(f"{name}, {count} ids: {amount} of the newest 300")
PY
echo "theine 2.0.0, quick_cache 0.7.0, cachetools 6.2.1, cachebox 6.2.10"
seen=$(venv/bin/python run.py; CARGO_TARGET_DIR=$folder/target cargo run --quiet -j1)
echo "$seen"
expected='theine, 1300 ids: fewer than 100 of the newest 300
cachetools, 1300 ids: 300 of the newest 300
cachebox, 1300 ids: 300 of the newest 300
theine, 5000 ids: fewer than 100 of the newest 300
cachetools, 5000 ids: 300 of the newest 300
cachebox, 5000 ids: 300 of the newest 300
quick_cache, 1300 ids: fewer than 100 of the newest 300'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
