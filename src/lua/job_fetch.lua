#!lua flags=no-writes
--[[
  job_fetch — a job's record and, if asked for, its audio.

  KEYS[1] cell       prefix of the cell's keys
  ARGV[1] jobId
  ARGV[2] withAudio  1: the audio too

  Returns {status, ...}
    found    now audio {field value …}  (audio empty when not asked for or not stored)
    unknown
]]
--@include lib_keys
--@include lib_now
local jobId = ARGV[1]
local withAudio = ARGV[2] == '1'

local fields = redis.call('HGETALL', jobKey(jobId))
if #fields == 0 then return { 'unknown' } end
local audio = ''
if withAudio then
  local spec = redis.call('HGET', jobKey(jobId), 'spec')
  local first, last = string.match(spec, '^%S+ %S+ (%d+) (%d+)')
  audio = redis.call('GET', audioKey(jobId, first, last)) or ''
end
return { 'found', now, audio, fields }
