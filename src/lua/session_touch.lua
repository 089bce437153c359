#!lua flags=allow-oom
--[[
  session_touch — open sessions wait for their clients anew, with their results.

  KEYS[1…] per session: session results
  ARGV[1] sessionTtlMs  how long each waits for its client
  ARGV[2…] per session: epoch

  Returns a list, for each session {status, ...}
    ok
    fenced   a newer owner has it
    unknown  or it has lost that the caller took it over: to be opened again
]]
local sessionTtlMs = ARGV[1]
local FIRST_ITEM = 2
local ITEM = 1

local function touch(sessionKey, resultsKey, epoch)
  local stored = tonumber(redis.call('HGET', sessionKey, 'epoch') or -1)
  if stored < epoch then return { 'unknown' } end
  if stored > epoch then return { 'fenced' } end
  redis.call('PEXPIRE', sessionKey, sessionTtlMs)
  redis.call('PEXPIRE', resultsKey, sessionTtlMs)
  return { 'ok' }
end

local replies = {}
for i = 1, #KEYS / 2 do
  local epoch = tonumber(ARGV[FIRST_ITEM + (i - 1) * ITEM])
  replies[i] = touch(KEYS[2 * i - 1], KEYS[2 * i], epoch)
end
return replies
