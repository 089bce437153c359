#!lua
--[[
  session_open — a new session, or one whose record Redis has lost, opened again by its owner.

  KEYS[1]  session        hash
  ARGV[1]  owner
  ARGV[2]  epoch
  ARGV[3]  tokenHash
  ARGV[4]  tenant
  ARGV[5]  order          strict or relaxed
  ARGV[6]  config
  ARGV[7]  nextUtterance
  ARGV[8]  audioOffset
  ARGV[9]  doneBelow      utterances below this have their result, and the client has it
  ARGV[10] nextSeq        the next result_seq, where it is not the utterance's number
  ARGV[11] sessionTtlMs   how long it waits for its client

  Returns {status, ...}
    opened  also for a repeat of the same call
    exists
]]
local sessionKey = KEYS[1]
local owner = ARGV[1]
local epoch = ARGV[2]
local tokenHash = ARGV[3]
local tenant = ARGV[4]
local order = ARGV[5]
local config = ARGV[6]
local nextUtterance = ARGV[7]
local audioOffset = ARGV[8]
local doneBelow = ARGV[9]
local nextSeq = ARGV[10]
local sessionTtlMs = ARGV[11]

local v = redis.call('HMGET', sessionKey, 'owner', 'epoch', 'token')
if v[1] then
  local same = v[1] == owner and v[2] == epoch and v[3] == tokenHash
  return { same and 'opened' or 'exists' }
end
redis.call('HSET', sessionKey, 'owner', owner, 'epoch', epoch, 'token', tokenHash,
  'formerToken', '', 'tenant', tenant, 'order', order, 'config', config,
  'nextUtterance', nextUtterance, 'audioOffset', audioOffset, 'turnId', 0,
  'doneBelow', doneBelow, 'nextSeq', nextSeq, 'firstSeq', nextSeq, 'kept', 0, 'goneSeq', -1)
redis.call('PEXPIRE', sessionKey, sessionTtlMs)
return { 'opened' }
