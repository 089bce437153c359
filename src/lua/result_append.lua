#!lua flags=allow-oom
--[[
  result_append — record an utterance's result; the first one wins.

  Anyone may record, whatever the owner's epoch. When the client acknowledges nothing, the oldest
  result is forgotten at a bound.

  KEYS[1] session       hash
  KEYS[2] results       hash
  ARGV[1] utterance
  ARGV[2] state         for the ledger
  ARGV[3] packed
  ARGV[4] keptMax       results kept unacknowledged
  ARGV[5] sessionTtlMs  how long they wait for the client

  Returns {status, ...}
    appended    seq
    exists
    no_session
]]
local sessionKey = KEYS[1]
local resultsKey = KEYS[2]
local utterance = tonumber(ARGV[1])
local state = ARGV[2]
local packed = ARGV[3]
local keptMax = tonumber(ARGV[4])
local sessionTtlMs = ARGV[5]

local v = redis.call('HMGET', sessionKey, 'order', 'doneBelow', 'nextSeq', 'kept', 'goneSeq',
  'firstSeq')
if not v[1] then return { 'no_session' } end
local strict = v[1] == 'strict'
local doneBelow = tonumber(v[2])
local nextSeq = tonumber(v[3])
local kept = tonumber(v[4]) + 1
local goneSeq = tonumber(v[5])
local firstSeq = tonumber(v[6])
--@include lib_results
if utterance < doneBelow or redis.call('HEXISTS', resultsKey, utterance) == 1 then
  return { 'exists' }
end

-- Between the first seq that may be kept and the last one given lie results kept and utterances
-- under way, both bounded.
local function forgetOldest()
  local seq = strict and doneBelow or firstSeq
  while not isKept(utteranceOf(seq)) do seq = seq + 1 end
  forget(utteranceOf(seq), seq)
  kept = kept - 1
  firstSeq = seq + 1
  goneSeq = math.max(goneSeq, seq)
  advanceDone(doneBelow)
end

local seq = strict and utterance or nextSeq
nextSeq = math.max(nextSeq, seq + 1)
redis.call('HSET', resultsKey, utterance, packed)
if not strict then
  redis.call('HSET', sessionKey, 'seq:' .. string.format('%d', seq), utterance)
end
if kept > keptMax then forgetOldest() end
redis.call('HSET', sessionKey, 'nextSeq', nextSeq, 'kept', kept, 'goneSeq', goneSeq,
  'firstSeq', firstSeq)
redis.call('HINCRBY', sessionKey, 'end:' .. state, 1)
redis.call('PEXPIRE', resultsKey, sessionTtlMs)
return { 'appended', seq }
