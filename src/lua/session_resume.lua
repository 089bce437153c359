#!lua flags=allow-oom
--[[
  session_resume — a new owner takes the session over: the epoch rises, so that the old owner can
  change nothing any more, and the token changes.

  The token shown last stays good until the next one has been shown: the answer with the next one
  may never reach the client. So a resume that an instance carries out late, behind a later one of the
  same client, may show a good token: its number tells.

  KEYS[1] session       hash
  KEYS[2] results       hash
  ARGV[1] owner         the process that takes it over, in one of its lives
  ARGV[2] tokenHash     of the token shown; empty: an instance takes up its own session again
  ARGV[3] newTokenHash
  ARGV[4] resultSeq     the last result the client has; empty: unknown
  ARGV[5] keptAfter     results after this one are sent
  ARGV[6] attempt       the number of this resume; empty: the client does not count
  ARGV[7] sessionTtlMs  how long it waits for its client
  ARGV[8] ledgerStates  the end states, with spaces between
  ARGV[9] pendingMax    utterances without a result that are named

  Returns {status, ...}
    resumed       epoch audioOffset audioMs nextUtterance turnId order config results pending ledger
                  token formerToken ended
                  (results: utterance, seq, packed, …; pending, ended: utterances; ledger: counts)
    unknown
    refused       wrong token, or behind a later resume
    fenced        no token, and another owner has it: nothing was touched
    results_gone  oldest
]]
local sessionKey = KEYS[1]
local resultsKey = KEYS[2]
local owner = ARGV[1]
local tokenHash = ARGV[2]
local newTokenHash = ARGV[3]
local resultSeq = tonumber(ARGV[4])
local keptAfter = tonumber(ARGV[5])
local attempt = tonumber(ARGV[6])
local sessionTtlMs = ARGV[7]
local ledgerStates = ARGV[8]
local pendingMax = tonumber(ARGV[9])

local v = redis.call('HMGET', sessionKey, 'epoch', 'token', 'formerToken', 'audioOffset',
  'nextUtterance', 'turnId', 'order', 'config', 'doneBelow', 'goneSeq', 'firstSeq', 'nextSeq',
  'owner', 'attempt', 'audioMs')
if not v[1] then return { 'unknown' } end
local s = {
  epoch = tonumber(v[1]), token = v[2], formerToken = v[3], audioOffset = v[4],
  nextUtterance = tonumber(v[5]), turnId = v[6], order = v[7], config = v[8],
  doneBelow = tonumber(v[9]), goneSeq = tonumber(v[10]), firstSeq = tonumber(v[11]),
  nextSeq = tonumber(v[12]), owner = v[13], attempt = tonumber(v[14] or ''), audioMs = v[15],
}
local strict = s.order == 'strict'
--@include lib_results
-- An owner that stood still while its client went elsewhere must not take the session back.
if tokenHash == '' and owner ~= s.owner then return { 'fenced' } end
if tokenHash ~= '' and tokenHash ~= s.token and tokenHash ~= s.formerToken then
  return { 'refused' }
end
if attempt and s.attempt and attempt <= s.attempt then return { 'refused' } end
if resultSeq and resultSeq < s.goneSeq then return { 'results_gone', s.goneSeq + 1 } end

-- What is kept, and what is still to come. Both are bounded: results that are not acknowledged by
-- their own bound, the others by the jobs a session may have under way.
local results, pending = {}, {}
local from = strict and s.doneBelow or s.firstSeq
from = math.max(from, keptAfter + 1)
for seq = from, s.nextSeq - 1 do
  local utterance = utteranceOf(seq)
  if isKept(utterance) then
    results[#results + 1] = utterance
    results[#results + 1] = seq
    results[#results + 1] = redis.call('HGET', resultsKey, utterance)
  end
end
-- What the client was told, and names, is not due although Redis has lost it: it is counted already.
local function counted(utterance)
  if not strict or utterance > (resultSeq or -1) then return false end
  return redis.call('HEXISTS', sessionKey, 'told:' .. string.format('%d', utterance)) == 1
end
for utterance = s.doneBelow, s.nextUtterance - 1 do
  if redis.call('HEXISTS', resultsKey, utterance) == 0 and not counted(utterance) then
    pending[#pending + 1] = utterance
  end
  if #pending == pendingMax then break end
end
-- Ended beyond the cursor: who goes on behind their jobs need not look for them.
local ended = {}
for utterance = s.nextUtterance, s.doneBelow - 1 do ended[#ended + 1] = utterance end
for _, field in ipairs(redis.call('HKEYS', resultsKey)) do
  local utterance = tonumber(field)
  if utterance >= math.max(s.nextUtterance, s.doneBelow) then ended[#ended + 1] = utterance end
end
table.sort(ended)
local states = {}
for state in string.gmatch(ledgerStates, '%S+') do states[#states + 1] = 'end:' .. state end
local ledger = redis.call('HMGET', sessionKey, unpack(states))
for i = 1, #states do ledger[i] = tonumber(ledger[i] or 0) end
-- What is due is not counted, whatever the client had been told of it before it was lost.
for _, utterance in ipairs(pending) do
  local told = redis.call('HGET', sessionKey, 'told:' .. utterance)
  for i = 1, #states do
    if told and states[i] == 'end:' .. told then ledger[i] = ledger[i] - 1 end
  end
end

redis.call('HSET', sessionKey, 'epoch', s.epoch + 1, 'owner', owner)
if tokenHash ~= '' then
  s.token, s.formerToken = newTokenHash, tokenHash
  redis.call('HSET', sessionKey, 'token', newTokenHash, 'formerToken', tokenHash)
  if attempt then redis.call('HSET', sessionKey, 'attempt', attempt) end
end
redis.call('PEXPIRE', sessionKey, sessionTtlMs)
redis.call('PEXPIRE', resultsKey, sessionTtlMs)
return {
  'resumed', s.epoch + 1, s.audioOffset, s.audioMs, s.nextUtterance, s.turnId, s.order, s.config,
  results, pending, ledger, s.token, s.formerToken, ended,
}
