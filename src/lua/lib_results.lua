--[[
  lib_results — a session's results: utterance → packed result; empty once acknowledged or
  forgotten, until every utterance before it is (`doneBelow`, whose own entry is never empty).

  Needs: sessionKey, resultsKey, strict. Gives: utteranceOf, isKept, forget, pastDone.
  With strict order the seq is the utterance's number; else the session's field `seq:<n>` tells whose
  it is. The bytes are stored as they came: putting anything to them would copy them once more.
]]
local function utteranceOf(seq)
  if strict then return seq end
  return redis.call('HGET', sessionKey, 'seq:' .. string.format('%d', seq))
end

local function isKept(utterance)
  return utterance and redis.call('HSTRLEN', resultsKey, utterance) > 0
end

-- Keeps only that the utterance has had its result.
local function forget(utterance, seq)
  redis.call('HSET', resultsKey, utterance, '')
  if not strict then redis.call('HDEL', sessionKey, 'seq:' .. string.format('%d', seq)) end
end

-- `doneBelow`, moved over the utterances that have had their result and need no entry any more. The
-- caller writes it.
local function pastDone(doneBelow)
  while redis.call('HGET', resultsKey, doneBelow) == '' do
    redis.call('HDEL', resultsKey, doneBelow)
    doneBelow = doneBelow + 1
  end
  return doneBelow
end
