-- Renews, completes or releases a claim.
-- KEYS[1]: the key of the event. ARGV: renew, complete or release; owner; lease or retention in ms.
-- Returns 1 if the claim was changed, 0 if the owner does not hold it.
local operation, owner, duration = ARGV[1], ARGV[2], tonumber(ARGV[3])
local record = redis.call('HMGET', KEYS[1], 'state', 'owner')
local state, holder = record[1], record[2]

if holder ~= owner then
    return 0
elseif state == 'done' then
    -- The same owner completes again because the reply was lost: confirm it.
    return operation == 'complete' and 1 or 0
elseif operation == 'renew' then
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    redis.call('HSET', KEYS[1], 'lease_end', string.format('%.0f', now + duration))
    if redis.call('PTTL', KEYS[1]) < duration then
        redis.call('PEXPIRE', KEYS[1], duration)
    end
elseif operation == 'complete' then
    redis.call('HSET', KEYS[1], 'state', 'done')
    redis.call('PEXPIRE', KEYS[1], duration)
else
    redis.call('HSET', KEYS[1], 'state', 'free')
    redis.call('HDEL', KEYS[1], 'owner')
end
return 1
