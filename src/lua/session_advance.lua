#!lua flags=allow-oom
--[[
  session_advance — what is durable has moved on: the next utterance of sessions, and the audio offset
  with its time. The cursor never goes back.

  KEYS[1…] per session: session
  ARGV[1] sessionTtlMs  how long each waits for its client
  ARGV[2…] per session: epoch nextUtterance audioOffset audioMs turnId

  Returns a list, for each session {status, ...}
    ok
    fenced   a newer owner has it
    unknown  or it has lost that the caller took it over: to be opened again
]]
local sessionTtlMs = ARGV[1]
local FIRST_ITEM = 2
local ITEM = 5

local function advance(sessionKey, at)
  local v = redis.call('HMGET', sessionKey, 'epoch', 'nextUtterance', 'audioOffset', 'audioMs',
    'turnId')
  local stored, epoch = tonumber(v[1] or -1), tonumber(ARGV[at])
  if stored < epoch then return { 'unknown' } end
  if stored > epoch then return { 'fenced' } end
  redis.call('HSET', sessionKey,
    'nextUtterance', math.max(tonumber(v[2]), tonumber(ARGV[at + 1])),
    'audioOffset', math.max(tonumber(v[3]), tonumber(ARGV[at + 2])),
    'audioMs', math.max(tonumber(v[4]), tonumber(ARGV[at + 3])),
    'turnId', math.max(tonumber(v[5]), tonumber(ARGV[at + 4])))
  redis.call('PEXPIRE', sessionKey, sessionTtlMs)
  return { 'ok' }
end

local replies = {}
for i = 1, #KEYS do replies[i] = advance(KEYS[i], FIRST_ITEM + (i - 1) * ITEM) end
return replies
