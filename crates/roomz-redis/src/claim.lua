-- Claims an event after `SET NX` did not: the event has a record, or the server refuses `SET NX`.
-- KEYS[1]: the key of the event. ARGV: owner, fingerprint, and in ms: lease, `kept` (the larger of lease and retention).
-- Returns the state (0 claimed, 1 in flight, 2 done), the attempt or the remaining lease in ms, and 1 if the
-- fingerprint is that of the record. record.rs describes the record.
local owner, fingerprint, lease, kept = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local record = redis.call('GET', KEYS[1])
local attempt, first_fingerprint = 1, fingerprint

if record then
    local state, holder = string.sub(record, 1, 1), string.sub(record, 2, 17)
    first_fingerprint = string.sub(record, 18, 33)
    local matches = first_fingerprint == fingerprint and 1 or 0
    if state == 'D' then
        return {2, 0, matches}
    end
    local last_attempt, after_lease = struct.unpack('<I4d', record, 34)
    if state == 'R' and holder == owner then
        -- The same owner claims again because the reply was lost: keep the attempt, renew the lease.
        attempt = last_attempt
    else
        local remaining = redis.call('PTTL', KEYS[1]) - after_lease
        if state == 'R' and remaining > 0 then
            return {1, remaining, matches}
        end
        attempt = last_attempt + 1
    end
    -- A full server permits `SET` after another write of the script. The new record is as long as the old one.
    redis.call('PEXPIRE', KEYS[1], kept)
end

local new_record = 'R' .. owner .. first_fingerprint .. struct.pack('<I4d', attempt, kept - lease)
redis.call('SET', KEYS[1], new_record, 'PX', kept)
return {0, attempt, first_fingerprint == fingerprint and 1 or 0}
