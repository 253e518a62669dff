-- Renews, completes or releases a claim.
-- KEYS[1]: the key of the event. ARGV: renew, complete or release; owner; lease or retention in ms.
-- Returns 1 if the claim was changed, 0 if the owner does not hold it. record.rs describes the record.
local operation, owner, duration = ARGV[1], ARGV[2], ARGV[3]
local record = redis.call('GET', KEYS[1])
if not record then
    -- Changes nothing, but fails on a server that accepts no writes: a readiness check relies on it.
    redis.call('PEXPIRE', KEYS[1], 1)
    return 0
end

local state = string.sub(record, 1, 1)
if string.sub(record, 2, 17) ~= owner or state == 'F' then
    return 0
elseif state == 'D' then
    -- The same owner completes again because the reply was lost: confirm it.
    return operation == 'complete' and 1 or 0
end

local changed, ttl
if operation == 'complete' then
    changed, ttl = 'D' .. string.sub(record, 2, 33), duration
else
    ttl = redis.call('PTTL', KEYS[1])
    if operation == 'release' then
        changed = 'F' .. string.sub(record, 2)
    else
        ttl = math.max(ttl, duration)
        changed = string.sub(record, 1, 37) .. struct.pack('<d', ttl - duration)
    end
    ttl = string.format('%.0f', ttl)
end

if redis.pcall('SET', KEYS[1], changed, 'PX', ttl).err then
    -- A server without free memory permits `SET` only after another write of the script.
    redis.call('PEXPIRE', KEYS[1], ttl)
    redis.call('SET', KEYS[1], changed, 'PX', ttl)
end
return 1
