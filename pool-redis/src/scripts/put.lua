-- Stores a piece of a payload. Returns 0 if the client that waits for it is gone.
-- KEYS: payload, or payload and session. ARGV: number of the piece, piece, milliseconds, unless they are those of the session.
local life = ARGV[3]
if KEYS[2] then
  life = redis.call('HGET', KEYS[2], 'life')
  if not life then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], life)
return 1
