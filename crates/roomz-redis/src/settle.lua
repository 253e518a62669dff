-- Renews, completes or releases a claim. It needs no memory: see claim.lua.
-- KEYS[1]: the key of the event. ARGV: renew, complete or release; owner; lease or retention in ms.
-- Returns 1 if the claim was changed, 0 if the owner does not hold it.
local operation, owner, duration = ARGV[1], ARGV[2], ARGV[3]
local record = redis.call('HMGET', KEYS[1], 'owner', 'running')
local holder, running = record[1], record[2]

if not holder or string.sub(holder, 1, 16) ~= owner then
    -- Changes nothing, but fails on a server that accepts no writes: a readiness check relies on it.
    redis.call('HDEL', KEYS[1], '')
    return 0
elseif not running then
    -- The same owner completes again because the reply was lost: confirm it.
    return operation == 'complete' and 1 or 0
end

local attempt, lease, kept = struct.unpack('<I4dd', running)
if redis.call('PTTL', KEYS[1]) <= lease then
    return 0
elseif operation == 'complete' then
    redis.call('HDEL', KEYS[1], 'running')
    redis.call('PEXPIRE', KEYS[1], duration)
elseif operation == 'release' then
    redis.call('HDEL', KEYS[1], 'owner')
else
    if tonumber(duration) < lease then
        -- The record must not expire earlier because its lease ends earlier. Without free memory it does: a renewal must
        -- not fail.
        running = struct.pack('<I4d', attempt, duration) .. string.sub(running, 13)
        redis.pcall('HSET', KEYS[1], 'running', running)
    end
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', duration + kept))
end
return 1
