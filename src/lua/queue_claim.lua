#!lua flags=allow-oom
--[[
  queue_claim — hand waiting jobs to a node that gained room.

  KEYS[1] cell             prefix of the cell's keys
  ARGV[1] acceptMs         time a node has to accept
  ARGV[2] requeueMs        a waiting job is looked at again after this long
  ARGV[3] degradedProbeMs  rest of a degraded node between probes
  ARGV[4] nodeId
  ARGV[5] limit            jobs handed at most

  Returns a list of {jobId attempt nodeId instance owner}
]]
--@include lib_keys
--@include lib_now
local acceptMs = tonumber(ARGV[1])
local requeueMs = tonumber(ARGV[2])
local degradedProbeMs = tonumber(ARGV[3])
local nodeId = ARGV[4]
local limit = tonumber(ARGV[5])
--@include lib_job
--@include lib_node
--@include lib_select
--@include lib_queue
--@include lib_waiting
--@include lib_hand

local handed = {}
handTo(nodeId, limit, handed)
return handed
