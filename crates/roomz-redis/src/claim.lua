-- Claims an event.
-- KEYS[1]: the key of the event. ARGV: owner, fingerprint, lease in ms, retention in ms.
-- Returns the state (0 claimed, 1 in flight, 2 done), the attempt or the remaining lease in ms, and 1 if the
-- fingerprint is that of the record.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local owner, fingerprint, lease, retention = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local record = redis.call('HMGET', KEYS[1], 'state', 'owner', 'fingerprint', 'attempt', 'lease_end')
local state, holder, first, attempt, lease_end =
    record[1], record[2], record[3], tonumber(record[4]), tonumber(record[5])

if not state then
    attempt, first = 1, fingerprint
elseif state == 'done' then
    return {2, 0, first == fingerprint and 1 or 0}
elseif state == 'running' and holder == owner then
    -- The same owner claims again because the reply was lost: keep the attempt, renew the lease.
elseif state == 'running' and lease_end > now then
    return {1, lease_end - now, first == fingerprint and 1 or 0}
else
    attempt = attempt + 1
end

redis.call('HSET', KEYS[1], 'state', 'running', 'owner', owner, 'fingerprint', first,
    'attempt', attempt, 'lease_end', string.format('%.0f', now + lease))
redis.call('PEXPIRE', KEYS[1], math.max(lease, retention))
return {0, attempt, first == fingerprint and 1 or 0}
