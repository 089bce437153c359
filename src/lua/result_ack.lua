#!lua flags=allow-oom
--[[
  result_ack — the client has every result up to a seq: they may be forgotten.

  KEYS[1] session    hash
  KEYS[2] results    hash
  ARGV[1] resultSeq

  Returns {status, ...}
    ok
    unknown
]]
local sessionKey = KEYS[1]
local resultsKey = KEYS[2]
local resultSeq = tonumber(ARGV[1])

local v = redis.call('HMGET', sessionKey, 'order', 'doneBelow', 'nextSeq', 'kept', 'firstSeq')
if not v[1] then return { 'unknown' } end
local strict = v[1] == 'strict'
local doneBelow = tonumber(v[2])
local last = math.min(resultSeq, tonumber(v[3]) - 1)
local kept = tonumber(v[4])
local firstSeq = tonumber(v[5])
--@include lib_results

for seq = strict and doneBelow or firstSeq, last do
  local utterance = utteranceOf(seq)
  if isKept(utterance) then
    forget(utterance, seq)
    kept = kept - 1
  end
end
redis.call('HSET', sessionKey, 'kept', kept, 'firstSeq', math.max(firstSeq, last + 1))
advanceDone(doneBelow)
return { 'ok' }
