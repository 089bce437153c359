--[[
  lib_now — Redis's own clock, because those of the instances may differ.

  Gives: now (milliseconds). Also seeds math.random, which Redis restarts from the same seed in
  every call: unseeded, every choice "at random" would be the same one.
]]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
math.randomseed(tonumber(clock[2]))
