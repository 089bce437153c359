#!lua flags=allow-oom
--[[
  result_ack — clients have every result up to a seq: they may be forgotten.

  KEYS[1…] per session: session results
  ARGV[1…] per session: resultSeq

  Returns a list, for each session {status, ...}
    ok
    unknown
]]
local FIRST_ITEM = 1
local ITEM = 1
local sessionKey
local resultsKey
local strict
--@include lib_results

-- Lost here, and counted. What was lost before it was counted is still to come: the client has it,
-- and it ends once more, for the ledger.
local function isTold(utterance)
  return redis.call('HEXISTS', sessionKey, 'told:' .. string.format('%d', utterance)) == 1
end

local function ack(resultSeq)
  local v = redis.call('HMGET', sessionKey, 'order', 'doneBelow', 'nextSeq', 'kept', 'firstSeq')
  if not v[1] then return { 'unknown' } end
  strict = v[1] == 'strict'
  local doneBelow = tonumber(v[2])
  local last = math.min(resultSeq, tonumber(v[3]) - 1)
  local kept = tonumber(v[4])
  local firstSeq = tonumber(v[5])
  local from = strict and doneBelow or firstSeq
  if from > last then return { 'ok' } end
  for seq = from, last do
    local utterance = utteranceOf(seq)
    if strict and seq == doneBelow then
      -- The next one in order needs no mark that it was there.
      local counts = seq == from or isKept(utterance)
      if redis.call('HDEL', resultsKey, utterance) == 1 then
        if counts then kept = kept - 1 end
        doneBelow = doneBelow + 1
      elseif isTold(utterance) then
        doneBelow = doneBelow + 1
      end
    elseif isKept(utterance) then
      forget(utterance, seq)
      kept = kept - 1
    elseif strict and isTold(utterance) then
      redis.call('HSETNX', resultsKey, utterance, '')
    end
  end
  redis.call('HSET', sessionKey, 'kept', kept, 'firstSeq', math.max(firstSeq, last + 1),
    'doneBelow', pastDone(doneBelow))
  return { 'ok' }
end

local replies = {}
for i = 1, #KEYS / 2 do
  sessionKey = KEYS[2 * i - 1]
  resultsKey = KEYS[2 * i]
  replies[i] = ack(tonumber(ARGV[FIRST_ITEM + (i - 1) * ITEM]))
end
return replies
