#!lua
--[[
  instance_heartbeat — an instance's place in the index of instances. Its presence itself is the
  key of its own tag.

  KEYS[1] instances  zset, instance → end of its lease
  ARGV[1] instance
  ARGV[2] ttlMs      lease
  ARGV[3] forgetMs   an instance long gone is dropped from the index

  Returns {status, ...}
    ok  now
]]
local instancesKey = KEYS[1]
--@include lib_now
local instance = ARGV[1]
local ttlMs = tonumber(ARGV[2])
local forgetMs = tonumber(ARGV[3])
-- Dropped per call.
local DROP_MAX = 16

redis.call('ZADD', instancesKey, now + ttlMs, instance)
local gone = redis.call('ZRANGEBYSCORE', instancesKey, '-inf', now - forgetMs, 'LIMIT', 0, DROP_MAX)
if #gone > 0 then redis.call('ZREM', instancesKey, unpack(gone)) end
return { 'ok', now }
