--[[
  lib_results — a session's results: utterance → packed result; empty once acknowledged or
  forgotten, until every utterance before it is (`doneBelow`).

  Needs: sessionKey, resultsKey, strict. Gives: utteranceOf, isKept, forget, advanceDone.
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

-- Moves `doneBelow` over the utterances that have had their result and need no entry any more.
local function advanceDone(doneBelow)
  local from = doneBelow
  while redis.call('HGET', resultsKey, doneBelow) == '' do
    redis.call('HDEL', resultsKey, doneBelow)
    doneBelow = doneBelow + 1
  end
  if doneBelow > from then redis.call('HSET', sessionKey, 'doneBelow', doneBelow) end
end
