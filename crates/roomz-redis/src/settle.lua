-- Renews, completes or releases a claim.
-- KEYS[1]: the key of the event. ARGV: renew, complete or release; owner; lease or retention in ms.
-- Returns 1 if the claim was changed, 0 if the owner does not hold it. record.rs describes the record.
local operation, owner, duration = ARGV[1], ARGV[2], ARGV[3]
local record = redis.call('GET', KEYS[1])
local state = record and string.sub(record, 1, 1)
local is_owner = record and string.sub(record, 2, 17) == owner

if is_owner and (state == 'D' and operation == 'complete' or state == 'F' and operation == 'release') then
    -- The same owner settles again because the reply was lost: confirm it.
    return 1
elseif not is_owner or state ~= 'R' then
    -- Writes the same time to live, which fails on a server that accepts no writes: a replica may be out of date, and a
    -- readiness check relies on it. A record whose time to live was removed (-1) stays.
    local ttl = redis.call('PTTL', KEYS[1])
    if ttl ~= -1 then
        redis.call('PEXPIRE', KEYS[1], math.max(ttl, 1))
    end
    return 0
end

local new_record, ttl
if operation == 'complete' then
    new_record, ttl = 'D' .. string.sub(record, 2, 33), duration
else
    -- In its last millisecond, a key has a time to live of 0, which SET rejects.
    ttl = math.max(redis.call('PTTL', KEYS[1]), 1)
    if operation == 'release' then
        new_record = 'F' .. string.sub(record, 2)
    else
        ttl = math.max(ttl, duration)
        new_record = string.sub(record, 1, 37) .. struct.pack('<d', ttl - duration)
    end
end

if redis.pcall('SET', KEYS[1], new_record, 'PX', ttl).err then
    -- A full server permits `SET` after another write of the script. The new record is not longer than the old one.
    -- After another refusal, this write fails, too.
    redis.call('PEXPIRE', KEYS[1], ttl)
    redis.call('SET', KEYS[1], new_record, 'PX', ttl)
end
return 1
