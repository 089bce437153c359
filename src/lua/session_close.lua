#!lua flags=allow-oom
--[[
  session_close — everything was delivered: forget the session.

  KEYS[1] session  hash
  KEYS[2] results  hash
  ARGV[1] epoch

  Returns {status, ...}
    closed
    fenced   a newer owner has it; nothing was touched
    unknown
]]
local sessionKey = KEYS[1]
local resultsKey = KEYS[2]
local epoch = tonumber(ARGV[1])

local stored = redis.call('HGET', sessionKey, 'epoch')
if not stored then return { 'unknown' } end
if tonumber(stored) > epoch then return { 'fenced' } end
redis.call('DEL', sessionKey, resultsKey)
return { 'closed' }
