-- Renews, completes or releases a claim. It needs no memory: see claim.lua.
-- KEYS[1]: the key of the event. ARGV: renew, complete or release; owner; lease or retention in ms.
-- Returns 1 if the claim was changed, 0 if the owner does not hold it.
local operation, owner, duration = ARGV[1], ARGV[2], tonumber(ARGV[3])
local record = redis.call('HMGET', KEYS[1], 'owner', 'running', 'kept', 'expires')
local holder, running, kept, expires = record[1], record[2], tonumber(record[3]), tonumber(record[4])

if holder ~= owner then
    -- Changes nothing, but fails on a server that accepts no writes: a readiness check relies on it.
    redis.call('HDEL', KEYS[1], '')
    return 0
elseif not running then
    -- The same owner completes again because the reply was lost: confirm it.
    return operation == 'complete' and 1 or 0
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if expires <= now and redis.call('PTTL', KEYS[1]) <= kept then
    return 0
elseif operation == 'renew' then
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', duration + kept))
elseif operation == 'complete' then
    redis.call('HDEL', KEYS[1], 'running')
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', duration))
else
    redis.call('HDEL', KEYS[1], 'owner')
end
return 1
