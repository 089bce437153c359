#!lua flags=allow-oom
--[[
  node_drain — the node gets no further jobs; those it runs will end.

  KEYS[1] cell    prefix of the cell's keys
  ARGV[1] nodeId

  Returns {status, ...}
    draining  instance
    unknown
]]
--@include lib_keys
local nodeId = ARGV[1]

local v = redis.call('HMGET', nodeKey(nodeId), 'instance', 'state')
if not v[1] then return { 'unknown' } end
redis.call('HSET', nodeKey(nodeId), 'drain', '1')
if v[2] ~= 'offline' then redis.call('HSET', nodeKey(nodeId), 'state', 'draining') end
return { 'draining', v[1] }
