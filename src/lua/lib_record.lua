--[[
  lib_record — a job's record as it is first written, and what is said of one that is there already.

  Needs: lib_job, lib_node, lib_now. Gives: createRecord, existsReply.
]]
local function orDash(text)
  return text == '' and '-' or text
end

-- `spec`: pool owner start end deadline tag affinity needs created hasAudio tenant; with `-` for none.
local function specText(spec)
  return table.concat({
    spec.pool, spec.owner, spec.first, spec.last, spec.deadline, spec.tag, orDash(spec.affinity),
    orDash(spec.needs), now, spec.audio, spec.tenant,
  }, ' ')
end

local function createRecord(spec, state)
  spec.state, spec.counted = state, 0
  local fields = { 'state', stateText(spec), 'spec', specText(spec), 'meta', spec.meta }
  for n = 1, spec.n do
    fields[#fields + 1] = 'a' .. n
    fields[#fields + 1] = attemptText(spec.a[n])
  end
  redis.call('HSET', jobKey(spec.id), unpack(fields))
end

-- With the attempt that is to be sent, while no node has accepted it.
local function existsReply(job)
  local meta = redis.call('HGET', jobKey(job.id), 'meta')
  local reply = { 'exists', job.state, job.last, meta }
  if job.state == 'assigned' then
    for n = job.n, 1, -1 do
      local attempt = job.a[n]
      if attempt.state == 'live' then
        local node = loadNode(attempt.node)
        local instance = node and node.instance or attempt.instance
        for _, value in ipairs({ job.id, n, attempt.node, instance, job.owner }) do
          reply[#reply + 1] = value
        end
        break
      end
    end
  end
  return reply
end
