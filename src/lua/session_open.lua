#!lua
--[[
  session_open — a new session, or one that Redis has lost, or whose last changes it has lost, written
  again by its owner.

  KEYS[1]  session        hash
  KEYS[2]  results        hash
  ARGV[1]  owner
  ARGV[2]  epoch
  ARGV[3]  tokenHash
  ARGV[4]  formerToken    the one shown before
  ARGV[5]  tenant
  ARGV[6]  order          strict or relaxed
  ARGV[7]  config
  ARGV[8]  nextUtterance
  ARGV[9]  audioOffset
  ARGV[10] audioMs        the time there
  ARGV[11] turnId
  ARGV[12] doneBelow      utterances below this have their result, and the client has it
  ARGV[13] nextSeq        the next result_seq
  ARGV[14] ledger         state count …: the ends of all results that the client was given
  ARGV[15] given          utterance state …: the latest of them
  ARGV[16] sessionTtlMs   how long it waits for its client

  Returns {status, ...}
    opened  also for a repeat of the same call
    exists  another owner has it
]]
local sessionKey = KEYS[1]
local resultsKey = KEYS[2]
local owner = ARGV[1]
local epoch = tonumber(ARGV[2])
local tokenHash = ARGV[3]
local formerToken = ARGV[4]
local tenant = ARGV[5]
local order = ARGV[6]
local config = ARGV[7]
local nextUtterance = tonumber(ARGV[8])
local audioOffset = tonumber(ARGV[9])
local audioMs = tonumber(ARGV[10])
local turnId = tonumber(ARGV[11])
local doneBelow = tonumber(ARGV[12])
local nextSeq = tonumber(ARGV[13])
local ledger = ARGV[14]
local given = ARGV[15]
local sessionTtlMs = ARGV[16]
local strict = order == 'strict'
--@include lib_results

local v = redis.call('HMGET', sessionKey, 'owner', 'epoch', 'nextUtterance', 'audioOffset',
  'turnId', 'nextSeq', 'doneBelow', 'audioMs')
local stored = tonumber(v[2] or -1)
-- Of the same owner it is a later word, whatever became of a resume of its own.
if stored > epoch or (stored == epoch and v[1] ~= owner) then
  return { 'exists' }
end
local known = v[1]
if not known then
  -- What was given out under numbers that nobody knows any more cannot be given again.
  local goneSeq = strict and -1 or nextSeq - 1
  redis.call('HSET', sessionKey, 'owner', owner, 'epoch', epoch, 'token', tokenHash,
    'formerToken', formerToken, 'tenant', tenant, 'order', order, 'config', config,
    'nextUtterance', nextUtterance, 'audioOffset', audioOffset, 'audioMs', audioMs,
    'turnId', turnId, 'doneBelow', doneBelow, 'nextSeq', nextSeq, 'firstSeq', nextSeq,
    'kept', 0, 'goneSeq', goneSeq)
else
  redis.call('HSET', sessionKey, 'owner', owner, 'epoch', epoch, 'token', tokenHash,
    'formerToken', formerToken, 'nextUtterance', math.max(tonumber(v[3]), nextUtterance),
    'audioOffset', math.max(tonumber(v[4]), audioOffset),
    'audioMs', math.max(tonumber(v[8]), audioMs), 'turnId', math.max(tonumber(v[5]), turnId),
    'nextSeq', math.max(tonumber(v[6]), nextSeq))
end

-- Results that the client was given and that are lost: done, and counted. With relaxed order, none
-- may be given again under another number. With strict order, where the number is the utterance's, one
-- that the client has not confirmed may still be wanted: `told:<utterance>` is what it was counted as.
local from = known and tonumber(v[7]) or doneBelow
for utterance, state in string.gmatch(given, '(%d+) (%a+)') do
  local n = tonumber(utterance)
  if n >= from and redis.call('HEXISTS', resultsKey, utterance) == 0 then
    local first
    if strict then
      first = redis.call('HSETNX', sessionKey, 'told:' .. utterance, state)
      if n < doneBelow then redis.call('HSET', resultsKey, utterance, '') end
    else
      first = redis.call('HSETNX', resultsKey, utterance, '')
      redis.call('HSET', sessionKey, 'goneSeq', nextSeq - 1)
    end
    if known and first == 1 then redis.call('HINCRBY', sessionKey, 'end:' .. state, 1) end
  end
end
-- Those before that, of which the owner has only heard: its ledger counts them.
for utterance = from, doneBelow - 1 do redis.call('HSETNX', resultsKey, utterance, '') end
for state, count in string.gmatch(ledger, '(%a+) (%d+)') do
  local stored = tonumber(redis.call('HGET', sessionKey, 'end:' .. state) or 0)
  redis.call('HSET', sessionKey, 'end:' .. state, math.max(stored, tonumber(count)))
end
redis.call('HSET', sessionKey, 'doneBelow', pastDone(from))
redis.call('PEXPIRE', resultsKey, sessionTtlMs)
redis.call('PEXPIRE', sessionKey, sessionTtlMs)
return { 'opened' }
