-- Claims an event.
-- KEYS[1]: the key of the event. ARGV: owner, fingerprint, and in ms: lease, `kept` (the larger of lease and retention),
-- lease plus `kept`.
-- Returns the state (0 claimed, 1 in flight, 2 done), the attempt or the remaining lease in ms, and 1 if the
-- fingerprint is that of the record.
--
-- A record is a hash with two fields. Each further field and each further command costs time on the server.
--   `owner`: the owner (16 bytes) and the fingerprint. Missing while the event is free.
--   `running`: attempt, `lease`, `kept`, and the fingerprint. Missing when the event is done.
-- The time to live of the key is the rest of the lease plus `kept`, until the event is done. So a settlement deletes a
-- field or sets the time to live, which a server without free memory permits.
--
-- A record that is not done counts as expired when its time to live is `lease` or less: `kept` after the claim, or after the
-- last renewal if that was for `lease`. A longer renewal makes it later.
local owner, fingerprint, lease, kept = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local record = redis.call('HMGET', KEYS[1], 'owner', 'running')
local holder, running = record[1], record[2]
local attempt, first = 1, fingerprint

if running then
    local last, its_lease, its_kept, its_fingerprint = struct.unpack('<I4ddc16', running)
    local ttl = redis.call('PTTL', KEYS[1])
    if ttl > its_lease then
        first = its_fingerprint
        if holder and string.sub(holder, 1, 16) == owner then
            -- The same owner claims again because the reply was lost: keep the attempt, renew the lease.
            attempt = last
        elseif holder and ttl > its_kept then
            return {1, ttl - its_kept, first == fingerprint and 1 or 0}
        else
            attempt = last + 1
        end
    end
elseif holder then
    return {2, 0, string.sub(holder, 17) == fingerprint and 1 or 0}
end

redis.call('HSET', KEYS[1], 'owner', owner .. first, 'running', struct.pack('<I4dd', attempt, lease, kept) .. first)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {0, attempt, first == fingerprint and 1 or 0}
