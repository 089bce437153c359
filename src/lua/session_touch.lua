#!lua flags=allow-oom
--[[
  session_touch — an open session waits for its client anew, with its results.

  KEYS[1] session       hash
  KEYS[2] results       hash
  ARGV[1] epoch
  ARGV[2] sessionTtlMs  how long it waits for its client

  Returns {status, ...}
    ok
    fenced   a newer owner has it
    unknown
]]
local sessionKey = KEYS[1]
local resultsKey = KEYS[2]
local epoch = tonumber(ARGV[1])
local sessionTtlMs = ARGV[2]

local stored = redis.call('HGET', sessionKey, 'epoch')
if not stored then return { 'unknown' } end
if tonumber(stored) > epoch then return { 'fenced' } end
redis.call('PEXPIRE', sessionKey, sessionTtlMs)
redis.call('PEXPIRE', resultsKey, sessionTtlMs)
return { 'ok' }
