#!lua flags=allow-oom
--[[
  node_offline — a node's socket closed. Touches nothing if another connection has registered.

  KEYS[1] cell           prefix of the cell's keys
  ARGV[1] nodeId
  ARGV[2] incarnation
  ARGV[3] connection
  ARGV[4] poolTtlMs      life of a pool's key
  ARGV[5] rescueLeaseMs  jobs that nobody took off it are named again after this long
  ARGV[6] nodeForgetMs   its record stays this long

  Returns {status, ...}
    offline     lost  (list of jobId#attempt)
    superseded
    unknown
]]
--@include lib_keys
--@include lib_now
local nodeId = ARGV[1]
local incarnation = tonumber(ARGV[2])
local connection = ARGV[3]
local poolTtlMs = tonumber(ARGV[4])
local rescueLeaseMs = tonumber(ARGV[5])
local nodeForgetMs = tonumber(ARGV[6])
--@include lib_capabilities
--@include lib_offline

local v = redis.call('HMGET', nodeKey(nodeId), 'incarnation', 'connection')
if not v[1] then return { 'unknown' } end
if tonumber(v[1]) ~= incarnation or v[2] ~= connection then return { 'superseded' } end
local pools = redis.call('HGET', infoKey(nodeId), 'pools') or ''
return { 'offline', markOffline(nodeId, pools) }
