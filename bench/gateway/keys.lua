-- 10,000 keys, drawn evenly.
request = function()
  return wrk.format("GET", nil, { ["x-api-key"] = "key-" .. math.random(10000) })
end
