#!lua flags=allow-oom
--[[
  session_advance — what is durable has moved on: the next utterance and the audio offset. The
  cursor never goes back.

  KEYS[1] session        hash
  ARGV[1] epoch
  ARGV[2] nextUtterance
  ARGV[3] audioOffset
  ARGV[4] turnId
  ARGV[5] sessionTtlMs   how long it waits for its client

  Returns {status, ...}
    ok
    fenced   a newer owner has it
    unknown
]]
local sessionKey = KEYS[1]
local epoch = tonumber(ARGV[1])
local nextUtterance = tonumber(ARGV[2])
local audioOffset = tonumber(ARGV[3])
local turnId = tonumber(ARGV[4])
local sessionTtlMs = ARGV[5]

local v = redis.call('HMGET', sessionKey, 'epoch', 'nextUtterance', 'audioOffset', 'turnId')
if not v[1] then return { 'unknown' } end
if tonumber(v[1]) > epoch then return { 'fenced' } end
-- A higher epoch than the stored one: Redis has lost its last second. The caller's is right.
redis.call('HSET', sessionKey, 'epoch', epoch,
  'nextUtterance', math.max(tonumber(v[2]), nextUtterance),
  'audioOffset', math.max(tonumber(v[3]), audioOffset), 'turnId', math.max(tonumber(v[4]), turnId))
redis.call('PEXPIRE', sessionKey, sessionTtlMs)
return { 'ok' }
