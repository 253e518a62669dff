-- Claims an event.
-- KEYS[1]: the key of the event. ARGV: owner, fingerprint, lease in ms, retention in ms.
-- Returns the state (0 claimed, 1 in flight, 2 done), the attempt or the remaining lease in ms, and 1 if the
-- fingerprint is that of the record.
--
-- The fields tell the state: `owner` and `running` while the event runs, only `owner` when it is done, only `running` when it
-- is free. The time to live of the key is the rest of the lease plus `kept`, until the event is done. So a settlement
-- deletes a field or sets the time to live, which a server without free memory permits.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local owner, fingerprint, lease, retention = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local record = redis.call('HMGET', KEYS[1], 'owner', 'running', 'fingerprint', 'attempt', 'kept', 'expires')
local holder, running, first, attempt, kept, expires =
    record[1], record[2], record[3], tonumber(record[4]), tonumber(record[5]), tonumber(record[6])
local remaining = 0
if first and running then
    remaining = redis.call('PTTL', KEYS[1]) - kept
end

if not first or (running and remaining <= 0 and expires <= now) then
    attempt, first = 1, fingerprint
elseif not running then
    return {2, 0, first == fingerprint and 1 or 0}
elseif holder == owner then
    -- The same owner claims again because the reply was lost: keep the attempt, renew the lease.
elseif holder and remaining > 0 then
    return {1, remaining, first == fingerprint and 1 or 0}
else
    attempt = attempt + 1
end

kept = math.max(lease, retention)
redis.call('HSET', KEYS[1], 'owner', owner, 'running', 1, 'fingerprint', first, 'attempt', attempt,
    'kept', string.format('%.0f', kept), 'expires', string.format('%.0f', now + kept))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', lease + kept))
return {0, attempt, first == fingerprint and 1 or 0}
