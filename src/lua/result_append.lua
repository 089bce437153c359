#!lua flags=allow-oom
--[[
  result_append — record utterances' results; the first one of each wins.

  Anyone may record, whatever the owner's epoch. When the client acknowledges nothing, the oldest
  result is forgotten at a bound.

  KEYS[1…] per result: session results
  ARGV[1] keptMax       results kept unacknowledged
  ARGV[2] sessionTtlMs  how long they wait for the client
  ARGV[3…] per result: utterance state packed
           (state: for the ledger)

  Returns a list, for each result {status, ...}
    appended    seq
    exists
    no_session
]]
local keptMax = tonumber(ARGV[1])
local sessionTtlMs = ARGV[2]
local FIRST_ITEM = 3
local ITEM = 3
local sessionKey
local resultsKey
local strict
--@include lib_results

-- Between the first seq that may be kept and the last one given lie results kept and utterances
-- under way, both bounded.
local function forgetOldest(seq, doneBelow, goneSeq)
  while not isKept(utteranceOf(seq)) do seq = seq + 1 end
  forget(utteranceOf(seq), seq)
  redis.call('HSET', sessionKey, 'firstSeq', seq + 1, 'goneSeq', math.max(goneSeq, seq),
    'doneBelow', pastDone(doneBelow))
end

local function append(utterance, state, packed)
  local counter = 'end:' .. state
  local v = redis.call('HMGET', sessionKey, 'order', 'doneBelow', 'nextSeq', 'kept', counter,
    'goneSeq', 'firstSeq', 'told:' .. utterance)
  if not v[1] then return { 'no_session' } end
  strict = v[1] == 'strict'
  local doneBelow = tonumber(v[2])
  local known = tonumber(utterance) < doneBelow
    or redis.call('HSETNX', resultsKey, utterance, packed) == 0
  if known then return { 'exists' } end
  local nextSeq = tonumber(v[3])
  local seq = strict and tonumber(utterance) or nextSeq
  local kept = tonumber(v[4]) + 1
  if not strict then
    redis.call('HSET', sessionKey, 'seq:' .. string.format('%d', seq), utterance)
  end
  if kept > keptMax then
    forgetOldest(strict and doneBelow or tonumber(v[7]), doneBelow, tonumber(v[6]))
    kept = kept - 1
  end
  redis.call('HSET', sessionKey, 'nextSeq', math.max(nextSeq, seq + 1), 'kept', kept,
    counter, (v[5] or 0) + 1)
  if v[8] then
    -- Redis had lost the result that was counted before (session_open).
    redis.call('HINCRBY', sessionKey, 'end:' .. v[8], -1)
    redis.call('HDEL', sessionKey, 'told:' .. utterance)
  end
  redis.call('PEXPIRE', resultsKey, sessionTtlMs)
  return { 'appended', seq }
end

local replies = {}
for i = 1, #KEYS / 2 do
  sessionKey = KEYS[2 * i - 1]
  resultsKey = KEYS[2 * i]
  local at = FIRST_ITEM + (i - 1) * ITEM
  replies[i] = append(ARGV[at], ARGV[at + 1], ARGV[at + 2])
end
return replies
